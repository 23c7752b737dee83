"""Which device carries a path, on trees captured from real hosts (tests/data/sysfs/README.md)."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.blockdev import BlockDeviceProbe
from probes.clock import SystemClock
from probes.errors import NoData, ProbeError, ProbeFailed
from probes.mountinfo import find_mount, mount_id_of, mounts_of_types, parse_mount
from probes.samples import BlockDeviceSample

DATA = Path(__file__).parents[1] / "data"


class FixedClock:
    def monotonic(self) -> float:
        return 5.0

    def wall(self) -> float:
        return 0.0


class CapturedHost:
    """A recorded host: its trees, and the kernel's answers that no tree can hold."""

    def __init__(self, name: str, sys_root: Path | None = None) -> None:
        self.proc_root = str(DATA / "proc" / name)
        self.sys_root = str(sys_root or DATA / "sysfs" / name)
        self.paths = json.loads((DATA / "proc" / name / "paths.json").read_text())

    def mount_id(self, path: str) -> int:
        return self._recorded(path)[0]

    def statvfs(self, path: str) -> os.statvfs_result:
        return os.statvfs_result(self._recorded(path)[1])

    def probe(self, path: str) -> BlockDeviceProbe:
        return BlockDeviceProbe(
            path,
            FixedClock(),
            self.proc_root,
            self.sys_root,
            mount_id=self.mount_id,
            statvfs=self.statvfs,
        )

    def _recorded(self, path: str) -> tuple[int, list[int]]:
        recorded = path.replace(self.proc_root, "/proc")
        if recorded not in self.paths:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self.paths[recorded]["mount_id"], self.paths[recorded]["statvfs"]


def layers_of(sample: BlockDeviceSample) -> str:
    return " ".join(f"{layer.name}:{layer.kind}" for layer in sample.layers)


# The device in the last column is the one whose counter moved by the bytes written and synced
# to the path when the tree was captured, and whose disks below shared or repeated that traffic.
STACKS = [
    ("partition", "vda1:partition vda:disk", "vda"),
    ("lvm", "dm-0:dm vda2:partition vda:disk", "vda"),
    ("dm_on_dm", "dm-2:dm dm-1:dm vda2:partition vda:disk", "vda"),
    ("lvm_two_disks", "dm-3:dm vdb:disk vdc:disk", "dm-3"),
    ("lvm_thin", "dm-8:dm dm-6:dm dm-4:dm vdc:disk dm-5:dm vdb:disk", "dm-6"),
    ("raid1", "md0:md vdd:disk vde:disk", "md0"),
    ("lvm_on_raid0", "dm-9:dm md1:md vdf:disk vdg:disk", "md1"),
    ("raid1_one_disk", "md2p1:partition md2:md vdh:disk", "vdh"),
    ("multipath", "dm-10:dm vdi:disk vdj:disk", "dm-10"),
    ("nvme", "nvme0n1p1:partition nvme0n1:disk", "nvme0n1"),
    ("nvme_multipath", "nvme1n1:disk nvme1c1n1:disk", "nvme1c1n1"),
    ("nvme_one_path", "nvme3n1:disk nvme3c3n1:disk", "nvme3c3n1"),
    ("loop", "loop0p1:partition loop0:loop dm-3:dm vdb:disk vdc:disk", "loop0"),
    ("loop_deleted", "loop1:loop", "loop1"),
    ("btrfs", "vdk:disk", "vdk"),
]


@pytest.mark.parametrize(("name", "layers", "device"), STACKS)
def test_a_path_resolves_to_the_device_whose_traffic_is_its_own(
    name: str, layers: str, device: str
) -> None:
    """Partition, LVM, dm, md, multipath, NVMe, loop and btrfs of a real Linux 6.1."""
    sample = CapturedHost("debian12-vm").probe(f"/mnt/{name}/db").read()
    assert (layers, device) == (layers_of(sample), sample.device.name)
    assert sample.device in sample.layers
    assert f"/mnt/{name}" == sample.mount_point


def test_every_field_of_a_plain_disk_is_read() -> None:
    """A virtual machine's root file system, Linux 6.18."""
    sample = CapturedHost("virtio-loop").probe("/var/lib").read()
    assert (
        sample.device.name,
        sample.device.devnum,
        sample.device.kind,
    ) == ("vda", "254:0", "disk")
    assert (
        sample.mount_point,
        sample.filesystem_type,
        sample.filesystem_devnum,
        sample.read_only,
        sample.rotational,  # virtio does not tell, and the kernel's default is a spinning disk
    ) == ("/", "ext4", "254:0", False, True)
    assert (
        sample.size_bytes,
        sample.filesystem_free_bytes,
        sample.filesystem_size_bytes,
        sample.at,
    ) == (536870912 * 512, 80092356608, 66053021 * 4096, 5.0)


def test_a_loop_device_counts_for_itself_and_shows_the_disk_of_its_file() -> None:
    """A loop device has a queue of its own."""
    sample = CapturedHost("virtio-loop").probe("/mnt/loop/db").read()
    assert (layers_of(sample), sample.device.name) == ("loop0:loop vda:disk", "loop0")
    assert sample.size_bytes == 64 * 1024 * 1024


def test_an_nvme_is_not_rotational() -> None:
    """queue/rotational says 0."""
    sample = CapturedHost("debian12-vm").probe("/mnt/nvme/db").read()
    assert sample.rotational is False
    assert sample.size_bytes == 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (
            {"device/model": "QEMU HARDDISK   \n", "device/wwid": "naa.5000c5\n"},
            "QEMU HARDDISK naa.5000c5",
        ),
        (
            {"device/model": "Samsung SSD 970\n", "wwid": "eui.0025\n", "device/serial": "S4\n"},
            "Samsung SSD 970 eui.0025",
        ),
        ({"serial": "vol-0123\n"}, "vol-0123"),  # virtio
        ({"device/model": "VBOX HARDDISK\n"}, "VBOX HARDDISK"),
        ({"serial": "\n"}, None),
        ({}, None),
    ],
)
def test_a_disk_says_what_it_is_and_which_one(
    tmp_path: Path, attributes: dict[str, str], expected: str | None
) -> None:
    """By its kind of driver in other places; many virtual ones do not."""
    sys_root = tmp_path / "sys"
    shutil.copytree(DATA / "sysfs" / "virtio-loop", sys_root, symlinks=True)
    for name, text in attributes.items():
        attribute = sys_root / "class" / "block" / "vda" / name
        attribute.parent.mkdir(parents=True, exist_ok=True)
        attribute.write_text(text)
    assert CapturedHost("virtio-loop", sys_root).probe("/var/lib").read().model == expected


@pytest.mark.parametrize(
    ("path", "device", "identity"),
    [
        (
            "lvm_two_disks",
            "dm-3",
            "dm LVM-4jYF1YBrkBDbkBqWZhsMWtTcalLRFbWaHbUgf4xL0H6N1IDzpt1TzEcj5xqX6Wsn",
        ),
        ("multipath", "dm-10", "dm mpath"),  # made by hand, without a uuid
        ("loop", "loop0", "loop /mnt/lvm_two_disks/image"),
        ("loop_deleted", "loop1", "loop /mnt/partition/gone"),
        ("raid1", "md0", None),  # Linux 6.1 does not show it
    ],
)
def test_what_is_made_of_other_devices_is_told_by_what_it_was_made_of(
    path: str, device: str, identity: str | None
) -> None:
    """Its number is handed out anew at every attaching."""
    sample = CapturedHost("debian12-vm").probe(f"/mnt/{path}/db").read()
    assert (sample.device.name, sample.model) == (device, identity)


@pytest.mark.parametrize(
    ("path", "attribute", "content", "identity"),
    [
        ("raid1", "md0/md/uuid", b"6eb7e8a0-0be1-4b16-8b3e-52a27a6c6a35\n", "md 6eb7e8a0-0be1"),
        ("loop", "loop0/loop/offset", b"1048576\n", "loop /mnt/lvm_two_disks/image at 1048576"),
        ("loop", "loop0/loop/backing_file", b"/mnt/caf\xe9\n", "loop /mnt/caf\\udce9"),
    ],
)
def test_an_identity_is_the_whole_of_what_the_kernel_shows(
    tmp_path: Path, path: str, attribute: str, content: bytes, identity: str
) -> None:
    """The uuid of an array; where in its file a loop device begins; names that are no text."""
    sys_root = tmp_path / "sys"
    shutil.copytree(DATA / "sysfs" / "debian12-vm", sys_root, symlinks=True)
    file = sys_root / "class" / "block" / attribute
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    model = CapturedHost("debian12-vm", sys_root).probe(f"/mnt/{path}/db").read().model
    assert model is not None
    assert model.startswith(identity)
    model.encode()


BOOT = "5d1b0f0c-7c2b-4f6e-9a55-2f0d5c0d9c11"


@pytest.mark.parametrize(
    ("boot_id", "sequence", "expected"),
    [
        (f"{BOOT}\n", "9\n", f"{BOOT} 9"),
        (f"{BOOT}\n", None, None),  # Linux before 5.15
        (f"{BOOT}\n", "\n", None),
        (None, "9\n", None),  # a sandbox hides it
        ("garbage\n", "9\n", None),
    ],
)
def test_a_disk_is_the_same_one_while_its_sequence_number_is_in_the_same_boot(
    tmp_path: Path, boot_id: str | None, sequence: str | None, expected: str | None
) -> None:
    """Of the disk that is accounted, not of the partition that is mounted."""
    host = CapturedHost("virtio-loop", tmp_path / "sys")
    shutil.copytree(DATA / "sysfs" / "virtio-loop", tmp_path / "sys", symlinks=True)
    shutil.copytree(host.proc_root, tmp_path / "proc", symlinks=True)
    host.proc_root = str(tmp_path / "proc")
    random = tmp_path / "proc" / "sys" / "kernel" / "random"
    random.mkdir(parents=True)
    if boot_id is not None:
        (random / "boot_id").write_text(boot_id)
    if sequence is not None:
        (tmp_path / "sys" / "class" / "block" / "vda" / "diskseq").write_text(sequence)
    assert host.probe("/var/lib").read().instance == expected


def test_a_path_in_a_container_is_found_in_the_containers_mounts() -> None:
    """Its mount is in no other table."""
    host = CapturedHost("debian12-vm")
    sample = host.probe(f"{host.proc_root}/353/root/mnt/inside/db").read()
    assert (sample.mount_point, sample.device.name) == ("/mnt/inside", "vdn")


def test_a_read_only_bind_mount_with_a_space_is_read_only() -> None:
    """The file system below it is writable; the mount is not."""
    host = CapturedHost("debian12-vm")
    sample = host.probe("/mnt/with space").read()
    assert (
        sample.mount_point,
        sample.read_only,
        sample.device.name,
    ) == ("/mnt/with space", True, "vda")
    assert host.probe("/mnt/lvm/db").read().read_only is False


@pytest.mark.parametrize(
    ("path", "reason", "words"),
    [
        ("/mnt/tmpfs", "no_block_device", "no block device behind /mnt/tmpfs: it is on a tmpfs"),
        ("/mnt/overlay", "no_block_device", "no block device behind /mnt/overlay"),
        ("/mnt/btrfs_two/db", "several_block_devices", "btrfs over several block devices"),
    ],
)
def test_a_path_without_one_block_device_says_why(path: str, reason: str, words: str) -> None:
    """A plain sentence for the operator and a constant for the label."""
    host = CapturedHost("debian12-vm")
    with pytest.raises(NoData) as caught:
        host.probe(path).read()
    assert reason == caught.value.reason
    assert words in caught.value.detail


def nvme_with_two_paths(tmp_path: Path, old: str, new: str) -> CapturedHost:
    host = CapturedHost("debian12-vm")
    shutil.copytree(host.proc_root, tmp_path / "proc")
    host.proc_root = str(tmp_path / "proc")
    diskstats = tmp_path / "proc" / "diskstats"
    text = diskstats.read_text()
    assert old in text
    diskstats.write_text(text.replace(old, new))
    return host


def test_an_nvme_whose_traffic_is_split_over_paths_has_no_single_counter(tmp_path: Path) -> None:
    """Before Linux 6.4 the device itself counts nothing: zero would look like an idle disk."""
    host = nvme_with_two_paths(tmp_path, "nvme1c2n1 0 0", "nvme1c2n1 7 0")
    with pytest.raises(NoData) as caught:
        host.probe("/mnt/nvme_multipath/db").read()
    assert caught.value.reason == "several_block_devices"
    assert "nvme1n1 on its 2 paths" in caught.value.detail


def test_an_nvme_that_counts_for_itself_is_taken_as_a_whole(tmp_path: Path) -> None:
    """Linux 6.4 and later count at the device, whatever the number of paths."""
    host = nvme_with_two_paths(tmp_path, "nvme1n1 0 0", "nvme1n1 155 0")
    sample = host.probe("/mnt/nvme_multipath/db").read()
    assert (layers_of(sample), sample.device.name) == ("nvme1n1:disk", "nvme1n1")


@pytest.mark.parametrize(
    ("filesystem", "source"),
    [
        ("nfs4", "server:/export"),
        ("fuse.sshfs", "me@server:/"),
        ("9p", "/dev/root"),
        ("virtiofs", "share"),
        ("zfs", "tank/db"),
        ("cifs", "//server/share"),
        ("ramfs", "none"),
    ],
)
def test_file_systems_without_a_disk_have_no_block_device(
    tmp_path: Path, filesystem: str, source: str
) -> None:
    """All of them have an anonymous device number and a source that is no block device."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_text(
        f"9 1 0:55 / /mnt rw,relatime shared:7 master:3 - {filesystem} {source} rw\n"
    )
    sys_root = DATA / "sysfs" / "debian12-vm"
    with pytest.raises(NoData) as caught:
        BlockDeviceProbe(
            "/mnt/db", FixedClock(), str(tmp_path), str(sys_root), mount_id=lambda path: 9
        ).read()
    assert caught.value.reason == "no_block_device"
    assert f"it is on a {filesystem} mounted at /mnt" in caught.value.detail


def test_a_btrfs_on_lvm_is_found_by_its_mapper_name(tmp_path: Path) -> None:
    """Its mount has no device number, and sysfs knows the mapper name."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_text(
        "9 1 0:55 /@ /mnt rw - btrfs /dev/mapper/vg0-under--top rw,subvol=/@\n"
    )
    sample = BlockDeviceProbe(
        "/mnt/db",
        FixedClock(),
        str(tmp_path),
        str(DATA / "sysfs" / "debian12-vm"),
        mount_id=lambda path: 9,
        statvfs=lambda path: os.statvfs("/"),
    ).read()
    assert (layers_of(sample), sample.device.name) == ("dm-1:dm vda2:partition vda:disk", "vda")


def test_a_disk_with_a_slash_in_its_name_is_found(tmp_path: Path) -> None:
    """Sysfs writes it as an exclamation mark, /proc/diskstats and mount tables as it is."""
    sys_root = tmp_path / "sys"
    shutil.copytree(DATA / "sysfs" / "debian12-vm", sys_root, symlinks=True)
    parent = next((sys_root / "devices").rglob("vdk")).parent
    (parent / "vdk").rename(parent / "cciss!c0d0")
    for link in (sys_root / "dev/block/254:160", sys_root / "class/block/vdk"):
        target = str(link.readlink()).replace("vdk", "cciss!c0d0")
        link.unlink()
        link.with_name(link.name.replace("vdk", "cciss!c0d0")).symlink_to(target)
    host = CapturedHost("debian12-vm", sys_root)
    shutil.copytree(host.proc_root, tmp_path / "proc")
    host.proc_root = str(tmp_path / "proc")
    mountinfo = tmp_path / "proc" / "self" / "mountinfo"
    mountinfo.write_text(mountinfo.read_text().replace("/dev/vdk", "/dev/cciss/c0d0"))
    sample = host.probe("/mnt/btrfs/db").read()
    assert (sample.device.name, sample.device.devnum) == ("cciss/c0d0", "254:160")
    assert sample.size_bytes == 160 * 1024 * 1024


def test_a_missing_path_is_a_failure() -> None:
    """A configured database that is not there."""
    with pytest.raises(ProbeFailed) as caught:
        BlockDeviceProbe("/nonexistent/db", SystemClock()).read()
    assert caught.value.reason == "path_missing"
    assert "/nonexistent/db" in caught.value.detail


def test_a_device_that_was_removed_is_no_data(tmp_path: Path) -> None:
    """Its file system may stay mounted."""
    sys_root = tmp_path / "sys"
    shutil.copytree(DATA / "sysfs" / "debian12-vm", sys_root, symlinks=True)
    (sys_root / "dev" / "block" / "254:160").unlink()
    shutil.rmtree(sys_root / "class" / "block")
    host = CapturedHost("debian12-vm", sys_root)
    for path in ("/mnt/btrfs/db", "/mnt/raid1/db"):
        with pytest.raises(NoData) as caught:
            host.probe(path).read()
        assert caught.value.reason in {"block_device_gone", "no_block_device"}


def test_a_stack_that_refers_to_itself_ends(tmp_path: Path) -> None:
    """A damaged tree must not hold the agent."""
    sys_root = tmp_path / "sys"
    shutil.copytree(DATA / "sysfs" / "debian12-vm", sys_root, symlinks=True)
    slaves = sys_root / "devices" / "virtual" / "block" / "dm-2" / "slaves"
    (slaves / "dm-1").unlink()
    (slaves / "dm-2").symlink_to("../../dm-2")
    sample = CapturedHost("debian12-vm", sys_root).probe("/mnt/dm_on_dm/db").read()
    assert (layers_of(sample), sample.device.name) == ("dm-2:dm", "dm-2")


def test_a_mount_that_left_the_table_is_a_failure() -> None:
    """Unmounted lazily while the database still runs."""
    host = CapturedHost("virtio-loop")
    host.paths["/var/lib"]["mount_id"] = 999
    with pytest.raises(ProbeFailed) as caught:
        host.probe("/var/lib").read()
    assert caught.value.reason == "mount_not_found"


def test_a_mount_id_is_not_mistaken_for_a_longer_one() -> None:
    """7 is not 77, nor a parent id."""
    table = b"77 7 8:1 / /a rw - ext4 /dev/a rw\n7 1 8:2 / /b rw - ext4 /dev/b rw\n"
    mount = find_mount(table, 7)
    assert mount is not None
    assert mount.mount_point == "/b"
    assert find_mount(table, 1) is None


def test_the_kernel_names_the_mount_of_a_live_path() -> None:
    """The id it gives for the root directory stands in our own table with that mount point."""
    mount = find_mount(Path("/proc/self/mountinfo").read_bytes(), mount_id_of("/"))
    assert mount is not None
    assert mount.mount_point == "/"


MOUNT = b"36 35 98:0 /mnt1 /a rw,noatime master:1 - ext3 /dev/root ro"


def test_escaped_names_and_optional_fields_are_understood() -> None:
    """The kernel writes space, tab, newline and backslash in octal."""
    mount = parse_mount(
        b"36 35 98:0 /mnt1 /a\\040b\\011c\\134 rw,noatime master:1 - ext3 /dev/r\\012 ro,x=1"
    )
    assert mount is not None
    assert (
        mount.mount_point,
        mount.source,
        mount.read_only,
        mount.super_options,
    ) == ("/a b\tc\\", "/dev/r\n", True, ("ro", "x=1"))


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, len(MOUNT)), st.integers(0, len(MOUNT)))
def test_any_mount_table_is_parsed_or_skipped(noise: bytes, start: int, end: int) -> None:
    """No input raises, and no damaged line is taken for another mount."""
    table = MOUNT[:start] + noise + MOUNT[end:]
    found = find_mount(table, 36)
    assert found is None or found.mount_id == 36
    assert {mount.filesystem_type for mount in mounts_of_types(table, ("ext3",))} <= {"ext3"}
    whole = parse_mount(table)
    assert whole is None or b" - " in table


ATTRIBUTES = (
    "devices/virtual/block/dm-3/dev",
    "devices/virtual/block/dm-3/size",
    "devices/virtual/block/dm-3/queue/rotational",
    "devices/virtual/block/loop0/size",
    "devices/virtual/block/loop0/loop/backing_file",
)


@pytest.fixture(name="damaged", scope="module")
def _damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("damaged") / "sys"
    return Path(shutil.copytree(DATA / "sysfs" / "debian12-vm", root, symlinks=True))


@settings(deadline=None)
@given(
    changes=st.dictionaries(
        st.sampled_from(ATTRIBUTES),
        st.binary(max_size=60) | st.integers(0, 6000).map(lambda count: b"9" * count),
    )
)
def test_damaged_attributes_never_raise_anything_but_probe_errors(
    damaged: Path, changes: dict[str, bytes]
) -> None:
    """Whatever stands in the attributes of the stack under a loop device."""
    for name in ATTRIBUTES:
        intact = (DATA / "sysfs" / "debian12-vm" / name).read_bytes()
        (damaged / name).write_bytes(changes.get(name, intact))
    for path in ("/mnt/loop/db", "/mnt/lvm_two_disks/db"):
        try:
            sample = CapturedHost("debian12-vm", damaged).probe(path).read()
        except ProbeError:
            continue  # a named condition is a right answer
        assert sample.device in sample.layers
