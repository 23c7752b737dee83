"""A wall clock that a test sets, for real processes: the daemon, its children, a database's owner.

libfaketime does the same and more, but its clock_nanosleep fails where a program sleeps until a
moment of the monotonic clock, as Python does.
"""

import mmap
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("set_clock.c")

needs_a_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="cc is not installed")


@dataclass(frozen=True)
class HostClock:
    """What a process has to have in its environment, and the setting of its clock."""

    library: Path
    file: Path

    @property
    def environment(self) -> dict[str, str]:
        """For every process that is to see this clock."""
        return {"LD_PRELOAD": str(self.library), "SET_CLOCK_FILE": str(self.file)}

    def set(self, ahead_seconds: int) -> None:
        """So far ahead of the real one, from this moment on."""
        with self.file.open("r+b") as file, mmap.mmap(file.fileno(), 8) as page:
            page[:] = struct.pack("=q", ahead_seconds)  # at once: a reader sees the old or the new


def host_clock(place: Path) -> HostClock:
    """One that is right."""
    made = HostClock(place / "set_clock.so", place / "ahead_seconds")
    made.file.write_bytes(bytes(8))
    argv = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(made.library)]
    subprocess.run([*argv, str(SOURCE)], check=True)
    return made
