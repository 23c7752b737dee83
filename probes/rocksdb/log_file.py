"""One file of a LOG, and how far it has been read. Opened O_RDONLY, known by (device, inode)."""

import os

from probes.rocksdb.files import open_regular
from probes.rocksdb.log_lines import LineSplitter
from probes.rocksdb.log_state import LogState

HEAD_BYTES = 256 * 1024
"""Read of a large LOG's beginning: version, opening, first event (for the offset to UTC)."""

CHUNK_BYTES = 256 * 1024
"""Read at once: small enough for a core's own cache, since each block is searched many times."""


class LogFile:
    """A file that is the LOG, or was it. Errors are OSError as the system raises them, NotAFile.

    ``owners`` tells whether something in it shows that its writer has the database open: the LOG
    of one who tried in vain, or only reads, has no such line.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.owners = False
        self._only_attempted = True
        self._fd: int | None = None
        self._fd = open_regular(path)
        self.seen = os.fstat(self._fd)
        """As it was when it was looked at last."""
        self._offset = 0
        self._splitter = LineSplitter()

    @property
    def closed(self) -> bool:
        """Whether it has to be opened again before it can be read."""
        return self._fd is None

    @property
    def deleted(self) -> bool:
        """Whether no name leads to it any more."""
        return self.seen.st_nlink == 0

    def close(self) -> None:
        """Give the descriptor back; where reading had come to is kept."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __del__(self) -> None:
        self.close()

    def is_same(self, status: os.stat_result) -> bool:
        """Whether that is the status of this file, by whatever name."""
        return (status.st_dev, status.st_ino) == (self.seen.st_dev, self.seen.st_ino)

    def reopen(self, path: str) -> bool:
        """Go on where it was left, if it is this file that has the name now."""
        fd = open_regular(path)
        if not self.is_same(os.fstat(fd)):
            os.close(fd)
            return False
        self.close()
        self._fd, self.path = fd, path
        return True

    def learn_header(self, state: LogState) -> None:
        """Take from its beginning what ``LogState.learn_header`` takes."""
        if self._fd is None:
            return
        before, state.only_attempted = state.owner_lines, self._only_attempted
        head = os.pread(self._fd, HEAD_BYTES, 0)
        state.learn_header(head[: head.rfind(b"\n") + 1].replace(b"\0", b""))
        self._only_attempted = state.only_attempted
        self.owners = state.owner_lines != before

    def skip_to_last(self, size: int) -> None:
        """Go on with about the last ``size`` bytes, from a line's beginning on."""
        offset = self.seen.st_size - size
        if self._fd is None or offset <= 0:
            return
        newline = os.pread(self._fd, CHUNK_BYTES, offset - 1).find(b"\n")
        self._offset = offset if newline < 0 else offset + newline

    def read(self, state: LogState, budget: int) -> int:
        """Feed up to ``budget`` bytes of what was added; the number of bytes passed over."""
        if self._fd is None:
            return 0
        self.seen = os.fstat(self._fd)
        if self.seen.st_size < self._offset:
            self.finish(state)
            self._offset = 0
        lines, damaged = state.owner_lines, self._splitter.damaged
        passed = self._drain(self._fd, state, budget)
        self.owners = self.owners or state.owner_lines != lines
        state.damaged_lines += self._splitter.damaged - damaged
        return passed

    def _drain(self, fd: int, state: LogState, budget: int) -> int:
        begin = self._offset
        end = begin + budget
        while self._offset < end:
            chunk = os.pread(fd, min(CHUNK_BYTES, end - self._offset), self._offset)
            if not chunk:
                break
            self._offset += len(chunk)
            if chunk[:1] == b"\0" and not chunk.strip(b"\0"):
                # A truncation under a writer that keeps its offset leaves a hole, maybe gigabytes.
                try:
                    data = os.lseek(fd, self._offset - len(chunk), os.SEEK_DATA)
                except OSError:
                    data = 0
                self._offset = max(self._offset, data)
                self._splitter.damaged += 1
            else:
                self._feed(self._splitter.split(chunk), state)
        return self._offset - begin

    def finish(self, state: LogState) -> None:
        """Its unfinished last line, if any, is all of that line."""
        self._feed(self._splitter.finish(), state)
        state.finish()

    def _feed(self, block: bytes, state: LogState) -> None:
        state.only_attempted = self._only_attempted
        state.feed(block)
        self._only_attempted = state.only_attempted
