"""Discovery: databases open in processes of this host, and what cannot be seen."""

import contextlib
import os
import tempfile
import threading
import time
from pathlib import Path

import pytest
import rocksdict

from probes.rocksdb import discover
from probes.rocksdb.discover import DatabaseSearch, discover_databases
from probes.scratch import SCRATCH_DATABASE_PREFIX
from tests.unit.patience import PATIENCE_SECONDS
from tests.unit.test_rocksdb_fingerprint import (
    lock_line,
    proc_with_locks,
    process,
    unprivileged,
)


def create(path: Path) -> Path:
    """Make a real database that is closed again."""
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    database = rocksdict.Rdict(str(path), options)
    database[b"key"] = b"value"
    database.close()
    return path


def paths(proc_root: Path | str) -> list[tuple[str, int | None]]:
    return [(found.path, found.pid) for found in discover_databases(str(proc_root)).databases]


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir())


def test_a_database_open_in_a_process_of_this_host_is_found(tmp_path: Path) -> None:
    """Through the kernel's own files, without being told a path."""
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    database = rocksdict.Rdict(str(tmp_path / "db"), options)
    database[b"key"] = b"value"
    (found,) = [
        found for found in discover_databases().databases if found.path == str(tmp_path / "db")
    ]
    assert (os.getpid(), os.geteuid()) == (found.pid, found.owner_uid)
    assert Path("/proc/self/comm").read_text().strip() == found.owner_command
    assert size_of(tmp_path / "db") == found.size_bytes
    assert found.rocksdb_version is not None
    database.close()
    assert (str(tmp_path / "db"), os.getpid()) not in paths("/proc")


def test_a_calibrations_own_database_is_passed_over(tmp_path: Path) -> None:
    """It is saturated on purpose, and gone in minutes."""
    watched = tmp_path / "smaxd-calibrations" / "db"
    scratch = tmp_path / f"{SCRATCH_DATABASE_PREFIX}1-2-abcd" / "db"
    for path in (watched, scratch):
        path.parent.mkdir()
    with (
        contextlib.closing(rocksdict.Rdict(str(watched))),
        contextlib.closing(rocksdict.Rdict(str(scratch))),
    ):
        found = {path for path, _ in paths("/proc")}

    assert str(watched) in found
    assert str(scratch) not in found


def test_several_databases_of_one_process_are_found_once_each(tmp_path: Path) -> None:
    """Reached under two names or held by two processes, one directory is one database."""
    first, second = create(tmp_path / "a"), create(tmp_path / "b")
    (tmp_path / "alias").symlink_to(first)
    locks = lock_line(first / "LOCK", 41) + lock_line(second / "LOCK", 41)
    proc = proc_with_locks(tmp_path / "proc", locks + lock_line(first / "LOCK", 42))
    process(proc, 41, first / "LOCK", first / "CURRENT", second / "LOCK")
    process(proc, 42, tmp_path / "alias" / "LOCK")
    assert [(str(first), 41), (str(second), 41)] == paths(proc)


def test_leveldb_is_not_rocksdb(tmp_path: Path) -> None:
    """LevelDB locks a LOCK beside a CURRENT too, and every browser has some."""
    (tmp_path / "leveldb").mkdir()
    for name, content in (("LOCK", ""), ("CURRENT", "MANIFEST-000001\n"), ("LOG", "Recovering")):
        (tmp_path / "leveldb" / name).write_text(content)
    proc = proc_with_locks(tmp_path / "proc", lock_line(tmp_path / "leveldb" / "LOCK", 41))
    process(proc, 41, tmp_path / "leveldb" / "LOCK")
    assert paths(proc) == []


def test_a_deleted_database_is_not_found(tmp_path: Path) -> None:
    """The process still holds the lock of a file that has no name any more."""
    path = create(tmp_path / "db")
    proc = proc_with_locks(tmp_path / "proc", lock_line(path / "LOCK", 41))
    process(proc, 41, Path(f"{path}/LOCK (deleted)"))
    assert paths(proc) == []


def test_processes_without_a_lock_are_not_looked_into(tmp_path: Path) -> None:
    """The list of locks names the few processes whose open files are worth a listing."""
    path = create(tmp_path / "db")
    proc = proc_with_locks(tmp_path / "proc", "")
    process(proc, 41, path / "LOCK")
    assert paths(proc) == []


def test_without_a_lock_list_all_processes_are_looked_into(tmp_path: Path) -> None:
    """Some containers hide /proc/locks."""
    path = create(tmp_path / "db")
    process(tmp_path / "proc", 41, path / "LOCK")
    assert [(str(path), 41)] == paths(tmp_path / "proc")


def test_a_process_that_ended_meanwhile_is_passed_over(tmp_path: Path) -> None:
    """The lock was listed, its process is gone: neither found nor hidden from us."""
    path = create(tmp_path / "db")
    proc = proc_with_locks(tmp_path / "proc", lock_line(path / "LOCK", 41))
    result = discover_databases(str(proc))
    assert (result.databases, result.unreadable_owners) == ((), 0)


def test_lock_holders_that_hide_their_files_are_counted(tmp_path: Path) -> None:
    """Another user's open files need privileges: the operator is told that there may be more."""
    path = create(tmp_path / "db")
    with tempfile.TemporaryDirectory() as directory:  # unlike tmp_path, others may go through it
        proc = proc_with_locks(Path(directory) / "proc", lock_line(path / "LOCK", 41))
        process(proc, 41, path / "LOCK")
        Path(directory).chmod(0o755)
        (proc / "41" / "fd").chmod(0)
        with unprivileged():
            result = discover_databases(str(proc))
        (proc / "41" / "fd").chmod(0o755)
    assert (result.databases, result.unreadable_owners) == ((), 1)


def test_a_database_that_does_not_answer_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is silent, known by its lock; nobody looks at it again until that look is back."""
    hung, good = create(tmp_path / "a"), create(tmp_path / "b")
    proc = proc_with_locks(
        tmp_path / "proc", lock_line(hung / "LOCK", 41) + lock_line(good / "LOCK", 42)
    )
    process(proc, 41, hung / "LOCK")
    process(proc, 42, good / "LOCK")
    disk_answers, looks = threading.Event(), []
    is_rocksdb = discover._is_rocksdb

    def looked_at(path: str) -> bool:
        looks.append(path)
        return (path != str(hung) or disk_answers.wait()) and is_rocksdb(path)

    monkeypatch.setattr(discover, "_is_rocksdb", looked_at)
    search = DatabaseSearch(str(proc), look_seconds=0.5)
    results = [search.read() for _ in range(3)]
    looks_while_silent = looks.count(str(hung))
    disk_answers.set()
    give_up = time.monotonic() + 30.0
    while (after := search.read()).silent:
        assert time.monotonic() < give_up

    assert {tuple(d.path for d in result.databases) for result in results} == {(str(good),)}
    assert {tuple(d.path for d in result.silent) for result in results} == {(str(hung),)}
    assert results[0].silent[0].pid == 41
    assert looks_while_silent == 1
    assert [found.path for found in after.databases] == [str(hung), str(good)]


def several(tmp_path: Path, count: int) -> tuple[list[str], str]:
    """Databases of one process, and where the kernel lists their locks."""
    made = [create(tmp_path / f"db{number}") for number in range(count)]
    proc = proc_with_locks(
        tmp_path / "proc", "".join(lock_line(path / "LOCK", 41) for path in made)
    )
    process(proc, 41, *(path / "LOCK" for path in made))
    return [str(path) for path in made], str(proc)


def test_all_databases_are_looked_at_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many on dead disks cost the time of one. Here none answers before all are asked."""
    made, proc = several(tmp_path, 4)
    all_asked = threading.Barrier(len(made), timeout=PATIENCE_SECONDS)
    is_rocksdb = discover._is_rocksdb
    monkeypatch.setattr(
        discover, "_is_rocksdb", lambda path: all_asked.wait() >= 0 and is_rocksdb(path)
    )
    found = DatabaseSearch(proc, look_seconds=PATIENCE_SECONDS).read()
    assert [database.path for database in found.databases] == made


def test_of_very_many_databases_all_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though not all are asked at once."""
    made, proc = several(tmp_path, 5)
    monkeypatch.setattr(discover, "LOOKS_AT_ONCE", 2)
    found = DatabaseSearch(proc, look_seconds=PATIENCE_SECONDS).read()
    assert [database.path for database in found.databases] == made


def test_where_threads_are_limited_the_others_wait_for_those_that_were_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next search would meet the same limit, and miss the same databases."""
    made, proc = several(tmp_path, 5)
    asked = 0

    class Limited(threading.Thread):
        def start(self) -> None:
            nonlocal asked
            asked += 1
            if asked % 3 == 0:
                raise RuntimeError("can't start new thread")
            super().start()

    monkeypatch.setattr(threading, "Thread", Limited)
    found = DatabaseSearch(proc, look_seconds=PATIENCE_SECONDS).read()
    assert [database.path for database in found.databases] == made


def test_a_lock_that_is_open_twice_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise each search would leave another thread on a dead disk."""
    path = create(tmp_path / "db")
    proc = proc_with_locks(tmp_path / "proc", lock_line(path / "LOCK", 41))
    process(proc, 41, path / "LOCK", path / "LOCK")
    looks = []
    is_rocksdb = discover._is_rocksdb

    def looked_at(looked: str) -> bool:
        looks.append(looked)
        return is_rocksdb(looked)

    monkeypatch.setattr(discover, "_is_rocksdb", looked_at)
    assert [(str(path), 41)] == paths(proc)
    assert looks == [str(path)]


def test_no_proc_at_all_finds_nothing(tmp_path: Path) -> None:
    """Discovery never fails; it finds nothing."""
    assert paths(tmp_path / "no-proc") == []
