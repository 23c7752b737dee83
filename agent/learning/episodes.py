"""Saturation episodes: the moments in which a database shows what it can sustain. Pure.

`EpisodeDetector`, one per incarnation of a database: `update(observation) -> tuple[Episode, ...]`,
once per tick. An episode is reported as soon as it has measured 60 steady seconds ("open"), again
whenever its measurement changes, once more when it is over ("closed"), or "withdrawn" when what
followed showed that it measured nothing (a manual compaction is known only when it ends). All
reports of one episode have the same ``started_wall_seconds``: the later one replaces the earlier.

What counts as which kind of label, and why:

stop     Held back at least 10 % of the time, with stops, debt steady: the mean rate is S_max.
delay    The same without stops. RocksDB's delay is a feedback controller: at each change of the LSM
         the delayed write rate is multiplied by 0.8 while compaction debt grows and by 1.25 while
         it shrinks, by 1.4 when the delay ends (SetupDelay, db/column_family.cc). Writers who
         always have more to write therefore live in delay for ever and never see a stop; their
         mean rate, over a time in which the debt is steady, is what compaction clears: S_max. That
         is an exact label, not a censored one, provided that the delay is felt (see below).
ceiling  Held back for 1 .. 10 % of the time, debt steady: S_max by definition allows 1 %, so it is
         at most this rate, and not much less. This, and only this, is the censored label.
cpu      No stall, but the cores are busy for the owner process, or its only writing thread never
         sleeps (cause "writer": what that one writer sustains): S_max, less certain.
floor    Ten minutes without any stall and without growing debt: S_max is at least this rate. It
         corrects a model that predicts less than is being sustained, and nothing else.

A delay that is in force but not felt (the client writes less than half of the delayed write rate)
limits nobody. Debt that still grows makes no label: the rate is above S_max then, by an unknown
amount; nor does debt that shrinks. A tick that is neither limited nor fast (below half of the
run's mean) shows a client that offers little: it ends the run, so that a burst with a stall and a
pause after it is no label.
"""

import statistics
from collections import deque
from dataclasses import dataclass, replace
from typing import Final, Literal

from agent.learning.observation import EpisodeObservation
from agent.learning.saturation import (
    MIN_MEASURED_SECONDS,
    Interval,
    Kind,
    Measurement,
    interval_between,
    measure,
    median_foreign,
    steady_measurement,
)

GAP_SECONDS: Final = 600.0
"""DESIGN: gaps under 10 minutes merge into one label; no cycle of stop and go is longer."""

FLOOR_SECONDS: Final = 600.0
"""So long a load must be held before it proves anything: many memtables, some compactions."""

LONGEST_MEASURED_SECONDS: Final = 3600.0
"""DESIGN speaks of an hour at the present LSM size: a longer episode has measured enough."""

MAX_STEP_SECONDS: Final = 120.0
"""A longer time between two ticks (suspended, restarted) is a hole, not an interval."""

MIN_STEP_SECONDS: Final = 4.0
"""Ticks that follow more closely are one interval: less than a flush takes says nothing about the
debt, and what is kept of the longest run stays as small as at the default cadence."""

SLACK_RATIO: Final = 0.5
"""Unlimited and slower than this share of the run's mean: the client offers little."""

FOREIGN_CHANGE_SHARE: Final = 0.2
"""Foreign writes that moved by so much of the device's traffic are another host. Foreign and own
writes are told apart no better than to some per cent, so a smaller step would be noise."""

LONGEST_RUN_SECONDS: Final = 2 * LONGEST_MEASURED_SECONDS
"""Debt may grow for hours before it is steady; more than this is not kept."""

EVALUATION_SECONDS: Final = 30.0
"""How often a run under way is measured again: it costs a millisecond."""

REPORT_CHANGE_RATIO: Final = 0.01
REPORT_SECONDS: Final = 60.0
"""An open episode is reported again when its rate moved by 1 %, or once a minute."""


@dataclass(frozen=True, slots=True)
class Episode:
    """A label: what the database sustained, from when to when, and how sure that is.

    Times are monotonic unless named wall. ``started_at`` is the onset of saturation, before the
    steady part: predictions made before it have not seen it. ``measured_seconds`` is the steady
    part. ``log_uncertainty`` is a standard error in natural log space. ``debt_share`` is the share
    of the work that was still taken on credit.
    """

    kind: Kind
    status: Literal["open", "closed", "withdrawn"]
    puts_per_second: float
    log_uncertainty: float
    started_at: float
    ended_at: float
    started_wall_seconds: float
    ended_wall_seconds: float
    measured_seconds: float
    stopped_ratio: float
    delayed_ratio: float
    debt_share: float
    cause: str | None
    options_key: str


class EpisodeDetector:
    """Follows one incarnation of a database."""

    def __init__(self) -> None:
        self._before: EpisodeObservation | None = None
        self._quiet: deque[Interval] = deque()
        self._run: list[Interval] = []
        self._parts: list[Measurement] = []
        self._onset: Interval | None = None
        self._last_limited = 0.0
        self._foreign: tuple[float, float] | None = None
        self._reported: Episode | None = None
        self._exhausted = False
        self._floor_due = 0.0
        self._evaluated_at = 0.0

    @property
    def saturated(self) -> bool:
        """Whether the database is the limit now: predictions made meanwhile have seen the answer.

        One short stall is not that; a run that has lasted a minute is.
        """
        if self._exhausted or not self._run:
            return self._exhausted
        lasted = self._run[-1].end - self._run[0].start
        return self._run[-1].limited or lasted >= MIN_MEASURED_SECONDS

    def update(self, seen: EpisodeObservation) -> tuple[Episode, ...]:
        """Take one tick into account; the episodes that are new, changed, closed or withdrawn."""
        before = self._before
        if seen.sequence is None or (seen.stalls is None and seen.stall_seconds is None):
            return ()  # both are totals or conditions: the next tick covers the time until then
        if before is None:
            self._before = seen
            return ()
        elapsed = seen.at - before.at
        # The MANIFEST's number moves with flushes: only its steps are intervals.
        standing = seen.sequence == before.sequence and seen.sequence_source == "manifest"
        hole = elapsed > MAX_STEP_SECONDS
        other = seen.options_key != before.options_key or seen.background_error
        if not (hole or other) and (standing or elapsed < MIN_STEP_SECONDS):
            return ()
        self._before = seen
        if hole or other:
            return self._close()
        interval = interval_between(before, seen)
        if interval is None:
            return self._close()
        struck = self._strike(seen)
        if any(start < interval.end and end > interval.start for start, end in seen.disturbances):
            return struck
        return struck + self._follow(interval)

    def _follow(self, interval: Interval) -> tuple[Episode, ...]:
        closed: tuple[Episode, ...] = ()
        if self._onset is not None and interval.start - self._last_limited > GAP_SECONDS:
            closed = self._close()
        if self._onset is None and not interval.limited:
            return closed + self._follow_quiet(interval)
        if self._onset is None:
            self._onset = interval
            self._foreign = median_foreign(self._quiet)
            self._quiet.clear()
            self._evaluated_at = 0.0
        elif self._foreign_changed(interval):
            closed += self._close()
            return closed + self._follow(interval)
        if interval.limited:
            self._last_limited = interval.end
        if self._exhausted:
            return closed
        while self._run and interval.end - self._run[0].start > LONGEST_RUN_SECONDS:
            del self._run[0]
        if interval.limited or (self._run and not self._is_slack(interval)):
            self._run.append(interval)
            if interval.end - self._evaluated_at < EVALUATION_SECONDS:
                return closed
            self._evaluated_at = interval.end
        elif not self._run:
            return closed
        else:
            self._end_run()
        return closed + self._report("open")

    def _is_slack(self, interval: Interval) -> bool:
        puts = sum(i.puts for i in self._run)
        seconds = sum(i.elapsed for i in self._run)
        return interval.puts / interval.elapsed < SLACK_RATIO * puts / seconds

    def _foreign_changed(self, interval: Interval) -> bool:
        """The last minute's median against that before the episode, or of its first minute."""
        recent = [
            i for i in (*self._run[-12:], interval) if i.end > interval.end - MIN_MEASURED_SECONDS
        ]
        if sum(i.elapsed for i in recent) < 0.8 * MIN_MEASURED_SECONDS:
            return False
        now = median_foreign(recent)
        if now is None:
            return False
        if self._foreign is None:
            self._foreign = now
        return abs(now[0] - self._foreign[0]) > FOREIGN_CHANGE_SHARE * max(now[1], self._foreign[1])

    def _end_run(self) -> None:
        measured = steady_measurement(self._run)
        if measured is not None:
            self._parts.append(measured)
        self._run.clear()

    def _follow_quiet(self, interval: Interval) -> tuple[Episode, ...]:
        """No limit in sight: after ten minutes this is what the database sustains at least."""
        if interval.stopped_seconds or interval.delayed_seconds:
            self._quiet.clear()
            return ()
        self._quiet.append(interval)
        while self._quiet[0].end <= interval.end - FLOOR_SECONDS:
            self._quiet.popleft()
        onset = self._quiet[0]
        lasted = interval.end - onset.start
        if lasted < FLOOR_SECONDS or interval.end < self._floor_due:
            return ()
        measured = measure(self._quiet, floor=True)
        self._floor_due = interval.end + (EVALUATION_SECONDS if measured is None else FLOOR_SECONDS)
        return () if measured is None else (_episode(measured, "closed", onset),)

    def _strike(self, seen: EpisodeObservation) -> tuple[Episode, ...]:
        """Take back what was measured while something else, as is known only now, was going on."""

        def disturbed(start: float, end: float) -> bool:
            return any(begun < end and ended > start for begun, ended in seen.disturbances)

        if not seen.disturbances:
            return ()
        for held in (self._quiet, self._run):
            last = max((n for n, i in enumerate(held) if disturbed(i.start, i.end)), default=-1)
            for _ in range(last + 1):
                del held[0]
        kept = [part for part in self._parts if not disturbed(part.start, part.end)]
        if len(kept) < len(self._parts):
            self._parts, self._exhausted = kept, False
        return self._report("open") if self._reported is not None else ()

    def _report(self, status: Literal["open", "closed"]) -> tuple[Episode, ...]:
        onset, reported = self._onset, self._reported
        if onset is None:
            return ()
        latest = steady_measurement(self._run)
        parts = [*self._parts, latest] if latest is not None else self._parts
        if not parts:
            if reported is None:
                return ()
            self._reported = None
            return (replace(reported, status="withdrawn"),)
        episode = _episode(_merged(parts), status, onset)
        if episode.measured_seconds >= LONGEST_MEASURED_SECONDS:
            self._end_run()
            self._exhausted = True
        moved = (
            reported is None
            or episode.kind != reported.kind
            or abs(episode.puts_per_second / reported.puts_per_second - 1) > REPORT_CHANGE_RATIO
            or abs(episode.measured_seconds - reported.measured_seconds) >= REPORT_SECONDS
        )
        if status == "open" and not moved:
            return ()
        self._reported = episode
        return (episode,)

    def _close(self) -> tuple[Episode, ...]:
        """End whatever is under way; what follows is another episode."""
        self._end_run()
        closed = self._report("closed")
        self._quiet.clear()
        self._parts.clear()
        self._onset = self._foreign = self._reported = None
        self._exhausted = False
        return closed


def _merged(parts: list[Measurement]) -> Measurement:
    """One label out of several steady parts: each counts by its length, the longest names it."""
    if len(parts) == 1:
        return parts[0]
    exact = [part for part in parts if part.kind != "ceiling"] or parts
    seconds = sum(part.seconds for part in exact)

    def mean(values: list[float]) -> float:
        return sum(v * part.seconds for v, part in zip(values, exact, strict=True)) / seconds

    rates = [part.puts_per_second for part in exact]
    longest = max(exact, key=lambda part: part.seconds)
    rate = mean(rates)
    # Parts that differ among themselves are no surer than they differ.
    scatter = statistics.pstdev(rates) / rate
    return Measurement(
        kind=longest.kind,
        puts_per_second=rate,
        start=exact[0].start,
        end=exact[-1].end,
        wall_end=exact[-1].wall_end,
        seconds=seconds,
        stopped_ratio=mean([part.stopped_ratio for part in exact]),
        delayed_ratio=mean([part.delayed_ratio for part in exact]),
        debt_share=mean([part.debt_share for part in exact]),
        log_uncertainty=max(longest.log_uncertainty, scatter),
        cause=longest.cause,
    )


def _episode(measured: Measurement, status: Literal["open", "closed"], onset: Interval) -> Episode:
    return Episode(
        kind=measured.kind,
        status=status,
        puts_per_second=measured.puts_per_second,
        log_uncertainty=measured.log_uncertainty,
        started_at=onset.start,
        ended_at=measured.end,
        started_wall_seconds=onset.wall_end - onset.elapsed,
        ended_wall_seconds=measured.wall_end,
        measured_seconds=measured.seconds,
        stopped_ratio=measured.stopped_ratio,
        delayed_ratio=measured.delayed_ratio,
        debt_share=measured.debt_share,
        cause=measured.cause,
        options_key=onset.options_key,
    )
