"""Watches the databases while fio runs, and says when it harms them.

    guard = FioGuard([GuardedDatabase("/db/LOG", "/db", None)], clock)
    why = guard.settle()      # a second before fio starts: what is usual
    why = guard.look()        # every 50 ms while it runs; a sentence when fio has to end
    guard.close()

Three kinds of evidence, read in some tenths of a millisecond per look: new stall lines in the
LOG; the live WAL, which hardly grows any more although it grew steadily before; and the I/O
pressure of the database's own control group, far above what it was. Not the pressure of the whole
host: fio waits for the device itself, so that its own run would count as harm.
"""

import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from probes.clock import Clock
from probes.errors import ProbeError
from probes.kernelfile import read_kernel_file
from probes.pressure import parse_pressure
from probes.rocksdb.files import open_regular

LOOK_SECONDS: Final = 0.05
"""Between two looks."""

SETTLE_SECONDS: Final = 1.0
"""How long the usual is taken before fio starts."""

LISTINGS: Final = 5
LISTINGS_SECONDS: Final = 1.0
"""So many listings of a directory in so long: it may hold 20,000 files, and change all the time.

More than memtables are switched even where they are small: each begins a new WAL.
"""

STALL_MARKS: Final = (b"Stopping writes", b"Stalling writes")
"""RocksDB's WARN lines of a write stop and a delay (db/column_family.cc)."""

LOG_BYTES_PER_LOOK: Final = 64 * 1024
"""More was added at once only by an opening database, whose last part says enough."""

COLLAPSE_SECONDS: Final = 0.2
"""Over how long the growth of the WAL is taken: shorter pauses are memtable switches."""

COLLAPSED_RATIO: Final = 0.2
"""Growth below this share of the usual is a collapse ..."""

STEADY_RATIO: Final = 0.5
"""... where it never was below this share of it in the second before ..."""

LEAST_WAL_BYTES_PER_SECOND: Final = 65536.0
"""... and came to this much: fewer puts come in irregular groups."""

PRESSURE_SECONDS: Final = 0.5
"""Over how long the share of stalled time is taken."""

PRESSURE_HIGH: Final = 0.9
PRESSURE_RISE: Final = 0.4
"""A share this high, and this much above the second before, is harm."""


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
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._looking = threading.Lock()
        self._closed = False
        self._logs = [_LogTail(one.log_path) for one in databases if one.log_path]
        self._meters: list[_WalGrowth | _Pressure] = []
        for one in databases:
            if one.wal_directory:
                self._meters.append(_WalGrowth(one.wal_directory))
            if one.pressure_path:
                self._meters.append(_Pressure(one.pressure_path))

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


class _Meter:
    """A counter over the last moments, and what its rate was before fio started."""

    def __init__(self, keep_seconds: float) -> None:
        self._keep_seconds = keep_seconds
        self._readings: deque[tuple[float, float]] = deque()

    def add(self, at: float, value: float) -> None:
        self._readings.append((at, value))
        while self._readings[0][0] < at - self._keep_seconds:
            self._readings.popleft()

    def forget(self) -> None:
        self._readings.clear()

    def rates(self, over_seconds: float) -> list[float]:
        """Per second, up to each reading that has so much time before it; the newest comes last."""
        found = []
        readings = list(self._readings)
        start = 0
        for end_at, end_value in readings[1:]:
            while readings[start + 1][0] <= end_at - over_seconds:
                start += 1
            at, value = readings[start]
            if end_at - at >= over_seconds:
                found.append((end_value - value) / (end_at - at))
        return found

    def rate(self, over_seconds: float) -> float | None:
        """Per second over the last such time; None while it has not passed."""
        rates = self.rates(over_seconds)
        return rates[-1] if rates else None


class _WalGrowth:
    """How fast the live WAL grows."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._path: str | None = None
        self._size = 0
        self._listed_mtime_ns = -1
        self._listed: deque[float] = deque(maxlen=LISTINGS)
        self._grown = 0
        self._meter = _Meter(2 * SETTLE_SECONDS)
        self._usual: float | None = None

    def follow(self, now: float) -> None:
        grown = self._grow()
        if grown == 0 and self._switch(now):
            grown = self._grow()
        self._grown += grown
        self._meter.add(now, self._grown)

    def learn(self) -> None:
        """Take the last second as the usual, if it was steady enough to tell a collapse."""
        rates = self._meter.rates(COLLAPSE_SECONDS)
        if not rates:
            return
        mean = sum(rates) / len(rates)
        if mean >= LEAST_WAL_BYTES_PER_SECOND and min(rates) >= STEADY_RATIO * mean:
            self._usual = mean
        self._meter.forget()

    def harm(self) -> str | None:
        rate = self._meter.rate(COLLAPSE_SECONDS)
        if self._usual is None or rate is None or rate >= COLLAPSED_RATIO * self._usual:
            return None
        return (
            f"the WAL in {self._directory} grows by {rate / 1024:.0f} KiB/s, "
            f"{self._usual / 1024:.0f} KiB/s before"
        )

    def _grow(self) -> int:
        """Bytes added to the WAL that is followed, since the last look."""
        if self._path is None:
            return 0
        try:
            status = os.stat(self._path, follow_symlinks=False)
        except OSError:
            self._path = None
            return 0
        if not stat.S_ISREG(status.st_mode):
            self._path = None
            return 0
        added = max(0, status.st_size - self._size)
        self._size = status.st_size
        return added

    def _switch(self, now: float) -> bool:
        """Follow the newest WAL; True when that is another one. Lists only a changed directory."""
        try:
            mtime_ns = os.stat(self._directory).st_mtime_ns
            if mtime_ns == self._listed_mtime_ns and self._path is not None:
                return False
            if len(self._listed) == LISTINGS and now - self._listed[0] < LISTINGS_SECONDS:
                self._meter.forget()  # there may be a new WAL, which is not followed yet
                return False
            self._listed_mtime_ns = mtime_ns
            self._listed.append(now)
            stems = [name[:-4] for name in os.listdir(self._directory) if name.endswith(".log")]
        except OSError:
            return False
        newest = max((stem for stem in stems if stem.isdigit()), key=int, default=None)
        path = None if newest is None else os.path.join(self._directory, f"{newest}.log")
        if path is None or path == self._path:
            return False
        first = self._path is None and not self._grown
        self._path, self._size = path, 0
        if first:
            self._grow()  # what it held before is no growth
            return False
        return True


class _Pressure:
    """The share of time in which tasks of one control group waited for I/O."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._meters = {"some": _Meter(2 * SETTLE_SECONDS), "full": _Meter(2 * SETTLE_SECONDS)}
        self._usual: dict[str, float] = {}

    def follow(self, now: float) -> None:
        try:
            sample = parse_pressure(read_kernel_file(self._path, 4096), now)
        except (OSError, ProbeError):
            return  # the group is gone, or the kernel has no PSI: no evidence
        if sample is None:
            return
        self._meters["some"].add(now, sample.some_total_seconds)
        if sample.full_total_seconds is not None:
            self._meters["full"].add(now, sample.full_total_seconds)

    def learn(self) -> None:
        for kind, meter in self._meters.items():
            share = meter.rate(PRESSURE_SECONDS)
            if share is not None:
                self._usual[kind] = share
            meter.forget()

    def harm(self) -> str | None:
        for kind, usual in self._usual.items():
            share = self._meters[kind].rate(PRESSURE_SECONDS)
            if share is not None and share >= max(PRESSURE_HIGH, usual + PRESSURE_RISE):
                return (
                    f"the database waits for I/O {share:.0%} of the time ({kind}), "
                    f"{usual:.0%} before"
                )
        return None


def own_pressure_path(
    owner_pid: int, proc_root: str = "/proc", cgroup_root: str = "/sys/fs/cgroup"
) -> str | None:
    """The io.pressure file of a database process's control group (v2); None without one.

    None, too, when the agent is in that group or below it: its own waiting would count.
    """
    try:
        theirs = _unified_group(f"{proc_root}/{owner_pid}/cgroup")
        ours = _unified_group(f"{proc_root}/self/cgroup")
    except OSError:
        return None
    if theirs is None or ours is None or f"{ours}/".startswith(theirs.rstrip("/") + "/"):
        return None
    for root in (cgroup_root, f"{cgroup_root}/unified"):
        path = f"{root}{theirs}/io.pressure"
        if ".." not in theirs.split("/") and os.path.isfile(path):
            return path
    return None


def _unified_group(path: str) -> str | None:
    """The path of the v2 group in a /proc/<pid>/cgroup (the line "0::/path")."""
    for line in read_kernel_file(path, 65536).splitlines():
        if line.startswith(b"0::/"):
            return os.fsdecode(line[3:])
    return None
