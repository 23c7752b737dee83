"""One fixed snapshot in which everything has a value: what the renderers are tested on.

Two databases on one device: "orders" has every number, "/srv/idle" none. After a wanted change of
the page, write the golden file anew and read the difference:

    python -m tests.unit.snapshots > tests/data/golden/metrics.txt
"""

import math
import sys

from prometheus_client import CollectorRegistry, generate_latest

from agent.alerts.engine import AlertState
from agent.bandwidth import Capacity
from agent.delivery.status import ChannelStatus, DeliveryStatus
from agent.export_metrics import ExportStatus
from agent.forecast.score import ScoreSummary
from agent.history.status import HistoryStatus
from agent.loop import Published
from agent.metrics import SnapshotCollector
from agent.models.estimate import CalibratedEstimate, Estimate, MissingInput, ResourceUse
from agent.models.lsm import SimulatedRate
from agent.models.prediction import Prediction
from agent.phase import PhaseInForce
from agent.probe_state import ProbeState
from agent.readings import Known, Missing, Quantity
from agent.reload_plan import ConfigLoad
from agent.self_limits import Degradation, Level
from agent.snapshot import (
    DatabaseSnapshot,
    DeviceSnapshot,
    PlacedFiles,
    ProbingSnapshot,
    Snapshot,
)
from agent.web_metrics import WebStatus
from probes.rocksdb.samples import (
    BackgroundError,
    ColumnFamilyShape,
    LevelShape,
    StallCondition,
)

MIB = 1048576.0
AT = 1000.0
"""Monotonic seconds of the snapshot."""

WALL = 1_800_000_000.0
"""Unix time of the snapshot."""

TICK_SECONDS = 10.0
GONE = Missing("database_missing", "/srv/idle does not exist")


class FixedClock:
    """A clock that stands still until it is moved."""

    def __init__(self, monotonic: float = AT) -> None:
        self.now = monotonic

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return WALL + self.now - AT


def known(value: float, source: str = "test", age_seconds: float = 0.5) -> Quantity:
    return Known(value, source, AT - age_seconds)


V4 = Prediction(
    puts_per_second=114_000.0,
    model="v4",
    phase="middle",
    confidence="high",
    utilization=0.047,
    factor=1.0,
    bandwidth_mib=2400.0,
    record_size=1040.0,
)
V41 = Prediction(
    puts_per_second=131_670.0,
    model="v4.1",
    phase="middle",
    confidence="very_high",
    utilization=0.047,
    factor=1.155,
    bandwidth_mib=2400.0,
    record_size=1040.0,
)


BOTTLENECK = Estimate(
    model="bottleneck",
    puts_per_second=125_000.0,
    log_half_width=0.3,
    resources=(
        ResourceUse("device_write", "bytes", 8000.0, 1e9, 125_000.0, "log events", 0.05),
        ResourceUse("cpu", "core seconds", 1e-5, 2.0, 200_000.0, "process"),
    ),
    missing=(MissingInput("wal", "it cannot be told whether there is one", "there is"),),
    source="log events",
    at=AT - 60.0,
    advice="a faster device would lift it",
)
SIMULATED = SimulatedRate(
    puts_per_second=118_000.0,
    stopped_ratio=0.01,
    delayed_ratio=0.9,
    written_bytes_per_put={"wal": 1060.0, "flush": 1050.0, "compaction": 5900.0},
    utilization={"device_write": 0.97, "cpu": 0.5},
    level0_files_mean=17.0,
    pending_compaction_bytes_end=3e9,
    simulated_seconds=900.0,
    events=2000,
    converged=True,
)
CALIBRATED = CalibratedEstimate(
    model="bottleneck",
    puts_per_second=131_670.0,
    lower=110_000.0,
    upper=150_000.0,
    factor=0.96,
    basis="few labels",
    labels=3,
    accuracy_ratio=0.93,
    judged=3,
    coverage_ratio=1.0,
    coverage_interval=(0.4, 1.0),
    confidence="medium",
)


def busy_database() -> DatabaseSnapshot:
    """A database of which everything is known, stalled and broken at once."""
    return DatabaseSnapshot(
        name="orders",
        path="/srv/orders",
        owner_pid=4711,
        rocksdb_version="9.8.4",
        incarnations=2,
        places=(
            PlacedFiles("data", "/srv/orders", "nvme0n1", None),
            PlacedFiles("wal", "/wal/orders", None, "no block device behind /wal: it is tmpfs"),
        ),
        sequence_number=Known(123_456_789, "wal", AT - 0.25),
        observed_puts_per_second=known(57_000.0, "wal"),
        record_size_bytes=known(1040.0, "log flush events"),
        write_amplification_ratio=known(6.25, "log events"),
        age_seconds=known(86_400.0, "identity file"),
        size_bytes=known(3.5e9, "manifest"),
        live_wal_bytes=known(64 * MIB, "wal"),
        pending_compaction_bytes=known(2.0e9, "secondary", 30.0),
        estimated_keys=known(3_000_000.0, "secondary", 30.0),
        flush_bytes_total=known(5.0e9, "log events"),
        compaction_read_bytes_total=known(2.0e10, "log events"),
        compaction_written_bytes_total=known(1.8e10, "log events"),
        compaction_bytes_per_second=known(300 * MIB, "log events"),
        foreign_bytes_per_second=known(100 * MIB, "diskstats - process"),
        available_bytes_per_second=known(2400 * MIB, "fio - foreign - compaction", 60.0),
        availability_ratio=known(2400.0 / 2800.0, "fio - foreign - compaction", 60.0),
        phase=Known(
            PhaseInForce(
                name="middle",
                since=AT - 900.0,
                votes={"bandwidth": "middle", "runtime": "final", "size": "initial"},
                candidate="final",
            ),
            "votes",
            AT - 60.0,
        ),
        predictions=Known((V4, V41), "fio - foreign - compaction", AT - 60.0),
        recommended=Known(CALIBRATED, "fio", AT - 60.0),
        headroom_ratio=known(1.0 - 57_000.0 / 131_670.0, "wal"),
        headroom_lower_ratio=known(1.0 - 57_000.0 / 110_000.0, "wal"),
        s_max_ratio=known(0.98, "fio"),
        levels=Known(
            (
                ColumnFamilyShape("default", (LevelShape(21, 1_400_000_000), LevelShape(2, 5))),
                ColumnFamilyShape('quoted "cf"\\\n', (LevelShape(0, 0),)),
            ),
            "manifest",
            AT - 0.5,
        ),
        stalls=Known(
            (StallCondition("default", "delayed", "l0_files", WALL - 5.0, 16 * MIB),),
            "log",
            AT - 0.5,
        ),
        stall_seconds=Known({"delayed": 12.5, "stopped": 0.75}, "log", AT - 0.5),
        background_error=Known(
            BackgroundError("IO error: No space left on device", WALL - 3.0), "log", AT - 0.5
        ),
        cpu_seconds=Known(
            {"compaction": 300.5, "flush": 20.25, "foreground": 1200.0}, "process", AT - 0.5
        ),
        cpu_cores=known(1.5, "process"),
        cpu_limit_cores=2.0,
        estimates=Known((BOTTLENECK,), "fio", AT - 60.0),
        calibrated=Known((CALIBRATED,), "fio", AT - 60.0),
        simulated=Known(SIMULATED, "simulator", AT - 20.0),
        forecast_score=ScoreSummary(
            stalls=3,
            announced_stalls=2,
            median_lead_seconds=95.0,
            lead_seconds=(0.0, 95.0, 140.0),
            false_alarms=1,
        ),
        time_to_stall_seconds=known(0.0, "log"),
        debt_bytes=known(5.0e8, "manifest and options"),
        debt_clear_seconds=known(math.inf, "manifest and options"),
        recommended_model="bottleneck",
        bottleneck="device_write",
        episodes_total=3,
        saturated=False,
    )


def lost_database() -> DatabaseSnapshot:
    """A database that is gone: nothing is known, and everything says why."""
    return DatabaseSnapshot(
        name="/srv/idle",
        path="/srv/idle",
        owner_pid=None,
        rocksdb_version=None,
        incarnations=0,
        places=(PlacedFiles("data", "/srv/idle", None, "/srv/idle does not exist"),),
        sequence_number=GONE,
        observed_puts_per_second=GONE,
        record_size_bytes=GONE,
        write_amplification_ratio=GONE,
        age_seconds=GONE,
        size_bytes=GONE,
        live_wal_bytes=GONE,
        pending_compaction_bytes=GONE,
        estimated_keys=GONE,
        flush_bytes_total=GONE,
        compaction_read_bytes_total=GONE,
        compaction_written_bytes_total=GONE,
        compaction_bytes_per_second=GONE,
        foreign_bytes_per_second=GONE,
        available_bytes_per_second=GONE,
        availability_ratio=GONE,
        phase=GONE,
        predictions=GONE,
        recommended=GONE,
        headroom_ratio=GONE,
        headroom_lower_ratio=GONE,
        s_max_ratio=GONE,
        levels=GONE,
        stalls=GONE,
        stall_seconds=GONE,
        background_error=GONE,
        cpu_seconds=GONE,
        cpu_cores=GONE,
        cpu_limit_cores=None,
        inputs=GONE,
        estimates=GONE,
        calibrated=GONE,
        simulated=GONE,
        time_to_stall_seconds=GONE,
        debt_bytes=GONE,
        debt_clear_seconds=GONE,
    )


def device() -> DeviceSnapshot:
    """The device under "orders"."""
    return DeviceSnapshot(
        name="nvme0n1",
        devnum="259:0",
        size_bytes=1_000_204_886_016,
        filesystem_type="ext4",
        filesystem_free_bytes=400_000_000_000,
        layers=("dm-0", "nvme0n1p2", "nvme0n1"),
        capacity=Known(Capacity(2800 * MIB, 0.04, lower_bound=False), "fio", AT - 60.0),
        capacity_ratio=known(0.9, "fio", 60.0),
        write_bytes_per_second=known(480 * MIB, "diskstats"),
        read_bytes_per_second=known(320 * MIB, "diskstats"),
        write_await_seconds=known(0.0004, "diskstats"),
        mean_queue_depth=known(1.5, "diskstats"),
        limit_bytes_per_second=3000 * MIB,
        fio=known(2700 * MIB, "fio", 60.0),
        scratch_directory="/var/tmp/smaxd-scratch-0",  # noqa: S108 - a name, nothing is written
        model="Samsung SSD 990 PRO eui.0025385c2140432f",
        probing=ProbingSnapshot(
            "stalled_recently",
            "writes were stopped or delayed 12 s ago",
            ("stalled_recently",),
            {"measured": 3, "aborted": 1},
        ),
        wear_budget_bytes=known(1_000_204_886.0, "wear account"),
        wear_budget_remaining_bytes=known(865_987_158.0, "wear account"),
        endurance_used_ratio=known(0.07, "nvme smart-log", 600.0),
        wear_out_seconds=known(3.2e8, "nvme smart-log", 600.0),
    )


def probes() -> tuple[ProbeState, ...]:
    """One probe that works, one that failed, one without data, one that never answered."""
    return (
        ProbeState("wal", "orders", True, False, 0.002, WALL - 0.25, None, None),
        ProbeState("fingerprint", "/srv/idle", False, False, 0.001, None, GONE.reason, GONE.detail),
        ProbeState(
            "pressure", "host", False, True, 0.001, WALL - 70.0, "no_pressure", "no /proc/pressure"
        ),
        ProbeState("secondary", "orders", None, False, None, None, None, None),
    )


def alerts() -> tuple[AlertState, ...]:
    """An active, a pending and a quiet alert."""
    return (
        AlertState(
            alert="RocksdbWriteHeadroomLow",
            severity="warning",
            database="orders",
            device="nvme0n1",
            active=False,
            pending_since=AT - 20.0,
            since_wall_seconds=None,
            value=0.1,
            data_missing=False,
            summary="orders takes 57,000 puts/s of a sustainable 131,670",
        ),
        AlertState(
            alert="SmaxProbeFailing",
            severity="warning",
            database="/srv/idle",
            device="",
            active=False,
            pending_since=None,
            since_wall_seconds=None,
            value=0.0,
            data_missing=True,
            summary="",
        ),
        AlertState(
            alert="RocksdbWriteStopped",
            severity="critical",
            database="orders",
            device="nvme0n1",
            active=True,
            pending_since=AT - 30.0,
            since_wall_seconds=WALL - 30.0,
            value=1.0,
            data_missing=False,
            summary="RocksDB has stopped writes to orders: l0_files",
        ),
    )


def snapshot() -> Snapshot:
    """Everything together."""
    return Snapshot(
        tick=42,
        at=AT,
        wall_seconds=WALL,
        tick_seconds=TICK_SECONDS,
        version="1.2.3",
        config_hash="0123456789ab",
        databases=(busy_database(), lost_database()),
        devices=(device(),),
        probes=probes(),
        alerts=alerts(),
        pressure_some_ratio=known(0.25, "pressure"),
        host_cpu_busy_ratio=known(0.75, "cpu"),
        host_cpu_cores=8,
        written_bytes={("nvme0n1", "fio"): 134_217_728, ("nvme0n1", "state"): 81_920},
        state_directory="/var/lib/smaxd",
        hidden_databases=1,
    )


def published() -> Published:
    """The snapshot as the loop hands it over."""
    handed = Published(lambda: {"fio": 0.34, "secondary": 1.28, "simulator": 3.6})
    handed.degradation = Degradation(
        Level.RARE_CHILDREN, AT - 400.0, "cpu", "the agent used 0.45% of one core", 0.0045, False
    )
    handed.config_load = ConfigLoad(successful=True, success_wall_seconds=WALL - 3600.0)
    handed.history_status = lambda: HistoryStatus(
        4321, 52_428_800, WALL - 20.0, {"disk_full": 24}, "wear_budget_used"
    )
    handed.delivery_status = lambda: DeliveryStatus(
        channels=(
            ChannelStatus(
                name="alertmanager-1:9093",
                outcomes={"delivered": 12, "retried": 3},
                queue_length=1,
                attempts=6,
                attempt_seconds=0.75,
                circuit_open=True,
                last_success_wall_seconds=WALL - 90.0,
            ),
        ),
        scraper_absent=False,
    )
    handed.web_status = lambda: WebStatus(
        True, WALL - 3600.0, {"handshake": 2, "password": 5}, WALL + 30 * 86400.0
    )
    handed.export_statuses = lambda: (
        ExportStatus("otlp", 3, 2, None),
        ExportStatus("textfile", 0, 0, WALL - 12.0),
    )
    handed.put(snapshot(), 0.0125)
    return handed


def page(now: float = AT + 2.0) -> str:
    """The metrics page of the snapshot; the process metrics, which change, are not part of it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(published(), FixedClock(now)))
    return generate_latest(registry).decode()


if __name__ == "__main__":
    sys.stdout.write(page())
