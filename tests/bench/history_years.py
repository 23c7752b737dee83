"""Two years of history of four databases: how large, how fast to read, how much written a day.

The long resolutions are filled directly, with rows folded from made-up samples; then the agent's
own path records a day more, a commit a minute, and that day is accounted and read.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from agent.history.columns import DAY, RESOLUTIONS, TABLES, Table
from agent.history.fold import SERIES_MASK, Row, fold, key
from agent.history.reader import HistoryFile
from agent.history.sample import Sample, Sampler
from agent.history.store import Store, written_by_this_thread
from agent.history.store_rows import put_rows
from tests.bench.figures import Figure, Series, document, table
from tests.unit import pasts, snapshots

DATABASES = 4
TEMPLATE_SECONDS = 2 * 3600
"""So much is made up sample by sample, folded, and laid down again and again."""

SAMPLES_PER_COMMIT = 6
QUERIES = 15
LIMIT_BYTES = 1 << 40


def figures(directory: Path) -> Iterator[Figure]:
    """All of them; the file lies below ``directory``, which should be on a disk."""
    with tempfile.TemporaryDirectory(prefix="history-", dir=directory) as place:
        path = str(Path(place) / "history.db")
        now = pasts.START + RESOLUTIONS[-1].kept_seconds
        _fill(path, now)
        yield from _recorded_day(path, now)
        yield from _queries(path, now + DAY)
    yield Figure("a tick", "numbers taken out of a snapshot of two databases", "us", _sampling())


def _fill(path: str, now: int) -> None:
    """Rows of two years, 30 days and two days up to ``now``."""
    store = Store(path, LIMIT_BYTES)
    template = list(pasts.samples(TEMPLATE_SECONDS, DATABASES))
    store.write(template)
    connection = store._connection
    rows = {kind: _template_rows(store, kind) for kind in TABLES}
    for kind in TABLES:
        finest = rows[kind]
        minutes = fold(kind, finest, 60, folded=False)
        by_resolution = {10: finest, 60: minutes, 600: fold(kind, minutes, 600, folded=True)}
        for resolution in RESOLUTIONS:
            connection.execute("BEGIN")
            connection.execute(f"DELETE FROM {kind.name}_{resolution.seconds}")  # noqa: S608 - our own names
            begin = now - resolution.kept_seconds
            for start in range(begin, now, TEMPLATE_SECONDS):
                moved = _moved(by_resolution[resolution.seconds], start)
                put_rows(connection, kind, resolution.seconds, moved)
            connection.execute("COMMIT")
    store.close()


def _template_rows(store: Store, kind: Table) -> list[Row]:
    names = ", ".join(kind.stored(folded=False))
    found = store._connection.execute(f"SELECT key, {names} FROM {kind.name}_10 ORDER BY key")  # noqa: S608 - our own names
    return [(row[0], row[1:]) for row in found]


def _moved(rows: list[Row], start: int) -> list[Row]:
    shift = key(start - pasts.START, 0)
    return [(row_key + shift, values) for row_key, values in rows if row_key & SERIES_MASK]


def _recorded_day(path: str, now: int) -> Iterator[Figure]:
    """Another day by the agent's own path, a commit a minute."""
    store = Store(path, LIMIT_BYTES)
    store.write(list(pasts.samples(10, DATABASES, start=now - 10)))  # so that its log is there
    files = [os.open(path + ending, os.O_RDWR) for ending in ("", "-wal", "-shm")]
    before_bytes = written_by_this_thread()
    commits: list[float] = []
    source: Iterator[Sample] = pasts.samples(DAY, DATABASES, start=now)
    cpu = 0.0
    while batch := list(islice(source, SAMPLES_PER_COMMIT)):
        began, ran = time.perf_counter(), time.thread_time()
        store.write(batch)
        commits.append((time.perf_counter() - began) * 1e3)
        cpu += time.thread_time() - ran
        for file in files:  # as the kernel does within a minute: a page written again counts again
            os.fdatasync(file)
    section = "four databases after two years"
    yield Figure(section, "file", "MB", Series((os.stat(path).st_size / 1e6,)), aim="< 300")
    written = (written_by_this_thread() - before_bytes) / 1e6
    yield Figure(section, "written in a day, one commit a minute", "MB", Series((written,)))
    yield Figure(section, "CPU of a day's recording", "s", Series((cpu,)))
    yield Figure(section, "one commit, median", "ms", Series((statistics.median(commits),)))
    store.close()
    for file in files:
        os.close(file)


def _queries(path: str, now: int) -> Iterator[Figure]:
    section = "reading it back, from opening the file on (CPU; the file is cached)"
    for name, days, resolution, database, aim in (
        ("a day of one database, every minute", 1, 60, "orders", "< 50"),
        ("a day of one database, every 10 s", 1, 10, "orders", ""),
        ("a week of all, every minute, with models", 7, 60, None, ""),
        ("two years of all, every 6 hours, with models", 730, 21600, None, ""),
    ):
        seconds = []
        for _ in range(QUERIES if days == 1 else 3):
            began = time.process_time()
            with HistoryFile(path) as file:
                file.read(
                    now - days * DAY, now, resolution, database=database, models=database is None
                )
            seconds.append((time.process_time() - began) * 1e3)
        yield Figure(section, name, "ms", Series(tuple(seconds)), aim=aim)


def _sampling() -> Series:
    """Everything is known of one of the two, nothing of the other."""
    snapshot = snapshots.snapshot()
    times = []
    for _ in range(200):
        sampler = Sampler()
        began = time.perf_counter()
        sampler.take(snapshot)
        times.append((time.perf_counter() - began) * 1e6)
    return Series(tuple(times))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="on a disk")  # noqa: S108 - a private directory is made in it
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = list(figures(options.directory))
    print(json.dumps(document(found, []), indent=2) if options.json else table(found))


if __name__ == "__main__":
    main()
