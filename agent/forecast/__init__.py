"""When writes will stall, and whether a load fits."""
