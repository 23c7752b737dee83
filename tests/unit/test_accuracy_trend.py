import pytest

from tests.bench.truth.trend import Sample, put_rate, second_half, trend

GIB = float(1 << 30)


def samples(level0: list[float], pending: list[float], puts: float = 100_000.0) -> list[Sample]:
    return [
        Sample(5.0 * (number + 1), 5.0, puts, files, owed)
        for number, (files, owed) in enumerate(zip(level0, pending, strict=True))
    ]


def test_a_sawtooth_around_a_level_is_steady() -> None:
    """Compactions of L0 make files rise and fall without a trend."""
    found = trend(samples([14.0, 17.0, 20.0] * 5, [4 * GIB, 4.5 * GIB, 5 * GIB] * 5))
    assert found.steady


def test_a_growing_l0_is_not_steady() -> None:
    """Half a file more every five seconds is a database that will stop."""
    found = trend(samples([5.0 + 0.5 * n for n in range(15)], [4 * GIB] * 15))
    assert pytest.approx(7.0) == found.level0_files
    assert not found.steady


def test_falling_debt_is_a_trend_too() -> None:
    """A rate during catching up is too low to be the truth."""
    found = trend(samples([10.0] * 15, [(10 - 0.5 * n) * GIB for n in range(15)]))
    assert pytest.approx(-7 * GIB) == found.pending_bytes
    assert not found.steady


def test_one_outlier_does_not_make_a_trend() -> None:
    """The median of slopes ignores what least squares would follow."""
    found = trend(samples([12.0] * 14 + [36.0], [4 * GIB] * 15))
    assert found.level0_files == 0.0
    assert found.steady


def test_small_drift_of_a_calm_database_is_steady() -> None:
    """Pending bytes of one merge are no debt."""
    found = trend(samples([2.0 + 0.1 * n for n in range(12)], [10e6 * n for n in range(12)]))
    assert found.steady


def test_too_few_samples_are_never_steady() -> None:
    """What was not seen long enough is not known."""
    assert not trend(samples([3.0] * 5, [0.0] * 5)).steady


def test_the_second_half_starts_at_or_after_the_middle() -> None:
    """An interval that straddles the middle belongs to the first half."""
    half = second_half(samples([0.0] * 31, [0.0] * 31))
    assert [80.0 + 5.0 * n for n in range(1, 16)] == [one.at_seconds for one in half]


def test_no_samples_have_no_second_half() -> None:
    """And no rate."""
    assert second_half([]) == []
    with pytest.raises(ValueError, match="no samples"):
        put_rate([])


def test_the_put_rate_weighs_intervals_by_their_length() -> None:
    """A late progress line covers more time."""
    uneven = [Sample(4.0, 4.0, 400.0, 0, 0), Sample(10.0, 6.0, 1200.0, 0, 0)]
    assert put_rate(uneven) == 160.0
