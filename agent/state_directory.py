"""The directory of what is kept between runs: which one it is, and whose.

path = choose_state_directory(configured, environ, database_paths)  # None: none can be had
directory = StateDirectory(path)
directory.take()   # Ownership.HELD: nobody else keeps anything there until close()
file = directory.file("learned.json")     # None where there is no directory
"""

import fcntl
import os
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from agent.atomic_file import AtomicFile
from probes.scratch import enclosing_database

SYSTEM_DIRECTORY: Final = "/var/lib/smaxd"


class StateDirectoryError(ValueError):
    """A directory that was asked for cannot be used; the message says why and what to do."""


def choose_state_directory(
    configured: str | None,
    environ: Mapping[str, str],
    database_paths: Sequence[str],
    system_directory: str = SYSTEM_DIRECTORY,
    *,
    make: bool = True,
) -> str | None:
    """The first usable of: configured, $STATE_DIRECTORY, the system's, the user's own.

    The system's is used by root only: elsewhere it belongs to another instance. The directory is
    made, mode 0700, unless ``make`` is off. None when none can be used; StateDirectoryError when
    the configured one cannot, for that is a mistake to be told of. Never a directory in a database.
    """
    if configured is not None:
        reason = _unusable(configured, database_paths, make=make)
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
        if os.path.isabs(candidate) and _unusable(candidate, database_paths, make=make) is None:
            return candidate
    return None


def _unusable(directory: str, database_paths: Sequence[str], *, make: bool) -> str | None:
    """Why a directory cannot hold the state, as the end of a sentence."""
    database = enclosing_database(directory, database_paths)
    if database is not None:
        return f"lies in the database {database}"
    try:
        if make:
            os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError as error:
        return f"cannot be made: {error.strerror}"
    if not os.path.isdir(directory):
        return "is no directory"
    if not os.access(directory, os.W_OK | os.X_OK) or os.statvfs(directory).f_flag & os.ST_RDONLY:
        return "is not writable"
    return None


class Ownership(Enum):
    """Who keeps state in a directory."""

    NONE = "none"  # there is no directory, or it cannot be opened
    HELD = "held"  # this process, alone
    IN_USE = "in_use"  # another process
    NOT_LOCKABLE = "not_lockable"  # perhaps another: the file system has no locks


class StateDirectory:
    """One daemon at a time keeps its state in a directory: it holds a lock on it.

    The kernel gives the lock back at the process's end, however that comes about.
    """

    def __init__(self, path: str | None) -> None:
        self.path: Final = path
        self.files: Final[dict[str, AtomicFile]] = {}
        """Those that were asked for, by name, for whoever gives them a budget."""
        self._lock: int | None = None

    def file(self, name: str) -> AtomicFile | None:
        """One of its files, the same for all who ask; None where nothing is kept."""
        if self.path is None:
            return None
        return self.files.setdefault(name, AtomicFile(self.path, name))

    def take(self) -> Ownership:
        """Hold the directory until ``close``; asking again is cheap, and may go better."""
        if self.path is None:
            return Ownership.NONE
        if self._lock is not None:
            return Ownership.HELD
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return Ownership.NONE
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            in_use = isinstance(error, BlockingIOError)
            return Ownership.IN_USE if in_use else Ownership.NOT_LOCKABLE
        self._lock = descriptor
        return Ownership.HELD

    def close(self) -> None:
        """Leave the directory to others."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
