"""A small private file that is replaced whole: a crash leaves the old one or the new one.

file = AtomicFile(directory, "learned.json")
file.write(content)     # waits for the device; OSError: the old file is still there
file.read(limit_bytes)  # FileNotFoundError, OSError, UnusableFile
file.set_aside()        # kept as learned.json.damaged
file.written_bytes      # what writing has sent to the device so far
"""

import errno
import os
import stat
from typing import Final

from probes.scratch import enclosing_database

PAGE_BYTES: Final = 4096
"""What the file system writes at least, once for the file and once for its directory."""


def replacing_bytes(content_bytes: int) -> int:
    """What replacing a file of so many bytes writes: its pages, and one of its directory."""
    return _whole_pages(content_bytes) + PAGE_BYTES


def _whole_pages(size_bytes: int) -> int:
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES


class UnusableFile(ValueError):
    """What lies there is not a file that this program wrote; the message says why."""


class AtomicFile:
    """One file of one directory. One thread at a time may write."""

    def __init__(self, directory: str, name: str) -> None:
        self._directory = directory
        self._beside = os.path.join(directory, f".{name}.new")
        self.path: Final = os.path.join(directory, name)
        self._aside = f"{self.path}.damaged"
        self.written_bytes = 0
        """Whole pages, the directory's among them; what failed counts as far as it came."""

    def write(self, content: bytes) -> None:
        """Write beside, sync, rename, sync the directory. OSError leaves the old file in force.

        Only after the rename can the directory's own sync still fail: then the new file is there,
        but a loss of power may bring the old one back.
        """
        # ENOSPC and a failing device may show only at fsync, so nothing is renamed before it.
        database = enclosing_database(self._directory, ())
        if database is not None:
            raise OSError(errno.EPERM, f"{self._directory} now lies in the database {database}")
        try:
            os.unlink(self._beside)  # of a run that died while writing
        except FileNotFoundError:
            pass  # the usual case
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._beside, flags, 0o600)
        self.written_bytes += PAGE_BYTES  # the directory has a new entry
        try:
            try:
                left = memoryview(content)
                while left:
                    left = left[os.write(descriptor, left) :]
                self.written_bytes += _whole_pages(len(content))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(self._beside, self.path)
        except OSError:
            os.unlink(self._beside)
            raise
        parent = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)

    def read(self, limit_bytes: int) -> bytes:
        """The whole file. FileNotFoundError, OSError (a link, no permission), UnusableFile."""
        # O_NONBLOCK: a pipe in its place must not make the daemon wait for a writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self.path, flags)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise UnusableFile("it is not a regular file")
            if found.st_uid not in {0, os.geteuid()}:
                raise UnusableFile("it belongs to another user")
            raw = file.read(limit_bytes + 1)
        if len(raw) > limit_bytes:
            raise UnusableFile(f"it is larger than {limit_bytes} bytes")
        return raw

    def aside_exists(self) -> bool:
        """Whether a damaged file was kept."""
        return os.path.lexists(self._aside)

    def set_aside(self) -> str:
        """Keep what lies there under another name; tells how that went, as part of a sentence."""
        try:
            os.replace(self.path, self._aside)
        except OSError as error:
            return f"it cannot be moved ({error.strerror}) and will be replaced"
        return f"it is kept as {self._aside}"
