"""Which incarnation of a database is at a path, and which process owns it."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from probes.clock import Clock
from probes.errors import ProbeError, ProbeFailed
from probes.rocksdb.files import open_regular
from probes.rocksdb.samples import FingerprintSample

MAX_LOCKS_BYTES = 4 * 1024 * 1024
"""At most this much of /proc/locks is read: about 60,000 locks."""

MAX_OPEN_FILES = 65536
"""File descriptors looked at per process."""

_MANIFEST_NAME = re.compile(rb"MANIFEST-[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class FileLock:
    """One whole-file POSIX write lock of /proc/locks, as RocksDB takes on its LOCK file."""

    pid: int
    device: int  # as in st_dev
    inode: int


def whole_file_write_locks(proc_root: str) -> Iterator[FileLock]:
    """Yield the held (not the awaited) ones. Raises OSError. Source: kernel fs/locks.c.

    Locks of processes outside our pid namespace are not shown, or with pid 0: passed over.
    """
    fd = os.open(f"{proc_root}/locks", os.O_RDONLY | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        content = file.read(MAX_LOCKS_BYTES)
    for line in content.splitlines():
        # 1: POSIX  ADVISORY  WRITE 4711 fd:00:1234567 0 EOF       (device in hexadecimal)
        fields = line.split()
        if len(fields) != 8 or fields[1] != b"POSIX" or fields[3] != b"WRITE":
            continue
        if fields[6] != b"0" or fields[7] != b"EOF":
            continue
        try:
            major, minor, inode = fields[5].split(b":")
            lock = FileLock(int(fields[4]), os.makedev(int(major, 16), int(minor, 16)), int(inode))
        except (ValueError, OverflowError):
            continue
        if lock.pid > 0:
            yield lock


def has_open(proc_root: str, pid: int, status: os.stat_result) -> bool | None:
    """Tell whether a process has the file open; None when it may not be looked at."""
    directory = f"{proc_root}/{pid}/fd"
    try:
        names = os.listdir(directory)[:MAX_OPEN_FILES]
    except OSError:
        return None
    for name in names:
        try:
            opened = os.stat(f"{directory}/{name}")
        except OSError:
            continue  # closed meanwhile
        if (opened.st_dev, opened.st_ino) == (status.st_dev, status.st_ino):
            return True
    return False


LOCK_LIST_READS = 3
"""The kernel's list is not read at one moment: while other locks come and go it can lack ours, in
about 1 % of readings on a host that changes 300 locks all the time."""


class FingerprintProbe:
    """Reads what changes when a database is destroyed, recreated, reopened or changes hands."""

    def __init__(self, database_path: str, clock: Clock, proc_root: str = "/proc") -> None:
        self._path = database_path
        self._clock = clock
        self._proc_root = proc_root

    def read(self) -> FingerprintSample:
        """Return the fingerprint.

        ProbeFailed: "database_missing", "not_rocksdb", "not_readable", "database_read_error".
        ``owner_pid`` is None when nobody holds the lock or /proc does not show who.
        """
        try:
            return self._read()
        except OSError as error:
            raise self._failure(error) from error

    def _read(self) -> FingerprintSample:
        os.stat(self._path)
        current, manifest_name = self._current()
        identity = self._optional_stat("IDENTITY")
        lock = self._optional_stat("LOCK")
        owner_pid = None if lock is None else self._owner(lock)
        return FingerprintSample(
            at=self._clock.monotonic(),
            current_inode=current.st_ino,
            identity_inode=None if identity is None else identity.st_ino,
            lock_inode=None if lock is None else lock.st_ino,
            manifest_name=manifest_name,
            owner_pid=owner_pid,
            owner_start_ticks=None if owner_pid is None else self._start_ticks(owner_pid),
            created_wall_seconds=None if identity is None else identity.st_mtime,
        )

    def _current(self) -> tuple[os.stat_result, str]:
        try:
            fd = open_regular(f"{self._path}/CURRENT")
        except (FileNotFoundError, NotADirectoryError):
            raise ProbeFailed(
                "not_rocksdb",
                f"{self._path} has no CURRENT file; give the directory of a RocksDB database",
            ) from None
        try:
            status = os.fstat(fd)
            content = os.read(fd, 64)
        finally:
            os.close(fd)
        if not _MANIFEST_NAME.fullmatch(content.rstrip(b"\n")):
            raise ProbeFailed("not_rocksdb", f"{self._path}/CURRENT does not name a MANIFEST file")
        return status, content.rstrip(b"\n").decode("ascii")

    def _optional_stat(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(f"{self._path}/{name}")
        except FileNotFoundError:
            return None

    def _owner(self, lock: os.stat_result) -> int | None:
        locks: list[FileLock] = []
        for _ in range(LOCK_LIST_READS):
            try:
                locks = [
                    held
                    for held in whole_file_write_locks(self._proc_root)
                    if held.inode == lock.st_ino
                ]
            except OSError:
                return None
            if locks:
                break
        for held in locks:
            if held.device == lock.st_dev:
                return held.pid
        # btrfs and overlay show files under a device number that the kernel's lock list does not
        # use. An equal inode number may then be chance, so the open files decide if they can.
        unknown = []
        for held in locks:
            opened = has_open(self._proc_root, held.pid, lock)
            if opened:
                return held.pid
            if opened is None:
                unknown.append(held.pid)
        return unknown[0] if len(unknown) == 1 else None

    def _start_ticks(self, pid: int) -> int | None:
        """Return field 22 of /proc/<pid>/stat; the command in field 2 may contain anything."""
        try:
            fd = os.open(f"{self._proc_root}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            content = os.read(fd, 4096)
        except OSError:
            return None
        finally:
            os.close(fd)
        fields = content[content.rfind(b")") + 1 :].split()
        return int(fields[19]) if len(fields) > 19 and fields[19].isdigit() else None

    def _failure(self, error: OSError) -> ProbeError:
        where = error.filename or self._path
        if isinstance(error, FileNotFoundError):
            return ProbeFailed("database_missing", f"{where} does not exist")
        if isinstance(error, PermissionError):
            return ProbeFailed(
                "not_readable",
                f"{where} is not readable for this user; run as the database's user or root, or "
                f"grant it with setfacl -R -m u:USER:rX {self._path}",
            )
        return ProbeFailed("database_read_error", f"{where}: {error.strerror}")
