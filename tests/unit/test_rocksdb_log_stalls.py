"""The stall state machine: when a stall begins, persists and ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.rocksdb.log_stalls import StallTracker

SECOND = 1_000_000


def delayed_since(at_seconds: int, family: str = "default") -> StallTracker:
    tracker = StallTracker()
    tracker.warned(family, "delayed", "l0_files", 8e6, at_seconds * SECOND)
    return tracker


def test_a_stall_lasts_until_a_version_change_without_a_warning() -> None:
    """There is no line that says "resumed"."""
    tracker = delayed_since(10)
    tracker.version_changed("default", 14 * SECOND)
    assert tracker.conditions() == ()
    assert tracker.seconds(99 * SECOND) == {"delayed": 4.0, "stopped": 0.0}
    assert tracker.ended_micros == 14 * SECOND
    tracker.shift(SECOND)
    assert tracker.ended_micros == 15 * SECOND


def test_a_warning_made_after_the_finished_event_keeps_the_stall_on() -> None:
    """The event is made before the version is installed, and read after the warning."""
    tracker = delayed_since(10)
    tracker.warned("default", "delayed", "l0_files", 7e6, 14 * SECOND + 11)
    tracker.version_changed("default", 14 * SECOND)
    (condition,) = tracker.conditions()
    assert (
        condition.state,
        condition.since_wall_seconds,
        condition.delayed_write_rate,
    ) == ("delayed", 10.0, 7e6)


def test_a_warning_in_the_same_microsecond_keeps_the_stall_on() -> None:
    """Clocks tick coarser than the code runs."""
    tracker = delayed_since(10)
    tracker.version_changed("default", 10 * SECOND)
    assert len(tracker.conditions()) == 1


def test_another_familys_version_change_ends_nothing() -> None:
    """Each family has its own condition."""
    tracker = delayed_since(10)
    tracker.version_changed("other", 14 * SECOND)
    assert len(tracker.conditions()) == 1


def test_a_trivial_move_ends_a_stall_it_is_not_followed_by_a_warning_of() -> None:
    """Its version is installed between its first and its last line."""
    tracker = delayed_since(10)
    tracker.moving("default", 12 * SECOND)
    tracker.moved("default", 13 * SECOND)
    assert tracker.seconds(99 * SECOND) == {"delayed": 3.0, "stopped": 0.0}


def test_a_warning_during_a_trivial_move_keeps_the_stall_on() -> None:
    """The installed version is still too deep."""
    tracker = delayed_since(10)
    tracker.warned("default", "delayed", "l0_files", 7e6, 13 * SECOND - 5)
    tracker.moving("default", 12 * SECOND)
    tracker.moved("default", 13 * SECOND)
    assert len(tracker.conditions()) == 1


def test_stopped_wins_over_delayed_of_another_family() -> None:
    """A database is in one state at a time."""
    tracker = delayed_since(10, "a")
    tracker.warned("b", "stopped", "memtables", None, 12 * SECOND)
    tracker.version_changed("b", 15 * SECOND)
    tracker.version_changed("a", 20 * SECOND)
    assert tracker.seconds(99 * SECOND) == {"delayed": 7.0, "stopped": 3.0}
    assert tracker.entered() == {"delayed": 1, "stopped": 1}


def test_repeated_warnings_are_one_stall() -> None:
    """A line is logged at every version change, not at every stall."""
    tracker = delayed_since(10)
    for at in range(11, 20):
        tracker.warned("default", "delayed", "memtables", 1e6, at * SECOND)
    assert tracker.entered() == {"delayed": 1, "stopped": 0}
    assert (
        tracker.conditions()[0].cause,
        tracker.conditions()[0].since_wall_seconds,
    ) == ("memtables", 10.0)


def test_an_unfinished_stall_is_counted_up_to_now() -> None:
    """A database that hangs logs nothing."""
    assert delayed_since(10).seconds(40 * SECOND) == {"delayed": 30.0, "stopped": 0.0}


def test_a_clock_behind_the_log_gives_no_negative_seconds() -> None:
    """Wall clocks jump."""
    assert delayed_since(10).seconds(4 * SECOND) == {"delayed": 0.0, "stopped": 0.0}


def test_the_reported_seconds_never_go_back_when_the_end_is_learnt_late() -> None:
    """They are exported as a counter."""
    tracker = delayed_since(10)
    tracker.seconds(20 * SECOND)
    tracker.version_changed("default", 19 * SECOND)
    assert tracker.seconds(21 * SECOND)["delayed"] == 10.0


@pytest.mark.parametrize("ending", ["closed", "dropped"])
def test_closing_the_database_or_dropping_the_family_ends_its_stall(ending: str) -> None:
    """Nothing is left that could be stalled."""
    tracker = delayed_since(10)
    if ending == "closed":
        tracker.database_closed(15 * SECOND)
    else:
        tracker.column_family_dropped("default", 15 * SECOND)
    assert (tracker.conditions(), tracker.seconds(99 * SECOND)["delayed"]) == ((), 5.0)


_FAMILIES = st.sampled_from(["a", "b"])
_TIMES = st.integers(-100, 100)
_STEPS = st.one_of(
    st.tuples(st.just("warned"), _FAMILIES, st.sampled_from(["delayed", "stopped"]), _TIMES),
    st.tuples(
        st.sampled_from(["version_changed", "moving", "moved", "column_family_dropped"]),
        _FAMILIES,
        st.just(""),
        _TIMES,
    ),
)


@given(st.lists(_STEPS, max_size=40))
def test_seconds_only_grow_whatever_the_order(steps: list[tuple[str, str, str, int]]) -> None:
    """Lines may come in any order; a counter may not fall."""
    tracker = StallTracker()
    before = {"delayed": 0.0, "stopped": 0.0}
    for kind, family, state, at in steps:
        if kind == "warned":
            tracker.warned(family, state, "memtables", None, at)
        else:
            getattr(tracker, kind)(family, at)
        now = tracker.seconds(at)
        assert all(now[state] >= before[state] for state in now)
        before = now


def test_a_file_moved_as_the_database_was_opened_delays_no_later_moves_end() -> None:
    """DB::Open says "Moving" and never "Moved"."""
    tracker = StallTracker()
    tracker.moving("default", 0)
    tracker.warned("default", "delayed", "l0_files", 1.0, 5)
    tracker.moving("default", 10)
    tracker.moved("default", 12)
    assert tracker.conditions() == ()
