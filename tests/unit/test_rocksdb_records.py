"""The record format: checksums, fragments over block borders, cut and damaged files."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
import rocksdict
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.rocksdb.records import (
    BLOCK_BYTES,
    FIRST,
    FULL,
    LAST,
    MIDDLE,
    DamagedRecord,
    RecordTooLarge,
    masked_crc32c,
    read_records,
    scan_block,
)


def framed(payloads: Iterable[bytes], *, log_number: int | None = None) -> bytes:
    """Write payloads as RocksDB's log writer does, recyclable when a log number is given."""
    out = bytearray()
    header = 7 if log_number is None else 11
    for payload in payloads:
        rest, begin = payload, True
        while True:
            left = BLOCK_BYTES - len(out) % BLOCK_BYTES
            if left < header:
                out += bytes(left)
                left = BLOCK_BYTES
            part, rest = rest[: left - header], rest[left - header :]
            kind = {(1, 1): FULL, (1, 0): FIRST, (0, 0): MIDDLE, (0, 1): LAST}[(begin, not rest)]
            body = bytes([kind])
            if log_number is not None:
                body = bytes([kind + 4]) + log_number.to_bytes(4, "little")
            body += part
            out += (
                masked_crc32c(body).to_bytes(4, "little") + len(part).to_bytes(2, "little") + body
            )
            begin = False
            if not rest:
                break
    return bytes(out)


def crc32c_bit_by_bit(message: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in message:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def all_records(path: Path, *, offset: int = 0, max_record_bytes: int = 1 << 26) -> list[bytes]:
    return [record for record, _ in records_and_offsets(path, offset, max_record_bytes)]


def records_and_offsets(
    path: Path, offset: int = 0, max_record_bytes: int = 1 << 26
) -> list[tuple[bytes, int]]:
    fd = os.open(path, os.O_RDONLY)
    try:
        return list(read_records(fd, offset, max_bytes=1 << 30, max_record_bytes=max_record_bytes))
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("message", "crc"),
    [
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_the_checksum_agrees_with_the_published_vectors(message: bytes, crc: int) -> None:
    """RFC 3720 appendix B.4 lists crc32c values."""
    assert masked(crc) == masked_crc32c(message)


@pytest.mark.parametrize("length", [0, 1, 119, 120, 121, 300, 777, 4096, 32757, 32769])
def test_folding_gives_the_same_checksum_as_the_definition(length: int) -> None:
    """Long messages are folded with big integers; the value must not depend on that."""
    message = bytes(index * 131 + index // 256 & 0xFF for index in range(length))
    assert masked(crc32c_bit_by_bit(message)) == masked_crc32c(message)


@given(st.binary(max_size=1500))
def test_any_message_has_its_defined_checksum(message: bytes) -> None:
    """Folding must be exact at every length, not only at round ones."""
    assert masked(crc32c_bit_by_bit(message)) == masked_crc32c(message)


def test_a_real_wal_is_read_to_its_last_record(tmp_path: Path) -> None:
    """Every record RocksDB wrote is found and passes its checksum."""
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    database = rocksdict.Rdict(str(tmp_path / "db"), options)
    for index in range(300):
        database.put(b"%06d" % index, bytes(index * 7))
    (wal,) = (tmp_path / "db").glob("*.log")
    records = all_records(wal)
    database.close()
    assert list(range(1, 301)) == [int.from_bytes(record[:8], "little") for record in records]


sizes = st.one_of(st.integers(0, 300), st.integers(32700, 32800), st.integers(0, 100_000))


@settings(deadline=None, max_examples=40)
@given(st.lists(sizes, max_size=12), st.one_of(st.none(), st.just(7)))
def test_what_was_framed_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], log_number: int | None
) -> None:
    """Payloads of every size, also those that end at a block's border, come back whole."""
    payloads = [bytes([index + 1]) * length for index, length in enumerate(lengths)]
    path = tmp_path_factory.mktemp("records") / "file"
    path.write_bytes(framed(payloads, log_number=log_number))
    found = records_and_offsets(path)
    assert payloads == [record for record, _ in found]
    for index, (_, offset) in enumerate(found):
        assert payloads[index + 1 :] == all_records(path, offset=offset)


@settings(deadline=None, max_examples=60)
@given(st.lists(sizes, min_size=1, max_size=6), st.data())
def test_a_cut_file_gives_the_records_before_the_cut(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], data: st.DataObject
) -> None:
    """What is still being written is not an error and not a record."""
    payloads = [bytes([index + 1]) * length for index, length in enumerate(lengths)]
    content = framed(payloads)
    ends = [len(framed(payloads[: count + 1])) for count in range(len(payloads))]
    cut = data.draw(st.integers(0, len(content)))
    path = tmp_path_factory.mktemp("records") / "file"
    path.write_bytes(content[:cut])
    assert payloads[: sum(end <= cut for end in ends)] == all_records(path)


@settings(deadline=None, max_examples=60)
@given(st.lists(sizes, min_size=1, max_size=6), st.data())
def test_a_changed_byte_is_never_delivered(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], data: st.DataObject
) -> None:
    """Damage ends the reading; what came before it is right."""
    payloads = [bytes([index + 1]) * length for index, length in enumerate(lengths)]
    content = bytearray(framed(payloads))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("records") / "file"
    path.write_bytes(content)
    found: list[bytes] = []
    fd = os.open(path, os.O_RDONLY)
    try:
        for record, _ in read_records(fd, 0, max_bytes=1 << 30, max_record_bytes=1 << 26):
            found.append(record)
    except DamagedRecord:
        pass
    finally:
        os.close(fd)
    assert payloads[: len(found)] == found


def test_damage_in_the_middle_is_reported(tmp_path: Path) -> None:
    """A wrong checksum with more data behind it is not a file still being written."""
    content = bytearray(framed([b"first", b"second", b"third"]))
    content[len(framed([b"first"])) + 8] ^= 1
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DamagedRecord) as caught:
        all_records(tmp_path / "file")
    assert len(framed([b"first"])) == caught.value.offset


def test_a_record_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    """The reader's memory is bounded whatever the file says."""
    (tmp_path / "file").write_bytes(framed([bytes(200_000)]))
    with pytest.raises(RecordTooLarge):
        all_records(tmp_path / "file", max_record_bytes=100_000)


def test_preallocated_zeros_end_the_file(tmp_path: Path) -> None:
    """Zeros behind the last record are space, not damage."""
    (tmp_path / "file").write_bytes(framed([b"first", b"second"]) + bytes(100_000))
    assert all_records(tmp_path / "file") == [b"first", b"second"]


def test_fragments_of_another_log_end_a_recycled_block() -> None:
    """Behind the live tail of a recycled file lie intact records of its earlier use."""
    live = framed([b"new"], log_number=9)
    block = live + framed([b"old" * 100], log_number=4)
    fragments, end = scan_block(block, 9)
    assert ([(FULL, 0, 11, 14)], len(live)) == (fragments, end)


@given(st.binary(max_size=4096))
def test_any_bytes_can_be_scanned(block: bytes) -> None:
    """Fragments lie within the block, in order, whatever it holds."""
    fragments, end = scan_block(block)
    borders = [position for _, *positions in fragments for position in positions]
    assert sorted(borders) == borders
    assert end <= len(block)
