"""What the host can give a database: device and cores less what others use. Pure."""

from dataclasses import dataclass
from typing import Final

from agent.demands.demands import Demands, Measured
from agent.findings import DatabaseFindings
from agent.inputs.fallbacks import Fallbacks
from agent.inputs.tree_options import NEVER
from agent.models.lsm import HostShare
from agent.readings import Known, Missing, Quantity
from agent.snapshot import DeviceSnapshot
from probes.rocksdb.options_samples import OptionsSample

SPREAD_LOWER_BOUND: Final = 0.3  # the device may be twice as fast
SPREAD_NO_FOREIGN: Final = 0.15
SPREAD_PAGE_CACHE: Final = 0.15  # of buffered writes, what is deleted at once is never written
SPREAD_PARTIAL_PAGES: Final = 0.3  # synced writes: how many share a page depends on the load
SPREAD_NO_CPU: Final = 0.1  # CPU is rarely the limit

CROSS_CHECK_TERMS: Final = 12
CROSS_CHECK_SPREAD: Final = 0.15
CROSS_CHECK_CHANGE: Final = 0.1
"""The kernel's count of what the process wrote corrects the events' only when it rests on so many
intervals, is known so well, and differs by more than this."""

FAIR_SHARE: Final = 0.5
"""Of the cores, what the database gets at least: a fair scheduler takes it from others once the
database wants more, and it has more threads than most."""


@dataclass(frozen=True, slots=True)
class CpuShare:
    """The host's processors: ``busy_ratio`` of all ``cores``, of which the owner keeps
    ``process_cores`` busy (60 s means) and everybody else ``others_cores`` (5 min mean);
    ``limit_cores`` is the owner's cgroup quota."""

    cores: int | None
    busy_ratio: Quantity
    process_cores: Quantity
    others_cores: Quantity
    limit_cores: float | None

    def free_cores(self) -> float | None:
        """Cores that this database could use: all less what others use, at most the quota."""
        if self.cores is None:
            return self.limit_cores
        others = self.others_cores.value if isinstance(self.others_cores, Known) else 0.0
        free = max(self.cores - others, self.cores * FAIR_SHARE)
        return free if self.limit_cores is None else min(free, self.limit_cores)


def host_share(
    device: DeviceSnapshot | None,
    foreign: Quantity,
    cpu: CpuShare,
    reaching_share: float,
    notes: Fallbacks,
) -> HostShare | Missing:
    """Capacity less the use by others, in bytes that RocksDB writes.

    RocksDB's own compaction is part of the demand: it is not taken off. Missing without a capacity,
    or when others use all of it.
    """
    if device is None:
        return Missing("no_device", "the device behind the database is not known")
    if isinstance(device.capacity, Missing):
        return device.capacity
    capacity = device.capacity.value
    notes.sources["device_write_bytes_per_second"] = device.capacity.source
    notes.widen(capacity.spread_ratio or 0.0)
    if capacity.lower_bound:
        notes.note(
            "device_capacity",
            f"{device.name} was never seen saturated",
            "the most it was seen to carry",
            SPREAD_LOWER_BOUND,
        )
    used = 0.0
    if isinstance(foreign, Known):
        used = foreign.value
    else:
        notes.note("foreign", foreign.detail, "no writes by others", SPREAD_NO_FOREIGN)
    left = capacity.bytes_per_second - used
    if left <= 0:
        return Missing(
            "no_bandwidth_left", f"the writes of others use all that {device.name} can take"
        )
    cores = cpu.free_cores()
    if cores is None:
        notes.note("cpu", "the number of cores is not known", "CPU not the limit", SPREAD_NO_CPU)
        cores = float(NEVER)
    # In bytes that RocksDB writes, the device can take as many more as never reach it.
    return HostShare(device_write_bytes_per_second=left / reaching_share, cpu_cores=cores)


def reaching_share(findings: DatabaseFindings, demands: Demands, notes: Fallbacks) -> float:
    """What the kernel wrote for the process over what the WAL, flushes and compactions wrote.

    Below 1 with buffered I/O: files that are deleted before writeback never reach the device. Above
    1 when writes are synced: a page is written once for every sync that finds it changed.
    """
    options = findings.options
    buffered = not (isinstance(options, Known) and _all_is_synced(options.value))
    measured = demands.reaching_share
    if (
        isinstance(measured, Measured)
        and measured.terms >= CROSS_CHECK_TERMS
        and measured.spread_ratio is not None
        and measured.spread_ratio <= CROSS_CHECK_SPREAD
    ):
        share = measured.value
        if buffered and share < 1.0 - CROSS_CHECK_CHANGE:
            notes.note(
                "page_cache",
                f"only {share:.0%} of the bytes written reach the device: files are deleted before",
                "the same share at saturation",
                SPREAD_PAGE_CACHE,
            )
            return share
        if share > 1.0 + CROSS_CHECK_CHANGE:
            notes.note(
                "partial_pages",
                f"the process writes {share:.0%} of what its WAL and tables hold: synced writes "
                "write a page again and again",
                "as much per put at saturation",
                SPREAD_PARTIAL_PAGES,
            )
            return share
        return 1.0
    if buffered and isinstance(options, Known):
        notes.note(
            "page_cache",
            "which share of the buffered writes reaches the device is not known yet",
            "all of them",
            SPREAD_PAGE_CACHE,
        )
    return 1.0


def _all_is_synced(options: OptionsSample) -> bool:
    """Whether tables and WAL are sent to the device as they are written."""
    tables = options.use_direct_io_for_flush_and_compaction or bool(options.bytes_per_sync)
    return tables and bool(options.wal_bytes_per_sync)
