"""Which model is recommended: by measured score, before any by documented order, never flapping."""

from itertools import pairwise

from agent.models.estimate import CalibratedEstimate
from agent.models.select import RETURN_SECONDS, Recommendation, expected_error, recommend


def estimate(model: str, accuracy: float | None = None, labels: int = 0) -> CalibratedEstimate:
    return CalibratedEstimate(
        model=model,
        puts_per_second=1000.0,
        lower=500.0,
        upper=2000.0,
        factor=1.0,
        basis="prior",
        labels=labels,
        accuracy_ratio=accuracy,
        judged=labels,
        coverage_ratio=None,
        coverage_interval=None,
        confidence="unverified",
    )


ALL = [estimate(model) for model in ("v4", "v4.1", "bottleneck", "simulator")]
PUBLISHED = ALL[:2]


def test_before_any_score_a_measured_model_speaks() -> None:
    """Even with a fallback for an input; the original's auto only where none has an answer."""
    assert recommend(ALL, {"simulator", "bottleneck"}, "middle") == "simulator"
    assert recommend(ALL, set(), "middle") == "simulator"
    assert recommend(ALL[:3], set(), "middle") == "bottleneck"
    assert recommend(PUBLISHED, {"v4", "v4.1"}, "middle") == "v4.1"
    assert recommend(PUBLISHED, set(), "final") == "v4"


def test_without_a_phase_an_incomplete_model_is_better_than_none() -> None:
    """V4's family needs a phase; without any estimate there is nothing."""
    assert recommend(ALL[2:3], set(), None) == "bottleneck"
    assert recommend([], set(), "middle") is None


def test_the_best_measured_score_wins() -> None:
    """Whatever the order before any score was."""
    scored = [
        estimate("v4", 0.7, 5),
        estimate("bottleneck", 0.95, 5),
        estimate("simulator", 0.8, 5),
    ]
    assert recommend(scored, {"simulator", "bottleneck"}, "middle") == "bottleneck"


def test_a_bad_model_is_not_recommended_for_one_lucky_label() -> None:
    """A score of one label is averaged with what is documented."""
    rivals = [estimate("v4", 0.99, 1), estimate("simulator", 0.85, 12)]
    assert recommend(rivals, {"simulator"}, "middle") == "simulator"


def test_a_bad_model_loses_its_place_when_it_is_scored() -> None:
    """The simulator misses by half; the bottleneck model is right."""
    rivals = [estimate("simulator", 0.5, 4), estimate("bottleneck", 0.95, 4)]
    assert recommend(rivals, {"simulator", "bottleneck"}, "middle", "simulator") == "bottleneck"


def test_the_present_model_stays_until_it_is_clearly_beaten() -> None:
    """A little better is not better."""
    rivals = [estimate("simulator", 0.90, 9), estimate("bottleneck", 0.91, 9)]
    assert recommend(rivals, set(), "middle", "simulator") == "simulator"
    assert recommend(rivals, set(), "middle", "bottleneck") == "bottleneck"


def test_a_complete_model_that_missed_the_labels_still_competes() -> None:
    """V4 was scored while the simulator's inputs were missing: 40 % error against 20 % expected."""
    rivals = [estimate("v4", 0.6, 3), estimate("simulator")]
    assert recommend(rivals, {"simulator"}, "middle", "v4") == "simulator"
    assert recommend(rivals, set(), "middle", "v4") == "v4"


def test_the_expected_error_goes_from_the_documented_to_the_measured_one() -> None:
    """With two labels it is half of each."""
    assert expected_error(estimate("bottleneck")) == 0.3
    assert abs(expected_error(estimate("bottleneck", 0.9, 2)) - 0.2) < 1e-9
    assert abs(expected_error(estimate("bottleneck", 0.9, 1000)) - 0.1) < 1e-3


def test_a_model_that_is_better_for_the_first_time_takes_over_at_once() -> None:
    """First usable estimate within two minutes of the start."""
    recommendation = Recommendation()
    assert recommendation.update(PUBLISHED, set(), "middle", 0.0) == "v4.1"
    assert recommendation.update(ALL, {"simulator"}, "middle", 10.0) == "simulator"


def test_a_model_that_disappears_is_replaced_at_once_and_returns_late() -> None:
    """A number that is there is better than one that was better."""
    recommendation = Recommendation()
    complete = {"simulator", "bottleneck"}
    assert recommendation.update(ALL, complete, "middle", 0.0) == "simulator"
    assert recommendation.update(ALL[:3], complete, "middle", 10.0) == "bottleneck"
    assert recommendation.update(ALL, complete, "middle", 20.0) == "bottleneck"
    late = 20.0 + RETURN_SECONDS
    assert recommendation.update(ALL, complete, "middle", late - 10) == "bottleneck"
    assert recommendation.update(ALL, complete, "middle", late) == "simulator"


def test_an_input_that_comes_and_goes_changes_the_recommendation_once() -> None:
    """The simulator is complete in every second tick, for an hour."""
    recommendation = Recommendation()
    seen = [
        recommendation.update(
            ALL, {"bottleneck", "simulator"} if n % 2 else {"bottleneck"}, "middle", n * 10.0
        )
        for n in range(360)
    ]
    assert sum(a != b for a, b in pairwise(seen)) <= 2


def test_the_originals_auto_follows_the_phase() -> None:
    """The phase has a hysteresis of its own."""
    recommendation = Recommendation()
    phases = ["initial", "middle", "final", "middle"]
    answers = [recommendation.update(PUBLISHED, set(), p, n * 10.0) for n, p in enumerate(phases)]
    assert answers == ["v4", "v4.1", "v4", "v4.1"]


def test_after_a_restart_the_remembered_model_keeps_its_place() -> None:
    """Nothing flaps because the daemon was restarted."""
    rivals = [estimate("simulator", 0.90, 9), estimate("bottleneck", 0.91, 9)]
    assert Recommendation("simulator").update(rivals, set(), "middle", 0.0) == "simulator"
