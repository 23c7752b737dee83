"""Opening a database's files: whatever lies in their place, opening it neither hangs nor acts."""

import errno
import os
import stat

_KINDS = (
    (stat.S_ISDIR, "directory"),
    (stat.S_ISFIFO, "named pipe"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
    (stat.S_ISSOCK, "socket"),
)


class NotAFile(OSError):
    """Something else than a regular file has the name; ``strerror`` says what."""


def open_regular(path: str) -> int:
    """Open a regular file for reading, through symbolic links; the caller closes it.

    Raises OSError as ``os.open`` does, and NotAFile. The kind is asked before opening, because
    opening a device can act on it (a watchdog starts, a tape rewinds), and again afterwards,
    because the name may have changed hands; O_NONBLOCK keeps a pipe from hanging even then.
    """
    _require_regular(os.stat(path), path)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    descriptor = os.open(path, flags)
    try:
        _require_regular(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _require_regular(status: os.stat_result, path: str) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    kind = next((name for test, name in _KINDS if test(status.st_mode)), "special file")
    raise NotAFile(errno.EINVAL, f"is a {kind}, not a regular file", path)
