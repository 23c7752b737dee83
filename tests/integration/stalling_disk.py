"""A real database on a real disk that can be made as good as dead, and well again."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.bench.truth.slow_device import SlowDevice
from tests.integration.daemon import process, wait_for

SIZE_BYTES = 256 << 20
FAST_BYTES_PER_SECOND = 100e6
STALLED_BYTES_PER_SECOND = 1024.0
"""A memtable of 256 KiB takes minutes to be written: until then RocksDB stops all writes."""

IN_MEMORY = "/dev/shm"  # noqa: S108 - a directory of our own is made in it
"""Where the WAL lies. Beside the tables the writer would wait in the file system, for a block of
the directory that is being written, before RocksDB stops it: version 2 throttles writeback, too."""

WRITER = """
import os, sys, time
from rocksdict import Options, Rdict
options = Options()
options.create_if_missing(True)
options.set_wal_dir(sys.argv[2])
options.set_write_buffer_size(256 * 1024)
options.set_max_write_buffer_number(2)
options.set_use_direct_io_for_flush_and_compaction(True)
database = Rdict(sys.argv[1], options)
number = 0
while True:
    database[number % 10_000] = os.urandom(500)
    number += 1
    time.sleep(0.005)
"""


class StallingDisk:
    """A device throttled for whoever writes to ``database``, with its writer on it."""

    def __init__(self, device: SlowDevice) -> None:
        self._device = device
        self.database = device.mount / "db"

    def stall(self) -> None:
        """Let next to nothing through."""
        self._device.limit(STALLED_BYTES_PER_SECOND)

    def recover(self) -> None:
        """Let through what waited, and all that comes."""
        self._device.limit(FAST_BYTES_PER_SECOND)


@contextmanager
def stalling_disk(place: Path) -> Iterator[StallingDisk]:
    """Until the end of the block; the test is skipped where no disk can be throttled."""
    with ExitStack() as stack:
        try:
            # With a journal the writer may hang in the file system before RocksDB stops it.
            device = stack.enter_context(
                SlowDevice(place, SIZE_BYTES, FAST_BYTES_PER_SECOND, journal=False)
            )
            wal = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="smaxd-test-", dir=IN_MEMORY)
            )
        except (RuntimeError, OSError) as error:
            pytest.skip(f"no disk can be throttled here: {error}")
        disk = StallingDisk(device)
        argv = [sys.executable, "-c", WRITER, str(disk.database), wal]
        writer = stack.enter_context(process(device.group.inside(argv)))
        stack.callback(disk.recover)  # a writer that waits for the disk does not end
        wait_for(disk.database / "CURRENT", writer)
        yield disk
