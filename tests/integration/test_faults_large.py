"""Databases with very much of something: tables, or a LOG that nobody ever rotated."""

import os
import sys
from pathlib import Path

import pytest

from tests.integration.daemon import (
    Page,
    daemon,
    process,
    wait_for,
    write_config,
    writing,
)
from tests.integration.demands import demands

pytestmark = pytest.mark.long

NO_PROGRAMS = "fio: {enabled: false}\nsecondary: {enabled: false}\n"
MANY_TABLES = 20_000
MANY_TABLES_WRITER = """
import os, sys, time
from rocksdict import IngestExternalFileOptions, Options, Rdict, SstFileWriter
options = Options()
options.create_if_missing(True)
options.set_max_open_files(100)
tables, number = [], int(sys.argv[2])
os.mkdir(sys.argv[1] + ".tables")
for key in range(number):
    tables.append(f"{sys.argv[1]}.tables/{key}.sst")
    writer = SstFileWriter(options)
    writer.open(tables[-1])
    writer[key] = b"x"
    writer.finish()
database = Rdict(sys.argv[1], options)
move = IngestExternalFileOptions()
move.set_move_files(True)
database.ingest_external_file(tables, move)
open(sys.argv[1] + ".made", "w").close()
while True:
    for _ in range(100):
        database[number] = os.urandom(100)
        number += 1
    time.sleep(0.1)
"""
LOG_BYTES = 2 << 30


def rate(page: Page, database: Path) -> float | None:
    return page.value("smax_observed_puts_per_second", db=str(database))


@pytest.mark.timeout(400)
def test_a_database_of_20000_tables_is_read_like_any_other(place: Path) -> None:
    """Its tables are in the directory that is watched for the WAL, and all in the MANIFEST."""
    database, made = place / "db", place / "db.made"
    argv = [sys.executable, "-c", MANY_TABLES_WRITER, str(database), str(MANY_TABLES)]
    with process(argv) as writer:
        wait_for(made, writer, 240.0)
        config = write_config(place, NO_PROGRAMS)
        with (
            daemon(place, "--config", config, "--db", str(database)) as running,
            demands(running, place, database),
        ):
            page = running.wait_until(
                lambda page: (
                    rate(page, database)
                    and page.value("smax_level_files", db=str(database), cf="default", level="6")
                ),
                "rate and levels",
            )

    files = page.value("smax_level_files", db=str(database), cf="default", level="6")
    assert files == MANY_TABLES


def test_a_log_of_two_gigabytes_is_not_read_from_its_beginning(place: Path) -> None:
    """A hole makes it so large; what is read of it is counted by the kernel."""
    database = place / "db"
    with writing(database):
        log = database / "LOG"
        whole = log.read_bytes()
        os.truncate(log, LOG_BYTES)
        with log.open("ab") as file:
            file.write(b"\n" + whole)
        config = write_config(place, NO_PROGRAMS)
        with (
            daemon(place, "--config", config, "--db", str(database)) as running,
            demands(running, place, database),
        ):
            running.wait_until(lambda page: rate(page, database), "the rate")
            io = Path(f"/proc/{running.process.pid}/io").read_text()

    read = int(dict(line.split(": ") for line in io.splitlines())["rchar"])
    assert read < LOG_BYTES / 10
