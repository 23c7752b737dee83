"""Saves what was learned off the tick: syncing waits for the very device that may be saturated."""

import queue
import threading
from dataclasses import dataclass

from agent.learning.learning import Learning
from agent.learning.memory import LearnedState
from agent.learning.memory_file import SAVE_SECONDS, MemoryFile
from agent.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class _Save:
    revision: int
    state: LearnedState


class MemorySaver:
    """Takes the state in the tick's thread, writes it in its own."""

    def __init__(self, learning: Learning, file: MemoryFile) -> None:
        self._learning = learning
        self._file = file
        self._offered_at: float | None = None
        self._waiting: queue.SimpleQueue[_Save | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="memory", daemon=True)
        self._thread.start()

    def after_tick(self, snapshot: Snapshot) -> None:
        """Have what changed saved, at most once a minute; what failed is tried again then."""
        recently = self._offered_at is not None and snapshot.at - self._offered_at < SAVE_SECONDS
        if not recently and self._waiting.empty():
            self._offer(snapshot.at, snapshot.wall_seconds)

    def close(self, wall_seconds: float, wait_seconds: float) -> None:
        """Save the last changes; gives up after ``wait_seconds``, leaving the file as it was."""
        self._offer(0.0, wall_seconds)
        self._waiting.put(None)
        self._thread.join(wait_seconds)

    def _offer(self, at: float, wall_seconds: float) -> None:
        revision = self._learning.revision
        if self._file.path is not None and revision != self._file.saved_revision:
            self._offered_at = at
            self._waiting.put(_Save(revision, self._learning.memory(wall_seconds)))

    def _work(self) -> None:
        while (wanted := self._waiting.get()) is not None:
            self._file.save(wanted.revision, wanted.state)
