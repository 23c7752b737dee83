"""The options of a column family as RocksDB resolves them: zeros, legacy options, defaults. Pure.

Sources: db/column_family.cc (SanitizeOptions), db/db_impl/db_impl_open.cc (SanitizeOptions),
db/db_impl/db_impl_compaction_flush.cc (GetBGJobLimits), options/cf_options.cc
(RefreshDerivedOptions), include/rocksdb/options.h and advanced_options.h (defaults).
"""

from typing import Final, Literal

import msgspec

from agent.forecast.pending import level_count, level_multiplier
from agent.models.lsm import TreeOptions
from agent.models.prediction import MIB
from probes.rocksdb.options_samples import ColumnFamilyOptions, OptionsSample

DEFAULT_MAX_BACKGROUND_JOBS: Final = 2
DEFAULT_DELAYED_WRITE_RATE: Final = 16 * MIB
COMPACTION_BYTES_PER_TARGET_FILE: Final = 25.0
NO_LIMIT: Final = float(2**62)
"""Stands for a limit that is switched off (0 in the OPTIONS): more than any database holds."""

NEVER: Final = 2**30
"""A trigger that no number of files reaches: stands for "no compaction"."""

DYNAMIC_LEVELS_SINCE: Final = (8, 4)
"""From this version on, level_compaction_dynamic_level_bytes is on unless set."""


def column_family_options(options: OptionsSample, name: str | None) -> ColumnFamilyOptions | None:
    """The options of the named column family, else of "default", else of the only one."""
    by_name = {family.name: family for family in options.column_families}
    if name in by_name:
        return by_name[name]
    if "default" in by_name:
        return by_name["default"]
    return options.column_families[0] if len(options.column_families) == 1 else None


def background_slots(options: OptionsSample) -> tuple[int, int]:
    """(flushes, compactions) that may run at once while writes are under pressure.

    Without pressure RocksDB runs one compaction at a time whatever is allowed; at saturation, which
    is what matters here, all of them.
    """
    flushes, compactions = options.max_background_flushes, options.max_background_compactions
    jobs = options.max_background_jobs
    if jobs is None and flushes is None and compactions is None:
        jobs = DEFAULT_MAX_BACKGROUND_JOBS
    # Before 5.15 there is no max_background_jobs, and the two are never -1.
    if (flushes is None or flushes == -1) and (compactions is None or compactions == -1):
        jobs = DEFAULT_MAX_BACKGROUND_JOBS if jobs is None else jobs
        flushes = max(1, jobs // 4)
        return flushes, max(1, jobs - flushes)
    return max(1, flushes or 1), max(1, compactions or 1)


def rate_limiter_rate(options: OptionsSample, *, configured: bool | None) -> float | None:
    """What the rate limiter most likely allows, bytes/s; None when there is none, or no telling.

    RocksDB sets an unset delayed_write_rate to the limiter's rate, and writes the result to the
    OPTIONS: a value other than the default of 16 MiB/s tells it, unless the operator set one.
    """
    rate = options.delayed_write_rate
    if not configured or not rate or rate == DEFAULT_DELAYED_WRITE_RATE:
        return None
    return float(rate)


def resolved_tree(
    options: OptionsSample, family: ColumnFamilyOptions, *, wal_enabled: bool = True
) -> TreeOptions:
    """The options in force. A style other than "universal" is taken as "level"."""
    default = TreeOptions()
    target = float(family.target_file_size_base or default.target_file_size_base)
    trigger = _or(family.level0_file_num_compaction_trigger, 4)
    slowdown = max(trigger, _or(family.level0_slowdown_writes_trigger, 20))
    stop = max(slowdown, _or(family.level0_stop_writes_trigger, 36))
    hard = family.hard_pending_compaction_bytes_limit
    soft = family.soft_pending_compaction_bytes_limit
    hard_limit = default.hard_pending_compaction_bytes_limit if hard is None else float(hard)
    soft_limit = default.soft_pending_compaction_bytes_limit if soft is None else float(soft)
    if soft_limit == 0 or (hard_limit > 0 and soft_limit > hard_limit):
        soft_limit = hard_limit
    universal = family.universal
    flushes, compactions = background_slots(options)
    style: Literal["level", "universal"] = (
        "universal" if family.compaction_style == "universal" else "level"
    )
    dynamic = family.level_compaction_dynamic_level_bytes
    write_buffers = max(2, _or(family.max_write_buffer_number, default.max_write_buffer_number))
    tree = TreeOptions(
        style=style,
        write_buffer_bytes=float(family.write_buffer_bytes or default.write_buffer_bytes),
        max_write_buffer_number=write_buffers,
        min_write_buffer_number_to_merge=max(
            1, min(_or(family.min_write_buffer_number_to_merge, 1), write_buffers - 1)
        ),
        level0_file_num_compaction_trigger=max(1, trigger),
        level0_slowdown_writes_trigger=slowdown,
        level0_stop_writes_trigger=stop,
        soft_pending_compaction_bytes_limit=soft_limit or NO_LIMIT,
        hard_pending_compaction_bytes_limit=hard_limit or NO_LIMIT,
        num_levels=max(2 if style == "level" else 1, level_count(family.num_levels)),
        max_bytes_for_level_base=float(
            family.max_bytes_for_level_base or default.max_bytes_for_level_base
        ),
        max_bytes_for_level_multiplier=level_multiplier(family.max_bytes_for_level_multiplier),
        level_compaction_dynamic_level_bytes=(
            style == "level" and (_version(options.rocksdb_version) >= DYNAMIC_LEVELS_SINCE)
            if dynamic is None
            else style == "level" and dynamic
        ),
        target_file_size_base=target,
        target_file_size_multiplier=float(family.target_file_size_multiplier or 1),
        max_compaction_bytes=float(
            family.max_compaction_bytes or COMPACTION_BYTES_PER_TARGET_FILE * target
        ),
        max_background_flushes=flushes,
        max_background_compactions=compactions,
        max_subcompactions=max(1, _or(options.max_subcompactions, 1)),
        delayed_write_rate_bytes_per_second=float(
            options.delayed_write_rate or DEFAULT_DELAYED_WRITE_RATE
        ),
        wal_enabled=wal_enabled,
        compression=bulk_compression(family),
    )
    if universal is None:
        return tree
    return msgspec.structs.replace(
        tree,
        universal_size_ratio_percent=float(_or(universal.size_ratio_percent, 1)),
        universal_min_merge_width=_or(universal.min_merge_width, 2),
        universal_max_merge_width=_or(universal.max_merge_width, default.universal_max_merge_width),
        universal_max_size_amplification_percent=float(
            _or(universal.max_size_amplification_percent, 200)
        ),
    )


def bulk_compression(family: ColumnFamilyOptions) -> str | None:
    """Compression of the last level, where most of the data lies."""
    if family.bottommost_compression is not None:
        return family.bottommost_compression
    if family.compression_per_level:
        return family.compression_per_level[-1]
    return family.compression


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _version(text: str | None) -> tuple[int, int]:
    parts = (text or "").split(".")
    if len(parts) < 2 or not all(part.isdigit() and len(part) < 9 for part in parts[:2]):
        return (0, 0)
    return int(parts[0]), int(parts[1])
