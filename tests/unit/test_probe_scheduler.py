"""When fio may run: gates, need, budget, backing off."""

import dataclasses
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bandwidth import Capacity, CapacityEstimate
from agent.probing.past_runs import RETRY_SECONDS, Outcome, PastRuns
from agent.probing.scheduler import (
    RARELY_SHARE,
    ProbeDecision,
    ProbeRun,
    ProbeScheduler,
    ProbeView,
)
from agent.readings import Known, Missing
from probes.fio import DEFAULT_LIMITS, FioMode
from tests.unit.agent_samples import a_fio

HOUR = 3600.0
INTERVAL = 6 * HOUR
GIB = 1 << 30

OPEN = ProbeView(
    now=0.0,
    enabled=True,
    running=False,
    pause_remaining_seconds=None,
    pause_unknown=None,
    stalled_at=None,
    stalls_unknown=None,
    opening=False,
    other_run=None,
    pressure_ratio=0.1,
    free_bytes=100 * GIB,
    size_bytes=200 * GIB,
    budget_remaining_bytes=4 * GIB,
    measured=None,
    contradiction=None,
)
CLOSED: dict[str, dict[str, Any]] = {
    "paused": {"pause_remaining_seconds": 600.0},
    "pause_unknown": {"pause_unknown": "pause.json: it is no pause; remove it, or pause again"},
    "database_opening": {"opening": True},
    "stalled_recently": {"stalled_at": -60.0},
    "stalls_unknown": {"stalls_unknown": "/db/LOG may not be read"},
    "another_probe": {"other_run": "sdb"},
    "pressure_high": {"pressure_ratio": 0.9},
    "low_space": {"free_bytes": 8 * GIB},
    "budget_spent": {"budget_remaining_bytes": 1000},
}


def scheduler(mode: FioMode = FioMode.FAST, *, long_run_done: bool = False) -> ProbeScheduler:
    past = PastRuns()
    past.long_run_done = long_run_done
    return ProbeScheduler(INTERVAL, mode, DEFAULT_LIMITS, past)


def view(**changes: Any) -> ProbeView:
    return dataclasses.replace(OPEN, **changes)


def by(source: str, at: float = 0.0, *, lower_bound: bool = False) -> Known[Capacity]:
    return Known(Capacity(1e8, None, lower_bound), source, at)


def run_of(decision: ProbeDecision) -> ProbeRun:
    assert decision.run is not None, decision
    return decision.run


def measure(one: ProbeScheduler, at: float, outcome: Outcome = Outcome.MEASURED) -> None:
    one.past.started(at, FioMode.FAST)
    one.past.finished(at, outcome)


def test_what_was_never_measured_is_measured_at_once() -> None:
    """In the configured mode, with what it may cost."""
    decision = scheduler().decide(OPEN)
    assert decision.reason == "first_measurement"
    run = run_of(decision)
    assert (run.mode, run.limits) == (FioMode.FAST, DEFAULT_LIMITS[FioMode.FAST])
    assert run.cost_bytes == run.limits.size_bytes


@pytest.mark.parametrize("gate", CLOSED)
def test_a_closed_gate_keeps_fio_from_running_and_is_told(gate: str) -> None:
    """As the reason, and among the closed ones."""
    decision = scheduler().decide(view(**CLOSED[gate]))
    assert decision.run is None
    assert decision.reason == gate
    assert decision.closed == (gate,)
    assert decision.detail


def test_closed_gates_are_told_while_no_run_is_wanted() -> None:
    """An operator sees what would keep one from running; the answer is that none is needed."""
    decision = scheduler().decide(view(opening=True, measured=by("fio")))
    assert (decision.reason, decision.closed) == ("measured_recently", ("database_opening",))


def test_a_pause_is_always_the_answer() -> None:
    """Who paused wants to see it."""
    decision = scheduler().decide(view(pause_remaining_seconds=60.0, measured=by("fio")))
    assert decision.reason == "paused"
    decision = scheduler().decide(view(pause_unknown="pause.json: damaged", measured=by("fio")))
    assert (decision.reason, decision.closed) == ("pause_unknown", ("pause_unknown",))
    assert "pause.json: damaged" in decision.detail


@pytest.mark.parametrize(
    ("changes", "reason"), [({"enabled": False}, "disabled"), ({"running": True}, "running")]
)
def test_nothing_starts_while_disabled_or_running(changes: dict[str, Any], reason: str) -> None:
    """Each with its own word."""
    decision = scheduler().decide(view(**changes))
    assert (decision.run, decision.reason) == (None, reason)


def test_a_minute_after_the_last_stall_the_gate_opens() -> None:
    """Not sooner."""
    assert scheduler().decide(view(now=160.0, stalled_at=100.0)).run is None
    assert scheduler().decide(view(now=160.1, stalled_at=100.0)).run is not None


def test_pressure_is_held_against_its_own_recent_level() -> None:
    """A host that always waits for I/O gets its measurement; one that begins to does not."""
    for usual, now_high, closed in ((0.8, 0.85, False), (0.1, 0.3, True), (0.1, 0.2, False)):
        one = scheduler()
        for tick in range(20):
            one.decide(view(now=30.0 * tick, pressure_ratio=usual))
        decision = one.decide(view(now=600.0, pressure_ratio=now_high))
        assert ("pressure_high" in decision.closed) is closed


def test_pressure_that_stays_high_becomes_the_usual() -> None:
    """Within an hour: the gate is never closed for ever."""
    one = scheduler()
    for tick in range(120):
        one.decide(view(now=30.0 * tick, pressure_ratio=0.05))
    for tick in range(120, 240):
        decision = one.decide(view(now=30.0 * tick, pressure_ratio=0.95))
    assert decision.run is not None


def test_without_pressure_information_there_is_no_such_gate() -> None:
    """Many kernels have none."""
    assert scheduler().decide(view(pressure_ratio=None)).run is not None


def test_after_the_first_measurement_one_longer_run_follows() -> None:
    """Once, when the first one's writes have drained."""
    one = scheduler()
    measure(one, 0.0)
    measured = by("fio")
    assert one.decide(view(now=599.0, measured=measured)).reason == "measured_recently"
    decision = one.decide(view(now=600.0, measured=measured))
    run = run_of(decision)
    assert (run.mode, decision.reason) == (FioMode.BALANCED, "first_long_run")
    one.past.started(600.0, run.mode)
    one.past.finished(620.0, Outcome.MEASURED)
    assert one.decide(view(now=2000.0, measured=by("fio", 620.0))).run is None


@pytest.mark.parametrize(
    ("one", "measured"),
    [
        (scheduler(long_run_done=True), by("fio")),
        (scheduler(FioMode.BALANCED), by("fio")),
        (scheduler(), by("saturated traffic")),
        (
            ProbeScheduler(INTERVAL, FioMode.FAST, {FioMode.FAST: DEFAULT_LIMITS[FioMode.FAST]}),
            by("fio"),
        ),
    ],
)
def test_the_longer_run_is_not_repeated_nor_made_for_what_is_known(
    one: ProbeScheduler, measured: Known[Capacity]
) -> None:
    """Not after a restart, nor beside natural traffic, nor against the configured limits."""
    assert one.decide(view(now=HOUR, measured=measured)).run is None


def test_a_longer_run_that_the_budget_lacks_is_named_and_blocks_nothing() -> None:
    """A small drive's budget never holds it."""
    one = scheduler()
    little = view(now=HOUR, measured=by("fio"), budget_remaining_bytes=256 << 20)
    decision = one.decide(little)
    assert (decision.run, decision.reason) == (None, "measured_recently")
    assert "longer run" in decision.detail
    later = dataclasses.replace(little, now=INTERVAL + 1.0)
    assert run_of(one.decide(later)).mode is FioMode.FAST


def test_the_interval_is_an_age_and_natural_traffic_renews_it() -> None:
    """No clock starts fio while saturated traffic measures."""
    one = scheduler(long_run_done=True)
    fresh = one.decide(view(now=10 * INTERVAL, measured=by("saturated traffic", 9.5 * INTERVAL)))
    assert (fresh.run, fresh.reason) == (None, "passive_estimate_fresh")
    old = one.decide(view(now=10 * INTERVAL, measured=by("saturated traffic", 8.9 * INTERVAL)))
    assert old.reason == "estimate_old"
    assert old.run is not None


def test_a_contradiction_brings_a_run_forward_but_not_again_and_again() -> None:
    """A run need not end it."""
    one = scheduler(long_run_done=True)
    contradicted = view(now=100.0, measured=by("fio"), contradiction="traffic reached 1.5 times")
    assert one.decide(contradicted).reason == "contradicted"
    measure(one, 100.0)
    for now, wanted in ((200.0, False), (100.0 + HOUR, True)):
        decision = one.decide(dataclasses.replace(contradicted, now=now))
        assert (decision.run is not None) is wanted


def test_a_run_held_by_its_own_limit_is_not_repeated_at_once() -> None:
    """It would be held again: only after a while, when the device may be another."""
    one = scheduler()
    measure(one, 100.0)
    held = by("fio", 100.0, lower_bound=True)
    assert one.decide(view(now=101.0, measured=held)).run is None
    later = 100.0 + INTERVAL * RARELY_SHARE
    assert one.decide(view(now=later, measured=held)).reason == "lower_bound_only"


def test_a_run_that_left_the_old_estimate_in_force_is_not_repeated_at_once() -> None:
    """Held by its own limit below it, or too far from it to be believed at once."""
    one = scheduler(long_run_done=True)
    now = 2 * INTERVAL
    old = by("saturated traffic")
    assert one.decide(view(now=now, measured=old)).reason == "estimate_old"
    measure(one, now)
    decision = one.decide(view(now=now + 1.0, measured=old))
    assert (decision.run, decision.reason) == (None, "measured_recently")
    assert decision.detail == (
        "saturated traffic measured the device 12 h ago; a run since told no more"
    )
    later = now + INTERVAL * RARELY_SHARE
    assert one.decide(view(now=later, measured=old)).reason == "estimate_old"


def test_runs_held_below_what_was_measured_once_stay_rare() -> None:
    """None of them renews it: until it is stale, each tick would want another one."""
    one, estimate = scheduler(long_run_done=True), CapacityEstimate(3 * INTERVAL)
    estimate.add_fio(a_fio(0.0, 1e9))
    runs = []
    for minute in range(24 * 60):
        now = 60.0 * minute
        if one.decide(view(now=now, measured=estimate.measured)).run is not None:
            runs.append(now)
            measure(one, now)
            estimate.add_fio(a_fio(now, 1e8, rate_limited=True))
    assert runs
    assert min(later - run for run, later in pairwise(runs)) >= INTERVAL * RARELY_SHARE


def test_an_old_estimate_does_not_wait_longer_for_a_run_that_failed() -> None:
    """Than the rest after it."""
    one = scheduler(long_run_done=True)
    now = 2 * INTERVAL
    measure(one, now, Outcome.FAILED)
    again = view(now=now + RETRY_SECONDS, measured=by("fio"))
    assert one.decide(again).reason == "estimate_old"


def test_a_lower_bound_is_no_measurement() -> None:
    """An aborted run left it."""
    assert (
        scheduler().decide(view(measured=by("fio", lower_bound=True))).reason == "lower_bound_only"
    )


def test_what_costs_too_much_is_done_cheaper() -> None:
    """Of the budget or of the space."""
    budget = scheduler(FioMode.ACCURATE).decide(view(budget_remaining_bytes=GIB))
    assert run_of(budget).mode is FioMode.BALANCED


@pytest.mark.parametrize("outcome", [Outcome.ABORTED, Outcome.FAILED, Outcome.REFUSED])
def test_runs_that_measure_nothing_come_ever_more_seldom(outcome: Outcome) -> None:
    """Doubling from five minutes up to the interval; a measurement ends it."""
    one = scheduler()
    waits = []
    for _ in range(10):
        measure(one, 0.0, outcome)
        waits.append(one.past.backing_off_seconds(0.0, INTERVAL))
    assert waits[:4] == [300.0, 600.0, 1200.0, 2400.0]
    assert waits[-1] == INTERVAL
    decision = one.decide(view(now=INTERVAL - 1.0))
    assert (decision.run, decision.reason) == (None, "backing_off")
    assert outcome.value in decision.detail
    assert one.decide(view(now=INTERVAL)).run is not None
    measure(one, INTERVAL)
    assert one.past.backing_off_seconds(INTERVAL, INTERVAL) == 0.0


def test_what_refused_the_last_run_is_told_beside_the_rest_after_it() -> None:
    """In words, and as a closed gate of its own."""
    one = scheduler()
    measure(one, 0.0, Outcome.REFUSED)
    nowhere = Missing("no_scratch_directory", "no writable directory on the file system of /db")
    decision = one.decide(view(now=10.0, last_failure=nowhere))
    assert decision.closed == ("backing_off", "no_scratch_directory")
    assert decision.detail == (
        "the last run was refused (no writable directory on the file system of /db); "
        "the next one not for 290 s"
    )


def test_a_reason_that_closes_two_gates_is_told_once() -> None:
    """Two samples of one name would spoil the whole page for Prometheus."""
    one = scheduler()
    measure(one, 0.0, Outcome.REFUSED)
    lost = Missing("state_in_use", "another smaxd keeps its budget there")
    decision = one.decide(view(now=10.0, last_failure=lost, budget_refused=lost))
    assert decision.closed == ("backing_off", "state_in_use")


def test_other_settings_keep_what_was_seen_and_what_is_waited_for() -> None:
    """The usual pressure, the rest after a failure; the new interval bounds it."""
    one = scheduler()
    for minute in range(10):
        one.decide(view(now=60.0 * minute, pressure_ratio=0.6, measured=by("fio")))
    measure(one, 600.0, Outcome.FAILED)
    one.configure(INTERVAL / 2, FioMode.BALANCED, DEFAULT_LIMITS)
    waiting = one.decide(view(now=600.0, pressure_ratio=0.6))
    assert waiting.closed == ("backing_off",)
    assert run_of(one.decide(view(now=900.0, pressure_ratio=0.6))).mode is FioMode.BALANCED
    one.configure(100.0, FioMode.BALANCED, DEFAULT_LIMITS)
    assert one.decide(view(now=700.0, pressure_ratio=0.6)).run is not None


def test_a_measurement_of_unknown_age_is_old() -> None:
    """The clock was set back while the agent was away."""
    decision = scheduler().decide(view(measured=by("fio", -math.inf)))
    assert run_of(decision).mode is FioMode.FAST
    assert (decision.reason, decision.detail) == (
        "estimate_old",
        "fio measured the device before the clock was set back",
    )


VIEWS = st.builds(
    ProbeView,
    now=st.just(0.0),
    enabled=st.booleans(),
    running=st.booleans(),
    pause_remaining_seconds=st.none() | st.floats(0.1, 1e6),
    pause_unknown=st.sampled_from([None, None, None, "it is no pause"]),
    stalled_at=st.none() | st.floats(-200.0, 0.0),
    stalls_unknown=st.sampled_from([None, None, None, "the LOG may not be read"]),
    opening=st.booleans(),
    other_run=st.sampled_from([None, None, None, "sdb"]),
    pressure_ratio=st.none() | st.floats(0.0, 1.0),
    free_bytes=st.none() | st.integers(0, 1 << 40),
    size_bytes=st.none() | st.integers(0, 1 << 42),
    budget_remaining_bytes=st.integers(-GIB, 40 * GIB),
    measured=st.none()
    | st.builds(
        by,
        st.sampled_from(["fio", "saturated traffic"]),
        st.floats(-1e5, 0.0),
        lower_bound=st.booleans(),
    ),
    contradiction=st.none() | st.just("it is contradicted"),
)


@given(st.lists(st.tuples(VIEWS, st.floats(1.0, 4000.0), st.sampled_from(Outcome)), max_size=30))
def test_no_run_passes_a_closed_gate_or_the_budget_and_each_answer_has_a_reason(
    steps: list[tuple[ProbeView, float, Outcome]],
) -> None:
    """Whatever is seen, in whatever order, with whatever outcomes."""
    one = scheduler()
    now = 0.0
    for seen, pause, outcome in steps:
        now += pause
        stalled = None if seen.stalled_at is None else now + seen.stalled_at
        here = dataclasses.replace(seen, now=now, stalled_at=stalled)
        backing_off = one.past.backing_off_seconds(now, INTERVAL) > 0.0
        decision = one.decide(here)
        assert decision.reason
        assert decision.detail
        if decision.run is None:
            continue
        assert decision.closed == ()
        assert here.enabled
        assert not here.running
        assert not here.opening
        assert not backing_off
        assert here.pause_remaining_seconds is None
        assert here.pause_unknown is here.stalls_unknown is here.other_run is None
        assert here.stalled_at is None or now - here.stalled_at > 60.0
        assert decision.run.cost_bytes <= here.budget_remaining_bytes
        one.past.started(now, decision.run.mode)
        one.past.finished(now, outcome)
