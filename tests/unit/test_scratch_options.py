from pathlib import Path

import pytest

from agent.calibrate.options import (
    NEWER_VERSION,
    NEWEST_FORMAT_VERSION,
    differences,
    digest,
    parse,
    scratch_options,
)

CAPTURES = sorted((Path(__file__).parents[1] / "data/rocksdb").glob("*/OPTIONS-*"))
(KNOWN,) = (path.read_text() for path in CAPTURES if path.parent.name == "v9.8.4")


def captured(name: str) -> str:
    (text,) = (path.read_text() for path in CAPTURES if path.parent.name == name)
    return text


def watched_with(**values: str) -> str:
    """The 7.8.3 capture with some options replaced."""
    lines = []
    for line in captured("v7.8.3").split("\n"):
        name = line.partition("=")[0].strip()
        lines.append(f"  {name}={values[name]}" if name in values else line)
    return "\n".join(lines)


@pytest.mark.parametrize("path", CAPTURES, ids=[path.parent.name for path in CAPTURES])
def test_no_directory_of_the_watched_database_gets_through(path: Path) -> None:
    """A wal_dir taken over would put the scratch database's WAL beside the watched one's."""
    made = scratch_options(path.read_text(), KNOWN)
    assert "/srv/" not in made.text
    sections = parse(made.text).sections.values()
    assert not [name for values in sections for name in values if name.endswith(("_dir", "_paths"))]


@pytest.mark.parametrize("path", CAPTURES, ids=[path.parent.name for path in CAPTURES])
def test_what_decides_about_stalls_is_taken_as_it_is(path: Path) -> None:
    """In every version's file."""
    watched, made = parse(path.read_text()), parse(scratch_options(path.read_text(), KNOWN).text)
    names = (
        "write_buffer_size",
        "max_write_buffer_number",
        "level0_file_num_compaction_trigger",
        "level0_slowdown_writes_trigger",
        "level0_stop_writes_trigger",
        "compaction_style",
        "level_compaction_dynamic_level_bytes",
        "compression",
        "max_background_jobs",
        "delayed_write_rate",
    )
    assert [made.value(name) for name in names] == [watched.value(name) for name in names]


def test_only_the_chosen_family_is_taken_as_the_default_one() -> None:
    """The scratch database has one column family."""
    made = parse(scratch_options(captured("v7.8.3"), KNOWN, "second").text)
    assert made.families() == ("default",)
    assert made.value("max_write_buffer_number") == "3"


def test_options_unknown_to_the_library_are_left_out_and_named() -> None:
    """9.8 dropped what 7.8 still wrote."""
    made = scratch_options(captured("v7.8.3"), KNOWN)
    dropped = {change.name for change in made.changes if change.scratch is None}
    assert {"access_hint_on_compaction_start", "level_compaction_dynamic_file_size"} <= dropped
    assert "access_hint_on_compaction_start" not in made.text


def test_tables_are_written_directly() -> None:
    """Otherwise the page cache takes a short run's writes, and the device looks fast."""
    made = parse(scratch_options(captured("v7.8.3"), KNOWN).text)
    assert made.value("use_direct_io_for_flush_and_compaction") == "true"


@pytest.mark.parametrize("value", ["0", "524288"])
def test_how_the_wal_is_synced_is_the_databases_choice(value: str) -> None:
    """A WAL that lives in the page cache only costs the device nothing, here as there."""
    made = scratch_options(watched_with(wal_bytes_per_sync=value), KNOWN)
    assert parse(made.text).value("wal_bytes_per_sync") == value


def test_compactions_read_ahead_as_they_did_in_the_watched_version() -> None:
    """7.8 hinted to the system; 9.8 with the same 0 would read 4 KiB at a time."""
    made = parse(scratch_options(captured("v7.8.3"), KNOWN).text)
    assert made.value("compaction_readahead_size") == "2097152"
    newer = captured("v10.7.5").replace(
        "compaction_readahead_size=2097152", "compaction_readahead_size=0"
    )
    assert parse(scratch_options(newer, KNOWN).text).value("compaction_readahead_size") == "0"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("comparator", "acme.Comparator", "leveldb.BytewiseComparator"),
        ("comparator", "rocksdb.ReverseBytewiseComparator", "rocksdb.ReverseBytewiseComparator"),
        ("merge_operator", "acme.Merge", "nullptr"),
        ("compaction_filter", "acme.Filter", "nullptr"),
        ("prefix_extractor", "acme.Prefix", "nullptr"),
        ("prefix_extractor", "rocksdb.FixedPrefix.8", "rocksdb.FixedPrefix.8"),
        ("WAL_ttl_seconds", "3600", "0"),
        ("error_if_exists", "false", "true"),
    ],
)
def test_what_belongs_to_the_application_is_replaced(name: str, value: str, expected: str) -> None:
    """The library at hand has none of the application's classes."""
    made = scratch_options(watched_with(**{name: value}), KNOWN)
    assert parse(made.text).value(name) == expected


def test_a_newer_table_format_is_lowered_and_said_so() -> None:
    """RocksDB 11 writes a format that 9.8 refuses to open with."""
    made = scratch_options(captured("v11.8.1"), KNOWN)
    table = parse(made.text).sections["TableOptions/BlockBasedTable", "default"]
    assert table["format_version"] == str(NEWEST_FORMAT_VERSION)
    assert "format_version" in {change.name for change in made.changes}


def test_without_a_database_the_library_keeps_its_defaults() -> None:
    """Nothing is unknown then, and there is nothing to compare with later."""
    made = scratch_options(None, KNOWN)
    assert made.digest is None
    assert not [change for change in made.changes if change.scratch is None]


def test_the_file_claims_a_newer_version() -> None:
    """Only then does RocksDB pass over unknown fields inside of an option."""
    made = scratch_options(captured("v7.8.3"), KNOWN)
    assert parse(made.text).version == NEWER_VERSION


def test_the_digest_knows_a_changed_option_but_not_its_place() -> None:
    """RocksDB writes options in another order after an upgrade."""
    text = captured("v7.8.3")
    moved = text.replace("  max_background_jobs=2\n", "").replace(
        "[DBOptions]\n", "[DBOptions]\n  max_background_jobs=2\n"
    )
    assert digest(text) == digest(moved)
    assert digest(text) != digest(watched_with(max_background_jobs="4"))


def test_what_rocksdb_corrected_is_told() -> None:
    """It raises a stop trigger that is below the slowdown's, for example."""
    asked = scratch_options(watched_with(level0_stop_writes_trigger="1"), KNOWN).text
    effective = asked.replace("level0_stop_writes_trigger=1", "level0_stop_writes_trigger=4")
    (change,) = differences(asked, effective)
    assert (change.name, change.watched, change.scratch) == ("level0_stop_writes_trigger", "1", "4")
