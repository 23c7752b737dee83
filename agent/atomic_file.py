"""A small private file that is replaced whole: a crash leaves the old one or the new one.

file = AtomicFile(directory, "learned.json")
file.write(content)     # waits for the device; OSError: the old file is still there
file.write(content, to_owner=True)  # by root: given to the directory's owner, who has to read it
file.read(limit_bytes)  # FileNotFoundError, OSError, UnusableFile
file.set_aside()        # kept as learned.json.damaged

What is written is asked of a budget before, and told to it afterwards: ``WriteBudget``.
"""

import contextlib
import errno
import os
import stat
from typing import Final

from probes.scratch import enclosing_database
from probes.write_budget import NoBudget, WriteBudget

PAGE_BYTES: Final = 4096
"""What the file system writes at least, once for the file and once for its directory."""


def replacing_bytes(content_bytes: int) -> int:
    """What replacing a file of so many bytes writes: its pages, and one of its directory."""
    return _whole_pages(content_bytes) + PAGE_BYTES


def _whole_pages(size_bytes: int) -> int:
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES


def give_to_owner(descriptor: int, directory: str) -> None:
    """Where root has just made a file in another user's directory, that user gets it. OSError.

    By its descriptor, and only while it has one name: a path, or a second name, could be another
    file's by now, which must not be given away.
    """
    if os.geteuid() == 0 and os.fstat(descriptor).st_nlink == 1:
        owner = os.stat(directory)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


class UnusableFile(ValueError):
    """What lies there is not a file that this program wrote; the message says why."""


class AtomicFile:
    """One file of one directory. One thread at a time may write."""

    def __init__(self, directory: str, name: str) -> None:
        self.budget: WriteBudget = NoBudget()
        self._directory = directory
        self._beside = os.path.join(directory, f".{name}.new")
        self.path: Final = os.path.join(directory, name)
        self._aside = f"{self.path}.damaged"
        self.written_bytes = 0
        """Whole pages, the directory's among them; what failed counts as far as it came."""

    def write(self, content: bytes, *, to_owner: bool = False) -> None:
        """Write beside, sync, rename, sync the directory. OSError leaves the old file in force.

        EDQUOT where the budget does not allow it.
        Written by root ``to_owner``, it belongs to the directory's owner before it has its name.
        Only after the rename can the directory's own sync still fail: then the new file is there,
        but a loss of power may bring the old one back.
        """
        database = enclosing_database(self._directory, ())
        if database is not None:
            why = f"{self._directory} now lies in the database {database}"
            raise OSError(errno.EPERM, why, self.path)
        refusal = self.budget.ask(replacing_bytes(len(content)))
        if refusal is not None:
            raise OSError(errno.EDQUOT, refusal, self.path)
        before = self.written_bytes
        try:
            self._replace(content, to_owner=to_owner)
        except OSError as error:
            error.filename = error.filename or self.path  # what a descriptor meets names no file
            raise
        finally:
            self.budget.done(self.written_bytes - before)

    def _replace(self, content: bytes, *, to_owner: bool) -> None:
        # ENOSPC and a failing device may show only at fsync, so nothing is renamed before it.
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
                try:
                    while left:
                        left = left[os.write(descriptor, left) :]
                finally:
                    self.written_bytes += _whole_pages(len(content) - len(left))
                if to_owner:
                    give_to_owner(descriptor, self._directory)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(self._beside, self.path)
        except OSError:
            with contextlib.suppress(OSError):  # what went wrong first is what is told
                os.unlink(self._beside)
            raise
        parent = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)

    def read(self, limit_bytes: int, *, of_owner: bool = False) -> bytes:
        """The whole file. FileNotFoundError, OSError (a link, no permission), UnusableFile.

        ``of_owner``: also one of the directory's owner, for whom root writes it.
        """
        # O_NONBLOCK: a pipe in its place must not make the daemon wait for a writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self.path, flags)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise UnusableFile("it is not a regular file")
            trusted = {0, os.geteuid()}
            if of_owner:
                trusted.add(os.stat(self._directory).st_uid)
            if found.st_uid not in trusted:
                raise UnusableFile("it belongs to another user")
            # Not fdopen on its own: of a directory it would leave the descriptor open.
            with open(descriptor, "rb", closefd=False) as file:
                raw = file.read(limit_bytes + 1)
        finally:
            os.close(descriptor)
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
