"""Recordings of what the probes saw, and their replay through the same decisions."""
