"""The database under load: db_bench, and how much it has done at any moment."""

import threading
import time
from bisect import bisect_left
from contextlib import ExitStack
from pathlib import Path

from tests.bench.processes import Program, need

KEYS = 2_000_000
"""Bounds the database to under a gigabyte, whatever is written."""

KEY_BYTES = 16
VALUE_BYTES = (100, 400)
REPORT_POLL_SECONDS = 0.02


class OpsReport(threading.Thread):
    """Follows db_bench's report of operations done, one line a second, as it is written."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="ops-report", daemon=True)
        self._path = path
        self._over = threading.Event()
        self._times: list[float] = []
        self._done: list[int] = []

    def run(self) -> None:
        """Note when each line arrives, until ``stop``."""
        lines = 1  # the header
        while not self._over.wait(REPORT_POLL_SECONDS):
            try:
                text = self._path.read_text()
            except FileNotFoundError:
                continue
            whole = text[: text.rfind("\n") + 1].splitlines()
            for line in whole[lines:]:
                self._times.append(time.monotonic())
                self._done.append((self._done or [0])[-1] + int(line.split(",")[1]))
            lines = max(lines, len(whole))

    def stop(self) -> None:
        """End following."""
        self._over.set()
        self.join()

    def __len__(self) -> int:
        return len(self._times)

    def rate(self, start: float, end: float) -> float | None:
        """Mean operations per second between two monotonic times; None outside the report."""
        first, last = self._at(start), self._at(end)
        return None if first is None or last is None else (last - first) / (end - start)

    def _at(self, moment: float) -> float | None:
        after = bisect_left(self._times, moment)
        if after == 0 or after == len(self._times):
            return None
        t0, t1 = self._times[after - 1], self._times[after]
        n0, n1 = self._done[after - 1], self._done[after]
        return n0 + (n1 - n0) * (moment - t0) / (t1 - t0)


def start_writer(
    database: Path, directory: Path, rate: float, seconds: float, stack: ExitStack
) -> tuple[Program, OpsReport]:
    """Begin to write ``rate`` puts/s; it ends with ``stack``, or by itself after ``seconds``."""
    report = directory / "report.csv"
    mean_bytes = KEY_BYTES + sum(VALUE_BYTES) / 2
    writer = Program(
        [
            need("db_bench", "rocksdb-tools"),
            f"--db={database}",
            "--benchmarks=fillrandom",
            f"--num={KEYS}",
            "--writes=1000000000000",
            f"--duration={int(seconds)}",
            "--value_size_distribution_type=uniform",
            f"--value_size_min={VALUE_BYTES[0]}",
            f"--value_size_max={VALUE_BYTES[1]}",
            # A little above: the limiter gives whole refills only.
            f"--benchmark_write_rate_limit={int(rate * mean_bytes * 1.02)}",
            "--report_interval_seconds=1",
            f"--report_file={report}",
        ],
        directory / "db_bench.out",
    )
    stack.callback(writer.end)
    ops = OpsReport(report)
    ops.start()
    stack.callback(ops.stop)
    while len(ops) < 3:
        writer.check()
        time.sleep(0.1)
    return writer, ops
