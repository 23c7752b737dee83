"""Time, passed in wherever it is needed so that tests can own it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one for ages and rates, one for showing to people."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never jumps."""
        ...

    def wall(self) -> float:
        """Seconds since the Unix epoch; may jump."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Seconds of CLOCK_MONOTONIC."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds of CLOCK_REALTIME."""
        return time.time()
