"""From readings of the scratch database under load to what a calibration reports: pure."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from agent.bandwidth import SATURATED_BUSY_RATIO, SATURATED_QUEUE_DEPTH
from agent.calibrate.result import CpuUse, DeviceUse, Limit, OpenLoopCheck, SaturatedWindow
from agent.calibrate.steady import no_trend, trend
from probes.diskstats import disk_rates
from probes.rocksdb.samples import LogSample
from probes.samples import DiskCounters, HostCpuSample

ACCEPTED_RATIO: Final = 0.995
"""Share of the offered puts that must have been accepted (DESIGN section 2, S_max)."""

STALLED_RATIO: Final = 0.05
"""With stalls in less than this share of the time, the database hardly held its writer back."""

WRITER_BUSY_RATIO: Final = 0.85
"""A closed-loop thread that computes for this share of the time does not wait for RocksDB. Its
time in RocksDB's own write path (WAL, memtable) is contained, and is the smaller part."""

HOST_BUSY_RATIO: Final = 0.95
"""Above this some thread is always waiting for a core."""

WRITER_SHARE_RATIO: Final = 0.1
"""On a host whose cores are all busy, a Python writer with more than this share of them took from
the database what another client would have left to it."""

FOREIGN_SHARE_RATIO: Final = 0.5
"""On such a host a database that had less than this share of the cores was starved by others."""

LIMIT_REACHED_RATIO: Final = 0.95
"""Throttles keep their rate within a few percent."""

LEAST_CHANGE_LEVEL0_FILES: Final = 2.0
"""Level-0 files come and go one flush and one compaction at a time."""

LEAST_SECONDS: Final = 10.0
"""A shorter window or check holds no cycle of flush and compaction, and says nothing."""

_BLOCKS: Final = 8
"""Of a window, for the standard error of its mean: long enough that each holds whole cycles."""


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes that the child wrote since its start, directly or into the page cache.

    ``cancelled`` are pages that were deleted before they reached the device: those of WALs, since
    tables are written directly. ``writer`` is the putting thread, which writes the WAL, ``flush``
    the flushing threads; the rest are compactions, those of ended subcompaction threads included.
    """

    total: int
    cancelled: int
    writer: int
    flush: int

    @property
    def on_device(self) -> int:
        """What has reached the device, or may do so at any moment."""
        return max(0, self.total - self.cancelled)


@dataclass(frozen=True, slots=True)
class LoadReading:
    """Everything at one moment; counters since the child's start, ``disk`` since boot."""

    at: float
    puts: int
    written: Written | None
    writer_cpu_seconds: float | None
    compaction_cpu_seconds: float | None
    flush_cpu_seconds: float | None
    disk: DiskCounters | None
    host: HostCpuSample | None
    log: LogSample


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """One of the equally spaced samples on which trends are looked for."""

    at: float
    puts: int
    level0_files: int
    pending_compaction_bytes: int


@dataclass(slots=True)
class Measured:
    """What a run saw; an interrupted one has less. ``ended_by`` None: it ran its time;
    ``aborted``: it was the guard, not the cap, that ended it."""

    saturated_before: LoadReading | None = None
    saturated_after: LoadReading | None = None
    check_before: LoadReading | None = None
    check_after: LoadReading | None = None
    check_rate: float = 0.0
    points: list[LoadPoint] = field(default_factory=list)
    seconds: float = 0.0
    written_bytes: int = 0
    ended_by: str | None = None
    aborted: bool = False


def stall_ratio(before: LoadReading, after: LoadReading, state: str) -> float:
    """Share of the time between two readings spent "stopped" or "delayed", by the LOG."""
    seconds = after.at - before.at
    if seconds <= 0:
        return 0.0
    stalled = after.log.stall_seconds.get(state, 0.0) - before.log.stall_seconds.get(state, 0.0)
    return min(1.0, max(0.0, stalled / seconds))


def saturated_window(
    before: LoadReading,
    after: LoadReading,
    points: Sequence[LoadPoint],
    write_buffer_bytes: float,
) -> SaturatedWindow | None:
    """The closed loop between two readings; None when it is too short or nothing was put.

    A change of pending bytes by less than one memtable is none.
    """
    seconds, puts = after.at - before.at, after.puts - before.puts
    if seconds < LEAST_SECONDS or puts <= 0:
        return None
    inside = [point for point in points if before.at <= point.at <= after.at]
    level0 = [float(point.level0_files) for point in inside]
    pending = [float(point.pending_compaction_bytes) for point in inside]
    level0_trend, pending_trend = trend(level0), trend(pending)
    return SaturatedWindow(
        seconds=seconds,
        puts=puts,
        puts_per_second=puts / seconds,
        spread_ratio=_spread(inside),
        stopped_ratio=stall_ratio(before, after, "stopped"),
        delayed_ratio=stall_ratio(before, after, "delayed"),
        level0_files_mean=statistics.fmean(level0) if level0 else 0.0,
        level0_files_change=None if level0_trend is None else level0_trend.change,
        pending_compaction_bytes_mean=statistics.fmean(pending) if pending else 0.0,
        pending_compaction_bytes_change=None if pending_trend is None else pending_trend.change,
        steady=no_trend(level0, least_change=LEAST_CHANGE_LEVEL0_FILES)
        and no_trend(pending, least_change=write_buffer_bytes),
    )


def _spread(points: Sequence[LoadPoint]) -> float | None:
    """Standard error of the put rate's mean over its mean, from means over blocks."""
    size = (len(points) - 1) // _BLOCKS
    if size < 1:
        return None
    edges = points[: size * _BLOCKS + 1 : size]
    rates = [
        (later.puts - earlier.puts) / (later.at - earlier.at)
        for earlier, later in itertools.pairwise(edges)
        if later.at > earlier.at
    ]
    mean = statistics.fmean(rates) if len(rates) > 1 else 0.0
    return statistics.stdev(rates) / math.sqrt(len(rates)) / mean if mean > 0 else None


def device_use(
    before: LoadReading, after: LoadReading, limit_bytes_per_second: float | None
) -> DeviceUse | None:
    """What the device did between two readings; None when its counters cannot tell."""
    if before.disk is None or after.disk is None:
        return None
    seconds = after.at - before.at
    rates = disk_rates(before.disk, after.disk, seconds)
    if rates is None or before.written is None or after.written is None:
        return None
    total = rates.write_bytes_per_second
    own = max(0.0, (after.written.on_device - before.written.on_device) / seconds)
    full = (
        rates.busy_ratio >= SATURATED_BUSY_RATIO and rates.mean_queue_depth >= SATURATED_QUEUE_DEPTH
    ) or (
        limit_bytes_per_second is not None and total >= LIMIT_REACHED_RATIO * limit_bytes_per_second
    )
    return DeviceUse(
        write_bytes_per_second=total,
        own_write_bytes_per_second=min(own, total),
        foreign_write_bytes_per_second=max(0.0, total - own),
        read_bytes_per_second=rates.read_bytes_per_second,
        busy_ratio=rates.busy_ratio,
        mean_queue_depth=rates.mean_queue_depth,
        limit_bytes_per_second=limit_bytes_per_second,
        lower_bound=not full,
    )


def cpu_use(before: LoadReading, after: LoadReading, cores: float) -> CpuUse:
    """CPU between two readings; ``cores`` is the host's number or the control group's quota."""
    seconds = max(after.at - before.at, 1e-9)

    def used(earlier: float | None, later: float | None) -> float | None:
        return None if earlier is None or later is None else max(0.0, later - earlier) / seconds

    host = None
    if before.host is not None and after.host is not None:
        total = after.host.total_seconds - before.host.total_seconds
        if total > 0:
            host = min(1.0, max(0.0, after.host.busy_seconds - before.host.busy_seconds) / total)
    return CpuUse(
        writer=used(before.writer_cpu_seconds, after.writer_cpu_seconds),
        compaction=used(before.compaction_cpu_seconds, after.compaction_cpu_seconds),
        flush=used(before.flush_cpu_seconds, after.flush_cpu_seconds),
        host_busy_ratio=host,
        cores=cores,
    )


def limit_of(window: SaturatedWindow, cpu: CpuUse, device: DeviceUse | None) -> tuple[Limit, bool]:
    """What held the puts back, and whether the database could take more than was measured."""
    stalled = window.stopped_ratio + window.delayed_ratio
    if stalled < STALLED_RATIO and cpu.writer is None:
        return "unknown", True
    if stalled < STALLED_RATIO and cpu.writer is not None and cpu.writer >= WRITER_BUSY_RATIO:
        return "writer", True
    device_full = device is not None and not device.lower_bound
    own = sum(part or 0.0 for part in (cpu.writer, cpu.compaction, cpu.flush))
    busy = (cpu.host_busy_ratio or 0.0) >= HOST_BUSY_RATIO or own >= HOST_BUSY_RATIO * cpu.cores
    if busy and not device_full:
        mostly_foreign = own < FOREIGN_SHARE_RATIO * cpu.cores
        return "cpu", mostly_foreign or (cpu.writer or 0.0) > WRITER_SHARE_RATIO * cpu.cores
    # It waited in RocksDB: for a stall, for the WAL, for a free memtable.
    return "database", False


def written_bytes_per_put(
    before: LoadReading, after: LoadReading, device: DeviceUse | None
) -> dict[str, float]:
    """Bytes per put by cause, as they reach the device; what cannot be told is left out.

    By threads, not by RocksDB's events: jobs still running have written, too, and have no event.
    """
    puts, seconds = after.puts - before.puts, after.at - before.at
    if puts <= 0 or seconds <= 0:
        return {}
    found: dict[str, float] = {}
    if before.written is not None and after.written is not None:
        cancelled = after.written.cancelled - before.written.cancelled
        wal = after.written.writer - before.written.writer
        flush = after.written.flush - before.written.flush
        compaction = after.written.total - before.written.total - wal - flush
        found["wal"] = max(0, wal - cancelled) / puts
        found["flush"] = flush / puts
        found["compaction"] = max(0, compaction) / puts
    if device is not None:
        of_it = device.write_bytes_per_second - device.foreign_write_bytes_per_second
        found["device"] = of_it * seconds / puts
    return found


def open_loop_check(
    before: LoadReading, after: LoadReading, rate: float, batch_puts: int
) -> OpenLoopCheck | None:
    """Whether ``rate``, offered between two readings, was held: accepted, and without a stop.

    None when it was too short to tell. Level 0 may grow, from where it had settled to where it
    stands under this load; a check of minutes cannot tell that from debt.
    """
    seconds = after.at - before.at
    # By the schedule, not by the child's count: in a write stop it does not get to count.
    offered = rate * seconds
    if seconds < LEAST_SECONDS or offered < batch_puts:
        return None
    accepted = after.puts - before.puts
    # What arrived within the last batch may not have been put yet.
    ratio = min(1.0, (accepted + batch_puts) / offered)
    stopped = stall_ratio(before, after, "stopped")
    reasons = []
    if ratio < ACCEPTED_RATIO:
        reasons.append(f"only {100 * ratio:.1f} % of the offered puts were accepted")
    if stopped > 0:
        reasons.append(f"writes were stopped for {stopped * seconds:.1f} s")
    return OpenLoopCheck(
        seconds=seconds,
        offered_puts_per_second=rate,
        accepted_ratio=ratio,
        stopped_ratio=stopped,
        delayed_ratio=stall_ratio(before, after, "delayed"),
        held=not reasons,
        detail="; ".join(reasons) or "held",
    )


def sustained_puts_per_second(
    window: SaturatedWindow | None, check: OpenLoopCheck | None
) -> float | None:
    """The measured rate: the saturated mean, or what the check accepted where it fell short.

    Where the check was accepted but had stops, the rate offered in it is an upper bound of what
    holds, and nothing better is known.
    """
    if window is None:
        return None
    if check is None or check.held:
        return window.puts_per_second
    return min(window.puts_per_second, check.offered_puts_per_second * check.accepted_ratio)
