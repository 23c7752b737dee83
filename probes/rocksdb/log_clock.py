"""When the lines of a LOG were written: its clock is local time, without a zone, and may be set.

Pure. All times are microseconds since 1970; ``local`` ones are as the LOG prints them.
"""

from probes.rocksdb import log_lines

_MAX_LINES_WITHOUT_TIME = 4096
_QUARTER_HOUR_MICROS = 900_000_000
_MAX_OFFSET_MICROS = 15 * 3_600_000_000


class LogClock:
    """The times that one LOG has told so far, None where it has not.

    ``first_micros`` and ``last_micros`` are of its oldest and newest line, ``opened_micros`` of the
    last opening of the database.
    """

    def __init__(self, offset_seconds: float) -> None:
        self.last_micros: int | None = None
        self.opened_micros: int | None = None
        self.logged_before_header: int | None = None
        self.shifted_micros = 0
        """By how much all jumps together have moved the times of before."""
        self._offset = round(offset_seconds * 1e6)  # local time minus UTC
        # As told by the first event, wherever it is: not by those that happen to be read with it.
        self._first_local: int | None = None
        self._first_offset = self._offset
        self._guessed = True
        self.opened_guessed = True
        """Whether ``opened_micros`` was converted before any event told the offset."""
        self._header_local: int | None = None
        self._jump: tuple[int, int] | None = None  # micros, and half way between the clocks
        self._block, self._line_start = b"", 0
        self._searched: tuple[int, int | None] = (0, None)
        """Up to where of the block the last line with a time was looked for, and that time."""

    def utc(self, local_micros: int) -> int:
        """A time that the LOG prints."""
        return local_micros - self._offset

    @property
    def first_micros(self) -> int | None:
        """When the oldest line was written."""
        return None if self._first_local is None else self._first_local - self._first_offset

    # -- where reading is

    def begin(self, block: bytes) -> None:
        """Whole lines are being read."""
        self._block, self._searched = block, (0, None)
        if self._first_local is not None:
            return
        start = 0
        for _ in range(_MAX_LINES_WITHOUT_TIME):
            local = log_lines.line_micros(block[start : start + 40])
            if local is not None:
                self._first_local = local
                return
            start = block.find(b"\n", start) + 1
            if start == 0:
                return

    def line_at(self, start: int) -> None:
        """The current line begins there in the block."""
        self._line_start = start

    def end(self) -> None:
        """The block has been read."""
        last = self._newest_before(len(self._block))
        if last is not None:
            self.last_micros = last
        self._block, self._line_start = b"", 0

    def made_at(self, line: bytes) -> int:
        """When the message of the current line was made."""
        local = log_lines.made_micros(line)
        if local is None:
            return self._logged_before() or 0
        return self.utc(local)

    def _logged_before(self) -> int | None:
        """When the last line before the current one was written, however the LOG was cut."""
        last = self._newest_before(self._line_start)
        return self.last_micros if last is None else last

    def _newest_before(self, end: int) -> int | None:
        """When the last line of the block with a time before ``end`` was written."""
        # No line is looked at twice: each of many without a time may ask.
        searched, newest = self._searched if end >= self._searched[0] else (0, None)
        at = end
        for _ in range(_MAX_LINES_WITHOUT_TIME):
            if at <= searched:
                break
            at = self._block.rfind(b"\n", 0, at - 1) + 1
            local = log_lines.line_micros(self._block[at : at + 40])
            if local is not None:
                newest = local
                break
        self._searched = end, newest
        return None if newest is None else self.utc(newest)

    # -- the offset to UTC

    def learn_offset(self, line: bytes, time_micros: int) -> int:
        """Compare a line's time with the one in its event, which is in UTC.

        The first event shows by how much all times told before it were wrong: that is returned,
        and to be added to those that were kept. A later one only shows that the season changed.
        """
        local = log_lines.made_micros(line)
        if local is None:
            return 0
        quarters = round((local - time_micros) / _QUARTER_HOUR_MICROS)
        offset = quarters * _QUARTER_HOUR_MICROS
        if abs(offset) > _MAX_OFFSET_MICROS:
            return 0
        guessed, self._guessed = self._guessed, False
        correction, self._offset = self._offset - offset, offset
        if not guessed:
            return 0
        self._first_offset = offset
        self.last_micros = _shifted(self.last_micros, correction)
        self.logged_before_header = _shifted(self.logged_before_header, correction)
        if self.opened_guessed:
            self.opened_micros = _shifted(self.opened_micros, correction)
            self.opened_guessed = False
        return correction

    def lines_left_out(self) -> None:
        """What follows may be of another season: the next event tells the offset anew."""
        self._guessed = True

    # -- the header, which is repeated when a LOG rolls by size

    def header(self, line: bytes) -> None:
        """A header begins with this line."""
        self._header_local = log_lines.line_micros(line)
        self.logged_before_header = self._logged_before()

    def opened(self, line: bytes) -> None:
        """This line says that the database was opened, as its header began to."""
        local = self._header_local
        if local is None:
            local = log_lines.line_micros(line)
        if local is not None:
            self.opened_micros = self.utc(local)
            self.opened_guessed = self._guessed

    @property
    def header_micros(self) -> int | None:
        """When the newest header was written."""
        return None if self._header_local is None else self.utc(self._header_local)

    # -- a wall clock that was set

    def clock_set(self, seconds: float, previous_wall_seconds: float) -> None:
        """The wall clock has jumped by ``seconds`` since it was ``previous_wall_seconds``."""
        micros = round(seconds * 1e6)
        self._jump = (micros, round(previous_wall_seconds * 1e6) + micros // 2)

    @property
    def jumped(self) -> bool:
        """Whether the lines to come are, from some line on, of another clock."""
        return self._jump is not None

    def line_after_jump(self, block: bytes) -> int:
        """Where the first line begins that was written after the jump; the end when none was."""
        if self._jump is None:
            return 0
        micros, half_way_micros = self._jump
        start = 0
        while start < len(block):
            local = log_lines.line_micros(block[start : start + 40])
            if local is not None:
                later = self.utc(local) > half_way_micros
                if later == (micros > 0):
                    return start
            start = block.index(b"\n", start) + 1
        return start

    def shift(self) -> int:
        """Tell the times of before a jump by the clock of after it; by how much they moved."""
        if self._jump is None:
            return 0
        micros, self._jump = self._jump[0], None
        self.shifted_micros += micros
        self._first_local = _shifted(self._first_local, micros)
        self.last_micros = _shifted(self.last_micros, micros)
        self.opened_micros = _shifted(self.opened_micros, micros)
        self._header_local = _shifted(self._header_local, micros)
        self.logged_before_header = _shifted(self.logged_before_header, micros)
        return micros


def _shifted(at_micros: int | None, micros: int) -> int | None:
    return None if at_micros is None else at_micros + micros
