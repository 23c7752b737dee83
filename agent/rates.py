"""Rates out of counters: what two readings of one counter say, and what they do not."""

import math
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MeanRate:
    """A mean over ``span_seconds`` that ended at ``at`` (monotonic seconds)."""

    per_second: float
    span_seconds: float
    at: float


class CounterWindow:
    """Readings of one counter over the last ``keep_seconds``; a step back forgets them all.

    A counter that went backwards was reset or wrapped: what happened in between is unknown, so
    there is no rate until two later readings exist.
    """

    def __init__(self, keep_seconds: float) -> None:
        self._keep_seconds = keep_seconds
        self._readings: deque[tuple[float, float]] = deque()

    def add(self, at: float, value: float) -> None:
        """Add a reading; one not later than the last is ignored."""
        readings = self._readings
        if readings:
            last_at, last_value = readings[-1]
            if at <= last_at:
                return
            if value < last_value:
                readings.clear()
        readings.append((at, value))
        # The oldest reading kept is the last one before the window, so the mean spans it wholly.
        while len(readings) > 2 and readings[1][0] <= at - self._keep_seconds:
            readings.popleft()

    def __len__(self) -> int:
        return len(self._readings)

    def mean(self, over_seconds: float) -> MeanRate | None:
        """Mean rate over about the last ``over_seconds``, less while younger; None before two."""
        if len(self._readings) < 2:
            return None
        end_at, end_value = self._readings[-1]
        start_at, start_value = self._readings[0]
        for at, value in self._readings:
            if at > end_at - over_seconds and at > start_at:
                break
            start_at, start_value = at, value
        if end_at <= start_at:
            return None
        span = end_at - start_at
        return MeanRate((end_value - start_value) / span, span, end_at)

    @property
    def start(self) -> float:
        """When the oldest reading kept was taken; minus infinity without any."""
        return self._readings[0][0] if self._readings else -math.inf

    def clear(self) -> None:
        """Forget everything."""
        self._readings.clear()


class IntervalWindow:
    """Amounts over known intervals: intervals that must not count are simply not added."""

    def __init__(self, keep_seconds: float) -> None:
        self._keep_seconds = keep_seconds
        self._intervals: deque[tuple[float, float, float]] = deque()

    def add(self, at: float, elapsed_seconds: float, amount: float) -> None:
        """Add what happened in the ``elapsed_seconds`` that ended at ``at``."""
        self._intervals.append((at, elapsed_seconds, amount))
        while self._intervals and self._intervals[0][0] < at - self._keep_seconds:
            self._intervals.popleft()

    def mean(self, since: float = -math.inf) -> MeanRate | None:
        """Mean over all intervals kept that began at ``since`` or later; None without any."""
        inside = [entry for entry in self._intervals if entry[0] - entry[1] >= since]
        span = sum(elapsed for _, elapsed, _ in inside)
        if span <= 0:
            return None
        total = sum(amount for _, _, amount in inside)
        return MeanRate(total / span, span, inside[-1][0])

    def clear(self) -> None:
        """Forget everything."""
        self._intervals.clear()
