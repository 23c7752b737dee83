"""Watches the databases while fio runs, and says when it harms them.

    guard = FioGuard([GuardedDatabase("/db/LOG", "/db", None)], clock)
    why = guard.settle()      # a second before fio starts: what is usual
    why = guard.look()        # every 50 ms while it runs; a sentence when fio has to end
    guard.close()

Three kinds of evidence, read in some tenths of a millisecond per look: new stall lines in the
LOG; the live WAL, which hardly grows any more although it grew steadily before; and the I/O
pressure of the database's own control group, far above what it was. Not the pressure of the whole
host: fio waits for the device itself, so that its own run would count as harm. The last two have
their meters in ``probes.guard_meters``.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from probes.cgroup_tree import ControlGroup, cgroup_mounts, control_groups, directories
from probes.clock import Clock
from probes.errors import ProbeError
from probes.guard_meters import Pressure, WalGrowth
from probes.kernelfile import read_kernel_file
from probes.rocksdb.files import open_regular

LOOK_SECONDS: Final = 0.05
"""Between two looks."""

SETTLE_SECONDS: Final = 1.0
"""How long the usual is taken before fio starts."""

STALL_MARKS: Final = (b"Stopping writes", b"Stalling writes")
"""RocksDB's WARN lines of a write stop and a delay (db/column_family.cc)."""

LOG_BYTES_PER_LOOK: Final = 64 * 1024
"""More was added at once only by an opening database, whose last part says enough."""


@dataclass(frozen=True, slots=True)
class GuardedDatabase:
    """Where one database shows how it is; None where there is nothing to look at.

    ``pressure_path`` is the io.pressure file of its control group (v2), which must not be a group
    that the agent is in, too.
    """

    log_path: str | None
    wal_directory: str | None
    pressure_path: str | None


class FioGuard:
    """The guard of one run over all databases on the device. Reads only.

    A device may keep a look waiting, and the one who asks need not wait for it: ``close`` does not.
    """

    def __init__(
        self,
        databases: Sequence[GuardedDatabase],
        clock: Clock,
        *,
        sleep: Callable[[float], None] = time.sleep,
        read_file: Callable[[str, int], bytes] = read_kernel_file,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._looking = threading.Lock()
        self._closed = False
        self._logs = [_LogTail(one.log_path) for one in databases if one.log_path]
        self._meters: list[WalGrowth | Pressure] = []
        for one in databases:
            if one.wal_directory:
                self._meters.append(WalGrowth(one.wal_directory))
            if one.pressure_path:
                self._meters.append(Pressure(one.pressure_path, read_file))

    def settle(self) -> str | None:
        """Learn what is usual, for a second; a sentence when there is harm already."""
        until = self._clock.monotonic() + SETTLE_SECONDS
        while True:
            now = self._clock.monotonic()
            harm = self._follow(now)
            if harm is not None:
                return harm
            if now >= until:
                break
            self._sleep(LOOK_SECONDS)
        for meter in self._meters:
            meter.learn()
        return None

    def look(self) -> str | None:
        """Why fio has to end; None: no harm to be seen."""
        try:
            with self._looking:
                return None if self._closed else self._look()
        finally:
            if self._closed:
                self._give_back()

    def close(self) -> None:
        """Give the descriptors back; a look that still waits does so at its end."""
        self._closed = True
        self._give_back()

    def _look(self) -> str | None:
        now = self._clock.monotonic()
        harm = self._follow(now)
        if harm is not None:
            return harm
        return next((harm for meter in self._meters if (harm := meter.harm())), None)

    def _give_back(self) -> None:
        # Nobody takes a descriptor, or its number, from under a look.
        if self._looking.acquire(blocking=False):
            try:
                for log in self._logs:
                    log.close()
            finally:
                self._looking.release()

    def _follow(self, now: float) -> str | None:
        for meter in self._meters:
            meter.follow(now)
        return next((harm for log in self._logs if (harm := log.harm())), None)


class _LogTail:
    """What was added to a LOG since the last look, through rotations."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._identity = (0, 0)
        self._offset = 0
        self._carried = b""  # a mark may be cut by the end of what was written so far
        self._open(at_end=True)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def harm(self) -> str | None:
        """Name the LOG in which a stall line was added since the last look."""
        try:
            status = os.stat(self._path)
            replaced = (status.st_dev, status.st_ino) != self._identity
        except OSError:
            replaced = False  # between a rotation's rename and the new file's creation
        added = self._added()
        if replaced:
            self.close()
            self._carried = b""
            self._open(at_end=False)
            added += b"\n" + self._added()
        for mark in STALL_MARKS:
            if mark in added:
                return f"{self._path} says: {mark.decode()}"
        return None

    def _open(self, *, at_end: bool) -> None:
        try:
            descriptor = open_regular(self._path)
        except OSError:
            return  # no LOG is no evidence; it may come
        status = os.fstat(descriptor)
        self._descriptor = descriptor
        self._identity = (status.st_dev, status.st_ino)
        self._offset = status.st_size if at_end else 0

    def _added(self) -> bytes:
        if self._descriptor is None:
            return b""
        try:
            size = os.fstat(self._descriptor).st_size
            if size < self._offset:
                self._offset = 0  # truncated
            self._offset = max(self._offset, size - LOG_BYTES_PER_LOOK)
            chunk = os.pread(self._descriptor, LOG_BYTES_PER_LOOK, self._offset)
        except OSError:
            return b""
        self._offset += len(chunk)
        text = self._carried + chunk
        self._carried = text[-max(map(len, STALL_MARKS)) + 1 :]
        return text


def own_pressure_path(
    owner_pid: int, proc_root: str = "/proc", filesystem_root: str = ""
) -> str | None:
    """The io.pressure file of a database process's control group (v2); None without one.

    None, too, when the agent is in that group or below it: its own waiting would count.
    """
    try:
        theirs = _unified_group(owner_pid, proc_root)
        ours = _unified_group("self", proc_root)
        if theirs is None or ours is None or ours.within(theirs):
            return None
        found = directories(theirs, "", cgroup_mounts(proc_root), filesystem_root)
    except ProbeError:
        return None
    path = f"{found[0]}/io.pressure"
    return path if os.path.isfile(path) else None


def _unified_group(process: int | str, proc_root: str) -> ControlGroup | None:
    groups = control_groups(process, proc_root)
    return next((group for group in groups if not group.controllers), None)
