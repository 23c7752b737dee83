"""A database's measured demands: the values, with their errors and sources. Pure."""

from dataclasses import dataclass

from agent.demands.key_space import KeySpace
from agent.readings import Missing, Quantity


@dataclass(frozen=True, slots=True)
class Measured:
    """A demand: ``spread_ratio`` is its relative standard error, None where it is not measured.

    ``terms`` is how many jobs, cycles or intervals it rests on; ``at`` monotonic.
    """

    value: float
    spread_ratio: float | None
    source: str
    at: float
    terms: int


Demand = Measured | Missing


@dataclass(frozen=True, slots=True)
class Demands:
    """What a put costs, by resource; per put unless the name or comment says otherwise.

    Compaction's bytes per put are the steady ones: work done in the window plus what the window
    added to the debt, less the debt it worked off. ``column_family`` is the one that the flushes
    write most to, ``column_family_share`` its part of their bytes; ratios are its own.
    """

    column_family: str | None
    column_family_share: float
    window_seconds: float  # of the compaction cycles used
    cycles: int
    record_bytes: Demand
    key_bytes: Demand
    wal_bytes: Demand
    memtable_bytes: Demand
    flush_written_bytes: Demand
    compaction_written_bytes: Demand
    compaction_read_bytes: Demand
    process_written_bytes: Demand  # cross-check: what the kernel counted for the owner process
    reaching_share: Demand  # of what RocksDB wrote in the same time, not per put
    flush_cpu_seconds: Demand
    compaction_cpu_seconds: Demand
    foreground_cpu_seconds: Demand
    foreground_runs: Demand  # how often a foreground thread got a core
    foreground_busy_threads: Quantity  # how many foreground threads are at work
    flush_entries: Demand  # puts of one flush
    flush_output_ratio: Demand  # table bytes per byte of total_data_size
    compaction_output_ratio: Demand  # table bytes out per byte in, not into the last level
    merge_into_last_output_ratio: Demand
    overlap_ratio: Demand
    level0_files_per_merge: Demand
    flush_cpu_seconds_per_byte: Demand  # of total_data_size
    compaction_cpu_seconds_per_byte: Demand  # of input
    level0_output_share: float | None  # of compaction's output; None when the LOG hides it
    wal_enabled: bool | None  # None: cannot be told
    debt_bytes: Quantity
    debt_clear_seconds: Quantity
    key_space: KeySpace | None  # None: too few merges tell it
    wal_sync_seconds: Demand  # at saturation; Missing where puts do not wait for syncs
