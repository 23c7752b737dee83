"""/proc/<pid>/mountinfo: each line is a mount or nothing; what is looked for is what is found."""

from collections.abc import Iterator

from probes.mountinfo import find_mount, mounts_of_types, parse_mount
from tests.fuzz.captured import captured
from tests.fuzz.contract import require_bounded

WORDS = (
    b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n",
    b" - cgroup2 cgroup2 rw",
    b" - cgroup cgroup rw,blkio",
    b"\\040",
    b"\\377",
)
TYPES = ("cgroup", "cgroup2")
MAX_LINES = 4
"""Looked for in the whole table; the fewer they are, the more inputs are tried."""


def seeds() -> Iterator[bytes]:
    """Real tables."""
    yield from captured("proc/*/mountinfo", 700)
    yield from captured("proc/*/self/mountinfo", 700)
    yield b"".join(WORDS)


def run(data: bytes) -> None:
    """Each line on its own, and the table by number and by type."""
    for line in data.split(b"\n")[:MAX_LINES]:
        mount = parse_mount(line)
        if mount is not None:
            require_bounded(mount, len(line))
            found = find_mount(data, mount.mount_id)
            # An earlier line with this number may be the one that is found, and may be damaged.
            assert found is None or found.mount_id == mount.mount_id
    for mount in mounts_of_types(data, TYPES):
        assert mount.filesystem_type in TYPES
