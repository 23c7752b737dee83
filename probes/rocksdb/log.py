"""Follows the LOG of a RocksDB database, or reads one file from beginning to end.

Only reads: files are opened O_RDONLY, and found again by (device, inode) after a rotation.
"""

import os
import stat
import time

from probes.clock import Clock
from probes.errors import NoData, ProbeFailed
from probes.rocksdb.files import NotAFile, open_regular
from probes.rocksdb.log_lines import LineSplitter
from probes.rocksdb.log_location import log_candidates, old_logs
from probes.rocksdb.log_state import LogState
from probes.rocksdb.samples import LogSample

MEBIBYTE = 1024 * 1024

HEAD_BYTES = 256 * 1024
"""Read of a large LOG's beginning: version, opening, first event (for the offset to UTC)."""

CHUNK_BYTES = 256 * 1024
"""Read at once: small enough for a core's own cache, since each block is searched many times."""

MAX_BYTES_PER_READ = 16 * MEBIBYTE
"""Read in one call; what is left over comes with the next call."""

CLOCK_JUMP_SECONDS = 2.0
"""A wall clock that has run ahead of the steady one, or behind, by more since the last read was
set, or the machine slept; less is how a clock is disciplined."""

MISSING_READS = 2
"""Calls in a row that may find no file: a rotation renames first and creates afterwards."""


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
    ) -> None:
        self._database_path = database_path
        self._db_log_dir = db_log_dir
        self._clock = clock
        self._history_bytes = history_bytes
        self._keep_seconds = keep_seconds
        self._path = ""
        self._fd: int | None = None
        self._seen: os.stat_result | None = None  # of the file that is read, as it was last
        self._offset = 0
        self._missing = 0
        self._splitter = LineSplitter()
        self._state: LogState | None = None
        self._looked: tuple[float, float] | None = None  # monotonic and wall, at the last read

    def close(self) -> None:
        """Give the descriptor back; ``read()`` may be called again and opens anew."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __del__(self) -> None:
        self.close()

    def read(self) -> LogSample:
        """What the LOG has told up to now."""
        try:
            if self._fd is None:
                self._open()
            self._look_at_clock()
            self._follow()
        except OSError as error:
            self.close()
            where = error.filename or self._path
            raise ProbeFailed(
                "log_unreadable", f"{where}: {error.strerror or error}; check the file system"
            ) from error
        if self._state is None:
            raise NoData("no_log", f"no LOG of {self._database_path} has been read yet")
        return self._state.sample(
            self._clock.monotonic(), self._path, self._clock.wall(), self._splitter.damaged
        )

    def _look_at_clock(self) -> None:
        now, wall = self._clock.monotonic(), self._clock.wall()
        if self._looked is not None and self._state is not None:
            jump = (wall - self._looked[1]) - (now - self._looked[0])
            if abs(jump) > CLOCK_JUMP_SECONDS:
                self._state.clock_set(jump, self._looked[1])
        self._looked = (now, wall)

    # -- opening

    def _open(self) -> None:
        path, fd = self._find()
        self._path, self._fd = path, fd
        self._missing = 0
        if self._seen is not None:
            self._return_to(self._seen)
            return
        status = self._seen = os.fstat(fd)
        self._offset = 0
        state = LogState(self._keep_seconds, _system_offset_seconds(self._clock.wall()))
        state.learn_header(_whole_lines(os.pread(fd, HEAD_BYTES, 0)))
        self._state = state
        if status.st_size > self._history_bytes + HEAD_BYTES:
            self._offset = _line_start(fd, status.st_size - self._history_bytes)
        else:
            self._read_old(self._history_bytes - status.st_size)

    def _return_to(self, seen: os.stat_result) -> None:
        """It had vanished for a while: go on where it was left, also if it was rotated meanwhile.

        Where that file is gone, its successor begins at its beginning.
        """
        if self._fd is None or _identity(os.fstat(self._fd)) == _identity(seen):
            return
        left, successor = _places(self._path, seen)
        if left is None:
            self._offset = 0
        if (path := left or successor) != self._path:
            self.close()
            self._fd = open_regular(path)
        self._seen = os.fstat(self._fd)

    def _find(self) -> tuple[str, int]:
        denied: str | None = None
        for path in log_candidates(self._database_path, self._db_log_dir):
            try:
                return path, open_regular(path)
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

    def _read_old(self, budget: int) -> None:
        """A young LOG says little: begin with the end of its predecessor, if that is recent."""
        found = old_logs(self._path) if budget > 0 else []
        if not found or self._state is None:
            return
        try:
            fd = open_regular(found[-1][1])
        except OSError:
            return  # deleted meanwhile, or not ours to read: the LOG alone must do
        try:
            status = os.fstat(fd)
            age = self._clock.wall() - status.st_mtime
            if age <= self._keep_seconds:
                offset = _line_start(fd, max(0, status.st_size - budget))
                self._drain(fd, offset, min(budget, MAX_BYTES_PER_READ))
                self._file_ended()
        finally:
            os.close(fd)

    # -- following

    def _follow(self) -> None:
        budget = MAX_BYTES_PER_READ
        while budget > 0 and self._fd is not None:
            # Whether the file was replaced is asked *before* reading it to its end: nothing is
            # added to a file after its successor is there.
            replaced = self._is_replaced()
            self._seen = os.fstat(self._fd)
            if self._seen.st_size < self._offset:
                self._file_ended()
                self._offset = 0
            passed = self._drain(self._fd, self._offset, budget)
            self._offset += passed
            budget -= passed
            if budget <= 0 or not replaced or not self._switch(self._seen):
                return

    def _is_replaced(self) -> bool:
        """Whether another file has taken the LOG's name."""
        try:
            status = os.stat(self._path)
        except (FileNotFoundError, NotADirectoryError):
            self._missing += 1
            if self._missing >= MISSING_READS:
                self._file_ended()
                self.close()
                raise NoData(
                    "no_log", f"{self._path} is gone; it returns when the database is opened"
                ) from None
            return False
        except PermissionError:
            return False  # the open descriptor still reads; the next opening will say so
        self._missing = 0
        if self._seen is None or not stat.S_ISREG(status.st_mode):
            return False
        return _identity(status) != _identity(self._seen)

    def _switch(self, ended: os.stat_result) -> bool:
        """Go on with the file that came after the one that ended; False when there is none yet."""
        try:
            fd = open_regular(_places(self._path, ended)[1])
        except (FileNotFoundError, PermissionError, NotAFile):
            return False
        self._file_ended()
        self.close()
        self._fd, self._seen, self._offset = fd, os.fstat(fd), 0
        return True

    def _drain(self, fd: int, offset: int, budget: int) -> int:
        """Feed up to ``budget`` bytes from ``offset``; the number of bytes passed over."""
        start = offset
        if self._state is None:
            return 0
        while offset - start < budget:
            chunk = os.pread(fd, min(CHUNK_BYTES, budget - (offset - start)), offset)
            if not chunk:
                break
            if chunk[:1] == b"\0" and not chunk.strip(b"\0"):
                # A truncation under a writer that keeps its offset leaves a hole, maybe gigabytes.
                chunk_end = offset + len(chunk)
                try:
                    offset = max(chunk_end, os.lseek(fd, offset, os.SEEK_DATA))
                except OSError:
                    offset = chunk_end
                self._splitter.damaged += 1
                if offset - start >= budget:
                    break
                continue
            offset += len(chunk)
            self._state.feed(self._splitter.split(chunk))
        return offset - start

    def _file_ended(self) -> None:
        if self._state is not None:
            self._state.feed(self._splitter.finish())
            self._state.finish()


def parse_log(path: str, clock: Clock) -> LogSample:
    """Read a whole LOG, in bounded memory; an unfinished stall is counted to the last line.

    Raises NoData "no_log", "log_not_permitted"; ProbeFailed "log_not_a_file", "log_unreadable".
    """
    splitter = LineSplitter()
    state = LogState(offset_seconds=_system_offset_seconds(clock.wall()))
    try:
        fd = open_regular(path)
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
        state.learn_header(_whole_lines(os.pread(fd, HEAD_BYTES, 0)))
        while chunk := os.read(fd, CHUNK_BYTES):
            state.feed(splitter.split(chunk))
        state.feed(splitter.finish())
        state.finish()
    except OSError as error:
        raise ProbeFailed("log_unreadable", f"{path}: {error.strerror}") from error
    finally:
        os.close(fd)
    return state.sample(clock.monotonic(), path, state.last_wall_seconds or 0.0, splitter.damaged)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _places(log_path: str, seen: os.stat_result) -> tuple[str | None, str]:
    """Where a file that was the LOG lies now, None when it was deleted; and which one followed it.

    That is the LOG, unless it was rotated meanwhile, too: an old LOG's name tells when it ended, so
    the first that ended later than the one seen follows that one.
    """
    ended_micros = seen.st_mtime_ns // 1000  # for a file that has no name left
    left = None
    for micros, path in reversed(old := old_logs(log_path)):
        try:
            if _identity(os.stat(path)) == _identity(seen):
                ended_micros, left = micros, path
                break
        except OSError:
            continue  # deleted meanwhile
    return left, next((path for micros, path in old if micros > ended_micros), log_path)


def _whole_lines(chunk: bytes) -> bytes:
    return chunk[: chunk.rfind(b"\n") + 1].replace(b"\0", b"")


def _line_start(fd: int, offset: int) -> int:
    """The first beginning of a line at or after ``offset``, looked for within one chunk."""
    if offset <= 0:
        return 0
    newline = os.pread(fd, CHUNK_BYTES, offset - 1).find(b"\n")
    return offset if newline < 0 else offset + newline


def _system_offset_seconds(wall_seconds: float) -> float:
    """This host's local time minus UTC: a first guess, until an event tells the database's."""
    return float(time.localtime(wall_seconds).tm_gmtoff)
