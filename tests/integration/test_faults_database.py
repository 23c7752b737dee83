"""Databases that stop, move, vanish, change and grow under the running daemon."""

import json
import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import (
    PATIENCE_SECONDS,
    Daemon,
    Page,
    daemon,
    process,
    wait_for,
    workplace,
    write_config,
    writing,
)
from tests.integration.test_harmless import NOBODY, nobody

needs_fio = pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change user and mount")
pytestmark = pytest.mark.long

NO_FIO = "fio: {enabled: false}\n"
NO_PROGRAMS = NO_FIO + "secondary: {enabled: false}\n"
ONE_FIO = (
    "secondary: {enabled: false}\nfio: {size_mib: 8, runtime_seconds: 2, interval_seconds: 3600}\n"
)

OWNER = """
import os, select, sys
from rocksdict import Options, Rdict

def options(settings):
    made = Options()
    made.create_if_missing(True)
    for setting in settings:
        name, _, value = setting.partition("=")
        getattr(made, "set_" + name)(int(value))
    return made

database, families, number = None, {}, 0
while True:
    if select.select([sys.stdin], [], [], 0.02)[0]:
        verb, *words = sys.stdin.readline().split() or ["end"]
        answer = 0
        if verb == "open":
            # Without this the default family keeps the options it was made with.
            families = {"default": options(words)}
            database = Rdict(sys.argv[1], options(words), families)
            families.clear()
            families[""] = database
        elif verb == "close":
            database.close()
            database, families = None, {}
        elif verb == "add":
            families[words[0]] = database.create_column_family(words[0], options(words[1:]))
        elif verb == "drop":
            del families[words[0]]
            database.drop_column_family(words[0])
        elif verb == "flush":
            for family in families.values():
                family.flush()
        elif verb == "count":
            answer = database.latest_sequence_number()
        else:
            break
        print(answer, flush=True)
    for family in families.values():
        for _ in range(40):
            family[number % 50_000] = os.urandom(100)
            number += 1
"""
"""Writes some 1000 puts/s into each column family, and does what it is told on its input."""


class Owner:
    """The process that owns a database."""

    def __init__(self, running: "subprocess.Popen[bytes]") -> None:
        self._running = running
        self.pid = running.pid

    def do(self, *words: str) -> int:
        """Have it do something, and wait until that is done."""
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        self._running.stdin.write(" ".join(words).encode() + b"\n")
        self._running.stdin.flush()
        ready, _, _ = select.select([self._running.stdout], [], [], PATIENCE_SECONDS)
        assert ready, f"the owner did not {words}"
        return int(self._running.stdout.readline())


@contextmanager
def owning(database: Path, *settings: str, **options: Any) -> Iterator[Owner]:
    """A process that has the database open until the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **options,
    ) as running:
        try:
            owner = Owner(running)
            owner.do("open", *settings)
            yield owner
        finally:
            running.kill()


@pytest.fixture
def place() -> Iterator[Path]:
    with workplace() as path:
        yield path


def puts(page: Page, database: Path) -> float:
    return page.value("smax_puts_total", db=str(database)) or 0.0


def rate(page: Page, database: Path) -> float | None:
    return page.value("smax_observed_puts_per_second", db=str(database))


def missing(page: Page, database: Path) -> bool:
    return page.reasons(str(database)).get("observed_puts_per_second") == "database_missing"


def shown(running: Daemon, database: Path) -> dict[str, Any]:
    databases = running.status()["databases"]
    found: dict[str, Any] = next(d for d in databases if d["name"] == str(database))
    return found


def no_defects(running: Daemon) -> None:
    text = running.log_file.read_text()
    assert "Traceback" not in text
    assert "tick_failed" not in text
    assert "reason=defect" not in text


def watched(place: Path, config: str, *databases: Path) -> tuple[str, ...]:
    words = (word for database in databases for word in ("--db", str(database)))
    return ("--config", write_config(place, config), *words)


def counts_all(running: Daemon, owner: Owner, database: Path) -> None:
    """The published total catches up with the owner's own count and never runs ahead of it."""
    before = owner.do("count")
    page = running.wait_until(lambda page: puts(page, database) >= before, "all puts are counted")
    assert puts(page, database) <= owner.do("count")


def test_a_database_that_is_closed_and_opened_again_goes_on(place: Path) -> None:
    """Its counter continues; meanwhile what needs the owner says that there is none."""
    database, other = place / "db", place / "other"
    with (
        owning(database) as owner,
        writing(other),
        daemon(place, *watched(place, NO_PROGRAMS, database, other)) as running,
    ):
        before = running.wait_until(
            lambda page: rate(page, database) and rate(page, other), "both rates"
        )
        first = shown(running, database)["incarnation"]
        owner.do("close")
        closed = running.wait_until(
            lambda page: not rate(page, database) and rate(page, other), "no puts any more"
        )
        owner.do("open")
        after = running.wait_until(lambda page: rate(page, database), "the rate is back")
        counts_all(running, owner, database)
        document = shown(running, database)
        no_defects(running)

    assert closed.value("smax_database_cpu_cores", db=str(database)) is None
    assert closed.reasons(str(database))["cpu_cores"] == "not_open"
    assert puts(after, database) >= puts(closed, database) >= puts(before, database)
    assert (rate(after, database) or 0.0) < 5_000
    assert document["owner_pid"] == owner.pid
    assert document["incarnation"] > first


def test_a_moved_database_is_found_at_its_new_place(place: Path) -> None:
    """Without a restart of anybody: the owner does not even notice, as long as it needs no file."""
    database, moved, other = place / "db", place / "moved", place / "other"
    config = NO_PROGRAMS + "discovery: {interval_seconds: 1}\n"
    with (
        owning(database, "write_buffer_size=268435456") as owner,
        writing(other),
        daemon(place, *watched(place, config)) as running,
    ):
        before = running.wait_until(
            lambda page: rate(page, database) and rate(page, other), "both rates"
        )
        database.rename(moved)
        after = running.wait_until(
            lambda page: rate(page, moved) and missing(page, database), "found where it is now"
        )
        counts_all(running, owner, moved)
        running.wait_until(lambda page: puts(page, other) > puts(before, other), "the other one")
        document = shown(running, moved)
        no_defects(running)

    assert puts(after, moved) >= puts(before, database)
    assert document["owner_pid"] == owner.pid
    assert after.value("smax_puts_total", db=str(database)) is None


def test_a_database_destroyed_under_its_owner_and_made_anew_is_another_one(place: Path) -> None:
    """The former owner lives on with files that have no name; the new one's count is shown."""
    database, other = place / "db", place / "other"
    with (
        owning(database, "write_buffer_size=268435456"),
        writing(other),
        daemon(place, *watched(place, NO_PROGRAMS, database, other)) as running,
    ):
        running.wait_until(lambda page: puts(page, database) > 5_000, "the first one is known well")
        first = shown(running, database)["incarnation"]
        shutil.rmtree(database)
        gone = running.wait_until(lambda page: missing(page, database), "it is missed")
        with owning(database) as owner:
            running.wait_until(lambda page: rate(page, database), "the second one's rate")
            counts_all(running, owner, database)
            document = shown(running, database)
        running.wait_until(lambda page: puts(page, other) > puts(gone, other), "the other one")
        no_defects(running)

    assert puts(gone, database) == 0.0
    assert rate(gone, database) is None
    assert document["owner_pid"] == owner.pid
    assert document["incarnation"] > first


def test_column_families_come_and_go(place: Path) -> None:
    """With their levels; the puts of all of them count, and the secondary learns of them."""
    database = place / "db"
    config = NO_FIO + "secondary: {interval_seconds: 1, cpu_share_ratio: 1.0}\n"

    def levels(page: Page, family: str) -> bool:
        return bool(page.samples("smax_level_files", db=str(database), cf=family))

    def keys(page: Page) -> float | None:
        return page.value("smax_estimated_keys", db=str(database))

    with (
        owning(database) as owner,
        daemon(place, *watched(place, config, database)) as running,
    ):
        before = running.wait_until(
            lambda page: levels(page, "default") and keys(page) is not None, "levels and keys"
        )
        first = shown(running, database)["incarnation"]
        owner.do("add", "later")
        owner.do("add", "last")
        owner.do("flush")
        added = running.wait_until(
            lambda page: levels(page, "later") and levels(page, "last"), "the new levels"
        )
        running.wait_until(
            lambda page: (
                page.value("smax_probe_success", probe="secondary", target=str(database)) == 1.0
                and keys(page) is not None
            ),
            "the secondary knows them",
        )
        counts_all(running, owner, database)
        owner.do("drop", "later")
        dropped = running.wait_until(lambda page: not levels(page, "later"), "the dropped is gone")
        counts_all(running, owner, database)
        document = shown(running, database)
        no_defects(running)

    assert not levels(before, "later")
    assert puts(added, database) > puts(before, database)
    assert levels(dropped, "last")
    assert levels(dropped, "default")
    assert document["incarnation"] == first


def flushed_bytes(database: Path) -> int:
    """What flushes wrote by all LOG files together."""
    total = 0
    flushes = set()
    for log in [*sorted(database.glob("LOG.old.*")), database / "LOG"]:
        for text in re.findall(r"EVENT_LOG_v1 (\{.*\})", log.read_text()):
            event = json.loads(text)
            if event["event"] == "flush_started":
                flushes.add(event["job"])
            if event["event"] == "table_file_creation" and event["job"] in flushes:
                total += event["file_size"]
    return total


def test_a_log_that_is_rotated_ten_times_a_second_is_read_wholly(place: Path) -> None:
    """Several rotations fall between two ticks, and no event is lost or counted twice."""
    database = place / "db"
    with (
        owning(database, "max_log_file_size=2000") as owner,
        daemon(place, *watched(place, NO_PROGRAMS, database)) as running,
    ):
        running.wait_until(lambda page: rate(page, database), "the rate")
        for _ in range(30):
            owner.do("flush")
        expected = flushed_bytes(database)
        rotated = len(list(database.glob("LOG.old.*")))
        running.wait_until(
            lambda page: page.value("smax_flush_bytes_total", db=str(database)) == expected,
            f"{expected} flushed bytes",
        )
        counts_all(running, owner, database)
        no_defects(running)

    assert rotated >= 30


def model_options(running: Daemon) -> dict[str, Any]:
    """The options that the models reckon with; empty while their inputs are not complete."""
    code, body = running.get("/api/v1/explain")
    databases = json.loads(body)["databases"] if code == 200 else []
    options: dict[str, Any] = {}
    for database in databases:
        options = (database["inputs"] or {}).get("options", {})
    return options


@needs_fio
def test_options_that_change_with_a_reopening_change_the_models_inputs(place: Path) -> None:
    """And back again: what the models say is about the options in force."""
    database = place / "db"
    small = ("write_buffer_size=1048576", "max_write_buffer_number=2")
    large = ("write_buffer_size=2097152", "max_write_buffer_number=5")

    def in_force(size: float, number: int) -> Any:
        def condition(_: Page) -> bool:
            options = model_options(running)
            return (
                options.get("write_buffer_bytes") == size
                and options.get("max_write_buffer_number") == number
            )

        return condition

    with (
        owning(database, *small) as owner,
        daemon(place, *watched(place, ONE_FIO, database)) as running,
    ):
        running.wait_until(in_force(1048576.0, 2), "the models know the options")
        for settings, expected in ((large, (2097152.0, 5)), (small, (1048576.0, 2))):
            owner.do("close")
            owner.do("open", *settings)
            running.wait_until(in_force(*expected), f"the models know {settings}")
            page = running.wait_until(
                lambda page: (
                    page.value("smax_recommended_puts_per_second", db=str(database))
                    and rate(page, database) is not None
                ),
                "S_max and the put rate are there again",
            )
        counts_all(running, owner, database)
        no_defects(running)

    assert page.value("smax_recommended_puts_per_second", db=str(database))


# -- least privilege


@needs_fio
@needs_root
@pytest.mark.parametrize("access", ["everybody", "group"])
def test_who_may_read_the_files_gets_s_max(place: Path, access: str) -> None:
    """As nobody beside root's database. What needs more says so, and how to get it."""
    database = place / "db"
    umask = 0o022
    database.mkdir()
    if access == "group":
        os.chown(database, 0, NOBODY)
        database.chmod(0o2750)
        umask = 0o027
    with (
        nobody(place) as agent,
        owning(database, umask=umask) as owner,
        daemon(
            place,
            *watched(place, ONE_FIO, database),
            python=agent.python,
            user=NOBODY,
            PYTHONPATH=f"{agent.source}:{agent.packages}",
            LD_LIBRARY_PATH=str(Path(agent.python).parents[1] / "lib"),
        ) as running,
    ):
        page = running.wait_until(
            lambda page: (
                page.value("smax_recommended_puts_per_second", db=str(database))
                and rate(page, database)
                and page.value("smax_probe_success", probe="process_io", target=str(database))
                is not None
            ),
            "S_max and the put rate",
        )
        counts_all(running, owner, database)
        document = running.status()
        probes = {p["probe"]: p for p in document["probes"] if p["target"] == str(database)}
        no_defects(running)
        assert running.stop() == 0

    assert document["databases"][0]["owner_pid"] == owner.pid
    assert page.value("smax_probe_success", probe="process_io", target=str(database)) == 0.0
    assert probes["process_io"]["reason"] == "not_permitted"
    assert probes["process_io"]["absent"] is True
    assert "CAP_SYS_PTRACE" in probes["process_io"]["detail"]
    others = {name: p["reason"] for name, p in probes.items() if name != "process_io"}
    assert set(others.values()) == {None}


# -- large ones

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


@pytest.mark.timeout(400)
def test_a_database_of_20000_tables_is_read_like_any_other(place: Path) -> None:
    """Its tables are in the directory that is watched for the WAL, and all in the MANIFEST."""
    database, made = place / "db", place / "db.made"
    argv = [sys.executable, "-c", MANY_TABLES_WRITER, str(database), str(MANY_TABLES)]
    with process(argv) as writer:
        wait_for(made, writer, 240.0)
        config = write_config(place, NO_PROGRAMS)
        with daemon(place, "--config", config, "--db", str(database)) as running:
            page = running.wait_until(
                lambda page: (
                    rate(page, database)
                    and page.value("smax_level_files", db=str(database), cf="default", level="6")
                ),
                "rate and levels",
            )
            no_defects(running)
            assert running.stop() == 0

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
        with daemon(place, "--config", config, "--db", str(database)) as running:
            running.wait_until(
                lambda page: page.value("smax_observed_puts_per_second", db=str(database)),
                "the rate",
            )
            io = Path(f"/proc/{running.process.pid}/io").read_text()
            assert running.stop() == 0

    read = int(dict(line.split(": ") for line in io.splitlines())["rchar"])
    assert read < LOG_BYTES / 10
