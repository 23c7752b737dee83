"""Finding the RocksDB databases that are open on this host."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from probes.clock import SystemClock
from probes.rocksdb.files import open_regular
from probes.rocksdb.fingerprint import (
    MAX_OPEN_FILES,
    FingerprintProbe,
    whole_file_write_locks,
)
from probes.rocksdb.samples import DiscoveredDatabase
from probes.scratch import is_scratch_database

MAX_DIRECTORY_ENTRIES = 200_000
"""Files summed up per database; a larger database's size is unknown."""

LOG_HEAD_BYTES = 4096
"""RocksDB writes its version in the first line of every LOG."""

_VERSION = re.compile(rb"RocksDB version: ([0-9]+\.[0-9]+\.[0-9]+)")


@dataclass(frozen=True, slots=True)
class DiscoveryResult:
    """The databases found, and how many processes could not be looked into.

    ``unreadable_owners`` counts processes that hold a lock of the kind RocksDB takes but whose
    open files another user may not list: with privileges they might be databases.
    """

    databases: tuple[DiscoveredDatabase, ...]
    unreadable_owners: int


def discover_databases(proc_root: str = "/proc") -> DiscoveryResult:
    """Return every database open in a process we may look into, in order of path.

    Never raises for what it cannot read. Costs a listing of the open files of each process that
    holds a whole-file lock; of all processes only where /proc/locks cannot be read.
    """
    found: dict[tuple[int, int], DiscoveredDatabase] = {}
    unreadable = 0
    try:
        pids: Iterable[int] = sorted({lock.pid for lock in whole_file_write_locks(proc_root)})
        holders = True
    except OSError:
        pids, holders = _all_pids(proc_root), False
    for pid in pids:
        try:
            directories = _open_databases(proc_root, pid)
        except PermissionError:
            unreadable += holders
            continue
        except OSError:
            continue  # ended meanwhile
        for path in directories:
            try:
                status = os.stat(path)
            except OSError:
                continue
            key = (status.st_dev, status.st_ino)
            if key not in found:
                found[key] = _described(path, pid, proc_root)
    databases = sorted(found.values(), key=lambda database: database.path)
    return DiscoveryResult(tuple(databases), unreadable)


def describe_database(path: str, proc_root: str = "/proc") -> DiscoveredDatabase:
    """Describe a path named by the operator; its owner is looked up.

    Raises ProbeFailed as FingerprintProbe does.
    """
    fingerprint = FingerprintProbe(path, SystemClock(), proc_root).read()
    return _described(path, fingerprint.owner_pid, proc_root)


def _all_pids(proc_root: str) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(proc_root) if name.isdecimal())
    except OSError:
        return []


def _open_databases(proc_root: str, pid: int) -> list[str]:
    """Return the directories whose LOCK the process has open beside a CURRENT."""
    directory = f"{proc_root}/{pid}/fd"
    paths = []
    for name in os.listdir(directory)[:MAX_OPEN_FILES]:
        link = f"{directory}/{name}"
        try:
            target = os.readlink(link)
            if not target.endswith("/LOCK"):
                continue
            opened = os.stat(link)
        except OSError:
            continue  # closed meanwhile
        path = _reachable(target, opened, proc_root, pid)
        if path is not None:
            parent = path.removesuffix("/LOCK")
            if is_scratch_database(parent):
                continue  # a calibration's own, gone in minutes
            if os.path.exists(f"{parent}/CURRENT") and _is_rocksdb(parent):
                paths.append(parent)
    return paths


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


def _described(path: str, pid: int | None, proc_root: str) -> DiscoveredDatabase:
    return DiscoveredDatabase(
        path=path,
        pid=pid,
        owner_command=None if pid is None else _command(proc_root, pid),
        owner_uid=None if pid is None else _uid(proc_root, pid),
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
