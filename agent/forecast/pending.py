"""RocksDB's estimate of the bytes that compactions owe, computed from outside.

RocksDB decides about delays and stops with ``estimated_compaction_needed_bytes``, which it
recomputes whenever the set of table files changes. Everything it needs stands in the MANIFEST
(bytes and files per level) and in the OPTIONS, so the value is exact at every tick, where a
secondary instance says it once a minute. Interface: ``estimated_pending_compaction_bytes``,
``level_limits`` and ``stall_file_count``, for the shape in a MANIFEST; ``pending_bytes_of`` and
``limits_of`` are the same for mere sizes, as the simulator has them.

Source: facebook/rocksdb, db/version_set.cc, VersionStorageInfo::EstimateCompactionBytesNeeded and
CalculateBaseBytes, the same in 6.29, 7.8, 9.8 and 11.x.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.models.lsm import TreeOptions
from probes.rocksdb.samples import ColumnFamilyShape, LevelShape

MOST_LEVELS: Final = 100
MULTIPLIERS: Final = (0.01, 1000.0)
"""No tree is like that. Within these, the target of no level leaves the range of a number."""


def level_count(num_levels: int | None) -> int:
    """The option as it can be used; RocksDB's default where it is not said."""
    return 7 if num_levels is None else min(MOST_LEVELS, max(1, num_levels))


def level_multiplier(value: float | None) -> float:
    """max_bytes_for_level_multiplier as it can be used: what is not positive RocksDB takes for 1
    (db/column_family.cc, SanitizeOptions)."""
    if value is None:
        return 10.0
    least, most = MULTIPLIERS
    return min(most, max(least, value)) if value > 0.0 else 1.0


@dataclass(frozen=True, slots=True)
class LevelOptions:
    """The options of one column family that the estimate depends on.

    ``style`` is "level", "universal" or "fifo". Defaults are RocksDB's
    (rocksdb/advanced_options.h); ``level_compaction_dynamic_level_bytes`` became true by default
    in 8.4, so it has no default here. ``multiplier_additional`` is
    max_bytes_for_level_multiplier_additional.
    """

    level_compaction_dynamic_level_bytes: bool
    style: str = "level"
    num_levels: int = 7
    level0_file_num_compaction_trigger: int = 4
    max_bytes_for_level_base: float = 256 * 1048576.0
    max_bytes_for_level_multiplier: float = 10.0
    multiplier_additional: tuple[float, ...] = ()


def level_options(tree: TreeOptions) -> LevelOptions:
    """The part of a tree's options that the estimate depends on."""
    return LevelOptions(
        level_compaction_dynamic_level_bytes=tree.level_compaction_dynamic_level_bytes,
        style=tree.style,
        num_levels=tree.num_levels,
        level0_file_num_compaction_trigger=tree.level0_file_num_compaction_trigger,
        max_bytes_for_level_base=tree.max_bytes_for_level_base,
        max_bytes_for_level_multiplier=tree.max_bytes_for_level_multiplier,
    )


@dataclass(frozen=True, slots=True)
class LevelLimits:
    """Target bytes of every level (infinite: no compaction from there) and L0's output level."""

    base_level: int
    target_bytes: tuple[float, ...]


def estimated_pending_compaction_bytes(
    levels: Sequence[LevelShape], options: LevelOptions
) -> float:
    """Bytes that compactions would have to read to bring all levels under their targets.

    0 for universal and FIFO compaction, as in RocksDB, which knows the estimate for leveled
    compaction only: there, no limit on pending bytes ever stalls a write.
    """
    if options.style != "level":
        return 0.0
    sizes = _sizes(levels, options.num_levels)
    files = levels[0].files if levels else 0
    return pending_bytes_of(files, sizes, limits_of(sizes, options), options)


def pending_bytes_of(
    level0_files: int, sizes: Sequence[float], limits: LevelLimits, options: LevelOptions
) -> float:
    """The same for leveled compaction, by the bytes of every level."""
    triggered = (
        level0_files >= options.level0_file_num_compaction_trigger
        or sizes[0] >= options.max_bytes_for_level_base
    )
    owed = carried = sizes[0] if triggered else 0.0
    # RocksDB's loop ends before the last level, which has nowhere to go.
    for level in range(limits.base_level, options.num_levels - 1):
        size = sizes[level]
        if level == limits.base_level and triggered:
            owed += size
        size += carried
        carried = 0.0
        if size > limits.target_bytes[level]:
            carried = size - limits.target_bytes[level]
            following = sizes[level + 1]
            if following > 0:
                owed += math.floor(carried * (following / size + 1.0))  # RocksDB's cast to uint64
    return owed


def level_limits(levels: Sequence[LevelShape], options: LevelOptions) -> LevelLimits:
    """Each level's target and the level that takes L0's files, for leveled compaction."""
    return limits_of(_sizes(levels, options.num_levels), options)


def limits_of(sizes: Sequence[float], options: LevelOptions) -> LevelLimits:
    """The same by the bytes of every level."""
    if not options.level_compaction_dynamic_level_bytes:
        return _static_limits(options)
    base_bytes = options.max_bytes_for_level_base
    multiplier = options.max_bytes_for_level_multiplier
    last = options.num_levels - 1
    targets = [math.inf] * options.num_levels
    largest = max(sizes[1:], default=0.0)
    if largest <= 0:
        return LevelLimits(last, tuple(targets))
    first = next(level for level in range(1, options.num_levels) if sizes[level] > 0)
    size = largest
    for _ in range(first, last):
        size = math.floor(size / multiplier)
    base_level = first
    smallest_base = math.floor(base_bytes / multiplier)
    if size <= smallest_base:
        base_size = smallest_base + 1.0
    else:
        while base_level > 1 and size > base_bytes:
            base_level -= 1
            size = math.floor(size / multiplier)
        base_size = base_bytes if size > base_bytes else max(1.0, size)
    for level in range(base_level, options.num_levels):
        targets[level] = max(base_size * multiplier ** (level - base_level), base_bytes)
    return LevelLimits(base_level, tuple(targets))


def _static_limits(options: LevelOptions) -> LevelLimits:
    targets = [options.max_bytes_for_level_base] * options.num_levels
    for level in range(2, options.num_levels):
        extra = options.multiplier_additional
        factor = extra[level - 1] if level - 1 < len(extra) else 1.0
        targets[level] = targets[level - 1] * options.max_bytes_for_level_multiplier * factor
    return LevelLimits(1, tuple(targets))


def stall_file_count(family: ColumnFamilyShape, style: str) -> int:
    """What RocksDB holds against the L0 triggers: L0's files, plus one per run if universal.

    db/version_set.cc, CalculateBaseBytes: l0_delay_trigger_count.
    """
    files = family.levels[0].files if family.levels else 0
    if style == "universal":
        files += sum(1 for level in family.levels[1:] if level.files)
    return files


def _sizes(levels: Sequence[LevelShape], num_levels: int) -> list[float]:
    """Bytes by level; the MANIFEST tells only of levels that ever held a file."""
    sizes = [float(level.bytes) for level in levels[:num_levels]]
    return sizes + [0.0] * (num_levels - len(sizes))
