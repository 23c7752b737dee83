"""What one tick says about saturation, and what a run of ticks measures. Pure.

A tick's interval is *held back* for the seconds in which RocksDB stopped writes, or delayed them
and the delay was felt: "delayed" is a state of the LSM, and a client that writes less than the
delayed write rate does not notice it. Whoever holds back, the mean over whole cycles in which the
debt did not grow is the rate that flush and compaction clear.
"""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

from agent.learning.debt_trend import debt_share
from agent.learning.observation import EpisodeObservation

Kind = Literal["stop", "delay", "cpu", "ceiling", "floor"]

MIN_MEASURED_SECONDS: Final = 60.0
"""DESIGN: a saturation episode lasts at least so long."""

HELD_SHARE: Final = 0.1
"""Held back for this share of the time without growing debt: the database is the limit. A client
of constant rate that is held back so often cannot be far below what is cleared."""

DEFINED_DELAY_SHARE: Final = 0.01
"""DESIGN: S_max allows delay for at most this share of the time."""

BINDING_RATIO: Final = 0.5
"""A delay is felt when the client writes at least this share of the delayed write rate. RocksDB
changes that rate by 0.6 .. 1.4 at every change of the LSM (SetupDelay, db/column_family.cc), so a
tick's mean may be half of the last rate in the LOG although it was the limit."""

MAX_DEBT_SHARE: Final = 0.1
"""Debt that grew or shrank by more than this share of the work: the rate was not the steady one."""

MAX_HALVES_RATIO: Final = 1.2
"""The rates of a window's two halves may differ by this factor. The slope of the debt is robust: it
would overlook that a minority of the window, at its beginning, took what nothing cleared."""

MIN_FLUSHES: Final = 4
"""With fewer flushes in a window, level 0 has no trend that can be told from its saw-tooth."""

CPU_BUSY_RATIO: Final = 0.95
"""From here on cores count as busy: the scheduler leaves a few per cent even to a CPU hog."""

OWNER_CPU_SHARE: Final = 0.7
"""A busy host limits the database only while most of its cores work for the owner process."""

WRITER_BUSY_RATIO: Final = 0.95
"""A lone writer that ran or waited for a core for this share of the time never waited for its next
put: at nine tenths of what it sustains it sleeps for a twentieth to an eighth of the time."""

MOST_PUT_COST: Final = 4.0
"""A lone thread whose puts cost more than so many times the usual does something else besides, or
spins until the next put is due: it says nothing about what the database sustains."""

LOG_UNCERTAINTY: Final[Mapping[str, float]] = {
    "stop": 0.05,
    "delay": 0.05,
    "cpu": 0.15,
    "ceiling": 0.05,
    "floor": 0.05,
}
"""Standard error of a label in natural log space. 0.05 is the step in which truth itself is checked
(open loop at 95 %; Luo & Carey, VLDB 2019). CPU saturation shows no debt: taken as three times,
for the host's cores as for the one core of a lone writer."""


@dataclass(frozen=True, slots=True)
class Interval:
    """What happened between two observations, and what the later one saw.

    Not that observation itself: hours of a saturated run are kept.
    """

    start: float
    end: float
    wall_end: float
    puts: int
    stopped_seconds: float
    delayed_seconds: float  # delay in force, felt or not
    held_seconds: float  # stopped, or delayed and felt
    cpu_cause: Literal["cpu", "writer"] | None  # what computed without a pause
    cause: str | None
    flushes: float | None
    compacted_bytes: float | None
    level0_files: int | None
    pending_at: float | None
    pending_compaction_bytes: float | None
    foreign_bytes_per_second: float | None
    device_write_bytes_per_second: float | None
    options_key: str

    @property
    def elapsed(self) -> float:
        """Seconds."""
        return self.end - self.start

    @property
    def held(self) -> bool:
        """Whether RocksDB held the writers back for a share that counts."""
        return self.held_seconds >= HELD_SHARE * self.elapsed

    @property
    def cpu_bound(self) -> bool:
        """Whether the host's cores, or the one of a lone writer, set the rate."""
        return self.cpu_cause is not None

    @property
    def limited(self) -> bool:
        """Whether the database, and not its client, set the rate."""
        return self.held or self.cpu_bound


@dataclass(frozen=True, slots=True)
class Measurement:
    """A steady window's mean put rate and how sure it is (standard error in natural log space)."""

    kind: Kind
    puts_per_second: float
    start: float
    end: float
    wall_end: float
    seconds: float
    stopped_ratio: float
    delayed_ratio: float
    debt_share: float
    log_uncertainty: float
    cause: str | None


def interval_between(before: EpisodeObservation, after: EpisodeObservation) -> Interval | None:
    """What happened between two observations; None when it cannot be told.

    That is: a sequence number or the stalls are unknown, or come from another source than before.
    """
    elapsed = after.at - before.at
    if before.sequence is None or after.sequence is None or elapsed <= 0:
        return None
    if before.sequence_source != after.sequence_source or after.sequence < before.sequence:
        return None
    seconds = _stall_seconds(before, after, elapsed)
    if seconds is None:
        return None
    stopped, delayed = seconds
    puts = after.sequence - before.sequence
    felt = _delay_is_felt(before, after, puts / elapsed)
    causes = {c.state: c.cause for c in (*(before.stalls or ()), *(after.stalls or ()))}
    return Interval(
        start=before.at,
        end=after.at,
        wall_end=after.wall_seconds,
        puts=puts,
        stopped_seconds=stopped,
        delayed_seconds=delayed,
        held_seconds=stopped + (delayed if felt else 0.0),
        cpu_cause=_cpu_cause(after, puts / elapsed),
        cause=causes.get("stopped", causes.get("delayed")),
        flushes=_grown(before.flushes, after.flushes),
        compacted_bytes=_grown(before.compaction_written_bytes, after.compaction_written_bytes),
        level0_files=after.level0_files,
        pending_at=after.pending_at,
        pending_compaction_bytes=after.pending_compaction_bytes,
        foreign_bytes_per_second=after.foreign_bytes_per_second,
        device_write_bytes_per_second=after.device_write_bytes_per_second,
        options_key=after.options_key,
    )


def _grown(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None or after < before else after - before


def _stall_seconds(
    before: EpisodeObservation, after: EpisodeObservation, elapsed: float
) -> tuple[float, float] | None:
    """Seconds stopped and delayed; by the LOG's totals, else by what was on at both ends."""
    if before.stall_seconds is not None and after.stall_seconds is not None:
        stopped, delayed = (
            _grown(before.stall_seconds.get(state, 0.0), after.stall_seconds.get(state, 0.0))
            for state in ("stopped", "delayed")
        )
        if stopped is not None and delayed is not None:
            stopped = min(elapsed, stopped)
            return stopped, min(elapsed - stopped, delayed)
        return None
    if before.stalls is None or after.stalls is None:
        return None
    states = [{stall.state for stall in end.stalls or ()} for end in (before, after)]
    stopped = elapsed * sum("stopped" in state for state in states) / 2
    stalled = elapsed * sum(bool(state) for state in states) / 2
    return stopped, stalled - stopped


def _delay_is_felt(before: EpisodeObservation, after: EpisodeObservation, rate: float) -> bool:
    limits = [
        stall.delayed_write_rate
        for stall in (*(before.stalls or ()), *(after.stalls or ()))
        if stall.state == "delayed" and stall.delayed_write_rate is not None
    ]
    if not limits or after.bytes_per_put is None:
        return True
    return rate * after.bytes_per_put >= BINDING_RATIO * min(limits)


def _cpu_cause(seen: EpisodeObservation, rate: float) -> Literal["cpu", "writer"] | None:
    if _cores_are_busy(seen):
        return "cpu"
    return "writer" if _lone_writer_is_busy(seen, rate) else None


def _cores_are_busy(seen: EpisodeObservation) -> bool:
    used, quota, cores = seen.owner_cpu_cores, seen.owner_cpu_limit_cores, seen.host_cpu_cores
    if used is None:
        return False
    if quota is not None and used >= CPU_BUSY_RATIO * quota:
        return True
    if seen.host_cpu_busy_ratio is None or cores is None:
        return False
    return seen.host_cpu_busy_ratio >= CPU_BUSY_RATIO and used >= OWNER_CPU_SHARE * cores


def _lone_writer_is_busy(seen: EpisodeObservation, rate: float) -> bool:
    busy, prior = seen.lone_writer_ratio, seen.put_cpu_prior_seconds
    if busy is None or prior is None or busy < WRITER_BUSY_RATIO:
        return False
    return busy <= MOST_PUT_COST * prior * rate


def steady_measurement(run: Sequence[Interval]) -> Measurement | None:
    """The longest of the run's last four, three, two and one quarters that is steady.

    A run begins while the debt still grows towards the triggers, so its first part may not count.
    """
    if not run:
        return None
    begin, duration = run[0].start, run[-1].end - run[0].start
    for skipped in (0.0, 0.25, 0.5, 0.75):
        if duration * (1 - skipped) < MIN_MEASURED_SECONDS:
            return None
        window = _whole_cycles([i for i in run if i.start >= begin + skipped * duration])
        if window:
            measured = measure(window)
            if measured is not None:
                return measured
    return None


def _whole_cycles(window: Sequence[Interval]) -> Sequence[Interval]:
    """From one onset of limitation to another, where it comes and goes; empty: no whole cycle."""
    free = sum(i.elapsed for i in window if not i.limited)
    span = sum(i.elapsed for i in window)
    if not free:
        return window
    onsets = [
        index
        for index, (before, now) in enumerate(pairwise(window), 1)
        if now.limited and not before.limited
    ]
    if len(onsets) >= 2:
        return window[onsets[0] : onsets[-1]]
    return window if free <= HELD_SHARE * span else ()


def measure(window: Sequence[Interval], *, floor: bool = False) -> Measurement | None:
    """Mean rate of a window and what kind of evidence it is; None when it is none.

    ``floor``: nothing held the client back, so the rate is one that the database sustains; only
    debt that grew speaks against it.
    """
    seconds = sum(i.elapsed for i in window)
    puts = sum(i.puts for i in window)
    if seconds < MIN_MEASURED_SECONDS or puts <= 0:
        return None
    grown = _debt(window)
    if grown is None or grown > MAX_DEBT_SHARE or (grown < -MAX_DEBT_SHARE and not floor):
        return None
    apart = 0.0 if floor else abs(_halves_log_ratio(window, seconds))
    if apart > math.log(MAX_HALVES_RATIO):
        return None
    stopped = sum(i.stopped_seconds for i in window) / seconds
    delayed = sum(i.delayed_seconds for i in window) / seconds
    held = sum(i.held_seconds for i in window) / seconds
    kind: Kind
    if floor:
        kind = "floor"
    elif held >= HELD_SHARE:
        kind = "stop" if stopped > DEFINED_DELAY_SHARE else "delay"
    elif sum(i.elapsed for i in window if i.cpu_bound) >= (1 - HELD_SHARE) * seconds:
        kind = "cpu"
    elif stopped + delayed > DEFINED_DELAY_SHARE:
        kind = "ceiling"
    else:
        return None
    causes = Counter(i.cpu_cause if kind == "cpu" else i.cause if i.held else None for i in window)
    del causes[None]
    return Measurement(
        kind=kind,
        puts_per_second=puts / seconds,
        start=window[0].start,
        end=window[-1].end,
        wall_end=window[-1].wall_end,
        seconds=seconds,
        stopped_ratio=stopped,
        delayed_ratio=delayed,
        debt_share=grown,
        log_uncertainty=math.hypot(LOG_UNCERTAINTY[kind], grown, apart / 2),
        cause=causes.most_common(1)[0][0] if causes else None,
    )


def _halves_log_ratio(window: Sequence[Interval], seconds: float) -> float:
    """Natural log of the second half's put rate over the first's; infinite when one had none."""
    first_puts = first_seconds = 0.0
    for i in window:
        if first_seconds + i.elapsed / 2 > seconds / 2:
            break
        first_puts += i.puts
        first_seconds += i.elapsed
    last_puts = sum(i.puts for i in window) - first_puts
    last_seconds = seconds - first_seconds
    if min(first_puts, last_puts, first_seconds, last_seconds) <= 0:
        return math.inf
    return math.log((last_puts / last_seconds) / (first_puts / first_seconds))


def _debt(window: Sequence[Interval]) -> float | None:
    """The larger of the trends in level 0 and in pending bytes; None when none can be told."""
    flushes = [i.flushes for i in window if i.flushes is not None]
    flushed = sum(flushes) if len(flushes) == len(window) else None
    level0 = [(i.end, float(i.level0_files)) for i in window if i.level0_files is not None]
    shares = []
    if flushed is None or flushed >= MIN_FLUSHES:
        shares.append(debt_share(level0, flushed))
    readings = {
        i.pending_at: i.pending_compaction_bytes
        for i in window
        if i.pending_at is not None and i.pending_compaction_bytes is not None
    }
    compacted = [i.compacted_bytes for i in window if i.compacted_bytes is not None]
    work = sum(compacted) if len(compacted) == len(window) else None
    pending = debt_share(sorted(readings.items()), work)
    known = [share for share in (*shares, pending) if share is not None]
    return max(known, key=abs) if shares and shares[0] is not None else None


def median_foreign(window: Iterable[Interval]) -> tuple[float, float] | None:
    """Medians of foreign and of all device writes, bytes/s; None when not known."""
    seen = [
        (i.foreign_bytes_per_second, i.device_write_bytes_per_second)
        for i in window
        if i.foreign_bytes_per_second is not None and i.device_write_bytes_per_second is not None
    ]
    if not seen:
        return None
    return statistics.median(f for f, _ in seen), statistics.median(t for _, t in seen)
