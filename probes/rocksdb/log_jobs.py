"""Joins the events of one job to one flush or compaction, and adds them up.

Pure. A flush tells its input in flush_started, its output in table_file_creation and its end in
flush_finished; only the job id connects them (db/flush_job.cc, db/event_helpers.cc). Blob files
(BlobDB) count as output like table files.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from probes.rocksdb.log_events import Event
from probes.rocksdb.samples import CompactionEvent, FlushEvent, LevelInput, TrivialMove

MAX_RECENT_EVENTS = 4096
MAX_OPEN_JOBS = 256
"""Jobs that began and were not seen to finish; RocksDB runs a few dozen at once at most."""

MAX_TABLES = 32_768
"""Tables whose size is remembered from their creation to the compaction that takes them in."""

INTERNAL_KEY_BYTES = 8
"""Sequence number and type at the end of every key in a table (db/dbformat.h)."""

MAX_PARTS = 4096
"""Flushes under one job id: an atomic flush has one for each column family."""


_Finished = TypeVar("_Finished", FlushEvent, CompactionEvent, TrivialMove)


@dataclass(slots=True)
class _OpenFlush:
    column_family: str | None
    started_micros: int
    entries: int | None
    deletes: int | None
    user_bytes: int | None
    memory_usage_bytes: int | None
    reason: str | None
    output_bytes: int = 0
    cpu_micros: int | None = None
    table_entries: int | None = None
    key_bytes: int | None = None
    value_bytes: int | None = None


@dataclass(slots=True)
class _OpenJob:
    """What is known of a running job.

    An atomic flush of several column families runs them one after another under one job id and
    reports their ends afterwards, in the same order.
    """

    column_family: str | None = None
    flushes: deque[_OpenFlush] = field(default_factory=deque)
    started: Event | None = None
    input_level: int | None = None
    inputs: tuple[LevelInput, ...] = ()
    level_files_before: tuple[int, ...] | None = None
    failed: bool = False


class JobTable:
    """Running jobs by id, totals, and the recent finished ones."""

    def __init__(self) -> None:
        self.flushes = 0
        self.compactions = 0
        self.puts: int | None = None
        self.user_bytes: int | None = None
        self.flush_output_bytes = 0
        self.compaction_input_bytes = 0
        self.compaction_output_bytes = 0
        self.recent_flushes: deque[FlushEvent] = deque(maxlen=MAX_RECENT_EVENTS)
        self.recent_compactions: deque[CompactionEvent] = deque(maxlen=MAX_RECENT_EVENTS)
        self.recent_moves: deque[TrivialMove] = deque(maxlen=MAX_RECENT_EVENTS)
        self._tables: dict[int, int] = {}
        self._open: dict[int, _OpenJob] = {}
        self._failed_compactions: set[str] = set()

    def restart(self) -> None:
        """The database was closed or opened: what ran is gone, and job ids begin again."""
        self._open.clear()
        self._failed_compactions.clear()

    def forget_before(self, wall_seconds: float) -> None:
        """Drop recent events older than this."""
        while self.recent_flushes and self.recent_flushes[0].wall_seconds < wall_seconds:
            self.recent_flushes.popleft()
        while self.recent_compactions and self.recent_compactions[0].wall_seconds < wall_seconds:
            self.recent_compactions.popleft()
        while self.recent_moves and self.recent_moves[0].wall_seconds < wall_seconds:
            self.recent_moves.popleft()

    def shift(self, micros: int) -> None:
        """All times so far were told by another clock."""
        seconds = micros / 1e6
        _shift(self.recent_flushes, seconds)
        _shift(self.recent_compactions, seconds)
        _shift(self.recent_moves, seconds)
        for job in self._open.values():
            for flush in job.flushes:
                flush.started_micros += micros
            if job.started is not None:
                job.started.time_micros += micros

    def announced(self, number: int, column_family: str) -> None:
        """A text line names the column family that the job's next event belongs to."""
        self._job(number).column_family = column_family

    def flush_failed(self, number: int) -> None:
        """The flush that this job finishes next has failed: its memtable is flushed again later."""
        job = self._open.get(number)
        if job is not None:
            job.failed = True

    def compaction_failed(self, column_family: str) -> None:
        """The compaction that this column family finishes next has failed."""
        if len(self._failed_compactions) < MAX_PARTS:
            self._failed_compactions.add(column_family)

    def column_family_of(self, number: int | None) -> str | None:
        """The column family announced for a job, if one was."""
        job = self._open.get(-1 if number is None else number)
        return job.column_family if job else None

    def flush_cpu(self, number: int, cpu_micros: int) -> None:
        """A text line tells the CPU time of the table that this job has just written."""
        job = self._open.get(number)
        if job is not None and job.flushes:
            job.flushes[-1].cpu_micros = cpu_micros

    def compaction_started(
        self,
        event: Event,
        input_level: int | None,
        files: Mapping[int, tuple[int, ...]],
        level_files: tuple[int, ...] | None,
    ) -> None:
        """Remember the input until the end; ``level_files`` is what each level holds now."""
        job = self._job(event.job)
        job.started = event
        job.input_level = input_level
        job.inputs = self._sized(files, event.input_data_size)
        job.level_files_before = level_files
        if event.cf_name is not None:
            job.column_family = event.cf_name

    def _sized(
        self, files: Mapping[int, tuple[int, ...]], total_bytes: int | None
    ) -> tuple[LevelInput, ...]:
        if total_bytes is None:
            return tuple(LevelInput(level, len(numbers), None) for level, numbers in files.items())
        known = {
            level: [self._tables.pop(number) for number in numbers if number in self._tables]
            for level, numbers in files.items()
        }
        unknown = sum(len(numbers) - len(known[level]) for level, numbers in files.items())
        rest = max(0, total_bytes - sum(map(sum, known.values())))
        each = rest / unknown if unknown else 0.0
        return tuple(
            LevelInput(level, len(numbers), sum(known[level]) + each * (len(numbers) - len(sizes)))
            for level, numbers in files.items()
            for sizes in (known[level],)
        )

    def moved(
        self, event: Event, column_family: str | None, level_files: tuple[int, ...] | None
    ) -> None:
        """trivial_move; ``level_files`` is what each level held before."""
        level = event.destination_level
        if level is None or not event.files or event.total_files_size is None:
            return
        before = level_files[level] if level_files and level < len(level_files) else None
        self.recent_moves.append(
            TrivialMove(
                wall_seconds=event.time_micros / 1e6,
                column_family=event.cf_name if event.cf_name is not None else column_family,
                destination_level=level,
                files=event.files,
                bytes=event.total_files_size,
                destination_files_before=before,
            )
        )

    def progressed(self, event: Event) -> None:
        """flush_started, table_file_creation, blob_file_creation; other events are ignored."""
        if event.event == "flush_started":
            job = self._job(event.job)
            if len(job.flushes) < MAX_PARTS:
                entries = event.num_entries
                if entries is None:
                    entries = event.total_num_input_entries
                job.flushes.append(
                    _OpenFlush(
                        job.column_family,
                        event.time_micros,
                        entries,
                        event.num_deletes,
                        event.total_data_size,
                        event.memory_usage,
                        event.flush_reason,
                    )
                )
        elif event.event in ("table_file_creation", "blob_file_creation"):
            job = self._job(event.job)
            if event.cf_name is not None:
                job.column_family = event.cf_name
            if event.event == "table_file_creation" and event.file_number and event.file_size:
                if len(self._tables) >= MAX_TABLES:
                    del self._tables[next(iter(self._tables))]
                self._tables[event.file_number] = event.file_size
            if job.flushes:
                part = job.flushes[-1]
                part.output_bytes += (event.file_size or 0) + (event.total_blob_bytes or 0)
                part.column_family = job.column_family
                _add_properties(part, event)

    def finished(self, event: Event) -> tuple[str | None, bool]:
        """flush_finished or compaction_finished: the column family if it is known, and whether
        a new version of its LSM was installed (not after a failure)."""
        if event.event == "flush_finished":
            return self._flush_finished(event)
        return self._compaction_finished(event)

    def _job(self, number: int | None) -> _OpenJob:
        key = -1 if number is None else number
        job = self._open.get(key)
        if job is None:
            if len(self._open) >= MAX_OPEN_JOBS:
                del self._open[next(iter(self._open))]
            job = self._open[key] = _OpenJob()
        return job

    def _flush_finished(self, event: Event) -> tuple[str | None, bool]:
        number = -1 if event.job is None else event.job
        job = self._open.get(number)
        if job is None or not job.flushes:
            # Its beginning is before what was read, or was lost: nothing of it can be counted.
            self._open.pop(number, None)
            return (job.column_family, not job.failed) if job else (None, True)
        flush = job.flushes.popleft()
        failed, job.failed = job.failed, False
        if not job.flushes:
            del self._open[number]
        if failed:
            return flush.column_family, False
        self.flushes += 1
        if flush.entries is not None:
            self.puts = (self.puts or 0) + flush.entries
        if flush.user_bytes is not None:
            self.user_bytes = (self.user_bytes or 0) + flush.user_bytes
        self.flush_output_bytes += flush.output_bytes
        micros = event.time_micros - flush.started_micros
        self.recent_flushes.append(
            FlushEvent(
                wall_seconds=event.time_micros / 1e6,
                job=number,
                column_family=flush.column_family,
                entries=flush.entries,
                deletes=flush.deletes,
                user_bytes=flush.user_bytes,
                output_bytes=flush.output_bytes,
                duration_seconds=micros / 1e6 if micros >= 0 else None,
                memory_usage_bytes=flush.memory_usage_bytes,
                reason=flush.reason,
                cpu_seconds=None if flush.cpu_micros is None else flush.cpu_micros / 1e6,
                level_files=None if event.lsm_state is None else tuple(event.lsm_state[:64]),
                table_entries=flush.table_entries,
                key_bytes=flush.key_bytes,
                value_bytes=flush.value_bytes,
            )
        )
        return flush.column_family, True

    def _compaction_finished(self, event: Event) -> tuple[str | None, bool]:
        number = -1 if event.job is None else event.job
        job = self._open.pop(number, None) or _OpenJob()
        family = event.cf_name if event.cf_name is not None else job.column_family
        input_bytes = job.started.input_data_size if job.started else None
        output_bytes = (event.total_output_size or 0) + (event.total_blob_output_size or 0)
        self.compactions += 1
        self.compaction_input_bytes += input_bytes or 0
        self.compaction_output_bytes += output_bytes
        cpu = event.compaction_time_cpu_micros
        before, level = job.level_files_before, event.output_level or 0
        self.recent_compactions.append(
            CompactionEvent(
                wall_seconds=event.time_micros / 1e6,
                job=number,
                column_family=family,
                input_level=job.input_level,
                output_level=event.output_level or 0,
                input_bytes=input_bytes,
                output_bytes=output_bytes,
                input_records=event.num_input_records,
                output_records=event.num_output_records,
                duration_seconds=(event.compaction_time_micros or 0) / 1e6,
                cpu_seconds=None if cpu is None else cpu / 1e6,
                subcompactions=event.num_subcompactions or 1,
                reason=job.started.compaction_reason if job.started else None,
                inputs=job.inputs,
                output_level_files_before=before[level] if before and level < len(before) else None,
                level_files=None if event.lsm_state is None else tuple(event.lsm_state[:64]),
            )
        )
        if family in self._failed_compactions:
            self._failed_compactions.discard(family)
            return family, False
        return family, True


def _add_properties(flush: _OpenFlush, event: Event) -> None:
    """Add what a table's properties tell; each of its keys has 8 bytes that are RocksDB's own."""
    table = event.table_properties
    if table is None or None in (table.num_entries, table.raw_key_size, table.raw_value_size):
        return
    entries = table.num_entries or 0
    flush.table_entries = (flush.table_entries or 0) + entries
    own = entries * INTERNAL_KEY_BYTES
    flush.key_bytes = (flush.key_bytes or 0) + max(0, (table.raw_key_size or 0) - own)
    flush.value_bytes = (flush.value_bytes or 0) + (table.raw_value_size or 0)


def _shift(events: deque[_Finished], seconds: float) -> None:
    for index, event in enumerate(events):
        events[index] = replace(event, wall_seconds=event.wall_seconds + seconds)
