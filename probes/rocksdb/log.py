"""Follows the LOG of a RocksDB database, or reads one file from beginning to end.

Only reads: files are opened O_RDONLY, and found again by (device, inode) after a rotation.
"""

import os
import stat
import time

from probes.clock import Clock
from probes.errors import NoData, ProbeFailed
from probes.rocksdb.log_lines import LineSplitter
from probes.rocksdb.log_location import log_candidates, newest_old_log
from probes.rocksdb.log_state import LogState
from probes.rocksdb.samples import LogSample

MEBIBYTE = 1024 * 1024

HEAD_BYTES = 256 * 1024
"""Read of a large LOG's beginning: version, opening, first event (for the offset to UTC)."""

CHUNK_BYTES = 256 * 1024
"""Read at once: small enough for a core's own cache, since each block is searched many times."""

MAX_BYTES_PER_READ = 16 * MEBIBYTE
"""Read in one call; what is left over comes with the next call."""

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
        self._identity = (0, 0)
        self._offset = 0
        self._missing = 0
        self._splitter = LineSplitter()
        self._state: LogState | None = None

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
            self._follow()
        except OSError as error:
            self.close()
            raise ProbeFailed(
                "log_unreadable", f"{self._path}: {error.strerror or error}; check the file system"
            ) from error
        if self._state is None:
            raise NoData("no_log", f"no LOG of {self._database_path} has been read yet")
        return self._state.sample(
            self._clock.monotonic(), self._path, self._clock.wall(), self._splitter.damaged
        )

    # -- opening

    def _open(self) -> None:
        path, fd = self._find()
        status = os.fstat(fd)
        self._path, self._fd = path, fd
        self._missing = 0
        returned = self._identity == _identity(status)
        self._identity = _identity(status)
        if self._state is not None:
            # It had vanished for a while: the same file goes on where it was left, a new one
            # begins at its beginning.
            if not returned:
                self._offset = 0
            return
        self._offset = 0
        state = LogState(self._keep_seconds, _system_offset_seconds(self._clock.wall()))
        state.learn_header(_whole_lines(os.pread(fd, HEAD_BYTES, 0)))
        self._state = state
        if status.st_size > self._history_bytes + HEAD_BYTES:
            self._offset = _line_start(fd, status.st_size - self._history_bytes)
        else:
            self._read_old(self._history_bytes - status.st_size)

    def _find(self) -> tuple[str, int]:
        denied: str | None = None
        for path in log_candidates(self._database_path, self._db_log_dir):
            try:
                # O_NONBLOCK: opening a named pipe must not hang.
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except PermissionError:
                denied = denied or path
                continue
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                raise ProbeFailed("log_not_a_file", f"{path} is not a regular file")
            return path, fd
        if denied:
            raise NoData(
                "log_not_permitted", f"{denied} may not be read; run as its owner or as root"
            )
        where = self._db_log_dir or self._database_path
        raise NoData("no_log", f"no LOG in {where}; a database writes one when it is opened")

    def _read_old(self, budget: int) -> None:
        """A young LOG says little: begin with the end of its predecessor, if that is recent."""
        path = newest_old_log(self._path) if budget > 0 else None
        if path is None or self._state is None:
            return
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return  # deleted meanwhile, or not ours to read: the LOG alone must do
        try:
            status = os.fstat(fd)
            age = self._clock.wall() - status.st_mtime
            if stat.S_ISREG(status.st_mode) and age <= self._keep_seconds:
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
            size = os.fstat(self._fd).st_size
            if size < self._offset:
                self._file_ended()
                self._offset = 0
            passed = self._drain(self._fd, self._offset, budget)
            self._offset += passed
            budget -= passed
            if budget <= 0 or not replaced or not self._switch():
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
        return _identity(status) != self._identity and stat.S_ISREG(status.st_mode)

    def _switch(self) -> bool:
        """Go on with the file that has taken the LOG's name; False when it is not there yet."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, PermissionError):
            return False
        self._file_ended()
        self.close()
        self._fd, self._identity, self._offset = fd, _identity(os.fstat(fd)), 0
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
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise NoData("no_log", f"{path} does not exist") from error
    except PermissionError as error:
        raise NoData(
            "log_not_permitted", f"{path} may not be read; run as its owner or as root"
        ) from error
    except OSError as error:
        raise ProbeFailed("log_unreadable", f"{path}: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ProbeFailed("log_not_a_file", f"{path} is not a regular file")
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
