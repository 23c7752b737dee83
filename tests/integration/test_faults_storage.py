"""The storage of a database and of fio's file fails: full, read-only, in error, gone, exchanged."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import (
    PATIENCE_SECONDS,
    Page,
    daemon,
    write_config,
    writing,
)
from tests.integration.demands import RECOMMENDED, demands
from tests.integration.failing_disk import failing_disk
from tests.integration.faults import (
    calm_host,
    finished_database,
    needs_fio,
    needs_root,
    probe,
    wait_for_probe,
)
from tests.integration.test_harmless import NOBODY
from tests.integration.volume import (
    FILLING,
    VOLUME_BYTES,
    Volume,
    mounted_volume,
    needs_volumes,
)

pytestmark = pytest.mark.long

NO_SECONDARY = "secondary: {enabled: false}\n"
NO_PROGRAMS = NO_SECONDARY + "fio: {enabled: false}\n"
SMALL_FIO = NO_SECONDARY + "fio: {size_mib: 8, runtime_seconds: 2, interval_seconds: 10}\n"
CAPACITY = "smax_device_write_capacity_bytes_per_second"
RATE = "observed_puts_per_second"
RATE_AND_S_MAX = (RATE, RECOMMENDED)
MISSING = ("database_missing", "path_missing")
"""The database, and what its device is to be told from."""
OF_A_CLOSED_DATABASE = ("size_bytes", "age_seconds")


@pytest.fixture
def volume(place: Path) -> Iterator[Volume]:
    with mounted_volume(place) as made:
        yield made


def puts(page: Page, database: Path) -> float:
    return page.value("smax_puts_total", db=str(database)) or 0.0


def rate(page: Page, database: Path) -> float | None:
    return page.value("smax_observed_puts_per_second", db=str(database))


def device_of(page: Page, database: Path) -> str:
    found = page.samples("smax_database_info", db=str(database), place="data")
    return found[0][0]["device"] if found else ""


@needs_fio
@needs_volumes
def test_no_probe_runs_on_a_full_file_system_and_one_does_once_there_is_room(
    place: Path, volume: Volume
) -> None:
    """Its writer has ended for want of room; the daemon neither ends nor makes it worse."""
    full, good = volume.path / "db", place / "good"
    config = write_config(place, SMALL_FIO)
    with writing(good), writing(full) as writer:
        volume.fill()
        writer.wait(PATIENCE_SECONDS)
        words = ("--config", config, "--db", str(full), "--db", str(good))
        with (
            daemon(place, *words, PYTHONPATH=calm_host(place)) as running,
            demands(running, place, good) as demanded,
        ):
            page = running.wait_until(
                lambda page: page.value(
                    "smaxd_fio_gate_closed", device=volume.device, reason="low_space"
                ),
                "the gate is closed for want of room",
            )
            demanded.absent(full, "low_space", RECOMMENDED, "available_bytes_per_second")
            demanded.others_go_on()
            names = sorted(path.name for path in volume.path.iterdir())
            scratch = [path for path in volume.path.rglob("smaxd-scratch-*") if path.is_file()]
            volume.make_room()
            wait_for_probe(running, "fio", volume.device, success=True)
            with writing(full):
                after = demanded.published(full, *RATE_AND_S_MAX)
                demanded.others_go_on()
        left = sorted(path.name for path in volume.path.iterdir())

    assert page.value(CAPACITY, device=volume.device) is None
    assert after.value(CAPACITY, device=volume.device) is not None
    assert set(names) <= {"db", "lost+found", FILLING, ".smaxd-scratch-0"}
    assert scratch == []
    assert left == ["db", "lost+found"]


@needs_fio
@needs_volumes
def test_no_probe_runs_on_a_read_only_file_system_and_one_does_once_it_is_writable(
    place: Path, volume: Volume
) -> None:
    """The daemon has nothing open that would keep the operator from remounting it."""
    closed, good = volume.path / "db", place / "good"
    finished_database(closed)
    scratch = volume.path / "scratch"
    scratch.mkdir()
    config = write_config(place, SMALL_FIO)
    words = ("--config", config, "--db", str(closed), "--db", str(good))
    volume.protect()
    with (
        writing(good),
        daemon(place, *words, "--scratch", str(scratch), PYTHONPATH=calm_host(place)) as running,
        demands(running, place, good) as demanded,
    ):
        reason = wait_for_probe(running, "fio", volume.device, success=False)
        detail = str(probe(running, "fio", volume.device)["detail"])
        page = demanded.absent(closed, reason, "available_bytes_per_second")
        demanded.others_go_on()
        volume.unprotect()
        wait_for_probe(running, "fio", volume.device, success=True)
        volume.protect()
        again = wait_for_probe(running, "fio", volume.device, success=False)
        volume.unprotect()

    assert reason == again == "read_only_file_system"
    assert str(scratch) in detail
    assert page.value(CAPACITY, device=volume.device) is None
    assert puts(page, closed) == 1000.0
    assert list(scratch.iterdir()) == []


@needs_fio
@needs_volumes
def test_a_disk_that_answers_with_errors_is_known_again_once_it_does_not(place: Path) -> None:
    """Its database's files cannot be read, and later fio's not be written; each probe says so."""
    with failing_disk(place) as disk, writing(place / "good"):
        database, good = disk.path / "db", place / "good"
        finished_database(database)
        words = ("--config", write_config(place, SMALL_FIO), "--db", str(database))
        # At the daemon's first look: what it has read once it need not read again.
        disk.forget(database)
        disk.fail()
        with (
            daemon(place, *words, "--db", str(good), PYTHONPATH=calm_host(place)) as running,
            demands(running, place, good) as demanded,
        ):
            demanded.absent(database, "database_read_error", *OF_A_CLOSED_DATABASE)
            # Whether it is stalled is not known, so fio does not run.
            demanded.absent(database, "stalls_unknown", RECOMMENDED, "available_bytes_per_second")
            details = [
                state["detail"]
                for state in running.status()["probes"]
                if state["success"] is False and not state["absent"]
            ]
            demanded.others_go_on()
            disk.heal()
            page = demanded.published(database, RECOMMENDED, *OF_A_CLOSED_DATABASE)
            wait_for_probe(running, "fio", disk.device, success=True)
            disk.fail()
            reason = wait_for_probe(running, "fio", disk.device, success=False)
            demanded.others_go_on()
            disk.heal()
            wait_for_probe(running, "fio", disk.device, success=True)

    assert details != []
    assert [text for text in details if "Input/output error" not in text] == []
    assert reason == "fio_failed"
    assert puts(page, database) == 1000.0


@needs_volumes
def test_a_stopped_databases_file_system_can_be_unmounted(place: Path, volume: Volume) -> None:
    """An observer's open LOG would make the operator's umount fail."""
    database, good = volume.path / "db", place / "good"
    config = write_config(place, NO_PROGRAMS)
    with (
        writing(good),
        daemon(place, "--config", config, "--db", str(database), "--db", str(good)) as running,
        demands(running, place, good) as demanded,
    ):
        with writing(database):
            running.wait_until(lambda page: rate(page, database), "the database's rate")
        running.wait_until(lambda page: rate(page, database) == 0.0, "no puts any more")
        # A tick opens files for a moment.
        for _ in range(20):
            done = subprocess.run(["umount", str(volume.path)], stderr=subprocess.PIPE, check=False)
            if done.returncode == 0:
                break
            time.sleep(0.05)
        assert done.returncode == 0, done.stderr
        demanded.absent(database, MISSING, *RATE_AND_S_MAX)
        demanded.others_go_on()
        volume.mount()
        running.wait_until(lambda page: rate(page, database) is not None, "it is known again")


@needs_fio
@needs_volumes
def test_a_device_that_vanishes_is_followed_to_its_new_number(place: Path) -> None:
    """Gone with a reason, held by nobody, and measured anew where it comes back."""
    # Room for the writer over the minutes that fio waits.
    with mounted_volume(place, 8 * VOLUME_BYTES) as volume:
        follow_it(place, volume)


def follow_it(place: Path, volume: Volume) -> None:
    database, good = volume.path / "db", place / "good"
    words = ("--config", write_config(place, SMALL_FIO), "--db", str(database), "--db", str(good))
    with (
        writing(good),
        daemon(place, *words, PYTHONPATH=calm_host(place)) as running,
        demands(running, place, good) as demanded,
    ):
        with writing(database):
            demanded.published(database, *RATE_AND_S_MAX)
        volume.unplug()
        demanded.absent(database, MISSING, *RATE_AND_S_MAX)
        gone = running.wait_until(
            lambda page: (
                not page.samples(CAPACITY, device=volume.device)
                and device_of(page, database) != volume.device
            ),
            "the device is gone",
        )
        demanded.others_go_on()
        held = volume.in_use()
        former = volume.device
        volume.plug_in()
        with writing(database):
            back = demanded.published(database, *RATE_AND_S_MAX)

    assert puts(gone, database) == 0.0
    assert not held
    assert volume.device != former
    assert device_of(back, database) == volume.device
    assert back.samples(CAPACITY, device=volume.device)
    assert not back.samples(CAPACITY, device=former)
    assert sorted(path.name for path in volume.path.iterdir()) == ["db", "lost+found"]


@needs_fio
@needs_root
@pytest.mark.parametrize("trap", ["link-into-the-database", "another-users"])
def test_a_scratch_directory_that_was_exchanged_is_refused(place: Path, trap: str) -> None:
    """While it is somebody's trap no probe runs, and nothing is written where it leads."""
    database, scratch, away = place / "db", place / "scratch", place / "away"
    scratch.mkdir()
    words = ("--config", write_config(place, SMALL_FIO), "--db", str(database))
    with (
        writing(database),
        daemon(place, *words, "--scratch", str(scratch), PYTHONPATH=calm_host(place)) as running,
        demands(running, place, database) as demanded,
    ):
        page = running.wait_until(lambda page: device_of(page, database), "the device")
        device = device_of(page, database)
        wait_for_probe(running, "fio", device, success=True)
        if trap == "another-users":
            (theirs,) = scratch.iterdir()
            theirs.rmdir()
            theirs.mkdir(mode=0o700)
            os.chown(theirs, NOBODY, NOBODY)
        else:
            scratch.rename(away)
            scratch.symlink_to(database)
        reason = wait_for_probe(running, "fio", device, success=False)
        detail = str(probe(running, "fio", device)["detail"])
        demanded.others_go_on()
        strangers = list(database.rglob("*smaxd*"))
        if trap == "another-users":
            assert list(theirs.iterdir()) == []
            theirs.rmdir()
        else:
            scratch.unlink()
            away.rename(scratch)
        wait_for_probe(running, "fio", device, success=True)

    assert reason == "scratch_invalid"
    assert ("not our private directory" if trap == "another-users" else str(database)) in detail
    assert strangers == []
    assert list(scratch.iterdir()) == []
