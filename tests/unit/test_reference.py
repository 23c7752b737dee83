"""``smaxd validate``: the reference experiment recomputed, beside its claims."""

import pytest

from agent.models.reference import Recomputation, accuracy_percent, validate


def points_of(model: str) -> tuple[Recomputation, ...]:
    return tuple(point for point in validate().points if point.model == model)


def summary_of(model: str) -> tuple[float, float | None]:
    (found,) = (s for s in validate().summaries if s.model == model)
    return found.mean_accuracy_percent, found.claimed_accuracy_percent


def test_v4_recomputes_to_the_figures_of_the_design() -> None:
    """78860, 50932 and 39538 puts/s are 56.8, 44.5 and 36.0 % of what was measured."""
    points = points_of("v4")
    assert [round(p.predicted_puts_per_second) for p in points] == [78860, 50932, 39538]
    assert [round(p.accuracy_percent, 1) for p in points] == [56.8, 44.5, 36.0]
    assert [p.claimed_accuracy_percent for p in points] == [56.8, 96.9, 86.6]
    assert [p.phase for p in points] == ["initial", "middle", "final"]
    assert [p.measured_puts_per_second for p in points] == [138769.0, 114472.0, 109678.0]
    assert [p.bandwidth_mib for p in points] == [4116.6, 1074.8, 852.5]


def test_the_mean_of_v4_is_45_8_percent_against_a_claim_of_81_4() -> None:
    """Claim and recomputation stand side by side."""
    mean, claimed = summary_of("v4")
    assert (round(mean, 1), claimed) == (45.8, 81.4)


def test_the_mean_of_v41_lies_between_43_6_and_45_7_percent_against_a_claim_of_78_6() -> None:
    """The range covers the context that could have been passed; none is here."""
    mean, claimed = summary_of("v4.1")
    assert 43.6 <= mean <= 45.7
    assert claimed == 78.6


def test_auto_takes_each_point_from_the_model_of_its_phase() -> None:
    """Its middle point is V4.1's, the others V4's, and nothing was claimed for it."""
    v4, refined, auto = points_of("v4"), points_of("v4.1"), points_of("auto")
    expected = [v4[0], refined[1], v4[2]]
    assert [p.predicted_puts_per_second for p in expected] == [
        p.predicted_puts_per_second for p in auto
    ]
    mean, claimed = summary_of("auto")
    assert sum(p.accuracy_percent for p in expected) / 3 == pytest.approx(mean)
    assert claimed is None


@pytest.mark.parametrize(
    ("predicted", "measured", "accuracy"),
    [(100.0, 100.0, 100.0), (50.0, 100.0, 50.0), (150.0, 100.0, 50.0), (300.0, 100.0, 0.0)],
)
def test_accuracy_is_one_minus_the_relative_error_and_never_negative(
    predicted: float, measured: float, accuracy: float
) -> None:
    """Too high and too low by the same amount are equally wrong."""
    assert accuracy == accuracy_percent(predicted, measured)
