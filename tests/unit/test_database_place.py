"""Where directories of databases really lie, those of containers included."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.database_log import DatabaseLog
from agent.database_place import really_at
from probes.clock import SystemClock
from probes.errors import NoData

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="making a mount namespace needs root and unshare",
)


@contextmanager
def container(directory: Path) -> Iterator[str]:
    """The root, seen from here, of a process that has another ``directory`` with ``logs`` in it."""
    command = f"mount -t tmpfs none {directory} && mkdir {directory}/logs && exec cat"
    argv = ["unshare", "--mount", "sh", "-c", command]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"inside\n")
        process.stdin.flush()
        if process.stdout.readline() != b"inside\n":
            pytest.skip("mounting a tmpfs in a namespace of its own is not permitted here")
        yield f"/proc/{process.pid}/root"
        process.stdin.close()


def test_links_are_followed(tmp_path: Path) -> None:
    """Also to what is not there yet."""
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    real = str((tmp_path / "data").resolve())
    assert really_at(str(tmp_path / "link")) == real
    assert really_at(str(tmp_path / "link" / "later")) == f"{real}/later"


@needs_namespaces
def test_a_containers_directory_is_not_taken_for_ours_of_the_same_name(tmp_path: Path) -> None:
    """Its root is a link that reads "/"; ours of that name may be the only place for a file."""
    (tmp_path / "logs").mkdir()
    with container(tmp_path) as root:
        log = DatabaseLog(f"{root}/db", SystemClock(), f"{tmp_path}/logs", kept_open=False)
        with pytest.raises(NoData):
            log.read()
        assert log.real_directory == f"{root}{tmp_path}/logs"
        assert really_at(f"{root}{tmp_path}/logs") == f"{root}{tmp_path}/logs"
    assert really_at(f"/proc/self/root{tmp_path}/logs") == str((tmp_path / "logs").resolve())
