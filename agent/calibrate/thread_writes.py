"""What a RocksDB process of our own has written, by the threads that did it."""

import os
import re

from agent.calibrate.figures import Written

_IO_FIELDS = re.compile(rb"^(write_bytes|cancelled_write_bytes): ([0-9]{1,20})$", re.MULTILINE)
_FLUSH_THREADS = b"rocksdb:high"
_MAX_BYTES = 4096


class ThreadWrites:
    """Reads /proc/<pid>/io and its threads' (proc_pid_io(5)); the process must be ours."""

    def __init__(self, pid: int, proc_root: str = "/proc") -> None:
        self._pid = pid
        self._directory = f"{proc_root}/{pid}"

    def read(self) -> Written | None:
        """Counters since the process started; None when it is gone or may not be read."""
        try:
            total, cancelled = self._counters(f"{self._directory}/io")
            writer, _ = self._counters(f"{self._directory}/task/{self._pid}/io")
            flush = sum(map(self._flushed, os.listdir(f"{self._directory}/task")))
        except (OSError, KeyError):
            return None
        return Written(total, cancelled, writer, flush)

    def _flushed(self, thread: str) -> int:
        directory = f"{self._directory}/task/{thread}"
        try:
            with open(f"{directory}/comm", "rb") as file:
                if not file.read(_MAX_BYTES).startswith(_FLUSH_THREADS):
                    return 0
            return self._counters(f"{directory}/io")[0]
        except (FileNotFoundError, ProcessLookupError):
            return 0  # ended meanwhile; what it wrote stays in the total

    def _counters(self, path: str) -> tuple[int, int]:
        with open(path, "rb") as file:
            found = dict(_IO_FIELDS.findall(file.read(_MAX_BYTES)))
        return int(found[b"write_bytes"]), int(found[b"cancelled_write_bytes"])
