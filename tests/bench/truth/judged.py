"""A run with the answers that are judged, beside the truths of its scenario."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.recording.recording import RecordingError
from tests.bench.truth.announcements import Announcement
from tests.bench.truth.answers import Prediction, of_document
from tests.bench.truth.replayed import replayed
from tests.bench.truth.results import RunRecord
from tests.bench.truth.scores import Scored, scored

MOMENTS = ("before", "after")

Truths = dict[str, list[float]]
"""Puts/s of every run, by scenario."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One run with the answers that are judged: today's models' on its recording, or the API's."""

    run: RunRecord
    held_out: bool
    replayed: bool
    predictions: dict[str, dict[str, Prediction]]  # by moment, by model
    first_seconds: dict[str, float]  # by model, from the agent's start
    announced: list[Announcement]  # of stalls, by the replay


def judge(directory: Path, run: RunRecord, held_out: frozenset[str]) -> Judged:
    """Replay the run's recording; without one, or where it cannot be read, the API's answers."""
    recorded = [answer for moment in MOMENTS for answer in run.answers if answer.moment == moment]
    predictions = {one.moment: of_document(one.database) for one in recorded}
    first, is_replayed = run.first_estimate_seconds, False
    announced: list[Announcement] = []
    if run.recording is not None and (directory / run.recording).exists():
        try:
            found = replayed(directory / run.recording, [one.wall_seconds for one in recorded])
        except RecordingError:
            pass  # the API's answers stand
        else:
            predictions = {
                one.moment: replies for one, replies in zip(recorded, found.answers, strict=True)
            }
            first, is_replayed = found.first_seconds, True
            announced = found.stalls_announced
    return Judged(run, run.scenario in held_out, is_replayed, predictions, first, announced)


def truths_of(judged: Sequence[Judged]) -> Truths:
    """The truths that these runs found."""
    found: Truths = defaultdict(list)
    for one in judged:
        found[one.run.scenario].append(one.run.truth.puts_per_second)
    return dict(found)


def truth_of(one: Judged, truths: Truths) -> float:
    """The median over a scenario's runs, so that one run's scatter is not the models' error."""
    return statistics.median(truths[one.run.scenario])


def score(one: Judged, moment: str, model: str, truth: float) -> Scored | None:
    """A model's answer at a moment beside the truth; None when it gave none."""
    prediction = one.predictions.get(moment, {}).get(model)
    if prediction is None:
        return None
    return scored(
        one.run.scenario, truth, prediction.puts_per_second, prediction.lower, prediction.upper
    )
