"""What is kept of each moment, and of longer periods: integers, weights, gaps, unknowns."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.history.columns import DATABASES, TABLES, Column, Table
from agent.history.fold import Row, Stored, fold, key, time_of
from tests.unit.pasts import START

SMALL = Table(
    "small",
    (
        Column("rate", 10.0, extremes=("min", "max")),
        Column("stalled", 1000.0, "sum"),
        Column("soonest", 1.0, "min"),
        Column("word", fold="most", word=True),
    ),
)


def raw(second: int, *values: Stored, series: int = 1) -> Row:
    return key(START + second, series), values


def folded(rows: list[Row], seconds: int = 60) -> dict[int, list[Stored]]:
    """By seconds since the start."""
    return {
        time_of(row_key) - START: list(values)
        for row_key, values in fold(SMALL, rows, seconds, folded=False)
    }


@given(st.sampled_from([c for t in TABLES for c in t.columns if not c.word]), st.floats(0.0, 1e6))
def test_a_number_comes_back_within_half_a_unit(column: Column, value: float) -> None:
    """To the unit that it is stored in."""
    (back,) = column.decode([column.encode(value)])

    assert back is not None
    assert abs(back - value) <= 0.5 / column.per_unit + 1e-9 * value


def test_what_is_beyond_all_measure_is_cut_and_not_an_error() -> None:
    """An integer of SQLite has 64 bits."""
    assert Column("any", 10.0).encode(1e300) == 2**53
    assert Column("any", 10.0).encode(-1e300) == -(2**53)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_unknown(value: float | None) -> None:
    """NULL, and never 0."""
    assert Column("any").encode(value) is None


def test_a_stall_that_is_not_ahead_stays_that() -> None:
    """Infinite is a statement about the time to a stall, and survives."""
    column = next(c for c in DATABASES.columns if c.name == "time_to_stall_seconds")
    stored = [column.encode(math.inf), column.encode(90.0), None]

    assert column.decode(stored) == [math.inf, 90.0, None]


def test_a_minute_keeps_mean_extremes_sum_and_the_most_frequent_word() -> None:
    """And says of how many samples it is made."""
    rows = [raw(0, 10, 1000, 50, 7), raw(10, 20, 500, 40, 8), raw(20, 60, None, None, 7)]

    assert folded(rows) == {0: [30, 1500, 40, 7, 10, 60, 3]}


def test_what_nobody_knows_stays_unknown() -> None:
    """A mean of nothing is nothing."""
    assert folded([raw(0, None, None, None, None)]) == {0: [None] * 6 + [1]}


def test_a_gap_stays_a_gap() -> None:
    """No row is made up for a time without samples."""
    rows = [raw(0, 10, 0, 1, 1), raw(190, 30, 0, 1, 1)]

    assert list(folded(rows)) == [0, 180]


def test_series_are_kept_apart() -> None:
    """They share a table."""
    rows = [raw(0, 10, 0, 1, 1, series=1), raw(0, 50, 0, 1, 1, series=2)]

    assert [values[0] for _, values in fold(SMALL, rows, 60, folded=False)] == [10, 50]


def test_ten_minutes_weigh_each_minute_by_its_samples() -> None:
    """A minute with one sample counts for a sixth of a whole one; extremes are those of samples."""
    minutes: list[Row] = [
        (key(START, 1), [60, 10, 5, 1, 1, 90, 6]),
        (key(START + 60, 1), [130, 20, 9, 2, 100, 200, 1]),
    ]

    (row,) = fold(SMALL, minutes, 600, folded=True)

    assert row == (key(START, 1), [70, 30, 5, 1, 1, 200, 7])


samples = st.lists(
    st.tuples(
        st.integers(0, 5000),
        st.none() | st.integers(-(10**6), 10**6),
        st.none() | st.integers(0, 10**4),
    ),
    max_size=60,
    unique_by=lambda sample: sample[0],
)


@given(samples)
def test_folding_twice_is_folding_once(found: list[tuple[int, Stored, Stored]]) -> None:
    """Sums, extremes and counts exactly; they are what stalls and peaks are kept by."""
    rows = [raw(second, rate, stalled, rate, 1) for second, rate, stalled in sorted(found)]
    once = fold(SMALL, rows, 600, folded=False)
    twice = fold(SMALL, fold(SMALL, rows, 60, folded=False), 600, folded=True)

    assert [k for k, _ in twice] == [k for k, _ in once]
    assert [list(v)[1:] for _, v in twice] == [list(v)[1:] for _, v in once]


@given(samples)
def test_a_mean_lies_between_its_extremes(found: list[tuple[int, Stored, Stored]]) -> None:
    """Whatever was unknown in between."""
    rows = [raw(second, rate, stalled, rate, 1) for second, rate, stalled in sorted(found)]
    for values in folded(rows).values():
        mean, least, most = values[0], values[4], values[5]
        assert mean is None or (least is not None and most is not None and least <= mean <= most)
