"""When probes run, what they leave, and what a hanging one costs."""

import threading
from collections.abc import Callable, Iterator

import pytest

from agent.readings import Known, Missing
from agent.schedule import STALE_AFTER_CADENCES, Slot, run_due
from probes.errors import NoData, ProbeFailed
from tests.unit.snapshots import FixedClock

LONG = 10.0
"""Seconds that a test would wait for something that never fails to come."""


class Script:
    """A probe that does, one call after the other, what it is told; the last step repeats."""

    def __init__(self, *steps: object) -> None:
        self._steps = list(steps)
        self.calls = 0

    def read(self) -> object:
        self.calls += 1
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        if isinstance(step, Exception):
            raise step
        return step


class Hanging:
    """A probe that does not come back until it is released."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.calls = 0

    def read(self) -> str:
        self.calls += 1
        assert self.release.wait(LONG)
        return "late"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(100.0)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    probe = Hanging()
    yield probe
    probe.release.set()


def slot_of(
    read: Callable[[], object],
    clock: FixedClock,
    *,
    cadence_seconds: float = 10.0,
    timeout_seconds: float = 5.0,
    sticky: bool = False,
    background: bool = False,
    each_tick: bool = False,
    first_after_seconds: float = 0.0,
    retry_seconds: float | None = None,
) -> Slot[object]:
    return Slot(
        "probe",
        "target",
        read,
        clock,
        cadence_seconds=cadence_seconds,
        timeout_seconds=timeout_seconds,
        sticky=sticky,
        background=background,
        each_tick=each_tick,
        first_after_seconds=first_after_seconds,
        retry_seconds=retry_seconds,
    )


def run(slot: Slot[object], clock: FixedClock) -> None:
    """Run once, to the end."""
    slot.start(clock.now)
    assert slot.wait(LONG)


def reason(slot: Slot[object], clock: FixedClock) -> str | None:
    answer = slot.answer(clock.now)
    return answer.reason if isinstance(answer, Missing) else None


def test_a_slot_has_not_been_measured_before_its_first_run(clock: FixedClock) -> None:
    """Before the first answer there is a reason, and success is neither true nor false."""
    slot = slot_of(Script(1).read, clock)

    assert reason(slot, clock) == "not_yet_measured"
    assert slot.state(clock.now).success is None


def test_an_answer_carries_its_probe_and_its_time(clock: FixedClock) -> None:
    """A value is known, from the probe, at the moment its run ended."""
    slot = slot_of(Script("value").read, clock)
    run(slot, clock)

    assert Known("value", "probe", 100.0) == slot.answer(clock.now)


def test_a_slot_is_due_again_after_its_cadence(clock: FixedClock) -> None:
    """Not before."""
    slot = slot_of(Script(1).read, clock, cadence_seconds=10.0)
    run(slot, clock)

    assert [slot.due(109.9), slot.due(110.0)] == [False, True]


def test_a_slot_may_begin_later(clock: FixedClock) -> None:
    """The first run waits as long as it is told."""
    slot = slot_of(Script(1).read, clock, first_after_seconds=3.0)

    assert [slot.due(102.9), slot.due(103.0)] == [False, True]


def test_a_probe_of_each_tick_is_due_whenever_a_tick_comes(clock: FixedClock) -> None:
    """Early ticks and ticks that jitter are ticks too."""
    slot = slot_of(Script(1).read, clock, each_tick=True)
    run(slot, clock)

    assert slot.due(100.5)


def test_a_hanging_probe_is_not_started_twice(clock: FixedClock, hanging: Hanging) -> None:
    """However often ticks come while it hangs."""
    slot = slot_of(hanging.read, clock, each_tick=True)
    for _ in range(5):
        run_due([slot], clock, 0.0)
        clock.now += 10.0

    assert slot.running
    assert hanging.calls == 1


def test_a_hanging_probe_costs_only_its_own_slot(clock: FixedClock, hanging: Hanging) -> None:
    """The others answer on every tick, beside it."""
    stuck = slot_of(hanging.read, clock, timeout_seconds=0.01)
    healthy = Script(1, 2, 3)
    fine = slot_of(healthy.read, clock, timeout_seconds=LONG)
    values = []
    for _ in range(3):
        run_due([stuck, fine], clock, LONG)
        values.append(fine.answer(clock.now))
        clock.now += 10.0

    assert [v.value for v in values if isinstance(v, Known)] == [1, 2, 3]


def test_a_hanging_probe_times_out_after_its_timeout(clock: FixedClock, hanging: Hanging) -> None:
    """It is under way until then, and has failed afterwards."""
    slot = slot_of(hanging.read, clock, timeout_seconds=5.0)
    slot.start(clock.now)
    clock.now += 5.0
    before = slot.state(clock.now)
    clock.now += 0.1
    after = slot.state(clock.now)

    assert (before.success, before.reason) == (None, None)
    assert (after.success, after.reason) == (False, "timeout")
    assert reason(slot, clock) == "timeout"


def test_a_probe_that_hung_recovers_when_it_comes_back(clock: FixedClock, hanging: Hanging) -> None:
    """Its late answer counts, and it is due again."""
    slot = slot_of(hanging.read, clock)
    slot.start(clock.now)
    clock.now += 60.0
    hanging.release.set()
    assert slot.wait(LONG)

    assert Known("late", "probe", 160.0) == slot.answer(clock.now)
    assert (slot.state(clock.now).success, slot.state(clock.now).duration_seconds) == (True, 60.0)
    assert slot.due(clock.now)


def test_a_value_is_stale_after_three_cadences(clock: FixedClock) -> None:
    """It is shown up to that age and absent after it; the time of the success stays."""
    slot = slot_of(Script(1).read, clock, cadence_seconds=10.0)
    run(slot, clock)
    success_at = clock.wall()
    clock.now += STALE_AFTER_CADENCES * 10.0
    fresh = slot.answer(clock.now)
    clock.now += 0.1

    assert isinstance(fresh, Known)
    assert reason(slot, clock) == "stale"
    assert success_at == slot.state(clock.now).last_success_wall_seconds


def test_a_failure_hides_the_last_value(clock: FixedClock) -> None:
    """A value of before the failure is not shown as if it were of now."""
    slot = slot_of(Script(1, ProbeFailed("broken", "it broke")).read, clock)
    run(slot, clock)
    clock.now += 10.0
    run(slot, clock)

    assert Missing("broken", "it broke") == slot.answer(clock.now)


def test_a_sticky_value_outlives_a_failure_until_it_is_stale(clock: FixedClock) -> None:
    """The failure is visible in the state all the while, and in the answer in the end."""
    slot = slot_of(
        Script(1, ProbeFailed("broken", "it broke")).read, clock, cadence_seconds=10.0, sticky=True
    )
    run(slot, clock)
    clock.now += 10.0
    run(slot, clock)
    kept = slot.answer(clock.now)
    clock.now += 20.1

    assert Known(1, "probe", 100.0) == kept
    assert (slot.state(clock.now).success, slot.state(clock.now).reason) == (False, "broken")
    assert reason(slot, clock) == "broken"


def test_no_data_is_told_from_a_failure(clock: FixedClock) -> None:
    """Both are no success, only one is normal."""
    absent = slot_of(Script(NoData("no_wal", "there is none")).read, clock)
    failed = slot_of(Script(ProbeFailed("broken", "it broke")).read, clock)
    run(absent, clock)
    run(failed, clock)
    states = [slot.state(clock.now) for slot in (absent, failed)]

    assert [(s.success, s.absent) for s in states] == [(False, True), (False, False)]
    assert [s.reason for s in states] == ["no_wal", "broken"]


@pytest.mark.parametrize("defect", [ValueError("odd"), RecursionError(), MemoryError(), OSError(5)])
def test_a_defect_in_a_probe_is_named_and_goes_no_further(
    clock: FixedClock, defect: Exception
) -> None:
    """Whatever a probe raises, its slot says "defect" and who it was."""
    slot = slot_of(Script(defect, 1).read, clock)
    run(slot, clock)
    answer = slot.answer(clock.now)
    clock.now += 10.0
    run(slot, clock)

    assert isinstance(answer, Missing)
    assert answer.reason == "defect"
    assert type(defect).__name__ in answer.detail
    assert isinstance(slot.answer(clock.now), Known)


def test_a_failed_run_is_brought_forward_by_its_retry(clock: FixedClock) -> None:
    """A success is not."""
    slot = slot_of(
        Script(ProbeFailed("broken", "it broke"), 1).read,
        clock,
        cadence_seconds=100.0,
        retry_seconds=7.0,
    )
    run(slot, clock)
    retried = [slot.due(106.9), slot.due(107.0)]
    clock.now = 107.0
    run(slot, clock)

    assert retried == [False, True]
    assert [slot.due(206.9), slot.due(207.0)] == [False, True]


def test_a_retry_never_delays_the_next_run(clock: FixedClock) -> None:
    """A retry longer than the cadence does nothing."""
    failure = Script(ProbeFailed("broken", "it broke"))
    slot = slot_of(failure.read, clock, cadence_seconds=10.0, retry_seconds=300.0)
    run(slot, clock)

    assert slot.due(110.0)


def test_pace_moves_the_next_run_and_the_staleness(clock: FixedClock) -> None:
    """The new cadence counts from the last start."""
    slot = slot_of(Script(1).read, clock, cadence_seconds=10.0)
    run(slot, clock)
    slot.pace(60.0)
    clock.now = 150.0

    assert [slot.due(159.9), slot.due(160.0)] == [False, True]
    assert isinstance(slot.answer(clock.now), Known)


def test_pace_before_the_first_run_keeps_its_time(clock: FixedClock) -> None:
    """What never ran has no start to count from."""
    slot = slot_of(Script(1).read, clock, first_after_seconds=3.0)
    slot.pace(60.0)

    assert [slot.due(102.9), slot.due(103.0)] == [False, True]


def test_run_due_starts_only_what_is_due(clock: FixedClock) -> None:
    """The others keep their time."""
    now, later = Script(1), Script(2)
    slots = [slot_of(now.read, clock), slot_of(later.read, clock, first_after_seconds=1.0)]
    run_due(slots, clock, LONG)

    assert (now.calls, later.calls) == (1, 0)


def test_run_due_waits_for_the_foreground_only(clock: FixedClock) -> None:
    """It returns while the background runs, with the foreground's answer there."""
    release = threading.Event()

    def until_released() -> str:
        # Released only after run_due has returned; if that waited for us, we would give up first.
        return "in time" if release.wait(5.0) else "waited for"

    background = slot_of(until_released, clock, timeout_seconds=LONG, background=True)
    foreground = slot_of(Script("there").read, clock, timeout_seconds=LONG)
    run_due([background, foreground], clock, LONG)
    release.set()
    assert background.wait(LONG)

    assert foreground.answer(clock.now) == Known("there", "probe", 100.0)
    assert background.answer(clock.now) == Known("in time", "probe", 100.0)


def test_run_due_gives_up_on_a_hanging_foreground(clock: FixedClock, hanging: Hanging) -> None:
    """After the probe's timeout, or the wait that was granted, whichever is shorter."""
    by_timeout = slot_of(hanging.read, clock, timeout_seconds=0.01)
    by_wait = slot_of(hanging.read, clock, timeout_seconds=LONG)
    run_due([by_timeout], clock, LONG)
    run_due([by_wait], clock, 0.01)

    assert by_timeout.running
    assert by_wait.running


def test_a_detail_that_is_no_valid_utf_8_is_escaped(clock: FixedClock) -> None:
    """Labels and JSON could not hold a path as the file system gave it."""
    failure = ProbeFailed("broken", b"/srv/\xff is gone".decode("utf-8", "surrogateescape"))
    slot = slot_of(Script(failure).read, clock)
    run(slot, clock)

    assert slot.state(clock.now).detail == r"/srv/\xff is gone"
