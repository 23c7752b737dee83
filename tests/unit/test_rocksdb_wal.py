"""The WAL tail: exact sequence numbers on real files, recycled, cut, damaged or rotating."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest
import rocksdict
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.clock import SystemClock
from probes.errors import ProbeError, ProbeFailed
from probes.rocksdb.samples import WalSample
from probes.rocksdb.wal import WalProbe
from tests.unit.test_rocksdb_records import framed

CAPTURED = sorted(Path(__file__).parent.parent.glob("data/rocksdb/*/truth.json"))
PREALLOCATED_BYTES = 300_000


def batch(sequence: int, values: list[bytes]) -> bytes:
    """Return a write batch of puts with 4-byte keys."""
    operations = b"".join(
        b"\x01\x04%04d" % index + varint(len(value)) + value for index, value in enumerate(values)
    )
    return sequence.to_bytes(8, "little") + len(values).to_bytes(4, "little") + operations


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def write_wal(directory: Path, number: int, content: bytes | bytearray) -> Path:
    path = directory / f"{number:06d}.log"
    path.write_bytes(content)
    return path


def read(directory: Path) -> WalSample:
    return WalProbe(str(directory), SystemClock()).read()


def reason(directory: Path) -> str:
    with pytest.raises(ProbeError) as caught:
        read(directory)
    return caught.value.reason


def outcome_of(directory: Path) -> int | str:
    """Return the sequence number read, or the reason why there is none."""
    try:
        return read(directory).last_sequence
    except ProbeError as error:
        return error.reason


def open_database(
    path: Path, *, recycle: int = 0, write_buffer_bytes: int = 1 << 20, wal_dir: Path | None = None
) -> rocksdict.Rdict:
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(write_buffer_bytes)
    options.set_recycle_log_file_num(recycle)
    if wal_dir is not None:
        options.set_wal_dir(str(wal_dir))
    return rocksdict.Rdict(str(path), options)


@pytest.mark.parametrize("recycle", [0, 4], ids=["new files", "recycled files"])
@pytest.mark.parametrize(
    ("operations", "value_bytes"),
    [(1, 1), (1, 100), (500, 100), (1, 32_700), (1, 32_723), (3, 60_000), (1, 3_000_000)],
)
def test_every_reading_of_a_live_database_is_exact(
    tmp_path: Path, recycle: int, operations: int, value_bytes: int
) -> None:
    """The probe says what RocksDB itself says, through rotations, for values of all sizes."""
    database = open_database(tmp_path / "db", recycle=recycle)
    probe = WalProbe(str(tmp_path / "db"), SystemClock())
    chance = random.Random(operations * value_bytes)  # noqa: S311 - a repeatable load
    expected, actual = [], []
    for round_number in range(20):
        for index in range(chance.randint(1, max(1, min(200, 3_000_000 // value_bytes // 4)))):
            writes = rocksdict.WriteBatch(raw_mode=True)
            for operation in range(operations):
                key = b"%06d%06d%03d" % (round_number, index, operation)
                writes.put(key, bytes(value_bytes - min(value_bytes - 1, chance.randint(0, 30))))
            database.write(writes)
        expected.append(database.latest_sequence_number())
        actual.append(probe.read().last_sequence)
    database.close()
    assert expected == actual


@pytest.mark.parametrize("truth_path", CAPTURED, ids=lambda path: path.parent.name)
def test_the_captured_databases_of_other_versions_are_exact(truth_path: Path) -> None:
    """RocksDB 6 to 11 and the special cases: the sequence number of truth.json, or a reason."""
    truth = json.loads(truth_path.read_text())
    outcome = outcome_of(truth_path.parent)
    wals = [path.read_bytes() for path in truth_path.parent.glob("*.log")]
    if any(wal[6:7] == b"\x09" for wal in wals):
        assert outcome == "wal_compressed"
    elif not any(wals):
        assert outcome in {"no_wal", "wal_empty"}
    else:
        assert truth["latest_sequence_number"] == outcome


def test_the_mean_record_is_payload_per_operation(tmp_path: Path) -> None:
    """Batch bytes behind the 12-byte header, divided by the operations."""
    records = [batch(1, [b"v" * 100] * 5), batch(6, [b"v" * 50] * 5)]
    write_wal(tmp_path, 3, framed(records))
    assert read(tmp_path).mean_record_bytes == (5 * 107 + 5 * 57) / 10


def test_a_large_record_counts_whole_in_the_mean(tmp_path: Path) -> None:
    """A record over many blocks is measured by its fragments' lengths."""
    write_wal(tmp_path, 3, framed([batch(1, [b"v"] * 9), batch(10, [bytes(500_000)])]))
    assert read(tmp_path).mean_record_bytes == (9 * 8 + 500_009) / 10


def test_live_bytes_are_the_sizes_of_all_wals(tmp_path: Path) -> None:
    """Every WAL on disk counts, and nothing else in the directory."""
    write_wal(tmp_path, 3, framed([batch(1, [b"a"])]))
    write_wal(tmp_path, 5, framed([batch(2, [b"b" * 1000])]))
    (tmp_path / "other.log").write_bytes(bytes(5000))
    (tmp_path / "000007.sst").write_bytes(bytes(5000))
    expected = sum(path.stat().st_size for path in tmp_path.glob("00000*.log"))
    sample = read(tmp_path)
    assert (5, expected) == (sample.wal_number, sample.live_wal_bytes)


def test_live_bytes_follow_growth_rotation_and_removal(tmp_path: Path) -> None:
    """Sizes that are remembered must not go stale when a WAL is closed or deleted."""
    probe = WalProbe(str(tmp_path), SystemClock())
    path = write_wal(tmp_path, 3, framed([batch(1, [b"a"])]))
    probe.read()
    path.write_bytes(framed([batch(1, [b"a"]), batch(2, [b"b" * 3000])]))
    newer = write_wal(tmp_path, 5, framed([batch(3, [b"c"])]))
    assert path.stat().st_size + newer.stat().st_size == probe.read().live_wal_bytes
    path.unlink()
    assert newer.stat().st_size == probe.read().live_wal_bytes


def test_a_wal_in_its_own_directory_is_found(tmp_path: Path) -> None:
    """The wal_dir option moves the WAL out of the database's directory."""
    (tmp_path / "wal").mkdir()
    database = open_database(tmp_path / "db", wal_dir=tmp_path / "wal")
    database.put(b"key", b"value")
    probe = WalProbe(str(tmp_path / "db"), SystemClock(), str(tmp_path / "wal"))
    assert database.latest_sequence_number() == probe.read().last_sequence
    assert reason(tmp_path / "db") == "no_wal"
    database.close()


def test_a_new_and_empty_wal_leaves_the_word_to_the_one_before(tmp_path: Path) -> None:
    """Right after a rotation the newest record is the last of the previous WAL."""
    write_wal(tmp_path, 3, framed([batch(1, [b"a"] * 4)]))
    probe = WalProbe(str(tmp_path), SystemClock())
    probe.read()
    write_wal(tmp_path, 3, framed([batch(1, [b"a"] * 4), batch(5, [b"b"] * 4)]))
    write_wal(tmp_path, 6, b"")
    assert (probe.read().last_sequence, probe.read().wal_number) == (8, 6)


def test_an_empty_wal_alone_keeps_what_was_reported(tmp_path: Path) -> None:
    """The previous WAL may be gone already; the sequence number did not fall."""
    old = write_wal(tmp_path, 3, framed([batch(1, [b"a"] * 4)]))
    probe = WalProbe(str(tmp_path), SystemClock())
    probe.read()
    old.rename(tmp_path / "000006.log")  # recycled: the old records carry no number of this log
    (tmp_path / "000006.log").write_bytes(b"")
    assert probe.read().last_sequence == 4


def test_a_recreated_database_starts_anew(tmp_path: Path) -> None:
    """Smaller WAL numbers, or another file of the same number, are another database."""
    probe = WalProbe(str(tmp_path), SystemClock())
    old = write_wal(tmp_path, 8, framed([batch(1, [b"a"] * 400)]))
    probe.read()
    write_wal(tmp_path, 3, framed([batch(1, [b"a"] * 2)]))
    old.unlink()
    assert probe.read().last_sequence == 2
    replacement = write_wal(tmp_path, 9, framed([batch(1, [b"a"])]))
    replacement.rename(tmp_path / "000003.log")
    assert probe.read().last_sequence == 1


def test_records_of_an_earlier_use_are_not_read(tmp_path: Path) -> None:
    """A recycled file keeps old records with higher offsets, whole and with good checksums."""
    old = framed([batch(1 + index, [b"o" * 200]) for index in range(1000)], log_number=4)
    new = framed([batch(5000 + index, [b"n" * 190]) for index in range(300)], log_number=9)
    write_wal(tmp_path, 9, new + old[len(new) :])
    assert read(tmp_path).last_sequence == 5299


def test_a_recycled_file_not_yet_written_is_empty(tmp_path: Path) -> None:
    """The file was renamed to its new number, and holds only records of the old one."""
    write_wal(tmp_path, 9, framed([batch(1, [b"o" * 200])] * 500, log_number=4))
    assert reason(tmp_path) == "wal_empty"


def test_preallocated_zeros_behind_the_tail_are_passed_over(tmp_path: Path) -> None:
    """Some file systems give preallocated space as zeros within the size."""
    content = framed([batch(1 + index, [b"v" * 90]) for index in range(1000)])
    write_wal(tmp_path, 3, content + bytes(PREALLOCATED_BYTES))
    assert read(tmp_path).last_sequence == 1000


def test_a_record_cut_in_the_middle_is_not_counted(tmp_path: Path) -> None:
    """The last complete batch counts while the next is being written."""
    complete = framed([batch(1, [b"a"] * 3), batch(4, [b"b" * 20_000] * 2)])
    content = framed(
        [batch(1, [b"a"] * 3), batch(4, [b"b" * 20_000] * 2), batch(6, [bytes(90_000)])]
    )
    for cut in (len(complete), len(complete) + 3, len(complete) + 20, len(content) - 1):
        write_wal(tmp_path, 3, content[:cut])
        assert read(tmp_path).last_sequence == 5


def test_a_header_split_over_two_blocks_is_put_together(tmp_path: Path) -> None:
    """The sequence number itself may continue in the next block."""
    for room in range(12):
        filler = batch(1, [bytes(32_768 - 7 - 12 - 9 - 7 - room)])
        assert 32_768 - 7 - room == len(framed([filler]))
        write_wal(tmp_path, 3, framed([filler, batch(2, [b"x" * 100_000] * 77)]))
        assert read(tmp_path).last_sequence == 78


def test_timestamp_and_predecessor_records_are_no_batches(tmp_path: Path) -> None:
    """Records about the log itself (types 10, 11, 130, 131) carry no sequence number."""
    content = bytearray(framed([batch(1, [b"a"] * 3)]))
    for kind in (10, 130, 250):
        content += bytes(4) + b"\x08\x00" + bytes([kind]) + bytes(8)
    write_wal(tmp_path, 3, content)
    assert read(tmp_path).last_sequence == 3


def test_a_compressed_wal_is_named_as_such(tmp_path: Path) -> None:
    """wal_compression announces itself in the first record; its payloads cannot be read."""
    write_wal(tmp_path, 3, bytes(4) + b"\x04\x00\x09" + bytes(4) + framed([b"\x28\xb5" * 99]))
    assert reason(tmp_path) == "wal_compressed"


def test_no_wal_at_all_is_no_data(tmp_path: Path) -> None:
    """A database that never writes a WAL is normal."""
    assert reason(tmp_path) == "no_wal"


def test_a_missing_directory_is_a_failure(tmp_path: Path) -> None:
    """A watched database whose directory vanished is not normal."""
    with pytest.raises(ProbeFailed) as caught:
        read(tmp_path / "gone")
    assert caught.value.reason == "wal_directory_missing"


def test_a_wal_deleted_after_the_listing_is_looked_for_again(tmp_path: Path) -> None:
    """A flush may end a WAL's life at any moment; one second look finds its successor."""
    victim = write_wal(tmp_path, 3, framed([batch(1, [b"a"])]))
    probe = WalProbe(str(tmp_path), SystemClock())
    # With the directory's time set back to the same value, the remembered listing is used, and
    # still names the victim.
    os.utime(tmp_path, ns=(0, 0))
    probe.read()
    victim.unlink()
    write_wal(tmp_path, 7, framed([batch(2, [b"b"])]))
    os.utime(tmp_path, ns=(0, 0))
    assert (probe.read().last_sequence, probe.read().wal_number) == (2, 7)


@pytest.fixture(scope="module")
def real_wals(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, bytes]]:
    """WALs of a real database: a plain one and a recycled one, with their numbers."""
    found = []
    for recycle in (0, 4):
        path = tmp_path_factory.mktemp("real")
        database = open_database(path / "db", recycle=recycle, write_buffer_bytes=1 << 17)
        for index in range(900):
            database.put(b"%06d" % index, bytes(index * 7 % 900 if index % 50 else 40_000))
        newest = max((path / "db").glob("*.log"))
        found.append((int(newest.stem), newest.read_bytes()))
        database.close()
        shutil.rmtree(path)
    return found


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_damaged_real_wal_gives_a_reason_or_a_sequence_it_holds(
    tmp_path_factory: pytest.TempPathFactory,
    real_wals: list[tuple[int, bytes]],
    data: st.DataObject,
) -> None:
    """Cut anywhere and with bytes changed, the tail never yields a number that was not written."""
    number, content = data.draw(st.sampled_from(real_wals))
    damaged = bytearray(content[: data.draw(st.integers(0, len(content)))])
    for _ in range(data.draw(st.integers(0, 8))):
        if damaged:
            low = max(0, len(damaged) - 40_000)
            damaged[data.draw(st.integers(low, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    directory = tmp_path_factory.mktemp("damaged")
    write_wal(directory, number, damaged)
    outcome = outcome_of(directory)
    assert outcome in {*range(1, 901), "wal_empty", "wal_unreadable_tail", "wal_compressed"}


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=70_000))
def test_any_bytes_are_read_without_an_accident(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    """A file of noise gives a reason, or nothing that a checksum did not confirm."""
    directory = tmp_path_factory.mktemp("noise")
    write_wal(directory, 3, content)
    with pytest.raises(ProbeError):
        read(directory)


def crowd(directory: Path, count: int = 2100) -> None:
    """Table files, so many that listing them every time would cost milliseconds."""
    for number in range(100_000, 100_000 + count):
        (directory / f"{number}.sst").touch()


def one_record(sequence: int) -> bytes:
    return framed([batch(sequence, [b"value"])])


def test_a_crowded_directory_is_listed_once_and_the_next_wal_is_found_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every flush and compaction changes it."""
    listed: list[str] = []
    list_directory = os.listdir

    def counted(path: str) -> list[str]:
        listed.append(path)
        return list_directory(path)

    monkeypatch.setattr(os, "listdir", counted)
    crowd(tmp_path)
    write_wal(tmp_path, 10, one_record(5))
    probe = WalProbe(str(tmp_path), SystemClock())
    sequences = [probe.read().last_sequence]
    for step in range(1, 9):
        (tmp_path / f"{200_000 + step}.sst").touch()
        if step % 4 == 0:
            (tmp_path / f"{10 + (step - 4) * 30:06d}.log").unlink()
            write_wal(tmp_path, 10 + step * 30, one_record(100 * step))
        else:
            newest = 10 + (step - step % 4) * 30
            with (tmp_path / f"{newest:06d}.log").open("ab") as file:
                file.write(one_record(100 * step))
        sequences.append(probe.read().last_sequence)
    assert sequences == [5, 100, 200, 300, 400, 500, 600, 700, 800]
    assert len(listed) == 1


def test_in_a_crowded_directory_a_wal_far_ahead_is_found_when_the_known_one_rests(
    tmp_path: Path,
) -> None:
    """A bulk load used up hundreds of numbers between the two."""
    crowd(tmp_path)
    write_wal(tmp_path, 10, one_record(5))
    probe = WalProbe(str(tmp_path), SystemClock())
    probe.read()
    write_wal(tmp_path, 9000, one_record(70))
    assert probe.read().last_sequence == 70


def test_in_a_crowded_directory_deleted_wals_count_no_more(tmp_path: Path) -> None:
    """The live bytes are those of the files that are there."""
    crowd(tmp_path)
    for number in (10, 11, 12):
        write_wal(tmp_path, number, one_record(number))
    probe = WalProbe(str(tmp_path), SystemClock())
    size = len(one_record(10))
    assert probe.read().live_wal_bytes == 3 * size
    (tmp_path / "000010.log").unlink()
    write_wal(tmp_path, 15, one_record(15))
    sample = probe.read()
    assert (sample.live_wal_bytes, sample.last_sequence) == (3 * size, 15)
    for number in (11, 12, 15):
        (tmp_path / f"{number:06d}.log").unlink()
    assert reason(tmp_path) == "no_wal"
    with pytest.raises(ProbeError, match="no_wal"):
        probe.read()
