"""Which block device carries a path: mount, then partition, loop, dm or md, then disk."""

import errno
import os
import re
from collections.abc import Callable, Iterable

from probes.blockstack import BlockStack
from probes.clock import Clock
from probes.diskstats import DiskstatsProbe
from probes.errors import NoData, ProbeError, ProbeFailed
from probes.kernelfile import read_kernel_file
from probes.mountinfo import Mount, find_mount, mount_id_of, read_mountinfo
from probes.samples import BlockDeviceSample, BlockLayer, DiskCounters

_ANONYMOUS_MAJOR = "0:"
_GONE = (errno.ENOENT, errno.ENOTDIR)
_FORBIDDEN = (errno.EACCES, errno.EPERM)
_BOOT_ID = re.compile(r"[0-9a-f-]{36}")


class BlockDeviceProbe:
    """Resolves one path anew at each read, so a remounted or moved directory is noticed.

    ``mount_id`` and ``statvfs`` are the kernel's two answers that no captured tree can hold.
    """

    def __init__(
        self,
        path: str,
        clock: Clock,
        proc_root: str = "/proc",
        sys_root: str = "/sys",
        *,
        mount_id: Callable[[str], int] = mount_id_of,
        statvfs: Callable[[str], os.statvfs_result] = os.statvfs,
    ) -> None:
        self._path = path
        self._clock = clock
        self._proc_root = proc_root
        self._mount_id = mount_id
        self._statvfs = statvfs
        self._diskstats = DiskstatsProbe(clock, proc_root)
        self._stack = BlockStack(sys_root, self._devnum_of_file, self._disk_counters)
        # A path in a container lies on a mount that only that container's table lists.
        container = re.match(rf"{re.escape(proc_root)}/(\d{{1,10}})/root(?:/|$)", path)
        self._mount_tables = ("self",) if container is None else ("self", container[1])

    def read(self) -> BlockDeviceSample:
        """Return the device under the path. Free space is what an unprivileged user may fill.

        Raises NoData "no_block_device" (tmpfs, overlay, network file system),
        "several_block_devices" (a btrfs over several, which no single counter describes),
        "block_device_gone", "not_permitted"; ProbeFailed "path_missing", "path_unreadable",
        "mount_not_found". Sources: proc_pid_mountinfo(5), kernel Documentation/ABI/stable/
        sysfs-block, testing/sysfs-block-dm, Documentation/admin-guide/md.rst.
        """
        mount = self._mount_of(self._path, self._mount_tables)
        devnum = self._devnum_of_mount(mount)
        if devnum is None:
            raise NoData(
                "no_block_device",
                f"no block device behind {self._path}: it is on a {mount.filesystem_type}"
                f" mounted at {mount.mount_point}; device figures need a disk file system",
            )
        layers, device = self._stack.resolve(devnum)
        space = self._space()
        return BlockDeviceSample(
            at=self._clock.monotonic(),
            path=self._path,
            mount_point=mount.mount_point,
            filesystem_type=mount.filesystem_type,
            filesystem_devnum=mount.devnum,
            read_only=mount.read_only,
            layers=layers,
            device=device,
            size_bytes=self._stack.size_bytes(device),
            rotational=self._stack.rotational(device),
            filesystem_free_bytes=space.f_bavail * space.f_frsize,
            filesystem_size_bytes=space.f_blocks * space.f_frsize,
            model=self._stack.model(device),
            instance=self._instance(device),
        )

    def _instance(self, device: BlockLayer) -> str | None:
        """A disk's sequence number is given once in a boot, and a boot's id once (random(4))."""
        sequence = self._stack.sequence_number(device)
        try:
            boot = read_kernel_file(f"{self._proc_root}/sys/kernel/random/boot_id", 64)
        except OSError:
            return None
        found = _BOOT_ID.fullmatch(boot.decode("ascii", "replace").strip())
        return f"{found[0]} {sequence}" if found and sequence is not None else None

    def _mount_of(self, path: str, tables: tuple[str, ...]) -> Mount:
        try:
            mount_id = self._mount_id(path)
            for process in tables:
                mount = find_mount(read_mountinfo(self._proc_root, process), mount_id)
                if mount is not None:
                    return mount
        except OSError as error:
            raise _path_error(path, error) from error
        except ValueError as error:
            raise ProbeFailed("path_missing", f"{path!r} cannot be a path: {error}") from error
        raise ProbeFailed(
            "mount_not_found",
            f"the mount of {path} (id {mount_id}) is not in the mounts of process {tables[-1]};"
            " it may have been unmounted lazily",
        )

    def _devnum_of_mount(self, mount: Mount) -> str | None:
        """Return the block device's number; None when there is none.

        btrfs and the like have an anonymous number, and name their device as the source.
        """
        if not mount.devnum.startswith(_ANONYMOUS_MAJOR):
            return mount.devnum
        if not mount.source.startswith("/dev/"):
            return None
        if self._stack.count_of_btrfs_devices(mount.source) > 1:
            raise NoData(
                "several_block_devices",
                f"{self._path} is on a {mount.filesystem_type} over several block devices"
                f" ({mount.source} is one); their traffic cannot be told apart",
            )
        return self._stack.devnum_of_source(mount.source)

    def _devnum_of_file(self, path: str) -> str | None:
        """Tell on which block device a loop device's backing file lies; None when unknown."""
        try:
            return self._devnum_of_mount(self._mount_of(path, self._mount_tables))
        except ProbeError:
            # The file was deleted or belongs to another mount namespace: the stack ends here.
            return None

    def _disk_counters(self) -> Iterable[DiskCounters]:
        try:
            return self._diskstats.read().disks.values()
        except ProbeError:
            return ()

    def _space(self) -> os.statvfs_result:
        try:
            return self._statvfs(self._path)
        except OSError as error:
            raise _path_error(self._path, error) from error


def _path_error(path: str, error: OSError) -> NoData | ProbeFailed:
    if error.errno in _GONE:
        return ProbeFailed("path_missing", f"{path} does not exist; check the database's path")
    if error.errno in _FORBIDDEN:
        return NoData("not_permitted", f"{path} may not be reached by this user")
    return ProbeFailed("path_unreadable", f"{path} cannot be examined: {error.strerror}")
