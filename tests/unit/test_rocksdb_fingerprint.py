"""The fingerprint: what changes with a database's incarnation, and who owns it."""

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import rocksdict
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.clock import SystemClock
from probes.errors import ProbeError
from probes.rocksdb.fingerprint import FileLock, FingerprintProbe, whole_file_write_locks
from probes.rocksdb.samples import FingerprintSample

NOBODY = 65534

REAL_LOCKS = """\
1: POSIX  ADVISORY  WRITE 15272 fe:00:1556486 0 EOF
2: OFDLCK ADVISORY  READ -1 fe:00:1542148 201 201
3: OFDLCK ADVISORY  WRITE -1 fe:00:1542148 0 EOF
4: FLOCK  ADVISORY  WRITE 812 00:19:1034 0 EOF
5: POSIX  ADVISORY  WRITE 900 103:12:77 1073741824 1073742335
6: POSIX  ADVISORY  READ  901 fe:00:78 0 EOF
7: POSIX  ADVISORY  WRITE 4711 10302:1a:79 0 EOF
7: -> POSIX  ADVISORY  WRITE 902 fe:00:79 0 EOF
8: LEASE  ACTIVE    READ  903 fe:00:80 0 EOF
9: POSIX  ADVISORY  WRITE 0 fe:00:81 0 EOF
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """A real database, open in this process."""
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    opened = rocksdict.Rdict(str(tmp_path / "db"), options)
    opened[b"key"] = b"value"
    yield tmp_path / "db"
    opened.close()


@contextmanager
def unprivileged() -> Iterator[None]:
    """Lose root's right to read everything, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def read(path: Path, proc_root: Path | str = "/proc") -> FingerprintSample:
    return FingerprintProbe(str(path), SystemClock(), str(proc_root)).read()


def reason(path: Path) -> str:
    with pytest.raises(ProbeError) as caught:
        read(path)
    return caught.value.reason


def proc_with_locks(root: Path, locks: str) -> Path:
    root.mkdir(exist_ok=True)
    (root / "locks").write_text(locks)
    return root


def lock_line(lock: Path, pid: int, *, device: int | None = None) -> str:
    status = lock.stat()
    shown = status.st_dev if device is None else device
    return (
        f"1: POSIX  ADVISORY  WRITE {pid} "
        f"{os.major(shown):02x}:{os.minor(shown):02x}:{status.st_ino} 0 EOF\n"
    )


def process(root: Path, pid: int, *opened: Path, start_ticks: int = 5000) -> None:
    (root / str(pid) / "fd").mkdir(parents=True)
    for number, path in enumerate(opened):
        (root / str(pid) / "fd" / str(number)).symlink_to(path)
    before = " ".join(["S", *["0"] * 18])
    (root / str(pid) / "stat").write_text(f"{pid} (a) b c)) {before} {start_ticks} 0 0\n")


def own_start_ticks() -> int:
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])


def test_an_open_database_names_its_owner(database: Path) -> None:
    """The kernel's own list of locks leads to the process that has the database open."""
    sample = read(database)
    assert (os.getpid(), own_start_ticks()) == (sample.owner_pid, sample.owner_start_ticks)
    assert (database / "CURRENT").read_text().strip() == sample.manifest_name
    assert [(database / name).stat().st_ino for name in ("CURRENT", "IDENTITY", "LOCK")] == [
        sample.current_inode,
        sample.identity_inode,
        sample.lock_inode,
    ]
    assert (database / "IDENTITY").stat().st_mtime == sample.created_wall_seconds


def test_nothing_changes_while_nothing_happens(database: Path) -> None:
    """Two readings of an idle database are the same incarnation."""
    assert read(database).incarnation == read(database).incarnation


def test_a_recreated_database_is_another_incarnation(tmp_path: Path) -> None:
    """Same path, same owner, same MANIFEST name, and on ext4 even the same inode numbers."""
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    samples = []
    for _ in range(2):
        database = rocksdict.Rdict(str(tmp_path / "db"), options)
        samples.append(read(tmp_path / "db"))
        database.close()
        shutil.rmtree(tmp_path / "db")
    first, second = samples
    assert first.manifest_name == second.manifest_name
    assert first.incarnation != second.incarnation


def test_a_closed_database_has_no_owner(tmp_path: Path) -> None:
    """The LOCK file stays when nobody holds it."""
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    rocksdict.Rdict(str(tmp_path), options).close()
    sample = read(tmp_path)
    assert sample.lock_inode is not None
    assert (sample.owner_pid, sample.owner_start_ticks) == (None, None)


def test_only_whole_file_posix_write_locks_count(tmp_path: Path) -> None:
    """SQLite's ranges, flock, leases, open-file and awaited locks are not RocksDB's."""
    proc = proc_with_locks(tmp_path / "proc", REAL_LOCKS)
    expected = [
        FileLock(15272, os.makedev(0xFE, 0), 1556486),
        FileLock(4711, os.makedev(0x10302, 0x1A), 79),
    ]
    assert expected == list(whole_file_write_locks(str(proc)))


def test_another_device_number_needs_the_open_file(database: Path, tmp_path: Path) -> None:
    """On btrfs and overlay the device differs: then the process must have the file open."""
    proc = proc_with_locks(
        tmp_path / "proc",
        lock_line(database / "LOCK", 41, device=0) + lock_line(database / "LOCK", 42, device=0),
    )
    process(proc, 41, tmp_path)
    process(proc, 42, database / "CURRENT", database / "LOCK", start_ticks=777)
    sample = read(database, proc)
    assert (sample.owner_pid, sample.owner_start_ticks) == (42, 777)


def test_an_equal_inode_of_another_file_is_not_the_owner(database: Path, tmp_path: Path) -> None:
    """Inode numbers repeat between file systems."""
    proc = proc_with_locks(tmp_path / "proc", lock_line(database / "LOCK", 41, device=0))
    process(proc, 41, tmp_path)
    assert read(database, proc).owner_pid is None


def test_where_open_files_are_hidden_a_single_candidate_is_taken(
    database: Path, tmp_path: Path
) -> None:
    """Another user's files may not be listed; one equal inode is most likely right, two are not."""
    one = lock_line(database / "LOCK", 41, device=0)
    proc = proc_with_locks(tmp_path / "proc", one)
    assert read(database, proc).owner_pid == 41
    proc_with_locks(tmp_path / "proc", one + lock_line(database / "LOCK", 42, device=0))
    assert read(database, proc).owner_pid is None


def test_one_miss_of_the_lock_list_is_not_believed(database: Path, tmp_path: Path) -> None:
    """The list is not read at one moment, and lacks a lock now and then while others change."""
    proc = proc_with_locks(tmp_path / "proc", "")
    (proc / "locks").unlink()
    os.mkfifo(proc / "locks")

    def give_lists() -> None:
        # More than are asked for: two that are given at once count as one for the reader.
        for text in ("", *[lock_line(database / "LOCK", 41)] * 5):
            with contextlib.suppress(OSError):  # nobody asks any more
                (proc / "locks").write_text(text)

    threading.Thread(target=give_lists, daemon=True).start()
    sample = read(database, proc)

    assert sample.owner_pid == 41


def test_without_a_lock_list_the_owner_is_unknown(database: Path, tmp_path: Path) -> None:
    """Everything else of the fingerprint is still there."""
    sample = read(database, tmp_path / "no-proc")
    assert (sample.owner_pid, sample.manifest_name) == (None, "MANIFEST-000005")


def test_what_is_no_database_has_its_reason(tmp_path: Path) -> None:
    """Missing, another directory, a file, or a CURRENT of something else."""
    assert reason(tmp_path / "gone") == "database_missing"
    assert reason(tmp_path) == "not_rocksdb"
    (tmp_path / "CURRENT").write_bytes(b"\xff\0")
    assert reason(tmp_path) == "not_rocksdb"
    assert reason(tmp_path / "CURRENT") == "not_rocksdb"


def test_an_unreadable_database_says_who_must_grant_what(database: Path) -> None:
    """The operator is told what to do."""
    database.chmod(0)
    with unprivileged():
        outcome = reason(database)
    database.chmod(0o755)
    assert outcome == "not_readable"


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300))
def test_any_lock_list_is_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Lines of a future kernel are passed over."""
    proc = tmp_path_factory.mktemp("proc")
    (proc / "locks").write_bytes(content + b"\n" + REAL_LOCKS.encode())
    found = [lock.pid for lock in whole_file_write_locks(str(proc))]
    assert found[-2:] == [15272, 4711]
