"""The stack of block devices in /sys/dev/block, from the one that is mounted down to the disks."""

import os
import re
from collections.abc import Callable, Iterable

from probes.errors import NoData
from probes.kernelfile import read_kernel_file
from probes.samples import SECTOR_BYTES, BlockLayer, DiskCounters

MAX_LAYERS = 256
"""More than any array has disks; a bound, should the tree be damaged."""

MAX_DEPTH = 16
"""Loops on LVM on dm-crypt on md on partitions come to about eight."""

_DELETED = " (deleted)"
_DEVNUM = re.compile(r"[0-9]{1,10}:[0-9]{1,10}")
_SECTORS = re.compile(r"[0-9]{1,20}")
_SEQUENCE = re.compile(r"[0-9]{1,20}")
_NVME_HEAD = re.compile(r".*/nvme-subsystem/[^/]+/nvme(\d+)n(\d+)")


class BlockStack:
    """Walks one sysfs tree.

    ``devnum_of_file`` finds the device under a loop's backing file; ``disk_counters`` reads
    /proc/diskstats, the only place that numbers the hidden paths of a multipath NVMe.
    """

    def __init__(
        self,
        sys_root: str,
        devnum_of_file: Callable[[str], str | None],
        disk_counters: Callable[[], Iterable[DiskCounters]],
    ) -> None:
        self._sys_root = sys_root
        self._devnum_of_file = devnum_of_file
        self._disk_counters = disk_counters

    def resolve(self, devnum: str) -> tuple[tuple[BlockLayer, ...], BlockLayer]:
        """Return all layers, topmost first, and the one whose traffic is accounted.

        Raises NoData "block_device_gone" when the kernel does not show the device.
        """
        directory = self._directory(devnum)
        if directory is None:
            raise NoData(
                "block_device_gone",
                f"block device {devnum} is not in {self._sys_root}/dev/block; it was removed, or"
                " this sandbox hides it",
            )
        layers: dict[str, BlockLayer] = {}
        device = self._descend(directory, layers, 0)
        return tuple(layers.values()), device

    def _descend(self, directory: str, layers: dict[str, BlockLayer], depth: int) -> BlockLayer:
        """Collect ``directory`` and everything below it; return its accounted device.

        The rule: a partition's is its disk's; a loop device has a queue of its own; dm and md pass
        through to what is below when that is a single device, and count for themselves when it
        is several or cannot be seen.
        """
        layer = self._layer(directory)
        if layer.devnum in layers or depth >= MAX_DEPTH or len(layers) >= MAX_LAYERS:
            return layer
        layers[layer.devnum] = layer
        if layer.kind == "partition":
            return self._descend(os.path.dirname(directory), layers, depth + 1)
        if layer.kind == "loop":
            below = self._backing_directory(directory)
            if below is not None:
                self._descend(below, layers, depth + 1)
            return layer
        if layer.kind in ("dm", "md"):
            accounted = {
                found.devnum: found
                for found in (
                    self._descend(below, layers, depth + 1) for below in self._slaves(directory)
                )
            }
            if len(accounted) == 1:
                return next(iter(accounted.values()))
        if layer.kind == "disk":
            path = self._counting_path(directory, layer)
            if path is not None:
                layers[path.devnum] = path
                return path
        return layer

    def _counting_path(self, directory: str, head: BlockLayer) -> BlockLayer | None:
        """Return the one path of a multipath NVMe when the device itself counts nothing.

        Linux 4.15 to about 6.3 counts on the hidden path devices only (nvme0c0n1 of nvme0n1), and
        many single-port drives present themselves as multipath.
        """
        found = _NVME_HEAD.fullmatch(directory)
        if found is None:
            return None
        name = re.compile(rf"nvme{found[1]}c\d+n{found[2]}")
        disks = list(self._disk_counters())
        paths = [disk for disk in disks if name.fullmatch(disk.name) and disk.reads_completed]
        if not paths or any(disk.name == head.name and disk.reads_completed for disk in disks):
            return None
        if len(paths) > 1:
            raise NoData(
                "several_block_devices",
                f"this kernel counts the traffic of {head.name} on its {len(paths)} paths only;"
                " Linux 6.4 or later counts it in one place",
            )
        return BlockLayer(name=paths[0].name, devnum=paths[0].devnum, kind="disk")

    def size_bytes(self, device: BlockLayer) -> int:
        """Return the device's size; raises NoData "block_device_gone"."""
        sectors = _text(f"{self._by_name(device)}/size")
        if not _SECTORS.fullmatch(sectors):
            raise NoData("block_device_gone", f"{device.name} shows no size; it was removed")
        return int(sectors) * SECTOR_BYTES

    def rotational(self, device: BlockLayer) -> bool | None:
        """Tell whether the kernel takes the device for a spinning disk; None when it is silent."""
        return {"0": False, "1": True}.get(_text(f"{self._by_name(device)}/queue/rotational"))

    def model(self, device: BlockLayer) -> str | None:
        """Return what tells a device from all others, whatever number it has now; None if nothing.

        Model and unique name of a disk: SCSI has device/model and device/wwid, NVMe device/model
        and wwid (Documentation/ABI/stable/sysfs-block), virtio only a serial number, if any. What
        is made of other devices has what it was made with: dm its uuid or else its name (testing/
        sysfs-block-dm), md its uuid (admin-guide/md.rst), loop its file and where in it it begins.
        """
        base = self._by_name(device)
        if device.kind == "dm":
            return _named("dm", _words(f"{base}/dm/uuid") or _words(f"{base}/dm/name"))
        if device.kind == "md":
            return _named("md", _words(f"{base}/md/uuid"))
        if device.kind == "loop":
            # A deleted file is the same one still.
            file = _words(f"{base}/loop/backing_file").removesuffix(_DELETED)
            offset = _words(f"{base}/loop/offset")
            return _named("loop", file if offset in {"", "0"} else f"{file} at {offset}")
        names = ("wwid", "device/wwid", "device/serial", "serial")
        unique = next((text for name in names if (text := _words(f"{base}/{name}"))), "")
        return f"{_words(f'{base}/device/model')} {unique}".strip() or None

    def sequence_number(self, device: BlockLayer) -> int | None:
        """Return what no other device of this boot has (Documentation/ABI/stable/sysfs-block,
        diskseq); None where the kernel does not tell: before Linux 5.15."""
        text = _text(f"{self._by_name(device)}/diskseq")
        return int(text) if _SEQUENCE.fullmatch(text) else None

    def _by_name(self, device: BlockLayer) -> str:
        return f"{self._sys_root}/class/block/{device.name.replace('/', '!')}"

    def devnum_of_source(self, source: str) -> str | None:
        """Return the number of a device named as in a mount table, None when sysfs has none.

        By name and not through /dev, because a container's table shows the host's names.
        """
        devnum = _text(f"{self._sys_root}/class/block/{self._kernel_name(source)}/dev")
        return devnum if _DEVNUM.fullmatch(devnum) else None

    def count_of_btrfs_devices(self, source: str) -> int:
        """Return how many devices the btrfs that includes ``source`` spans; 0 for no btrfs."""
        name = self._kernel_name(source)
        root = f"{self._sys_root}/fs/btrfs"
        for identity in _names(root):
            devices = _names(f"{root}/{identity}/devices")
            if name in devices:
                return len(devices)
        return 0

    def _kernel_name(self, source: str) -> str:
        """Turn /dev/mapper/vg-lv into dm-0 and /dev/cciss/c0d0 into cciss!c0d0."""
        name = source.removeprefix("/dev/")
        mapped = name.removeprefix("mapper/")
        if mapped != name:
            for candidate in _names(f"{self._sys_root}/class/block"):
                if candidate.startswith("dm-") and mapped == _text(
                    f"{self._sys_root}/class/block/{candidate}/dm/name"
                ):
                    return candidate
        return name.replace("/", "!")

    def _directory(self, devnum: str) -> str | None:
        link = f"{self._sys_root}/dev/block/{devnum}"
        return os.path.realpath(link) if os.path.exists(link) else None

    def _layer(self, directory: str) -> BlockLayer:
        name = os.path.basename(directory)
        kind = "disk"
        for mark, marked in (
            ("partition", "partition"),
            ("loop", "loop"),
            ("dm", "dm"),
            ("md", "md"),
        ):
            if os.path.exists(f"{directory}/{mark}"):
                kind = marked
                break
        devnum = _text(f"{directory}/dev")
        if not _DEVNUM.fullmatch(devnum):
            raise NoData("block_device_gone", f"{name} shows no device number; it was removed")
        return BlockLayer(name=name.replace("!", "/"), devnum=devnum, kind=kind)

    def _slaves(self, directory: str) -> list[str]:
        slaves = f"{directory}/slaves"
        return [os.path.realpath(f"{slaves}/{name}") for name in _names(slaves)]

    def _backing_directory(self, directory: str) -> str | None:
        backing_file = _text(f"{directory}/loop/backing_file")
        if not backing_file or backing_file.endswith(_DELETED):
            return None
        devnum = self._devnum_of_file(backing_file)
        return None if devnum is None else self._directory(devnum)


def _text(path: str) -> str:
    """Return a sysfs attribute; empty when it is absent, which device removal can cause anytime."""
    try:
        return os.fsdecode(read_kernel_file(path, 8192)).rstrip("\n")
    except (OSError, ValueError):  # a NUL in a name read from elsewhere is a ValueError
        return ""


def _words(path: str) -> str:
    """The text of an attribute that the kernel may have filled up with blanks; always printable,
    for it is written down and shown."""
    text = " ".join(_text(path).split())
    return text.encode("utf-8", "backslashreplace").decode()


def _named(kind: str, text: str) -> str | None:
    return f"{kind} {text}" if text else None


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except (OSError, ValueError):
        return []
