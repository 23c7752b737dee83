"""How long the syncs of the WAL that a put waits for take, seen from outside. Pure.

WriteOptions.sync is no option of the database: nothing in its files tells it. What shows it is the
device's flush requests, one for every fsync of a file system with a journal (/proc/diskstats, Linux
5.5): with synced writes there is one for every write group, without them a few per second,
however many puts there are. Write groups are written one after the other, so the device's time for
the writes and the flush of one sync is what the group takes.
"""

import statistics
from collections import deque
from dataclasses import dataclass
from typing import Final

from agent.demands.values import Demand, Measured
from agent.readings import Known, Missing
from probes.samples import DiskCounters

WINDOW_SECONDS: Final = 300.0
MIN_INTERVAL_SECONDS: Final = 2.0
MIN_INTERVALS: Final = 3

MIN_PUTS_PER_SECOND: Final = 20.0
"""With fewer puts, the syncs of a journal, of flushes and of others are as many as theirs."""

MIN_SYNCS_PER_PUT: Final = 0.02
"""Fewer, and they are not of the puts: no write group is larger than some dozens of writers."""

WRITES_PER_SYNC: Final = 2.0
"""Of the writes between two flushes, so many at most were waited for: the log's page and the
journal's. The others are of flush and compaction, which run beside."""

MOST_BUSY: Final = 1.2
"""Syncs of one WAL take turns: if they took more than all of the time, they are of somebody else
too. A fifth is left to what is not measured alike."""

ABSENT: Final = Missing("not_synced", "the device gets no flush requests with the puts")

_SOURCE: Final = "device's flush requests"


@dataclass(frozen=True, slots=True)
class _Interval:
    at: float
    puts: float
    syncs: float
    elapsed: float
    seconds_per_sync: float


class WalSyncs:
    """Follows one database and the device under its WAL."""

    def __init__(self) -> None:
        self._before: tuple[Known[DiskCounters], int] | None = None
        self._intervals: deque[_Interval] = deque()

    def update(
        self, device: Known[DiskCounters] | Missing, sequence: int, busy_threads: float | None
    ) -> Demand:
        """Seconds of sync per put at saturation; Missing where puts are not synced, or too few.

        ``busy_threads`` writers, while one group is synced, form the next of those that wait: half
        of them on the mean. A group is never taken smaller than those of now.
        """
        if isinstance(device, Missing):
            return device
        before = self._before
        if (
            before is None
            or sequence < before[1]
            or device.value.writes_completed < before[0].value.writes_completed
        ):
            self._before = (device, sequence)
            self._intervals.clear()
            return ABSENT
        if device.at - before[0].at >= MIN_INTERVAL_SECONDS:
            self._before = (device, sequence)
            interval = _interval(before[0], device, sequence - before[1])
            if interval is not None:
                self._intervals.append(interval)
        while self._intervals and self._intervals[0].at < device.at - WINDOW_SECONDS:
            self._intervals.popleft()
        return self._demand(busy_threads)

    def _demand(self, busy_threads: float | None) -> Demand:
        if len(self._intervals) < MIN_INTERVALS:
            return ABSENT
        ratios = [interval.syncs / interval.puts for interval in self._intervals]
        per_put = min(1.0, statistics.median(ratios))
        seconds = statistics.median(interval.seconds_per_sync for interval in self._intervals)
        busy = statistics.median(i.syncs / i.elapsed * i.seconds_per_sync for i in self._intervals)
        if per_put < MIN_SYNCS_PER_PUT or seconds <= 0.0 or busy > MOST_BUSY:
            return ABSENT
        group = max(1.0 / per_put, (busy_threads or 1.0) / 2.0)
        latest = self._intervals[-1].at
        return Measured(seconds / group, None, _SOURCE, latest, len(self._intervals))


def _interval(
    before: Known[DiskCounters], after: Known[DiskCounters], puts: int
) -> _Interval | None:
    """None where there were hardly any puts, or the kernel does not count flushes."""
    old, new = before.value, after.value
    counts = (
        old.flushes_completed,
        new.flushes_completed,
        old.flush_milliseconds,
        new.flush_milliseconds,
    )
    if None in counts:
        return None
    elapsed = after.at - before.at
    syncs = float((new.flushes_completed or 0) - (old.flushes_completed or 0))
    if puts < MIN_PUTS_PER_SECOND * elapsed or syncs < 0.0:
        return None
    seconds = 0.0
    if syncs > 0.0:
        flushed = ((new.flush_milliseconds or 0) - (old.flush_milliseconds or 0)) / 1000.0
        written = (new.write_milliseconds - old.write_milliseconds) / 1000.0
        writes = new.writes_completed - old.writes_completed
        waited = min(WRITES_PER_SYNC, writes / syncs)
        seconds = flushed / syncs + waited * written / max(1, writes)
    return _Interval(after.at, float(puts), syncs, elapsed, seconds)
