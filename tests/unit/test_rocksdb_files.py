"""Whatever lies in the place of a database's file, a probe says so at once."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from probes.clock import SystemClock
from probes.errors import ProbeError
from probes.rocksdb.discover import discover_databases
from probes.rocksdb.files import NotAFile, open_regular
from probes.rocksdb.fingerprint import FingerprintProbe
from probes.rocksdb.log import LogProbe
from probes.rocksdb.manifest import ManifestProbe
from probes.rocksdb.options import OptionsProbe
from probes.rocksdb.wal import WalProbe
from tests.unit.test_rocksdb_fingerprint import lock_line, proc_with_locks, process

CAPTURED = Path(__file__).parents[1] / "data" / "rocksdb" / "v9.8.4"


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


OBSTACLES: dict[str, Callable[[Path], None]] = {
    "named pipe": os.mkfifo,
    "directory": Path.mkdir,
    "link to itself": link_to_itself,
    "link to a device": link_to_a_device,
    "socket": bound_socket,
}

PROBES: dict[str, tuple[str, Callable[[str], object], set[str]]] = {
    "fingerprint": (
        "CURRENT",
        lambda path: FingerprintProbe(path, SystemClock()).read(),
        {"database_read_error"},
    ),
    "manifest's CURRENT": (
        "CURRENT",
        lambda path: ManifestProbe(path, SystemClock()).read(),
        {"manifest_read_error"},
    ),
    "manifest": (
        "MANIFEST-000005",
        lambda path: ManifestProbe(path, SystemClock()).read(),
        {"manifest_read_error"},
    ),
    "options": (
        "OPTIONS-000007",
        lambda path: OptionsProbe(path, SystemClock()).read(),
        {"options_read_error"},
    ),
    "wal": (
        "000078.log",
        lambda path: WalProbe(path, SystemClock()).read(),
        {"wal_read_error"},
    ),
    "log": (
        "LOG",
        lambda path: LogProbe(path, SystemClock()).read(),
        {"log_not_a_file", "log_unreadable"},
    ),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
@pytest.mark.parametrize("probe", PROBES)
def test_no_probe_hangs_on_what_is_not_a_file(tmp_path: Path, probe: str, obstacle: str) -> None:
    """Opened in the ordinary way, a named pipe would wait for a writer for ever."""
    database = tmp_path / "db"
    shutil.copytree(CAPTURED, database)
    name, read, reasons = PROBES[probe]
    read(str(database))
    (database / name).unlink()
    OBSTACLES[obstacle](database / name)
    with pytest.raises(ProbeError) as caught:
        read(str(database))
    assert caught.value.reason in reasons
    assert name in caught.value.detail


def test_a_database_with_a_pipe_for_a_log_is_found_without_a_version(tmp_path: Path) -> None:
    """Discovery looks into every LOG it finds."""
    database = tmp_path / "db"
    shutil.copytree(CAPTURED, database)
    (database / "LOCK").touch()
    proc = proc_with_locks(tmp_path / "proc", lock_line(database / "LOCK", 41))
    process(proc, 41, database / "LOCK")
    (before,) = discover_databases(str(proc)).databases
    (database / "LOG").unlink()
    os.mkfifo(database / "LOG")
    (after,) = discover_databases(str(proc)).databases
    assert (before.rocksdb_version, after.rocksdb_version) == ("9.8.4", None)


@pytest.mark.parametrize(
    ("obstacle", "kind"),
    [
        ("named pipe", "named pipe"),
        ("directory", "directory"),
        ("link to a device", "device"),
        ("socket", "socket"),
    ],
)
def test_what_is_not_a_file_is_named(tmp_path: Path, obstacle: str, kind: str) -> None:
    """The operator reads what lies there."""
    path = tmp_path / "CURRENT"
    OBSTACLES[obstacle](path)
    with pytest.raises(NotAFile, match=f"is a {kind}, not a regular file"):
        open_regular(str(path))


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    """Operators move a LOG to another disk and leave a link."""
    (tmp_path / "real").write_bytes(b"text")
    (tmp_path / "LOG").symlink_to(tmp_path / "real")
    descriptor = open_regular(str(tmp_path / "LOG"))
    assert os.read(descriptor, 10) == b"text"
    os.close(descriptor)


def test_a_file_that_becomes_a_pipe_between_asking_and_opening_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no descriptor stays open."""
    path = tmp_path / "LOG"
    path.touch()
    opened = os.open
    descriptors = []

    def open_another(name: str, flags: int) -> int:
        path.unlink()
        os.mkfifo(path)
        descriptors.append(opened(name, flags))
        return descriptors[-1]

    monkeypatch.setattr(os, "open", open_another)
    with pytest.raises(NotAFile, match="is a named pipe"):
        open_regular(str(path))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptors[0])
