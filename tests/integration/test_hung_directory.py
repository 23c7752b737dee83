"""A directory that hangs, as of a dead file server, costs only what is started in it."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MNT_DETACH = 2

RUN = """
import sys
from probes.command import ProcessGroupRunner
from probes.errors import ProbeFailed
try:
    ProcessGroupRunner().run(["true"], timeout_seconds=0.5, cwd=sys.argv[1])
except ProbeFailed as failure:
    print(failure.reason)
"""

STOP = """
import sys, threading, time
from pathlib import Path
from probes.command import ProcessGroupRunner
runner = ProcessGroupRunner()
threading.Thread(
    target=runner.run, args=(["true"],), kwargs={"timeout_seconds": 600, "cwd": sys.argv[1]},
    daemon=True,
).start()
while not any(tasks.read_text() for tasks in Path("/proc/self/task").glob("*/children")):
    time.sleep(0.01)
runner.cpu_seconds()
runner.stop()
print("stopped")
"""


@pytest.fixture
def hung_directory(tmp_path: Path) -> Iterator[Path]:
    """A FUSE file system that answers nothing."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("needs root and FUSE")
    directory = tmp_path / "hung"
    directory.mkdir()
    libc = ctypes.CDLL(None)
    device = os.open("/dev/fuse", os.O_RDWR)
    try:
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
        if libc.mount(b"hung", os.fsencode(directory), b"fuse", 0, options.encode()):
            pytest.skip("mounting is not permitted here")
        try:
            yield directory
        finally:
            libc.umount2(os.fsencode(directory), MNT_DETACH)
    finally:
        os.close(device)  # whoever still waits gets an error now


def test_a_program_in_a_directory_that_hangs_meets_its_timeout(hung_directory: Path) -> None:
    """The caller is not kept in its start, where no thread of it could do anything."""
    assert printed_by(RUN, hung_directory) == "timeout\n"


def test_a_directory_that_hangs_keeps_nobody_from_ending(hung_directory: Path) -> None:
    """Neither the order to stop nor the end of the process waits for it."""
    assert printed_by(STOP, hung_directory) == "stopped\n"


def printed_by(code: str, directory: Path) -> str:
    argv = [sys.executable, "-c", code, str(directory)]
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    return done.stdout
