"""Databases that stop, move, vanish and change under the running daemon."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import Daemon, Page, daemon, write_config, writing
from tests.integration.demands import RECOMMENDED, demands
from tests.integration.faults import calm_host, needs_fio
from tests.integration.owner import counts_all, owning

pytestmark = pytest.mark.long

NO_FIO = "fio: {enabled: false}\n"
NO_PROGRAMS = NO_FIO + "secondary: {enabled: false}\n"
ONE_FIO = (
    "secondary: {enabled: false}\nfio: {size_mib: 8, runtime_seconds: 2, interval_seconds: 3600}\n"
)
RATE_AND_S_MAX = ("observed_puts_per_second", RECOMMENDED)
MISSING = ("database_missing", "path_missing")
"""The database, and what its device is to be told from."""


def puts(page: Page, database: Path) -> float:
    return page.value("smax_puts_total", db=str(database)) or 0.0


def rate(page: Page, database: Path) -> float | None:
    return page.value("smax_observed_puts_per_second", db=str(database))


def shown(running: Daemon, database: Path) -> dict[str, Any]:
    databases = running.status()["databases"]
    found: dict[str, Any] = next(d for d in databases if d["name"] == str(database))
    return found


def watched(place: Path, config: str, *databases: Path) -> tuple[str, ...]:
    words = (word for database in databases for word in ("--db", str(database)))
    return ("--config", write_config(place, config), *words)


@needs_fio
def test_a_database_that_is_closed_and_opened_again_goes_on(place: Path) -> None:
    """Its counter continues; meanwhile what needs the owner says that there is none."""
    database, other = place / "db", place / "other"
    with (
        owning(database) as owner,
        writing(other),
        daemon(
            place, *watched(place, ONE_FIO, database, other), PYTHONPATH=calm_host(place)
        ) as running,
        demands(running, place, other) as demanded,
    ):
        before = demanded.published(database, *RATE_AND_S_MAX)
        first = shown(running, database)["incarnation"]
        owner.do("close")
        demanded.absent(database, "not_open", "cpu_cores")
        closed = running.wait_until(lambda page: not rate(page, database), "no puts any more")
        demanded.others_go_on()
        owner.do("open")
        running.wait_until(lambda page: rate(page, database), "the rate is back")
        after = demanded.published(database, *RATE_AND_S_MAX)
        counts_all(running, owner, database)
        document = shown(running, database)

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
        demands(running, place, other) as demanded,
    ):
        before = running.wait_until(lambda page: rate(page, database), "the rate")
        database.rename(moved)
        demanded.absent(database, MISSING, *RATE_AND_S_MAX)
        demanded.others_go_on()
        after = running.wait_until(lambda page: rate(page, moved), "found where it is now")
        counts_all(running, owner, moved)
        document = shown(running, moved)

    assert puts(after, moved) >= puts(before, database)
    assert document["owner_pid"] == owner.pid
    assert after.value("smax_puts_total", db=str(database)) is None


@needs_fio
def test_a_database_destroyed_under_its_owner_and_made_anew_is_another_one(place: Path) -> None:
    """The former owner lives on with files that have no name; the new one's count is shown."""
    database, other = place / "db", place / "other"
    with (
        owning(database, "write_buffer_size=268435456"),
        writing(other),
        daemon(
            place, *watched(place, ONE_FIO, database, other), PYTHONPATH=calm_host(place)
        ) as running,
        demands(running, place, other) as demanded,
    ):
        demanded.published(database, *RATE_AND_S_MAX)
        running.wait_until(lambda page: puts(page, database) > 5_000, "the first one is known well")
        first = shown(running, database)["incarnation"]
        shutil.rmtree(database)
        gone = demanded.absent(database, MISSING, *RATE_AND_S_MAX)
        demanded.others_go_on()
        with owning(database) as owner:
            demanded.published(database, *RATE_AND_S_MAX)
            counts_all(running, owner, database)
            document = shown(running, database)

    assert puts(gone, database) == 0.0
    assert document["owner_pid"] == owner.pid
    assert document["incarnation"] > first


def test_column_families_come_and_go(place: Path) -> None:
    """With their levels; the puts of all of them count, and the secondary learns of them."""
    database, other = place / "db", place / "other"
    config = NO_FIO + "secondary: {interval_seconds: 1, cpu_share_ratio: 1.0}\n"

    def levels(page: Page, family: str) -> bool:
        return bool(page.samples("smax_level_files", db=str(database), cf=family))

    def keys(page: Page) -> float | None:
        return page.value("smax_estimated_keys", db=str(database))

    with (
        owning(database) as owner,
        writing(other),
        daemon(place, *watched(place, config, database, other)) as running,
        demands(running, place, other) as demanded,
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
        demanded.others_go_on()
        owner.do("drop", "later")
        dropped = running.wait_until(lambda page: not levels(page, "later"), "the dropped is gone")
        counts_all(running, owner, database)
        document = shown(running, database)

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
    database, other = place / "db", place / "other"
    with (
        owning(database, "max_log_file_size=2000") as owner,
        writing(other),
        daemon(place, *watched(place, NO_PROGRAMS, database, other)) as running,
        demands(running, place, other),
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

    assert rotated >= 30


def model_options(running: Daemon, database: Path) -> dict[str, Any]:
    """The options that the models reckon with; empty while their inputs are not complete."""
    code, body = running.get("/api/v1/explain")
    databases = json.loads(body)["databases"] if code == 200 else []
    for explained in databases:
        if explained["database"] == str(database):
            options: dict[str, Any] = (explained["inputs"] or {}).get("options", {})
            return options
    return {}


@needs_fio
def test_options_that_change_with_a_reopening_change_the_models_inputs(place: Path) -> None:
    """And back again: what the models say is about the options in force."""
    database, other = place / "db", place / "other"
    small = ("write_buffer_size=1048576", "max_write_buffer_number=2")
    large = ("write_buffer_size=2097152", "max_write_buffer_number=5")

    def in_force(size: float, number: int) -> Any:
        def condition(_: Page) -> bool:
            options = model_options(running, database)
            return (
                options.get("write_buffer_bytes") == size
                and options.get("max_write_buffer_number") == number
            )

        return condition

    with (
        owning(database, *small) as owner,
        writing(other),
        daemon(
            place, *watched(place, ONE_FIO, database, other), PYTHONPATH=calm_host(place)
        ) as running,
        demands(running, place, other) as demanded,
    ):
        running.wait_until(in_force(1048576.0, 2), "the models know the options")
        for settings, expected in ((large, (2097152.0, 5)), (small, (1048576.0, 2))):
            owner.do("close")
            owner.do("open", *settings)
            running.wait_until(in_force(*expected), f"the models know {settings}")
            page = demanded.published(database, *RATE_AND_S_MAX)
        counts_all(running, owner, database)

    assert page.value("smax_recommended_puts_per_second", db=str(database))
