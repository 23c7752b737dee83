"""The bottleneck model: operational analysis of what a put costs every resource. Pure.

Every resource r has a demand D_r, what one put costs it, and a free capacity C_r, what it can give
a second. No rate above eta_r * C_r / D_r can be held, and the smallest of these bounds names the
bottleneck (utilization law and asymptotic bounds: Denning & Buzen, The Operational Analysis of
Queueing Network Models, ACM Computing Surveys 10, 1978).

Interface: ``bottleneck_estimate(inputs, demands)``. Bytes per put are those at saturation, where
level 0 is merged in larger batches than at low load (``saturated_bytes_per_put``). CPU of the
application's threads is taken less what waking them costs at low load
(``agent.inputs.foreground_cost``).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from agent.demands.demands import Demands, Measured
from agent.inputs.tree_options import NEVER
from agent.models.estimate import NORMAL_90, Estimate, ResourceUse
from agent.models.lsm import ATTAINABLE_CPU, ModelInputs
from agent.models.lsm_amplification import saturated_written_bytes_per_put
from agent.readings import Missing
from agent.workload import MEMTABLE_OVERHEAD_BYTES

MODEL: Final = "bottleneck"

ETA: Final[Mapping[str, float]] = {
    # A device's queue is kept full by flush and compaction whenever there is a debt: it saturates.
    "device_write": 0.97,
    # A pool idles between jobs (picking, installing a version, waiting for level 0's merge).
    "compaction_threads": 0.9,
    "flush_threads": 0.9,
    "cpu": ATTAINABLE_CPU,
    "writer": 0.95,
    "wal_sync": 0.95,
    "rate_limiter": 0.97,
}
"""The utilization that is attainable before stalls begin; a prior, corrected by calibration."""

MODEL_SPREAD: Final[Mapping[str, float]] = {
    "device_write": 0.08,
    "compaction_threads": 0.2,
    "flush_threads": 0.2,
    "cpu": 0.2,
    "writer": 0.35,
    "wal_sync": 0.35,
    "rate_limiter": 0.1,
}
"""Standard error in log space of the bound itself, its inputs being right; a prior. The cost of a
put's own path changes most with load, what the device takes in least."""

CLOSED_FORM_SPREAD: Final = 0.4
"""Standard error in log space of the closed form's compaction bytes by themselves: 30 to 70 % too
many in the first two scenarios measured, where overwritten keys vanish in large batches."""

LOAD_CORRECTION_SPREAD: Final = 0.15
"""The same of the ratio of two of its values, in which most of that cancels."""

UNKNOWN_SPREAD: Final = 0.35
"""Taken where compaction's bytes come without an error of their own, or without a correction."""

BATCH_TO_TRIGGER: Final = 1.5


def bottleneck_estimate(inputs: ModelInputs, demands: Demands) -> Estimate | Missing:
    """The largest put rate that no resource forbids.

    Missing when no compaction was measured and nothing can be worked out: a tree that is only
    filled is no steady state. Missing, too, for inputs that cannot be worked with.
    """
    try:
        return _estimate(inputs, demands)
    except (ValueError, ArithmeticError) as error:
        return Missing("inputs_make_no_sense", f"nothing can be worked out: {error}")


def _estimate(inputs: ModelInputs, demands: Demands) -> Estimate | Missing:
    written = saturated_bytes_per_put(inputs, demands)
    if isinstance(written, Missing):
        return written
    uses = sorted(_uses(inputs, demands, written), key=lambda use: use.puts_per_second)
    first = uses[0]
    spread = math.hypot(inputs.log_spread, MODEL_SPREAD[first.resource])
    if first.resource in ("device_write", "compaction_threads", "rate_limiter"):
        spread = math.hypot(spread, written.spread_ratio)
    return Estimate(
        model=MODEL,
        puts_per_second=first.puts_per_second,
        log_half_width=NORMAL_90 * spread,
        resources=tuple(uses),
        missing=inputs.missing,
        source=first.source,
        at=inputs.at,
        advice=_advice(inputs, written, uses),
    )


@dataclass(frozen=True, slots=True)
class SaturatedBytes:
    """What a put writes and reads at saturation; ``spread_ratio`` of its compaction's part in all,
    without what the inputs' own scatter holds."""

    wal: float
    flush: float
    compaction: float
    compaction_read: float
    flush_read: float
    spread_ratio: float

    @property
    def written(self) -> float:
        """Bytes written, all causes together."""
        return self.wal + self.flush + self.compaction


def saturated_bytes_per_put(inputs: ModelInputs, demands: Demands) -> SaturatedBytes | Missing:
    """Bytes per put at saturation: those measured, times how the load changes them.

    At saturation level 0 is merged in larger batches. The closed form
    (``agent.models.lsm_amplification``) says how much that takes off, for the batches measured and
    for those at saturation; what it gets wrong of the tree itself cancels in the ratio. Where
    compaction was not measured, or badly, the closed form's own value weighs more.
    """
    costs, tree = inputs.costs, inputs.options
    flush = demands.flush_written_bytes
    flushed = (
        flush.value
        if isinstance(flush, Measured)
        else (costs.record_bytes + MEMTABLE_OVERHEAD_BYTES) * costs.flush_output_ratio
    )
    compaction, spread = 0.0, 0.0
    if tree.level0_file_num_compaction_trigger < NEVER:
        closed = saturated_written_bytes_per_put(inputs)["compaction"]
        measured = demands.compaction_written_bytes
        if isinstance(measured, Measured) and measured.value > 0 and closed > 0:
            now = _closed_form_now(inputs, demands)
            scaled = measured.value * (closed / now if now else 1.0)
            unsure = measured.spread_ratio
            unsure = UNKNOWN_SPREAD if unsure is None else unsure
            unsure = math.hypot(unsure, LOAD_CORRECTION_SPREAD if now else UNKNOWN_SPREAD)
            weight = unsure**-2 / (unsure**-2 + CLOSED_FORM_SPREAD**-2)
            compaction = scaled**weight * closed ** (1.0 - weight)
            spread = (unsure**-2 + CLOSED_FORM_SPREAD**-2) ** -0.5
        elif isinstance(measured, Measured):
            compaction, spread = measured.value, UNKNOWN_SPREAD
        else:
            compaction, spread = closed, CLOSED_FORM_SPREAD
    wal = costs.wal_bytes_per_put if tree.wal_enabled else 0.0
    total = wal + flushed + compaction
    return SaturatedBytes(
        wal=wal,
        flush=flushed,
        compaction=compaction,
        compaction_read=compaction * _read_per_written(inputs, demands),
        flush_read=costs.record_bytes + MEMTABLE_OVERHEAD_BYTES,
        spread_ratio=spread * compaction / total if total > 0 else 0.0,
    )


def _closed_form_now(inputs: ModelInputs, demands: Demands) -> float | None:
    """The closed form for batches as large as those measured; None where it has no such knob.

    It works out the files of a batch from the slowdown trigger, as trigger / (1 + share of a turn
    that the merge takes), which is about a half: the trigger that gives the batch measured is that
    much larger.
    """
    files = demands.level0_files_per_merge
    if inputs.options.style != "level" or isinstance(files, Missing):
        return None
    slowdown = inputs.options.level0_slowdown_writes_trigger
    trigger = min(float(slowdown), max(1.0, files.value * BATCH_TO_TRIGGER))
    low, high = math.floor(trigger), math.ceil(trigger)
    values = [
        saturated_written_bytes_per_put(
            msgspec.structs.replace(
                inputs,
                options=msgspec.structs.replace(
                    inputs.options,
                    level0_slowdown_writes_trigger=each,
                    level0_file_num_compaction_trigger=min(
                        each, inputs.options.level0_file_num_compaction_trigger
                    ),
                ),
            )
        )["compaction"]
        for each in {low, high}
    ]
    return sum(values) / len(values)


def _read_per_written(inputs: ModelInputs, demands: Demands) -> float:
    """Compaction's input over its output, which hardly depends on the load."""
    read, written = demands.compaction_read_bytes, demands.compaction_written_bytes
    if isinstance(read, Measured) and isinstance(written, Measured) and written.value > 0:
        return max(1.0, read.value / written.value)
    return max(1.0, 1.0 / max(inputs.costs.compaction_output_ratio, 0.1))


def _uses(inputs: ModelInputs, demands: Demands, per_put: SaturatedBytes) -> list[ResourceUse]:
    costs, host, tree = inputs.costs, inputs.host, inputs.options
    device = host.device_write_bytes_per_second
    flush_cpu = per_put.flush_read * costs.flush_cpu_seconds_per_byte
    compaction_cpu = per_put.compaction_read * costs.compaction_cpu_seconds_per_byte
    cpu = costs.foreground_cpu_seconds_per_put + flush_cpu + compaction_cpu
    written = demands.compaction_written_bytes
    uses: list[ResourceUse | None] = [
        _use(
            "device_write",
            "bytes",
            per_put.written,
            device,
            f"{inputs.sources.get('device_write_bytes_per_second', 'capacity')} - foreign",
            written.spread_ratio if isinstance(written, Measured) else None,
        ),
        # A thread computes and waits for the device. How long it waits now holds for the present
        # load; at saturation it is what the device takes for its bytes when nobody else writes.
        _use(
            "flush_threads",
            "thread seconds",
            flush_cpu + per_put.flush / device,
            float(tree.max_background_flushes),
            "cpu and device time per byte",
        ),
        _use(
            "cpu",
            "core seconds",
            cpu,
            host.cpu_cores,
            inputs.sources.get("compaction_cpu_seconds_per_byte", "prior"),
        ),
        _use(
            "writer",
            "thread seconds",
            costs.writer_seconds_per_put,
            1.0,
            inputs.sources.get("foreground_cpu_seconds_per_put", "prior"),
        ),
    ]
    if costs.wal_sync_seconds_per_put > 0:
        uses.append(
            _use(
                "wal_sync",
                "seconds of sync",
                costs.wal_sync_seconds_per_put,
                1.0,
                inputs.sources.get("wal_sync", "prior"),
            )
        )
    if per_put.compaction > 0:
        uses.append(_compaction_threads(inputs, demands, per_put, compaction_cpu))
    if tree.rate_limiter_bytes_per_second is not None:
        uses.append(
            _use(
                "rate_limiter",
                "bytes",
                per_put.flush + per_put.compaction,
                tree.rate_limiter_bytes_per_second,
                inputs.sources.get("rate_limiter", "options"),
            )
        )
    return [use for use in uses if use is not None]


def _compaction_threads(
    inputs: ModelInputs, demands: Demands, per_put: SaturatedBytes, compaction_cpu: float
) -> ResourceUse | None:
    """All slots for all merges, or one merge of level 0 at a time, whichever gives less.

    Two merges out of level 0 never run at once (db/compaction/compaction_picker_level.cc:
    level0_compactions_in_progress); subcompactions split one.
    """
    tree, device = inputs.options, inputs.host.device_write_bytes_per_second
    demand = compaction_cpu + per_put.compaction / device
    slots = float(tree.max_background_compactions)
    source = "cpu and device time per byte"
    share = demands.level0_output_share if tree.style == "level" else None
    if share:
        serial = tree.max_subcompactions / share
        if serial < slots:
            slots = serial
            source += "; merges of level 0 run one at a time"
    return _use("compaction_threads", "thread seconds", demand, slots, source)


def _use(
    resource: str,
    unit: str,
    demand: float,
    free_capacity: float,
    source: str,
    spread_ratio: float | None = None,
) -> ResourceUse | None:
    if demand <= 0 or not math.isfinite(demand):
        return None
    rate = ETA[resource] * free_capacity / demand
    return ResourceUse(resource, unit, demand, free_capacity, rate, source, spread_ratio)


def _advice(inputs: ModelInputs, per_put: SaturatedBytes, uses: list[ResourceUse]) -> str:
    first = uses[0]
    rate = f"{first.puts_per_second:,.0f} puts/s"
    share = per_put.compaction / per_put.written if per_put.written > 0 else 0.0
    spent = f"{share:.0%} of each put's {per_put.written / 1000:.1f} KB is compaction"
    slots = inputs.options.max_background_compactions
    sentence = {
        "device_write": f"Device-bound at {rate}: {spent}; a faster device, better compression or "
        "larger memtables and level 1 would lift it",
        "rate_limiter": f"Bound by RocksDB's own rate limiter at {rate}: {spent}; a higher limit "
        "would lift it",
        "compaction_threads": f"Compaction-bound at {rate}: "
        f"{slots} compaction{'s' if slots > 1 else ''} at a time cannot keep up; more background "
        "jobs or subcompactions, or cheaper compression, would lift it",
        "flush_threads": f"Flush-bound at {rate}: more background jobs or cheaper compression of "
        "level 0 would lift it",
        "cpu": f"CPU-bound at {rate}: a put costs {first.demand * 1e6:.0f} core-µs and "
        f"{first.free_capacity:.1f} cores are free; cheaper compression or more cores would lift "
        "it",
        "writer": f"Bound by the write path at {rate}: larger write batches, more writing threads "
        "or enable_pipelined_write would lift it",
        "wal_sync": f"Bound by the WAL's syncs at {rate}: {first.demand * 1e6:,.0f} µs of sync per "
        "put; larger write batches, more writers that share a sync, or a faster device would lift "
        "it",
    }[first.resource]
    if len(uses) > 1:
        following = uses[1]
        name = following.resource.replace("_", " ")
        sentence += f"; next limit: {name} at {following.puts_per_second:,.0f} puts/s"
    return sentence + "."
