"""Ratios of sums and their standard error."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.demands.ratio_estimate import MAX_BLOCKS, joint_spread, ratio_of_sums

TERMS = st.lists(
    st.tuples(st.floats(0.0, 1e12), st.floats(1e-3, 1e9)), min_size=1, max_size=2 * MAX_BLOCKS
)


def test_a_ratio_is_the_sum_over_the_sum_and_not_a_mean_of_ratios() -> None:
    """A small term weighs little."""
    found = ratio_of_sums([(10.0, 10.0), (90.0, 30.0)])
    assert found is not None
    assert (found.value, found.terms) == (100.0 / 40.0, 2)


def test_terms_in_proportion_have_no_error() -> None:
    """Every term says the same, whatever its size."""
    found = ratio_of_sums([(3.0, 1.0), (30.0, 10.0), (6.0, 2.0)])
    assert found is not None
    assert pytest.approx(0.0, abs=1e-12) == found.spread_ratio


def test_a_single_term_tells_no_error() -> None:
    """One job is one number, however large."""
    found = ratio_of_sums([(5.0, 2.0)])
    assert found is not None
    assert found.spread_ratio is None


@pytest.mark.parametrize("terms", [[], [(5.0, 0.0)]])
def test_nothing_over_nothing_is_no_ratio(terms: list[tuple[float, float]]) -> None:
    """Bytes without puts are no demand."""
    assert ratio_of_sums(terms) is None


def test_the_error_is_that_of_repeated_samples() -> None:
    """The mean of the claimed errors is the scatter of the ratios themselves, within a fifth."""
    chance = random.Random(1)  # noqa: S311 - reproducible on purpose
    values, claims = [], []
    for _ in range(400):
        terms = [(chance.expovariate(1.0) * 100.0, chance.uniform(5.0, 15.0)) for _ in range(20)]
        found = ratio_of_sums(terms)
        assert found is not None
        assert found.spread_ratio is not None
        values.append(found.value)
        claims.append(found.spread_ratio * found.value)
    mean = sum(values) / len(values)
    scatter = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    assert pytest.approx(scatter, rel=0.2) == sum(claims) / len(claims)


def test_neighbours_that_resemble_each_other_are_joined_to_blocks() -> None:
    """Two hundred terms that come in runs of ten are not two hundred independent ones."""
    runs = [(float(1 + run % 2), 1.0) for run in range(20) for _ in range(10)]
    mixed = [(float(1 + index % 2), 1.0) for index in range(200)]
    in_runs, in_turn = ratio_of_sums(runs), ratio_of_sums(mixed)
    assert in_runs is not None
    assert in_turn is not None
    assert (in_runs.spread_ratio or 0.0) > 2.0 * (in_turn.spread_ratio or 0.0)


@given(TERMS, st.floats(0.01, 100.0))
def test_the_unit_of_the_numerator_does_not_change_the_relative_error(
    terms: list[tuple[float, float]], factor: float
) -> None:
    """Bytes or kilobytes: the relative error is the same."""
    one = ratio_of_sums(terms)
    other = ratio_of_sums([(top * factor, bottom) for top, bottom in terms])
    assert one is not None
    assert other is not None
    assert pytest.approx(one.value * factor, rel=1e-6, abs=1e-30) == other.value
    if one.spread_ratio is not None and one.value > 1e-9 and other.spread_ratio is not None:
        assert pytest.approx(one.spread_ratio, rel=1e-3, abs=1e-6) == other.spread_ratio


def test_errors_of_independent_factors_add_in_squares() -> None:
    """3 % and 4 % make 5 %; one unknown makes the product's unknown."""
    assert joint_spread(0.03, 0.04) == pytest.approx(0.05)
    assert joint_spread(0.03, None) is None
