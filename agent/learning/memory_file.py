"""Where learned state is kept between runs: one small file, written atomically and seldom.

    directory = choose_state_directory(configured, environ, database_paths)  # None: none can be had
    file = MemoryFile(directory, log)
    state = file.load()                        # a fresh LearnedState when there is nothing usable
    file.save(learning.revision, learning.memory(wall_seconds))
    file.written_bytes                         # for the wear account, purpose "state"

Saving waits for the device (fsync), which takes seconds exactly while a database is saturated: it
belongs in a thread that no tick waits for: ``agent.learning.memory_saver``, which also says when.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from agent.learning.memory import Damaged, LearnedState, UnknownVersion, decode, encode
from probes.scratch import enclosing_database

FILE_NAME: Final = "learned.json"

SAVE_SECONDS: Final = 60.0
"""Each fsync forces a journal commit on the file system, which may be the database's."""

MAX_FILE_BYTES: Final = 32 * 1024 * 1024
"""256 databases with 64 labels take about 15 MB; a larger file is another file."""

PAGE_BYTES: Final = 4096
"""What the file system writes at least, once for the file and once for its directory."""

SYSTEM_DIRECTORY: Final = "/var/lib/smaxd"

Logger = structlog.typing.FilteringBoundLogger


class StateDirectoryError(ValueError):
    """A directory that was asked for cannot be used; the message says why and what to do."""


def choose_state_directory(
    configured: str | None,
    environ: Mapping[str, str],
    database_paths: Sequence[str],
    system_directory: str = SYSTEM_DIRECTORY,
) -> str | None:
    """The first usable of: configured, $STATE_DIRECTORY, the system's, the user's own.

    The system's is used by root only: elsewhere it belongs to another instance. The directory is
    made, mode 0700. None when none can be used; StateDirectoryError when the configured one cannot,
    for that is a mistake to be told of. Never a directory in a database.
    """
    if configured is not None:
        reason = _unusable(configured, database_paths)
        if reason is not None:
            raise StateDirectoryError(
                f"the state directory {configured} {reason}; choose a writable directory outside "
                "every database"
            )
        return configured
    home = environ.get("XDG_STATE_HOME") or os.path.join(
        environ.get("HOME") or "/nonexistent", ".local/state"
    )
    candidates = [environ.get("STATE_DIRECTORY", "").split(":")[0]]
    if os.geteuid() == 0:
        candidates.append(system_directory)
    candidates.append(os.path.join(home, "smaxd"))
    for candidate in candidates:
        if os.path.isabs(candidate) and _unusable(candidate, database_paths) is None:
            return candidate
    return None


def _unusable(directory: str, database_paths: Sequence[str]) -> str | None:
    """Why a directory cannot hold the state, as the end of a sentence; makes it if need be."""
    database = enclosing_database(directory, database_paths)
    if database is not None:
        return f"lies in the database {database}"
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError as error:
        return f"cannot be made: {error.strerror}"
    if not os.access(directory, os.W_OK | os.X_OK) or os.statvfs(directory).f_flag & os.ST_RDONLY:
        return "is not writable"
    return None


class MemoryFile:
    """Loads and saves; keeps the daemon running whatever the file system says."""

    def __init__(self, directory: str | None, log: Logger) -> None:
        self._directory = directory
        self._log = log
        self._saved_revision = 0
        self._failure: str | None = None
        self._lock: int | None = None
        self.written_bytes = 0
        """Bytes that saving has sent to the device, whole pages, since the start."""

    @property
    def path(self) -> str | None:
        """The file; None when nothing is kept."""
        return None if self._directory is None else os.path.join(self._directory, FILE_NAME)

    def load(self) -> LearnedState:
        """What was saved last; a fresh state when there is none, or none that can be used.

        A file that cannot be understood is kept aside with ``.damaged`` behind its name. One daemon
        at a time keeps its state in a directory: a second one reads it and saves nothing.
        """
        if self.path is None:
            self._log.warning("state_not_kept", detail="no writable state directory; pass --state")
            return LearnedState()
        state = self._load(self.path)
        if not self._take_directory():
            self._log.warning(
                "state_in_use",
                directory=self._directory,
                detail="another smaxd keeps its state there; what this one learns is forgotten at "
                "its end; pass --state",
            )
            self._directory = None
        return state

    def close(self) -> None:
        """Leave the directory to others."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_directory(self) -> bool:
        """False when another process holds it; a file system without locks lets everyone."""
        if self._lock is not None or self._directory is None:
            return True
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            pass  # no locks here
        self._lock = descriptor
        return True

    def _load(self, path: str) -> LearnedState:
        try:
            raw = _read(path)
            state = decode(raw)
        except FileNotFoundError:
            return LearnedState()
        except (OSError, Damaged, UnknownVersion) as problem:
            self._set_aside(problem)
            return LearnedState()
        self._log.info("state_loaded", file=path, databases=len(state.databases), bytes=len(raw))
        return state

    def _set_aside(self, problem: Exception) -> None:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        aside = f"{self.path}.damaged"
        try:
            os.replace(str(self.path), aside)
        except OSError as error:
            kept = f"it cannot be moved ({error.strerror}) and will be replaced"
        else:
            kept = f"it is kept as {aside}"
        self._log.warning(
            "state_unusable", file=self.path, reason=reason, detail=f"{kept}; starting afresh"
        )

    @property
    def saved_revision(self) -> int:
        """The revision of what lies on the device; 0: nothing was saved yet."""
        return self._saved_revision

    def save(self, revision: int, state: LearnedState) -> bool:
        """Save now, unless nothing changed; a failure is told once. True when it was saved."""
        if self._directory is None or revision == self._saved_revision:
            return False
        content = encode(state)
        try:
            self._write(self._directory, content)
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

    def _write(self, directory: str, content: bytes) -> None:
        """Write beside, sync, rename, sync the directory: a crash leaves the old file or the new.

        ENOSPC and a failing device may show only at fsync, so nothing is renamed before it.
        """
        database = enclosing_database(directory, ())
        if database is not None:
            raise OSError(errno.EPERM, f"{directory} now lies in the database {database}")
        beside = os.path.join(directory, f".{FILE_NAME}.new")
        try:
            os.unlink(beside)  # of a run that died while writing
        except FileNotFoundError:
            pass  # the usual case
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(beside, flags, 0o600)
        try:
            try:
                left = memoryview(content)
                while left:
                    left = left[os.write(descriptor, left) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(beside, os.path.join(directory, FILE_NAME))
        except OSError:
            os.unlink(beside)
            raise
        self.written_bytes += (-(-len(content) // PAGE_BYTES) + 1) * PAGE_BYTES
        parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def _read(path: str) -> bytes:
    # O_NONBLOCK: a pipe in its place must not make the daemon wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Damaged("it is not a regular file")
        if found.st_uid not in {0, os.geteuid()}:
            raise Damaged("it belongs to another user")
        raw = file.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise Damaged(f"it is larger than {MAX_FILE_BYTES} bytes")
    return raw
