"""One directory in memory for the probes that read files."""

import atexit
import os
import shutil
import tempfile
from functools import cache

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a private directory is made in it


PREFIX = "smaxd-fuzz-"


def in_memory() -> str | None:
    """Where files cost no device, None where there is no such place."""
    return SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None


@cache
def directory() -> str:
    """Made once per process and removed at its end; below TMPDIR, where that is set."""
    path = tempfile.mkdtemp(prefix=PREFIX, dir=None if "TMPDIR" in os.environ else in_memory())
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def put(name: str, content: bytes) -> str:
    """Write a file anew; its path."""
    path = f"{directory()}/{name}"
    with open(path, "wb") as file:
        file.write(content)
    return path


def extend(path: str, content: bytes) -> None:
    """Append to a file, as its writer would."""
    with open(path, "ab") as file:
        file.write(content)


class StillClock:
    """A clock that stands still, so that readings can be compared."""

    def monotonic(self) -> float:
        return 1000.0

    def wall(self) -> float:
        return 1.8e9
