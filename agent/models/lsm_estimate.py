"""The simulator's answer as an estimate: demand table, bottleneck first, and what would lift it."""

import math
from collections.abc import Mapping
from typing import Final

from agent.models.estimate import NORMAL_90, Estimate, ResourceUse
from agent.models.lsm import ModelInputs, SimulatedRate
from agent.models.lsm_write_control import LEVEL0_FILES, MEMTABLES, PENDING_BYTES

MODEL: Final = "simulator"

SATURATED_RATIO: Final = 0.9
"""A shared resource this busy is taken for the limit: the gaps are those between stop and go."""

MODEL_LOG_SPREAD: Final[Mapping[str, float]] = {
    "device_write": 0.08,
    "device_read_write": 0.15,
    "rate_limiter": 0.1,
    "compaction_threads": 0.15,
    "flush_threads": 0.15,
    "cpu": 0.25,
    "writer": 0.35,
    "wal_sync": 0.35,
}
"""Standard error in log space of the simulator itself by what it names as the limit, its inputs
being right; a prior, until labels exist. A device was met within 9 % (docs/accuracy.md); CPU per
put rises by a third from low load to saturation, which nothing tells beforehand."""

OTHER_LOG_SPREAD: Final = 0.25

NOT_CONVERGED_LOG_SPREAD: Final = 0.15
"""Added where the put rate still had a trend at the end."""

_POOL_OF_CAUSE: Final[Mapping[str, str]] = {
    MEMTABLES: "flush_threads",
    LEVEL0_FILES: "compaction_threads",
    PENDING_BYTES: "compaction_threads",
}

_ADVICE: Final[Mapping[str, str]] = {
    "device_write": (
        "the device takes no more writes: a faster device, fewer bytes per put (compression, "
        "larger memtables, universal compaction) or less foreign load would lift it"
    ),
    "device_read_write": "the device's read bandwidth is used up: more page cache would lift it",
    "compaction_threads": (
        "compaction cannot keep up with one thread's speed: more max_background_jobs or "
        "max_subcompactions would lift it"
    ),
    "flush_threads": (
        "flush cannot keep up: more max_background_jobs or a larger max_write_buffer_number would "
        "lift it"
    ),
    "cpu": "the cores are used up: cheaper compression, more cores or fewer other programs",
    "writer": "the write path itself is the limit: larger write batches or more writer threads",
    "wal_sync": (
        "every put waits for a sync of the WAL: larger write batches, more writers that share a "
        "sync, or a device that syncs faster would lift it"
    ),
    "rate_limiter": "RocksDB's own rate limiter holds flush and compaction back: raise it",
}

_UNITS: Final[Mapping[str, str]] = {
    "device_write": "bytes",
    "device_read_write": "bytes",
    "compaction_threads": "thread seconds",
    "flush_threads": "thread seconds",
    "cpu": "core seconds",
    "writer": "thread seconds",
    "wal_sync": "seconds of sync",
    "rate_limiter": "bytes",
}


def simulator_estimate(inputs: ModelInputs, simulated: SimulatedRate) -> Estimate:
    """The simulated rate as an estimate.

    Every resource's bound is the rate at which it would be used up at the simulated demand. Where
    none is nearly used up, the pool of threads whose backlog stalls the writers is the limit: its
    jobs exclude each other, so that a slot more may not help, but faster jobs would.
    """
    rate = simulated.puts_per_second
    capacities = _capacities(inputs)
    uses = []
    for resource, used in simulated.utilization.items():
        capacity = capacities.get(resource)
        if capacity is None or used <= 0.0 or rate <= 0.0:
            continue
        uses.append(
            ResourceUse(
                resource=resource,
                unit=_UNITS[resource],
                demand=used * capacity / rate,
                free_capacity=capacity,
                puts_per_second=rate / used,
                source="simulated at saturation",
            )
        )
    uses.sort(key=lambda use: use.puts_per_second)
    limit = bottleneck(simulated)
    uses.sort(key=lambda use: use.resource != limit)  # stable: the rest by their bound
    variance = MODEL_LOG_SPREAD.get(limit or "", OTHER_LOG_SPREAD) ** 2 + inputs.log_spread**2
    if not simulated.converged:
        variance += NOT_CONVERGED_LOG_SPREAD**2
    return Estimate(
        model=MODEL,
        puts_per_second=rate,
        log_half_width=NORMAL_90 * math.sqrt(variance),
        resources=tuple(uses),
        missing=inputs.missing,
        source="simulated LSM tree",
        at=inputs.at,
        advice=_advice(limit, simulated),
    )


def bottleneck(simulated: SimulatedRate) -> str | None:
    """The name of what limits the simulated rate; None when nothing was used at all."""
    utilization = {name: used for name, used in simulated.utilization.items() if used > 0.0}
    if not utilization:
        return None
    busiest = max(utilization, key=lambda name: utilization[name])
    if utilization[busiest] >= SATURATED_RATIO or not simulated.stall_causes:
        return busiest
    # Stalls come and go, and a resource rests in between; the device rests most, being the one
    # that background jobs and writers wait for in turns.
    stalled = simulated.stopped_ratio + simulated.delayed_ratio
    shared = max(
        (name for name in utilization if name not in {"compaction_threads", "flush_threads"}),
        key=lambda name: utilization[name],
        default=busiest,
    )
    cause = max(simulated.stall_causes, key=lambda name: simulated.stall_causes[name])
    pool = _POOL_OF_CAUSE[cause]
    if stalled <= 0.0 or pool not in utilization:
        return busiest
    return shared if utilization[shared] > utilization[pool] else pool


def _capacities(inputs: ModelInputs) -> dict[str, float | None]:
    options, host = inputs.options, inputs.host
    return {
        "device_write": host.device_write_bytes_per_second,
        "device_read_write": host.device_read_bytes_per_second,
        "compaction_threads": float(max(1, options.max_background_compactions)),
        "flush_threads": float(max(1, options.max_background_flushes)),
        "cpu": host.attainable_cores,
        "writer": 1.0,
        "wal_sync": 1.0,
        "rate_limiter": options.rate_limiter_bytes_per_second,
    }


def _advice(limit: str | None, simulated: SimulatedRate) -> str:
    if limit is None:
        return ""
    advice = _ADVICE[limit]
    stalled = simulated.stopped_ratio + simulated.delayed_ratio
    if stalled < 0.01 or not simulated.stall_causes:
        return advice
    cause = max(simulated.stall_causes, key=lambda name: simulated.stall_causes[name])
    words = {
        MEMTABLES: "immutable memtables",
        LEVEL0_FILES: "level-0 files",
        PENDING_BYTES: "pending compaction bytes",
    }[cause]
    return f"{advice}; at saturation writes are held back {stalled:.0%} of the time by {words}"
