"""The change detector: how soon, how seldom in vain, and where the change was."""

import random

import pytest

from agent.learning.drift import PageHinkley


def first_alarm(scores: list[float]) -> int | None:
    chart = PageHinkley()
    return next((n for n, score in enumerate(scores) if chart.update(score)), None)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_shift_of_two_deviations_is_found_within_a_few_scores(sign: int) -> None:
    """On average 3 to 4 scores after it, in either direction."""
    delays = []
    for seed in range(200):
        source = random.Random(seed)  # noqa: S311 - a repeatable stream is wanted
        chart = PageHinkley()
        chart.update(0.0)
        delays.append(next(n for n in range(1, 100) if chart.update(source.gauss(2.0 * sign, 1.0))))
    assert 2.5 <= sum(delays) / len(delays) <= 4.5


def test_a_false_alarm_is_rare() -> None:
    """In the mean over a hundred scores pass between two."""
    runs = []
    for seed in range(100):
        source = random.Random(seed)  # noqa: S311 - a repeatable stream is wanted
        chart = PageHinkley()
        runs.append(next(n for n in range(1, 5000) if chart.update(source.gauss(0, 1))))
    assert 120 <= sum(runs) / len(runs) <= 260


def test_a_single_odd_score_is_no_drift() -> None:
    """However odd."""
    assert first_alarm([0.0, 0.1, 50.0, 0.0, -0.1]) is None


def test_the_change_is_placed_where_the_scores_changed() -> None:
    """Not where the sum last left nought, which hovered above it from the start."""
    chart = PageHinkley()
    scores = [0.9, 0.8, 0.2, 0.9, 0.4, 2.6, 2.4, 2.9]
    assert [chart.update(score) for score in scores].index(True) == 6
    assert chart.began == 5


def test_an_alarm_starts_the_chart_anew() -> None:
    """The new level is the level from then on only if its scores are centered again."""
    chart = PageHinkley()
    assert [chart.update(3.0) for _ in range(4)] == [False, True, False, True]
