"""Whether to run fio on a device now, in which mode, and in one sentence why or why not. Pure.

    scheduler = ProbeScheduler(interval_seconds, FioMode.FAST, DEFAULT_LIMITS)
    decision = scheduler.decide(view)               # every tick
    if decision.run is not None: ...                # reserve its cost_bytes, start fio
        scheduler.past.started(now, decision.run.mode)
    scheduler.past.finished(now, Outcome.MEASURED)  # or whatever became of it

A run is wanted when it would tell something: nothing is known, natural traffic contradicts what is
known, or what is known is older than the interval. It is allowed while every gate is open. Gates
are conditions of this moment, each with a reason of its own; none is closed without being told.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from agent.bandwidth import SATURATED_TRAFFIC, Capacity
from agent.probing.past_runs import Outcome, PastRuns
from agent.probing.recent_level import RecentLevel
from agent.readings import Known, Missing
from probes.fio import FioLimits, FioMode, must_stay_free_bytes, run_cost_bytes, scratch_file_bytes

STALL_QUIET_SECONDS: Final = 60.0
"""So long after the last write stop or delay no probe starts: debt is still being worked off."""

PRESSURE_WINDOW_SECONDS: Final = 3600.0
PRESSURE_STEP_SECONDS: Final = 30.0
PRESSURE_LEAST_VALUES: Final = 6
"""The usual PSI io is the median over an hour; before three minutes nothing is usual."""

PRESSURE_FACTOR: Final = 1.5
PRESSURE_MARGIN: Final = 0.15
"""The gate closes above both of these over the usual. Not at an absolute limit, which would be
closed for ever on a busy host: what stays high for half an hour is the usual."""

PRESSURE_UNKNOWN_LIMIT: Final = 0.5
"""For the first three minutes, while nothing is usual yet."""

SETTLE_SECONDS: Final = 600.0
"""Between the first measurement and the longer one: the first one's writes must have drained."""

RARELY_SHARE: Final = 1.0 / 6.0
"""Of the interval, the least time between two runs for what a run need not end: natural traffic may
for ever be faster than fio, fio held by its own limit, or too far from the estimate to be believed
at once."""

PAUSED: Final = frozenset({"paused", "pause_unknown"})
"""What is told even while no run is wanted: who paused wants to see it."""

CHEAPER: Final = (FioMode.ACCURATE, FioMode.BALANCED, FioMode.FAST)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeView:
    """What is known of one device at one moment; None where it is unknown.

    ``now`` and ``stalled_at`` are monotonic seconds. ``stalled_at`` is the last moment at which a
    database on the device was seen stopped or delayed, ``pressure_ratio`` the host's PSI io "some"
    of the last 10 s, ``opening`` whether a database on it is being opened or recovered.
    ``pause_unknown`` and ``stalls_unknown`` are sentences why it cannot be told whether the
    operator has paused, or a database is stalled; ``other_run`` is another device that fio writes
    to. ``measured`` and ``contradiction`` are of ``CapacityEstimate``: its measurement before caps,
    and what contradicts it. ``last_failure`` is why the last run that ended did not measure.
    """

    now: float
    enabled: bool
    running: bool
    pause_remaining_seconds: float | None
    pause_unknown: str | None
    stalled_at: float | None
    stalls_unknown: str | None
    opening: bool
    other_run: str | None
    pressure_ratio: float | None
    free_bytes: int | None
    size_bytes: int | None
    budget_remaining_bytes: int
    budget_refused: Missing | None = None  # nothing may be written at all, and why
    measured: Known[Capacity] | None
    contradiction: str | None
    last_failure: Missing | None = None


@dataclass(frozen=True, slots=True)
class ProbeRun:
    """A run that is wanted and allowed."""

    mode: FioMode
    limits: FioLimits
    cost_bytes: int  # what it may write: to be reserved before it starts


@dataclass(frozen=True, slots=True)
class ProbeDecision:
    """``run`` is None when none is to start; ``reason`` is a label, ``detail`` a sentence.

    ``closed`` are the reasons of all gates closed now, also while no run is wanted.
    """

    run: ProbeRun | None
    reason: str
    detail: str
    closed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Answer:
    reason: str
    detail: str


class ProbeScheduler:
    """One device's scheduler; ``past`` are the runs so far.

    ``interval_seconds`` is the age at which a measurement that natural traffic did not renew is
    old. ``limits`` has the configured ``mode`` and those it may use instead: cheaper ones when the
    budget or the space is short, BALANCED once after the first measurement.
    """

    def __init__(
        self,
        interval_seconds: float,
        mode: FioMode,
        limits: Mapping[FioMode, FioLimits],
        past: PastRuns | None = None,
    ) -> None:
        self.past = past or PastRuns()
        self.configure(interval_seconds, mode, limits)
        self._pressure = RecentLevel(
            PRESSURE_WINDOW_SECONDS, PRESSURE_STEP_SECONDS, PRESSURE_LEAST_VALUES
        )

    def configure(
        self, interval_seconds: float, mode: FioMode, limits: Mapping[FioMode, FioLimits]
    ) -> None:
        """Go on with other settings; what was seen, and what is waited for, stays."""
        self._interval_seconds = interval_seconds
        self._mode = mode
        self._limits = dict(limits)

    def decide(self, view: ProbeView) -> ProbeDecision:
        """What to do now; to be asked every tick, for it follows the pressure, too."""
        closed = list(self._closed_gates(view))
        if view.pressure_ratio is not None and not view.running:
            self._pressure.add(view.now, view.pressure_ratio)
        mode, why = self._wanted(view)
        run, refusal = self._affordable(self._mode if mode is None else mode, view)
        if refusal is not None:
            closed.append(refusal)
        reasons = tuple(dict.fromkeys(gate.reason for gate in closed))
        if not view.enabled:
            answer = _Answer("disabled", "fio is switched off in the configuration")
        elif view.running:
            answer = _Answer("running", "a run is under way")
        elif closed and (mode is not None or closed[0].reason in PAUSED):
            answer = closed[0]
        else:
            answer = why
            if mode is not None and run is not None:
                return ProbeDecision(run, why.reason, why.detail, reasons)
        return ProbeDecision(None, answer.reason, answer.detail, reasons)

    def _closed_gates(self, view: ProbeView) -> Iterator[_Answer]:
        if view.pause_remaining_seconds is not None:
            yield _Answer(
                "paused",
                f"paused by the operator for another {view.pause_remaining_seconds / 60:.0f} min",
            )
        if view.pause_unknown is not None:
            yield _Answer(
                "pause_unknown",
                f"whether fio is paused cannot be told: {view.pause_unknown}",
            )
        if view.opening:
            yield _Answer("database_opening", "a database is being opened or recovered")
        if view.stalled_at is not None and view.now - view.stalled_at <= STALL_QUIET_SECONDS:
            ago = max(0.0, view.now - view.stalled_at)
            yield _Answer("stalled_recently", f"writes were stopped or delayed {ago:.0f} s ago")
        if view.stalls_unknown is not None:
            yield _Answer("stalls_unknown", view.stalls_unknown)
        if view.pressure_ratio is not None:
            usual = self._pressure.level()
            limit = (
                PRESSURE_UNKNOWN_LIMIT
                if usual is None
                else max(PRESSURE_FACTOR * usual, usual + PRESSURE_MARGIN)
            )
            if view.pressure_ratio > limit:
                against = "not known yet" if usual is None else f"{usual:.0%}"
                yield _Answer(
                    "pressure_high",
                    f"tasks wait for I/O {view.pressure_ratio:.0%} of the time; usual: {against}",
                )
        if view.other_run is not None:
            yield _Answer("another_probe", f"fio measures {view.other_run}; one device at a time")
        waits = self.past.backing_off_seconds(view.now, self._interval_seconds)
        if waits > 0 and not view.running:
            yield from self._backing_off(waits, view.last_failure)

    def _backing_off(self, waits: float, failure: Missing | None) -> Iterator[_Answer]:
        outcome = self.past.last_outcome
        if outcome == Outcome.LOST:
            what = "what the last run measured was not kept over the restart"
        else:
            why = "" if failure is None else f" ({failure.detail})"
            what = f"the last run {'' if outcome == Outcome.FAILED else 'was '}{outcome}{why}"
        yield _Answer("backing_off", f"{what}; the next one not for {waits:.0f} s")
        if outcome == Outcome.REFUSED and failure is not None:
            yield _Answer(failure.reason, failure.detail)

    def _wanted(self, view: ProbeView) -> tuple[FioMode | None, _Answer]:
        """The mode of a run that would tell something, and why; None: none would."""
        measured = view.measured
        if measured is None:
            return self._mode, _Answer("first_measurement", "nothing was measured yet")
        age = measured.age_seconds(view.now)
        when = f"{measured.source} measured the device {_ago(age)}"
        # Another run may tell no more than the last one: that is no reason to run on and on.
        rested = self.past.rested(view.now, self._interval_seconds * RARELY_SHARE)
        if measured.value.lower_bound and rested:
            return self._mode, _Answer("lower_bound_only", "only a lower bound is known")
        if age > self._interval_seconds:
            if rested or math.isinf(age) or self.past.last_outcome != Outcome.MEASURED:
                return self._mode, _Answer("estimate_old", when)
            return None, _Answer("measured_recently", f"{when}; a run since told no more")
        if view.contradiction is not None and rested:
            return self._mode, _Answer("contradicted", view.contradiction)
        if measured.source == SATURATED_TRAFFIC:
            return None, _Answer("passive_estimate_fresh", when)
        longer = self._limits.get(FioMode.BALANCED)
        done = self.past.long_run_done or self._mode is not FioMode.FAST
        if done or longer is None or age < SETTLE_SECONDS:
            return None, _Answer("measured_recently", when)
        waits = _refusal(longer, view)
        if waits is not None:
            return None, _Answer("measured_recently", f"{when}; for a longer run {waits.detail}")
        return FioMode.BALANCED, _Answer(
            "first_long_run", "once after the first run, which may have measured a cache"
        )

    def _affordable(self, mode: FioMode, view: ProbeView) -> tuple[ProbeRun | None, _Answer | None]:
        """The best of ``mode`` and the cheaper ones that fits, else why the cheapest does not."""
        refusal = None
        for cheaper in CHEAPER[CHEAPER.index(mode) :]:
            limits = self._limits.get(cheaper)
            if limits is None:
                continue
            refusal = _refusal(limits, view)
            if refusal is None:
                return ProbeRun(cheaper, limits, run_cost_bytes(limits)), None
        return None, refusal


def _ago(seconds: float) -> str:
    if math.isinf(seconds):
        return "before the clock was set back"
    return f"{seconds / 60:.0f} min ago" if seconds < 7200 else f"{seconds / 3600:.0f} h ago"


def _refusal(limits: FioLimits, view: ProbeView) -> _Answer | None:
    if view.free_bytes is not None and view.size_bytes is not None:
        file_bytes = scratch_file_bytes(limits)
        left = view.free_bytes - file_bytes
        if left < must_stay_free_bytes(file_bytes, view.size_bytes):
            return _Answer(
                "low_space", f"{view.free_bytes / 1048576:.0f} MiB are free, too few for a run"
            )
    if view.budget_refused is not None:
        return _Answer(view.budget_refused.reason, view.budget_refused.detail)
    cost = run_cost_bytes(limits)
    if cost > view.budget_remaining_bytes:
        return _Answer(
            "budget_spent",
            f"a run writes up to {cost / 1048576:.0f} MiB, and "
            f"{max(0, view.budget_remaining_bytes) / 1048576:.0f} MiB may be written now",
        )
    return None
