"""Checksums that a mutation has broken, made right again: else nothing behind them is reached."""

from probes.rocksdb.records import (
    BLOCK_BYTES,
    HEADER_BYTES,
    masked_crc32c,
    scan_block,
)

RAW, SOUND, RECORDS = 0, 1, 2


def framed(how: int, content: bytes) -> bytes:
    """The content as a file: as it is, with its checksums made right, or as records."""
    if how % 3 == SOUND:
        return with_sound_checksums(content)
    return in_records(content) if how % 3 == RECORDS else content


def with_sound_checksums(content: bytes) -> bytes:
    """The same fragments with the checksums that belong to them."""
    fixed = bytearray(content)
    for base in range(0, len(content), BLOCK_BYTES):
        block = content[base : base + BLOCK_BYTES]
        for _, header, _, end in scan_block(block)[0]:
            checksum = masked_crc32c(block[header + 6 : end])
            fixed[base + header : base + header + 4] = checksum.to_bytes(4, "little")
    return bytes(fixed)


def in_records(content: bytes) -> bytes:
    """A log file whose records are pieces of ``content``, each behind its length in one byte."""
    out = bytearray()
    position = 0
    while position < len(content):
        length = content[position]
        payload = content[position + 1 : position + 1 + length]
        position += 1 + length
        if BLOCK_BYTES - len(out) % BLOCK_BYTES < HEADER_BYTES + len(payload):
            out += bytes(-len(out) % BLOCK_BYTES)
        head = len(payload).to_bytes(2, "little") + b"\x01"
        out += masked_crc32c(b"\x01" + payload).to_bytes(4, "little") + head + payload
    return bytes(out)
