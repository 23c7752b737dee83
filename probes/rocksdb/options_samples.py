"""What the OPTIONS probe returns: how a database is configured. ``None`` means that the file does
not say, never zero."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UniversalOptions:
    """``compaction_options_universal`` (rocksdb/universal_compaction.h)."""

    size_ratio_percent: int | None
    min_merge_width: int | None
    max_merge_width: int | None
    max_size_amplification_percent: int | None
    compression_size_percent: int | None
    allow_trivial_move: bool | None
    incremental: bool | None


@dataclass(frozen=True, slots=True)
class ColumnFamilyOptions:
    """The limits of one column family that decide about stalls and compaction."""

    name: str
    write_buffer_bytes: int | None
    max_write_buffer_number: int | None
    level0_file_num_compaction_trigger: int | None
    level0_slowdown_writes_trigger: int | None
    level0_stop_writes_trigger: int | None
    soft_pending_compaction_bytes_limit: int | None
    hard_pending_compaction_bytes_limit: int | None
    compaction_style: str | None  # "level", "universal", "fifo"; None when unknown to us
    compression: str | None
    num_levels: int | None
    max_bytes_for_level_base: int | None
    max_bytes_for_level_multiplier: float | None
    target_file_size_base: int | None
    target_file_size_multiplier: int | None = None
    level_compaction_dynamic_level_bytes: bool | None = None
    max_compaction_bytes: int | None = None  # 0: 25 * target_file_size_base
    min_write_buffer_number_to_merge: int | None = None
    universal: UniversalOptions | None = None
    compression_per_level: tuple[str | None, ...] = ()  # empty: ``compression`` for all levels
    bottommost_compression: str | None = None  # None: as the others
    disable_auto_compactions: bool | None = None
    enable_blob_files: bool | None = None
    arena_block_bytes: int | None = None
    memtable_factory: str | None = None
    last_level_temperature: str | None = None  # None: unset (kUnknown), no tiered storage
    preclude_last_level_data_seconds: int | None = None  # > 0: tiered storage


@dataclass(frozen=True, slots=True)
class OptionsSample:
    """The newest OPTIONS-<n> file.

    RocksDB writes what it runs with: zeros that stand for a default are mostly resolved already
    (``delayed_write_rate`` becomes the rate limiter's bytes/s, or 16 MiB/s). The legacy
    ``max_background_flushes`` and ``max_background_compactions`` are -1 when unset.
    """

    at: float
    file_name: str
    rocksdb_version: str | None
    wal_dir: str | None  # None: the database directory itself
    db_log_dir: str | None  # None: the database directory itself
    max_background_jobs: int | None
    max_subcompactions: int | None
    delayed_write_rate: int | None
    max_total_wal_bytes: int | None
    column_families: tuple[ColumnFamilyOptions, ...]
    max_background_flushes: int | None = None
    max_background_compactions: int | None = None
    bytes_per_sync: int | None = None
    wal_bytes_per_sync: int | None = None
    use_direct_io_for_flush_and_compaction: bool | None = None
    use_direct_reads: bool | None = None
    enable_pipelined_write: bool | None = None
    allow_concurrent_memtable_write: bool | None = None
    unordered_write: bool | None = None
    db_write_buffer_bytes: int | None = None  # of all column families together; 0: no limit
