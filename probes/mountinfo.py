"""Lines of /proc/<pid>/mountinfo (proc_pid_mountinfo(5)), and which of them carries a path."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from probes.kernelfile import read_kernel_file

MOUNTINFO_LIMIT_BYTES = 16 * 1024 * 1024
"""Container hosts have thousands of mounts of about 200 bytes, overlays up to 4 KiB each."""

_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")
_DEVNUM = re.compile(rb"\d{1,10}:\d{1,10}")
_MOUNT_ID_OF_FD = re.compile(rb"^mnt_id:\s*(\d{1,10})$", re.MULTILINE)
_FIELDS_BEFORE_OPTIONAL = 6
_FIELDS_AFTER_SEPARATOR = 3


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount. ``root`` is the directory of the file system that appears at ``mount_point``.

    ``read_only`` is true when this mount or the whole file system refuses writes.
    """

    mount_id: int
    devnum: str  # "major:minor"; major 0 is an anonymous number without a block device
    root: str
    mount_point: str
    read_only: bool
    filesystem_type: str
    source: str
    super_options: tuple[str, ...]


def read_mountinfo(proc_root: str, process: str) -> bytes:
    """Return the mount table that ``process`` (a pid or "self") sees. Raises OSError."""
    return read_kernel_file(f"{proc_root}/{process}/mountinfo", MOUNTINFO_LIMIT_BYTES)


def mount_id_of(path: str) -> int:
    """Return the id of the mount that carries ``path``. Raises OSError.

    The kernel's own answer, so symbolic links, bind mounts, btrfs subvolumes (whose st_dev appears
    in no mount table) and /proc/<pid>/root need no rule of ours. O_PATH neither opens the file nor
    needs permission to read it. Ids are unique over all mount namespaces.
    """
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        text = read_kernel_file(f"/proc/self/fdinfo/{descriptor}", 4096)
    finally:
        os.close(descriptor)
    found = _MOUNT_ID_OF_FD.search(text)
    if found is None:
        raise OSError(0, "the kernel shows no mnt_id in /proc/self/fdinfo", path)
    return int(found[1])


def find_mount(mountinfo: bytes, mount_id: int) -> Mount | None:
    """Return the mount with this id without parsing the other lines."""
    found = re.search(rb"^%d [^\n]*" % mount_id, mountinfo, re.MULTILINE)
    return None if found is None else parse_mount(found[0])


def mounts_of_types(mountinfo: bytes, types: tuple[str, ...]) -> Iterator[Mount]:
    """Yield the mounts whose file system type is one of ``types``; damaged lines are skipped."""
    marks = tuple(b" - %s " % name.encode() for name in types)
    for line in mountinfo.split(b"\n"):
        if any(mark in line for mark in marks):
            mount = parse_mount(line)
            if mount is not None and mount.filesystem_type in types:
                yield mount


def parse_mount(line: bytes) -> Mount | None:
    """Parse one line; None when it is damaged."""
    before, separator, after = line.partition(b" - ")
    fields = before.split(b" ")
    rest = after.split(b" ")
    if (
        not separator
        or len(fields) < _FIELDS_BEFORE_OPTIONAL
        or len(rest) < _FIELDS_AFTER_SEPARATOR
        or not fields[0].isdigit()
        or len(fields[0]) > 10
        or not _DEVNUM.fullmatch(fields[2])
    ):
        return None
    super_options = tuple(_text(option) for option in rest[2].split(b","))
    return Mount(
        mount_id=int(fields[0]),
        devnum=fields[2].decode(),
        root=_text(fields[3]),
        mount_point=_text(fields[4]),
        read_only=b"ro" in fields[5].split(b",") or "ro" in super_options,
        filesystem_type=_text(rest[0]),
        source=_text(rest[1]),
        super_options=super_options,
    )


def _text(field: bytes) -> str:
    """Undo the kernel's octal escapes of space, tab, newline, backslash and hash."""
    return os.fsdecode(_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), field))
