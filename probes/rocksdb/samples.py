"""What the RocksDB probes return: raw readings of one source each, frozen, with their time.

``at`` is monotonic seconds of the moment of reading; fields ending in ``_wall_seconds`` are Unix
time as RocksDB wrote it. ``None`` means the source does not say, never zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DiscoveredDatabase:
    """A RocksDB database on this host, open in ``pid``."""

    path: str  # as this process can reach it; may go through /proc/<pid>/root
    pid: int
    owner_command: str | None
    owner_uid: int | None
    size_bytes: int | None
    rocksdb_version: str | None


@dataclass(frozen=True, slots=True)
class FingerprintSample:
    """What identifies one incarnation of a database; any change resets every baseline.

    ``created_wall_seconds`` is the modification time of IDENTITY, which RocksDB writes once.
    """

    at: float
    current_inode: int
    identity_inode: int | None
    lock_inode: int | None
    manifest_name: str
    owner_pid: int | None
    owner_start_ticks: int | None
    created_wall_seconds: float | None

    @property
    def incarnation(self) -> tuple[object, ...]:
        """The part that is compared between ticks."""
        return (
            self.current_inode,
            self.identity_inode,
            self.lock_inode,
            self.manifest_name,
            self.owner_pid,
            self.owner_start_ticks,
            # A directory removed and made again often gets the very same inodes (ext4 reuses the
            # lowest free ones), so IDENTITY's time of writing has to tell the two apart.
            self.created_wall_seconds,
        )


@dataclass(frozen=True, slots=True)
class WalSample:
    """The tail of the newest write-ahead log.

    ``mean_record_bytes`` is bytes of write-batch payload per key operation over the blocks read at
    the tail (key + value + about 3 to 8 bytes of encoding); None when too little was seen.
    """

    at: float
    last_sequence: int
    wal_number: int
    live_wal_bytes: int
    mean_record_bytes: float | None


@dataclass(frozen=True, slots=True)
class LevelShape:
    """Files and bytes of one level."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ColumnFamilyShape:
    """One column family's levels, index = level."""

    name: str
    levels: tuple[LevelShape, ...]


@dataclass(frozen=True, slots=True)
class ManifestSample:
    """The LSM's shape and totals from the live MANIFEST.

    ``flushed_bytes`` and ``compacted_bytes`` are bytes of table files added to level 0 from
    memtables and by compactions since ``since`` (monotonic; when this probe first read the file);
    moved files are not counted. ``last_sequence`` advances with every flush.
    """

    at: float
    manifest_name: str
    last_sequence: int
    log_number: int | None
    column_families: tuple[ColumnFamilyShape, ...]
    flushed_bytes: int
    compacted_bytes: int
    since: float

    @property
    def total_bytes(self) -> int:
        """Bytes of all live table files."""
        return sum(level.bytes for cf in self.column_families for level in cf.levels)


@dataclass(frozen=True, slots=True)
class FlushEvent:
    """One finished flush: user bytes and entries in, table bytes out."""

    wall_seconds: float  # of flush_finished, or the table's creation
    job: int
    column_family: str | None
    entries: int | None
    deletes: int | None
    user_bytes: (
        int | None
    )  # total_data_size: memtable bytes, about 11 more per entry than key+value
    output_bytes: int
    duration_seconds: float | None
    memory_usage_bytes: int | None = None  # of the memtables flushed, arena blocks included
    reason: str | None = None  # flush_reason, since 5.18: "Write Buffer Full", "Manual Flush", ...
    cpu_seconds: float | None = None  # "Flush lasted" line, since 6.28
    level_files: tuple[int, ...] | None = None  # lsm_state after it
    table_entries: int | None = None  # in the tables written: overwritten keys are gone
    key_bytes: int | None = None  # of those entries, before compression
    value_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class LevelInput:
    """What one compaction took from one level.

    ``bytes`` adds the sizes of tables whose creation the LOG told; what is left of input_data_size
    is spread over the other files by their number. None when input_data_size is not told.
    """

    level: int
    files: int
    bytes: float | None


@dataclass(frozen=True, slots=True)
class TrivialMove:
    """Tables that changed their level without being rewritten (key ranges that meet nothing).

    ``destination_files_before`` is the number of tables in the destination when they came.
    """

    wall_seconds: float
    column_family: str | None
    destination_level: int
    files: int
    bytes: int
    destination_files_before: int | None


@dataclass(frozen=True, slots=True)
class CompactionEvent:
    """One finished compaction (trivial moves are not compactions: nothing is rewritten).

    ``output_level_files_before`` is the number of tables in the output level when it began,
    ``level_files`` the files of every level when it ended (lsm_state).
    """

    wall_seconds: float
    job: int
    column_family: str | None
    input_level: int | None
    output_level: int
    input_bytes: int | None
    output_bytes: int
    input_records: int | None
    output_records: int | None
    duration_seconds: float
    cpu_seconds: float | None
    subcompactions: int
    reason: str | None
    inputs: tuple[LevelInput, ...] = ()
    output_level_files_before: int | None = None
    level_files: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class StallCondition:
    """A write stall that is on now, as the LOG's WARN lines say.

    ``state`` is "delayed" or "stopped"; ``cause`` is "memtables", "l0_files" or
    "pending_compaction_bytes". ``delayed_write_rate`` is RocksDB's own limit in bytes/s.
    """

    column_family: str
    state: str
    cause: str
    since_wall_seconds: float
    delayed_write_rate: float | None


@dataclass(frozen=True, slots=True)
class BackgroundError:
    """Writes were stopped for good by an error; only a recovery line or a reopening ends it."""

    message: str
    wall_seconds: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """What an opening does before it takes writes: reading the MANIFEST, replaying the WALs.

    ``ended_wall_seconds`` is None while it lasts, and stays so where its process died in it.
    """

    began_wall_seconds: float
    ended_wall_seconds: float | None


@dataclass(frozen=True, slots=True)
class StatsDump:
    """The Cumulative lines of the newest stats dump (RocksDB writes one every 600 s by default)."""

    wall_seconds: float
    uptime_seconds: float | None
    cumulative_writes: float | None  # keys; RocksDB truncates it ("1308K")
    cumulative_ingest_bytes: float | None
    cumulative_stall_seconds: float | None
    write_amplification: Mapping[str, float]  # by column family, RocksDB's own definition
    pending_compaction_bytes: Mapping[str, float]  # by column family, RocksDB >= 9.0


@dataclass(frozen=True, slots=True)
class LogSample:
    """What the LOG has told since the probe began to follow it, plus the recent history before.

    Totals count from the start of what was read (``first_wall_seconds``), the recent events go
    back ``recent`` as far as the probe keeps them (by default 15 minutes). ``stall_seconds`` is
    per state over the time read, including the current, unfinished one.
    """

    at: float
    log_path: str
    rocksdb_version: str | None
    table_directories: tuple[str, ...]  # in the owner's view: the database's own and db_paths
    first_wall_seconds: float | None
    last_wall_seconds: float | None
    opened_wall_seconds: float | None  # when this LOG's database was opened (its first line)
    flushes: int
    compactions: int
    puts: int | None  # entries of the flushes seen; None when no event carried them
    user_bytes: int | None
    flush_output_bytes: int
    compaction_input_bytes: int
    compaction_output_bytes: int
    recent_flushes: tuple[FlushEvent, ...]
    recent_compactions: tuple[CompactionEvent, ...]
    stalls: tuple[StallCondition, ...]
    stall_seconds: Mapping[str, float]  # {"delayed": s, "stopped": s}
    stall_count: Mapping[str, int]  # conditions entered, by state
    background_error: BackgroundError | None
    level_files: Mapping[str, tuple[int, ...]]  # newest lsm_state by column family
    stats_dump: StatsDump | None
    has_events: bool  # False: headers only, or a log level that hides events
    damaged_lines: int
    recent_moves: tuple[TrivialMove, ...] = ()
    rate_limiter: bool | None = None  # whether one is configured; its rate is not told
    recovery: Recovery | None = None  # of the newest opening; None where the LOG does not tell
    clock_shift_seconds: float = 0.0
    """All times are given as the wall clock of now would have told them. By so much in all was
    shifted what had been read before the clock was set."""
    stalled_until_wall_seconds: float | None = None  # when writes were last set free again


@dataclass(frozen=True, slots=True)
class SecondarySample:
    """What a rocksdict secondary instance, opened by the safe recipe, could say.

    Only properties that are meaningful on a secondary. ``cpu_seconds`` and ``wall_seconds`` are
    what the child process cost.
    """

    at: float
    latest_sequence: int
    pending_compaction_bytes: Mapping[str, int]  # by column family
    estimated_keys: Mapping[str, int]
    level_files: Mapping[str, tuple[int, ...]]
    total_sst_bytes: int | None
    cpu_seconds: float
    wall_seconds: float
    peak_resident_bytes: int | None
