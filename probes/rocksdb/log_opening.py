"""What a LOG tells of the database's opening: the version, where tables lie, how far it has come.

Pure. DBImpl::Open (db/db_impl/db_impl_open.cc) makes the LOG and writes the header before it asks
for the lock. Whoever gets it goes on with "Recovering from manifest file", with the events
recovery_started and recovery_finished where there are WALs to replay (recovery_failed since 10.0;
before, a recovery that fails is finished, too), and with "DB pointer", which is flushed at once.
Who does not get it writes nothing but "Shutdown complete", and who only reads no "DB pointer".
"""

from collections.abc import Mapping
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


class OpeningTracker:
    """The newest opening. Times are int microseconds since the Unix epoch."""

    def __init__(self) -> None:
        self.version: str | None = None
        self.rate_limiter: bool | None = None
        self.table_directories: list[str] = []
        self.owner_lines = 0
        """Lines that only a process writes which has the database open."""
        self._before_header = 0
        self._began: int | None = None
        self._ended: int | None = None

    def header(self, line: bytes) -> None:
        """A header begins: of an opening, of an attempt, or of a LOG that rolled by size."""
        self._before_header = self.owner_lines
        self.table_directories.clear()
        version = line.partition(VERSION_MARK)[2].strip()[:32]
        if version:
            self.version = log_lines.text_name(version)

    def table_directory(self, line: bytes) -> None:
        """The header's summary names each directory that holds tables (db_info_dumper.cc)."""
        if (directory := log_lines.parse_table_directory(line)) is not None and (
            directory not in self.table_directories
        ):
            del self.table_directories[MAX_TABLE_DIRECTORIES:]
            self.table_directories.append(directory)

    @property
    def only_attempted(self) -> bool:
        """Whether nothing since the newest header shows that its writer has the database open."""
        return self.owner_lines == self._before_header

    def began(self, at_micros: int) -> None:
        """MANIFEST and WALs are read now, with the lock or, up to 6.19, to read only."""
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
