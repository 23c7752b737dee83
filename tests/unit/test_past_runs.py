"""The runs of fio so far: what keeps the next one waiting, also after a restart."""

import msgspec
import pytest

from agent.learning.memory import CapacityMemory, DeviceIdentity, ProbingMemory, RunsMemory
from agent.probing.past_runs import RETRY_SECONDS, Outcome, PastRuns
from probes.fio import FioMode

HOUR = 3600.0
INTERVAL = 6 * HOUR
WALL = 1_700_000_000.0
DRIVE = DeviceIdentity("sda", 10**12, "a drive 0123")
NAMELESS = DeviceIdentity("md0", 10**12)


def kept(
    past: PastRuns, at: float, device: DeviceIdentity = DRIVE, *, measured: bool = False
) -> ProbingMemory:
    """As it is written down at ``at``, by a wall clock that goes with the monotonic one."""
    capacity = CapacityMemory(1e8, None, False, "fio", WALL + at) if measured else None
    return ProbingMemory(device, capacity, past.memory(at, WALL + at), WALL + at)


def run(past: PastRuns, at: float, outcome: Outcome, mode: FioMode = FioMode.FAST) -> None:
    past.started(at, mode)
    past.finished(at, outcome)


def test_a_rest_goes_on_over_a_restart() -> None:
    """A monotonic clock that began anew has no part in it."""
    past = PastRuns()
    for _ in range(3):
        run(past, 100.0, Outcome.FAILED)
    again = PastRuns.recalled(kept(past, 200.0), 5.0, WALL + 300.0)
    assert past.backing_off_seconds(300.0, INTERVAL) == 1000.0
    assert again.backing_off_seconds(5.0, INTERVAL) == pytest.approx(1000.0)
    assert again.last_outcome == "failed"


def test_a_clock_that_was_set_back_makes_no_rest_shorter() -> None:
    """How long ago the run was cannot be told: perhaps it has just ended."""
    past = PastRuns()
    run(past, 100.0, Outcome.FAILED)
    again = PastRuns.recalled(kept(past, 10_000.0), 5.0, WALL + 9_999.0)
    assert again.backing_off_seconds(5.0, INTERVAL) == RETRY_SECONDS


def test_a_run_that_the_agent_did_not_outlive_counts_as_one_without_a_result() -> None:
    """A crash loop comes to rest."""
    past, at, starts = PastRuns(), 0.0, []
    while at < 24 * HOUR:
        if past.backing_off_seconds(at, INTERVAL) == 0.0:
            starts.append(at)
            past.started(at, FioMode.FAST)
        memory = kept(past, at)  # killed right after the tick, and started again a minute later
        at += 60.0
        past = PastRuns.recalled(memory, at, WALL + at)
    assert past.last_outcome == "interrupted"
    assert [round(start) for start in starts[:5]] == [0, 300, 900, 2100, 4500]
    assert len(starts) <= 10


@pytest.mark.parametrize("life", [120.0, 600.0])
def test_where_no_measurement_is_kept_a_run_of_each_start_is_not_the_first_one_for_ever(
    life: float,
) -> None:
    """The device has no name that lasts; the agent ends again and again, having measured."""
    past, at, starts = PastRuns(keeps=False), 0.0, []
    while at < 24 * HOUR:
        if past.backing_off_seconds(at, INTERVAL) == 0.0:
            starts.append(at)
            run(past, at, Outcome.MEASURED)
        memory = kept(past, at, NAMELESS)
        at += life
        past = PastRuns.recalled(memory, at, WALL + at)
    assert len(starts) <= 10


def test_where_no_measurement_is_kept_a_restart_is_soon_forgotten() -> None:
    """Once the same process has measured twice."""
    first = PastRuns(keeps=False)
    run(first, 0.0, Outcome.MEASURED)
    assert first.backing_off_seconds(1.0, INTERVAL) == 0.0
    second = PastRuns.recalled(kept(first, 1.0, NAMELESS), 1.0, WALL + 1.0)
    assert second.backing_off_seconds(1.0, INTERVAL) == RETRY_SECONDS - 1.0
    for at in (400.0, 400.0 + INTERVAL):
        run(second, at, Outcome.MEASURED)
        assert second.backing_off_seconds(at, INTERVAL) == 0.0
    for _ in range(3):  # restarts without a run
        second = PastRuns.recalled(kept(second, at, NAMELESS), at, WALL + at)
        assert second.backing_off_seconds(at, INTERVAL) == RETRY_SECONDS


def test_what_was_refused_is_tried_again_after_a_restart() -> None:
    """It wrote nothing, and fio may have been installed meanwhile; then it is waited for longer."""
    past = PastRuns()
    run(past, 0.0, Outcome.REFUSED)
    run(past, 0.0, Outcome.REFUSED)
    again = PastRuns.recalled(kept(past, 10.0), 10.0, WALL + 10.0)
    assert past.backing_off_seconds(10.0, INTERVAL) == 590.0
    assert again.backing_off_seconds(10.0, INTERVAL) == 0.0
    run(again, 20.0, Outcome.REFUSED)
    assert again.backing_off_seconds(20.0, INTERVAL) == 1200.0


def test_a_measurement_that_is_kept_leaves_nothing_to_wait_for() -> None:
    """Nor is the longer run forgotten."""
    past = PastRuns()
    run(past, 0.0, Outcome.FAILED)
    run(past, 0.0, Outcome.MEASURED, FioMode.BALANCED)
    again = PastRuns.recalled(kept(past, 10.0, measured=True), 10.0, WALL + 10.0)
    assert again.backing_off_seconds(10.0, INTERVAL) == 0.0
    assert again.long_run_done


def test_what_is_written_down_is_the_same_again() -> None:
    """By any monotonic clock."""
    past = PastRuns()
    run(past, 100.0, Outcome.ABORTED)
    past.started(500.0, FioMode.FAST)
    memory = past.memory(600.0, WALL + 600.0)
    assert memory == RunsMemory(False, 1, "aborted", WALL + 100.0, WALL + 500.0)
    ended = msgspec.structs.replace(memory, running_since_wall_seconds=None)
    entry = ProbingMemory(DRIVE, None, ended, WALL + 600.0)
    assert PastRuns.recalled(entry, 7.0, WALL + 600.0).memory(7.0, WALL + 600.0) == ended
