"""Adds up the lines of a LOG: totals, recent events, stalls, errors -> LogSample.

Pure: takes lines, knows no files and no clock.
"""

from probes.rocksdb import log_events, log_lines, log_marks
from probes.rocksdb.log_clock import LogClock
from probes.rocksdb.log_errors import ERROR_MARKS, BackgroundErrorTracker
from probes.rocksdb.log_events import EVENT_MARK, Event
from probes.rocksdb.log_opening import RECOVERY_EVENTS, OpeningTracker
from probes.rocksdb.log_work import WorkTracker
from probes.rocksdb.samples import BackgroundError, LogSample
from probes.rocksdb.stats_dump import DUMP_MARK, DumpReader

_COMMONEST_EVENT = "table_file_creation"
_OF_AN_OPEN_DATABASE = frozenset({"flush_started", "compaction_started"})

MAX_GLUED_LINES = 8
"""Lines glued to a cut one (a full disk loses newlines too) that are looked at."""


class LogState:
    """Everything one LOG has told so far. Feed lines in file order; take samples at will."""

    def __init__(self, keep_seconds: float = 900.0, offset_seconds: float = 0.0) -> None:
        self.damaged_lines = 0
        self._keep_micros = int(keep_seconds * 1e6)
        self._clock = LogClock(offset_seconds)
        self._opening = OpeningTracker()
        self._work = WorkTracker(self._clock)
        self._error = BackgroundErrorTracker()
        self._dumps = DumpReader()
        self._has_events = False

    def learn_header(self, block: bytes) -> None:
        """Take only version, directories, opening and offset to UTC from the beginning of a LOG.

        For a LOG of which the middle may be left out.
        """
        opening = self._opening
        for line in block.splitlines():
            if log_marks.VERSION_MARK in line:
                self._header(line)
            elif log_marks.TABLES_MARK in line:
                opening.table_directory(line)
            elif log_marks.LIMITER_MARK in line:
                opening.rate_limiter(line)
            elif log_marks.OPENING_MARK in line:
                self._opened(line, fresh=False)
            elif log_marks.OPENED_MARK in line or log_marks.DUMPING_MARK in line:
                self._at_work(self._clock.made_at(line))
            elif (mark := line.find(EVENT_MARK, 0, 200)) >= 0:
                event = log_events.decode_event(line, mark)[0]
                if event is not None:
                    self._learn_offset(line, event.time_micros)
                    self._follow_opening(event)
        self._clock.lines_left_out()

    def feed(self, block: bytes) -> None:
        """Take the next whole lines of the LOG, each with its newline.

        Most lines say nothing we use. Finding the marks in the block, instead of looking at every
        line, is what makes reading fast.
        """
        if not block:
            return
        if not block.endswith(b"\n"):
            block += b"\n"
        if self._clock.jumped:
            at = self._clock.line_after_jump(block)
            self._feed(block[:at])
            if at == len(block):
                return
            self._dumps.end()
            self._shift_times()
            block = block[at:]
        self._feed(block)

    def _feed(self, block: bytes) -> None:
        if not block:
            return
        self._clock.begin(block)
        done = self._dumps.feed(block, 0) if self._dumps.reading else 0
        start = end = -1
        line = b""
        seen = 0  # the kinds of marks met in this line, as bits
        for hit in log_marks.find_marks(block):
            at = hit >> log_marks.KIND_BITS
            if at < done:
                continue
            if at >= end:
                start = block.rfind(b"\n", 0, at) + 1
                end = block.find(b"\n", at)
                line = block[start:end]
                self._clock.line_at(start)
                seen = 0
            kind = hit & log_marks.KIND_MASK
            if seen >> kind & 1:
                continue  # a line says a thing once, however often it repeats the words
            seen |= 1 << kind
            mark = log_marks.MARKS[kind]
            if mark == EVENT_MARK:
                if log_events.is_interesting(line, at - start):
                    self._event_line(line, at - start)
            elif mark == DUMP_MARK:
                if line.strip() == DUMP_MARK:
                    self._dumps.begin()
                    done = self._dumps.feed(block, end + 1)
            else:
                self._text_line(line, mark)
        self._clock.end()

    @property
    def last_wall_seconds(self) -> float | None:
        """Unix time of the newest line read."""
        return _seconds(self._clock.last_micros)

    @property
    def owner_lines(self) -> int:
        """How many lines were read that only a process writes which has the database open."""
        return self._opening.owner_lines

    @property
    def only_attempted(self) -> bool:
        """Whether the file that is read has yet to show that its writer has the database open.

        To be set before lines of another file are fed: the owner's and the LOG of one who tries
        are read in turn.
        """
        return self._opening.only_attempted

    @only_attempted.setter
    def only_attempted(self, value: bool) -> None:
        self._opening.only_attempted = value

    def finish(self) -> None:
        """The lines to come are of another file."""
        self._dumps.cut()

    # -- times

    def clock_set(self, seconds: float, previous_wall_seconds: float) -> None:
        """The wall clock has jumped by ``seconds`` since it was ``previous_wall_seconds``.

        Everything fed so far was told by the clock of before, and so are the lines to come until
        the first that shows the jump. All of it is given by the new clock's time from then on.
        """
        self._shift_times()  # of an earlier jump that no line has shown
        self._clock.clock_set(seconds, previous_wall_seconds)

    def slept(self, seconds: float) -> None:
        """The machine was suspended: no writer waited meanwhile, whatever stalls it."""
        self._work.stalls.slept(round(seconds * 1e6))

    def _shift_times(self) -> None:
        """Tell the times of before a jump by the clock of after it."""
        micros = self._clock.shift()
        if micros:
            self._shift_lines(micros)
            self._opening.shift(micros)
            self._work.jobs.shift(micros)

    def _learn_offset(self, line: bytes, time_micros: int) -> None:
        """Tell the times of lines by UTC; those of events are."""
        opening_was_guessed = self._clock.opened_guessed
        micros = self._clock.learn_offset(line, time_micros)
        if micros:
            self._shift_lines(micros)
            if opening_was_guessed:
                self._opening.shift(micros)

    def _shift_lines(self, micros: int) -> None:
        self._error.since_micros += micros
        self._work.stalls.shift(micros)
        self._dumps.shift(micros)

    # -- text lines

    def _text_line(self, line: bytes, mark: bytes) -> None:
        line = line[: log_lines.MAX_TEXT_BYTES]
        if mark == log_lines.STALL_MARK:
            self._stall_line(line)
        elif mark in ERROR_MARKS:
            self._error.feed(line, self._clock.made_at(line))
            self._work.flush_result(line)
        elif mark == log_marks.VERSION_MARK:
            self._header(line)
        elif mark == log_marks.TABLES_MARK:
            self._opening.table_directory(line)
        elif mark == log_marks.OPENING_MARK:
            self._opened(line, fresh=True)
        elif mark == log_marks.OPENED_MARK:
            self._at_work(self._clock.made_at(line))
        elif mark == log_marks.CLOSED_MARK:
            # Whoever did not get the lock "shuts down", too, while the owner goes on.
            if not self._opening.only_attempted:
                self._closed(self._clock.made_at(line))
        elif mark == log_marks.LIMITER_MARK:
            self._opening.rate_limiter(line)
        elif mark == log_marks.DUMPING_MARK:
            at_micros = self._clock.made_at(line)
            self._at_work(at_micros)
            self._dumps.announced(at_micros)
        else:
            self._work.text_line(line, mark)

    def _stall_line(self, line: bytes) -> None:
        stall = log_lines.parse_stall(line)
        if stall is None:
            if b"[WARN]" in line:
                self.damaged_lines += 1
            return
        self._opening.owner_line()
        self._work.stalls.warned(
            stall.column_family,
            stall.state,
            stall.cause,
            stall.delayed_write_rate,
            self._clock.utc(stall.local_micros),
        )

    def _header(self, line: bytes) -> None:
        self._clock.header(line)
        self._opening.header(line)

    def _opened(self, line: bytes, *, fresh: bool) -> None:
        """The database was opened. A LOG that rolled by size repeats the header but not this."""
        if fresh:
            # It was closed, or died, no later than the last thing that was logged before.
            before = self._clock.logged_before_header
            self._closed(self._clock.made_at(line) if before is None else before)
            self._work.opened()
        self._clock.opened(line)
        self._opening.began(self._clock.made_at(line))

    def _at_work(self, at_micros: int) -> None:
        """Only a database that is open does this."""
        self._opening.owner_line()
        self._opening.ended(at_micros)

    def _closed(self, at_micros: int) -> None:
        self._work.closed(at_micros)
        self._error.clear()
        self._opening.ended(at_micros)

    # -- events

    def _event_line(self, line: bytes, mark: int) -> None:
        for _ in range(MAX_GLUED_LINES):
            event, damaged, glued = log_events.decode_event(line, mark)
            if damaged:
                self.damaged_lines += 1
            if event is not None:
                if event.event != _COMMONEST_EVENT or not self._has_events:
                    self._learn_offset(line, event.time_micros)
                self._has_events = True
                self._event(event, line, mark)
            if not glued:
                return
            line = glued
            mark = line.find(EVENT_MARK, 0, 200)
            if mark < 0:
                for text in log_marks.TEXT_MARKS:
                    if text in line:
                        self._text_line(line, text)
                return

    def _follow_opening(self, event: Event) -> None:
        if event.event in RECOVERY_EVENTS:
            self._opening.event(event.event, event.time_micros)
        elif event.event in _OF_AN_OPEN_DATABASE:
            self._at_work(event.time_micros)

    def _event(self, event: Event, line: bytes, mark: int) -> None:
        if event.job is None:
            return
        self._follow_opening(event)
        self._work.event(event, line, mark)

    # -- the sample

    def sample(self, at: float, log_path: str, now_wall_seconds: float) -> LogSample:
        """The state now."""
        self._shift_times()  # the lines to come are of after the jump
        clock = self._clock
        if clock.last_micros is not None:
            self._work.jobs.forget_before((clock.last_micros - self._keep_micros) / 1e6)
        jobs, stalls, header = self._work.jobs, self._work.stalls, self._opening.told
        opened = clock.opened_micros
        if opened is None and not self._has_events:
            opened = clock.header_micros  # a log level that hides the opening
        error = None
        if self._error.message is not None:
            error = BackgroundError(self._error.message, self._error.since_micros / 1e6)
        return LogSample(
            at=at,
            log_path=log_path,
            rocksdb_version=header.version,
            table_directories=tuple(header.table_directories),
            first_wall_seconds=_seconds(clock.first_micros),
            last_wall_seconds=_seconds(clock.last_micros),
            opened_wall_seconds=_seconds(opened),
            flushes=jobs.flushes,
            compactions=jobs.compactions,
            puts=jobs.puts,
            user_bytes=jobs.user_bytes,
            flush_output_bytes=jobs.flush_output_bytes,
            compaction_input_bytes=jobs.compaction_input_bytes,
            compaction_output_bytes=jobs.compaction_output_bytes,
            recent_flushes=tuple(jobs.recent_flushes),
            recent_compactions=tuple(jobs.recent_compactions),
            recent_moves=tuple(jobs.recent_moves),
            rate_limiter=header.rate_limiter,
            recovery=self._opening.recovery,
            clock_shift_seconds=clock.shifted_micros / 1e6,
            stalls=stalls.conditions(),
            stall_seconds=stalls.seconds(round(now_wall_seconds * 1e6)),
            stall_count=stalls.entered(),
            stalled_until_wall_seconds=_seconds(stalls.ended_micros),
            background_error=error,
            level_files=dict(self._work.families.level_files),
            stats_dump=self._dumps.newest,
            has_events=self._has_events,
            damaged_lines=self.damaged_lines,
        )


def _seconds(micros: int | None) -> float | None:
    return None if micros is None else micros / 1e6
