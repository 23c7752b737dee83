"""The put rate's exact and cheapest source: the sequence number in the newest WAL."""

import os
import re

from probes.clock import Clock
from probes.errors import NoData, ProbeError, ProbeFailed
from probes.rocksdb.files import open_regular
from probes.rocksdb.records import HEADER_BYTES, SET_COMPRESSION
from probes.rocksdb.samples import WalSample
from probes.rocksdb.wal_tail import WalTail, read_tail

MAX_EMPTY_WALS = 16
"""WALs without a record that are passed over on the way to the newest sequence number."""

LISTING_SETTLE_SECONDS = 0.1
"""A directory changed less than this before it was listed may change again without a new mtime
(kernels before 6.13 stamp files with the time of the last tick), so that listing is not reused."""

LARGE_DIRECTORY_ENTRIES = 2000
LOOK_AHEAD = 128
RELIST_SECONDS = 60.0
"""A directory of so many table files changes with every flush and costs milliseconds to list. The
next WAL's number lies a few tens ahead of the newest one's (files share the numbers), so it is
looked for there by name. The directory is listed at most once a minute, or when the newest WAL has
not grown, which is how a successor further ahead shows."""

_WAL_STEM = re.compile(r"[0-9]{6}|[1-9][0-9]{6,18}")  # RocksDB file/filename.cc


class _Vanished(Exception):
    """A WAL was deleted between listing and opening."""


class WalProbe:
    """Reads the last sequence number of a live database; ~0.1 ms, whatever the WAL's size.

    One sequence number is one key operation, except with WritePrepared transactions, where it
    counts batches. Under two-phase commit the value may be off by one transaction for a moment.
    """

    def __init__(self, database_path: str, clock: Clock, wal_dir: str | None = None) -> None:
        self._directory = database_path if wal_dir is None else wal_dir
        self._clock = clock
        self._listing: tuple[int, ...] = ()
        self._listed_mtime_ns: int | None = None
        self._relist_at = 0.0  # until then a large directory is not listed, only looked into
        self._newest_bytes = -1  # the newest WAL's size at the last reading
        self._closed_sizes: dict[int, int] = {}
        self._first_record_checked: int | None = None
        self._reported: tuple[int, int, int] | None = None  # WAL number, inode, last sequence

    def read(self) -> WalSample:
        """Return the newest sequence number.

        NoData: "no_wal", "wal_empty", "wal_compressed", "wal_rotating", "wal_record_too_large",
        "wal_unreadable_tail". ProbeFailed: "wal_directory_missing", "not_readable",
        "wal_read_error".
        """
        try:
            try:
                return self._read(use_cache=True)
            except _Vanished:
                return self._read(use_cache=False)
        except _Vanished:
            raise NoData(
                "wal_rotating",
                f"the WALs in {self._directory} were deleted while being read, twice; "
                "the next reading will find the new one",
            ) from None
        except OSError as error:
            raise self._failure(error) from error

    def _read(self, *, use_cache: bool) -> WalSample:
        numbers = self._wal_numbers(use_cache=use_cache)
        if not numbers:
            raise NoData(
                "no_wal",
                f"no WAL file in {self._directory}; the database is closed, or writes with "
                "disableWAL and has removed its last WAL",
            )
        newest = numbers[-1]
        tail: WalTail | None = None
        live_bytes = 0
        reported: tuple[int, int, int] | None = None
        inode = 0
        for number in numbers[: -MAX_EMPTY_WALS - 1 : -1]:
            fd = self._open(number)
            try:
                status = os.fstat(fd)
                if number == newest:
                    inode, live_bytes = status.st_ino, status.st_size
                    reported = self._still_valid(newest, inode)
                tail = self._tail(fd, number, status.st_size)
            finally:
                os.close(fd)
            # A WAL just created is empty: then the one before it holds the newest record.
            if tail is not None or (reported is not None and number <= reported[0]):
                break
        if tail is None and reported is None:
            raise NoData(
                "wal_empty", f"no WAL in {self._directory} holds a record yet; nothing was written"
            )
        self._newest_bytes = live_bytes
        live_bytes += self._closed_bytes(numbers[:-1])
        sequence = max(
            0 if reported is None else reported[2], 0 if tail is None else tail.last_sequence
        )
        self._reported = (newest, inode, sequence)
        return WalSample(
            at=self._clock.monotonic(),
            last_sequence=sequence,
            wal_number=newest,
            live_wal_bytes=live_bytes,
            mean_record_bytes=None if tail is None else tail.mean_record_bytes,
        )

    def _still_valid(self, newest: int, inode: int) -> tuple[int, int, int] | None:
        """Return what was reported, unless it was about another database in the same place.

        Numbers only grow within one database, and a number never changes its inode.
        """
        if self._reported is None:
            return None
        number, reported_inode, _ = self._reported
        if newest < number or (newest == number and inode != reported_inode):
            return None
        return self._reported

    def _wal_numbers(self, *, use_cache: bool) -> tuple[int, ...]:
        mtime_ns = os.stat(self._directory).st_mtime_ns
        if use_cache and self._listed_mtime_ns == mtime_ns:
            return self._listing
        now = self._clock.monotonic()
        if use_cache and now < self._relist_at and self._looked_ahead():
            return self._listing
        settled_at = self._clock.wall() - LISTING_SETTLE_SECONDS
        names = os.listdir(self._directory)
        stems = [name[:-4] for name in names if name.endswith(".log")]
        self._listing = tuple(sorted(int(stem) for stem in stems if _WAL_STEM.fullmatch(stem)))
        self._listed_mtime_ns = mtime_ns if mtime_ns < settled_at * 1e9 else None
        large = self._listing and len(names) >= LARGE_DIRECTORY_ENTRIES
        self._relist_at = now + RELIST_SECONDS if large else now
        return self._listing

    def _looked_ahead(self) -> bool:
        """Bring the listing up to date by the names that may have come; False: list anew."""
        newest = self._listing[-1]
        found = []
        number = newest + 1
        end = number + LOOK_AHEAD
        while number < end:
            if os.access(self._path(number), os.F_OK):
                found.append(number)
                end = number + 1 + LOOK_AHEAD
            number += 1
        if not found:
            try:
                if os.stat(self._path(newest)).st_size == self._newest_bytes:
                    return False
            except FileNotFoundError:
                return False
        kept = (number for number in self._listing if os.access(self._path(number), os.F_OK))
        self._listing = (*kept, *found)
        return bool(self._listing)

    def _closed_bytes(self, numbers: tuple[int, ...]) -> int:
        """Return the size of the WALs that are no longer written: each is looked at once."""
        known = self._closed_sizes
        self._closed_sizes = sizes = {}
        for number in numbers:
            size = known.get(number)
            if size is None:
                try:
                    size = os.stat(self._path(number)).st_size
                except FileNotFoundError:
                    continue  # became obsolete meanwhile
            sizes[number] = size
        return sum(sizes.values())

    def _path(self, number: int) -> str:
        return f"{self._directory}/{number:06d}.log"

    def _open(self, number: int) -> int:
        try:
            return open_regular(self._path(number))
        except FileNotFoundError:
            raise _Vanished from None

    def _tail(self, fd: int, number: int, size: int) -> WalTail | None:
        if size >= HEADER_BYTES and self._first_record_checked != number:
            if os.pread(fd, HEADER_BYTES, 0)[6] == SET_COMPRESSION:
                raise NoData(
                    "wal_compressed",
                    f"{self._path(number)} is written with wal_compression, which hides the "
                    "sequence numbers; the MANIFEST gives one per flush",
                )
            self._first_record_checked = number
        return read_tail(fd, number, size)

    def _failure(self, error: OSError) -> ProbeError:
        where = error.filename or self._directory
        if isinstance(error, FileNotFoundError):
            return ProbeFailed("wal_directory_missing", f"{where} does not exist any more")
        if isinstance(error, PermissionError):
            return ProbeFailed(
                "not_readable",
                f"{where} is not readable for this user; run as the database's user or root, "
                "or grant read access with an ACL",
            )
        return ProbeFailed("wal_read_error", f"{where}: {error.strerror}")
