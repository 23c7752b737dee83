"""What flushes, compactions and moves do, by their lines and events: jobs, levels, stalls.

Pure. One completes the other: a job's line names the column family that its events may leave out,
and what a job has finished shows whether a stall is over.
"""

from probes.rocksdb import log_events, log_lines, log_marks
from probes.rocksdb.log_clock import LogClock
from probes.rocksdb.log_events import Event
from probes.rocksdb.log_families import FamilyTable
from probes.rocksdb.log_jobs import JobTable
from probes.rocksdb.log_stalls import StallTracker


class WorkTracker:
    """The work of one database. ``clock`` tells when the current line was made."""

    def __init__(self, clock: LogClock) -> None:
        self.jobs = JobTable()
        self.families = FamilyTable()
        self.stalls = StallTracker()
        self._clock = clock
        self._moving: str | None = None

    def opened(self) -> None:
        """The levels are told anew."""
        self.families.forget_levels()

    def closed(self, at_micros: int) -> None:
        """What was under way is gone."""
        self.stalls.database_closed(at_micros)
        self.jobs.restart()

    # -- text lines

    def text_line(self, line: bytes, mark: bytes) -> None:
        """A line that has one of the marks of work, or of column families."""
        if mark in log_marks.JOB_MARKS:
            if (job := log_lines.parse_job(line)) is not None:
                self.jobs.announced(*job)
        elif mark == log_marks.MOVE_MARK:
            self._moved(line)
        elif mark == log_marks.FLUSHED_MARK:
            self.flush_result(line)
        elif mark == log_marks.COMPACTED_MARK:
            if (name := log_lines.parse_failed_compaction(line)) is not None:
                self.jobs.compaction_failed(name)
        elif mark == log_marks.LASTED_MARK:
            if (flush := log_lines.parse_flush_cpu(line)) is not None:
                self.jobs.flush_cpu(*flush)
        elif mark in log_marks.FAMILY_MARKS:
            self.families.named(line)
        elif mark == log_marks.DROPPED_MARK:
            gone = self.families.dropped(line)
            if gone is not None:
                self.stalls.column_family_dropped(gone, self._clock.made_at(line))

    def flush_result(self, line: bytes) -> None:
        """A line that may tell that a flush has failed."""
        if (job := log_lines.parse_failed_flush(line)) is not None:
            self.jobs.flush_failed(job)

    def _moved(self, line: bytes) -> None:
        move = log_lines.parse_move(line)
        if move is None:
            return
        tell = self.stalls.moved if move.done else self.stalls.moving
        tell(move.column_family, self._clock.utc(move.local_micros))
        self._moving = move.column_family
        if move.level_files is not None:
            self.families.note_levels(move.column_family, move.level_files)

    # -- events

    def event(self, event: Event, line: bytes, mark: int) -> None:
        """An event of a job, at ``mark`` in its line."""
        if event.event == "compaction_started":
            self._compaction_started(event, line, mark)
        elif event.event == "trivial_move":
            family = event.cf_name if event.cf_name is not None else self._moving
            self.jobs.moved(event, family, self.families.level_files.get(family or ""))
        elif event.event in ("flush_finished", "compaction_finished"):
            family, installed = self.jobs.finished(event)
            if installed:
                self._version_changed(family, event, line)
        else:
            self.jobs.progressed(event)

    def _compaction_started(self, event: Event, line: bytes, mark: int) -> None:
        family = event.cf_name
        if family is None:
            family = self.jobs.column_family_of(event.job)
        self.jobs.compaction_started(
            event,
            log_events.input_level(line, mark),
            log_events.input_files(line, mark),
            self.families.level_files.get(family or ""),
        )

    def _version_changed(self, family: str | None, event: Event, line: bytes) -> None:
        if family is None:
            family = self.families.only_one()
        if family is None:
            return
        at = event.time_micros
        if log_lines.is_coarse(line):
            at -= at % 1000  # the WARN line's time has only milliseconds
        self.stalls.version_changed(family, at)
        if event.lsm_state is not None:
            self.families.note_levels(family, tuple(event.lsm_state[:64]))
