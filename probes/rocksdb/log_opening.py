"""What a LOG tells of the database's opening: the version, where tables lie, how far it has come.

Pure. DBImpl::Open (db/db_impl/db_impl_open.cc) makes the LOG and writes the header before it asks
for the lock. Whoever gets it goes on with "Recovering from manifest file", with the events
recovery_started and recovery_finished where there are WALs to replay (recovery_failed since 10.0;
before, a recovery that fails is finished, too), and with "DB pointer", which is flushed at once.
Who does not get it writes nothing but "Shutdown complete", and who only reads no "DB pointer".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from probes.rocksdb import log_lines
from probes.rocksdb.log_marks import VERSION_MARK
from probes.rocksdb.samples import Recovery

MAX_TABLE_DIRECTORIES = 16
"""db_paths has a handful of entries; a LOG that names more is not believed."""

RECOVERY_EVENTS: Final[Mapping[str, bool]] = {
    "recovery_started": False,
    "recovery_finished": True,
    "recovery_failed": True,
}
"""Whether the event ends the recovery."""


@dataclass(slots=True)
class Header:
    """What one says of the library, the files and the options of whoever wrote it."""

    version: str | None = None
    rate_limiter: bool | None = None
    table_directories: list[str] = field(default_factory=list)


class OpeningTracker:
    """The newest opening. Times are int microseconds since the Unix epoch."""

    def __init__(self) -> None:
        self.owner_lines = 0
        """Lines that only a process writes which has the database open."""
        self.only_attempted = True
        """Whether nothing since the newest header of the file that is read shows that its writer
        has the database open."""
        self._newest = Header()
        self._owners: Header | None = None
        self._began: int | None = None
        self._ended: int | None = None

    def header(self, line: bytes) -> None:
        """A header begins: of an opening, of an attempt, or of a LOG that rolled by size."""
        self.only_attempted = True
        version = line.partition(VERSION_MARK)[2].strip()[:32]
        # One that has none is a damaged line of the header before.
        told = log_lines.text_name(version) if version else self.told.version
        self._newest = Header(told)

    def table_directory(self, line: bytes) -> None:
        """The header's summary names each directory that holds tables (db_info_dumper.cc)."""
        directory, known = log_lines.parse_table_directory(line), self._newest.table_directories
        if directory is not None and directory not in known:
            del known[MAX_TABLE_DIRECTORIES:]
            known.append(directory)

    def rate_limiter(self, line: bytes) -> None:
        """The header tells whether there is one."""
        self._newest.rate_limiter = log_lines.parse_rate_limiter(line)

    @property
    def told(self) -> Header:
        """The newest header of an owner; whoever tried in vain may be of another version."""
        return self._newest if self._owners is None else self._owners

    def owner_line(self) -> None:
        """Only who has the database open writes this."""
        self.owner_lines += 1
        if self.only_attempted:
            self.only_attempted = False
            self._owners = self._newest

    def began(self, at_micros: int) -> None:
        """MANIFEST and WALs are read now, with the lock or, up to 6.19, to read only."""
        self._owners = self._newest
        self._began, self._ended = at_micros, None

    def event(self, name: str, at_micros: int) -> None:
        """One of ``RECOVERY_EVENTS``."""
        if self._began is None:  # what stood before was lost
            self._began = at_micros
        self._ended = at_micros if RECOVERY_EVENTS[name] else None

    def ended(self, at_micros: int) -> None:
        """It is open, at work or closed again: there is nothing left to recover."""
        if self._began is not None and self._ended is None:
            self._ended = at_micros

    def shift(self, micros: int) -> None:
        """All that was told was told by another clock."""
        if self._began is not None:
            self._began += micros
        if self._ended is not None:
            self._ended += micros

    @property
    def recovery(self) -> Recovery | None:
        """None where the LOG does not show it."""
        if self._began is None:
            return None
        return Recovery(self._began / 1e6, None if self._ended is None else self._ended / 1e6)
