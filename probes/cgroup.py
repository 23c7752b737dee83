"""What the control groups of a process allow it: write bytes/s per device and CPU cores."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from probes.cgroup_tree import ControlGroup, cgroup_mounts, control_groups, directories
from probes.clock import Clock
from probes.errors import NoData
from probes.kernelfile import read_kernel_file
from probes.samples import CgroupLimitsSample

_LIMIT_FILE_BYTES = 256 * 1024
_V1_LIMIT = re.compile(rb"^(\d{1,10}:\d{1,10}) (\d{1,20})$", re.MULTILINE)
_V2_LIMIT = re.compile(rb"^(\d{1,10}:\d{1,10}) (?:[^\n]* )?wbps=(\d{1,20})(?=\s|\Z)", re.MULTILINE)
_V2_CPU = re.compile(rb"^(\d{1,20}) (\d{1,20})$", re.MULTILINE)
_V1_CONTROLLERS = ("blkio", "cpu")
_V1_WRITE_LIMIT_FILE = "blkio.throttle.write_bps_device"


class CgroupLimitsProbe:
    """Reads both versions: a hybrid host has a limit in either.

    ``filesystem_root`` stands before the mount points, for trees captured elsewhere.
    """

    def __init__(
        self, pid: int, clock: Clock, proc_root: str = "/proc", filesystem_root: str = ""
    ) -> None:
        self._pid = pid
        self._clock = clock
        self._proc_root = proc_root
        self._filesystem_root = filesystem_root

    def read(self) -> CgroupLimitsSample:
        """Return the tightest limits; an empty mapping and None when nothing limits the process.

        Raises NoData "process_gone", "not_permitted", "cgroup_not_visible" (no limit is seen, and a
        group is outside what this mount or name space shows); ProbeFailed "cgroup_unreadable".
        Sources: kernel Documentation/admin-guide/cgroup-v2.rst (io.max, cpu.max),
        cgroup-v1/blkio-controller.rst, scheduler/sched-bwc.rst.
        """
        mounts = cgroup_mounts(self._proc_root)
        writes: dict[str, float] = {}
        cores = math.inf
        hidden: NoData | None = None
        for group, controller in _limiting(control_groups(self._pid, self._proc_root)):
            try:
                found = directories(group, controller, mounts, self._filesystem_root)
            except NoData as absence:
                hidden = absence
                continue
            if not controller:
                for directory in found:
                    _lower(writes, parse_limits(_content(f"{directory}/io.max"), 2))
                    cores = min(cores, _v2_cores(_content(f"{directory}/cpu.max")))
            elif controller == "blkio":
                # Version 1 throttles flat: a parent's limit does not bind the groups below it.
                for directory in found[:1]:
                    limits = _content(f"{directory}/{_V1_WRITE_LIMIT_FILE}")
                    _lower(writes, parse_limits(limits, 1))
            else:
                cores = min([cores, *map(_v1_cores, found)])
        if hidden is not None and not writes and math.isinf(cores):
            # A limit that is seen counts; that there is none takes a view of everything.
            raise hidden
        return CgroupLimitsSample(
            at=self._clock.monotonic(),
            write_bytes_per_second=writes,
            cpu_cores=None if math.isinf(cores) else cores,
        )


def _limiting(groups: Sequence[ControlGroup]) -> Iterator[tuple[ControlGroup, str]]:
    """Each group whose limits count, and the controller that sets them; "" for all of version 2.

    A controller is in one hierarchy only: version 2 has none of those that version 1 lists.
    """
    of_version_1 = {name for group in groups for name in group.controllers}
    for group in groups:
        for name in _V1_CONTROLLERS:
            if name in group.controllers:
                yield group, name
        if not group.controllers and not of_version_1.issuperset(_V1_CONTROLLERS):
            yield group, ""


def _content(path: str) -> bytes:
    """Return a limit file; empty when the controller is not enabled in this group."""
    try:
        return read_kernel_file(path, _LIMIT_FILE_BYTES)
    except OSError:
        return b""


def _lower(limits: dict[str, float], found: Mapping[str, float]) -> None:
    for devnum, limit in found.items():
        limits[devnum] = min(limits.get(devnum, math.inf), limit)


def parse_limits(text: bytes, version: int) -> dict[str, float]:
    """Return bytes/s by "major:minor" of io.max (2) or blkio.throttle.write_bps_device (1).

    Devices without a limit ("max") and damaged lines are left out.
    """
    pattern = _V1_LIMIT if version == 1 else _V2_LIMIT
    return {
        found[1].decode(): float(found[2]) for found in pattern.finditer(text) if int(found[2]) > 0
    }


def _v2_cores(text: bytes) -> float:
    found = _V2_CPU.search(text)
    return math.inf if found is None else _cores(int(found[1]), int(found[2]))


def _v1_cores(directory: str) -> float:
    quota = _content(f"{directory}/cpu.cfs_quota_us").strip()
    period = _content(f"{directory}/cpu.cfs_period_us").strip()
    # No quota is written as -1.
    if not (quota.isdigit() and period.isdigit()):
        return math.inf
    return _cores(int(quota[:20]), int(period[:20]))


def _cores(quota: int, period: int) -> float:
    return quota / period if quota > 0 and period > 0 else math.inf
