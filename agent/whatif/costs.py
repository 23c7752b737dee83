"""What larger values, another compression or no WAL do to the costs of a put. Pure.

Costs that were never measured under the change come from the priors here and in
``agent.whatif.compression_prior``; the draft's ``lean`` says which end of their ranges to take.
"""

import math
from typing import Final

from msgspec.structs import replace

from agent.explain.quantity_text import byte_text
from agent.models.lsm import ALL_KEYS_NEW_BYTES, TreeShape
from agent.whatif import compression_prior
from agent.whatif.compression_prior import Lean, Range
from agent.whatif.draft import Draft
from agent.workload import MEMTABLE_OVERHEAD_BYTES

KEY_BYTES: Final = Range(48.0, 24.0, 10.0)
"""A key's size where it was not measured: between the means of Meta's UDB (27 B), ZippyDB (48 B)
and UP2X (10 B) (Cao et al., FAST 2020, table of key and value sizes)."""

WAL_OVERHEAD_BYTES: Final = 22.0
"""What a single put adds to its record in the WAL: record header 7, batch header 12, tag 1, two
length bytes (db/log_format.h, db/write_batch.cc); less where writers share a group."""

WRITE_PATH_SECONDS_PER_BYTE: Final = Range(3e-9, 1e-9, 0.0)
"""What a further value byte adds to the write path: copies into the WAL's buffer, the page cache
and the memtable, and a checksum, each at a few GB/s per core."""

PER_RECORD_SHARE: Final = Range(0.0, 0.5, 1.0)
"""How much of a merge's CPU per byte is really per record (comparing keys) and so falls with larger
records, as an exponent on the record size: 0 all per byte, 1 all per record. For smaller records
the ends swap."""

UNMEASURED_COMPRESSION_RATIO: Final = 0.95
"""Tables at least this large per user byte are taken for uncompressed where OPTIONS do not say."""


def change_wal(draft: Draft, *, enabled: bool) -> None:
    """The write-ahead log switched on or off."""
    if enabled == draft.options.wal_enabled:
        return
    draft.changes.append(f"WAL: {'off -> on' if enabled else 'on -> off'}")
    draft.options = replace(draft.options, wal_enabled=enabled)
    if not enabled:
        draft.costs = replace(draft.costs, wal_bytes_per_put=0.0)
        draft.notes.append(
            "without a WAL the write path costs less CPU than measured: by how much is not known "
            "and not in the figure; what is not flushed is lost with the process"
        )
    elif draft.costs.wal_bytes_per_put <= 0.0:
        draft.costs = replace(
            draft.costs, wal_bytes_per_put=draft.costs.record_bytes + WAL_OVERHEAD_BYTES
        )
        draft.notes.append(
            f"the WAL's cost was not measured: record and {WAL_OVERHEAD_BYTES:.0f} B are assumed, "
            "unsynced"
        )


def change_value(draft: Draft, value_bytes: float) -> None:
    """Larger or smaller values; the key stays, and so do per-record overheads."""
    costs = draft.costs
    key = costs.key_bytes
    if key is None:
        key = min(KEY_BYTES.at(draft.lean), costs.record_bytes / 2.0)
        draft.notes.append(
            f"the key's size was not measured: {KEY_BYTES.likely:.0f} B "
            f"({KEY_BYTES.optimistic:.0f} to {KEY_BYTES.pessimistic:.0f}) is assumed"
        )
    record = key + value_bytes
    growth = record - costs.record_bytes
    scale = record / costs.record_bytes
    draft.changes.append(f"record: {byte_text(costs.record_bytes)} -> {byte_text(record)}")
    memtable = _carried(costs.memtable_bytes_per_put, costs.record_bytes, growth)
    wal = _carried(costs.wal_bytes_per_put, costs.record_bytes, growth)
    # A memtable holds fewer puts of more bytes each; its budget stays. What a flush takes in counts
    # the entry's overhead too.
    entry = (record + MEMTABLE_OVERHEAD_BYTES) / (costs.record_bytes + MEMTABLE_OVERHEAD_BYTES)
    puts = costs.memtable_bytes_per_put / memtable if memtable > 0.0 else 1.0 / scale
    # Larger records cost less CPU per byte; how much less depends on the share per record.
    falls = PER_RECORD_SHARE.at(draft.lean if growth >= 0.0 else _opposite(draft.lean))
    cpu = scale**-falls
    path = growth * WRITE_PATH_SECONDS_PER_BYTE.at(
        draft.lean if growth >= 0.0 else _opposite(draft.lean)
    )
    draft.costs = replace(
        costs,
        record_bytes=record,
        key_bytes=costs.key_bytes,
        wal_bytes_per_put=wal,
        memtable_bytes_per_put=memtable,
        flush_user_bytes=costs.flush_user_bytes * puts * entry,
        flush_cpu_seconds_per_byte=costs.flush_cpu_seconds_per_byte * cpu,
        compaction_cpu_seconds_per_byte=costs.compaction_cpu_seconds_per_byte * cpu,
        foreground_cpu_seconds_per_put=_path_cost(costs.foreground_cpu_seconds_per_put, path),
        writer_seconds_per_put=_path_cost(costs.writer_seconds_per_put, path),
    )
    draft.notes.append(
        "the tree keeps its present bytes, and values their present compressibility; CPU per byte "
        "is taken between constant and falling with the record"
    )


def _opposite(lean: Lean) -> Lean:
    flipped: dict[Lean, Lean] = {-1: 1, 0: 0, 1: -1}
    return flipped[lean]


def _carried(per_put: float, record: float, growth: float) -> float:
    """A cost in bytes per put with its overhead kept; compressed ones scale instead."""
    if per_put <= 0.0:
        return per_put
    if per_put < record:
        return per_put * (record + growth) / record
    return per_put + growth


def _path_cost(seconds: float, added: float) -> float:
    """A cost of the write path; unmeasured (0) stays so, and it never falls below half."""
    return seconds if seconds <= 0.0 else max(0.5 * seconds, seconds + added)


def change_compression(draft: Draft, new: str) -> None:
    """Another algorithm for the whole tree."""
    costs, lean = draft.costs, draft.lean
    now = draft.options.compression
    if now is None:
        uncompressed = costs.flush_output_ratio >= UNMEASURED_COMPRESSION_RATIO
        now = "none" if uncompressed else "lz4"
        draft.notes.append(
            "the present compression is not known: by the size of flushed tables it is taken for "
            f"{now}"
        )
    if now not in compression_prior.ALGORITHMS:
        draft.notes.append(f"nothing is known of {now}'s costs: lz4's stand in for the present")
        now = "lz4"
    if new == now:
        draft.notes.append(f"the compression is {new} already")
        return
    ratio_now = 1.0 if now == "none" else min(1.0, costs.flush_output_ratio)
    ratio_new = compression_prior.new_size_ratio(now, ratio_now, new, lean)
    shrink = ratio_new / ratio_now
    draft.changes.append(f"compression: {now} -> {new}")
    if new != "none":
        worst, best = (
            compression_prior.new_size_ratio(now, ratio_now, new, end) for end in (-1, 1)
        )
        basis = (
            f"carried over from {now}'s measured {ratio_now:.2f}"
            if now != "none"
            else "a prior, since uncompressed data does not tell; the data's kind decides"
        )
        draft.notes.append(
            f"{new} is taken to shrink data to {ratio_new:.2f} ({best:.2f} to {worst:.2f}) of its "
            f"size: {basis}"
        )
    key_space = costs.key_space_bytes
    if key_space is not None and key_space < ALL_KEYS_NEW_BYTES:
        key_space *= shrink  # it is in table bytes
    raw_compaction = costs.compaction_cpu_seconds_per_byte * ratio_now
    draft.costs = replace(
        costs,
        flush_output_ratio=costs.flush_output_ratio * shrink,
        flush_cpu_seconds_per_byte=_recoded(
            costs.flush_cpu_seconds_per_byte, now, new, lean, decompress=False
        ),
        # Per byte of table taken in, which under the new algorithm stands for more raw bytes.
        compaction_cpu_seconds_per_byte=_recoded(raw_compaction, now, new, lean, decompress=True)
        / ratio_new,
        key_space_bytes=key_space,
    )
    draft.shape = TreeShape(
        tuple(size * shrink for size in draft.shape.level_bytes),
        tuple(
            files if level == 0 or files == 0 else max(1, math.ceil(files * shrink))
            for level, files in enumerate(draft.shape.level_files)
        ),
    )
    draft.options = replace(draft.options, compression=new)
    draft.notes.append(
        "CPU of compression by published speeds on one core (a factor of 2 either way), and the "
        "tree as it is once everything is rewritten"
    )


def _recoded(seconds: float, now: str, new: str, lean: Lean, *, decompress: bool) -> float:
    """Core seconds per raw byte with another algorithm in the place of the present one."""
    # The present one's share is in the measured figure: take it out at its likely value, and no
    # more than leaves comparing and copying.
    was = compression_prior.cpu_per_raw_byte(now, 0, decompress=decompress)
    least = compression_prior.LEAST_CPU_SHARE * seconds
    rest = max(least, seconds - was)
    return rest + compression_prior.cpu_per_raw_byte(new, lean, decompress=decompress)
