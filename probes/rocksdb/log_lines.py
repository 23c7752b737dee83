"""The LOG as lines: cutting a byte stream into them, and reading the plain-text ones.

Pure. A line looks like ``2026/11/21-02:47:22.970972 10029 [WARN] [db/column_family.cc:1001] text``
(util/logger: logging/posix_logger.h), in *local* time; TiKV's own logger writes
``[2022/04/30 07:16:11.145 +08:00][2][WARN] [db/...] text``. Lines that went through RocksDB's log
buffer carry the moment they were made as ``(Original Log Time ...)`` (logging/log_buffer.cc).
Times are int microseconds of local time since 1970 until an event has told the offset to UTC.
"""

import datetime
import os
import re
from dataclasses import dataclass

MAX_LINE_BYTES = 256 * 1024
"""RocksDB cuts a message at 64 KiB; a line of more than this is not RocksDB's and is skipped."""

MAX_TEXT_BYTES = 8192
"""Of a line that is no event, so much is looked at: its longest part is a column family's name."""

STALL_MARK = b" writes because "
ORIGINAL_TIME_MARK = b"(Original Log Time "

_EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()
_DAY_MICROS = 86_400_000_000
_STAMP_BYTES = 26
_STAMP_LENGTHS = (23, _STAMP_BYTES)
_SOURCE = re.compile(rb"\.(?:cc|h):\d+\] ")
_STALL = re.compile(
    rb"\[(?P<cf>.*)\] (?P<verb>Stopping|Stalling) writes because (?:"
    rb"we have \d+ (?P<memtables>immutable memtables \(waiting for flush\), "
    rb"max_write_buffer_number is set to \d+)"
    rb"|we have \d+ (?P<l0>level-0 files)"
    rb"|of (?P<pending>estimated pending compaction bytes) \d+)"
    rb"(?: rate (?P<rate>\d{1,20}))?\s*$"
)
_JOB = re.compile(rb"\[(?P<cf>.*)\] \[JOB (?P<job>\d+)\] (?:Compacting|Flushing memtable)")
_MOVE = re.compile(rb"\[(?P<cf>.*)\] (?:Moving |(?P<moved>Moved #\d+ files to level-))")
_LEVELS = re.compile(rb" files\[((?:\d+ ?){1,64})\]")
_FLUSHED = re.compile(
    rb"\[.*\] \[JOB (?P<job>\d+)\] Level-0 flush table #\d+: \d+ bytes (?P<ok>OK)?"
)
_FLUSH_ERROR = re.compile(rb"\[JOB (?P<job>\d+)\] Waiting after background flush error")
_FAMILY_BEGIN = re.compile(rb"[Cc]olumn family \[")
_FAMILY_END = re.compile(rb".*\] \(ID (?P<id>\d+)\)")


class LineSplitter:
    """Cuts chunks at line ends; holds an unfinished line back until its newline comes.

    Memory is bounded by ``MAX_LINE_BYTES``: a longer line is dropped and counted in ``damaged``.
    NUL bytes (left by a crash, or by a truncation under a writer that keeps its offset) are
    removed; each line that had some is counted.
    """

    def __init__(self) -> None:
        self.damaged = 0
        self._partial = b""
        self._partial_had_nul = False
        self._skipping = False

    def split(self, chunk: bytes) -> bytes:
        """Return the whole lines that ``chunk`` completes, each with its newline."""
        if b"\0" in chunk:
            chunk = self._without_nul(chunk)
        elif b"\n" in chunk:
            self._partial_had_nul = False
        if self._skipping:
            end = chunk.find(b"\n")
            if end < 0:
                return b""
            self._skipping = False
            chunk = chunk[end + 1 :]
        cut = chunk.rfind(b"\n") + 1
        block = b""
        if cut:
            block = self._without_long_lines(self._partial + chunk[:cut])
            self._partial = b""
        self._partial += chunk[cut:]
        if len(self._partial) > MAX_LINE_BYTES:
            self._partial = b""
            self._skipping = True
            self.damaged += 1
        return block

    def _without_nul(self, chunk: bytes) -> bytes:
        lines = [b"\0" in line for line in chunk.split(b"\n")]
        counted = self._partial_had_nul
        self.damaged += sum(lines) - (lines[0] and counted)
        self._partial_had_nul = lines[-1] or (len(lines) == 1 and counted)
        return chunk.replace(b"\0", b"")

    def _without_long_lines(self, block: bytes) -> bytes:
        start = 0
        kept: list[bytes] = []
        begin = 0
        while len(block) - start > MAX_LINE_BYTES:
            newline = block.rfind(b"\n", start, start + MAX_LINE_BYTES + 1)
            if newline >= 0:
                start = newline + 1
                continue
            kept.append(block[begin:start])
            self.damaged += 1
            start = begin = block.find(b"\n", start) + 1
        return b"".join(kept) + block[begin:] if kept else block

    def finish(self) -> bytes:
        """The file is at its end for good: return the unfinished last line, if any."""
        rest, self._partial, self._skipping = self._partial, b"", False
        self._partial_had_nul = False
        return rest + b"\n" if rest else b""


@dataclass(frozen=True, slots=True)
class StallLine:
    """One WARN line of ColumnFamilyData::RecalculateWriteStallConditions (db/column_family.cc)."""

    local_micros: int
    column_family: str
    state: str  # "delayed" or "stopped"
    cause: str  # "memtables", "l0_files" or "pending_compaction_bytes"
    delayed_write_rate: float | None  # bytes/s; only with "delayed"


class _DayCache:
    """Days since 1970 of the last date seen: a LOG rarely changes its date between two lines."""

    def __init__(self) -> None:
        self._text = b""
        self._micros = 0

    def micros(self, text: bytes) -> int:
        """Microseconds from 1970 to ``YYYY/MM/DD``; ValueError when that is no date."""
        if text != self._text:
            day = datetime.date(int(text[:4]), int(text[5:7]), int(text[8:10]))
            self._micros = (day.toordinal() - _EPOCH_ORDINAL) * _DAY_MICROS
            self._text = text
        return self._micros


_days = _DayCache()


def _stamp(text: bytes) -> int | None:
    """Read ``2026/11/21-02:47:22.970972`` (or a space and milliseconds, as TiKV writes).

    ``text`` may go on in the next line where this one was cut: then it has no such time.
    """
    if text[4:5] != b"/" or text[13:14] != b":" or text[19:20] != b".":
        return None
    if len(text) not in _STAMP_LENGTHS or not text[20:].isdigit():
        return None
    try:
        seconds = int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
        fraction = int(text[20:].ljust(6, b"0"))
        return _days.micros(text[:10]) + seconds * 1_000_000 + fraction
    except ValueError:
        return None


def is_coarse(line: bytes) -> bool:
    """Whether the line's own time has only milliseconds (TiKV's logger)."""
    return line[:1] == b"["


def line_micros(line: bytes) -> int | None:
    """When the line was written, in local microseconds; None for a continuation line."""
    if line[:1] == b"[":
        return _stamp(line[1:24])
    return _stamp(line[:_STAMP_BYTES])


def made_micros(line: bytes) -> int | None:
    """When the message was made: its Original Log Time, else the time of the line."""
    at = line.find(ORIGINAL_TIME_MARK, 0, 120)
    if at < 0:
        return line_micros(line)
    start = at + len(ORIGINAL_TIME_MARK)
    return _stamp(line[start : start + _STAMP_BYTES])


def text_name(raw: bytes) -> str:
    """A column family's name, which may be any bytes: what is not UTF-8 becomes ``\\xNN``."""
    return raw.decode("utf-8", "backslashreplace")


def _message(line: bytes) -> bytes:
    """The text after time, thread, level and source position."""
    found = _SOURCE.search(line, 0, 300)
    if found:
        return line[found.end() :]
    # HEADER lines and foreign builds have no source position: skip "<time> <tid> [LEVEL] ".
    parts = line.split(b" ", 2)
    rest = parts[2] if len(parts) == 3 else b""
    for level in (b"[WARN] ", b"[ERROR] ", b"[DEBUG] ", b"[FATAL] "):
        if rest.startswith(level):
            return rest[len(level) :]
    return rest


def parse_stall(line: bytes) -> StallLine | None:
    """Read a line that has ``STALL_MARK``; None when it is cut or says something else."""
    found = _STALL.match(_message(line))
    at = made_micros(line)
    if found is None or at is None:
        return None
    stopped = found["verb"] == b"Stopping"
    if not stopped and found["rate"] is None:
        return None  # cut: every delay names its rate
    if found["memtables"]:
        cause = "memtables"
    elif found["l0"]:
        cause = "l0_files"
    else:
        cause = "pending_compaction_bytes"
    return StallLine(
        local_micros=at,
        column_family=text_name(found["cf"]),
        state="stopped" if stopped else "delayed",
        cause=cause,
        delayed_write_rate=None if stopped else float(found["rate"]),
    )


def parse_job(line: bytes) -> tuple[int, str] | None:
    """(job, column family) of the line that announces a flush or a compaction."""
    found = _JOB.match(_message(line))
    return (int(found["job"][:18]), text_name(found["cf"])) if found else None


@dataclass(frozen=True, slots=True)
class MoveLine:
    """One of the lines around a trivial move; ``level_files`` comes with the last one."""

    local_micros: int
    column_family: str
    done: bool
    level_files: tuple[int, ...] | None


def parse_move(line: bytes) -> MoveLine | None:
    """Read a line of a trivial move (files that change their level without being rewritten)."""
    text = _message(line)
    found = _MOVE.match(text)
    at = made_micros(line)
    if found is None or at is None:
        return None
    done = found["moved"] is not None
    levels = _LEVELS.search(text, found.end()) if done else None
    return MoveLine(
        local_micros=at,
        column_family=text_name(found["cf"]),
        done=done,
        level_files=tuple(int(count[:18]) for count in levels[1].split()) if levels else None,
    )


def parse_failed_flush(line: bytes) -> int | None:
    """The job of a flush whose result line says anything but OK.

    Its flush_finished event follows all the same, and does not tell.
    """
    text = _message(line)
    found = _FLUSH_ERROR.match(text) or _FLUSHED.match(text)
    if found is None or found.groupdict().get("ok"):
        return None
    return int(found["job"][:18])


def parse_failed_compaction(line: bytes) -> str | None:
    """The column family of a compaction whose summary line says anything but OK."""
    # "[name] compacted to: ... MB in(...) out(...) ... OK, records in: ...". Found by its ends,
    # for a pattern with two gaps takes minutes for a line that repeats its words.
    head, mark, rest = _message(line).partition(b"] compacted to: ")
    before, records, _ = rest.partition(b", records in: ")
    _, bracket, status = before.rpartition(b") ")
    told = mark and records and bracket and head.startswith(b"[")
    if not told or b"(" in status or status.startswith(b"OK"):
        return None
    return text_name(head[1:])


def parse_family(line: bytes) -> tuple[int, str] | None:
    """(id, name) of a line that says which column families exist."""
    begin = _FAMILY_BEGIN.search(line)
    found = _FAMILY_END.match(line, begin.end()) if begin else None
    if begin is None or found is None:
        return None
    name = line[begin.end() : found.start("id") - len(b"] (ID ")]
    return int(found["id"][:18]), text_name(name)


def message_text(line: bytes) -> str:
    """The message of a line, for a person; at most 500 characters."""
    return text_name(_message(line)[:500]).strip()


_TABLE_DIRECTORY = re.compile(rb" SST files in (/.{0,4095}) dir, Total Num: \d+")


def parse_table_directory(line: bytes) -> str | None:
    """The absolute directory of a "SST files in DIR dir, Total Num: N" header line, else None."""
    found = _TABLE_DIRECTORY.search(line, 0, MAX_TEXT_BYTES)
    return None if found is None else os.fsdecode(found[1])


_LASTED = re.compile(
    rb"\[.*\] \[JOB (?P<job>\d+)\] Flush lasted \d+ microseconds, and (?P<cpu>\d+) cpu micro",
    re.DOTALL,
)


def parse_flush_cpu(line: bytes) -> tuple[int, int] | None:
    """(job, CPU microseconds) of a "Flush lasted" line (db/flush_job.cc since 6.28)."""
    found = _LASTED.match(_message(line))
    return (int(found["job"][:18]), int(found["cpu"][:18])) if found else None


def parse_rate_limiter(line: bytes) -> bool:
    """Whether the header's pointer to the rate limiter leads anywhere (options/db_options.cc).

    A null pointer is printed as "(nil)" by glibc, as "0x0" by others and as "0000000000000000" on
    Windows.
    """
    pointer = line.partition(b"Options.rate_limiter:")[2].strip()
    return pointer not in (b"", b"(nil)", b"nil", b"null") and bool(pointer.strip(b"0x"))
