"""A small file system of its own on a loop device, to fill, to write-protect and to take away."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 1024 * 1024
VOLUME_BYTES = 96 * MIB
FILLING = "filling"
"""The file that takes all the room."""

needs_volumes = pytest.mark.skipif(
    os.geteuid() != 0
    or not Path("/dev/loop-control").exists()
    or shutil.which("losetup") is None
    or shutil.which("mkfs.ext4") is None,
    reason="loop devices and mounts need root, losetup and mkfs.ext4",
)


class Volume:
    """An ext4 in a file; ``path`` is where it is mounted, ``device`` its loop device's name.

    The file lies in memory where it can, so that the loop device is the disk that is watched and
    not the one below it.
    """

    def __init__(self, place: Path, size_bytes: int, *mkfs_options: str) -> None:
        shared = Path("/dev/shm")  # noqa: S108 - a private directory is made in it
        parent = shared if shared.is_dir() else place
        self._directory = Path(tempfile.mkdtemp(prefix="smaxd-volume-", dir=parent))
        self._image = self._directory / "image"
        with self._image.open("wb") as file:
            file.truncate(size_bytes)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", *mkfs_options, str(self._image)], check=True)
        self.path = place / "volume"
        self.path.mkdir()
        self._attached: list[str] = []
        self.device = ""

    def plug_in(self) -> None:
        """Attach and mount it, under another number than ever before."""
        former = set(self._attached)
        for _ in range(8):
            device = self._attach()
            if device not in former:
                break
            # It stays as it is, so that the next attempt gets the next number.
        else:
            pytest.fail("no loop device with a new number")
        self.device = device.removeprefix("/dev/")
        self.mount()

    def mount(self) -> None:
        """Mount it where it belongs."""
        argv = ["mount", f"/dev/{self.device}", str(self.path)]
        if subprocess.run(argv, check=False).returncode:
            pytest.skip("mounting is not permitted here")

    def _attach(self) -> str:
        done = subprocess.run(
            ["losetup", "-f", "--show", str(self._image)],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip("no loop device can be attached here")
        device = done.stdout.strip()
        self._attached.append(device)
        return device

    def unplug(self) -> None:
        """Take it away as if pulled out: whoever still has files open there keeps them."""
        subprocess.run(["umount", "-l", str(self.path)], check=True)
        subprocess.run(["losetup", "-d", f"/dev/{self.device}"], check=True)

    def in_use(self) -> bool:
        """Whether somebody's open files still keep the unplugged device."""
        backing = Path(f"/sys/block/{self.device}/loop/backing_file")
        return backing.exists() and str(self._image) in backing.read_text()

    def fill(self, leave_bytes: int = 0) -> None:
        """Take the last block, or all but so much."""
        free_bytes = os.statvfs(self.path).f_bavail * os.statvfs(self.path).f_frsize
        with (self.path / FILLING).open("ab", buffering=0) as file:
            if leave_bytes:
                os.posix_fallocate(file.fileno(), 0, free_bytes - leave_bytes)
                return
            before = -1
            # Writing to the device gives back what was set aside for it beyond need.
            while before < (before := os.fstat(file.fileno()).st_size):
                for size in (65536, 512):
                    try:
                        while True:
                            file.write(b"\0" * size)
                    except OSError:
                        continue  # there is no room for one of this size
                os.fsync(file.fileno())

    def make_room(self) -> None:
        """Give it back."""
        (self.path / FILLING).unlink()
        os.sync()

    def protect(self) -> None:
        """Make it read-only; fails while anybody has a file open for writing."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True)

    def unprotect(self) -> None:
        """And writable again."""
        subprocess.run(["mount", "-o", "remount,rw", str(self.path)], check=True)

    def destroy(self) -> None:
        """Unmount, detach, remove."""
        while os.path.ismount(self.path):
            subprocess.run(["umount", "-l", str(self.path)], check=True)
        listing = subprocess.run(
            ["losetup", "-j", str(self._image), "-O", "NAME", "-n"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        for device in listing.stdout.split():
            subprocess.run(["losetup", "-d", device], check=False)
        self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self._directory)


@contextmanager
def mounted_volume(place: Path, size_bytes: int = VOLUME_BYTES) -> Iterator[Volume]:
    """A volume until the end of the block."""
    volume = Volume(place, size_bytes)
    try:
        volume.plug_in()
        yield volume
    finally:
        volume.destroy()
