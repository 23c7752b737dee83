"""How fast the device writes, who uses it, and what is left: DESIGN section 4.

Capacity is everyone's total while the device is saturated. It comes from fio (with what others
wrote meanwhile added), or from natural traffic that saturated the device: its queue was full, or
deeper queues wrote no more than shallow ones. Other natural traffic is only a lower bound, and
above a measurement proves it too low. Limits set by others cap it.
"""

import math
from collections import deque
from dataclasses import dataclass

from agent.plateau import Interval, Plateau, mean_rate
from agent.rates import MeanRate
from agent.readings import Known, Missing, Quantity, derive
from probes.diskstats import DiskRates
from probes.samples import FioSample

FOREIGN_WINDOW_SECONDS = 300.0
"""Over how long device, own and compaction writes are averaged (DESIGN: 5 min mean)."""

FLOOR_WINDOW_SECONDS = 3600.0
"""How long a rate that the device demonstrably carried keeps lifting an older measurement."""

PROVING_SECONDS = 4.5
"""Shorter intervals are bursts into the drive's cache, which prove nothing about a rate. A little
less than a tick of 5 s, which may come early: two ticks together blur a compaction's bursts."""

SATURATED_BUSY_RATIO = 0.98
"""The queue is never empty. On an SSD this alone says nothing: the queue must also be deep."""

SATURATED_QUEUE_DEPTH = 8.0
"""Requests in flight on average; below it a faster writer might have got more."""

SATURATED_FOR_SECONDS = 30.0
"""How much time with a full queue makes a measurement; bursts add up."""

SATURATED_WITHIN_SECONDS = 600.0
"""Bursts add up over this time: a compaction every few minutes fills the queue for seconds."""

NOISE_RATIO = 1.03
"""One interval may pass a mean by so much without proving it too low."""

CONTRADICTING_RATIO = 1.1
"""Natural traffic that is further off says that the measurement is not true any more."""

CONTRADICTING_INTERVALS = 2
"""Intervals with a full queue below a measurement until they count as evidence against it."""

PLAUSIBLE_CHANGE = 10.0
"""A single measurement further than this factor from the last needs a second one to confirm it."""

CONFIRMING_CHANGE = 2.0
"""Two surprising measurements within this factor of each other confirm each other."""

SATURATED_TRAFFIC = "saturated traffic"


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
        self._recalled: Known[Capacity] | None = None
        self._agreed = False  # a second measurement was of the same order as the first
        self._suspect: Known[Capacity] | None = None
        self._floors: deque[tuple[float, float]] = deque()
        self._full: deque[Interval] = deque()
        self._plateau = Plateau()
        self._on_plateau: Known[Capacity] | None = None  # the last that rests on a plateau
        self._before_plateau: Known[Capacity] | None = None
        self._last_fio_at: float | None = None
        self._best: dict[str, float] = {}  # bytes/s by source

    def keep_for(self, max_age_seconds: float) -> None:
        """Another ``max_age_seconds`` from now on."""
        self._max_age_seconds = max_age_seconds

    def recall(self, measured: Known[Capacity]) -> None:
        """Begin with what was measured before a restart; again with another age of the same.

        It was measured at -inf where its age is not known: it is old then.
        """
        if self._measured is self._recalled:
            self._measured = self._recalled = measured
            self._best[measured.source] = _rate(measured)

    def add_traffic(self, at: float, elapsed_seconds: float, rates: DiskRates) -> None:
        """Take one interval of the device's natural (non-fio) traffic into account."""
        if elapsed_seconds < PROVING_SECONDS:
            return
        floor = rates.write_bytes_per_second
        # Of what counts for longer only what is larger is ever asked for: no entry for each tick.
        while self._floors and self._floors[-1][1] <= floor:
            self._floors.pop()
        self._floors.append((at, floor))
        while self._floors[0][0] < at - FLOOR_WINDOW_SECONDS:
            self._floors.popleft()
        depth = rates.writes_per_second * (rates.write_await_seconds or 0.0)
        interval = Interval(at, elapsed_seconds, rates.write_bytes_per_second, depth)
        full, plateau = self._full_queue(interval, rates), self._plateau.add(interval)
        if full is not None:
            self._take_passive(full, at)
        elif plateau is not None:
            if self._measured is not self._on_plateau:
                self._before_plateau = self._measured
            self._on_plateau = self._take_passive(plateau, at)
        elif (
            self._measured is not None
            and self._measured is self._on_plateau
            and self._plateau.refutes(_rate(self._measured), at)
        ):
            # What was known before holds again; without it the capacity is not known.
            self._measured = self._before_plateau

    def _take_passive(self, bytes_per_second: float, at: float) -> Known[Capacity]:
        measured = Known(Capacity(bytes_per_second, None, lower_bound=False), SATURATED_TRAFFIC, at)
        self._accept(measured)
        return measured

    def add_fio(self, sample: FioSample) -> None:
        """Take a fio result into account, once, and none that is older than what was recalled: of
        a device that was away the last run is told again.

        A run that was held back or ended early gives a lower bound: it stands only where nothing,
        or less, was measured.
        """
        if self._last_fio_at == sample.at:
            return
        if self._recalled is not None and sample.at < self._recalled.at:
            return
        self._last_fio_at = sample.at
        total = sample.write_bytes_per_second + (sample.other_write_bytes_per_second or 0.0)
        if total <= 0:
            return
        capacity = Known(
            Capacity(total, sample.spread_ratio, lower_bound=sample.lower_bound), "fio", sample.at
        )
        if sample.lower_bound:
            in_force = self._measured
            if (
                in_force is not None
                and _rate(in_force) >= total
                and in_force.age_seconds(sample.at) <= self._max_age_seconds
            ):
                return
        else:
            self._floors.clear()  # the measurement is newer than what was carried before it
            self._full.clear()
        self._accept(capacity)

    def _full_queue(self, interval: Interval, rates: DiskRates) -> float | None:
        """The mean rate of the last half minute with a full queue, once there was so much of it."""
        # io_ticks is sampled: a device with requests in flight all the time may count none.
        busy = rates.busy_ratio >= SATURATED_BUSY_RATIO or rates.busy_ratio == 0.0
        if not (
            busy
            and rates.mean_queue_depth >= SATURATED_QUEUE_DEPTH
            and rates.write_bytes_per_second > rates.read_bytes_per_second
        ):
            return None
        self._full.append(interval)
        while self._full[0].at < interval.at - SATURATED_WITHIN_SECONDS:
            self._full.popleft()
        latest: list[Interval] = []
        for one in reversed(self._full):
            latest.append(one)
            if sum(each.elapsed_seconds for each in latest) >= SATURATED_FOR_SECONDS:
                return mean_rate(latest)
        return None

    def _accept(self, measured: Known[Capacity]) -> None:
        old = self._measured
        if old is not None:
            confirmed = self._suspect is not None and _within(
                _rate(measured), _rate(self._suspect), CONFIRMING_CHANGE
            )
            if not confirmed and not _within(_rate(measured), _rate(old), PLAUSIBLE_CHANGE):
                if self._agreed or _rate(measured) > _rate(old):
                    self._suspect = measured
                    return
                # Nothing yet agreed with the first measurement, and this one is far below it:
                # until a third decides, the one that promises less is believed.
                self._suspect, self._measured = old, measured
                self._best = {measured.source: _rate(measured)}
                return
            self._agreed = True
        self._suspect = None
        self._measured = measured
        self._best[measured.source] = max(self._best.get(measured.source, 0.0), _rate(measured))

    @property
    def measured(self) -> Known[Capacity] | None:
        """The measurement in force, of fio or of saturated traffic, before caps and floors."""
        return self._measured

    def contradiction(self, now: float) -> str | None:
        """What natural traffic says against the measurement in force; None: nothing.

        Traffic well above it (the measurement was too low), or a full queue at a rate well below
        it (too high) for a time too short to be a measurement itself.
        """
        if self._measured is None:
            return None
        rate, since = _rate(self._measured), self._measured.at
        highest = max(
            (floor for at, floor in self._floors if at > max(since, now - FLOOR_WINDOW_SECONDS)),
            default=0.0,
        )
        if highest > CONTRADICTING_RATIO * rate:
            return f"natural traffic reached {highest / rate:.2f} times the measured capacity"
        full = [one for one in self._full if one.at > max(since, now - SATURATED_WITHIN_SECONDS)]
        if len(full) >= CONTRADICTING_INTERVALS:
            mean = mean_rate(full)
            if mean * CONTRADICTING_RATIO < rate:
                return f"the device's queue was full at {mean / rate:.2f} of the measured capacity"
        return None

    def ratio_to_best(self) -> Quantity:
        """The last measurement over the best one of the same kind: 1 on a healthy device.

        A drive takes fio's long sequential writes faster than most natural traffic, so that
        measurements of different kinds do not compare. Limits set by others play no part.
        """
        if self._measured is None:
            return Missing("not_yet_measured", "the device's capacity was never measured")
        best = self._best[self._measured.source]
        if self._measured.value.lower_bound and _rate(self._measured) < best:
            return Missing("lower_bound", "the last measurement was ended or held back early")
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
        if math.isinf(age):
            return Missing("stale", "the clock was set back since the capacity was measured")
        if age > self._max_age_seconds:
            return Missing("stale", f"the capacity was last measured {age / 3600:.0f} h ago")
        best = self._measured
        if self._floors:
            at, floor = max(self._floors, key=lambda entry: entry[1])
            if floor > NOISE_RATIO * best.value.bytes_per_second:
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
