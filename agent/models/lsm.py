"""The inputs of the LSM simulator and of ``whatif``: one column family, its costs, its host.

Everything is resolved: where an input could not be had, ``missing`` of the input set names what
was taken instead. All values are SI base units.
"""

from typing import Final, Literal

import msgspec

from agent.models.estimate import MissingInput

ALL_KEYS_NEW_BYTES: Final = 1e18
"""A key space larger than any disk: every put brings a key of its own (JSON has no infinity)."""


class TreeOptions(msgspec.Struct, frozen=True):
    """The options that decide about flush, compaction and stalls (rocksdb/advanced_options.h)."""

    style: Literal["level", "universal"] = "level"
    write_buffer_bytes: float = 64 * 1048576.0
    max_write_buffer_number: int = 2
    min_write_buffer_number_to_merge: int = 1
    level0_file_num_compaction_trigger: int = 4
    level0_slowdown_writes_trigger: int = 20
    level0_stop_writes_trigger: int = 36
    soft_pending_compaction_bytes_limit: float = 64 * 2**30
    hard_pending_compaction_bytes_limit: float = 256 * 2**30
    num_levels: int = 7
    max_bytes_for_level_base: float = 256 * 1048576.0
    max_bytes_for_level_multiplier: float = 10.0
    level_compaction_dynamic_level_bytes: bool = False
    target_file_size_base: float = 64 * 1048576.0
    target_file_size_multiplier: float = 1.0
    max_compaction_bytes: float = 25 * 64 * 1048576.0
    universal_size_ratio_percent: float = 1.0
    universal_min_merge_width: int = 2
    universal_max_merge_width: int = 4294967295
    universal_max_size_amplification_percent: float = 200.0
    max_background_flushes: int = 1
    max_background_compactions: int = 1
    max_subcompactions: int = 1
    delayed_write_rate_bytes_per_second: float = 16 * 1048576.0
    rate_limiter_bytes_per_second: float | None = None
    wal_enabled: bool = True
    compression: str | None = None  # of the bulk of the data: "none", "lz4", ...; None: unknown


class TreeShape(msgspec.Struct, frozen=True):
    """Bytes and files of every level at one moment, index = level."""

    level_bytes: tuple[float, ...]
    level_files: tuple[int, ...]


class TreeCosts(msgspec.Struct, frozen=True):
    """What work costs, as measured from outside; ``None`` where not measured and no prior exists.

    ``flush_user_bytes`` is what one flush took in (user bytes by RocksDB's total_data_size).
    ``flush_output_ratio`` and ``compaction_output_ratio`` are table bytes out per byte in (user
    bytes for a flush, table bytes for a compaction): compression and dropped duplicates.
    ``merge_into_last_output_ratio`` is the same for compactions whose output is the last level in
    use, where overwritten and deleted keys vanish. ``overlap_ratio`` is the share of a level's
    bytes that a merge of key ranges drawn from the whole key space meets: 1 for puts all over the
    key space, 0 for sequential fill, where tables are moved and not rewritten.
    CPU is seconds per byte taken in, device time not included.
    """

    record_bytes: float
    wal_bytes_per_put: float
    memtable_bytes_per_put: float
    flush_user_bytes: float
    flush_output_ratio: float = 1.0
    compaction_output_ratio: float = 1.0
    merge_into_last_output_ratio: float = 1.0
    overlap_ratio: float = 1.0
    flush_cpu_seconds_per_byte: float = 0.0
    compaction_cpu_seconds_per_byte: float = 0.0
    foreground_cpu_seconds_per_put: float = 0.0
    writer_seconds_per_put: float = 0.0  # serial part of the write path: 1 / it bounds the rate
    key_space_bytes: float | None = None  # one version of every key as tables; None: not measured
    wal_sync_seconds_per_put: float = 0.0  # that a put waits for at saturation; 0: not synced
    key_bytes: float | None = None  # the key's part of record_bytes; None: not measured


ATTAINABLE_CPU: Final = 0.85
"""Of the cores left to it, what a database gets out of them at saturation: the writers of a group
wait for its leader, and everybody for locks. 0.78 and 0.84 of two cores were found with four
writers (docs/accuracy.md)."""


class HostShare(msgspec.Struct, frozen=True):
    """What the host can give this database: capacity less the use by others.

    ``device_read_bytes_per_second`` None: reads are not limited apart from writes.
    """

    device_write_bytes_per_second: float
    device_read_bytes_per_second: float | None = None
    cpu_cores: float = 1.0

    @property
    def attainable_cores(self) -> float:
        """Cores that the database can keep busy."""
        return self.cpu_cores * ATTAINABLE_CPU


class ModelInputs(msgspec.Struct, frozen=True):
    """A whole input set; what ``explain`` shows and ``whatif`` changes.

    ``log_spread`` is the standard error in natural log space that the inputs' own scatter brings
    into the answer. ``at`` is monotonic: the oldest input that matters.
    """

    database: str
    column_family: str
    options: TreeOptions
    shape: TreeShape
    costs: TreeCosts
    host: HostShare
    log_spread: float
    missing: tuple[MissingInput, ...]
    sources: dict[str, str]
    at: float
    observed_puts_per_second: float | None = None


class SimulatedRate(msgspec.Struct, frozen=True):
    """What the simulator found at saturation; ratios are shares of the simulated time.

    ``written_bytes_per_put`` is by cause: "wal", "flush", "compaction". ``utilization`` is by
    resource (names of ``agent.models.estimate.RESOURCES``); threads without the time that they
    wait for others at the device. ``converged`` is False when the budget of events or time ran out
    before the put rate showed no trend. ``stall_causes`` is the share of time that each cause
    ("memtables", "l0_files", "pending_compaction_bytes") delayed or stopped writes.
    """

    puts_per_second: float
    stopped_ratio: float
    delayed_ratio: float
    written_bytes_per_put: dict[str, float]
    utilization: dict[str, float]
    level0_files_mean: float
    pending_compaction_bytes_end: float
    simulated_seconds: float
    events: int
    converged: bool
    stall_causes: dict[str, float] = {}


class Simulated(msgspec.Struct, frozen=True):
    """A run of the simulator: what it found, and the inputs that it was given."""

    inputs: ModelInputs
    rate: SimulatedRate
