"""How fast the device writes, who uses it, and what is left: DESIGN section 4.

Capacity is everyone's total while the device is saturated. It comes from fio (with what others
wrote meanwhile added), or from natural traffic that kept the device's queue full; natural traffic
above a measurement proves the measurement too low. Limits set by others cap it.
"""

from collections import deque
from dataclasses import dataclass

from agent.rates import IntervalWindow, MeanRate
from agent.readings import Known, Missing, Quantity, derive
from probes.diskstats import DiskRates
from probes.samples import FioSample

FOREIGN_WINDOW_SECONDS = 300.0
"""Over how long device, own and compaction writes are averaged (DESIGN: 5 min mean)."""

FLOOR_WINDOW_SECONDS = 3600.0
"""How long a rate that the device demonstrably carried keeps lifting an older measurement."""

PROVING_SECONDS = 5.0
"""Shorter intervals are bursts into the drive's cache, which prove nothing about a rate."""

SATURATED_BUSY_RATIO = 0.98
"""The queue is never empty. On an SSD this alone says nothing: the queue must also be deep."""

SATURATED_QUEUE_DEPTH = 8.0
"""Requests in flight on average; below it a faster writer might have got more."""

SATURATED_FOR_SECONDS = 30.0
"""How long both must hold before the traffic counts as a measurement of capacity."""

PLAUSIBLE_CHANGE = 10.0
"""A single measurement further than this factor from the last needs a second one to confirm it."""

CONFIRMING_CHANGE = 2.0
"""Two surprising measurements within this factor of each other confirm each other."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """A device's total write rate while saturated, bytes/s.

    Its source is "fio", "saturated traffic", "observed traffic" (a lower bound above an older
    measurement) or "limit" (a cap below the measurement).
    """

    bytes_per_second: float
    spread_ratio: float | None
    lower_bound: bool


class CapacityEstimate:
    """One device's capacity, followed over time."""

    def __init__(self, max_age_seconds: float) -> None:
        self._max_age_seconds = max_age_seconds
        self._measured: Known[Capacity] | None = None
        self._suspect: float | None = None
        self._floors: deque[tuple[float, float]] = deque()
        self._saturated = IntervalWindow(SATURATED_FOR_SECONDS)
        self._saturated_since: float | None = None
        self._last_fio_at: float | None = None
        self._best: dict[str, float] = {}  # bytes/s by source

    def add_traffic(self, at: float, elapsed_seconds: float, rates: DiskRates) -> None:
        """Take one interval of the device's natural (non-fio) traffic into account."""
        if elapsed_seconds < PROVING_SECONDS:
            return
        self._floors.append((at, rates.write_bytes_per_second))
        while self._floors[0][0] < at - FLOOR_WINDOW_SECONDS:
            self._floors.popleft()
        full = (
            rates.busy_ratio >= SATURATED_BUSY_RATIO
            and rates.mean_queue_depth >= SATURATED_QUEUE_DEPTH
            and rates.write_bytes_per_second > rates.read_bytes_per_second
        )
        if not full:
            self._saturated_since = None
            self._saturated.clear()
            return
        if self._saturated_since is None:
            self._saturated_since = at - elapsed_seconds
        self._saturated.add(at, elapsed_seconds, rates.write_bytes_per_second * elapsed_seconds)
        mean = self._saturated.mean()
        if mean is not None and at - self._saturated_since >= SATURATED_FOR_SECONDS:
            self._accept(
                Known(Capacity(mean.per_second, None, lower_bound=False), "saturated traffic", at)
            )

    def add_fio(self, sample: FioSample) -> None:
        """Take a fio result into account, once."""
        if self._last_fio_at == sample.at:
            return
        self._last_fio_at = sample.at
        total = sample.write_bytes_per_second + (sample.other_write_bytes_per_second or 0.0)
        if total <= 0:
            return
        self._floors.clear()  # the measurement is newer than what was carried before it
        capacity = Capacity(total, sample.spread_ratio, lower_bound=sample.rate_limited)
        self._accept(Known(capacity, "fio", sample.at))

    def _accept(self, measured: Known[Capacity]) -> None:
        new = measured.value.bytes_per_second
        if self._measured is not None:
            old = self._measured.value.bytes_per_second
            confirmed = self._suspect is not None and _within(new, self._suspect, CONFIRMING_CHANGE)
            if not _within(new, old, PLAUSIBLE_CHANGE) and not confirmed:
                self._suspect = new
                return
        self._suspect = None
        self._measured = measured
        self._best[measured.source] = max(self._best.get(measured.source, 0.0), new)

    def ratio_to_best(self) -> Quantity:
        """The last measurement over the best one of the same kind: 1 on a healthy device.

        A drive takes fio's long sequential writes faster than most natural traffic, so that
        measurements of different kinds do not compare. Limits set by others play no part.
        """
        if self._measured is None:
            return Missing("not_yet_measured", "the device's capacity was never measured")
        best = self._best[self._measured.source]
        return derive(self._measured, lambda capacity: capacity.bytes_per_second / best)

    def capacity(
        self,
        limit_bytes_per_second: float | None,
        fio_absence: Missing,
        now: float,
        sustained: Known[Capacity] | None = None,
    ) -> Known[Capacity] | Missing:
        """Capacity under a limit set by others.

        ``fio_absence`` is the answer while nothing was measured; a measurement older than the
        maximal age is stale. ``sustained``, of a calibration, is no measurement of now but a cap:
        a short probe of an idle drive measures its cache.
        """
        if self._measured is None:
            return fio_absence if sustained is None else _limited(sustained, limit_bytes_per_second)
        age = self._measured.age_seconds(now)
        if age > self._max_age_seconds:
            return Missing("stale", f"the capacity was last measured {age / 3600:.0f} h ago")
        best = self._measured
        if self._floors:
            at, floor = max(self._floors, key=lambda entry: entry[1])
            if floor > best.value.bytes_per_second:
                best = Known(Capacity(floor, None, lower_bound=True), "observed traffic", at)
        burst = best.source == "fio"
        if sustained is not None and burst and _rate(sustained) < _rate(best):
            best = sustained
        return _limited(best, limit_bytes_per_second)


def _rate(capacity: Known[Capacity]) -> float:
    return capacity.value.bytes_per_second


def _limited(capacity: Known[Capacity], limit_bytes_per_second: float | None) -> Known[Capacity]:
    if limit_bytes_per_second is None or _rate(capacity) <= limit_bytes_per_second:
        return capacity
    return Known(Capacity(limit_bytes_per_second, None, lower_bound=False), "limit", capacity.at)


def _within(a: float, b: float, factor: float) -> bool:
    return b / factor <= a <= b * factor


def foreign_writes(device: MeanRate | None, own: Known[float] | Missing) -> Quantity:
    """Device writes of everyone but this database, bytes/s; never negative.

    ``device`` must not contain the agent's own probes. Page cache and device do not count at the
    same moment, so a small difference is noise around zero.
    """
    if device is None:
        return Missing("not_yet_measured", "the device's write rate needs two readings")
    if isinstance(own, Missing):
        return own
    rate = max(0.0, device.per_second - own.value)
    return Known(rate, f"diskstats - {own.source}", min(device.at, own.at))


def available_bandwidth(
    capacity: Known[Capacity] | Missing, foreign: Quantity, compaction: Quantity
) -> Quantity:
    """What is left for user writes, bytes/s: capacity - foreign - own compaction writes.

    Not published when nothing is left: the models are not defined there, and 0 would be a claim.
    """
    if isinstance(capacity, Missing):
        return capacity
    if isinstance(foreign, Missing):
        return foreign
    if isinstance(compaction, Missing):
        return compaction
    left = capacity.value.bytes_per_second - foreign.value - compaction.value
    if left <= 0:
        return Missing(
            "no_bandwidth_left",
            f"foreign writes ({foreign.value / 1048576:.0f} MiB/s) and compaction "
            f"({compaction.value / 1048576:.0f} MiB/s) use the whole capacity "
            f"({capacity.value.bytes_per_second / 1048576:.0f} MiB/s)",
        )
    oldest = min(capacity.at, foreign.at, compaction.at)
    return Known(left, f"{capacity.source} - foreign - compaction", oldest)
