"""Rates out of counters: windows, resets, and intervals that do not count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.rates import CounterWindow, IntervalWindow, MeanRate
from agent.readings import Known, Missing, derive, first_known, value_of


def test_there_is_no_rate_before_the_second_reading() -> None:
    """One reading says how much, not how fast."""
    window = CounterWindow(60.0)
    assert window.mean(60.0) is None
    window.add(0.0, 100.0)
    assert window.mean(60.0) is None


def test_a_rate_is_the_difference_over_the_time_between() -> None:
    """With less than the window known, the mean is over what there is, and says so."""
    window = CounterWindow(60.0)
    window.add(5.0, 100.0)
    window.add(15.0, 350.0)
    assert window.mean(60.0) == MeanRate(25.0, 10.0, 15.0)


def test_a_counter_that_went_back_gives_no_rate_until_two_later_readings() -> None:
    """Neither a negative rate, nor one across the reset."""
    window = CounterWindow(60.0)
    for at, value in ((0.0, 1000.0), (10.0, 2000.0), (20.0, 50.0)):
        window.add(at, value)
    assert window.mean(60.0) is None
    window.add(30.0, 80.0)
    assert window.mean(60.0) == MeanRate(3.0, 10.0, 30.0)


def test_a_reading_that_is_not_later_is_ignored() -> None:
    """The same sample may be handed in twice."""
    window = CounterWindow(60.0)
    window.add(0.0, 0.0)
    window.add(10.0, 100.0)
    window.add(10.0, 100.0)
    window.add(9.0, 5.0)
    assert window.mean(60.0) == MeanRate(10.0, 10.0, 10.0)


def test_the_mean_forgets_what_is_older_than_the_window() -> None:
    """A burst of an hour ago is not part of the last minute."""
    window = CounterWindow(60.0)
    value = 0.0
    for tick in range(30):
        value += 1e6 if tick < 20 else 10.0
        window.add(10.0 * tick, value)
    assert window.mean(60.0) == MeanRate(1.0, 60.0, 290.0)


def test_the_mean_spans_the_whole_window_when_readings_do_not_fall_on_its_edge() -> None:
    """It begins at the last reading before the window, never inside it."""
    window = CounterWindow(60.0)
    for at in (0.0, 25.0, 50.0, 75.0, 100.0):
        window.add(at, at * 2.0)
    assert window.mean(60.0) == MeanRate(2.0, 75.0, 100.0)


def test_a_gap_longer_than_the_window_is_averaged_over_the_gap() -> None:
    """Two readings are kept however far apart they are."""
    window = CounterWindow(60.0)
    window.add(0.0, 0.0)
    window.add(600.0, 6000.0)
    assert window.mean(60.0) == MeanRate(10.0, 600.0, 600.0)


def test_clearing_forgets_everything() -> None:
    """The next rate needs two new readings."""
    window = CounterWindow(60.0)
    window.add(0.0, 0.0)
    window.add(1.0, 1.0)
    window.clear()
    window.add(2.0, 100.0)
    assert window.mean(60.0) is None
    assert len(window) == 1


@given(
    st.lists(st.tuples(st.floats(0.1, 100.0), st.integers(0, 10**6)), min_size=2, max_size=200),
    st.floats(1.0, 300.0),
)
def test_a_window_is_bounded_and_its_mean_lies_between_the_extremes(
    steps: list[tuple[float, int]], keep: float
) -> None:
    """No mean is above the fastest interval or below the slowest, nor spans too little."""
    window = CounterWindow(keep)
    at = value = 0.0
    window.add(at, value)
    rates = []
    for elapsed, amount in steps:
        at, value = at + elapsed, value + amount
        rates.append(amount / elapsed)
        window.add(at, value)
    mean = window.mean(keep)
    assert mean is not None
    assert min(rates) * (1 - 1e-6) <= mean.per_second <= max(rates) * (1 + 1e-6)
    assert mean.span_seconds >= min(keep, at) * (1 - 1e-9)
    assert len(window) <= keep / min(elapsed for elapsed, _ in steps) + 3


def test_intervals_that_were_not_added_do_not_count() -> None:
    """The mean is over the time that was accounted, not over the clock."""
    window = IntervalWindow(300.0)
    assert window.mean() is None
    window.add(10.0, 10.0, 1000.0)
    window.add(40.0, 10.0, 3000.0)
    assert window.mean() == MeanRate(200.0, 20.0, 40.0)


def test_intervals_older_than_the_window_are_dropped() -> None:
    """Only what ended within the last minutes is part of the mean."""
    window = IntervalWindow(60.0)
    window.add(0.0, 10.0, 1e9)
    window.add(61.0, 10.0, 50.0)
    assert window.mean() == MeanRate(5.0, 10.0, 61.0)
    window.clear()
    assert window.mean() is None


def test_intervals_may_be_shorter_than_a_second() -> None:
    """The mean is per second all the same."""
    window = IntervalWindow(60.0)
    window.add(0.0, 0.25, 10.0)
    assert window.mean() == MeanRate(40.0, 0.25, 0.0)


def test_an_interval_without_length_gives_no_rate() -> None:
    """Nothing over no time is not zero."""
    window = IntervalWindow(60.0)
    window.add(0.0, 0.0, 10.0)
    assert window.mean() is None


def test_a_derived_value_keeps_its_source_and_time() -> None:
    """And a missing one its reason."""
    absent = Missing("no_wal", "there is none")
    assert derive(Known(2.0, "wal", 7.0), lambda value: value * 3) == Known(6.0, "wal", 7.0)
    assert derive(absent, lambda value: value) is absent


def test_the_first_known_rung_of_a_ladder_holds() -> None:
    """When none does, the best source's reason is the one to tell."""
    best, worst = Missing("a", "best source"), Missing("b", "worst source")
    assert first_known(best, Known(0.0, "second", 1.0), worst) == Known(0.0, "second", 1.0)
    assert first_known(best, worst) is best
    assert (value_of(Known(0.0, "x", 0.0)), value_of(best)) == (0.0, None)


@pytest.mark.parametrize(("now", "age"), [(12.0, 5.0), (7.0, 0.0), (6.0, 0.0)])
def test_an_age_is_never_negative(now: float, age: float) -> None:
    """A reading may be younger than the tick that looks at it."""
    assert age == Known(1.0, "x", 7.0).age_seconds(now)


def test_a_mean_since_a_moment_leaves_out_what_began_earlier() -> None:
    """So that it can be compared with what is known only from then on."""
    window = IntervalWindow(keep_seconds=300.0)
    window.add(10.0, 10.0, 1000.0)
    window.add(20.0, 10.0, 50.0)

    assert window.mean(since=10.0) == MeanRate(5.0, 10.0, 20.0)
    assert window.mean(since=11.0) is None
