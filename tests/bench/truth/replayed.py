"""What today's models say of S_max on what the probes saw then: a recording, replayed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from agent.api import status_document
from agent.main import host_state_for
from agent.recording.recording import open_recording
from agent.recording.replay import replay
from agent.simulator import InlineSimulator
from tests.bench.truth.answers import Prediction, of_document


@dataclass(frozen=True, slots=True)
class Replayed:
    """Answers at the moments asked for, and when each model first gave a rate."""

    answers: list[dict[str, Prediction]]
    first_seconds: dict[str, float]  # by model, after the first tick
    stalls_announced: list[tuple[float, float]]  # Unix time, seconds to the stall; infinite: none


def replayed(recording: Path, moments: Sequence[float]) -> Replayed:
    """The answer to each of ``moments`` (Unix time, ascending) is that of the last tick before it.

    RecordingError when the file is no recording or is damaged.
    """
    answers: list[dict[str, Prediction]] = []
    first_seconds: dict[str, float] = {}
    announced: list[tuple[float, float]] = []
    current: dict[str, Prediction] = {}
    start: float | None = None
    opened = open_recording(str(recording))
    simulator = InlineSimulator()
    for snapshot in replay(opened, host_state_for(opened.header.config), simulator):
        while len(answers) < len(moments) and snapshot.wall_seconds > moments[len(answers)]:
            answers.append(current)
        start = snapshot.at if start is None else start
        current = {}
        for database in msgspec.to_builtins(status_document(snapshot, snapshot.at))["databases"]:
            current = of_document(database)
            to_stall = database["quantities"].get("time_to_stall_seconds", {}).get("value")
            if to_stall is not None:
                announced.append((snapshot.wall_seconds, float(to_stall)))
        for model in current:
            first_seconds.setdefault(model, snapshot.at - start)
    answers += [current] * (len(moments) - len(answers))
    return Replayed(answers, first_seconds, announced)
