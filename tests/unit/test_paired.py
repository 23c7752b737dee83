import numpy as np
import pytest

from tests.bench.paired import (
    Aim,
    Estimate,
    alternating,
    median_ratio,
    mixed_throughput,
)


def test_the_order_turns_with_every_pair() -> None:
    """A B B A A B: whatever drifts steadily falls on both sides alike."""
    order = list(alternating(4))
    assert [agent for _, agent in order] == [True, False, False, True, True, False, False, True]
    assert [pair for pair, _ in order] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_pairs_that_agree_have_a_narrow_interval_around_their_median() -> None:
    """The interval contains the point, and the point is the median."""
    found = median_ratio([0.99, 1.0, 0.995, 1.005, 0.998, 1.002, 0.997, 1.001, 0.999, 1.0])
    assert found.point == pytest.approx(0.9995)
    assert found.lower is not None
    assert found.upper is not None
    assert 0.99 <= found.lower < 0.9995 < found.upper <= 1.005


def test_one_pair_has_no_interval() -> None:
    """Nothing says how it would repeat."""
    assert median_ratio([0.9]) == Estimate(0.9, None, None, 1)


def test_no_pairs_are_an_error() -> None:
    """Not a ratio of 1."""
    with pytest.raises(ValueError, match="no pairs"):
        median_ratio([])


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Of 100 experiments of 12 pairs with a true ratio of 1, at least 85 contain it."""
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(100):
        found = median_ratio(list(generator.normal(1.0, 0.02, 12)))
        assert found.lower is not None
        assert found.upper is not None
        covered += found.lower <= 1.0 <= found.upper
    assert covered >= 85


LOSS = Aim(worse_is_lower=True, point_change=0.01, interval_change=0.03)
INCREASE = Aim(worse_is_lower=False, point_change=0.02, interval_change=0.10)


@pytest.mark.parametrize(
    ("aim", "estimate", "reached"),
    [
        (LOSS, Estimate(0.995, 0.975, 1.01, 10), True),
        (LOSS, Estimate(0.985, 0.975, 1.01, 10), False),
        (LOSS, Estimate(0.995, 0.965, 1.01, 10), False),
        (LOSS, Estimate(1.05, 1.01, 1.10, 10), True),
        (LOSS, Estimate(1.0, None, None, 1), False),
        (INCREASE, Estimate(1.01, 0.9, 1.09, 10), True),
        (INCREASE, Estimate(1.03, 0.9, 1.09, 10), False),
        (INCREASE, Estimate(1.01, 0.9, 1.11, 10), False),
        (INCREASE, Estimate(0.9, 0.8, 0.95, 10), True),
    ],
)
def test_an_aim_is_reached_by_point_and_interval_together(
    aim: Aim, estimate: Estimate, *, reached: bool
) -> None:
    """A good point with a wide interval proves nothing."""
    assert aim.reached(estimate) is reached


def test_throughput_loses_the_probes_share_of_its_loss() -> None:
    """Half the rate during a thousandth of the time is half a thousandth."""
    assert mixed_throughput(1.0, 0.5, 0.001) == pytest.approx(0.9995)
    assert mixed_throughput(0.99, 1.0, 0.001) == pytest.approx(0.99)
