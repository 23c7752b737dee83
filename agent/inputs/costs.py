"""What the work on the tree costs, out of the measured demands, with documented fallbacks. Pure."""

from typing import Final

from agent.demands.demands import Demand, Demands, Measured
from agent.inputs.fallbacks import Fallbacks
from agent.inputs.foreground_cost import foreground_cost
from agent.inputs.tree_options import NEVER
from agent.models.lsm import ALL_KEYS_NEW_BYTES, TreeCosts, TreeOptions
from agent.readings import Missing
from agent.workload import MEMTABLE_OVERHEAD_BYTES, wal_overhead_bytes

SPREAD_NO_LOG: Final = 0.35  # compression and overwritten keys, a factor of two between them
SPREAD_NO_MERGE: Final = 0.2  # the same, with flushes known
SPREAD_OVERLAP: Final = 0.2  # ascending keys cost no merge of the base level
SPREAD_WAL_SYNC: Final = 0.4  # all writers in a group, or no more than now
SPREAD_NO_CPU: Final = 0.1  # CPU is rarely the limit
SPREAD_UNCERTAIN_DEMAND: Final = 0.3  # a single cycle tells no error: most are within a third

KEY_SPACE_SHARE: Final = 0.3
"""How much of an error of the key space, in log space, gets into the rate: it decides what merges
drop, which is at most half of the bytes of a put."""

COMPACTION_CPU_PRIOR: Final = {"none": 6e-9, "snappy": 8e-9, "lz4": 8e-9, "zstd": 18e-9}
"""Core seconds per byte of input where nothing tells them: one core merges 50 to 170 MB/s."""

COMPACTION_CPU_PRIOR_OTHER: Final = 30e-9  # zlib, bzip2, lz4hc

SKIPLIST_OVERHEAD_BYTES: Final = 12.0
"""Pointers of a node, 1.33 levels of 8 bytes on average, and rounding (inlineskiplist.h)."""


def tree_costs(
    demands: Demands, tree: TreeOptions, reaching_share: float, notes: Fallbacks
) -> TreeCosts | Missing:
    """The costs of a put and of a byte; Missing without a record size."""
    if isinstance(demands.record_bytes, Missing):
        return demands.record_bytes
    record = demands.record_bytes.value
    notes.take("record_bytes", demands.record_bytes)
    notes.widen(demands.record_bytes.spread_ratio or 0.0)
    entry = record + MEMTABLE_OVERHEAD_BYTES
    memtable = notes.take("memtable_bytes_per_put", demands.memtable_bytes)
    if memtable is None:
        memtable = entry + SKIPLIST_OVERHEAD_BYTES
    entries = notes.take("flush_user_bytes", demands.flush_entries)
    if entries is None:
        entries = tree.write_buffer_bytes * tree.min_write_buffer_number_to_merge / memtable
    flush_ratio = notes.take("flush_output_ratio", demands.flush_output_ratio)
    if flush_ratio is None and isinstance(demands.flush_written_bytes, Measured):
        # Before 6.0 flush_started does not tell total_data_size.
        flush_ratio = demands.flush_written_bytes.value / entry
        notes.take("flush_output_ratio", demands.flush_written_bytes)
    if flush_ratio is None:
        why = _why(demands.flush_output_ratio)
        notes.note("flush_output_ratio", why, "1: neither compressed nor dropped", SPREAD_NO_LOG)
        flush_ratio = 1.0
    merge_ratio, last_ratio = _merge_ratios(demands, tree, notes)
    overlap = notes.take("overlap_ratio", demands.overlap_ratio)
    if overlap is None:
        overlap = 1.0
        if tree.style == "level" and tree.level0_file_num_compaction_trigger != NEVER:
            why = _why(demands.overlap_ratio)
            notes.note("overlap_ratio", why, "1: keys all over the key space", SPREAD_OVERLAP)
    compaction_cpu = notes.take(
        "compaction_cpu_seconds_per_byte", demands.compaction_cpu_seconds_per_byte
    )
    if compaction_cpu is None:
        why = _why(demands.compaction_cpu_seconds_per_byte)
        notes.note("compaction_cpu", why, "what a core merges at this compression", SPREAD_NO_CPU)
        compaction_cpu = COMPACTION_CPU_PRIOR.get(
            tree.compression or "none", COMPACTION_CPU_PRIOR_OTHER
        )
    flush_cpu = notes.take("flush_cpu_seconds_per_byte", demands.flush_cpu_seconds_per_byte)
    if flush_cpu is None:
        flush_cpu = compaction_cpu  # both sort, compress and checksum
    wal = notes.take("wal_bytes_per_put", demands.wal_bytes)
    foreground = foreground_cost(demands, record)
    notes.sources["foreground_cpu_seconds_per_put"] = foreground.source
    if foreground.missing is not None:
        notes.missing.append(foreground.missing)
    if wal is None:
        wal = record + wal_overhead_bytes(record)
    if not tree.wal_enabled:
        wal = 0.0
    if reaching_share > 1.0 and isinstance(demands.process_written_bytes, Measured):
        excess = demands.process_written_bytes.value * (1.0 - 1.0 / reaching_share)
        wal += excess
    synced = notes.take("wal_sync", demands.wal_sync_seconds) if tree.wal_enabled else None
    if synced is not None:
        notes.note(
            "wal_sync",
            "puts wait for syncs of the WAL; how many share one at saturation is not seen",
            "half of the busy threads in a group, each sync as long as now",
            SPREAD_WAL_SYNC,
        )
    return TreeCosts(
        record_bytes=record,
        wal_bytes_per_put=wal,
        memtable_bytes_per_put=memtable,
        flush_user_bytes=entries * entry,
        flush_output_ratio=flush_ratio,
        compaction_output_ratio=merge_ratio,
        merge_into_last_output_ratio=last_ratio,
        overlap_ratio=overlap,
        flush_cpu_seconds_per_byte=flush_cpu,
        compaction_cpu_seconds_per_byte=compaction_cpu,
        foreground_cpu_seconds_per_put=foreground.cpu_seconds_per_put,
        writer_seconds_per_put=foreground.writer_seconds_per_put,
        wal_sync_seconds_per_put=synced or 0.0,
        key_space_bytes=_key_space_bytes(demands, notes),
        key_bytes=notes.take("key_bytes", demands.key_bytes),
    )


def _key_space_bytes(demands: Demands, notes: Fallbacks) -> float | None:
    space = demands.key_space
    if space is None:
        return None
    notes.widen(KEY_SPACE_SHARE * (space.spread_ratio or 0.0))
    notes.sources["key_space_bytes"] = "log compaction events"
    return min(space.bytes, ALL_KEYS_NEW_BYTES)


def _merge_ratios(demands: Demands, tree: TreeOptions, notes: Fallbacks) -> tuple[float, float]:
    """Output per input of merges, of those in the middle and of those into the last level."""
    middle = notes.take("compaction_output_ratio", demands.compaction_output_ratio)
    last = notes.take("merge_into_last_output_ratio", demands.merge_into_last_output_ratio)
    written = demands.compaction_written_bytes
    if tree.level0_file_num_compaction_trigger == NEVER:
        return 1.0, 1.0
    if middle is None and last is None:
        if isinstance(written, Missing):
            notes.note(
                "compaction_output_ratio",
                written.detail,
                "1: nothing dropped",
                SPREAD_NO_MERGE,
            )
        return 1.0, 1.0
    # With the key space known the models work out themselves what a merge of any size drops.
    ratios = (demands.compaction_output_ratio, demands.merge_into_last_output_ratio)
    for ratio in () if demands.key_space is not None else ratios:
        if isinstance(ratio, Measured):
            spread = ratio.spread_ratio
            limit = SPREAD_UNCERTAIN_DEMAND
            notes.widen(limit if spread is None else min(spread, limit))
    # Nothing is dropped above the last level but what meets a newer version of itself: where only
    # one of the two was seen, the other is between it and 1.
    if middle is None:
        middle = min(1.0, ((last or 1.0) + 1.0) / 2.0)
    return middle, middle if last is None else last


def _why(demand: Demand) -> str:
    return demand.detail if isinstance(demand, Missing) else ""
