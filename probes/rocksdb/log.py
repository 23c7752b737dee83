"""Follows the LOG of a RocksDB database, or reads one file from beginning to end.

Every DB::Open renames the LOG and makes a new one *before* it asks for the lock, and the owner goes
on in the file that it has open. So the name leads to the LOG of whoever tried last, which is the
owner's only where nobody tried in vain: a service that was started twice, a tool at the wrong
moment (and up to 6.19 any tool, read-only ones too). Therefore the file before is followed as well.
"""

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass

from probes.clock import Clock
from probes.errors import NoData, ProbeFailed
from probes.rocksdb.files import NotAFile
from probes.rocksdb.log_file import HEAD_BYTES, LogFile
from probes.rocksdb.log_location import log_candidates, old_logs, places
from probes.rocksdb.log_state import LogState
from probes.rocksdb.samples import LogSample
from probes.suspension import suspended_seconds

MEBIBYTE = 1024 * 1024

MAX_BYTES_PER_READ = 16 * MEBIBYTE
"""Read in one call; what is left over comes with the next call."""

CLOCK_JUMP_SECONDS = 2.0
"""A wall clock that has run ahead of the steady one, or behind, by more since the last read was
set; less is how a clock is disciplined."""

LOOK_SECONDS = 0.1
"""Clocks that took longer to be read one after the other do not belong together."""

LOOKS = 5
"""How often they are read again then."""

MOST_ATTEMPTS = 256
"""Old LOGs of one who tries in vain, every few seconds maybe, since the owner wrote last: it writes
at least its statistics, every ten minutes."""

MISSING_READS = 2
"""Calls in a row that may find no file: a rotation renames first and creates afterwards."""


@dataclass(frozen=True, slots=True)
class _Clocks:
    """All clocks at one moment, in seconds."""

    monotonic: float
    wall: float
    suspended: float


class LogProbe:
    """The LOG of one database: history at the first ``read()``, then only what was added.

    Follows rotation (the old file is read to its end through the open descriptor), truncation and
    replacement. Raises NoData "no_log", "log_not_permitted"; ProbeFailed "log_not_a_file",
    "log_unreadable".
    """

    def __init__(
        self,
        database_path: str,
        clock: Clock,
        db_log_dir: str | None = None,
        history_bytes: int = 8 * MEBIBYTE,
        keep_seconds: float = 900.0,
        suspended: Callable[[], float] = suspended_seconds,
    ) -> None:
        self._database_path = database_path
        self._db_log_dir = db_log_dir
        self._clock = clock
        self._suspended = suspended
        self._history_bytes = history_bytes
        self._keep_seconds = keep_seconds
        self._path = ""  # the name; what it leads to may be another file each time
        self._file: LogFile | None = None
        self._former: LogFile | None = None  # the one before, which the owner may still write
        self._missing = 0
        self._state: LogState | None = None
        self._looked: _Clocks | None = None

    def close(self) -> None:
        """Give the descriptors back; ``read()`` may be called again and opens anew."""
        for file in (self._file, self._former):
            if file is not None:
                file.close()

    def read(self) -> LogSample:
        """What the LOG has told up to now."""
        try:
            if self._file is None or self._file.closed:
                self._open()
            if self._file is None or self._state is None:
                raise NoData("no_log", f"no LOG of {self._database_path} has been read yet")
            self._look_at_clocks(self._state)
            file = self._follow(self._file, self._state)
        except OSError as error:
            self.close()
            where = error.filename or self._path
            raise ProbeFailed(
                "log_unreadable", f"{where}: {error.strerror or error}; check the file system"
            ) from error
        return self._state.sample(
            self._clock.monotonic(), self._owners(file).path, self._clock.wall()
        )

    def _owners(self, file: LogFile) -> LogFile:
        """Of the two that are followed the one that the owner writes."""
        return file if self._former is None or file.owners else self._former

    # -- clocks

    def _look_at_clocks(self, state: LogState) -> None:
        before, now = self._looked, self._clocks()
        self._looked = now
        if before is None:
            return
        slept = now.suspended - before.suspended
        jump = (now.wall - before.wall) - (now.monotonic - before.monotonic) - slept
        if abs(jump) > CLOCK_JUMP_SECONDS:
            state.clock_set(jump, before.wall)
        if slept > CLOCK_JUMP_SECONDS:
            state.slept(slept)

    def _clocks(self) -> _Clocks:
        """Read together: one who is stopped between two of them sees a clock that was set."""
        for _ in range(LOOKS):
            monotonic = self._clock.monotonic()
            clocks = _Clocks(monotonic, self._clock.wall(), self._suspended())
            if self._clock.monotonic() - monotonic <= LOOK_SECONDS:
                break
        return clocks

    # -- opening

    def _open(self) -> None:
        found = self._find()
        self._path = found.path
        self._missing = 0
        if self._file is not None:
            self._return_to(self._file, found)
            return
        state = LogState(self._keep_seconds, _system_offset_seconds(self._clock.wall()))
        found.learn_header(state)
        budget = self._history_bytes - found.seen.st_size
        if budget < -HEAD_BYTES:
            found.skip_to_last(self._history_bytes)
        else:
            self._read_former(found, state, budget)
        self._file, self._state = found, state

    def _return_to(self, file: LogFile, found: LogFile) -> None:
        """It was closed for a while: go on where it was left, also if it was rotated meanwhile.

        Where that file is gone, its successor begins at its beginning.
        """
        former = self._former
        if former is not None and not _reopened(former, former.path):
            self._former = None
        if not _reopened(file, found.path):
            left, successor = places(self._path, file.seen)
            if left is None or not _reopened(file, left):
                self._file = found if successor == found.path else LogFile(successor)
                return
        found.close()

    def _find(self) -> LogFile:
        denied: str | None = None
        for path in log_candidates(self._database_path, self._db_log_dir):
            try:
                return LogFile(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except PermissionError:
                denied = denied or path
            except NotAFile as error:
                raise ProbeFailed("log_not_a_file", f"{path} {error.strerror}") from error
        if denied:
            raise NoData(
                "log_not_permitted", f"{denied} may not be read; run as its owner or as root"
            )
        where = self._db_log_dir or self._database_path
        raise NoData("no_log", f"no LOG in {where}; a database writes one when it is opened")

    def _read_former(self, found: LogFile, state: LogState, budget: int) -> None:
        """A young LOG says little: begin with the end of its predecessor, if that is recent.

        And however old that is, where the LOG is of one who never had the database open.
        """
        former = _written_last(old_logs(self._path), of_owner=not found.owners)
        if former is None:
            return
        age = self._clock.wall() - former.seen.st_mtime
        if found.owners and (budget <= 0 or age > self._keep_seconds):
            former.close()
            return
        if not found.owners:
            former.learn_header(state)
        former.skip_to_last(max(0, budget))
        former.read(state, MAX_BYTES_PER_READ)
        state.finish()
        self._former = former

    # -- following

    def _follow(self, file: LogFile, state: LogState) -> LogFile:
        """Read what was added, also to files that came later; which is the LOG now."""
        budget = MAX_BYTES_PER_READ
        if self._former is not None:
            budget -= self._former.read(state, budget)
            if self._former.deleted and file.owners:
                self._drop_former()  # or its blocks would not be free
        while budget > 0:
            # Whether the file was replaced is asked *before* reading it to its end.
            replaced = self._is_replaced(file, state)
            budget -= file.read(state, budget)
            successor = self._successor(file) if budget > 0 and replaced else None
            if successor is None:
                break
            state.finish()
            self._leave(file)
            self._file = file = successor
        return file

    def _is_replaced(self, file: LogFile, state: LogState) -> bool:
        """Whether another file has taken the LOG's name."""
        try:
            status = os.stat(self._path)
        except (FileNotFoundError, NotADirectoryError):
            self._missing += 1
            if self._missing >= MISSING_READS:
                file.finish(state)
                self.close()
                raise NoData(
                    "no_log", f"{self._path} is gone; it returns when the database is opened"
                ) from None
            return False
        except PermissionError:
            return False  # the open descriptor still reads; the next opening will say so
        self._missing = 0
        return stat.S_ISREG(status.st_mode) and not file.is_same(status)

    def _successor(self, file: LogFile) -> LogFile | None:
        """The file that came after one that has lost its name; None when there is none yet."""
        left, successor = places(self._path, file.seen)
        try:
            opened = LogFile(successor)
        except (FileNotFoundError, PermissionError, NotAFile):
            return None
        file.path = left or file.path
        return opened

    def _leave(self, file: LogFile) -> None:
        """Keep the file that was left, unless the owner's is the one before it."""
        if self._owners(file) is file:
            self._drop_former()
            self._former = file
        else:
            file.close()

    def _drop_former(self) -> None:
        if self._former is not None:
            self._former.close()
            self._former = None


def parse_log(path: str, clock: Clock) -> LogSample:
    """Read a whole LOG, in bounded memory; an unfinished stall is counted to the last line.

    Raises NoData "no_log", "log_not_permitted"; ProbeFailed "log_not_a_file", "log_unreadable".
    """
    state = LogState(offset_seconds=_system_offset_seconds(clock.wall()))
    try:
        file = LogFile(path)
    except FileNotFoundError as error:
        raise NoData("no_log", f"{path} does not exist") from error
    except PermissionError as error:
        raise NoData(
            "log_not_permitted", f"{path} may not be read; run as its owner or as root"
        ) from error
    except NotAFile as error:
        raise ProbeFailed("log_not_a_file", f"{path} {error.strerror}") from error
    except OSError as error:
        raise ProbeFailed("log_unreadable", f"{path}: {error.strerror}") from error
    try:
        file.learn_header(state)
        while file.read(state, MAX_BYTES_PER_READ):
            pass
        file.finish(state)
    except OSError as error:
        raise ProbeFailed("log_unreadable", f"{path}: {error.strerror}") from error
    finally:
        file.close()
    return state.sample(clock.monotonic(), path, state.last_wall_seconds or 0.0)


def _reopened(file: LogFile, path: str) -> bool:
    """Whether it can be read on under this name."""
    try:
        return file.reopen(path)
    except OSError:
        return False


def _written_last(paths: list[tuple[int, str]], *, of_owner: bool) -> LogFile | None:
    """Of several old LOGs the one that was written last, None where none can be read.

    With ``of_owner`` the last that its owner wrote, where there is one.
    """
    times = {}
    for micros, path in paths:
        try:
            times[path] = os.stat(path).st_mtime_ns, micros
        except OSError:
            continue  # deleted meanwhile
    newest_first = sorted(times, key=times.__getitem__, reverse=True)
    last = None
    for path in newest_first[: MOST_ATTEMPTS if of_owner else 1]:
        try:
            file = LogFile(path)
            file.learn_header(LogState())
        except OSError:
            continue  # deleted meanwhile, or not ours to read: without any the LOG alone must do
        if file.owners or not of_owner:
            return file
        last = last or file
    return last


def _system_offset_seconds(wall_seconds: float) -> float:
    """This host's local time minus UTC: a first guess, until an event tells the database's."""
    return float(time.localtime(wall_seconds).tm_gmtoff)
