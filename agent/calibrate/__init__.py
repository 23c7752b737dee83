"""A controlled saturation of a scratch database."""
