"""The file under the history: made private, or put away when it cannot be used."""

import os
import stat

from probes.scratch import enclosing_database


class DamagedHistory(Exception):
    """What lies there is no usable history; the message says why."""


def make_private(path: str) -> None:
    """Make the file if need be, readable by its owner only; SQLite's others take after it.

    Never while it is open: closing any descriptor of a file gives up all locks on it.
    """
    directory = os.path.dirname(path)
    database = enclosing_database(directory, ())
    if database is not None:
        raise OSError(None, f"{directory} now lies in the database {database}")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise DamagedHistory("it is not a regular file")
    descriptor = os.open(path, flags, 0o600)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid():
            raise DamagedHistory("it belongs to another user")
        if stat.S_IMODE(found.st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def set_aside(path: str, ending: str) -> str:
    """Keep the file, and the log that belongs to it, under another name; tells how that went.

    Of an earlier one that was put away the larger is kept: a drive that fails spoils each new file,
    too, and those have next to nothing in them. Raises OSError.
    """
    aside = f"{path}.{ending}"
    if os.path.lexists(aside) and os.lstat(aside).st_size > os.lstat(path).st_size:
        os.unlink(path)
        told = f"{aside}, of an earlier time, is kept instead of it"
    else:
        _unlink_if_there(f"{aside}-wal")
        os.replace(path, aside)
        told = f"it is kept as {aside}"
        if os.path.lexists(f"{path}-wal"):
            os.replace(f"{path}-wal", f"{aside}-wal")
    _unlink_if_there(f"{path}-wal")
    _unlink_if_there(f"{path}-shm")
    return told


def _unlink_if_there(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # the usual case
