"""The OPTIONS file: real ones of several versions, odd names and values, damage."""

import os
from pathlib import Path

import pytest
import rocksdict
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.clock import SystemClock
from probes.errors import ProbeError
from probes.rocksdb.options import (
    LARGE_DIRECTORY_ENTRIES,
    RELIST_SECONDS,
    OptionsProbe,
    parse_options,
)
from probes.rocksdb.options_samples import ColumnFamilyOptions, OptionsSample, UniversalOptions

CAPTURED = sorted(Path(__file__).parent.parent.glob("data/rocksdb/*/OPTIONS-*"))


def parsed(text: str | bytes, database_path: str = "/db") -> OptionsSample:
    content = text.encode() if isinstance(text, str) else text
    return parse_options(content, file_name="OPTIONS-000007", at=1.0, database_path=database_path)


def read(directory: Path) -> OptionsSample:
    return OptionsProbe(str(directory), SystemClock()).read()


def reason(directory: Path) -> str:
    with pytest.raises(ProbeError) as caught:
        read(directory)
    return caught.value.reason


def write_options(directory: Path, number: int, jobs: int) -> Path:
    path = directory / f"OPTIONS-{number:06d}"
    path.write_text(f"[DBOptions]\n  max_background_jobs={jobs}\n")
    return path


def test_the_options_of_a_real_database_are_those_it_was_opened_with(tmp_path: Path) -> None:
    """Every value set through the library comes back from the file it wrote."""
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(7 << 20)
    options.set_max_write_buffer_number(5)
    options.set_level_zero_file_num_compaction_trigger(3)
    options.set_level_zero_slowdown_writes_trigger(13)
    options.set_level_zero_stop_writes_trigger(23)
    options.set_soft_pending_compaction_bytes_limit(1 << 33)
    options.set_hard_pending_compaction_bytes_limit(1 << 34)
    options.set_num_levels(5)
    options.set_max_bytes_for_level_base(99 << 20)
    options.set_max_bytes_for_level_multiplier(7.5)
    options.set_target_file_size_base(11 << 20)
    options.set_compaction_style(rocksdict.DBCompactionStyle.universal())
    options.set_compression_type(rocksdict.DBCompressionType.lz4())
    options.set_bottommost_compression_type(rocksdict.DBCompressionType.zstd())
    universal = rocksdict.UniversalCompactOptions()
    universal.size_ratio = 3
    universal.min_merge_width = 4
    universal.max_merge_width = 5
    universal.max_size_amplification_percent = 123
    options.set_universal_compaction_options(universal)
    options.set_bytes_per_sync(1 << 20)
    options.set_wal_bytes_per_sync(2 << 20)
    options.set_use_direct_io_for_flush_and_compaction(True)
    options.set_max_background_jobs(6)
    options.set_max_subcompactions(4)
    options.set_max_total_wal_size(123 << 20)
    options.set_db_log_dir(str(tmp_path / "logs"))
    options.set_wal_dir(str(tmp_path / "wal"))
    rocksdict.Rdict(str(tmp_path / "db"), options).close()
    sample = read(tmp_path / "db")
    expected = ColumnFamilyOptions(
        name="default",
        write_buffer_bytes=7 << 20,
        max_write_buffer_number=5,
        level0_file_num_compaction_trigger=3,
        level0_slowdown_writes_trigger=13,
        level0_stop_writes_trigger=23,
        soft_pending_compaction_bytes_limit=1 << 33,
        hard_pending_compaction_bytes_limit=1 << 34,
        compaction_style="universal",
        compression="lz4",
        num_levels=5,
        max_bytes_for_level_base=99 << 20,
        max_bytes_for_level_multiplier=7.5,
        target_file_size_base=11 << 20,
        target_file_size_multiplier=1,
        level_compaction_dynamic_level_bytes=False,  # on by default, off with universal
        max_compaction_bytes=25 * (11 << 20),
        min_write_buffer_number_to_merge=1,
        universal=UniversalOptions(
            size_ratio_percent=3,
            min_merge_width=4,
            max_merge_width=5,
            max_size_amplification_percent=123,
            compression_size_percent=-1,
            allow_trivial_move=False,
            incremental=False,
        ),
        bottommost_compression="zstd",
        disable_auto_compactions=False,
        enable_blob_files=False,
        arena_block_bytes=917504,
        memtable_factory="SkipListFactory",
        preclude_last_level_data_seconds=0,
    )
    assert (expected,) == sample.column_families
    assert (
        sample.max_background_jobs,
        sample.max_subcompactions,
        sample.max_total_wal_bytes,
        sample.max_background_flushes,
        sample.max_background_compactions,
        sample.bytes_per_sync,
        sample.wal_bytes_per_sync,
        sample.use_direct_io_for_flush_and_compaction,
        sample.use_direct_reads,
    ) == (6, 4, 123 << 20, -1, -1, 1 << 20, 2 << 20, True, False)
    assert (str(tmp_path / "wal"), str(tmp_path / "logs")) == (sample.wal_dir, sample.db_log_dir)
    assert sample.delayed_write_rate is not None
    assert sample.rocksdb_version is not None


@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: path.parent.name)
def test_the_options_files_of_other_versions_are_understood(path: Path) -> None:
    """RocksDB 6 to 11: no field that decides about stalls is missing."""
    sample = read(path.parent)
    assert path.name == sample.file_name
    # Older versions than 5.7 had separate numbers of flush and compaction threads.
    assert (sample.max_background_jobs is not None) == (
        b"max_background_jobs=" in path.read_bytes()
    )
    for family in sample.column_families:
        assert None not in (
            family.write_buffer_bytes,
            family.max_write_buffer_number,
            family.level0_file_num_compaction_trigger,
            family.level0_slowdown_writes_trigger,
            family.level0_stop_writes_trigger,
            family.soft_pending_compaction_bytes_limit,
            family.hard_pending_compaction_bytes_limit,
            family.compaction_style,
            family.compression,
            family.num_levels,
            family.max_bytes_for_level_base,
            family.max_bytes_for_level_multiplier,
            family.target_file_size_base,
        )


@pytest.mark.parametrize("name", ["a b", "x]y", 'quo"te', "ha#sh", "co:lon", "back\\slash", "ünï"])
def test_odd_names_of_column_families_survive(tmp_path: Path, name: str) -> None:
    """RocksDB escapes some characters of a name in the section's heading."""
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    database = rocksdict.Rdict(str(tmp_path / "db"), options)
    database.create_column_family(name, options)
    database.close()
    names = [family.name for family in read(tmp_path / "db").column_families]
    assert ["default", name] == names


def test_the_highest_number_wins_and_unfinished_files_do_not_count(tmp_path: Path) -> None:
    """Numbers are compared as numbers; .dbtmp is a file still being written."""
    write_options(tmp_path, 999_999, 1)
    write_options(tmp_path, 1_000_001, 2)
    write_options(tmp_path, 1_000_005, 3).rename(tmp_path / "OPTIONS-1000005.dbtmp")
    sample = read(tmp_path)
    assert (sample.file_name, sample.max_background_jobs) == ("OPTIONS-1000001", 2)


def test_a_new_file_replaces_what_was_known(tmp_path: Path) -> None:
    """SetOptions and reopening write a new OPTIONS file and remove the old one."""
    old = write_options(tmp_path, 7, 2)
    probe = OptionsProbe(str(tmp_path), SystemClock())
    probe.read()
    write_options(tmp_path, 9, 8)
    old.unlink()
    assert probe.read().max_background_jobs == 8


def test_a_name_retired_since_the_listing_is_looked_up_again(tmp_path: Path) -> None:
    """The remembered listing may name a file that is gone."""
    old = write_options(tmp_path, 7, 2)
    os.utime(tmp_path, ns=(0, 0))
    probe = OptionsProbe(str(tmp_path), SystemClock())
    probe.read()
    old.unlink()
    write_options(tmp_path, 9, 8)
    os.utime(tmp_path, ns=(0, 0))
    assert probe.read().max_background_jobs == 8


class HandClock:
    """A clock that tests move by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


def test_a_large_directory_is_listed_once_a_minute(tmp_path: Path) -> None:
    """Every flush changes it; a listing at every tick would cost more than all other probes."""
    for number in range(LARGE_DIRECTORY_ENTRIES):
        (tmp_path / f"{number:06d}.sst").touch()
    write_options(tmp_path, 7, 2)
    clock = HandClock()
    probe = OptionsProbe(str(tmp_path), clock)
    probe.read()
    write_options(tmp_path, 9, 8)
    clock.now += RELIST_SECONDS - 1
    assert probe.read().max_background_jobs == 2
    clock.now += 1
    assert probe.read().max_background_jobs == 8


def test_an_unchanged_file_is_not_parsed_again_but_verified_now(tmp_path: Path) -> None:
    """The values are as of this reading: the file was checked to be the same."""
    write_options(tmp_path, 7, 2)
    probe = OptionsProbe(str(tmp_path), SystemClock())
    first, second = probe.read(), probe.read()
    assert first.column_families is second.column_families
    assert second.at > first.at


def test_comments_escapes_and_nested_values_are_read() -> None:
    """``#`` starts a comment unless escaped; ``\\:`` is a colon; {a;b} is one value."""
    sample = parsed(
        "# head\n"
        "[DBOptions]\n"
        "  wal_dir=/mnt/a\\#1/wal\\:2  # a comment\n"
        "  listeners={id=x;y=[z]}\n"
        "  max_background_jobs = 12 \n"
        '[CFOptions "default"]\n'
        "  compression_opts={level=32767;write_buffer_size=1;}\n"
        "  write_buffer_size=64\n"
        '[TableOptions/BlockBasedTable "default"]\n'
        "  write_buffer_size=77\n"
    )
    assert (sample.wal_dir, sample.max_background_jobs) == ("/mnt/a#1/wal:2", 12)
    assert [family.write_buffer_bytes for family in sample.column_families] == [64]


@pytest.mark.parametrize("value", ["", "/var/lib/db", "/var/lib/db/", "/var/lib/./db"])
def test_the_databases_own_directory_is_none(value: str) -> None:
    """Old versions write the WAL's directory out even when it is the default."""
    content = f"[DBOptions]\n  wal_dir={value}\n"
    assert parsed(content, "/var/lib/db").wal_dir is None
    assert parsed(content, "/proc/41/root/var/lib/db").wal_dir is None


def test_other_directories_of_a_container_are_given_as_written() -> None:
    """The owner wrote its own view of the paths; who opens them goes through its root."""
    sample = parsed("[DBOptions]\n  wal_dir=/wal\n", "/proc/41/root/var/lib/db")
    assert sample.wal_dir == "/wal"


def test_the_databases_own_directory_under_another_name_is_none(tmp_path: Path) -> None:
    """The operator may name a symbolic link where the owner wrote the real path."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "OPTIONS-000007").write_text(f"[DBOptions]\nwal_dir={tmp_path}/real\n")
    assert read(tmp_path / "link").wal_dir is None


def test_what_is_missing_or_unknown_is_none() -> None:
    """None is unknown; it never means zero."""
    sample = parsed(
        '[CFOptions "x"]\ncompaction_style=kCompactionStyleNone\nnum_levels=seven\n'
        f"write_buffer_size={'9' * 5000}\nmax_bytes_for_level_multiplier=ten\n"
    )
    (family,) = sample.column_families
    unknown = ColumnFamilyOptions("x", *[None] * 13)  # type: ignore[arg-type]
    assert unknown == family
    assert (sample.max_background_jobs, sample.rocksdb_version) == (None, None)


@pytest.mark.parametrize("content", ["", "\0\0\0", "[Version]\nrocksdb_version=1.2.3\n"])
def test_a_file_without_options_is_damaged(tmp_path: Path, content: str) -> None:
    """After a crash the file may be empty or zeros."""
    (tmp_path / "OPTIONS-000007").write_text(content)
    assert reason(tmp_path) == "options_damaged"


def test_no_file_and_no_directory_have_their_reasons(tmp_path: Path) -> None:
    """A database without OPTIONS is unusual but runs; a missing directory is a failure."""
    assert reason(tmp_path) == "no_options"
    assert reason(tmp_path / "gone") == "database_missing"


def test_a_file_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    """Memory is bounded whatever somebody puts there."""
    with (tmp_path / "OPTIONS-000007").open("wb") as file:
        file.truncate(1 << 30)
    assert reason(tmp_path) == "options_too_large"


line = st.sampled_from(
    [b"[DBOptions]", b'[CFOptions "', b'"]', b"wal_dir=", b"\\", b"#", b"\n", b"num_levels=7", b"="]
)


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.binary(max_size=400), st.lists(line, max_size=30).map(b"".join)))
def test_any_bytes_are_options_or_damaged(content: bytes) -> None:
    """The parser accepts or refuses, and never has an accident."""
    try:
        sample = parsed(content)
    except ProbeError as error:
        reasons = [error.reason]
    else:
        reasons = []
        assert sample.file_name == "OPTIONS-000007"
    assert reasons in ([], ["options_damaged"])
