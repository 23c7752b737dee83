"""What saturation teaches: labels, corrections, intervals, and their memory."""
