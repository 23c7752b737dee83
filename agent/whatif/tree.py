"""What a change of RocksDB's options does to the tree's options, as RocksDB resolves them. Pure.

Source: db/column_family.cc (SanitizeOptions), db/db_impl/db_impl_compaction_flush.cc
(GetBGJobLimits).
"""

from typing import Final

from msgspec.structs import replace

from agent.explain.quantity_text import bandwidth_text, byte_text
from agent.whatif.change import Change
from agent.whatif.draft import Draft

COMPACTION_BYTES_PER_TARGET_FILE: Final = 25.0
"""RocksDB's max_compaction_bytes, unless set: this many target files."""


def change_slots(draft: Draft, change: Change) -> None:
    """Background jobs and subcompactions."""
    options = draft.options
    if change.max_background_jobs is not None:
        # DBImpl::GetBGJobLimits: a quarter of the jobs for flushes, the rest for compactions.
        flushes = max(1, change.max_background_jobs // 4)
        compactions = max(1, change.max_background_jobs - flushes)
        draft.changes.append(
            f"background jobs: {options.max_background_flushes} flush + "
            f"{options.max_background_compactions} compaction -> {flushes} + {compactions}"
        )
        options = replace(
            options, max_background_flushes=flushes, max_background_compactions=compactions
        )
    if change.max_subcompactions is not None:
        draft.changes.append(
            f"subcompactions: {options.max_subcompactions} -> {change.max_subcompactions}"
        )
        options = replace(options, max_subcompactions=change.max_subcompactions)
    draft.options = options


def change_buffers(draft: Draft, change: Change) -> None:
    """Size and number of the memtables."""
    options, costs = draft.options, draft.costs
    if change.write_buffer_bytes is not None:
        factor = change.write_buffer_bytes / options.write_buffer_bytes
        draft.changes.append(
            f"write buffer: {byte_text(options.write_buffer_bytes)} -> "
            f"{byte_text(change.write_buffer_bytes)}"
        )
        options = replace(options, write_buffer_bytes=change.write_buffer_bytes)
        # What a flush takes in follows the buffer, also where it is less than the whole of it.
        costs = replace(costs, flush_user_bytes=costs.flush_user_bytes * factor)
    if change.max_write_buffer_number is not None:
        number = change.max_write_buffer_number
        draft.changes.append(f"write buffers: {options.max_write_buffer_number} -> {number}")
        options = replace(
            options,
            max_write_buffer_number=number,
            min_write_buffer_number_to_merge=max(
                1, min(options.min_write_buffer_number_to_merge, number - 1)
            ),
        )
    draft.options, draft.costs = options, costs


def change_levels(draft: Draft, change: Change) -> None:
    """Triggers, level sizes, compaction style, rate limiter."""
    options = draft.options
    wanted = (
        change.level0_compaction or options.level0_file_num_compaction_trigger,
        change.level0_slowdown or options.level0_slowdown_writes_trigger,
        change.level0_stop or options.level0_stop_writes_trigger,
    )
    now = (
        options.level0_file_num_compaction_trigger,
        options.level0_slowdown_writes_trigger,
        options.level0_stop_writes_trigger,
    )
    if wanted != now:
        compaction, slowdown, stop = wanted
        slowdown = max(compaction, slowdown)
        stop = max(slowdown, stop)
        if (compaction, slowdown, stop) != wanted:
            draft.notes.append(
                "RocksDB raises the slowdown trigger to the compaction trigger and the stop "
                "trigger to the slowdown trigger: so does this"
            )
        draft.changes.append(
            "level-0 triggers (compaction, slowdown, stop): "
            f"{now[0]}, {now[1]}, {now[2]} -> {compaction}, {slowdown}, {stop}"
        )
        options = replace(
            options,
            level0_file_num_compaction_trigger=compaction,
            level0_slowdown_writes_trigger=slowdown,
            level0_stop_writes_trigger=stop,
        )
    if change.level_base_bytes is not None:
        draft.changes.append(
            f"level base: {byte_text(options.max_bytes_for_level_base)} -> "
            f"{byte_text(change.level_base_bytes)}"
        )
        options = replace(options, max_bytes_for_level_base=change.level_base_bytes)
    if change.level_multiplier is not None:
        draft.changes.append(
            f"level multiplier: {options.max_bytes_for_level_multiplier:g} -> "
            f"{change.level_multiplier:g}"
        )
        options = replace(options, max_bytes_for_level_multiplier=change.level_multiplier)
    if change.target_file_bytes is not None:
        derived = COMPACTION_BYTES_PER_TARGET_FILE
        draft.changes.append(
            f"target file: {byte_text(options.target_file_size_base)} -> "
            f"{byte_text(change.target_file_bytes)}"
        )
        unset = options.max_compaction_bytes == derived * options.target_file_size_base
        options = replace(
            options,
            target_file_size_base=change.target_file_bytes,
            max_compaction_bytes=(
                derived * change.target_file_bytes if unset else options.max_compaction_bytes
            ),
        )
    if change.style is not None and change.style != options.style:
        draft.changes.append(f"compaction style: {options.style} -> {change.style}")
        draft.notes.append(
            "the rate is that of the tree once it has settled under the new style; the way there, "
            "a rewrite of the whole database, is not in it"
        )
        options = replace(
            options,
            style=change.style,
            level_compaction_dynamic_level_bytes=(
                options.level_compaction_dynamic_level_bytes and change.style == "level"
            ),
        )
    if change.rate_limit_bytes_per_second is not None:
        limit = change.rate_limit_bytes_per_second or None
        old = options.rate_limiter_bytes_per_second
        draft.changes.append(
            f"rate limiter: {'none' if old is None else bandwidth_text(old)} -> "
            f"{'none' if limit is None else bandwidth_text(limit)}"
        )
        options = replace(options, rate_limiter_bytes_per_second=limit)
    draft.options = options
