"""What the control groups of a process allow it: write bytes/s per device and CPU cores."""

import math
import re
from collections.abc import Iterator, Mapping
from itertools import islice

from probes.clock import Clock
from probes.errors import NoData, ProbeFailed
from probes.kernelfile import read_kernel_file
from probes.mountinfo import Mount, mounts_of_types, read_mountinfo
from probes.samples import CgroupLimitsSample

MAX_ANCESTORS = 256
"""Control groups are a handful deep; a path has at most 2048 components."""

_LIMIT_FILE_BYTES = 256 * 1024
_CGROUP_LINE = re.compile(rb"^\d{1,10}:([^:\n]*):([^\n]*)$", re.MULTILINE)
_V1_LIMIT = re.compile(rb"^(\d{1,10}:\d{1,10}) (\d{1,20})$", re.MULTILINE)
_V2_LIMIT = re.compile(rb"^(\d{1,10}:\d{1,10}) (?:[^\n]* )?wbps=(\d{1,20})(?=\s|\Z)", re.MULTILINE)
_V2_CPU = re.compile(rb"^(\d{1,20}) (\d{1,20})$", re.MULTILINE)
_V1_WRITE_LIMIT_FILE = "blkio.throttle.write_bps_device"
_DELETED = " (deleted)"


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

        Raises NoData "process_gone", "not_permitted", "cgroup_not_visible" (the
        process is outside what this mount or name space shows); ProbeFailed "cgroup_unreadable".
        Sources: kernel Documentation/admin-guide/cgroup-v2.rst (io.max, cpu.max),
        cgroup-v1/blkio-controller.rst, scheduler/sched-bwc.rst.
        """
        mounts = self._mounts()
        writes: dict[str, float] = {}
        cores = math.inf
        for controllers, path in self._groups():
            if not controllers:
                for directory in self._ancestors(mounts, "cgroup2", "", path):
                    _lower(writes, parse_limits(_content(f"{directory}/io.max"), 2))
                    cores = min(cores, _v2_cores(_content(f"{directory}/cpu.max")))
            if "blkio" in controllers:
                # Version 1 throttles flat: a parent's limit does not bind the groups below it.
                for directory in islice(self._ancestors(mounts, "cgroup", "blkio", path), 1):
                    _lower(
                        writes,
                        parse_limits(_content(f"{directory}/{_V1_WRITE_LIMIT_FILE}"), 1),
                    )
            if "cpu" in controllers:
                for directory in self._ancestors(mounts, "cgroup", "cpu", path):
                    cores = min(cores, _v1_cores(directory))
        return CgroupLimitsSample(
            at=self._clock.monotonic(),
            write_bytes_per_second=writes,
            cpu_cores=None if math.isinf(cores) else cores,
        )

    def _mounts(self) -> list[Mount]:
        try:
            text = read_mountinfo(self._proc_root, "self")
        except OSError as error:
            raise ProbeFailed(
                "cgroup_unreadable", f"{self._proc_root}/self/mountinfo: {error.strerror}"
            ) from error
        return list(mounts_of_types(text, ("cgroup", "cgroup2")))

    def _groups(self) -> list[tuple[tuple[str, ...], str]]:
        """Return (controllers, path) per hierarchy; version 2 has no controllers here."""
        path = f"{self._proc_root}/{self._pid}/cgroup"
        try:
            text = read_kernel_file(path, _LIMIT_FILE_BYTES)
        except (FileNotFoundError, ProcessLookupError) as error:
            raise NoData(
                "process_gone", f"{path} does not exist: the process has ended or is hidden"
            ) from error
        except PermissionError as error:
            raise NoData("not_permitted", f"{path} may not be read by this user") from error
        except OSError as error:
            raise ProbeFailed(
                "cgroup_unreadable", f"{path} cannot be read: {error.strerror}"
            ) from error
        return [
            (
                tuple(name for name in found[1].decode("utf-8", "replace").split(",") if name),
                found[2].decode("utf-8", "surrogateescape").removesuffix(_DELETED),
            )
            for found in _CGROUP_LINE.finditer(text)
        ]

    def _ancestors(
        self, mounts: list[Mount], filesystem_type: str, controller: str, path: str
    ) -> Iterator[str]:
        """Yield the group's directory and those above it, up to the top of what is mounted.

        A mount may show only a part of the tree (its root), as in a container.
        """
        candidates = [
            mount
            for mount in mounts
            if mount.filesystem_type == filesystem_type
            and (not controller or controller in mount.super_options)
        ]
        if not candidates:
            return
        for mount in candidates:
            top = mount.root.rstrip("/")
            if ".." not in path.split("/") and (path == top or path.startswith(f"{top}/")):
                break
        else:
            raise NoData(
                "cgroup_not_visible",
                f"control group {path} of process {self._pid} is outside the mounted part of"
                " the tree; run the agent in the host's cgroup namespace",
            )
        base = self._filesystem_root + mount.mount_point
        names = [name for name in path[len(top) :].split("/") if name][:MAX_ANCESTORS]
        for depth in range(len(names), -1, -1):
            yield "/".join([base, *names[:depth]])


def _content(path: str) -> bytes:
    """Return a limit file; empty when the controller is not enabled in this group."""
    try:
        return read_kernel_file(path, _LIMIT_FILE_BYTES)
    except (OSError, ValueError):  # a NUL in a damaged group path is a ValueError
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
