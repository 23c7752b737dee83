"""The put rate's exact and cheapest source: the sequence number in the newest WAL's tail."""

import os
import re
import struct
from dataclasses import dataclass

from probes.clock import Clock
from probes.errors import NoData, ProbeError, ProbeFailed
from probes.rocksdb.records import (
    BLOCK_BYTES,
    FIRST,
    FULL,
    HEADER_BYTES,
    LAST,
    MIDDLE,
    RECYCLABLE_HEADER_BYTES,
    SET_COMPRESSION,
    Fragment,
    checksum_matches,
    scan_block,
)
from probes.rocksdb.samples import WalSample

MAX_BLOCKS_BACK = 4096
"""Blocks walked back from the live end in search of a record's start: 128 MiB, the largest write
batch that is followed. Whole blocks inside a record cost one small read each."""

MAX_EMPTY_WALS = 16
"""WALs without a record that are passed over on the way to the newest sequence number."""

MAX_REJECTED_RECORDS = 32
"""Records with a wrong checksum or impossible header that are passed over at the tail."""

LISTING_SETTLE_SECONDS = 0.1
"""A directory changed less than this before it was listed may change again without a new mtime
(kernels before 6.13 stamp files with the time of the last tick), so that listing is not reused."""

_BATCH_HEADER = struct.Struct("<QI")  # sequence, count: RocksDB db/write_batch.cc
_WAL_STEM = re.compile(r"[0-9]{6}|[1-9][0-9]{6,18}")  # RocksDB file/filename.cc
_MIN_OPERATION_BYTES = 2  # one tag byte and the length of an empty key
_MAX_SEQUENCE = (1 << 56) - 1  # RocksDB db/dbformat.h kMaxSequenceNumber


@dataclass(frozen=True, slots=True)
class WalTail:
    """The last complete write batch of one WAL, and the bytes per operation seen around it."""

    last_sequence: int
    mean_record_bytes: float | None


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
        settled_at = self._clock.wall() - LISTING_SETTLE_SECONDS
        stems = [name[:-4] for name in os.listdir(self._directory) if name.endswith(".log")]
        self._listing = tuple(sorted(int(stem) for stem in stems if _WAL_STEM.fullmatch(stem)))
        self._listed_mtime_ns = mtime_ns if mtime_ns < settled_at * 1e9 else None
        return self._listing

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
            return os.open(self._path(number), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
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


def read_tail(fd: int, number: int, size: int) -> WalTail | None:
    """Return the last complete batch of an open WAL of ``size`` bytes; None when it has none.

    Raises NoData "wal_record_too_large" and "wal_unreadable_tail", OSError.
    """
    if size < HEADER_BYTES:
        return None
    last = _last_live_block(fd, number, (size - 1) // BLOCK_BYTES)
    if last is None:
        return None
    return _TailWalk(fd, number, last).walk()


def _last_live_block(fd: int, number: int, last: int) -> int | None:
    """Return the last block that this log has written; the live blocks are a prefix of the file.

    Behind them lie zeros (preallocated) or records of an earlier use of a recycled file.
    """
    if _is_live(fd, number, last):
        return last
    if not _is_live(fd, number, 0):
        return None
    live, dead = 0, last
    while dead - live > 1:
        middle = (live + dead) // 2
        if _is_live(fd, number, middle):
            live = middle
        else:
            dead = middle
    return live


def _is_live(fd: int, number: int, block: int) -> bool:
    header = os.pread(fd, RECYCLABLE_HEADER_BYTES, block * BLOCK_BYTES)
    if len(header) < HEADER_BYTES or not any(header[:HEADER_BYTES]):
        return False
    kind = header[6]
    if FULL + 4 <= kind <= LAST + 4 or (kind > SET_COMPRESSION and kind & 1):
        return int.from_bytes(header[7:], "little") == number & 0xFFFFFFFF
    return kind != 0


class _TailWalk:
    """Walks the fragments of a WAL backwards until a complete and sound batch is found."""

    def __init__(self, fd: int, number: int, last_block: int) -> None:
        self._fd = fd
        self._number = number
        self._block_index = last_block
        self._record_bytes: int | None = None  # of the record whose end was met, else None
        self._rejected = 0
        self._last_sequence: int | None = None
        self._operations = 0
        self._payload_bytes = 0

    def walk(self) -> WalTail | None:
        for _ in range(MAX_BLOCKS_BACK):
            self._walk_block()
            if self._last_sequence is not None:
                mean = self._payload_bytes / self._operations if self._operations else None
                return WalTail(self._last_sequence, mean)
            if self._block_index == 0:
                if self._rejected:
                    break
                return None
            if self._rejected > MAX_REJECTED_RECORDS:
                break
            self._block_index -= 1
        else:
            raise NoData(
                "wal_record_too_large",
                f"the newest record of WAL {self._number} is larger than "
                f"{MAX_BLOCKS_BACK * BLOCK_BYTES >> 20} MiB and is not followed",
            )
        raise NoData(
            "wal_unreadable_tail",
            f"no record with a correct checksum at the tail of WAL {self._number}",
        )

    def _walk_block(self) -> None:
        offset = self._block_index * BLOCK_BYTES
        header = os.pread(self._fd, HEADER_BYTES, offset)
        if len(header) == HEADER_BYTES and header[6] in (MIDDLE, MIDDLE + 4):
            length = int.from_bytes(header[4:6], "little")
            if length == BLOCK_BYTES - _header_bytes(header[6]):
                if self._record_bytes is not None:
                    self._record_bytes += length
                return  # the whole block is the inside of one record
        block = os.pread(self._fd, BLOCK_BYTES, offset)
        fragments, _ = scan_block(block, self._number)
        for fragment in reversed(fragments):
            kind, _, start, end = fragment
            if kind == LAST:
                self._record_bytes = end - start
            elif kind == MIDDLE:
                if self._record_bytes is not None:
                    self._record_bytes += end - start
            elif kind == FULL:
                self._record_bytes = None
                self._take(block, fragment, end - start)
            elif kind == FIRST:
                total = self._record_bytes
                self._record_bytes = None
                if total is not None:  # else its end is not written yet
                    self._take(block, fragment, total + end - start)

    def _take(self, block: bytes, fragment: Fragment, record_bytes: int) -> None:
        """Account one complete batch; the newest sound one gives the sequence number."""
        if self._rejected > MAX_REJECTED_RECORDS:
            return
        head = block[fragment[2] : min(fragment[3], fragment[2] + _BATCH_HEADER.size)]
        if len(head) < _BATCH_HEADER.size:
            head += self._continuation()[: _BATCH_HEADER.size - len(head)]
        if len(head) < _BATCH_HEADER.size:
            self._rejected += 1
            return
        sequence, count = _BATCH_HEADER.unpack(head)
        payload = record_bytes - _BATCH_HEADER.size
        last = sequence + count - 1
        if count * _MIN_OPERATION_BYTES > payload or not 0 <= last <= _MAX_SEQUENCE:
            self._rejected += 1
            return
        if self._last_sequence is None:
            # Older batches of the block serve the mean only, so they are not worth a checksum.
            if not checksum_matches(block, fragment):
                self._rejected += 1
                return
            self._last_sequence = last
        elif last > self._last_sequence:
            return
        self._operations += count
        self._payload_bytes += payload

    def _continuation(self) -> bytes:
        """Return the payload of the fragment that opens the following block."""
        start = os.pread(
            self._fd,
            RECYCLABLE_HEADER_BYTES + _BATCH_HEADER.size,
            (self._block_index + 1) * BLOCK_BYTES,
        )
        return start[_header_bytes(start[6]) :] if len(start) >= HEADER_BYTES else b""


def _header_bytes(kind: int) -> int:
    recyclable = FULL + 4 <= kind <= LAST + 4
    return RECYCLABLE_HEADER_BYTES if recyclable else HEADER_BYTES
