"""What the episode detector is told of a database at every tick."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Final

import msgspec

from probes.rocksdb.options_samples import OptionsSample
from probes.rocksdb.samples import CompactionEvent, StallCondition

DISTURBING_REASONS: Final = frozenset(
    {"ManualCompaction", "ExternalSstIngestion", "FilesMarkedForCompaction", "RefitLevel"}
)
"""CompactionReason names (include/rocksdb/listener.h) of work that an operator or a program asked
for. TTL and periodic compactions belong to the load."""

_NOT_DECISIVE: Final = ("at", "file_name", "rocksdb_version", "db_log_dir")
"""What differs in OPTIONS between two openings of an unchanged database, or only moves the LOG."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeObservation:
    """One tick of one database, as far as saturation is concerned; None: not known.

    ``at`` is monotonic, ``wall_seconds`` Unix time. ``sequence`` is the last sequence number and
    ``sequence_source`` where it was read ("wal", "manifest"). ``stalls`` are the conditions in
    force and ``stall_seconds`` the cumulative seconds by state ("delayed", "stopped");
    ``flushes`` and ``compaction_written_bytes`` are cumulative too. ``pending_at`` is when the
    pending bytes were read: a reading repeated by later ticks is one reading. ``bytes_per_put``
    is what a put takes from the delayed write rate: its size in the WAL. CPU values are 60 s means,
    but ``lone_writer_ratio``: the share of the last interval in which the only busy foreground
    thread ran or waited for a core. ``put_cpu_prior_seconds`` is what a put of this size usually
    costs.
    ``disturbances`` are monotonic (from, to) spans of manual compaction and ingestion.
    """

    at: float
    wall_seconds: float
    sequence: int | None
    sequence_source: str
    stalls: tuple[StallCondition, ...] | None
    stall_seconds: Mapping[str, float] | None
    level0_files: int | None
    flushes: int | None = None
    pending_compaction_bytes: float | None = None
    pending_at: float | None = None
    compaction_written_bytes: float | None = None
    bytes_per_put: float | None = None
    host_cpu_busy_ratio: float | None = None
    host_cpu_cores: float | None = None
    owner_cpu_cores: float | None = None
    owner_cpu_limit_cores: float | None = None
    lone_writer_ratio: float | None = None
    put_cpu_prior_seconds: float | None = None
    background_error: bool = False
    disturbances: tuple[tuple[float, float], ...] = ()
    options_key: str = ""
    foreign_bytes_per_second: float | None = None
    device_write_bytes_per_second: float | None = None


def options_key(options: OptionsSample) -> str:
    """A short hash of every option that may change what the database sustains."""
    content = {key: value for key, value in asdict(options).items() if key not in _NOT_DECISIVE}
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:16]


def disturbances(
    compactions: Iterable[CompactionEvent], at: float, wall_seconds: float
) -> tuple[tuple[float, float], ...]:
    """Monotonic spans of the work among ``compactions`` that nobody's puts asked for."""
    offset = at - wall_seconds
    return tuple(
        (event.wall_seconds - event.duration_seconds + offset, event.wall_seconds + offset)
        for event in compactions
        if event.reason in DISTURBING_REASONS
    )
