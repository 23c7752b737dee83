"""Finding the last complete write batch of one WAL from its end."""

import os
import struct
from dataclasses import dataclass

from probes.errors import NoData
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

MAX_BLOCKS_BACK = 4096
"""Blocks walked back from the live end in search of a record's start: 128 MiB, the largest write
batch that is followed. Whole blocks inside a record cost one small read each."""

MAX_REJECTED_RECORDS = 32
"""Records with a wrong checksum or impossible header that are passed over at the tail."""

_BATCH_HEADER = struct.Struct("<QI")  # sequence, count: RocksDB db/write_batch.cc
_MIN_OPERATION_BYTES = 2  # one tag byte and the length of an empty key
_MAX_SEQUENCE = (1 << 56) - 1  # RocksDB db/dbformat.h kMaxSequenceNumber


@dataclass(frozen=True, slots=True)
class WalTail:
    """The last complete write batch of one WAL, and the bytes per operation seen around it."""

    last_sequence: int
    mean_record_bytes: float | None


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
