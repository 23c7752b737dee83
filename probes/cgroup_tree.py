"""Which control groups a process is in, and where this process sees their directories.

Sources: cgroups(7), cgroup_namespaces(7); the kernel's admin-guide/cgroup-v2.rst.
"""

import os
import re
from dataclasses import dataclass

from probes.errors import NoData, ProbeFailed
from probes.kernelfile import read_kernel_file
from probes.mountinfo import Mount, mounts_of_types, read_mountinfo

MAX_ANCESTORS = 256
"""Control groups are a handful deep; a path has at most 2048 components."""

_GROUPS_BYTES = 256 * 1024
_CGROUP_LINE = re.compile(rb"^\d{1,10}:([^:\n]*):([^\n]*)$", re.MULTILINE)
_DELETED = b" (deleted)"
_UP = ".."


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """A process's group in one hierarchy; that of version 2 names no ``controllers``.

    ``names`` lead to it from the root of the reader's cgroup namespace; ".." leads out of that.
    """

    controllers: tuple[str, ...]
    names: tuple[str, ...]

    def within(self, other: "ControlGroup") -> bool:
        """Whether this is the other group of the same hierarchy, or below it.

        Nothing but ".." is a group above the namespace's root, which holds all that is inside.
        """
        return self.names[: len(other.names)] == other.names or set(other.names) == {_UP}


def control_groups(process: int | str, proc_root: str) -> list[ControlGroup]:
    """Return the group of a process (a pid or "self") in every hierarchy.

    Raises NoData "process_gone", "not_permitted"; ProbeFailed "cgroup_unreadable".
    """
    path = f"{proc_root}/{process}/cgroup"
    try:
        text = read_kernel_file(path, _GROUPS_BYTES)
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
    lines = _CGROUP_LINE.findall(text)
    if any(group.endswith(_DELETED) for _, group in lines):
        # The kernel lets nobody remove a group with a process that still runs.
        raise NoData("process_gone", f"{path}: its group was removed, only a zombie is left")
    return [
        ControlGroup(_parts(controllers, b","), _parts(group, b"/")) for controllers, group in lines
    ]


def cgroup_mounts(proc_root: str) -> list[Mount]:
    """Return what is mounted of all hierarchies. Raises ProbeFailed "cgroup_unreadable"."""
    try:
        text = read_mountinfo(proc_root, "self")
    except OSError as error:
        raise ProbeFailed(
            "cgroup_unreadable", f"{proc_root}/self/mountinfo: {error.strerror}"
        ) from error
    return list(mounts_of_types(text, ("cgroup", "cgroup2")))


def directories(
    group: ControlGroup, controller: str, mounts: list[Mount], filesystem_root: str
) -> list[str]:
    """Return the group's directory and those above it, up to the top of what is mounted.

    ``controller`` is "" for version 2. A mount may show only a part of the tree, as in a
    container, and another mount may lie over it: of those that show the group, the one that shows
    most of what is above it counts. Raises NoData "cgroup_not_visible". Nothing for the root group
    of a hierarchy that is mounted nowhere: only a mounted one can have others.
    """
    candidates = [
        mount
        for mount in mounts
        if (controller in mount.super_options if controller else mount.filesystem_type == "cgroup2")
    ]
    if not group.names and not candidates:
        return []
    seen = []
    for mount in candidates:
        top = _parts(os.fsencode(mount.root), b"/")
        below = group.names[len(top) :]
        base = filesystem_root + mount.mount_point
        # What ".." is named is told nowhere: such a group shows only in a mount that begins there.
        if group.names[: len(top)] == top and _UP not in below and _is_there(base, below):
            seen.append((len(below), base, below[:MAX_ANCESTORS]))
    if not seen:
        raise NoData(
            "cgroup_not_visible",
            f"control group /{'/'.join(group.names)} is outside the mounted part of the tree;"
            " run the agent in the host's cgroup namespace, with the host's /sys/fs/cgroup",
        )
    _, base, below = max(seen)
    return ["/".join((base, *below[:depth])) for depth in range(len(below), -1, -1)]


def _is_there(base: str, below: tuple[str, ...]) -> bool:
    try:
        return not below or os.path.isdir("/".join((base, *below)))
    except ValueError:  # a NUL in a damaged path
        return False


def _parts(text: bytes, separator: bytes) -> tuple[str, ...]:
    return tuple(os.fsdecode(part) for part in text.split(separator) if part)
