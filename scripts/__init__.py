"""What builds, shows and tests the project; the files without an ending are the commands."""
