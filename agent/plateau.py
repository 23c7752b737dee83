"""Whether writers waited for the device itself: deeper queues that wrote no more than shallow ones.

A device behind a throttle, or one that serves one writer at a time, never shows the deep queue of a
saturated SSD. What tells is that its rate stays when its queue grows. That alone could also be a
writer with a steady pace of its own, RocksDB's rate limiter among them; such a rate is written
with an empty queue as well, sooner or later, and then it was no plateau.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

INTERVALS = 12
"""Among so many intervals in which writers waited for the device a plateau is looked for: after a
change of the device's rate the old ones are gone within a minute of waiting."""

WITHIN_SECONDS = 900.0
"""Older intervals say nothing of now."""

WAITING_DEPTH = 1.0
"""Writes in flight on average from which on somebody always waits for the device."""

FREE_DEPTH = 0.5
"""And below this nobody waits half of the time: what is written so, the device takes easily."""

DEEPEST = 2.0
"""At least once so many in flight, or all of it may have been a single writer's own pace."""

WIDTH = 0.04
"""Rates of a plateau lie within this of each other, ..."""

DEPTH_RATIO = 1.5
"""... while the deepest queue is so many times the shallowest: more waited, no more was written.
On a device with room, rate grows as depth does (Little's law); here at most a tenth as much."""

LEAST_INTERVALS = 4
LEAST_SECONDS = 20.0
"""Fewer may agree by chance."""

OUTLIERS = 2
"""So many intervals may lie above a plateau: counters are read a little early or late."""

REFUTING_INTERVALS = 2
"""So many of a plateau's rate with a free queue refute it; one may be a reading's noise."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Natural traffic of some seconds that ended at ``at``; depth: writes in flight on average."""

    at: float
    elapsed_seconds: float
    bytes_per_second: float
    write_depth: float


def mean_rate(intervals: Sequence[Interval]) -> float:
    """Over all of their time; bytes/s."""
    seconds = sum(one.elapsed_seconds for one in intervals)
    return sum(one.bytes_per_second * one.elapsed_seconds for one in intervals) / seconds


class Plateau:
    """Looks for a plateau in a device's traffic, and for what refutes it."""

    def __init__(self) -> None:
        self._waited: deque[Interval] = deque(maxlen=INTERVALS)
        self._free: list[Interval] = []

    def add(self, interval: Interval) -> float | None:
        """The plateau's rate, bytes/s; None unless this interval lies on one."""
        if interval.write_depth < FREE_DEPTH:
            self._keep_free(interval)
        if not interval.write_depth >= WAITING_DEPTH:
            return None
        self._waited.append(interval)
        while self._waited[0].at < interval.at - WITHIN_SECONDS:
            self._waited.popleft()
        ranked = sorted((one.bytes_per_second for one in self._waited), reverse=True)
        for top in ranked[: OUTLIERS + 1]:
            band = [
                one for one in self._waited if top * (1.0 - WIDTH) <= one.bytes_per_second <= top
            ]
            depths = [one.write_depth for one in band]
            if (
                interval in band
                and len(band) >= LEAST_INTERVALS
                and sum(one.elapsed_seconds for one in band) >= LEAST_SECONDS
                and max(depths) >= max(DEEPEST, DEPTH_RATIO * min(depths))
            ):
                rate = mean_rate(band)
                return None if self.refutes(rate, interval.at) else rate
        return None

    def refutes(self, bytes_per_second: float, at: float) -> bool:
        """Whether the device wrote as much of late while hardly anybody waited for it."""
        least = bytes_per_second * (1.0 - WIDTH)
        free = [
            one
            for one in self._free
            if one.at >= at - WITHIN_SECONDS and one.bytes_per_second >= least
        ]
        return len(free) >= REFUTING_INTERVALS

    def _keep_free(self, interval: Interval) -> None:
        """The fastest of late: slower ones refute nothing that these do not."""
        recent = [one for one in self._free if one.at >= interval.at - WITHIN_SECONDS]
        recent.append(interval)
        recent.sort(key=lambda one: one.bytes_per_second)
        self._free = recent[-REFUTING_INTERVALS:]
