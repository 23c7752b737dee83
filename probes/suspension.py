"""For how long this machine has slept since it was booted.

CLOCK_BOOTTIME goes on while the machine is suspended, CLOCK_MONOTONIC does not, and nobody can set
either (clock_gettime(2)). What the wall clock gains on the steady one beyond that, it was set by.
"""

import time


def suspended_seconds() -> float:
    """Seconds, never less than before but for what lies between two system calls."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
