"""What the database is doing, out of its own records: record size, amplification, work done."""

from collections.abc import Iterable

from agent.rates import CounterWindow
from agent.readings import Known, Missing, Quantity, derive, first_known
from probes.rocksdb.samples import (
    CompactionEvent,
    FlushEvent,
    LogSample,
    ManifestSample,
    SecondarySample,
    WalSample,
)

MEMTABLE_OVERHEAD_BYTES = 11.0
"""total_data_size holds, per entry, an 8-byte sequence and type and about 3 bytes of lengths
(db/memtable.cc, MemTable::Add)."""


def wal_overhead_bytes(record_bytes: float) -> float:
    """What a write batch adds to key and value: a type byte and two varint lengths.

    The key's takes one byte up to 127; the value's one up to 127, two up to 16383, else three.
    """
    return 3.0 + (record_bytes >= 128 + 16) + (record_bytes >= 16384 + 16)


WINDOW_SECONDS = 300.0
"""Over how long work is averaged (DESIGN: 5 min mean)."""

NO_EVENTS = "the LOG tells of no flush yet, or its level hides them"
"""Which of the two cannot be told: a quiet LOG looks like one whose level is too high."""

STATS_DUMP_STALE_SECONDS = 1800.0
"""RocksDB dumps every 600 s by default; three missed dumps and the last one is history."""


def record_size(log: Known[LogSample] | Missing, wal: Known[WalSample] | Missing) -> Quantity:
    """User bytes of one put (key + value), from the newest source that says it.

    Recent flushes first, then the WAL's tail, then all flushes that the LOG still tells.
    """
    return first_known(
        _record_size_of_flushes(log),
        _record_size_of_wal(wal),
        _record_size_of_log(log),
    )


def _record_size_of_flushes(log: Known[LogSample] | Missing) -> Quantity:
    if isinstance(log, Missing):
        return log
    entries, user_bytes = _entries_and_bytes(log.value.recent_flushes)
    if entries == 0:
        return Missing("no_recent_flush", "the LOG tells of no flush in the last minutes")
    size = user_bytes / entries - MEMTABLE_OVERHEAD_BYTES
    return Known(max(1.0, size), "log flush events", log.at)


def _entries_and_bytes(flushes: Iterable[FlushEvent]) -> tuple[int, int]:
    entries = user_bytes = 0
    for flush in flushes:
        if flush.entries and flush.user_bytes:
            entries += flush.entries
            user_bytes += flush.user_bytes
    return entries, user_bytes


def _record_size_of_wal(wal: Known[WalSample] | Missing) -> Quantity:
    if isinstance(wal, Missing):
        return wal
    mean = wal.value.mean_record_bytes
    if mean is None:
        return Missing("wal_too_short", "the WAL's tail holds too few whole records")
    return Known(max(1.0, mean - wal_overhead_bytes(mean)), "wal tail", wal.at)


def _record_size_of_log(log: Known[LogSample] | Missing) -> Quantity:
    if isinstance(log, Missing):
        return log
    if not log.value.puts or not log.value.user_bytes:
        return Missing("no_flush_seen", "no flush in the part of the LOG that was read")
    size = log.value.user_bytes / log.value.puts - MEMTABLE_OVERHEAD_BYTES
    return Known(max(1.0, size), "log flush totals", log.at)


def write_amplification(log: Known[LogSample] | Missing) -> Quantity:
    """Bytes written by flush and compaction / user bytes, over what the LOG tells."""
    if isinstance(log, Missing):
        return log
    sample = log.value
    if not sample.user_bytes:
        return Missing("no_flush_seen", "no flush in the part of the LOG that was read")
    if sample.compactions == 0:
        return Missing("no_compaction_seen", "no compaction in the part of the LOG that was read")
    written = sample.flush_output_bytes + sample.compaction_output_bytes
    return Known(written / sample.user_bytes, "log events", log.at)


def compaction_share(log: Known[LogSample] | Missing) -> float | None:
    """Compaction's part of flush and compaction output, 0..1; None while nothing was written."""
    if isinstance(log, Missing):
        return None
    written = log.value.flush_output_bytes + log.value.compaction_output_bytes
    return log.value.compaction_output_bytes / written if written else None


def levels_in_use(manifest: Known[ManifestSample] | Missing) -> int | None:
    """How many levels below level 0 hold a file, in the column family with the most.

    The number of the deepest level tells nothing: with dynamic level sizes, RocksDB's default
    since 8.x, a young tree begins at the last one.
    """
    if isinstance(manifest, Missing):
        return None
    return max(
        (
            sum(1 for level in family.levels[1:] if level.files)
            for family in manifest.value.column_families
        ),
        default=0,
    )


def compaction_write_rate(log: Known[LogSample] | Missing, now_wall_seconds: float) -> Quantity:
    """Bytes/s that this database's compactions wrote over the last 5 minutes.

    A compaction is reported when it ends, so its output is spread over the time it took; the part
    of it before the window does not count. Work still under way is not known yet.
    """
    if isinstance(log, Missing):
        return log
    return _mean_of(log, log.value.recent_compactions, now_wall_seconds)


def flush_write_rate(log: Known[LogSample] | Missing, now_wall_seconds: float) -> Quantity:
    """Bytes/s that this database's flushes wrote over the last 5 minutes."""
    if isinstance(log, Missing):
        return log
    return _mean_of(log, log.value.recent_flushes, now_wall_seconds)


def _mean_of(
    log: Known[LogSample], events: Iterable[FlushEvent | CompactionEvent], now_wall_seconds: float
) -> Quantity:
    sample = log.value
    if not sample.has_events:
        return Missing("log_has_no_events", NO_EVENTS)
    first = sample.first_wall_seconds
    if first is None or first > now_wall_seconds:
        return Missing("log_too_short", "the LOG's time is not known yet")
    start = max(first, now_wall_seconds - WINDOW_SECONDS)
    total = 0.0
    for event in events:
        duration = max(event.duration_seconds or 0.0, 1e-3)
        inside = min(event.wall_seconds, now_wall_seconds) - max(
            event.wall_seconds - duration, start
        )
        if inside > 0:
            total += event.output_bytes * min(1.0, inside / duration)
    # A LOG of a few seconds tells of almost nothing: its mean is taken over at least 10 s.
    return Known(total / max(10.0, now_wall_seconds - start), "log events", log.at)


class ManifestWork:
    """Flush and compaction rates from the MANIFEST, for a database whose LOG says nothing."""

    def __init__(self) -> None:
        self._flushed = CounterWindow(WINDOW_SECONDS)
        self._compacted = CounterWindow(WINDOW_SECONDS)
        self._absence = Missing("not_yet_measured", "the MANIFEST's totals need two readings")

    def add(self, manifest: Known[ManifestSample] | Missing) -> None:
        """Take a reading of the totals."""
        if isinstance(manifest, Missing):
            self._absence = manifest
            self._flushed.clear()
            self._compacted.clear()
            return
        self._flushed.add(manifest.value.at, float(manifest.value.flushed_bytes))
        self._compacted.add(manifest.value.at, float(manifest.value.compacted_bytes))

    def flush_rate(self) -> Quantity:
        """Bytes/s of flushed tables over the last 5 minutes."""
        return self._rate(self._flushed)

    def compaction_rate(self) -> Quantity:
        """Bytes/s of compacted tables over the last 5 minutes."""
        return self._rate(self._compacted)

    def _rate(self, window: CounterWindow) -> Quantity:
        mean = window.mean(WINDOW_SECONDS)
        return self._absence if mean is None else Known(mean.per_second, "manifest", mean.at)


def wal_write_rate(put_rate: Quantity, size: Quantity) -> Quantity:
    """Bytes/s into the WAL, from puts and their size."""
    if isinstance(put_rate, Missing):
        return put_rate
    if isinstance(size, Missing):
        return size
    return derive(put_rate, lambda rate: rate * (size.value + wal_overhead_bytes(size.value)))


def _with_events(log: Known[LogSample] | Missing) -> Known[LogSample] | Missing:
    if isinstance(log, Known) and not log.value.has_events:
        return Missing("log_has_no_events", NO_EVENTS)
    return log


def flushed_total(
    log: Known[LogSample] | Missing, manifest: Known[ManifestSample] | Missing
) -> Quantity:
    """Bytes of tables written by flushes since the source was first read."""
    return first_known(
        derive(_with_events(log), lambda sample: float(sample.flush_output_bytes)),
        derive(manifest, lambda sample: float(sample.flushed_bytes)),
    )


def compacted_total(
    log: Known[LogSample] | Missing, manifest: Known[ManifestSample] | Missing
) -> Quantity:
    """Bytes of tables written by compactions since the source was first read."""
    return first_known(
        derive(_with_events(log), lambda sample: float(sample.compaction_output_bytes)),
        derive(manifest, lambda sample: float(sample.compacted_bytes)),
    )


def compaction_read_total(log: Known[LogSample] | Missing) -> Quantity:
    """Bytes of tables read by compactions since the LOG was first read."""
    return derive(_with_events(log), lambda sample: float(sample.compaction_input_bytes))


def stored_bytes(
    manifest: Known[ManifestSample] | Missing, secondary: Known[SecondarySample] | Missing
) -> Quantity:
    """Bytes of all live table files."""
    if isinstance(manifest, Known):
        return Known(float(manifest.value.total_bytes), "manifest", manifest.at)
    if isinstance(secondary, Known) and secondary.value.total_sst_bytes is not None:
        return Known(float(secondary.value.total_sst_bytes), "secondary", secondary.at)
    return manifest


def trusted_secondary(
    secondary: Known[SecondarySample] | Missing, manifest: Known[ManifestSample] | Missing
) -> Known[SecondarySample] | Missing:
    """The secondary's sample, unless it saw no files where the MANIFEST lists some.

    One table that it cannot open is enough for it to report nothing at all, without an error.
    """
    if isinstance(secondary, Known) and isinstance(manifest, Known):
        for family in manifest.value.column_families:
            listed = sum(level.files for level in family.levels)
            seen = sum(secondary.value.level_files.get(family.name, ()))
            if listed > 0 and seen == 0:
                return Missing(
                    "tables_not_seen",
                    f"the secondary sees no table files in {family.name} where the MANIFEST lists "
                    f"{listed}: newer table format, unreadable file or several db_paths",
                )
    return secondary


def pending_compaction(
    secondary: Known[SecondarySample] | Missing,
    manifest: Known[ManifestSample] | Missing,
    log: Known[LogSample] | Missing,
    now: float,
    now_wall_seconds: float,
) -> Quantity:
    """RocksDB's estimate of bytes that compactions owe, all column families together."""
    by_secondary = derive(
        trusted_secondary(secondary, manifest),
        lambda sample: float(sum(sample.pending_compaction_bytes.values())),
    )
    return first_known(by_secondary, _pending_of_stats_dump(log, now, now_wall_seconds))


def _pending_of_stats_dump(
    log: Known[LogSample] | Missing, now: float, now_wall_seconds: float
) -> Quantity:
    if isinstance(log, Missing):
        return log
    dump = log.value.stats_dump
    if dump is None or not dump.pending_compaction_bytes:
        return Missing("no_stats_dump", "no stats dump with pending compaction bytes in the LOG")
    age = max(0.0, now_wall_seconds - dump.wall_seconds)
    if age > STATS_DUMP_STALE_SECONDS:
        return Missing("stale", f"the last stats dump was {age:.0f} s ago")
    return Known(sum(dump.pending_compaction_bytes.values()), "log stats dump", now - age)


def estimated_keys(
    secondary: Known[SecondarySample] | Missing, manifest: Known[ManifestSample] | Missing
) -> Quantity:
    """RocksDB's own estimate of live keys, all column families together."""
    return derive(
        trusted_secondary(secondary, manifest),
        lambda sample: float(sum(sample.estimated_keys.values())),
    )
