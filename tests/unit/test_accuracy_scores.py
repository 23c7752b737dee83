import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.truth.scores import Scored, pooled_spread, scored, spread, summary, wilson


def test_an_error_is_signed_and_relative_to_the_truth() -> None:
    """Above is positive: the direction that an operator acts on."""
    assert scored("base", 20_000.0, 23_000.0, None, None).error == pytest.approx(0.15)
    assert scored("base", 20_000.0, 17_000.0, None, None).error == pytest.approx(-0.15)


@pytest.mark.parametrize(("lower", "inside"), [(19_000.0, True), (20_001.0, False), (None, None)])
def test_a_truth_is_inside_an_interval_that_has_both_ends(
    lower: float | None, inside: bool | None
) -> None:
    """Without an interval there is nothing to judge."""
    assert scored("base", 20_000.0, 20_500.0, lower, 22_000.0).inside == inside


def test_the_summary_counts_coverage_only_over_intervals() -> None:
    """A model without intervals does not lower another's coverage."""
    total = summary([Scored("a", 0.1, True), Scored("b", -0.3, False), Scored("c", 0.0, None)])
    assert total is not None
    assert (total.count, total.covered, total.with_interval) == (3, 1, 2)
    assert (total.median, total.worst, total.above) == (0.1, 0.3, 0.1)


def test_the_90th_percentile_is_an_error_that_occurred() -> None:
    """Of ten, the ninth; of few, the worst."""
    ten = [Scored("a", n / 100, None) for n in range(1, 11)]
    total = summary(ten)
    assert total is not None
    assert total.p90 == 0.09
    few = summary(ten[:3])
    assert few is not None
    assert few.p90 == 0.03


def test_no_scores_have_no_summary() -> None:
    """Rather than zeros."""
    assert summary([]) is None


def test_wilson_gives_the_textbook_interval() -> None:
    """9 of 10: 0.596 to 0.982 (Newcombe 1998, method 3)."""
    assert wilson(9, 10) == pytest.approx((0.596, 0.982), abs=0.001)


@given(st.integers(1, 500), st.data())
def test_a_wilson_interval_holds_the_share_it_is_of(trials: int, data: st.DataObject) -> None:
    """For all counts, within 0..1."""
    successes = data.draw(st.integers(0, trials))
    low, high = wilson(successes, trials)
    assert 0.0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1.0


def test_one_value_has_no_spread() -> None:
    """A scenario that ran once says nothing of repeatability."""
    with pytest.raises(ValueError, match="no spread"):
        spread([1.0])
    assert pooled_spread([[1.0], [2.0]]) is None


def test_the_pooled_spread_weighs_groups_by_their_degrees_of_freedom() -> None:
    """Scenarios of different speed pool in relative terms."""
    assert pooled_spread([[90.0, 110.0], [900.0, 1100.0], [5.0]]) == pytest.approx(
        spread([90.0, 110.0])
    )
