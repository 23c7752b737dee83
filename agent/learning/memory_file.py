"""Where learned state is kept between runs: one small file, written atomically and seldom.

    file = MemoryFile(StateDirectory(path), log)
    state = file.load()                        # a fresh LearnedState when there is nothing usable
    file.save(learning.revision, learning.memory(wall_seconds))
    file.written_bytes                         # for the wear account, purpose "state"

Saving waits for the device (fsync), which takes seconds exactly while a database is saturated: it
belongs in a thread that no tick waits for: ``agent.learning.memory_saver``, which also says when.
"""

from typing import Final

import structlog

from agent.atomic_file import AtomicFile, UnusableFile
from agent.learning.memory import Damaged, LearnedState, UnknownVersion, decode, encode
from agent.state_directory import Ownership, StateDirectory

FILE_NAME: Final = "learned.json"

SAVE_SECONDS: Final = 60.0
"""Each fsync forces a journal commit on the file system, which may be the database's."""

MAX_FILE_BYTES: Final = 32 * 1024 * 1024
"""256 databases with 64 labels take about 15 MB; a larger file is another file."""

Logger = structlog.typing.FilteringBoundLogger


class MemoryFile:
    """Loads and saves; keeps the daemon running whatever the file system says."""

    def __init__(self, directory: StateDirectory, log: Logger) -> None:
        self._directory = directory
        self._log = log
        self._file = None if directory.path is None else AtomicFile(directory.path, FILE_NAME)
        self._saved_revision = 0
        self._failure: str | None = None

    @property
    def path(self) -> str | None:
        """The file; None when nothing is kept."""
        return None if self._file is None else self._file.path

    @property
    def written_bytes(self) -> int:
        """Bytes that saving has sent to the device, whole pages, since the start."""
        return 0 if self._file is None else self._file.written_bytes

    def load(self) -> LearnedState:
        """What was saved last; a fresh state when there is none, or none that can be used.

        A file that cannot be understood is kept aside with ``.damaged`` behind its name. One daemon
        at a time keeps its state in a directory: a second one reads it and saves nothing.
        """
        if self._file is None:
            self._log.warning("state_not_kept", detail="no writable state directory; pass --state")
            return LearnedState()
        state = self._load(self._file)
        if self._directory.take() is Ownership.IN_USE:
            self._log.warning(
                "state_in_use",
                directory=self._directory.path,
                detail="another smaxd keeps its state there; what this one learns is forgotten at "
                "its end; pass --state",
            )
            self._file = None
        return state

    def _load(self, file: AtomicFile) -> LearnedState:
        try:
            raw = file.read(MAX_FILE_BYTES)
            state = decode(raw)
        except FileNotFoundError:
            return LearnedState()
        except (OSError, UnusableFile, Damaged, UnknownVersion) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else str(problem)
            kept = file.set_aside()
            self._log.warning(
                "state_unusable", file=file.path, reason=reason, detail=f"{kept}; starting afresh"
            )
            return LearnedState()
        self._log.info(
            "state_loaded", file=file.path, databases=len(state.databases), bytes=len(raw)
        )
        return state

    @property
    def saved_revision(self) -> int:
        """The revision of what lies on the device; 0: nothing was saved yet."""
        return self._saved_revision

    def save(self, revision: int, state: LearnedState) -> bool:
        """Save now, unless nothing changed; a failure is told once. True when it was saved."""
        if self._file is None or revision == self._saved_revision:
            return False
        content = encode(state)
        try:
            self._file.write(content)
        except OSError as error:
            reason = error.strerror or str(error)
            if self._failure != reason:
                self._failure = reason
                self._log.warning(
                    "state_not_saved",
                    file=self.path,
                    reason=reason,
                    detail="the daemon goes on, and tries again every minute",
                )
            return False
        if self._failure is not None:
            self._failure = None
            self._log.info("state_saved_again", file=self.path)
        self._saved_revision = revision
        return True
