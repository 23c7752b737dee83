"""What the host probes return: frozen raw readings in SI base units, with their time.

``at`` is always seconds of the monotonic clock at the moment of reading. ``None`` means unknown,
never zero. Rates and everything else that needs two samples are derived in ``agent``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

SECTOR_BYTES = 512  # the kernel counts in 512-byte sectors whatever the device's own sector size


@dataclass(frozen=True, slots=True)
class DiskCounters:
    """One line of /proc/diskstats (kernel Documentation/admin-guide/iostats.rst).

    All counters since boot; they are unsigned longs and wrap. Discards exist since Linux 4.18,
    flushes since 5.5; ``None`` before.
    """

    name: str
    devnum: str  # "major:minor"
    reads_completed: int
    reads_merged: int
    sectors_read: int
    read_milliseconds: int  # summed over requests, so it can exceed the elapsed time
    writes_completed: int
    writes_merged: int
    sectors_written: int
    write_milliseconds: int
    ios_in_progress: int  # the only field that is a level, not a counter
    io_milliseconds: int  # time during which at least one request was in flight
    weighted_io_milliseconds: int  # integral of the queue length
    discards_completed: int | None
    discards_merged: int | None
    sectors_discarded: int | None
    discard_milliseconds: int | None
    flushes_completed: int | None
    flush_milliseconds: int | None

    @property
    def written_bytes(self) -> int:
        """Bytes written to the device since boot."""
        return self.sectors_written * SECTOR_BYTES

    @property
    def read_bytes(self) -> int:
        """Bytes read from the device since boot."""
        return self.sectors_read * SECTOR_BYTES


@dataclass(frozen=True, slots=True)
class DiskstatsSample:
    """All of /proc/diskstats at one moment, keyed by "major:minor"."""

    at: float
    disks: Mapping[str, DiskCounters]


@dataclass(frozen=True, slots=True)
class PressureSample:
    """One resource's /proc/pressure: shares of time (0..1) and totals in seconds."""

    at: float
    some_avg10_ratio: float
    some_avg60_ratio: float
    some_total_seconds: float
    full_avg10_ratio: float | None
    full_avg60_ratio: float | None
    full_total_seconds: float | None


@dataclass(frozen=True, slots=True)
class HostCpuSample:
    """CPU time of all cores together since boot; steal is busy, waiting for I/O is not."""

    at: float
    cores: int
    busy_seconds: float
    total_seconds: float


@dataclass(frozen=True, slots=True)
class BlockLayer:
    """One block device of the stack under a file system, as /sys/dev/block shows it."""

    name: str
    devnum: str  # "major:minor"
    kind: str  # "partition", "loop", "dm", "md" or "disk"


@dataclass(frozen=True, slots=True)
class BlockDeviceSample:
    """Which device carries a path, and what kind of device it is.

    ``layers`` runs from the device that is mounted down to the physical disks. ``device`` is the
    layer whose traffic is accounted: the whole disk under a partition or a one-disk dm; the loop,
    dm or md device itself where there is no single disk below it (a loop device has a queue of its
    own, an array is faster than any one of its disks). ``model`` is what the device calls itself,
    with its unique name or serial number, or what it was made of; None where it says nothing.
    ``instance`` is equal for the same device until it is detached or the machine boots anew, and
    for no other; None where the kernel does not tell (Linux before 5.15).
    """

    at: float
    path: str
    mount_point: str
    filesystem_type: str
    filesystem_devnum: str
    read_only: bool
    layers: tuple[BlockLayer, ...]
    device: BlockLayer
    size_bytes: int
    rotational: bool | None
    filesystem_free_bytes: int
    filesystem_size_bytes: int
    model: str | None = None
    instance: str | None = None


@dataclass(frozen=True, slots=True)
class CgroupLimitsSample:
    """What the control groups of a process allow it, all ancestors that are seen considered.

    ``write_bytes_per_second`` is keyed by "major:minor" and holds only devices with a limit;
    ``cpu_cores`` is quota/period or None without a quota.
    """

    at: float
    write_bytes_per_second: Mapping[str, float]
    cpu_cores: float | None


@dataclass(frozen=True, slots=True)
class ThreadCpuSample:
    """One thread outside RocksDB's pools: CPU since its start, and how often it got a core.

    ``run_count`` grows with every time the scheduler puts the thread on a core (schedstat): with
    little load, about once for every wait that ended. ``waited_seconds`` is how long the thread was
    ready to run and waited for a core. None without CONFIG_SCHED_INFO.
    """

    at: float
    thread_id: int
    start_ticks: int
    cpu_seconds: float
    run_count: int | None
    waited_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """CPU and I/O of the process that owns a database.

    CPU seconds are split by RocksDB's thread names: ``rocksdb:low`` compacts, ``rocksdb:high``
    flushes, everything else is the application. A group is None when the threads cannot be read.
    ``written_bytes`` is /proc/<pid>/io write_bytes less cancelled_write_bytes (pages deleted before
    they reached storage), None when not permitted; it can go back. ``busiest_foreground_threads``
    holds those that used most CPU lately, not all: two samples of it tell how many are at work.
    """

    at: float
    pid: int
    start_ticks: int  # field 22 of /proc/<pid>/stat: tells a recycled pid from the old process
    cpu_seconds: float
    compaction_cpu_seconds: float | None
    flush_cpu_seconds: float | None
    foreground_cpu_seconds: float | None
    written_bytes: int | None
    read_bytes: int | None
    resident_bytes: int | None
    foreground_thread_count: int | None = None
    busiest_foreground_threads: tuple[ThreadCpuSample, ...] = ()


@dataclass(frozen=True, slots=True)
class FioSample:
    """One run of fio: what the device took in direct sequential writes.

    ``write_bytes_per_second`` is fio's own traffic; ``other_write_bytes_per_second`` what everyone
    else wrote to the device meanwhile (None when diskstats was not available).
    ``spread_ratio`` is standard deviation / mean of fio's bandwidth samples.
    ``steady`` tells whether fio's own steady-state criterion was reached (None when not asked);
    ``rate_limited`` that our own limit was reached, so that the device may be faster. ``aborted``
    says why the run was ended before it was done; None: it was not.
    """

    at: float
    mode: str
    directory: str
    fio_version: str
    write_bytes_per_second: float
    other_write_bytes_per_second: float | None
    spread_ratio: float | None
    latency_p50_seconds: float | None
    latency_p99_seconds: float | None
    runtime_seconds: float
    written_bytes: int
    steady: bool | None
    rate_limited: bool = False
    aborted: str | None = None

    @property
    def lower_bound(self) -> bool:
        """Whether the device may be faster than this run shows."""
        return self.rate_limited or self.aborted is not None


@dataclass(frozen=True, slots=True)
class SmartSample:
    """How worn a drive says it is; ``source`` says which of its tables told ``used_ratio``.

    ``used_ratio`` is the share of the rated endurance, in steps of 0.01, and passes 1 on a drive
    that outlives its rating. ``written_bytes`` is what hosts wrote in its life. ``spare_ratio``
    falls from 1; below ``spare_threshold_ratio`` the drive warns.
    """

    at: float
    source: str
    model: str | None
    used_ratio: float | None
    written_bytes: int | None
    power_on_seconds: float | None
    spare_ratio: float | None
    spare_threshold_ratio: float | None
