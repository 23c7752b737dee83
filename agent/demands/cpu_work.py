"""CPU that one put costs, by what its threads are for, from the owner's counters. Pure."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from agent.cpu_use import thread_pairs
from agent.demands.ratio_estimate import Ratio, ratio_of_sums
from agent.readings import Known, Missing, Quantity
from probes.samples import ProcessSample

WINDOW_SECONDS: Final = 300.0
"""Over how long CPU and puts are compared: dozens of intervals at the usual cadence."""

MIN_INTERVAL_SECONDS: Final = 5.0
"""CPU is counted in ticks of 10 ms: shorter intervals would be mostly rounding."""

MIN_PUTS: Final = 100.0
"""An interval with fewer puts says what the process costs, not what a put does."""


@dataclass(frozen=True, slots=True)
class CpuDemands:
    """Core seconds per put by group; ``runs`` is how often a foreground thread got a core per put.

    ``reaching_share`` is what the kernel wrote for the process over what the WAL and the LOG's
    flushes and compactions wrote in the same intervals. ``busy_threads`` is the effective number
    of foreground threads at work, (sum of use)^2 / sum of use^2 (Kish): 4 equal writers give 4,
    one writer beside idle ones 1.
    """

    foreground: Ratio | None
    flush: Ratio | None
    compaction: Ratio | None
    written_bytes: Ratio | None
    reaching_share: Ratio | None
    runs: Ratio | None
    busy_threads: Quantity
    at: float


@dataclass(frozen=True, slots=True)
class _Interval:
    at: float
    puts: float
    foreground: float | None
    flush: float | None
    compaction: float | None
    written: float | None
    tables: float | None
    runs: float | None


class CpuWork:
    """Follows the counters of one owner process; idle time is left out."""

    def __init__(self) -> None:
        self._before: tuple[ProcessSample, int, int | None] | None = None
        self._intervals: deque[_Interval] = deque()
        self._busy: Quantity = Missing("not_yet_measured", "thread use needs two readings")

    def update(
        self,
        process: ProcessSample,
        sequence: int,
        *,
        exact: bool,
        table_bytes: int | None = None,
        wal_bytes_per_put: float | None = None,
    ) -> CpuDemands | None:
        """Take a reading of both; None until a first interval with puts has passed.

        Without ``exact`` the sequence number stands still between flushes, and an interval goes on
        until it moves; an exact one that hardly moves means an idle interval, which is left out.
        ``table_bytes`` is what flushes and compactions have written so far.
        """
        before = self._before
        if (
            before is None
            or before[0].pid != process.pid
            or (before[0].start_ticks != process.start_ticks or sequence < before[1])
        ):
            self._before = (process, sequence, table_bytes)
            self._intervals.clear()
            return None
        elapsed = process.at - before[0].at
        if elapsed >= MIN_INTERVAL_SECONDS and sequence - before[1] >= MIN_PUTS:
            self._intervals.append(
                _interval(before[0], process, sequence - before[1], _grown(before[2], table_bytes))
            )
            self._busy = _busy_threads(before[0], process)
            self._before = (process, sequence, table_bytes)
        elif elapsed >= (MIN_INTERVAL_SECONDS if exact else WINDOW_SECONDS):
            self._before = (process, sequence, table_bytes)
        while self._intervals and self._intervals[0].at < process.at - WINDOW_SECONDS:
            self._intervals.popleft()
        return self._demands(wal_bytes_per_put) if self._intervals else None

    def _demands(self, wal: float | None) -> CpuDemands:
        return CpuDemands(
            foreground=ratio_of_sums(
                [(i.foreground, i.puts) for i in self._intervals if i.foreground is not None]
            ),
            flush=ratio_of_sums(
                [(i.flush, i.puts) for i in self._intervals if i.flush is not None]
            ),
            compaction=ratio_of_sums(
                [(i.compaction, i.puts) for i in self._intervals if i.compaction is not None]
            ),
            written_bytes=ratio_of_sums(
                [(i.written, i.puts) for i in self._intervals if i.written is not None]
            ),
            reaching_share=None
            if wal is None
            else ratio_of_sums(
                [
                    (i.written, i.tables + wal * i.puts)
                    for i in self._intervals
                    if i.written is not None and i.tables is not None
                ]
            ),
            runs=ratio_of_sums([(i.runs, i.puts) for i in self._intervals if i.runs is not None]),
            busy_threads=self._busy,
            at=self._intervals[-1].at,
        )


def _interval(
    before: ProcessSample, after: ProcessSample, puts: int, tables: float | None
) -> _Interval:
    foreground = _grown(before.foreground_cpu_seconds, after.foreground_cpu_seconds)
    return _Interval(
        at=after.at,
        puts=float(puts),
        foreground=foreground,
        flush=_grown(before.flush_cpu_seconds, after.flush_cpu_seconds),
        compaction=_grown(before.compaction_cpu_seconds, after.compaction_cpu_seconds),
        written=_grown(before.written_bytes, after.written_bytes),
        tables=tables,
        runs=_runs(before, after, foreground),
    )


def _grown(before: float | None, after: float | None) -> float | None:
    """The difference of two counters; None when one is unknown or it went back."""
    return None if before is None or after is None or after < before else float(after - before)


def _runs(before: ProcessSample, after: ProcessSample, foreground: float | None) -> float | None:
    """How often foreground threads got a core; the busiest stand for all by their CPU."""
    runs = cpu = 0.0
    for old, new in thread_pairs(before, after):
        if old.run_count is None or new.run_count is None:
            return None
        runs += new.run_count - old.run_count
        cpu += new.cpu_seconds - old.cpu_seconds
    if cpu <= 0 or foreground is None:
        return None
    return runs * max(1.0, foreground / cpu)


def _busy_threads(before: ProcessSample, after: ProcessSample) -> Quantity:
    use = [max(0.0, new.cpu_seconds - old.cpu_seconds) for old, new in thread_pairs(before, after)]
    squares = sum(each * each for each in use)
    if squares <= 0:
        return Missing("not_permitted_or_idle", "no foreground thread's CPU use is known")
    return Known(sum(use) ** 2 / squares, "owner's threads", after.at)
