"""The statistics RocksDB dumps into its LOG every stats_dump_period_sec (default 600).

The only message of several lines that is read: it ends where the next line has a time of its own.

Pure. Source: db/internal_stats.cc (DumpDBStats, DumpCFStatsNoFileHistogram). Only Cumulative
lines are used: the Interval lines restart whenever the application reads its own statistics.
"""

import re
from dataclasses import replace

from probes.rocksdb.log_lines import line_micros, text_name
from probes.rocksdb.samples import StatsDump

DUMP_MARK = b"** DB Stats **"
MAX_COLUMN_FAMILIES = 4096
MAX_DUMP_LINES = 200_000

_GIB = 1024.0**3
_MULTIPLES = {b"": 1.0, b"K": 1e3, b"M": 1e6, b"G": 1e9, b"T": 1e12}
_UPTIME = re.compile(rb"Uptime\(secs\): (\d{1,20}(?:\.\d{1,20})?) total")
_WRITES = re.compile(
    rb"Cumulative writes: \d+[KMGT]? writes, (?P<keys>\d{1,20})(?P<multiple>[KMGT]?) keys"
    rb"(?:.* ingest: (?P<ingest>\d{1,20}(?:\.\d{1,20})?) GB)?"
)
_STALL = re.compile(rb"Cumulative stall: (\d{1,20}):(\d{1,20}):(\d{1,20}(?:\.\d{1,20})?) H:M:S")
_FAMILY = re.compile(rb"\*\* Compaction Stats \[(.*)\] \*\*")
_PENDING = re.compile(rb"Estimated pending compaction bytes: (\d{1,20})(?!\d)")
_NUMBER = re.compile(rb"\d{1,20}(?:\.\d{1,20})?")
_TWO_TOKEN_COLUMN = b"Size"  # printed as "27.06 MB"


class StatsDumpParser:
    """Takes the lines of one dump, after ``DUMP_MARK``, and returns what they said.

    Tables are read by header name because columns were inserted in 6.0, 6.19 and 10.4.
    """

    def __init__(self, wall_seconds: float) -> None:
        self._wall_seconds = wall_seconds
        self._uptime: float | None = None
        self._writes: float | None = None
        self._ingest: float | None = None
        self._stall: float | None = None
        self._amplification: dict[str, float] = {}
        self._pending: dict[str, float] = {}
        self._family: str | None = None
        self._header: list[bytes] = []

    def feed(self, line: bytes) -> None:
        """Take one line; lines that say nothing we use are skipped."""
        text = line.strip()
        if text.startswith(b"** "):
            found = _FAMILY.match(text)
            self._family = text_name(found[1]) if found else None
            self._header = []
        elif text.startswith((b"Level ", b"Priority ")):
            self._header = text.split()
        elif text.startswith(b"Sum "):
            self._sum_row(text.split())
        elif text.startswith(b"Uptime(secs)"):
            if self._uptime is None and (found := _UPTIME.match(text)):
                self._uptime = float(found[1])
        elif text.startswith(b"Cumulative writes"):
            if found := _WRITES.match(text):
                self._writes = float(found["keys"]) * _MULTIPLES[found["multiple"]]
                if found["ingest"] is not None:
                    self._ingest = float(found["ingest"]) * _GIB
        elif text.startswith(b"Cumulative stall"):
            if self._stall is None and (found := _STALL.match(text)):
                self._stall = float(found[1]) * 3600 + float(found[2]) * 60 + float(found[3])
        elif (
            text.startswith(b"Estimated pending")
            and self._family is not None
            and (found := _PENDING.match(text))
            and len(self._pending) < MAX_COLUMN_FAMILIES
        ):
            self._pending[self._family] = float(found[1])

    def _sum_row(self, row: list[bytes]) -> None:
        if self._family is None or self._header[:1] != [b"Level"] or b"W-Amp" not in self._header:
            return
        column = self._header.index(b"W-Amp")
        if _TWO_TOKEN_COLUMN in self._header[:column]:
            column += 1
        if len(row) <= column or len(self._amplification) >= MAX_COLUMN_FAMILIES:
            return
        if _NUMBER.fullmatch(row[column]):  # else a cut or overwritten row
            self._amplification[self._family] = float(row[column])

    def result(self) -> StatsDump:
        """What has been read so far."""
        return StatsDump(
            wall_seconds=self._wall_seconds,
            uptime_seconds=self._uptime,
            cumulative_writes=self._writes,
            cumulative_ingest_bytes=self._ingest,
            cumulative_stall_seconds=self._stall,
            write_amplification=dict(self._amplification),
            pending_compaction_bytes=dict(self._pending),
        )


class DumpReader:
    """Reads the dumps of one LOG, block by block; ``newest`` is the last that was whole."""

    def __init__(self) -> None:
        self.newest: StatsDump | None = None
        self._parser: StatsDumpParser | None = None
        self._lines = 0
        self._announced_micros: int | None = None

    @property
    def reading(self) -> bool:
        """Whether the next lines are a dump's."""
        return self._parser is not None

    def announced(self, at_micros: int) -> None:
        """The line before a dump tells when it was made."""
        self._announced_micros = at_micros

    def begin(self) -> None:
        """``DUMP_MARK`` was read."""
        self._parser = StatsDumpParser((self._announced_micros or 0) / 1e6)
        self._lines = 0

    def feed(self, block: bytes, start: int) -> int:
        """Take the dump's lines from ``start`` on, up to its end; where that is."""
        while self._parser is not None:
            end = block.find(b"\n", start)
            if end < 0:
                return len(block)
            line = block[start:end]
            self._lines += 1
            if line_micros(line) is not None or self._lines > MAX_DUMP_LINES:
                self.end()
                return start
            self._parser.feed(line)
            start = end + 1
        return start

    def end(self) -> None:
        """What was read of it is all of it."""
        if self._parser is not None:
            self.newest = self._parser.result()
            self._parser = None

    def cut(self) -> None:
        """The file ended within it, most likely: it only counts where there is no older one."""
        if self.newest is None:
            self.end()
        self._parser = None

    def shift(self, micros: int) -> None:
        """All times so far were told by another clock."""
        if self._announced_micros is not None:
            self._announced_micros += micros
        if self.newest is not None:
            self.newest = replace(self.newest, wall_seconds=self.newest.wall_seconds + micros / 1e6)
