"""Finding a database's LOG."""

from pathlib import Path

import pytest

from probes.rocksdb.log_location import log_candidates, mangled_name, old_logs


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/srv/rocksdb/db", "srv_rocksdb_db_LOG"),
        ("/data/my db:1/a.b-c_d", "data_my_db_1_a.b-c_d_LOG"),
        ("/data//twice", "data_twice_LOG"),
        ("/d/ü", "d____LOG"),
        ("/" + "x" * 400, "x" * 255 + "_LOG"),
    ],
)
def test_names_in_a_log_directory_are_mangled_as_rocksdb_does(path: str, expected: str) -> None:
    """file/filename.cc: one underscore for each other byte, 260 bytes with its NUL."""
    assert mangled_name(path) == expected


def test_the_log_is_looked_for_in_the_database_directory_first() -> None:
    """TiKV's file lies beside its "db"."""
    assert log_candidates("/tikv/db/", None) == [
        "/tikv/db/LOG",
        "/tikv/db/rocksdb.info",
        "/tikv/rocksdb.info",
    ]


def test_a_containers_log_directory_lies_behind_its_root() -> None:
    """The database's own absolute paths do not know the prefix."""
    candidates = log_candidates("/proc/42/root/var/db", "/var/log/rocksdb")
    assert candidates == ["/proc/42/root/var/log/rocksdb/var_db_LOG"]


def test_a_log_named_after_another_path_to_the_database_is_found(tmp_path: Path) -> None:
    """The database may have been opened through a symlink."""
    (tmp_path / "mnt_real_db_LOG").touch()
    (tmp_path / "mnt_real_other_LOG").touch()
    candidates = log_candidates("/link/db", str(tmp_path))
    assert candidates == [f"{tmp_path}/link_db_LOG", f"{tmp_path}/mnt_real_db_LOG"]


def test_old_logs_are_ordered_by_their_number(tmp_path: Path) -> None:
    """Numbers, not text: microseconds may differ in length."""
    for name in ("LOG", "LOG.old.1795230820354474", "LOG.old.999", "LOG.old.x", "LOGX.old.9"):
        (tmp_path / name).touch()
    assert old_logs(str(tmp_path / "LOG")) == [
        (999, str(tmp_path / "LOG.old.999")),
        (1795230820354474, str(tmp_path / "LOG.old.1795230820354474")),
    ]


def test_a_new_database_has_no_old_logs(tmp_path: Path) -> None:
    """Nor has one whose directory is gone."""
    assert old_logs(str(tmp_path / "LOG")) == []
    assert old_logs(str(tmp_path / "gone" / "LOG")) == []
