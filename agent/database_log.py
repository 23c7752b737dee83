"""The LOG of one database, and where the directory that it is kept in really lies."""

import os

from agent.database_place import really_at
from probes.clock import Clock
from probes.rocksdb.log import LogProbe
from probes.rocksdb.options import as_reached
from probes.rocksdb.samples import LogSample


class DatabaseLog:
    """Read in its slot's thread only: of a dead disk others have what was last seen."""

    def __init__(
        self, database_path: str, clock: Clock, db_log_dir: str | None, *, kept_open: bool
    ) -> None:
        """``kept_open``: while nobody has the database open, its LOG is open only while it is read,
        or the file system of a stopped database could not be unmounted."""
        directory = None if db_log_dir is None else as_reached(db_log_dir, database_path)
        # A relative one is relative to a working directory that is not ours.
        absolute = directory is not None and os.path.isabs(directory)
        self._directory = directory if absolute else None
        self.real_directory = self._directory
        """The db_log_dir, links followed, as of the last look; None where it is not known."""
        self._probe = LogProbe(database_path, clock, db_log_dir)
        self._kept_open = kept_open

    def read(self) -> LogSample:
        """As the probe's own."""
        if self._directory is not None:
            self.real_directory = really_at(self._directory)
        try:
            return self._probe.read()
        finally:
            if not self._kept_open:
                self._probe.close()
