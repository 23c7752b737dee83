"""What one put costs every resource, measured from outside."""
