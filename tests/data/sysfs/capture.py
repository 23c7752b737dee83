"""Record what BlockDeviceProbe reads on a host: block devices of /sys, mount table, diskstats.

    python3 capture.py NAME PATH... >NAME.tar

writes an archive of sysfs/NAME and proc/NAME. Needs Python only, so that it runs on any host.
"""

import io
import json
import os
import sys
import tarfile

ATTRIBUTES = (
    "dev",
    "size",
    "partition",
    "start",
    "ro",
    "removable",
    "hidden",
    "queue/rotational",
    "queue/logical_block_size",
    "queue/physical_block_size",
    "loop/backing_file",
    "loop/offset",
    "dm/name",
    "dm/uuid",
    "md/level",
    "md/raid_disks",
    "md/array_state",
)


def content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return None


def mount_id(path: str) -> int:
    descriptor = os.open(path, os.O_PATH)
    try:
        text = content(f"/proc/self/fdinfo/{descriptor}") or b""
    finally:
        os.close(descriptor)
    return int(text.split(b"mnt_id:")[1].split()[0])


def main() -> None:
    name, *paths = sys.argv[1:]
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:

        def add(path: str, data: bytes) -> None:
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(data))

        def link(path: str) -> None:
            entry = tarfile.TarInfo(f"sysfs/{name}{path.removeprefix('/sys')}")
            entry.type = tarfile.SYMTYPE
            entry.linkname = os.readlink(path)
            archive.addfile(entry)

        directories = set()
        for listing in ("/sys/dev/block", "/sys/class/block"):
            for device in sorted(os.listdir(listing)):
                link(f"{listing}/{device}")
                directories.add(os.path.realpath(f"{listing}/{device}"))
        for directory in sorted(directories):
            for attribute in ATTRIBUTES:
                data = content(f"{directory}/{attribute}")
                if data is not None:
                    add(f"sysfs/{name}{directory.removeprefix('/sys')}/{attribute}", data)
            for relation in ("slaves", "holders", "multipath"):
                if os.path.isdir(f"{directory}/{relation}"):
                    for other in sorted(os.listdir(f"{directory}/{relation}")):
                        link(f"{directory}/{relation}/{other}")
        if os.path.isdir("/sys/fs/btrfs"):
            for identity in sorted(os.listdir("/sys/fs/btrfs")):
                if os.path.isdir(f"/sys/fs/btrfs/{identity}/devices"):
                    for device in sorted(os.listdir(f"/sys/fs/btrfs/{identity}/devices")):
                        link(f"/sys/fs/btrfs/{identity}/devices/{device}")
        add(f"proc/{name}/diskstats", content("/proc/diskstats") or b"")
        tables = {"self"}
        seen = {}
        for path in paths:
            if path.startswith("/proc/"):
                tables.add(path.split("/")[2])
            seen[path] = {"mount_id": mount_id(path), "statvfs": list(os.statvfs(path))}
        for loop in sorted(os.listdir("/sys/class/block")):
            backing = content(f"/sys/class/block/{loop}/loop/backing_file")
            if backing is not None and os.path.exists(backing.rstrip(b"\n")):
                path = os.fsdecode(backing.rstrip(b"\n"))
                seen[path] = {"mount_id": mount_id(path), "statvfs": list(os.statvfs(path))}
        for table in sorted(tables):
            add(f"proc/{name}/{table}/mountinfo", content(f"/proc/{table}/mountinfo") or b"")
        add(f"proc/{name}/paths.json", json.dumps(seen, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
