"""The control groups of this machine, of version 1 or 2, as the probes see them."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from probes.cgroup import CgroupLimitsProbe
from probes.clock import SystemClock
from probes.fio_guard import own_pressure_path
from tests.bench.truth.writer_group import WriterGroup, make_group, unified_root, whole_disk
from tests.integration.control_group import cpu_group
from tests.integration.daemon import ROOT

LIMIT_BYTES_PER_SECOND = 8.0 * 1024 * 1024
CORES = 0.5

READ_LIMITS = """
import sys
from probes.cgroup import CgroupLimitsProbe
from probes.clock import SystemClock
sample = CgroupLimitsProbe(int(sys.argv[1]), SystemClock()).read()
for disk, limit in sample.write_bytes_per_second.items():
    print(disk, limit)
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@dataclass(frozen=True)
class Throttled:
    """A group that is limited on a disk "major:minor"."""

    group: WriterGroup
    disk: str


def group_on(disk: str, name: str) -> WriterGroup:
    try:
        return make_group(f"smaxd-test-{name}-{os.getpid()}-{threading.get_native_id()}", disk)
    except (RuntimeError, OSError) as error:
        pytest.skip(f"no disk can be throttled here: {error}")


@pytest.fixture(name="throttled")
def _throttled() -> Iterator[Throttled]:
    # pytest's own directory is often a tmpfs.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="smaxd-test-") as directory:
        disk = whole_disk(Path(directory))
    group = group_on(disk, "db")
    try:
        group.limit(LIMIT_BYTES_PER_SECOND, None)
        yield Throttled(group, disk)
    finally:
        group.remove()


@contextmanager
def running(argv: Sequence[str]) -> Iterator[int]:
    """The process, once ``argv``, which ends with its input, has become a member of its groups."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"inside\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"inside\n"
        yield process.pid
        process.stdin.close()


def test_a_limit_is_read_and_so_is_its_change(throttled: Throttled) -> None:
    """As an operator sets it, and sets another."""
    with running(throttled.group.inside(["cat"])) as pid:
        probe = CgroupLimitsProbe(pid, SystemClock())
        before = probe.read()
        throttled.group.limit(LIMIT_BYTES_PER_SECOND / 2, None)
        after = probe.read()
    assert before.write_bytes_per_second[throttled.disk] == LIMIT_BYTES_PER_SECOND
    assert after.write_bytes_per_second[throttled.disk] == LIMIT_BYTES_PER_SECOND / 2


def test_a_quota_of_the_group_above_binds() -> None:
    """As that of a slice binds its services."""
    with cpu_group(CORES) as above:
        own = above.members.parent / "own"
        own.mkdir()
        try:
            with running(["cat"]) as pid:
                (own / "cgroup.procs").write_text(str(pid))
                sample = CgroupLimitsProbe(pid, SystemClock()).read()
        finally:
            own.rmdir()
    assert sample.cpu_cores == CORES


def test_a_limit_is_read_from_another_cgroup_namespace(throttled: Throttled) -> None:
    """By an agent in a container that was given the host's tree: its paths begin with "..".."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    agent = group_on(throttled.disk, "agent")
    try:
        with running(throttled.group.inside(["cat"])) as pid:
            container = ["unshare", "--cgroup", sys.executable, "-c", READ_LIMITS, str(pid)]
            said = subprocess.run(
                agent.inside(container), cwd=ROOT, capture_output=True, text=True, check=False
            )
    finally:
        agent.remove()
    assert (said.stderr, said.stdout.split()) == (
        "",
        [throttled.disk, str(LIMIT_BYTES_PER_SECOND)],
    )


def test_a_database_in_a_group_of_its_own_has_its_own_pressure() -> None:
    """Only version 2 counts it; of our own group it would be ours, too."""
    group = unified_root() / f"smaxd-test-{os.getpid()}-{threading.get_native_id()}"
    if not (unified_root() / "cgroup.controllers").exists():
        pytest.skip("no control groups of version 2")
    group.mkdir()
    try:
        with running(["cat"]) as pid:
            with_us = own_pressure_path(pid)
            (group / "cgroup.procs").write_text(str(pid))
            alone = own_pressure_path(pid)
        if not (group / "io.pressure").exists():
            pytest.skip("the kernel counts no pressure")
    finally:
        group.rmdir()
    assert (with_us, alone) == (None, f"{group}/io.pressure")
