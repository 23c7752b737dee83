"""The history's file: SQLite, written by one thread, read by other processes meanwhile.

store = Store(path, limit_bytes)       # DamagedHistory, NewerHistory, OSError, sqlite3.Error
rows = store.write(samples)            # one transaction; the same errors
store.close()
"""

import os
import resource
import sqlite3
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from agent.history import schema
from agent.history.sample import Sample
from agent.history.store_file import DamagedHistory, make_private
from agent.history.store_rows import RowWriter
from agent.history.upkeep import Upkeep

BUSY_SECONDS: Final = 5.0
"""How long to wait for somebody who has locked the file; nobody should."""

CACHE_KIB: Final = 256
"""The last pages of a few tables: all that appending needs."""

CHECKPOINT_PAGES: Final = 1024
"""A MiB of log: about once in an hour it is copied into the file, and synced."""

BLOCK_BYTES: Final = 512
"""The unit of ``ru_oublock``."""


def written_by_this_thread() -> int:
    """Bytes that the kernel accounts to the calling thread: pages that it made dirty, those of a
    mapped file and those of a checkpoint included. A page that was written back counts anew."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_oublock * BLOCK_BYTES


class NewerHistory(Exception):
    """The file was written by a later version of the agent."""


class Store:
    """The open file. To be used by one thread only."""

    def __init__(self, path: str, limit_bytes: int) -> None:
        self._path = path
        make_private(path)
        self._connection = sqlite3.connect(
            f"file:{urllib.parse.quote(os.fsencode(path))}?mode=rw",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
        )
        try:
            self._prepare()
            found = os.stat(path)
        except BaseException:
            self._connection.close()
            raise
        self._identity = (found.st_dev, found.st_ino)
        self._rows = RowWriter(self._connection)
        self._upkeep = Upkeep(self._connection, limit_bytes)

    def _prepare(self) -> None:
        run = self._connection.execute
        run(f"PRAGMA cache_size = -{CACHE_KIB}")
        version = self._version()
        if version is None:
            run(f"PRAGMA page_size = {schema.PAGE_BYTES}")  # which can be said only now
        mode = run("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise OSError(None, "the file system has no shared memory, which SQLite's log needs")
        # A commit is a write into the log and no sync: a sync would force the file system's journal
        # to the device once a minute, and it may be the database's. With NORMAL only a checkpoint
        # syncs (the log before, the file after), so that a loss of power costs the last minutes and
        # never damages the file. OFF might; FULL would sync every commit and gain those minutes.
        run("PRAGMA synchronous = NORMAL")
        run(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        run(f"PRAGMA journal_size_limit = {4 * CHECKPOINT_PAGES * schema.PAGE_BYTES}")
        if version != schema.VERSION:
            with self._transaction():
                for statement in schema.statements_from(version):
                    run(statement)

    def _version(self) -> int | None:
        """The schema's version, of a file that is ours; None of an empty one."""
        run = self._connection.execute
        version = int(run("PRAGMA user_version").fetchone()[0])
        application = run("PRAGMA application_id").fetchone()[0]
        tables = run("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if version == application == tables == 0:
            return None
        if application != schema.APPLICATION_ID or version < 1:
            raise DamagedHistory("it is a database of something else")
        if version > schema.VERSION:
            raise NewerHistory(
                f"it is of version {version}, this program writes version {schema.VERSION}"
            )
        return version

    @property
    def size_bytes(self) -> int:
        """The file and its log."""
        return sum(
            os.stat(name).st_size
            for name in (self._path, f"{self._path}-wal")
            if os.path.exists(name)
        )

    def is_in_place(self) -> bool:
        """Whether the path still leads to the open file: somebody may have removed it."""
        try:
            found = os.stat(self._path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def write(self, samples: Sequence[Sample]) -> int:
        """Add the samples, fold what is complete, forget what is old; the rows that were added."""
        try:
            with self._transaction():
                rows = sum(self._rows.add(sample) for sample in samples)
                self._upkeep.look_after(int(samples[-1].wall_seconds))
        except BaseException:
            self._rows.forget_names()
            raise
        return rows

    def close(self) -> None:
        """Close the file; an error changes nothing."""
        try:
            self._connection.close()
        except sqlite3.Error:
            pass  # what was committed is in the log, and found again there

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            try:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                pass  # the first error is the one to tell of
            raise
