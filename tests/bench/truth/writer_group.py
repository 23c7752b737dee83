"""A cgroup for the writers: throttled on a disk, with the CPU's priority, and counted.

Version 1 (blkio, cpu, cpuacct) or 2 (io, cpu), whichever has the host's controller for devices: a
hybrid host has some in either. A throttle reaches the members only, so everything that writes to
the slow device is started inside.

Sources: the kernel's admin-guide/cgroup-v1/blkio-controller.rst, admin-guide/cgroup-v2.rst.
"""

import os
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

CGROUP_ROOT = Path("/sys/fs/cgroup")

V1_CPU_SHARES = 8_192
"""Eight times a task outside: other work on the machine shall not shape the truth. Not more: the
loop device's own kernel threads are outside, and starved they would make it slower than it is."""

V2_CPU_WEIGHT = 800
"""The same; the default is 100."""

SECTOR_BYTES = 512

REMOVE_SECONDS = 5.0
"""How long the members' ends may take to be noticed by the kernel."""

ENTER = 'for procs in $1; do echo $$ > "$procs" || exit 126; done; shift; exec "$@"'


class WriterGroup(Protocol):
    """What both versions offer; ``disk`` is "major:minor" of a whole disk."""

    has_cpu_priority: bool

    def limit(self, write_bytes_per_second: float, read_bytes_per_second: float | None) -> None:
        """Throttle the members from now on."""

    def written_bytes(self) -> int:
        """Bytes the members have written to the disk, as the throttle counts them."""

    def cpu_seconds(self) -> float | None:
        """CPU the members have used; None where the host does not count it."""

    def inside(self, argv: Sequence[str]) -> list[str]:
        """The command that runs ``argv`` as a member."""

    def remove(self) -> None:
        """Remove the group; its members must have ended."""


def make_group(name: str, disk: str) -> WriterGroup:
    """Make the group; OSError when this user may not, RuntimeError without a usable controller."""
    root = io_hierarchy()
    if root.name == "blkio":
        return _Version1(name, disk)
    if "io" in _words(root / "cgroup.controllers"):
        return _Version2(root, name, disk)
    raise RuntimeError(f"no blkio or io controller below {CGROUP_ROOT}")


def unified_root() -> Path:
    """The root of version 2; where there is none, a directory without any controllers."""
    hybrid = CGROUP_ROOT / "unified"
    return hybrid if hybrid.exists() else CGROUP_ROOT


def io_hierarchy() -> Path:
    """The hierarchy with the controller for devices: version 1 where it is mounted, else 2."""
    version_1 = CGROUP_ROOT / "blkio"
    return version_1 if (version_1 / "cgroup.procs").exists() else unified_root()


class _Version1:
    def __init__(self, name: str, disk: str) -> None:
        self._disk = disk
        self._groups: dict[str, Path] = {}
        for controller in ("blkio", "cpu", "cpuacct"):
            root = CGROUP_ROOT / controller
            # The same hierarchy may be mounted under several names: cpu -> cpu,cpuacct.
            if (root / "cgroup.procs").exists():
                (root / name).mkdir(exist_ok=True)
                self._groups[controller] = root / name
        self.has_cpu_priority = "cpu" in self._groups
        if self.has_cpu_priority:
            (self._groups["cpu"] / "cpu.shares").write_text(str(V1_CPU_SHARES))

    def limit(self, write_bytes_per_second: float, read_bytes_per_second: float | None) -> None:
        for direction, limit in (
            ("write", write_bytes_per_second),
            ("read", read_bytes_per_second or 0.0),  # 0 lifts a limit
        ):
            file = self._groups["blkio"] / f"blkio.throttle.{direction}_bps_device"
            file.write_text(f"{self._disk} {int(limit)}")

    def written_bytes(self) -> int:
        text = (self._groups["blkio"] / "blkio.throttle.io_service_bytes").read_text()
        found = re.search(rf"^{re.escape(self._disk)} Write (\d+)$", text, re.MULTILINE)
        return int(found[1]) if found else 0

    def cpu_seconds(self) -> float | None:
        if "cpuacct" not in self._groups:
            return None
        return int((self._groups["cpuacct"] / "cpuacct.usage").read_text()) / 1e9

    def inside(self, argv: Sequence[str]) -> list[str]:
        return _entering(self._groups.values(), argv)

    def remove(self) -> None:
        for group in self._groups.values():
            _remove(group)


class _Version2:
    def __init__(self, root: Path, name: str, disk: str) -> None:
        self._disk = disk
        self._group = root / name
        wanted = {"io", "cpu", "memory"} & _words(root / "cgroup.controllers")
        # Memory, so that writeback is counted for whoever made the pages dirty.
        (root / "cgroup.subtree_control").write_text(
            " ".join(f"+{controller}" for controller in sorted(wanted))
        )
        self._group.mkdir(exist_ok=True)
        self.has_cpu_priority = "cpu" in wanted
        if self.has_cpu_priority:
            (self._group / "cpu.weight").write_text(str(V2_CPU_WEIGHT))

    def limit(self, write_bytes_per_second: float, read_bytes_per_second: float | None) -> None:
        read = "max" if read_bytes_per_second is None else str(int(read_bytes_per_second))
        (self._group / "io.max").write_text(
            f"{self._disk} wbps={int(write_bytes_per_second)} rbps={read}"
        )

    def written_bytes(self) -> int:
        text = (self._group / "io.stat").read_text()
        found = re.search(rf"^{re.escape(self._disk)} .*\bwbytes=(\d+)", text, re.MULTILINE)
        return int(found[1]) if found else 0

    def cpu_seconds(self) -> float | None:
        found = re.search(r"^usage_usec (\d+)$", (self._group / "cpu.stat").read_text(), re.M)
        return int(found[1]) / 1e6 if found else None

    def inside(self, argv: Sequence[str]) -> list[str]:
        return _entering([self._group], argv)

    def remove(self) -> None:
        _remove(self._group)


def whole_disk(path: Path) -> str:
    """ "major:minor" of the disk that carries a path; RuntimeError when no block device does."""
    number = path.stat().st_dev
    sysfs = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    if not sysfs.exists():
        raise RuntimeError(f"{path} is not on a file system of one block device")
    disk = sysfs.parent if (sysfs / "partition").exists() else sysfs
    return (disk / "dev").read_text().strip()


def disk_written_bytes(disk: str) -> int:
    """What everyone has written to a disk "major:minor" (the kernel's admin-guide/iostats.rst)."""
    major, minor = disk.split(":")
    for line in Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        if fields[:2] == [major, minor]:
            return int(fields[9]) * SECTOR_BYTES
    return 0


def remove_groups_of_the_dead(prefix: str) -> None:
    """Remove groups ``<prefix><pid>-...`` that a killed run has left behind, if they are empty."""
    roots = [unified_root(), *(CGROUP_ROOT / name for name in ("blkio", "cpu", "cpuacct"))]
    for group in (found for root in roots for found in root.glob(f"{prefix}*")):
        pid = group.name.removeprefix(prefix).partition("-")[0]
        if not Path(f"/proc/{pid}").exists():
            try:
                group.rmdir()
            except OSError:
                pass  # something in it still runs: it is not ours to end


def _entering(groups: Iterable[Path], argv: Sequence[str]) -> list[str]:
    files = " ".join(str(group / "cgroup.procs") for group in groups)
    return ["sh", "-c", ENTER, "sh", files, *argv]


def _remove(group: Path) -> None:
    give_up = time.monotonic() + REMOVE_SECONDS
    while True:
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.1)
        else:
            return


def _words(file: Path) -> set[str]:
    try:
        return set(file.read_text().split())
    except FileNotFoundError:
        return set()
