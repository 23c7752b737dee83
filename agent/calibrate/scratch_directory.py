"""Where a calibration's scratch database lies: its own private directory, and gone afterwards.

As for fio's scratch file (``probes.scratch``): nothing here follows a link that somebody else could
have placed, nothing lies in a database, and what a killed run left is found by its name.
"""

import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Sequence

from probes.scratch import (
    SCRATCH_DATABASE_PREFIX,
    enclosing_database,
    process_tag,
    tag_is_alive,
)

_MAX_NAMES = 10_000


class UnusableDirectory(Exception):
    """Why the directory cannot be used, and what to do: one sentence."""


def check_directory(directory: str, database_paths: Sequence[str]) -> str:
    """The directory's real path; UnusableDirectory when a scratch database must not lie in it."""
    real = os.path.realpath(directory)
    try:
        found = os.stat(real)
    except OSError as error:
        raise UnusableDirectory(f"{directory} cannot be used: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise UnusableDirectory(f"{directory} is not a directory")
    database = enclosing_database(real, [os.path.realpath(path) for path in database_paths])
    if database is not None:
        raise UnusableDirectory(
            f"{directory} lies in the database {database}; choose a directory outside of it"
        )
    # In a shared directory without the sticky bit anyone could exchange our subdirectory.
    if found.st_mode & 0o002 and not found.st_mode & stat.S_ISVTX:
        raise UnusableDirectory(
            f"{directory} may be changed by everybody and has no sticky bit; choose another"
        )
    if os.statvfs(real).f_flag & os.ST_RDONLY:
        raise UnusableDirectory(f"{directory} is on a read-only file system")
    if not os.access(real, os.W_OK | os.X_OK):
        raise UnusableDirectory(f"{directory} is not writable for this user")
    return real


def make_scratch_directory(parent: str) -> str:
    """A new directory that only we can enter and nobody could foresee.

    Raises UnusableDirectory when it cannot be made.
    """
    path = os.path.join(parent, f"{SCRATCH_DATABASE_PREFIX}{process_tag()}-{secrets.token_hex(4)}")
    try:
        os.mkdir(path, 0o700)
    except OSError as error:
        raise UnusableDirectory(f"{parent} is not writable: {error.strerror}") from error
    return path


def hold(path: str) -> int:
    """Lock the directory for as long as the returned descriptor is open.

    It tells other runs that we live where they cannot see our process: from another container.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _is_held(path: str) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def remove_scratch_directory(path: str) -> bool:
    """Remove the directory with all that is in it; False when something could not be removed."""
    shutil.rmtree(path, ignore_errors=True)  # does not follow links
    return not os.path.lexists(path)


def remove_leftovers(parent: str, proc_root: str = "/proc") -> tuple[str, ...]:
    """Remove what dead runs of this user left in ``parent``; return what was removed."""
    removed = []
    try:
        names = os.listdir(parent)
    except OSError:
        return ()  # making the next directory will say what is wrong
    for name in names[:_MAX_NAMES]:
        if not name.startswith(SCRATCH_DATABASE_PREFIX):
            continue
        tag, _, unique = name.removeprefix(SCRATCH_DATABASE_PREFIX).rpartition("-")
        if not unique or tag.count("-") != 1 or tag_is_alive(tag, proc_root):
            continue
        path = os.path.join(parent, name)
        try:
            found = os.lstat(path)
            ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            if not ours or _is_held(path):
                continue
        except OSError:
            continue
        if remove_scratch_directory(path):
            removed.append(path)
    return tuple(removed)
