"""What the models said before an onset, and how much of it is kept meanwhile."""

import pickle

import pytest

from agent.learning.calibration import Calibration
from agent.learning.labels import RawEstimate
from agent.learning.predictions import RecentPredictions

HOUR = 3600.0
MOST_BYTES = 15_000
"""Of one model, written down: about 140 notes, where an hour at their least distance has 360."""


class Model:
    """It says its rate at every tick: 1000 puts/s, and 1 more with every second."""

    def __init__(self, half_width: float | None = 0.3) -> None:
        self.said = RecentPredictions()
        self.half_width = half_width
        self.calibration = Calibration()

    def run(self, begin: float, end: float, tick_seconds: float) -> None:
        for number in range(round((end - begin) / tick_seconds)):
            at = begin + number * tick_seconds
            rate = 1000.0 + at
            published = self.calibration.calibrated("bottleneck", rate, self.half_width, at)
            self.said.note(RawEstimate("bottleneck", rate, self.half_width, at), published, at)

    def before(self, onset: float) -> list[float]:
        return [prediction.raw for prediction in self.said.before(onset)]


def test_hours_of_ticks_keep_no_more_than_an_hour_needs() -> None:
    """However many ticks an hour has."""
    kept = {}
    for tick_seconds in (0.2, 5.0):
        model = Model()
        model.run(0.0, 2 * HOUR, tick_seconds)
        kept[tick_seconds] = len(pickle.dumps(model.said))
        model.run(2 * HOUR, 3 * HOUR, tick_seconds)
        assert len(pickle.dumps(model.said)) == pytest.approx(kept[tick_seconds], rel=0.02)
    assert kept[0.2] == pytest.approx(kept[5.0], rel=0.05)
    assert kept[0.2] < MOST_BYTES


@pytest.mark.parametrize("tick_seconds", [0.2, 5.0])
@pytest.mark.parametrize("ago", [0.0, 60.0, 660.0])
def test_what_was_believed_before_a_recent_onset_is_the_median_of_its_lead(
    tick_seconds: float, ago: float
) -> None:
    """From 50 to 30 s before; a load that was held for ten minutes is told at their end."""
    model = Model()
    model.run(0.0, 2 * HOUR, tick_seconds)
    onset = 2 * HOUR - ago
    assert model.before(onset) == [pytest.approx(1000.0 + onset - 40.0, abs=5.0)]


def test_before_an_onset_of_long_ago_it_is_what_was_said_last() -> None:
    """Saturation that could be measured only after an hour; a minute earlier at most."""
    model = Model()
    model.run(0.0, 2 * HOUR, 5.0)
    (rate,) = model.before(2 * HOUR - 3000.0)
    assert -90.0 <= rate - 1000.0 - (2 * HOUR - 3000.0) <= -30.0


def test_what_was_said_more_than_an_hour_before_is_not_compared() -> None:
    """It stays until something newer comes, and no longer counts."""
    model = Model()
    model.run(0.0, 120.0, 5.0)
    assert model.before(120.0 + HOUR) == [pytest.approx(1110.0, abs=5.0)]
    assert model.before(160.0 + HOUR) == []
    assert model.before(0.0) == []


def test_widths_and_proof_are_those_of_the_lead() -> None:
    """A model that claims no width has none."""
    for half_width in (0.3, None):
        model = Model(half_width)
        model.run(0.0, 120.0, 5.0)
        (said,) = model.said.before(120.0)
        assert (said.model, said.log_half_width, said.verified) == ("bottleneck", half_width, False)
        assert said.lower < said.published == said.raw < said.upper
