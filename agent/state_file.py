"""State that is kept between runs: a file of the state directory, replaced whole, and seldom.

    file = StateFile(LEARNED, StateDirectory(path), log)    # LEARNED: a StateKind
    state = file.load()                  # a fresh one when there is nothing that can be used
    file.save(state)                     # waits for the device

    saver = StateSaver(file, "memory")   # saves in a thread of its own
    saver.offer(revision, lambda: state, at)                # once a tick
    saver.close(revision, lambda: state, wait_seconds)

Saving waits for the device (fsync), which takes seconds exactly while a database is saturated: it
belongs in a thread that no tick waits for.
"""

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import structlog

from agent.atomic_file import UnusableFile
from agent.state_directory import Ownership, StateDirectory
from agent.versioned import DamagedState

SAVE_SECONDS: Final = 60.0
"""Each fsync forces a journal commit on the file system, which may be the database's."""

Logger = structlog.typing.FilteringBoundLogger
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StateKind(Generic[T]):
    """What tells one kind of state from another.

    ``decode`` raises DamagedState. ``figures`` are what the log says of a state that was loaded;
    ``when_unusable`` and ``when_unsaved`` tell the operator what it means that the file cannot be
    used, or not be written. ``shared``: an agent reads it also where another one keeps it.
    ``vital``: it is written whatever the wear budget says.
    """

    file_name: str
    limit_bytes: int
    fresh: Callable[[], T]
    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]
    figures: Callable[[T], Mapping[str, int]]
    when_unusable: str
    when_unsaved: str
    shared: bool = False
    vital: bool = False


class StateFile(Generic[T]):
    """Loads and saves; keeps the daemon running whatever the file system says."""

    def __init__(self, kind: StateKind[T], directory: StateDirectory, log: Logger) -> None:
        self._kind = kind
        self._directory = directory
        self._log = log
        self._file = directory.file(kind.file_name)
        self._failure: str | None = None

    def load(self) -> T:
        """What was saved last; a fresh state when there is none, or none that can be used.

        A file that cannot be understood is kept aside with ``.damaged`` behind its name. One agent
        at a time keeps its state in a directory: a second one leaves all files there as they are.
        """
        file = self._file
        in_use = self._directory.take() is Ownership.IN_USE
        if in_use:
            self._file = None
        if file is None or (in_use and not self._kind.shared):
            return self._kind.fresh()
        try:
            raw = file.read(self._kind.limit_bytes)
            state = self._kind.decode(raw)
        except FileNotFoundError:
            return self._kind.fresh()
        except (OSError, UnusableFile, DamagedState) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else str(problem)
            kept = "it is left to the agent that keeps it" if in_use else file.set_aside()
            self._log.warning(
                "state_unusable",
                file=file.path,
                reason=reason,
                detail=f"{kept}; {self._kind.when_unusable}",
            )
            return self._kind.fresh()
        figures = self._kind.figures(state)
        self._log.info("state_loaded", file=file.path, bytes=len(raw), **figures)
        return state

    def save(self, state: T) -> bool:
        """Save now; a failure is told once. True when it is on the device, or nothing is kept."""
        if self._file is None:
            return True
        content = self._kind.encode(state)
        try:
            self._file.write(content)
        except OSError as error:
            reason = error.strerror or str(error)
            if self._failure != reason:
                self._failure = reason
                self._log.warning(
                    "state_not_saved",
                    file=self._file.path,
                    reason=reason,
                    detail=self._kind.when_unsaved,
                )
            return False
        if self._failure is not None:
            self._failure = None
            self._log.info("state_saved_again", file=self._file.path)
        return True


@dataclass(frozen=True, slots=True)
class _Save(Generic[T]):
    revision: int
    state: T


class StateSaver(Generic[T]):
    """Takes a state that has revisions in the tick's thread, writes it in its own."""

    def __init__(self, file: StateFile[T], thread_name: str, saved_revision: int = 0) -> None:
        self._file = file
        self._offered_at: float | None = None
        self._offered_revision = self._saved_revision = saved_revision
        self._waiting: queue.SimpleQueue[_Save[T] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=thread_name, daemon=True)
        self._thread.start()

    def offer(
        self, revision: int, state: Callable[[], T], at: float, *, urgent_revision: int = 0
    ) -> None:
        """Have it saved where it changed: once a minute, but at once what came with a later
        ``urgent_revision`` than was offered. What failed is tried again after a minute.

        ``state`` is asked before this returns, or not at all.
        """
        if revision == self._saved_revision or not self._waiting.empty():
            return
        urgent = urgent_revision > self._offered_revision
        recently = self._offered_at is not None and at - self._offered_at < SAVE_SECONDS
        if urgent or not recently:
            self._offered_at, self._offered_revision = at, revision
            self._waiting.put(_Save(revision, state()))

    def close(
        self,
        revision: int,
        state: Callable[[], T],
        wait_seconds: float,
        *,
        unrevised: bool = False,
    ) -> None:
        """Save the last changes; gives up after ``wait_seconds``, leaving the file as it was.

        ``unrevised``: there are changes that made no revision, for they alone are no reason to
        write.
        """
        if unrevised or revision != self._saved_revision:
            self._waiting.put(_Save(revision, state()))
        self._waiting.put(None)
        self._thread.join(wait_seconds)

    def _work(self) -> None:
        while (wanted := self._waiting.get()) is not None:
            if self._file.save(wanted.state):
                self._saved_revision = wanted.revision
