"""Does a load fit: against S_max, against the disk, and when would it stall.

Interface: ``plan(inputs, s_max, put_rate, duration_seconds, filesystem_free_bytes, ...)`` answers
``smaxd whatif --put-rate +X --duration T`` with one frozen ``Plan``; ``write_fit`` is its first
half alone. ``stall_room`` says how much debt the tree can take before RocksDB slows writes; the
forecast of stalls uses it too. All pure; SI base units.
"""

import math
from dataclasses import dataclass
from typing import Literal

from agent.forecast.pending import (
    estimated_pending_compaction_bytes,
    level_limits,
    level_options,
    stall_file_count,
)
from agent.models.lsm import ALL_KEYS_NEW_BYTES, ModelInputs, TreeCosts, TreeShape
from agent.workload import MEMTABLE_OVERHEAD_BYTES
from probes.rocksdb.samples import ColumnFamilyShape, LevelShape

Verdict = Literal["fits", "uncertain", "does not fit"]


@dataclass(frozen=True, slots=True)
class SMaxInterval:
    """S_max with the ends of its 90 % interval, puts/s."""

    puts_per_second: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class WriteFit:
    """A put rate against S_max.

    Margins are 1 - put rate / S_max, negative above it: ``margin_ratio`` by the value,
    ``margin_lower_ratio`` by the interval's lower end (what to plan with) and
    ``margin_upper_ratio`` by its upper. ``verdict``: "fits" at or below the lower end, "does not
    fit" above the upper, "uncertain" between them.
    """

    put_rate: float
    verdict: Verdict
    margin_ratio: float
    margin_lower_ratio: float
    margin_upper_ratio: float


@dataclass(frozen=True, slots=True)
class StallRoom:
    """What can still be written ahead of the compactions until RocksDB delays writes.

    ``puts`` is the smaller of the room in L0 files and in pending bytes, ``cause`` which of the two
    it is; infinite and None where no limit is set.
    """

    puts: float
    cause: Literal["l0_files", "pending_compaction_bytes"] | None


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes by the end of the load, for one assumption about the share of new keys.

    ``growth_bytes`` is what stays: tables of keys that were not there before, and their WAL until
    flushed. ``temporary_bytes`` comes and goes: a compaction's output stands beside its input until
    it is done. ``full_after_seconds`` is when both together exceed the free bytes, None when not
    within the duration.
    """

    new_key_ratio: float
    growth_bytes: float
    temporary_bytes: float
    free_after_bytes: float
    full_after_seconds: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer to "can it take this load for so long?".

    ``disk`` has one entry per assumption about new keys, from best to worst: one when the share is
    known, else the bounds 0 and 1. ``stall_after_seconds`` is the time to the first delay by the
    value of S_max, None when not within the duration; ``stall_earliest_seconds`` the same by the
    interval's lower end. ``caveats`` name what was not known and what was taken instead.
    """

    fit: WriteFit
    duration_seconds: float
    puts: float
    user_bytes: float
    stall_after_seconds: float | None
    stall_earliest_seconds: float | None
    stall_cause: str | None
    disk: tuple[DiskUse, ...]
    disk_fits: bool | None  # None: it depends on the share of new keys
    caveats: tuple[str, ...]


def write_fit(put_rate: float, s_max: SMaxInterval) -> WriteFit:
    """Compare a put rate with S_max and both ends of its interval.

    Raises ValueError when a rate is negative or not finite, or the interval is not ordered.
    """
    if not (0.0 <= put_rate < math.inf):
        raise ValueError(f"the put rate is {put_rate}, it must be finite and not negative")
    if not (0.0 < s_max.lower <= s_max.puts_per_second <= s_max.upper < math.inf):
        raise ValueError(f"{s_max} is not an interval around a positive rate")
    if put_rate <= s_max.lower:
        verdict: Verdict = "fits"
    elif put_rate <= s_max.upper:
        verdict = "uncertain"
    else:
        verdict = "does not fit"
    return WriteFit(
        put_rate,
        verdict,
        1.0 - put_rate / s_max.puts_per_second,
        1.0 - put_rate / s_max.lower,
        1.0 - put_rate / s_max.upper,
    )


def plan(
    inputs: ModelInputs,
    s_max: SMaxInterval,
    put_rate: float,
    duration_seconds: float,
    filesystem_free_bytes: float,
    new_key_ratio: float | None = None,
) -> Plan:
    """What ``put_rate`` (in all, not on top of the present one) for so long would do.

    ``new_key_ratio`` is the share of puts whose key was not there before, None when not known: the
    disk is then planned for both bounds. Raises ValueError on input outside its range.
    """
    if not (0.0 < duration_seconds < math.inf):
        raise ValueError(f"the duration is {duration_seconds} s, it must be positive and finite")
    if not (0.0 <= filesystem_free_bytes < math.inf):
        raise ValueError(f"{filesystem_free_bytes} free bytes: must be finite and not negative")
    if new_key_ratio is not None and not (0.0 <= new_key_ratio <= 1.0):
        raise ValueError(f"the share of new keys is {new_key_ratio}, it must be within 0..1")
    fit = write_fit(put_rate, s_max)
    room = stall_room(inputs)
    ratios = (0.0, 1.0) if new_key_ratio is None else (new_key_ratio,)
    disk = tuple(
        _disk_use(inputs, put_rate, duration_seconds, filesystem_free_bytes, ratio)
        for ratio in ratios
    )
    full = [use.full_after_seconds is not None for use in disk]
    stall_earliest = _stall_after(put_rate, s_max.lower, room, duration_seconds)
    caveats = [f"{missing.name}: {missing.fallback}" for missing in inputs.missing]
    if new_key_ratio is None:
        caveats.append(
            "the share of new keys is not known: the disk is planned for overwrites only and for "
            "new keys only"
        )
    return Plan(
        fit=fit,
        duration_seconds=duration_seconds,
        puts=put_rate * duration_seconds,
        user_bytes=put_rate * duration_seconds * inputs.costs.record_bytes,
        stall_after_seconds=_stall_after(put_rate, s_max.puts_per_second, room, duration_seconds),
        stall_earliest_seconds=stall_earliest,
        stall_cause=room.cause if stall_earliest is not None else None,
        disk=disk,
        disk_fits=not full[0] if len(set(full)) == 1 else None,
        caveats=tuple(caveats),
    )


def new_key_ratio(inputs: ModelInputs, puts: float) -> float | None:
    """The share of so many puts whose key is not stored yet; None where the key space is not known.

    Keys are taken as drawn evenly from the key space that merges have shown. Of its ``K`` bytes the
    levels, as random samples of it, hold ``K * (1 - product(1 - n_i / K))``; a put brings a new key
    with the share that is left, which shrinks as it fills.
    """
    costs = inputs.costs
    key_space = costs.key_space_bytes
    table_bytes = _flush_bytes_per_put(costs) * costs.flush_output_ratio
    written = puts * table_bytes
    if key_space is None or key_space <= 0.0 or written <= 0.0:
        return None
    if key_space >= ALL_KEYS_NEW_BYTES:
        return 1.0
    absent = key_space * math.prod(
        max(0.0, 1.0 - size / key_space) for size in inputs.shape.level_bytes
    )
    return min(1.0, absent * -math.expm1(-written / key_space) / written)


def stall_room(inputs: ModelInputs) -> StallRoom:
    """Puts beyond what compaction digests until the first delay, from the present shape.

    L0: one file per flush. Pending bytes: what waits has still to be rewritten once per level below
    it, and each byte carried down is merged with up to the size ratio of the next level
    (``_owed_bytes_per_put``). A memtable stall needs no debt and has no room; it is not in here.
    """
    options, costs = inputs.options, inputs.costs
    levels = _levels(inputs.shape)
    rooms: list[StallRoom] = []
    puts_per_flush = costs.flush_user_bytes / _flush_bytes_per_put(costs)
    runs = stall_file_count(ColumnFamilyShape(inputs.column_family, levels), options.style)
    if options.level0_slowdown_writes_trigger >= 0:
        # Up to the compaction trigger, files wait by design and are no debt.
        standing = max(runs, options.level0_file_num_compaction_trigger)
        files = max(0, options.level0_slowdown_writes_trigger - standing)
        rooms.append(StallRoom(files * puts_per_flush, "l0_files"))
    soft = options.soft_pending_compaction_bytes_limit
    if options.style == "level" and soft > 0:
        pending = estimated_pending_compaction_bytes(levels, level_options(options))
        owed = _owed_bytes_per_put(inputs)
        if owed > 0:
            rooms.append(StallRoom(max(0.0, soft - pending) / owed, "pending_compaction_bytes"))
    return min(rooms, key=lambda room: room.puts, default=StallRoom(math.inf, None))


def _owed_bytes_per_put(inputs: ModelInputs) -> float:
    """What one put adds to RocksDB's estimate of pending bytes while nothing is compacted.

    Its bytes as table, carried through every level that is at its target already, each time with
    the following level's share (EstimateCompactionBytesNeeded: carried * (next / level + 1)).
    """
    options = level_options(inputs.options)
    sizes = [*inputs.shape.level_bytes, *([0.0] * options.num_levels)][: options.num_levels]
    limits = level_limits(_levels(inputs.shape), options)
    table_bytes = _flush_bytes_per_put(inputs.costs) * inputs.costs.flush_output_ratio
    owed = table_bytes
    for level in range(limits.base_level, options.num_levels - 1):
        target = limits.target_bytes[level]
        if sizes[level + 1] <= 0 or not math.isfinite(target):
            break
        owed += table_bytes * (sizes[level + 1] / max(sizes[level], target) + 1.0)
    return owed


def _flush_bytes_per_put(costs: TreeCosts) -> float:
    """One put as flushes count it, by total_data_size."""
    return costs.record_bytes + MEMTABLE_OVERHEAD_BYTES


def _stall_after(
    put_rate: float, sustainable: float, room: StallRoom, duration_seconds: float
) -> float | None:
    if put_rate <= sustainable or not math.isfinite(room.puts):
        return None
    seconds = room.puts / (put_rate - sustainable)
    return seconds if seconds <= duration_seconds else None


def _disk_use(
    inputs: ModelInputs,
    put_rate: float,
    duration_seconds: float,
    free_bytes: float,
    new_key_ratio: float,
) -> DiskUse:
    """Growth and temporary space at the end, and when they no longer fit.

    The growth is linear. The temporary space is constant for leveled compaction and grows with the
    database for universal, whose largest merge writes all of it a second time.
    """
    costs = inputs.costs
    table_bytes = (
        _flush_bytes_per_put(costs) * costs.flush_output_ratio * costs.compaction_output_ratio
    )
    growth_per_second = put_rate * table_bytes * new_key_ratio
    growth = growth_per_second * duration_seconds
    stored = sum(inputs.shape.level_bytes)
    temporary_now = _temporary_bytes(inputs, stored)
    temporary = _temporary_bytes(inputs, stored + growth)
    slope = growth_per_second + (temporary - temporary_now) / duration_seconds
    if temporary_now > free_bytes:
        full: float | None = 0.0
    elif slope <= 0:
        full = None
    else:
        seconds = (free_bytes - temporary_now) / slope
        full = seconds if seconds <= duration_seconds else None
    return DiskUse(new_key_ratio, growth, temporary, free_bytes - growth, full)


def _temporary_bytes(inputs: ModelInputs, stored_bytes: float) -> float:
    """Output of the largest compactions that can run at once, beside inputs not yet deleted.

    Universal: a merge of all runs (space amplification up to 2). Leveled: L0 up to its stop trigger
    with the level that takes it, and on every other slot a compaction that RocksDB expands up to
    ``max_compaction_bytes`` (rocksdb/advanced_options.h). Never more than what is stored. Flushes
    and the WALs of all memtables come on top.
    """
    options, costs = inputs.options, inputs.costs
    flush = costs.flush_user_bytes * costs.flush_output_ratio
    buffers = options.max_write_buffer_number * options.write_buffer_bytes
    if options.style == "universal":
        return stored_bytes + flush + buffers
    level0_files = max(
        options.level0_stop_writes_trigger, options.level0_file_num_compaction_trigger
    )
    base_bytes = options.max_bytes_for_level_base
    merges = (
        level0_files * flush
        + base_bytes
        + (options.max_background_compactions - 1) * options.max_compaction_bytes
    )
    if costs.overlap_ratio <= 0:
        merges = 0.0  # tables are moved down, not rewritten
    return min(merges, stored_bytes + level0_files * flush) + flush + buffers


def _levels(shape: TreeShape) -> tuple[LevelShape, ...]:
    return tuple(
        LevelShape(files, int(size))
        for files, size in zip(shape.level_files, shape.level_bytes, strict=True)
    )
