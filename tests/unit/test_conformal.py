"""Quantiles, binomial intervals and robust means against what defines them."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.learning.conformal import (
    Evidence,
    clopper_pearson,
    conformal_quantile,
    labels_for,
    robust_center,
    weighted_median,
)

VALUES = st.floats(-5, 5)


@pytest.mark.parametrize(("count", "rank"), [(9, 9), (10, 10), (19, 18), (20, 19), (99, 90)])
def test_the_quantile_is_the_score_of_rank_ceil_of_n_plus_1_times_the_level(
    count: int, rank: int
) -> None:
    """Scores 1 .. n: the score is its own rank."""
    assert conformal_quantile([float(n) for n in range(count, 0, -1)], 0.9) == rank


def test_below_nine_scores_there_is_no_90_percent_quantile() -> None:
    """A bound with that probability does not exist."""
    assert [conformal_quantile([1.0] * n, 0.9) for n in range(9)] == [None] * 9
    assert labels_for(0.9) == 9


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 10, 0.0, 0.25887), (10, 10, 0.74113, 1.0), (5, 10, 0.22244, 0.77756)],
)
def test_the_binomial_interval_is_the_one_of_the_tables(
    successes: int, trials: int, low: float, high: float
) -> None:
    """Clopper and Pearson's, level 0.9."""
    assert clopper_pearson(successes, trials, 0.9) == pytest.approx((low, high), abs=1e-5)


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_binomial_interval_contains_the_share(counts: tuple[int, int]) -> None:
    """And is the mirror image of the failures' one."""
    successes, trials = counts
    low, high = clopper_pearson(successes, trials, 0.9)
    assert 0 <= low <= successes / trials <= high <= 1
    mirrored = clopper_pearson(trials - successes, trials, 0.9)
    assert (1 - high, 1 - low) == pytest.approx(mirrored, abs=1e-9)


@given(st.lists(VALUES, min_size=1, max_size=30))
def test_the_weighted_median_with_equal_weights_is_the_median(values: list[float]) -> None:
    """Whatever the order."""
    evidence = [Evidence(value, 1.0) for value in values]
    assert weighted_median(evidence) == pytest.approx(statistics.median(values))


@given(st.lists(VALUES, min_size=1, max_size=30), st.floats(0, 5))
def test_the_center_lies_between_zero_and_the_values(values: list[float], prior: float) -> None:
    """Shrinkage never overshoots."""
    center = robust_center([Evidence(value, 1.0) for value in values], prior, 0.1)
    assert min(0.0, *values, 0.0) - 1e-9 <= center <= max(0.0, *values, 0.0) + 1e-9


def test_the_prior_weighs_as_many_observations_of_nought() -> None:
    """Three quarters of the way with one third of the weight."""
    assert robust_center([Evidence(0.1, 3.0)], 1.0, 1.0) == pytest.approx(0.075)


def test_a_bound_pulls_only_while_it_is_violated() -> None:
    """At least 0.2, with a center of 0 or of 0.5."""
    bound = Evidence(0.2, 1.0, "at_least")
    assert robust_center([bound], 0.01, 0.1) == pytest.approx(0.2, rel=0.02)
    assert robust_center([Evidence(0.5, 1.0), bound], 0.0, 0.1) == pytest.approx(0.5)


def test_the_median_of_nothing_is_an_error() -> None:
    """There is no value to return."""
    with pytest.raises(ValueError, match="at least one"):
        weighted_median([])


def test_an_outlier_counts_for_little() -> None:
    """Nine values at 0 and one at 5."""
    center = robust_center([Evidence(0.0, 1.0)] * 9 + [Evidence(5.0, 1.0)], 0.0, 0.1)
    assert 0 < center < 0.02
    assert math.isfinite(center)
