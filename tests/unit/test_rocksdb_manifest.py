"""The MANIFEST: shapes of real databases, accounting of flushes, moves and compactions, damage."""

import json
from pathlib import Path

import pytest
import rocksdict
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.clock import SystemClock
from probes.errors import NoData, ProbeError
from probes.rocksdb.manifest import MAX_MANIFEST_BYTES, ManifestProbe
from probes.rocksdb.samples import LevelShape, ManifestSample
from probes.rocksdb.version_edit import DamagedEdit, decode_version_edit
from tests.unit.test_rocksdb_records import framed
from tests.unit.test_rocksdb_wal import varint

CAPTURED = sorted(Path(__file__).parent.parent.glob("data/rocksdb/*/truth.json"))
SAFE_IGNORE = 1 << 13
AHEAD_BY_A_MOVE = {"ingest_manual"}
"""Captured while RocksDB synced a move to the next level: the edit is in the file before RocksDB's
own properties show it, so files and bytes agree and their level does not."""


def text(content: bytes) -> bytes:
    return varint(len(content)) + content


def added(level: int, number: int, size: int) -> bytes:
    """Return a NewFile4 field with the custom fields of RocksDB 9 and one of the future."""
    keys = text(b"a" * 8 + bytes(8)) + text(b"z" * 8 + bytes(8))
    fields = varint(5) + text(varint(1_700_000_000)) + varint(65) + text(b"\x01")
    fields += varint(12) + text(bytes(24)) + varint(63) + text(b"future")
    head = varint(103) + varint(level) + varint(number) + varint(size)
    return head + keys + varint(7) + varint(9) + fields + varint(1)


def deleted(level: int, number: int) -> bytes:
    return varint(6) + varint(level) + varint(number)


def last_sequence(number: int) -> bytes:
    return varint(4) + varint(number)


def column_family(number: int) -> bytes:
    return varint(200) + varint(number)


def atomic(remaining: int) -> bytes:
    return varint(300) + varint(remaining)


FLUSH = added(0, 11, 1000) + last_sequence(50)
FIRST_EDIT = varint(1) + text(b"leveldb.BytewiseComparator")


def write_manifest(directory: Path, *edits: bytes, number: int = 5) -> Path:
    path = directory / f"MANIFEST-{number:06d}"
    path.write_bytes(framed(edits))
    current = directory / "CURRENT"
    current.with_suffix(".dbtmp").write_text(f"{path.name}\n")
    current.with_suffix(".dbtmp").rename(current)
    return path


def probe_of(directory: Path) -> ManifestProbe:
    return ManifestProbe(str(directory), SystemClock())


def sample_or_reason(directory: Path) -> ManifestSample | str:
    try:
        return probe_of(directory).read()
    except ProbeError as error:
        return error.reason


def levels(sample: ManifestSample, family: str = "default") -> list[tuple[int, int]]:
    (shape,) = [shape for shape in sample.column_families if shape.name == family]
    return [(level.files, level.bytes) for level in shape.levels]


def totals(sample: ManifestSample) -> tuple[int, int]:
    return sample.flushed_bytes, sample.compacted_bytes


def without_empty(
    shape: dict[str, dict[str, dict[str, int]]],
) -> dict[str, dict[int, tuple[int, int]]]:
    return {
        name: {
            int(level): (entry["files"], entry["bytes"])
            for level, entry in found.items()
            if entry["files"]
        }
        for name, found in shape.items()
    }


def sum_of(
    shape: dict[str, dict[int, tuple[int, int]]], *, by_level: bool
) -> dict[int, tuple[int, int]]:
    """Return files and bytes of all families: some captures could not tell them apart."""
    total: dict[int, tuple[int, int]] = {}
    for levels_found in shape.values():
        for level, (files, size) in levels_found.items():
            key = level if by_level else 0
            before = total.get(key, (0, 0))
            total[key] = (before[0] + files, before[1] + size)
    return total


def files_by_level(levelstats: str) -> dict[int, int]:
    """Parse RocksDB's property of that name: level, files, size in MB."""
    rows = [line.split() for line in levelstats.splitlines()[2:]]
    return {int(level): int(files) for level, files, _ in rows if int(files)}


def shape_of(sample: ManifestSample) -> dict[str, dict[int, tuple[int, int]]]:
    return {
        family.name: {
            index: (level.files, level.bytes)
            for index, level in enumerate(family.levels)
            if level.files
        }
        for family in sample.column_families
    }


@pytest.mark.parametrize("truth_path", CAPTURED, ids=lambda path: path.parent.name)
def test_the_captured_databases_of_other_versions_have_their_true_shape(truth_path: Path) -> None:
    """RocksDB 6 to 11 and the special cases, against what RocksDB itself said."""
    truth = json.loads(truth_path.read_text())
    sample = probe_of(truth_path.parent).read()
    expected = without_empty(truth["levels"])
    actual = shape_of(sample)
    assert set(truth["column_families"]) == set(actual)
    if truth_path.parent.name in AHEAD_BY_A_MOVE:
        assert sum_of(expected, by_level=False) == sum_of(actual, by_level=False)
        return
    assert sum_of(expected, by_level=True) == sum_of(actual, by_level=True)
    for name, properties in truth["properties"].items():
        assert files_by_level(properties["rocksdb.levelstats"]) == {
            level: files for level, (files, _) in actual[name].items()
        }
    assert sample.last_sequence <= truth["latest_sequence_number"]


def test_a_live_database_is_followed_edit_by_edit(tmp_path: Path) -> None:
    """Families, files and bytes equal RocksDB's own list of live files after every step."""
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_disable_auto_compactions(True)
    database = rocksdict.Rdict(str(tmp_path), options)
    probe = probe_of(tmp_path)
    first = probe.read()
    families = {"default": database}
    for step in range(6):
        if step == 2:
            families["ünusual ]\n"] = database.create_column_family("ünusual ]\n", options)
        for family in families.values():
            for index in range(500):
                family[b"%04d%04d" % (index, step)] = bytes(100 + index)
            family.flush()
        if step == 4:
            database.compact_range(None, None)
        sample = probe.read()
        for name, family in families.items():
            found = levels(sample, name)
            for level in range(7):
                files = family.property_int_value(f"rocksdb.num-files-at-level{level}")
                assert files == (found[level][0] if level < len(found) else 0)
            live_bytes = family.property_int_value("rocksdb.live-sst-files-size")
            assert live_bytes == sum(size for _, size in found)
        assert database.latest_sequence_number() == sample.last_sequence
    database.drop_column_family("ünusual ]\n")
    assert [family.name for family in probe.read().column_families] == ["default"]
    assert first.since == probe.read().since
    assert sample.flushed_bytes > sample.compacted_bytes > 0
    database.close()


def test_what_was_there_at_the_first_reading_is_not_flushed_since(tmp_path: Path) -> None:
    """A rolled MANIFEST begins with the whole shape: that is no flush."""
    path = write_manifest(tmp_path, FIRST_EDIT, FLUSH, added(6, 12, 5000))
    probe = probe_of(tmp_path)
    assert totals(probe.read()) == (0, 0)
    path.write_bytes(path.read_bytes() + framed([added(0, 13, 700)]))
    assert totals(probe.read()) == (700, 0)
    assert levels(probe.read()) == [(2, 1700), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (1, 5000)]


def test_flush_compaction_and_move_are_told_apart(tmp_path: Path) -> None:
    """New numbers without deletions are a flush, with deletions a compaction, the same a move."""
    edits = [FIRST_EDIT]
    write_manifest(tmp_path, *edits)
    probe = probe_of(tmp_path)
    probe.read()
    steps = [
        (FLUSH, (1000, 0)),
        (deleted(0, 11) + added(1, 11, 1000), (1000, 0)),
        (added(0, 12, 400), (1400, 0)),
        (deleted(0, 12) + deleted(1, 11) + added(1, 13, 600) + added(1, 14, 500), (1400, 1100)),
        (added(6, 15, 9000), (1400, 1100)),  # ingested below level 0: nothing was flushed
        (deleted(6, 15), (1400, 1100)),
    ]
    for edit, expected in steps:
        edits.append(edit)
        (tmp_path / "MANIFEST-000005").write_bytes(framed(edits))
        assert expected == totals(probe.read())
    assert levels(probe.read())[:2] == [(0, 0), (2, 1100)]
    assert probe.read().total_bytes == 1100


def test_column_families_have_their_own_levels(tmp_path: Path) -> None:
    """Files belong to the family of their edit; a dropped family takes its files along."""
    edits = [FIRST_EDIT, column_family(3) + varint(201) + text(b"caf\xe9"), FLUSH]
    edits.append(column_family(3) + added(0, 20, 30))
    write_manifest(tmp_path, *edits)
    probe = probe_of(tmp_path)
    assert (levels(probe.read()), levels(probe.read(), "caf\\xe9")) == ([(1, 1000)], [(1, 30)])
    edits += [column_family(3) + varint(202), column_family(3) + added(0, 21, 30)]
    (tmp_path / "MANIFEST-000005").write_bytes(framed(edits))
    assert [family.name for family in probe.read().column_families] == ["default"]


def test_the_log_number_is_the_oldest_that_is_needed(tmp_path: Path) -> None:
    """The WALs from this number on may hold writes that are in no table file."""
    other = column_family(1) + varint(201) + text(b"other") + varint(2) + varint(8)
    write_manifest(tmp_path, FIRST_EDIT, varint(2) + varint(30), other)
    assert probe_of(tmp_path).read().log_number == 8


def test_an_edit_cut_at_the_end_is_left_for_the_next_reading(tmp_path: Path) -> None:
    """RocksDB may be writing it now; at no cut is anything damaged or half applied."""
    path = write_manifest(tmp_path, FIRST_EDIT, FLUSH)
    before = len(path.read_bytes())
    whole = framed([FIRST_EDIT, FLUSH, deleted(0, 11) + added(1, 12, 800)])
    probe = probe_of(tmp_path)
    for cut in range(before, len(whole)):
        path.write_bytes(whole[:cut])
        assert levels(probe.read()) == [(1, 1000)]
    path.write_bytes(whole)
    assert levels(probe.read()) == [(0, 0), (1, 800)]


def test_an_atomic_group_is_applied_as_a_whole(tmp_path: Path) -> None:
    """Edits of a group count only when its last one is there."""
    group = [atomic(2) + added(0, 30, 1), atomic(1) + added(0, 31, 2), atomic(0) + added(0, 32, 3)]
    path = write_manifest(tmp_path, FIRST_EDIT, *group[:2])
    probe = probe_of(tmp_path)
    assert levels(probe.read()) == [(0, 0)]
    path.write_bytes(framed([FIRST_EDIT, *group]))
    assert (levels(probe.read()), totals(probe.read())) == ([(3, 6)], (6, 0))


def test_a_rolled_manifest_is_a_new_start(tmp_path: Path) -> None:
    """CURRENT names another file: shape from there, totals and their time anew."""
    path = write_manifest(tmp_path, FIRST_EDIT)
    probe = probe_of(tmp_path)
    first = probe.read()
    path.write_bytes(framed([FIRST_EDIT, FLUSH]))
    assert totals(probe.read()) == (1000, 0)
    write_manifest(tmp_path, FIRST_EDIT, FLUSH, added(1, 40, 10), number=9)
    path.unlink()
    rolled = probe.read()
    assert (rolled.manifest_name, totals(rolled)) == ("MANIFEST-000009", (0, 0))
    assert levels(rolled) == [(1, 1000), (1, 10)]
    assert rolled.since > first.since


def test_a_replaced_or_shrunk_manifest_is_a_new_start(tmp_path: Path) -> None:
    """A recreated database may use the same file name."""
    path = write_manifest(tmp_path, FIRST_EDIT, FLUSH, added(0, 12, 500))
    probe = probe_of(tmp_path)
    probe.read()
    path.write_bytes(framed([FIRST_EDIT, FLUSH]))
    assert levels(probe.read()) == [(1, 1000)]
    path.rename(tmp_path / "kept")
    write_manifest(tmp_path, FIRST_EDIT, added(2, 12, 500), added(2, 13, 500), added(2, 14, 500))
    assert levels(probe.read()) == [(0, 0), (0, 0), (3, 1500)]


def test_an_unchanged_manifest_is_not_decoded_again(tmp_path: Path) -> None:
    """The shape is the same object, with the time of the new reading."""
    write_manifest(tmp_path, FIRST_EDIT, FLUSH)
    probe = probe_of(tmp_path)
    first, second = probe.read(), probe.read()
    assert first.column_families is second.column_families
    assert second.at > first.at


def test_damage_is_a_failure_that_does_not_go_away_by_itself(tmp_path: Path) -> None:
    """Behind a damaged edit the shape is unknown, until another MANIFEST is written."""
    content = bytearray(framed([FIRST_EDIT, FLUSH, added(0, 12, 500)]))
    content[len(framed([FIRST_EDIT])) + 10] ^= 0xFF
    write_manifest(tmp_path).write_bytes(content)
    probe = probe_of(tmp_path)
    for _ in range(2):
        with pytest.raises(ProbeError) as caught:
            probe.read()
        assert caught.value.reason == "manifest_damaged"
    write_manifest(tmp_path, FIRST_EDIT, FLUSH, number=6)
    assert levels(probe.read()) == [(1, 1000)]


def test_a_large_manifest_is_read_in_steps(tmp_path: Path) -> None:
    """One reading costs a bounded time; until the end is reached there is no shape."""
    write_manifest(tmp_path, *[added(0, number, 1) for number in range(2000)])
    probe = ManifestProbe(str(tmp_path), SystemClock(), max_bytes_per_read=50_000)
    outcomes = []
    for _ in range(10):
        try:
            outcomes.append(levels(probe.read()))
        except NoData as outcome:
            outcomes.append([(0, len(outcome.reason))])
    waiting = [(0, len("manifest_catching_up"))]
    assert [waiting, [(2000, 2000)]] == [outcomes[0], outcomes[-1]]
    assert 2 <= outcomes.count(waiting) <= 5


def test_a_file_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    """A MANIFEST of gigabytes would cost minutes of CPU."""
    path = write_manifest(tmp_path, FIRST_EDIT)
    with path.open("r+b") as file:
        file.truncate(MAX_MANIFEST_BYTES + 1)
    with pytest.raises(ProbeError) as caught:
        probe_of(tmp_path).read()
    assert caught.value.reason == "manifest_too_large"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "not_rocksdb"),
        ("../etc/passwd\n", "not_rocksdb"),
        ("MANIFEST-000077\n", "manifest_rotating"),
    ],
)
def test_a_bad_current_has_its_reason(tmp_path: Path, content: str | None, reason: str) -> None:
    """Missing, not a MANIFEST's name, or naming a file that is not there."""
    if content is not None:
        (tmp_path / "CURRENT").write_text(content)
    with pytest.raises(ProbeError) as caught:
        probe_of(tmp_path).read()
    assert reason == caught.value.reason


BLOB = varint(9) + varint(100) + varint(5000)

OTHER_FIELDS = {
    "next file number": varint(3) + varint(99),
    "previous log number": varint(9) + varint(0),
    "minimum log to keep": varint(10) + varint(1 << 40),
    "maximum column family": varint(203) + varint(4),
    "compaction cursor": varint(5) + varint(1) + text(b"key" + bytes(8)),
    "blob file": varint(400)
    + BLOB
    + text(b"SHA1")
    + text(bytes(20))
    + varint(3)
    + text(b"x")
    + b"\0",
    "blob garbage": varint(401) + BLOB + varint(0),
    "old blob file": varint(SAFE_IGNORE + 2) + BLOB + text(b"") + text(b"") + varint(0),
    "old blob garbage": varint(SAFE_IGNORE + 3) + BLOB + varint(0),
    "database id": varint(SAFE_IGNORE + 1) + text(b"8a5c4f7e"),
    "old WAL": varint(SAFE_IGNORE + 4) + varint(7) + varint(2) + varint(5555) + varint(1),
    "old WAL deletion": varint(SAFE_IGNORE + 5) + varint(7),
    "timestamp low": varint(SAFE_IGNORE + 6) + text(bytes(8)),
    "WAL": varint(SAFE_IGNORE + 7) + text(varint(7) + varint(1)),
    "WAL deletion": varint(SAFE_IGNORE + 8) + text(varint(7)),
    "timestamps kept": varint(SAFE_IGNORE + 9) + text(b"\x01"),
    "subcompaction progress": varint(SAFE_IGNORE + 10) + text(bytes(90)),
    "manifest size": varint(SAFE_IGNORE + 11) + text(varint(4096)),
    "a tag of the future": varint(SAFE_IGNORE + 500) + text(b"anything"),
}


@pytest.mark.parametrize("name", OTHER_FIELDS)
def test_other_fields_are_stepped_over(name: str) -> None:
    """Whatever else an edit says, the fields behind it are read."""
    edit = decode_version_edit(FIRST_EDIT + OTHER_FIELDS[name] + FLUSH)
    assert (edit.new_files, edit.last_sequence) == ([(0, 11, 1000)], 50)


KEYS = text(b"a" + bytes(8)) + text(b"z" + bytes(8))


@pytest.mark.parametrize(
    "edit",
    [
        varint(7) + varint(2) + varint(33) + varint(444) + KEYS,
        varint(100) + varint(2) + varint(33) + varint(444) + KEYS + varint(5) + varint(6),
        varint(102)
        + varint(2)
        + varint(33)
        + varint(1)
        + varint(444)
        + KEYS
        + varint(5)
        + varint(6),
    ],
    ids=["NewFile", "NewFile2", "NewFile3"],
)
def test_the_older_forms_of_a_new_file_are_read(edit: bytes) -> None:
    """LevelDB's form and RocksDB's second and third are still decoded by every version."""
    assert decode_version_edit(edit + last_sequence(1)).new_files == [(2, 33, 444)]


@pytest.mark.parametrize(
    "edit",
    [
        varint(8),
        varint(500),
        varint(6) + varint(1 << 31) + varint(1),
        b"\xff" * 11,
        added(0, 1, 1)[:-1] + varint(66) + text(b"x") + varint(1),
    ],
    ids=["reserved tag", "unknown tag", "absurd level", "endless number", "field not to ignore"],
)
def test_an_edit_that_must_not_be_guessed_at_is_damaged(edit: bytes) -> None:
    """RocksDB would refuse these, and so does the decoder."""
    with pytest.raises(DamagedEdit):
        decode_version_edit(edit)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300))
def test_any_bytes_are_an_edit_or_damaged(record: bytes) -> None:
    """Decoding noise ends in one of the two, with levels within the bound."""
    try:
        edit = decode_version_edit(record)
    except DamagedEdit:
        return
    assert all(level <= 255 for level, *_ in [*edit.new_files, *edit.deleted_files])


@pytest.fixture(scope="module")
def real_manifest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the MANIFEST of a database with flushes and compactions."""
    path = tmp_path_factory.mktemp("real") / "db"
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_level_zero_file_num_compaction_trigger(3)
    database = rocksdict.Rdict(str(path), options)
    for step in range(40):
        for index in range(20):
            database[b"%03d" % (step * index % 100)] = bytes(50)
        database.flush()
    (manifest,) = path.glob("MANIFEST-*")
    content = manifest.read_bytes()
    database.close()
    return content


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_damaged_real_manifest_gives_a_reason_or_a_shape_it_had(
    tmp_path_factory: pytest.TempPathFactory, real_manifest: bytes, data: st.DataObject
) -> None:
    """Cut anywhere and with bytes changed: a ProbeError, or the state at some earlier edit."""
    directory = tmp_path_factory.mktemp("damaged")
    path = write_manifest(directory)
    damaged = bytearray(real_manifest[: data.draw(st.integers(0, len(real_manifest)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if damaged:
            at = data.draw(st.integers(0, len(damaged) - 1))
            damaged[at] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    sample = sample_or_reason(directory)
    if isinstance(sample, str):
        assert sample == "manifest_damaged"
        return
    assert sample.last_sequence <= 800
    assert all(
        level.files <= 41 and level.bytes >= 0
        for family in sample.column_families
        for level in family.levels
    )


def test_levels_start_with_level_zero_even_when_empty(tmp_path: Path) -> None:
    """A family without files has a level 0 with none: known to be empty is not unknown."""
    write_manifest(tmp_path, FIRST_EDIT)
    assert (LevelShape(0, 0),) == probe_of(tmp_path).read().column_families[0].levels
