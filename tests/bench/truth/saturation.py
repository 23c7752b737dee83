"""What the second half of a saturation shows: its rate, its trend, and how busy everything was."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.truth.load_driver import Line
from tests.bench.truth.observer import Moment
from tests.bench.truth.results import SaturationRecord
from tests.bench.truth.scenarios import Scenario
from tests.bench.truth.trend import Sample, put_rate, second_half, trend
from tests.bench.truth.verdict import Saturation


@dataclass(frozen=True, slots=True)
class Observed:
    """One saturation, progress line by progress line; one moment more than there are lines."""

    seconds: float
    samples: Sequence[Sample]
    lines: Sequence[Line]
    moments: Sequence[Moment]
    busiest_writer_ratio: float


def own_bytes(first: Moment, last: Moment) -> int:
    """Device bytes written by all of the group but the foreign load."""
    return (last.written_bytes - first.written_bytes) - (last.foreign_bytes - first.foreign_bytes)


def judge(seen: Observed, scenario: Scenario) -> tuple[float, SaturationRecord, Saturation]:
    """The mean put rate of the second half, with everything that was noted of it."""
    half = second_half(seen.samples)
    drift = trend(half)
    first, last = seen.moments[-len(half) - 1], seen.moments[-1]
    lines = seen.lines[-len(half) :]
    elapsed = last.at - first.at
    compaction_slots, flush_slots = _slots(scenario.jobs)
    cores = os.cpu_count() or 1
    cpu = None
    if first.cpu_seconds is not None and last.cpu_seconds is not None:
        cpu = (last.cpu_seconds - first.cpu_seconds) / elapsed / cores
    host_cpu = (last.host_busy_seconds - first.host_busy_seconds) / elapsed / cores
    written = (last.written_bytes - first.written_bytes) / elapsed
    foreign = (last.foreign_bytes - first.foreign_bytes) / elapsed
    limiter = scenario.rate_limiter_mb_per_second * 1e6
    # The limiter holds back flush and compaction, not the WAL.
    wal = sum(line["wal_bytes"] for line in lines) / elapsed if scenario.wal != "off" else 0.0
    record = SaturationRecord(
        seconds=seen.seconds,
        level0_drift_files=drift.level0_files,
        pending_drift_bytes=drift.pending_bytes,
        steady=drift.steady,
        level0_files=_mean(lines, "level0_files"),
        pending_bytes=_mean(lines, "pending_bytes"),
        device_ratio=written / last.limit_bytes_per_second,
        device_bytes_per_second=written,
        foreign_bytes_per_second=foreign,
        bytes_per_put=own_bytes(first, last) / sum(sample.puts for sample in half),
        cpu_ratio=cpu,
        host_cpu_ratio=host_cpu,
        compaction_slots_ratio=_mean(lines, "running_compactions") / compaction_slots,
        flush_slots_ratio=_mean(lines, "running_flushes") / flush_slots,
        rate_limiter_ratio=(written - foreign - wal) / limiter if limiter else 0.0,
        stalled_ratio=sum(line["stall_seconds"] for line in lines) / elapsed,
        busiest_writer_ratio=seen.busiest_writer_ratio,
        other_disk_bytes_per_second=(
            (last.disk_written_bytes - first.disk_written_bytes) / elapsed - written
        ),
    )
    busy = Saturation(
        device=record.device_ratio,
        cpu=host_cpu if cpu is None else cpu,
        compaction_slots=record.compaction_slots_ratio,
        flush_slots=record.flush_slots_ratio,
        rate_limiter=record.rate_limiter_ratio,
        stalled=record.stalled_ratio,
    )
    return put_rate(half), record, busy


def _slots(jobs: int) -> tuple[int, int]:
    """Compaction and flush slots; DBImpl::GetBGJobLimits in db_impl_compaction_flush.cc."""
    flushes = max(1, jobs // 4)
    return max(1, jobs - flushes), flushes


def _mean(lines: Sequence[Line], name: str) -> float:
    weights = sum(line["seconds"] for line in lines)
    return float(sum(line[name] * line["seconds"] for line in lines) / weights)
