"""Finding the RocksDB databases that are open on this host."""

import os
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from probes.rocksdb.files import open_regular
from probes.rocksdb.fingerprint import MAX_OPEN_FILES, whole_file_write_locks
from probes.rocksdb.samples import DiscoveredDatabase
from probes.scratch import is_scratch_database

MAX_DIRECTORY_ENTRIES = 200_000
"""Files summed up per database; a larger database's size is unknown."""

LOG_HEAD_BYTES = 4096
"""RocksDB writes its version in the first line of every LOG."""

LOOK_SECONDS = 0.5
"""A look at one directory takes milliseconds: what has not answered when for so long nothing has is
left to the next search."""

ONLY_LOOK_SECONDS = 5.0
"""Where there is no next search: a large directory on a busy disk may take a second."""

LOOKS_AT_ONCE = 64
"""Hardly a host runs more databases; what goes beyond waits until these have answered, or hang."""

_VERSION = re.compile(rb"RocksDB version: ([0-9]+\.[0-9]+\.[0-9]+)")


@dataclass(frozen=True, slots=True)
class DiscoveryResult:
    """The databases found, and how many processes could not be looked into.

    ``unreadable_owners`` counts processes that hold a lock of the kind RocksDB takes but whose
    open files another user may not list: with privileges they might be databases. ``silent`` are
    those whose disk does not answer: their LOCK is held, and no more is known but path and process.
    """

    databases: tuple[DiscoveredDatabase, ...]
    unreadable_owners: int
    silent: tuple[DiscoveredDatabase, ...] = ()


@dataclass(frozen=True, slots=True)
class _OpenLock:
    """A LOCK that a process has open: perhaps a database's."""

    pid: int
    link: str  # in /proc/<pid>/fd
    target: str  # as the process sees it


class _Look:
    """Finds out, in a thread of its own, whether an open LOCK is a database's, and describes it."""

    def __init__(self, lock: _OpenLock, proc_root: str, ended: threading.Semaphore) -> None:
        """``ended`` is released at its end. RuntimeError where no thread is to be had."""
        self.lock = lock
        self.found: tuple[tuple[int, int], DiscoveredDatabase] | None = None
        self.hangs = True
        self._proc_root = proc_root
        self._ended = ended
        threading.Thread(target=self._run, name="discovery look", daemon=True).start()

    def _run(self) -> None:
        try:
            path = _database_of(self.lock, self._proc_root)
            if path is not None:
                status = os.stat(path)
                described = _described(path, self.lock.pid, self._proc_root)
                self.found = (status.st_dev, status.st_ino), described
        except OSError:
            pass  # gone meanwhile
        finally:
            self.hangs = False
            self._ended.release()


class DatabaseSearch:
    """Finds the databases that are open on this host, again and again.

    Dead disks delay the first search only, by ``look_seconds`` for each ``LOOKS_AT_ONCE`` databases
    on them, and keep one thread for each database until they answer.
    """

    def __init__(self, proc_root: str = "/proc", look_seconds: float = LOOK_SECONDS) -> None:
        self._proc_root = proc_root
        self._look_seconds = look_seconds
        self._hanging: dict[tuple[int, str], _Look] = {}

    def read(self) -> DiscoveryResult:
        """Return every database open in a process we may look into, in order of path.

        Never raises for what it cannot read. Costs a listing of the open files of each process
        that holds a whole-file lock; of all processes only where /proc/locks cannot be read.
        """
        open_locks, unreadable = _open_locks(self._proc_root)
        locks = {(lock.pid, lock.target): lock for lock in open_locks}
        looks = dict(self._hanging)
        new = [lock for key, lock in locks.items() if key not in looks]
        while new:
            begun = self._look_at(new[:LOOKS_AT_ONCE])
            looks |= begun
            # Where there is no thread at all, the next search may have one.
            new = new[max(1, len(begun)) :]
        # Also those that are not listed now: the kernel's list may lack one for a moment.
        self._hanging = {key: look for key, look in looks.items() if look.hangs}
        found: dict[tuple[int, int], DiscoveredDatabase] = {}
        for key in locks:
            look = looks.get(key)
            if look is not None and key not in self._hanging and look.found is not None:
                found.setdefault(*look.found)
        silent = [_undescribed(look.lock, self._proc_root) for look in self._hanging.values()]
        return DiscoveryResult(_in_order(found.values()), unreadable, _in_order(silent))

    def _look_at(self, locks: Iterable[_OpenLock]) -> dict[tuple[int, str], _Look]:
        """Look at all of them at once, for as long as one after the other answers; at the first of
        them only, where there are threads for no more."""
        ended = threading.Semaphore(0)
        looks = {}
        for lock in locks:
            try:
                looks[lock.pid, lock.target] = _Look(lock, self._proc_root, ended)
            except RuntimeError:
                break
        for _ in looks:
            if not ended.acquire(timeout=self._look_seconds):
                break  # the disks of those that are left hang
        return looks


def discover_databases(proc_root: str = "/proc") -> DiscoveryResult:
    """Search once; see DatabaseSearch.read."""
    return DatabaseSearch(proc_root, ONLY_LOOK_SECONDS).read()


def _in_order(databases: Iterable[DiscoveredDatabase]) -> tuple[DiscoveredDatabase, ...]:
    return tuple(sorted(databases, key=lambda database: database.path))


def _open_locks(proc_root: str) -> tuple[list[_OpenLock], int]:
    """What may be databases, and how many holders of locks cannot be looked into.

    Reads links of /proc only, and so waits for no disk.
    """
    locks: list[_OpenLock] = []
    unreadable = 0
    try:
        pids: Iterable[int] = sorted({lock.pid for lock in whole_file_write_locks(proc_root)})
        holders = True
    except OSError:
        pids, holders = _all_pids(proc_root), False
    for pid in pids:
        try:
            locks += _open_locks_of(proc_root, pid)
        except PermissionError:
            unreadable += holders
        except OSError:
            pass  # ended meanwhile
    return locks, unreadable


def _all_pids(proc_root: str) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(proc_root) if name.isdecimal())
    except OSError:
        return []


def _open_locks_of(proc_root: str, pid: int) -> Iterator[_OpenLock]:
    directory = f"{proc_root}/{pid}/fd"
    for name in os.listdir(directory)[:MAX_OPEN_FILES]:
        link = f"{directory}/{name}"
        try:
            target = os.readlink(link)
        except OSError:
            continue  # closed meanwhile
        # A calibration's own is gone in minutes.
        if target.endswith("/LOCK") and not is_scratch_database(target):
            yield _OpenLock(pid, link, target)


def _database_of(lock: _OpenLock, proc_root: str) -> str | None:
    """The database whose LOCK this is; None when it is none's. Raises OSError."""
    path = _reachable(lock.target, os.stat(lock.link), proc_root, lock.pid)
    parent = None if path is None else path.removesuffix("/LOCK")
    if parent is None or not os.path.exists(f"{parent}/CURRENT") or not _is_rocksdb(parent):
        return None
    return parent


def _undescribed(lock: _OpenLock, proc_root: str) -> DiscoveredDatabase:
    """What the links of /proc tell of a database that does not answer."""
    elsewhere = _mount_namespace(proc_root, lock.pid) != _mount_namespace(proc_root, "self")
    root = f"{proc_root}/{lock.pid}/root" if elsewhere else ""
    return DiscoveredDatabase(
        path=root + lock.target.removesuffix("/LOCK"),
        pid=lock.pid,
        owner_command=_command(proc_root, lock.pid),
        owner_uid=_uid(proc_root, lock.pid),
        size_bytes=None,
        rocksdb_version=None,
    )


def _mount_namespace(proc_root: str, process: int | str) -> str | None:
    try:
        return os.readlink(f"{proc_root}/{process}/ns/mnt")
    except OSError:
        return None


def _is_rocksdb(path: str) -> bool:
    """Tell RocksDB from LevelDB, which has LOCK and CURRENT too but no IDENTITY or OPTIONS."""
    if os.path.exists(f"{path}/IDENTITY") or _version(path) is not None:
        return True
    try:
        return any(name.startswith("OPTIONS-") for name in os.listdir(path))
    except OSError:
        return False


def _reachable(target: str, opened: os.stat_result, proc_root: str, pid: int) -> str | None:
    """Return a path that leads us to the file a process has open as ``target``.

    In another mount namespace (a container) the same path leads elsewhere or nowhere.
    """
    for path in (target, f"{proc_root}/{pid}/root{target}"):
        try:
            status = os.stat(path)
        except OSError:
            continue
        if (status.st_dev, status.st_ino) == (opened.st_dev, opened.st_ino):
            return path
    return None


def _described(path: str, pid: int, proc_root: str) -> DiscoveredDatabase:
    return DiscoveredDatabase(
        path=path,
        pid=pid,
        owner_command=_command(proc_root, pid),
        owner_uid=_uid(proc_root, pid),
        size_bytes=_size_bytes(path),
        rocksdb_version=_version(path),
    )


def _command(proc_root: str, pid: int) -> str | None:
    """Return the command's short name: its full arguments may hold secrets."""
    content = _head(f"{proc_root}/{pid}/comm", 256)
    return None if content is None else content.decode("utf-8", "backslashreplace").strip() or None


def _uid(proc_root: str, pid: int) -> int | None:
    try:
        return os.stat(f"{proc_root}/{pid}").st_uid
    except OSError:
        return None


def _size_bytes(path: str) -> int | None:
    total = 0
    try:
        with os.scandir(path) as entries:
            for count, entry in enumerate(entries):
                if count >= MAX_DIRECTORY_ENTRIES:
                    return None
                try:
                    if entry.is_file(follow_symlinks=False):
                        total += entry.stat(follow_symlinks=False).st_size
                except OSError:
                    continue  # deleted meanwhile
    except OSError:
        return None
    return total


def _version(path: str) -> str | None:
    match = _VERSION.search(_head(f"{path}/LOG", LOG_HEAD_BYTES) or b"")
    return match[1].decode("ascii") if match else None


def _head(path: str, size: int) -> bytes | None:
    try:
        fd = open_regular(path)
    except OSError:
        return None
    try:
        return os.read(fd, size)
    except OSError:
        return None
    finally:
        os.close(fd)
