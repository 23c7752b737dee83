"""A control group with one limit, of version 1 or 2, whichever has the host's controller.

Sources: the kernel's admin-guide/cgroup-v1/memory.rst, scheduler/sched-bwc.rst, cgroup-v2.rst.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.truth.writer_group import CGROUP_ROOT, unified_root
from tests.integration.faults import eventually

CPU_PERIOD_MICROSECONDS = 100_000


class ControlGroup:
    """A group; its members are who enters, and their children from then on."""

    def __init__(self, path: Path) -> None:
        self.members = path / "cgroup.procs"
        self._path = path

    def enter(self, pid: int) -> None:
        """Have a process belong to it; what it has already stays with its former group."""
        self.members.write_text(str(pid))

    def killed(self) -> int:
        """How many of its members the kernel has killed for want of memory."""
        lines = self._content("memory.oom_control", "memory.events").splitlines()
        return int(dict(line.split() for line in lines)["oom_kill"])

    def peak_bytes(self) -> int:
        """The most memory that it had."""
        return int(self._content("memory.max_usage_in_bytes", "memory.peak"))

    def _content(self, *names: str) -> str:
        return next((self._path / n).read_text() for n in names if (self._path / n).exists())


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[ControlGroup]:
    """One whose members have so much memory together; skips where it cannot be had."""
    limit = str(limit_bytes)
    with _group("memory", {"memory.limit_in_bytes": limit}, {"memory.max": limit}) as made:
        yield made


@contextmanager
def cpu_group(cores: float) -> Iterator[ControlGroup]:
    """One whose members have so much of a processor together; skips where it cannot be had."""
    period, quota = str(CPU_PERIOD_MICROSECONDS), str(int(cores * CPU_PERIOD_MICROSECONDS))
    v1 = {"cpu.cfs_period_us": period, "cpu.cfs_quota_us": quota}
    with _group("cpu", v1, {"cpu.max": f"{quota} {period}"}) as made:
        yield made


@contextmanager
def _group(controller: str, v1: Mapping[str, str], v2: Mapping[str, str]) -> Iterator[ControlGroup]:
    parent, limits = CGROUP_ROOT / controller, v1
    if not (parent / "cgroup.procs").exists():
        parent, limits = unified_root(), v2
    try:
        if limits is v2:
            (parent / "cgroup.subtree_control").write_text(f"+{controller}")
        path = Path(tempfile.mkdtemp(prefix="smaxd-faults-", dir=parent))
    except OSError as error:
        pytest.skip(f"no control group with the {controller} controller can be made: {error}")
    group = ControlGroup(path)
    try:
        for name, value in limits.items():
            (path / name).write_text(value)
        yield group
    finally:
        eventually(lambda: group.members.read_text() == "", "the group is empty")
        path.rmdir()
