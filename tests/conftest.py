"""What holds for all tests."""

from hypothesis import settings

# A deadline per example is a timed assertion: on a busy machine it fails right code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
