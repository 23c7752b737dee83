import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.calibrate.steady import LEAST_SAMPLES, MOST_SAMPLES, no_trend, trend


def sawtooth(count: int, period: int, rise: float = 0.0) -> list[float]:
    """Level-0 files: up by flushes, down by a compaction, with a drift of ``rise`` in all."""
    return [20.0 + index % period + rise * index / count for index in range(count)]


def test_constant_samples_are_steady() -> None:
    """Nothing moves, and ties leave no variance to divide by."""
    assert no_trend([4.0] * 50)


@pytest.mark.parametrize("period", [3, 7, 16, 30])
def test_a_sawtooth_is_steady(period: int) -> None:
    """Compaction cycles are not a trend, however long against the sampling."""
    assert no_trend(sawtooth(240, period))


@pytest.mark.parametrize("rise", [10.0, -10.0])
def test_a_sawtooth_that_drifts_is_not(rise: float) -> None:
    """Debt that grows, or that is still being worked off, is no saturation."""
    assert not no_trend(sawtooth(240, 7, rise))


def test_a_significant_but_small_drift_does_not_matter() -> None:
    """A tenth of the level is the tolerance of S_max itself."""
    values = [1000.0 + index * 0.2 for index in range(200)]
    found = trend(values)
    assert found is not None
    assert found.probability < 0.001
    assert no_trend(values)


def test_a_change_below_the_given_one_does_not_matter() -> None:
    """Near zero a share of the level says nothing."""
    values = [index / 20.0 for index in range(40)]
    assert (no_trend(values), no_trend(values, least_change=2.0)) == (False, True)


def test_too_few_samples_show_nothing() -> None:
    """Not proven steady is not steady."""
    assert not no_trend([1.0] * (LEAST_SAMPLES - 1))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_samples_that_are_no_numbers_show_nothing(bad: float) -> None:
    """They must not be sorted somewhere into the ranks."""
    assert trend([1.0] * 20 + [bad]) is None


def test_one_outlier_makes_no_trend() -> None:
    """Ranks and medians: a single burst of pending bytes is passed over."""
    assert no_trend([10.0 + index % 2 for index in range(30)] + [1e12])


def test_the_slope_is_that_of_a_straight_line() -> None:
    """Theil and Sen's median of slopes, times the span."""
    found = trend([3.0 * index for index in range(50)])
    assert found is not None
    assert found.change == pytest.approx(3.0 * 49)


def test_a_long_series_is_averaged_and_keeps_its_change() -> None:
    """All pairs of an hour's samples would take seconds."""
    found = trend([float(index) for index in range(100 * MOST_SAMPLES)])
    assert found is not None
    assert found.change == pytest.approx(100.0 * (MOST_SAMPLES - 1))


def test_random_walks_of_noise_are_seldom_called_trends() -> None:
    """Autocorrelated noise around a level: the plain test would be wrong far more often."""
    generator = random.Random(1)  # noqa: S311 - reproducible noise
    wrong = 0
    for _ in range(100):
        value, values = 0.0, []
        for _ in range(120):
            value = 0.8 * value + generator.gauss(0.0, 3.0)
            values.append(20.0 + value)
        wrong += not no_trend(values)
    assert wrong <= 20  # 5 by chance; 24 without the correction


@given(st.lists(st.floats(0, 1e12), min_size=LEAST_SAMPLES, max_size=40))
def test_time_reversed_is_the_opposite_trend(values: list[float]) -> None:
    """Nothing in the test prefers growth to decline."""
    forward, backward = trend(values), trend(values[::-1])
    assert forward is not None
    assert backward is not None
    assert forward.change == pytest.approx(-backward.change, rel=1e-6, abs=1e-3)
    assert 0.0 <= forward.probability <= 1.0
