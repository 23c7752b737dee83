"""Directories that only their files give away as a database's, as RocksDB lays them out."""

import os
import shutil
from pathlib import Path

import pytest

from probes.scratch import enclosing_database

ROCKSDB = Path(__file__).parents[1] / "data" / "rocksdb"
REAL_WAL = ROCKSDB / "db_log_dir" / "000016.log"
REAL_LOG = ROCKSDB / "db_log_dir" / "srv_rocksdb_db_log_dir_db_LOG"


@pytest.mark.parametrize(
    "names",
    [
        ("000123.sst", "000124.sst"),
        ("12345678.sst",),
        ("lost+found", "000123.sst"),
        ("000009.blob",),
        ("MANIFEST-000005",),
        ("OPTIONS-000007",),
        ("000016.log",),  # of an idle database: nothing was written to it yet
        ("CURRENT",),
        ("IDENTITY",),
    ],
)
def test_a_directory_with_files_of_rocksdb_is_a_databases(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    """And so is all that lies below it."""
    for name in names:
        (tmp_path / name).touch()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)

    assert enclosing_database(str(tmp_path), ()) == str(tmp_path)
    assert enclosing_database(str(below), ()) == str(tmp_path)


def test_a_wal_directory_is_told_by_the_records_in_its_files(tmp_path: Path) -> None:
    """Also where RocksDB has preallocated more, or has not written yet, and beside an archive."""
    written, early = tmp_path / "written", tmp_path / "early"
    for directory in (written, early):
        (directory / "archive").mkdir(parents=True)
    # A number that could be a date, too.
    (written / "20260101.log").write_bytes(REAL_WAL.read_bytes() + bytes(65536))
    (early / "000016.log").write_bytes(bytes(65536))

    assert enclosing_database(str(written / "archive"), ()) == str(written)
    assert enclosing_database(str(early), ()) == str(early)


def test_a_log_directory_is_told_by_what_its_log_says(tmp_path: Path) -> None:
    """What lies below it is no part of the database: it may be the host's directory of logs."""
    shutil.copy(REAL_LOG, tmp_path)
    below = tmp_path / "below"
    below.mkdir()

    assert enclosing_database(str(tmp_path), ()) == str(tmp_path)
    assert enclosing_database(str(below), ()) is None


ORDINARY = {
    "syslog": b"Jan  1 00:00:00 host systemd[1]: started\n",
    "auth.log": b"",
    "20260101.log": b"2026-01-01 00:00:00 something happened\n",
    "20260102.log": b"",
    "20260103.log": bytes(100),
    "260104.log": b"2026-01-04 00:00:00 something happened\n",
    "000001.log": bytes(range(200)),
    "12345.log": b"",
    "LOG": REAL_LOG.read_bytes()[:4096],  # a copy that somebody wanted to look at
    "a_LOG": b"of a program that is no database\n",
    "b_LOG": b"",
    "MANIFEST": b"",
    "MANIFEST-old": b"",
    "OPTIONS-backup": b"",
    "12.sst": b"",
    "000123.sst.bak": b"",
    "x000123.sst": b"",
}


def test_ordinary_directories_are_no_databases(tmp_path: Path) -> None:
    """Such as one of logs that are named by their date, or the root of a mount."""
    for name, content in ORDINARY.items():
        (tmp_path / name).write_bytes(content)

    assert enclosing_database(str(tmp_path), ()) is None


@pytest.mark.parametrize("directory", ["/", "/etc", "/usr/bin", "/var/lib", "/var/log", "/dev"])
def test_the_hosts_own_directories_are_no_databases(directory: str) -> None:
    """As they are here."""
    assert enclosing_database(directory, ()) is None


@pytest.mark.parametrize("name", ["db_LOG", "000001.log"])
def test_a_pipe_in_a_files_place_makes_nobody_wait(tmp_path: Path, name: str) -> None:
    """It is not opened; a name that only a WAL has counts all the same."""
    os.mkfifo(tmp_path / name)

    found = enclosing_database(str(tmp_path), ())

    assert found == (str(tmp_path) if name == "000001.log" else None)
