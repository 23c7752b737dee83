"""A slow block device on a fast disk: a loop device with its own ext4, its backing disk throttled.

The throttle stands on the *backing disk*, for the cgroup of the writers: the loop driver's worker
carries the cgroup of whoever issued the I/O, so requests queue inside the loop device, and its
diskstats show the queue of a slow device. A throttle on the loop device itself would hold requests
back above its queue, and diskstats would show an idle device.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.truth.writer_group import (
    make_group,
    remove_groups_of_the_dead,
    whole_disk,
)

PREFIX = "smaxd-accuracy-"
SPARE_BYTES = 4 << 30
"""What must remain free beside the image."""


class SlowDevice:
    """Everything is made on entering and removed on leaving, whatever happens in between.

    ``work`` is a directory on the fast disk. Rates are bytes/s; a read rate of None leaves reads
    as fast as the disk is. RuntimeError says what cannot be made and why. Without a ``journal``
    nobody waits for what a throttled writer has in it: only the throttled writes themselves wait.
    """

    def __init__(
        self,
        work: Path,
        size_bytes: int,
        write_bytes_per_second: float,
        read_bytes_per_second: float | None = None,
        *,
        journal: bool = True,
    ) -> None:
        self._work = work
        self._journal = journal
        self._size_bytes = size_bytes
        self.write_bytes_per_second = write_bytes_per_second
        self._read_bytes_per_second = read_bytes_per_second
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        remove_leftovers(self._work)
        with ExitStack() as stack:
            self._make(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _make(self, stack: ExitStack) -> None:
        if shutil.disk_usage(self._work).free < self._size_bytes + SPARE_BYTES:
            raise RuntimeError(
                f"{self._work} has less than {(self._size_bytes + SPARE_BYTES) / 1e9:.0f} GB free"
            )
        home = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=self._work))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        self.disk = whole_disk(home)
        self.group = make_group(home.name, self.disk)
        stack.callback(self.group.remove)
        image = home / "image"
        with image.open("wb") as file:
            file.truncate(self._size_bytes)  # sparse: takes what is really written
        # Nothing is left to be initialised in the background, where it would compete.
        features = () if self._journal else ("-O", "^has_journal")
        _do("mkfs.ext4", "-q", "-F", "-m", "0", "-E", INITIALISED, *features, str(image))
        # Direct: the host's page cache would answer at the speed of memory.
        self.loop = _do("losetup", "--find", "--show", "--direct-io=on", str(image))
        stack.callback(_try, "losetup", "--detach", self.loop)
        self.mount = home / "mount"
        self.mount.mkdir()
        _do("mount", "-o", "noatime", self.loop, str(self.mount))
        stack.callback(_try, "umount", "--lazy", str(self.mount))
        self.limit(self.write_bytes_per_second)

    def limit(self, write_bytes_per_second: float) -> None:
        """Change the device's write rate from now on: an ageing device."""
        self.group.limit(write_bytes_per_second, self._read_bytes_per_second)
        self.write_bytes_per_second = write_bytes_per_second

    def on_leaving(self, end: Callable[[], None]) -> None:
        """Call ``end`` before the device is removed: whatever uses it has to end first."""
        self._stack.callback(end)


INITIALISED = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"


def remove_leftovers(work: Path) -> None:
    """Remove what runs have left behind that were killed outright."""
    for home in work.glob(f"{PREFIX}*-*"):
        pid = home.name.removeprefix(PREFIX).partition("-")[0]
        if not Path(f"/proc/{pid}").exists():
            _try("umount", "--lazy", str(home / "mount"))
            loops = _try("losetup", "--noheadings", "--output", "NAME", "-j", str(home / "image"))
            for loop in loops.split():
                _try("losetup", "--detach", loop)
            shutil.rmtree(home, ignore_errors=True)
    remove_groups_of_the_dead(PREFIX)


def _do(*argv: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{' '.join(argv)}: {error.stderr.strip()}") from error
    return done.stdout.strip()


def _try(*argv: str) -> str:
    """As ``_do`` on the way out, where nothing can be done about a failure."""
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
