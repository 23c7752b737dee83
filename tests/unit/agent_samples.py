"""Samples for the tests of the agent's decisions: read from captured files, or made by hand."""

import json
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from agent.cpu_use import HostCpu
from agent.database_state import DatabaseState
from agent.findings import DatabaseFindings, DeviceFindings, Findings, PathFindings
from agent.learning.learning import Learning
from agent.learning.memory import LearnedState
from agent.probe_state import ProbeState
from agent.readings import Known, Missing
from probes.diskstats import DiskRates
from probes.rocksdb.log import parse_log
from probes.rocksdb.manifest import ManifestProbe
from probes.rocksdb.options import OptionsProbe
from probes.rocksdb.options_samples import OptionsSample
from probes.rocksdb.samples import (
    ColumnFamilyShape,
    CompactionEvent,
    FingerprintSample,
    FlushEvent,
    LevelShape,
    LogSample,
    ManifestSample,
    SecondarySample,
    WalSample,
)
from probes.samples import (
    BlockDeviceSample,
    BlockLayer,
    CgroupLimitsSample,
    DiskCounters,
    DiskstatsSample,
    FioSample,
    ProcessSample,
)

MIB = 1048576.0
ROCKSDB = Path(__file__).parents[1] / "data" / "rocksdb"
ABSENT = Missing("left_out", "the test leaves this reading out")
WALL = 1_700_000_000.0
"""Unix time that goes with the monotonic 0.0 of made samples."""

DAY = 86400.0

T = TypeVar("T")


class FixedClock:
    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return WALL


def known(value: T, at: float = 0.0, source: str = "test") -> Known[T]:
    return Known(value, source, at)


@cache
def captured_log(name: str) -> LogSample:
    return parse_log(str(ROCKSDB / name / "LOG"), FixedClock())


@cache
def captured_manifest(name: str) -> ManifestSample:
    return ManifestProbe(str(ROCKSDB / name), FixedClock()).read()


@cache
def captured_options(name: str) -> OptionsSample:
    return OptionsProbe(str(ROCKSDB / name), FixedClock()).read()


@cache
def truth(name: str) -> Any:
    return json.loads((ROCKSDB / name / "truth.json").read_text())


def a_log(**changes: Any) -> LogSample:
    """A LOG that has told nothing yet, opened an hour ago."""
    quiet = LogSample(
        at=0.0,
        log_path="/db/LOG",
        rocksdb_version="9.8.4",
        table_directories=(),
        first_wall_seconds=WALL - 3600.0,
        last_wall_seconds=WALL,
        opened_wall_seconds=WALL - 3600.0,
        flushes=0,
        compactions=0,
        puts=None,
        user_bytes=None,
        flush_output_bytes=0,
        compaction_input_bytes=0,
        compaction_output_bytes=0,
        recent_flushes=(),
        recent_compactions=(),
        stalls=(),
        stall_seconds={"delayed": 0.0, "stopped": 0.0},
        stall_count={"delayed": 0, "stopped": 0},
        background_error=None,
        level_files={},
        stats_dump=None,
        has_events=True,
        damaged_lines=0,
    )
    return replace(quiet, **changes)


NO_CPU = HostCpu(None, ABSENT, ABSENT)


def a_database_state(phase_hold_seconds: float = 300.0) -> DatabaseState:
    """A database's state on a host that has learned nothing yet."""
    return DatabaseState(phase_hold_seconds, Learning(LearnedState()))


def a_flush(wall_seconds: float, **changes: Any) -> FlushEvent:
    """1000 entries of 100 user bytes each, and 11 of overhead; 1 s long."""
    flush = FlushEvent(
        wall_seconds=wall_seconds,
        job=1,
        column_family="default",
        entries=1000,
        deletes=0,
        user_bytes=111_000,
        output_bytes=100_000,
        duration_seconds=1.0,
    )
    return replace(flush, **changes)


def a_compaction(wall_seconds: float, **changes: Any) -> CompactionEvent:
    """1 MB in, 0.9 MB out, 10 s long."""
    compaction = CompactionEvent(
        wall_seconds=wall_seconds,
        job=2,
        column_family="default",
        input_level=0,
        output_level=1,
        input_bytes=1_000_000,
        output_bytes=900_000,
        input_records=9000,
        output_records=8000,
        duration_seconds=10.0,
        cpu_seconds=5.0,
        subcompactions=1,
        reason="LevelL0FilesNum",
    )
    return replace(compaction, **changes)


def a_wal(at: float, last_sequence: int, **changes: Any) -> Known[WalSample]:
    sample = WalSample(
        at=at,
        last_sequence=last_sequence,
        wal_number=7,
        live_wal_bytes=1000,
        mean_record_bytes=None,
    )
    return Known(replace(sample, **changes), "wal", at)


def a_manifest(at: float = 0.0, **changes: Any) -> ManifestSample:
    """An empty database with one column family."""
    sample = ManifestSample(
        at=at,
        manifest_name="MANIFEST-000005",
        last_sequence=0,
        log_number=7,
        column_families=(ColumnFamilyShape("default", (LevelShape(0, 0),)),),
        flushed_bytes=0,
        compacted_bytes=0,
        since=0.0,
    )
    return replace(sample, **changes)


def a_secondary(**changes: Any) -> SecondarySample:
    sample = SecondarySample(
        at=0.0,
        latest_sequence=1,
        pending_compaction_bytes={"default": 300, "second": 30},
        estimated_keys={"default": 40, "second": 4},
        level_files={"default": (1, 2)},
        total_sst_bytes=5000,
        cpu_seconds=0.1,
        wall_seconds=0.2,
        peak_resident_bytes=None,
    )
    return replace(sample, **changes)


def disk_rates_of(
    write: float, *, read: float = 0.0, busy: float = 0.1, queue: float = 0.5
) -> DiskRates:
    return DiskRates(
        write_bytes_per_second=write,
        read_bytes_per_second=read,
        writes_per_second=1.0,
        reads_per_second=1.0,
        write_await_seconds=None,
        read_await_seconds=None,
        mean_queue_depth=queue,
        busy_ratio=busy,
    )


def a_fio(at: float, write: float, **changes: Any) -> FioSample:
    sample = FioSample(
        at=at,
        mode="fast",
        directory="/srv/scratch",
        fio_version="fio-3.33",
        write_bytes_per_second=write,
        other_write_bytes_per_second=0.0,
        spread_ratio=0.05,
        latency_p50_seconds=None,
        latency_p99_seconds=None,
        runtime_seconds=2.0,
        written_bytes=1,
        steady=None,
        rate_limited=False,
    )
    return replace(sample, **changes)


def disk_counters(written_bytes: float, **changes: Any) -> DiskCounters:
    counters = DiskCounters(
        name="sda",
        devnum="8:0",
        reads_completed=0,
        reads_merged=0,
        sectors_read=0,
        read_milliseconds=0,
        writes_completed=0,
        writes_merged=0,
        sectors_written=int(written_bytes) // 512,
        write_milliseconds=0,
        ios_in_progress=0,
        io_milliseconds=0,
        weighted_io_milliseconds=0,
        discards_completed=None,
        discards_merged=None,
        sectors_discarded=None,
        discard_milliseconds=None,
        flushes_completed=None,
        flush_milliseconds=None,
    )
    return replace(counters, **changes)


def diskstats(at: float, *disks: DiskCounters) -> Known[DiskstatsSample]:
    return Known(DiskstatsSample(at, {disk.devnum: disk for disk in disks}), "diskstats", at)


def a_device(name: str = "sda", devnum: str = "8:0", **changes: Any) -> BlockDeviceSample:
    """A disk with one partition that carries /db."""
    disk = BlockLayer(name, devnum, "disk")
    sample = BlockDeviceSample(
        at=0.0,
        path="/db",
        mount_point="/",
        filesystem_type="ext4",
        filesystem_devnum=f"{devnum}1",
        read_only=False,
        layers=(BlockLayer(f"{name}1", f"{devnum}1", "partition"), disk),
        device=disk,
        size_bytes=10**12,
        rotational=False,
        filesystem_free_bytes=10**11,
        filesystem_size_bytes=10**12,
    )
    return replace(sample, **changes)


def device_findings(**changes: Any) -> DeviceFindings:
    findings = DeviceFindings(
        name="sda",
        sample=a_device(),
        configured_limit_bytes_per_second=None,
        fio=ABSENT,
        fio_active=False,
        scratch_directory="/srv/scratch",
    )
    return replace(findings, **changes)


def limits_of(**write_bytes_per_second: float) -> CgroupLimitsSample:
    """Write limits by device number, spelled d8_0 for 8:0."""
    by_devnum = {
        key.removeprefix("d").replace("_", ":"): value
        for key, value in write_bytes_per_second.items()
    }
    return CgroupLimitsSample(0.0, by_devnum, None)


def a_process(at: float, written_bytes: int | None) -> Known[ProcessSample]:
    sample = ProcessSample(
        at=at,
        pid=42,
        start_ticks=1,
        cpu_seconds=0.0,
        compaction_cpu_seconds=None,
        flush_cpu_seconds=None,
        foreground_cpu_seconds=None,
        written_bytes=written_bytes,
        read_bytes=None,
        resident_bytes=None,
    )
    return Known(sample, "process", at)


def a_fingerprint(created_wall_seconds: float | None) -> Known[FingerprintSample]:
    sample = FingerprintSample(0.0, 1, 2, 3, "MANIFEST-000005", 42, 1, created_wall_seconds)
    return Known(sample, "fingerprint", 0.0)


def on_device(role: str, name: str, devnum: str) -> PathFindings:
    return PathFindings(role, f"/{role}", known(a_device(name, devnum)))


def database_findings(**changes: Any) -> DatabaseFindings:
    """A database on sda of which nothing was read yet."""
    readings: dict[str, Any] = {field.name: ABSENT for field in fields(DatabaseFindings)}
    readings.update(
        name="orders",
        path="/db",
        pinned_record_size_bytes=None,
        incarnation=1,
        shares_process=False,
        owner_gone=False,
        paths=(on_device("data", "sda", "8:0"), on_device("wal", "sda", "8:0")),
    )
    return DatabaseFindings(**(readings | changes))


def findings_of(at: float, **changes: Any) -> Findings:
    """A tick that read nothing."""
    readings: dict[str, Any] = {field.name: ABSENT for field in fields(Findings)}
    readings.update(
        at=at,
        wall_seconds=WALL + at,
        databases=(),
        devices=(),
        probes=(),
        written_bytes={},
        hidden_databases=0,
        calibrations=(),
    )
    return Findings(**(readings | changes))


def probe_state(
    probe: str, target: str, success: bool | None, *, absent: bool = False, detail: str = "broken"
) -> ProbeState:
    failed = success is False
    return ProbeState(
        probe=probe,
        target=target,
        success=success,
        absent=absent,
        duration_seconds=None if success is None else 0.1,
        last_success_wall_seconds=None,
        reason="reason" if failed else None,
        detail=detail if failed else None,
    )
