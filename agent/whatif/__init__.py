"""The same prediction with changed inputs."""
