"""How long it takes from a database's stall line to the end of fio's process group.

    python -m tests.bench.guard_latency

A shell script in fio's place: one that ends on SIGTERM, one that ignores it. The aim is 200 ms from
the look that sees the line; the wait for that look, 50 ms at most, is in the figures.
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from probes.fio_guard import FioGuard, GuardedDatabase
from tests.bench.figures import Figure, Series, table

REPEATS = 20
SCRIPTS = {
    "fio that ends on SIGTERM": "exec sleep 60",
    "fio that ignores SIGTERM": "trap '' TERM; while :; do sleep 60; done",
}


def kill_latency_seconds(directory: Path, script: str) -> float:
    """Start a program under guard, write a stall line, and wait until it is gone."""
    log, pid_file = directory / "LOG", directory / "pid"
    log.write_text("")
    pid_file.unlink(missing_ok=True)
    guard = FioGuard([GuardedDatabase(str(log), str(directory), None)], SystemClock())
    stalled: list[float] = []

    def stall() -> None:
        while not (pid_file.exists() and pid_file.read_text().strip()):
            time.sleep(0.005)
        time.sleep(0.1)
        with log.open("a") as file:
            file.write("[WARN] [default] Stopping writes because we have 2 immutable memtables\n")
        stalled.append(time.monotonic())

    thread = threading.Thread(target=stall)
    thread.start()
    argv = ["sh", "-c", f"echo $$ > {pid_file}; {script}"]
    completed = ProcessGroupRunner().run(argv, timeout_seconds=30.0, guard=guard.look)
    ended = time.monotonic()
    thread.join()
    guard.close()
    if completed.ended_because is None:
        raise RuntimeError("the guard did not end it")
    return ended - stalled[0]


def look_seconds(directory: Path) -> float:
    """One look at a database with a LOG and a WAL."""
    (directory / "LOG").write_text("")
    (directory / "000001.log").write_text("")
    guard = FioGuard([GuardedDatabase(str(directory / "LOG"), str(directory), None)], SystemClock())
    start = time.perf_counter()
    for _ in range(1000):
        guard.look()
    spent = time.perf_counter() - start
    guard.close()
    return spent / 1000


def figures() -> Iterator[Figure]:
    """Latencies from the stall line, and what a look costs."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for what, script in SCRIPTS.items():
            latencies = [kill_latency_seconds(directory, script) * 1e3 for _ in range(REPEATS)]
            yield Figure(
                "fio guard",
                f"stall line to the end of a {what}",
                "ms",
                Series(tuple(latencies)),
                aim="< 250",
            )
        costs = [look_seconds(directory) * 1e6 for _ in range(5)]
        yield Figure("fio guard", "one look, LOG and WAL", "us", Series(tuple(costs)))


if __name__ == "__main__":
    print(table(list(figures())))
