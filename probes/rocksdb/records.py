"""The log-record format that the WAL and the MANIFEST share (RocksDB db/log_format.h).

A file is a row of 32 KiB blocks; a logical record is cut into fragments so that none crosses a
block. Fragment header: masked crc32c (4 bytes), payload length (2), type (1) and, for the
recyclable types, the low 32 bits of the log number (4).
"""

import os
import struct
from collections.abc import Iterator

BLOCK_BYTES = 32768
HEADER_BYTES = 7
RECYCLABLE_HEADER_BYTES = 11

FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
SET_COMPRESSION = 9  # announces, as a file's first record, that all payloads are compressed

CHUNK_BLOCKS = 8
"""Blocks read at once by ``read_records``: 256 KiB is memory's bound and few system calls."""

Fragment = tuple[int, int, int, int]
"""(type, header offset, payload start, payload end) within a block; recyclable types as 1..4."""

_LENGTH_TYPE = struct.Struct("<HB")
_MASK_DELTA = 0xA282EAD8  # RocksDB util/crc32c.h


class DamagedRecord(Exception):
    """A record whose checksum or structure is wrong although more data follows it."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"damaged record at offset {offset}")
        self.offset = offset


class RecordTooLarge(Exception):
    """A logical record exceeds the reader's memory bound."""


def scan_block(
    block: bytes, log_number: int | None = None, start: int = 0
) -> tuple[list[Fragment], int]:
    """Return the complete fragments of one block from ``start`` on, and where they end.

    Stops at the end, a zero type (preallocated space), a fragment that is cut, an unknown type,
    or, where ``log_number`` is given, a recyclable header of another log (an earlier use of the
    file). Checksums are not verified here: see ``checksum_matches``.
    """
    fragments: list[Fragment] = []
    position = start
    size = len(block)
    number = None if log_number is None else log_number & 0xFFFFFFFF
    unpack = _LENGTH_TYPE.unpack_from
    while position + HEADER_BYTES <= size:
        length, kind = unpack(block, position + 4)
        payload = position + HEADER_BYTES
        if 1 <= kind <= LAST:
            pass
        elif kind == 0 or 11 < kind < 128:
            break
        elif kind <= 8 or (kind > SET_COMPRESSION and kind & 1):
            payload = position + RECYCLABLE_HEADER_BYTES
            written = int.from_bytes(block[position + HEADER_BYTES : payload], "little")
            if payload > size or (number is not None and written != number):
                break
            if kind <= 8:
                kind -= 4
        end = payload + length
        if end > size:
            break
        fragments.append((kind, position, payload, end))
        position = end
    return fragments, position


def checksum_matches(block: bytes, fragment: Fragment) -> bool:
    """Verify the masked crc32c over type, log number and payload of a fragment."""
    _, header, _, end = fragment
    stored = int.from_bytes(block[header : header + 4], "little")
    return stored == masked_crc32c(block[header + 6 : end])


def read_records(
    fd: int, offset: int, *, max_bytes: int, max_record_bytes: int
) -> Iterator[tuple[bytes, int]]:
    """Yield (payload, offset behind it) of each complete logical record from ``offset`` on.

    ``offset`` must be 0 or an offset yielded before. Ends at the first incomplete record, at a
    zero-filled tail, or after about ``max_bytes``. Raises DamagedRecord, RecordTooLarge, OSError.
    """
    block_start = offset - offset % BLOCK_BYTES
    within = offset - block_start
    stop = offset + max_bytes
    parts: list[bytes] = []
    parts_bytes = 0
    expecting_more = False
    while True:
        chunk = os.pread(fd, BLOCK_BYTES * CHUNK_BLOCKS, block_start)
        for base in range(0, len(chunk), BLOCK_BYTES):
            block = chunk[base : base + BLOCK_BYTES]
            fragments, end = scan_block(block, None, within)
            within = 0
            for fragment in fragments:
                kind, header, payload, fragment_end = fragment
                at = block_start + base + header
                if not checksum_matches(block, fragment):
                    if fragment_end == len(block) < BLOCK_BYTES:
                        return  # the newest bytes of the file: perhaps still being written
                    raise DamagedRecord(at)
                if kind in (FULL, FIRST):
                    if expecting_more:
                        raise DamagedRecord(at)
                    parts, parts_bytes = [], 0
                elif kind in (MIDDLE, LAST):
                    if not expecting_more:
                        raise DamagedRecord(at)
                else:
                    continue
                parts.append(block[payload:fragment_end])
                parts_bytes += fragment_end - payload
                if parts_bytes > max_record_bytes:
                    raise RecordTooLarge(f"record at offset {at} exceeds {max_record_bytes} bytes")
                expecting_more = kind in (FIRST, MIDDLE)
                if not expecting_more:
                    behind = block_start + base + fragment_end
                    yield b"".join(parts), behind
                    if behind >= stop:
                        return
            if len(block) < BLOCK_BYTES:
                return
            if BLOCK_BYTES - end >= HEADER_BYTES:
                if any(block[end:]):
                    raise DamagedRecord(block_start + base + end)
                if BLOCK_BYTES - end >= RECYCLABLE_HEADER_BYTES:
                    return  # preallocated zeros: the live end of the file
        if len(chunk) < BLOCK_BYTES * CHUNK_BLOCKS:
            return
        block_start += len(chunk)


def _table() -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        entries.append(value)
    return tuple(entries)


_TABLE = _table()

_FOLD_DEGREE, _FOLD_EXPONENTS = 290, (136, 113, 107, 32, 0)
"""x^290 = x^136 + x^113 + x^107 + x^32 + 1 modulo the crc32c polynomial.

Squaring keeps the equation true, so the same holds for all exponents times 2^k. It replaces the
highest powers of a message by lower ones with five shifts of a big integer: a 32 KiB record is
checked in tens of microseconds where a table walk over its bytes takes milliseconds.
"""
_FOLD_WINDOW = _FOLD_DEGREE - max(_FOLD_EXPONENTS)
_FOLD_FROM_BYTES = 120  # below, the table walk is faster


def masked_crc32c(message: bytes) -> int:
    """Return crc32c of ``message``, masked as RocksDB stores it (util/crc32c.h)."""
    crc = 0xFFFFFFFF
    if len(message) >= _FOLD_FROM_BYTES:
        message = _folded(message)
        crc = 0
    table = _TABLE
    for byte in message:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _folded(message: bytes) -> bytes:
    """Return a short message with the same remainder, the initial value already mixed in.

    In the reflected order of crc32c the low bits of the little-endian integer are the highest
    powers of x, so folding moves bits upward.
    """
    bits = len(message) * 8
    value = int.from_bytes(message, "little") ^ 0xFFFFFFFF
    scale = max(0, (bits // _FOLD_DEGREE).bit_length() - 1)
    while scale >= 0:
        window = (_FOLD_WINDOW << scale) & ~7
        shifts = [((_FOLD_DEGREE - exponent) << scale) - window for exponent in _FOLD_EXPONENTS]
        while bits >= (_FOLD_DEGREE << scale) + window:
            low = value & ((1 << window) - 1)
            value >>= window
            for shift in shifts:
                value ^= low << shift
            bits -= window
        scale -= 1
    return value.to_bytes(bits // 8, "little")
