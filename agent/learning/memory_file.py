"""Where learned state is kept between runs, and when it is written.

file = StateFile(LEARNED, StateDirectory(path), log)
learning = Learning(file.load())
saver = MemorySaver(learning, file)
saver.after_tick(snapshot)
saver.close(wall_seconds, wait_seconds)
"""

from collections.abc import Mapping
from typing import Final

from agent.learning.learning import Learning
from agent.learning.memory import LearnedState, decode, encode
from agent.snapshot import Snapshot
from agent.state_file import StateFile, StateKind, StateSaver


def _figures(state: LearnedState) -> Mapping[str, int]:
    return {"databases": len(state.databases)}


LEARNED: Final = StateKind(
    file_name="learned.json",
    # 256 databases with 64 labels take about 15 MB; a larger file is another file.
    limit_bytes=32 * 1024 * 1024,
    fresh=LearnedState,
    encode=encode,
    decode=decode,
    figures=_figures,
    when_unusable="starting afresh",
    when_unsaved="the daemon goes on, and tries again every minute",
    shared=True,
)


class MemorySaver:
    """Has what was learned saved off the tick."""

    def __init__(self, learning: Learning, file: StateFile[LearnedState]) -> None:
        self._learning = learning
        self._saver = StateSaver(file, "memory")

    def after_tick(self, snapshot: Snapshot) -> None:
        """Have what changed saved, once a minute, and news at once."""
        self._saver.offer(
            self._learning.revision,
            lambda: self._learning.memory(snapshot.wall_seconds),
            snapshot.at,
            urgent_revision=self._learning.urgent_revision,
        )

    def close(self, wall_seconds: float, wait_seconds: float) -> None:
        """Save the last changes; gives up after ``wait_seconds``, leaving the file as it was."""
        self._saver.close(
            self._learning.revision, lambda: self._learning.memory(wall_seconds), wait_seconds
        )
