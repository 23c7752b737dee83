"""Fifty databases on one host: all of them are watched, and what that costs stays bounded."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.daemon import daemon, workplace, write_config
from tests.integration.demands import demands
from tests.integration.faults import SECONDARY, SIMULATOR, children, names, ticks

pytestmark = pytest.mark.long

COUNT = 50
MAKE = """
import os, sys
from rocksdict import Options, Rdict
for path in sys.argv[1:]:
    options = Options()
    options.create_if_missing(True)
    database = Rdict(path, options)
    for number in range(1000):
        database[number] = os.urandom(100)
    database.flush()
    database.close()
"""
CONFIG = "fio: {enabled: false}\nsecondary: {interval_seconds: 1, cpu_share_ratio: 1}\n"
TICK_SECONDS = 2.0
"""A tenth of a second of work for fifty databases would otherwise be all that the daemon does."""

FEW_TICKS = 8


@pytest.fixture(scope="module")
def databases() -> Iterator[list[Path]]:
    with workplace() as path:
        paths = [path / f"db-{number:02}" for number in range(COUNT)]
        subprocess.run([sys.executable, "-c", MAKE, *map(str, paths)], check=True, timeout=100)
        yield paths


def test_fifty_databases_are_all_published_by_bounded_means(databases: list[Path]) -> None:
    """One program at a time, whoever is due; every secondary has its turn; the cost is printed."""
    with workplace() as place:
        words = [word for path in databases for word in ("--db", str(path))]
        config = write_config(place, CONFIG, tick_seconds=TICK_SECONDS)
        with (
            daemon(place, "--config", config, *words) as running,
            demands(running, place),
        ):
            process = psutil.Process(running.process.pid)
            most = {"secondaries": 0, "programs": 0, "threads": 0, "descriptors": 0}

            def look() -> bool:
                now = list(children(process.pid).values())
                found = {
                    "secondaries": sum(names(command, SECONDARY) for command in now),
                    "programs": sum(names(c, SECONDARY) or names(c, SIMULATOR) for c in now),
                    "threads": process.num_threads(),
                    "descriptors": process.num_fds(),
                }
                most.update({key: max(most[key], value) for key, value in found.items()})
                return True

            began, cpu = time.monotonic(), process.cpu_times()
            page = running.wait_until(
                lambda page: (
                    look()
                    and ticks(page) >= FEW_TICKS
                    and len(page.samples("smax_database_size_bytes")) == COUNT
                    and len(page.samples("smax_probe_success", probe="secondary")) == COUNT
                    and all(v for _, v in page.samples("smax_probe_success", probe="secondary"))
                ),
                "all are published, their secondaries included",
            )
            elapsed, used = time.monotonic() - began, process.cpu_times()
            seconds = used.user + used.system - cpu.user - cpu.system
            print(
                f"{COUNT} databases: a tick takes "
                f"{page.value('smaxd_tick_duration_seconds'):.3f} s, "
                f"{1000 * seconds / (elapsed / TICK_SECONDS):.0f} ms of CPU with its scrapes, "
                f"{process.memory_info().rss / 1e6:.0f} MB, at most {most}"
            )
            assert {labels["db"] for labels, _ in page.samples("smax_database_size_bytes")} == {
                str(path) for path in databases
            }
            assert most["secondaries"] == 1
            assert most["programs"] <= 2
            assert most["descriptors"] < 2 * COUNT + 50
            assert most["threads"] < 3 * COUNT + 50
