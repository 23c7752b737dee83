"""Where fio may write: a private directory on the database's file system, outside every database.

The daemon may run as root beside other users' programs, so nothing here follows a link that
somebody else could have placed, and nothing is created except one subdirectory with mode 0700.
"""

import ctypes
import errno
import os
import secrets
import stat
from collections.abc import Mapping, Sequence

from probes.database_marks import holds_database, holds_log
from probes.errors import NoData, ProbeFailed

SCRATCH_PREFIX = "smaxd-scratch-"
"""Scratch files are ``smaxd-scratch-<pid>-<start ticks>-<random>``."""

SCRATCH_DATABASE_PREFIX = "smaxd-calibrate-"
"""A calibration's scratch database lies in a directory of its own, named like the files above with
this prefix: discovery passes over what is below one."""

_PASSING = frozenset({"read_only_file_system", "out_of_space"})
"""What may befall any directory; everything else is wrong with the one that was configured."""

_MAX_NAMES = 10_000
"""More directory entries than this are not looked through for leftovers."""


def process_tag(proc_root: str = "/proc") -> str:
    """Name this process for good: its id and the start time that tells it from a later one."""
    return f"{os.getpid()}-{_start_ticks(os.getpid(), proc_root) or 0}"


def tag_is_alive(tag: str, proc_root: str = "/proc") -> bool:
    """Tell whether the process of a ``process_tag`` still runs; a malformed tag counts as dead."""
    pid, _, ticks = tag.partition("-")
    if not (pid.isascii() and pid.isdigit() and ticks.isascii() and ticks.isdigit()):
        return False
    return _start_ticks(int(pid), proc_root) == int(ticks)


def default_candidates(database_path: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """List the directories to try, best first: our own state, shared ones, the mount's root."""
    return tuple(dict.fromkeys((*shared_candidates(environ), mount_point(database_path))))


def shared_candidates(environ: Mapping[str, str]) -> tuple[str, ...]:
    """List those of them that are the same for every database. Looks at none."""
    state_home = environ.get("XDG_STATE_HOME") or os.path.join(
        environ.get("HOME", "/nonexistent"), ".local/state"
    )
    service_state = environ.get("STATE_DIRECTORY", "").split(":")[0]
    candidates = [
        service_state,
        os.path.join(state_home, "smaxd"),
        "/var/lib/smaxd",
        "/var/tmp",  # noqa: S108  a private subdirectory is made without following links
        "/tmp",  # noqa: S108
    ]
    return tuple(dict.fromkeys(path for path in candidates if os.path.isabs(path)))


def mount_point(path: str) -> str:
    """Return the highest directory above ``path`` that is on the same file system."""
    path = os.path.realpath(path)
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def choose_scratch_directory(
    database_path: str,
    configured: str | None,
    candidates: Sequence[str],
    database_paths: Sequence[str],
) -> str:
    """Find, and make, a private directory for scratch files that measures the right device.

    It is a subdirectory ``smaxd-scratch-<uid>`` (hidden at the root of a mount) of ``configured``,
    or of the first of ``candidates`` that exists, is on the file system of ``database_path``, lies
    in no database (as ``enclosing_database`` tells) and is writable.

    Raises ProbeFailed("scratch_invalid") when ``configured`` is none of this,
    NoData("no_scratch_directory") when no candidate is, in place of either ProbeFailed
    "read_only_file_system" or "out_of_space" when it is but for that; NoData("database_missing").
    """
    try:
        device = os.stat(database_path).st_dev
    except OSError as error:
        raise NoData("database_missing", f"{database_path}: {error.strerror}") from error
    if configured is not None:
        try:
            return _private_subdirectory(configured, device, database_paths)
        except _UnusableError as why:
            raise _passing(configured, why) or ProbeFailed(
                "scratch_invalid",
                f"the scratch directory {configured} {why}; choose one on the file system of "
                f"{database_path}, outside every database",
            ) from why
    passing: ProbeFailed | None = None
    for candidate in candidates:
        try:
            return _private_subdirectory(candidate, device, database_paths)
        except _UnusableError as why:
            passing = passing or _passing(candidate, why)
    raise passing or NoData(
        "no_scratch_directory",
        f"no writable directory on the file system of {database_path}; pass --scratch DIR",
    )


def enclosing_database(directory: str, database_paths: Sequence[str]) -> str | None:
    """Return the directory of a database that ``directory`` is or lies in; None: it is in none.

    One of ``database_paths``, of which a database may have several, or one with a database's files.
    They are real paths, without links, and are not looked at: one of them may lie on a dead disk,
    which ``directory`` then does not.
    """
    directory = os.path.realpath(directory)
    known = {os.path.normpath(path) for path in database_paths}
    if holds_log(directory):  # that of a db_log_dir may lie above anything, as in /var/log
        return directory
    while True:
        if directory in known or holds_database(directory):
            return directory
        if directory == os.path.dirname(directory):
            return None
        directory = os.path.dirname(directory)


def is_scratch_database(path: str) -> bool:
    """Tell whether a database's path is that of a calibration's own, of whichever process."""
    return any(part.startswith(SCRATCH_DATABASE_PREFIX) for part in path.split("/"))


def check_scratch_directory(directory: str, database_paths: Sequence[str]) -> None:
    """Look again before each use, and make our subdirectory anew when it is gone.

    Raises ProbeFailed "scratch_invalid" when ``directory`` now lies in a database or is no longer
    ours, and as ``scratch_error`` when it cannot be made.
    """
    try:
        _refuse_databases(directory, database_paths)
        # Another instance of ours, ending, removes the empty subdirectory that both use.
        if _is_our_subdirectory(directory):
            _make_private(directory)
    except _UnusableError as why:
        raise why.failure(directory) or ProbeFailed(
            "scratch_invalid", f"the scratch directory {directory} {why}"
        ) from why


def create_scratch_file(directory: str, tag: str, size_bytes: int) -> str:
    """Create and preallocate a file that only we can open and nobody could foresee.

    Returns its name. fio is then told not to create files, so that it neither replaces this one
    nor brings it back after somebody has removed it. Where the file system cannot preallocate,
    the file is sparse.

    Raises ProbeFailed "read_only_file_system", "scratch_not_writable", "out_of_space".
    """
    name = f"{SCRATCH_PREFIX}{tag}-{secrets.token_hex(4)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    created = False
    try:
        descriptor = os.open(os.path.join(directory, name), flags, 0o600)
        created = True
        try:
            _allocate(descriptor, size_bytes)
        finally:
            os.close(descriptor)
    except OSError as error:
        if created:
            remove_scratch_file(directory, name)
        failure = scratch_error(error.errno, directory, str(error.strerror))
        raise failure or ProbeFailed("scratch_not_writable", f"{directory}: {error}") from error
    return name


def _allocate(descriptor: int, size_bytes: int) -> None:
    # Not posix_fallocate: where the file system cannot, that writes into every single block.
    libc = ctypes.CDLL(None, use_errno=True)
    size = ctypes.c_long(size_bytes)  # off_t
    if libc.fallocate(descriptor, 0, ctypes.c_long(0), size) != 0:
        number = ctypes.get_errno()
        if number not in {errno.EOPNOTSUPP, errno.ENOSYS}:
            raise OSError(number, os.strerror(number))
        os.ftruncate(descriptor, size_bytes)


def scratch_error(number: int | None, directory: str, message: str) -> ProbeFailed | None:
    """Name the reason for an errno met while writing to the scratch directory; None: no idea."""
    if number == errno.EROFS:
        return ProbeFailed("read_only_file_system", f"{directory} is on a read-only file system")
    if number in {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR}:
        return ProbeFailed(
            "scratch_not_writable",
            f"{directory} cannot be written: {message}; pass a writable --scratch DIR",
        )
    if number in {errno.ENOSPC, errno.EDQUOT}:
        return ProbeFailed("out_of_space", f"no space is left for a probe in {directory}")
    return None


def remove_leftovers(directory: str, proc_root: str = "/proc") -> int:
    """Remove what earlier, dead runs left in ``directory``; return how many files that were.

    Files of living processes stay, and so does everything that is not named like ours.
    """
    removed = 0
    try:
        names = os.listdir(directory)
    except OSError:
        return 0  # creating the next scratch file will say what is wrong
    for name in names[:_MAX_NAMES]:
        if not name.startswith(SCRATCH_PREFIX):
            continue
        tag, _, unique = name.removeprefix(SCRATCH_PREFIX).rpartition("-")
        if not unique or tag.count("-") != 1 or tag_is_alive(tag, proc_root):
            continue
        removed += remove_scratch_file(directory, name)
    return removed


def remove_scratch_leftovers(parents: Sequence[str]) -> int:
    """Remove what killed runs left in any of the directories that ours may lie in, at the start.

    ``parents`` as for ``choose_scratch_directory``. Returns how many files that were.
    """
    removed = 0
    name = f"{SCRATCH_PREFIX}{os.geteuid()}"
    for parent in parents:
        for directory in (os.path.join(parent, name), os.path.join(parent, f".{name}")):
            try:
                found = os.lstat(directory)
            except OSError:
                continue  # nothing was measured there
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
                removed += remove_leftovers(directory)
                remove_scratch_directory(directory)
    return removed


def remove_scratch_file(directory: str, name: str) -> bool:
    """Remove one file; False when it was not there, or cannot be removed."""
    try:
        os.unlink(os.path.join(directory, name))
    except OSError:
        return False
    return True


def remove_scratch_directory(directory: str) -> None:
    """Remove a directory made by ``choose_scratch_directory`` once it is empty (at the end)."""
    if _is_our_subdirectory(directory):
        try:
            os.rmdir(directory)
        except OSError:
            pass  # another instance still uses it


def _is_our_subdirectory(directory: str) -> bool:
    return os.path.basename(directory).lstrip(".").startswith(SCRATCH_PREFIX)


class _UnusableError(Exception):
    """Why a directory cannot be used, as the end of a sentence."""

    def failure(self, directory: str) -> ProbeFailed | None:
        """Name the reason where it was the system that refused; None: we did."""
        cause = self.__cause__
        number = cause.errno if isinstance(cause, OSError) else None
        return scratch_error(number, directory, str(self))


def _private_subdirectory(parent: str, device: int, database_paths: Sequence[str]) -> str:
    parent = os.path.realpath(parent)
    try:
        found = os.stat(parent)
    except OSError as error:
        raise _UnusableError(f"cannot be used: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise _UnusableError("is not a directory")
    if found.st_dev != device:
        raise _UnusableError("is on another file system")
    _refuse_databases(parent, database_paths)
    # In a shared directory without the sticky bit anyone could exchange our subdirectory.
    if found.st_mode & 0o002 and not found.st_mode & stat.S_ISVTX:
        raise _UnusableError("may be changed by everybody and has no sticky bit")
    hidden = "." if os.path.ismount(parent) else ""
    path = os.path.join(parent, f"{hidden}{SCRATCH_PREFIX}{os.geteuid()}")
    if _make_private(path).st_dev != device:
        raise _UnusableError(f"holds a {os.path.basename(path)} on another file system")
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        raise _UnusableError("is not writable") from OSError(errno.EROFS, os.strerror(errno.EROFS))
    if not os.access(path, os.W_OK | os.X_OK):
        raise _UnusableError("is not writable")
    return path


def _passing(directory: str, why: _UnusableError) -> ProbeFailed | None:
    failure = why.failure(directory)
    return failure if failure is not None and failure.reason in _PASSING else None


def _make_private(path: str) -> os.stat_result:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass  # ours from earlier, or somebody's trap: looked at below
    except OSError as error:
        raise _UnusableError(f"is not writable: {error.strerror}") from error
    made = os.lstat(path)
    if not stat.S_ISDIR(made.st_mode) or made.st_uid != os.geteuid() or made.st_mode & 0o077:
        raise _UnusableError(f"holds a {os.path.basename(path)} that is not our private directory")
    return made


def _refuse_databases(directory: str, database_paths: Sequence[str]) -> None:
    database = enclosing_database(directory, database_paths)
    if database is not None:
        raise _UnusableError(f"lies in the database {database}")


def _start_ticks(pid: int, proc_root: str) -> int | None:
    """Field 22 of /proc/<pid>/stat (proc_pid_stat(5)); the name before it may hold anything."""
    try:
        with open(f"{proc_root}/{pid}/stat", "rb") as file:
            return int(file.read(4096).rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
