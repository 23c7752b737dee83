"""One database as ``explain`` and ``whatif`` see it: 1 KiB values on a 100 MB/s device.

The figures are those measured on such a host with db_bench 7.8.3 at 30 % load. After a wanted
change of the text, write the golden file anew and read the difference:

    python -m tests.unit.explained > tests/data/golden/explain.txt
"""

import contextlib
import dataclasses
import math
import sys
from collections.abc import Iterator

from agent.bandwidth import Capacity
from agent.explain.explain import explain
from agent.explain.text import plain
from agent.forecast.forecast import StallOutlook
from agent.http import HttpServer, application
from agent.loop import Published
from agent.models import v4, v41
from agent.models.estimate import CalibratedEstimate, Estimate, MissingInput, ResourceUse
from agent.models.lsm import (
    HostShare,
    ModelInputs,
    SimulatedRate,
    TreeCosts,
    TreeOptions,
    TreeShape,
)
from agent.models.prediction import MIB
from agent.phase import PhaseInForce
from agent.readings import Known, Missing
from agent.snapshot import DatabaseSnapshot, DeviceSnapshot
from tests.unit import snapshots
from tests.unit.snapshots import AT, known

DEVICE = 100e6
FOREIGN = 2e6
OBSERVED = 6_120.0
COMPACTION = 30e6

INPUTS = ModelInputs(
    database="orders",
    column_family="default",
    options=TreeOptions(max_background_compactions=3, compression="none"),
    shape=TreeShape((192 * MIB, 256 * MIB, 2048 * MIB, 0.0, 0.0, 0.0, 0.0), (3, 4, 32, 0, 0, 0, 0)),
    costs=TreeCosts(
        record_bytes=1040.0,
        wal_bytes_per_put=1062.0,
        memtable_bytes_per_put=1100.0,
        flush_user_bytes=60 * MIB,
        flush_cpu_seconds_per_byte=4e-9,
        compaction_cpu_seconds_per_byte=5e-9,
        foreground_cpu_seconds_per_put=8e-6,
        writer_seconds_per_put=6e-6,
        key_bytes=16.0,
    ),
    host=HostShare(DEVICE - FOREIGN, None, 1.8),
    log_spread=0.06,
    missing=(
        MissingInput("rate_limiter", "OPTIONS do not hold its rate", "no limit beyond the device"),
    ),
    sources={"record_bytes": "log flush events"},
    at=AT - 12.0,
    observed_puts_per_second=OBSERVED,
)

SIMULATED = SimulatedRate(
    puts_per_second=20_100.0,
    stopped_ratio=0.0,
    delayed_ratio=0.004,
    written_bytes_per_put={"wal": 1062.0, "flush": 1045.0, "compaction": 2675.0},
    utilization={"device_write": 0.98, "compaction_threads": 0.71, "cpu": 0.42},
    level0_files_mean=15.5,
    pending_compaction_bytes_end=1.5 * 1024 * MIB,
    simulated_seconds=3600.0,
    events=41_000,
    converged=True,
    stall_causes={"l0_files": 0.004},
)

BOTTLENECK = Estimate(
    model="bottleneck",
    puts_per_second=0.95 * (DEVICE - FOREIGN) / 4782.0,
    log_half_width=0.3,
    resources=(
        ResourceUse(
            "device_write",
            "bytes",
            4782.0,
            DEVICE - FOREIGN,
            0.95 * (DEVICE - FOREIGN) / 4782.0,
            "log events, corrected to saturation",
            0.05,
        ),
        ResourceUse("cpu", "core seconds", 38e-6, 1.8, 1.8 / 38e-6, "log events and threads"),
    ),
    missing=INPUTS.missing,
    source="log events",
    at=AT - 12.0,
    advice="a device of 190 MiB/s or more would make the CPU the limit",
)

CALIBRATED = CalibratedEstimate(
    model="bottleneck",
    puts_per_second=BOTTLENECK.puts_per_second * 1.04,
    lower=18_600.0,
    upper=22_100.0,
    factor=1.04,
    basis="few labels",
    labels=3,
    accuracy_ratio=0.96,
    judged=5,
    coverage_ratio=1.0,
    coverage_interval=(0.55, 1.0),
    confidence="medium",
    widened="the options changed 2 h ago",
)

AVAILABLE = DEVICE - FOREIGN - COMPACTION
V4 = v4.predict(AVAILABLE / MIB, phase="final", record_size_bytes=1040.0)
V41 = v41.predict(
    AVAILABLE / MIB, phase="final", record_size_bytes=1040.0, write_amplification=6.25
)


NOT_YET = Missing("not_yet_measured", "the measured models have not run yet")
UNSCORED = CalibratedEstimate(
    model="v4",
    puts_per_second=V4.puts_per_second,
    lower=V4.puts_per_second / 10.0,
    upper=V4.puts_per_second * 10.0,
    factor=1.0,
    basis="prior",
    labels=0,
    accuracy_ratio=None,
    judged=0,
    coverage_ratio=None,
    coverage_interval=None,
    confidence="unverified",
)


def device() -> DeviceSnapshot:
    """A device of 100 MB/s."""
    return dataclasses.replace(
        snapshots.device(),
        capacity=Known(Capacity(DEVICE, None, lower_bound=False), "limit", AT - 600.0),
        filesystem_free_bytes=40 * 2**30,
    )


def published_only() -> DatabaseSnapshot:
    """As before the measured models have run: V4's family alone."""
    return dataclasses.replace(
        snapshots.busy_database(),
        observed_puts_per_second=known(OBSERVED, "wal"),
        headroom_ratio=known(1.0 - OBSERVED / V4.puts_per_second, "wal"),
        size_bytes=known(2496 * MIB, "manifest"),
        available_bytes_per_second=known(AVAILABLE, "limit - foreign - compaction", 600.0),
        foreign_bytes_per_second=known(FOREIGN, "diskstats - process"),
        compaction_bytes_per_second=known(COMPACTION, "log events"),
        phase=Known(
            PhaseInForce(
                name="final",
                since=AT - 5400.0,
                votes={"bandwidth": "final", "runtime": "final", "size": "initial"},
                candidate=None,
            ),
            "votes",
            AT - 0.5,
        ),
        predictions=Known((V4, V41), "limit - foreign - compaction", AT - 600.0),
        recommended=Known(UNSCORED, "limit - foreign - compaction", AT - 600.0),
        calibrated=Known((UNSCORED,), "limit - foreign - compaction", AT - 600.0),
        stalls=Known((), "log", AT - 0.5),
        background_error=Known(None, "log", AT - 0.5),
        inputs=NOT_YET,
        estimates=NOT_YET,
        simulated=NOT_YET,
        time_to_stall_seconds=NOT_YET,
        stall_outlook=None,
        debt_bytes=NOT_YET,
        debt_clear_seconds=NOT_YET,
        recommended_model="v4",
        bottleneck=None,
    )


def database() -> DatabaseSnapshot:
    """Everything measured, three saturation episodes seen, no stall ahead."""
    return dataclasses.replace(
        published_only(),
        recommended=Known(CALIBRATED, "log events", AT - 12.0),
        headroom_ratio=known(1.0 - OBSERVED / CALIBRATED.puts_per_second, "wal"),
        pending_compaction_bytes=Missing("stale", "the secondary last answered 5 min ago"),
        inputs=Known(INPUTS, "log events", AT - 12.0),
        estimates=Known((BOTTLENECK,), "log events", AT - 12.0),
        calibrated=Known((CALIBRATED,), "log events", AT - 12.0),
        simulated=Known(SIMULATED, "simulator", AT - 40.0),
        time_to_stall_seconds=Known(math.inf, "trends", AT - 0.5),
        stall_outlook=StallOutlook(
            time_to_stall_seconds=Known(math.inf, "trends", AT - 0.5),
            cause=None,
            column_family=None,
            earliest_seconds=None,
            latest_seconds=None,
            confidence=None,
            detail="no trend towards a limit, and the put rate is below S_max",
            stalled=False,
        ),
        debt_bytes=known(700 * MIB, "manifest"),
        debt_clear_seconds=known(240.0, "manifest"),
        recommended_model="bottleneck",
        bottleneck="device_write",
    )


@contextlib.contextmanager
def listening(later_seconds: float = 2.0) -> Iterator[str]:
    """Where a listener shows this database and a lost one, as a daemon would: its URL."""
    holder = Published()
    holder.put(
        dataclasses.replace(
            snapshots.snapshot(),
            databases=(database(), snapshots.lost_database()),
            devices=(device(),),
        ),
        0.01,
    )
    clock = snapshots.FixedClock(AT + later_seconds)
    server = HttpServer(application(holder, clock), "127.0.0.1", 0)
    server.start()
    try:
        yield f"http://{server.address}"
    finally:
        server.stop()


def golden() -> str:
    """The text of ``smaxd explain`` for it."""
    return plain([explain(database(), device(), AT + 2.0)])


if __name__ == "__main__":
    sys.stdout.write(golden())
