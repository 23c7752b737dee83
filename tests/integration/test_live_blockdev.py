"""The host probes on this machine: its own disk, a real loop device."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.blockdev import BlockDeviceProbe
from probes.clock import SystemClock
from probes.diskstats import DiskstatsProbe, disk_rates
from probes.errors import NoData
from probes.pressure import PressureProbe
from probes.samples import BlockDeviceSample

MIB = 1024 * 1024
WRITTEN_BYTES = 8 * MIB

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def device_of(path: Path) -> BlockDeviceSample:
    try:
        return BlockDeviceProbe(str(path), SystemClock()).read()
    except NoData as absence:
        pytest.skip(f"no block device here: {absence.detail}")


def written_to(devnum: str, file: Path) -> int:
    """Return by how much the device's counter moved while 8 MiB were written and synced."""
    diskstats = DiskstatsProbe(SystemClock())
    before = diskstats.read().disks[devnum].written_bytes
    with file.open("wb") as stream:
        stream.write(os.urandom(WRITTEN_BYTES))
        stream.flush()
        os.fsync(stream.fileno())
    after = diskstats.read().disks[devnum].written_bytes
    file.unlink()
    return after - before


@pytest.fixture(name="disk_directory")
def _disk_directory() -> Iterator[Path]:
    # pytest's own directory is often a tmpfs.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="smaxd-test-") as directory:
        yield Path(directory)


@pytest.fixture(name="loop_directory")
def _loop_directory(disk_directory: Path) -> Iterator[Path]:
    for program in ("losetup", "mkfs.ext4", "mount", "umount"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    image = disk_directory / "disk.img"
    with image.open("wb") as stream:
        stream.truncate(64 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    attached = subprocess.run(
        ["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=False
    )
    if attached.returncode != 0:
        pytest.skip(f"no loop device to be had: {attached.stderr.strip()}")
    loop = attached.stdout.strip()
    mount_point = disk_directory / "mounted"
    mount_point.mkdir()
    try:
        subprocess.run(["mount", loop, str(mount_point)], check=True)
        try:
            yield mount_point
        finally:
            subprocess.run(["umount", str(mount_point)], check=True)
    finally:
        subprocess.run(["losetup", "--detach", loop], check=True)


def test_this_machines_disk_is_the_one_whose_counter_moves(disk_directory: Path) -> None:
    """At least what was written and synced arrives at the resolved device."""
    device = device_of(disk_directory).device
    assert written_to(device.devnum, disk_directory / "probe") >= WRITTEN_BYTES


def test_findmnt_and_lsblk_name_the_same_mount_and_disk(disk_directory: Path) -> None:
    """An independent opinion."""
    if shutil.which("findmnt") is None or shutil.which("lsblk") is None:
        pytest.skip("findmnt and lsblk are not installed")
    sample = device_of(disk_directory)
    columns = "TARGET,FSTYPE,MAJ:MIN"
    found = subprocess.run(
        ["findmnt", "--json", "-o", columns, "--target", str(disk_directory)],
        capture_output=True,
        check=True,
    )
    mount = json.loads(found.stdout)["filesystems"][0]
    assert (mount["target"], mount["fstype"], mount["maj:min"]) == (
        sample.mount_point,
        sample.filesystem_type,
        sample.filesystem_devnum,
    )
    listed = subprocess.run(
        ["lsblk", "--json", "--bytes", "--list", "-o", "KNAME,MAJ:MIN,SIZE,ROTA"],
        capture_output=True,
        check=True,
    )
    disks = {disk["kname"]: disk for disk in json.loads(listed.stdout)["blockdevices"]}
    disk = disks[sample.device.name]
    assert (disk["maj:min"], disk["size"], disk["rota"]) == (
        sample.device.devnum,
        sample.size_bytes,
        sample.rotational,
    )


@needs_root
def test_a_file_system_on_a_loop_device_counts_at_the_loop_device(loop_directory: Path) -> None:
    """It also shows the disk that carries the image, which is the directory above's."""
    sample = device_of(loop_directory)
    image = device_of(loop_directory.parent)
    assert sample.device.kind == "loop"
    assert sample.size_bytes == 64 * MIB
    assert (sample.device, *image.layers) == sample.layers
    moved = written_to(sample.device.devnum, loop_directory / "probe")
    assert WRITTEN_BYTES <= moved <= 2 * WRITTEN_BYTES


@needs_root
def test_a_device_is_the_same_instance_until_it_is_attached_anew(loop_directory: Path) -> None:
    """And no other device is."""
    first = device_of(loop_directory)
    if first.instance is None:
        pytest.skip("this kernel does not number its disks (Linux before 5.15)")
    assert device_of(loop_directory).instance == first.instance
    assert device_of(loop_directory.parent).instance not in {None, first.instance}
    device = f"/dev/{first.device.name}"
    image = str(loop_directory.parent / "disk.img")
    subprocess.run(["umount", str(loop_directory)], check=True)
    subprocess.run(["losetup", "--detach", device], check=True)
    subprocess.run(["losetup", device, image], check=True)
    subprocess.run(["mount", device, str(loop_directory)], check=True)
    again = device_of(loop_directory)
    assert (again.device, again.model) == (first.device, first.model)
    assert again.instance not in {None, first.instance}


@needs_root
def test_a_mount_that_only_another_process_has_is_found_through_its_root(
    loop_directory: Path, disk_directory: Path
) -> None:
    """As a database in a container: same path, another mount, no line in our own table."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    loop = device_of(loop_directory).device
    inside = disk_directory / "inside"
    inside.mkdir()
    script = f"mount --bind {loop_directory} {inside} && echo ready && read line"
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as container:
        assert container.stdout is not None
        assert container.stdin is not None
        assert container.stdout.readline() == b"ready\n"
        sample = BlockDeviceProbe(f"/proc/{container.pid}/root{inside}", SystemClock()).read()
        outside = device_of(inside)
        container.stdin.close()
    assert (str(inside), loop) == (sample.mount_point, sample.device)
    assert outside.device != loop


def test_rates_of_a_real_write_add_up(disk_directory: Path) -> None:
    """Bytes/s times seconds is at least what was written; the ratios stay in range."""
    devnum = device_of(disk_directory).device.devnum
    diskstats = DiskstatsProbe(SystemClock())
    before = diskstats.read()
    written_to(devnum, disk_directory / "probe")
    after = diskstats.read()
    elapsed_seconds = after.at - before.at
    rates = disk_rates(before.disks[devnum], after.disks[devnum], elapsed_seconds)
    assert rates is not None
    assert rates.write_bytes_per_second * elapsed_seconds >= WRITTEN_BYTES * 0.999
    assert rates.write_await_seconds is not None
    # The kernel counts busy time only where the clock ticked in between: a fast write shows none.
    assert 0 <= rates.busy_ratio <= 1
    assert rates.mean_queue_depth > 0


def test_pressure_of_this_machine_is_a_ratio_or_absent() -> None:
    """Kernels with and without PSI are both normal."""
    try:
        sample = PressureProbe(SystemClock()).read()
    except NoData as absence:
        pytest.skip(absence.detail)
    assert 0 <= sample.some_avg10_ratio <= 1
    assert sample.some_total_seconds >= 0
