"""Storage that fails under the running daemon: full, read-only, gone, exchanged, closed."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.probing.host_probing import OPENING_SECONDS
from tests.integration.daemon import (
    PATIENCE_SECONDS,
    ROOT,
    Daemon,
    Page,
    daemon,
    leftovers,
    processes_naming,
    workplace,
    write_config,
    writing,
)
from tests.integration.test_harmless import NOBODY, nobody
from tests.integration.volume import (
    FILLING,
    MIB,
    VOLUME_BYTES,
    Volume,
    mounted_volume,
    needs_volumes,
)

needs_fio = pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change user and mount")
pytestmark = pytest.mark.long

NO_SECONDARY = "secondary: {enabled: false}\n"
NO_PROGRAMS = NO_SECONDARY + "fio: {enabled: false}\n"
SMALL_FIO = NO_SECONDARY + "fio: {size_mib: 8, runtime_seconds: 2, interval_seconds: 10}\n"
SLOW_FIO = (
    NO_SECONDARY
    + "fio: {size_mib: 16, runtime_seconds: 4, rate_mib_per_second: 4, interval_seconds: 3600}\n"
)
"""Four seconds, in which something can happen, and then the first thing worth remembering."""

OFTEN_SAVING = """#!{python}
import sys
from agent.learning import memory_saver
memory_saver.SAVE_SECONDS = 0.5
sys.argv[:3] = ["smaxd"]
from agent.cli import main
main()
"""
"""The daemon as it is, but what it could not save is tried again at once, not in a minute."""

FINISHED_WRITER = """
import sys
from rocksdict import Rdict
database = Rdict(sys.argv[1])
for number in range(1000):
    database[number] = "x" * 200
database.close()
"""


@pytest.fixture
def place() -> Iterator[Path]:
    with workplace() as path:
        yield path


@pytest.fixture
def volume(place: Path) -> Iterator[Volume]:
    with mounted_volume(place) as made:
        yield made


def often_saving(place: Path, python: str = sys.executable) -> str:
    program = place / "often-saving"
    program.write_text(OFTEN_SAVING.format(python=python))
    program.chmod(0o755)
    return str(program)


def puts(page: Page, database: Path) -> float:
    return page.value("smax_puts_total", db=str(database)) or 0.0


def rate(page: Page, database: Path) -> float | None:
    return page.value("smax_observed_puts_per_second", db=str(database))


def probe(running: Daemon, name: str, target: str) -> dict[str, object]:
    """A probe's last run as the status tells it; empty while there is none."""
    probes = running.status().get("probes", [])
    return next((p for p in probes if (p["probe"], p["target"]) == (name, target)), {})


def goes_on(running: Daemon, database: Path) -> None:
    """Nothing of what happens elsewhere is felt by this database's numbers."""
    before = running.wait_until(lambda page: rate(page, database), "the other database's rate")
    running.wait_until(lambda page: puts(page, database) > puts(before, database), "it goes on")
    assert running.get("/healthz")[0] == 200


def wait_for_probe(running: Daemon, name: str, target: str, *, success: bool) -> str:
    """Wait until the probe's last run went so, and return its reason."""
    running.wait_until(
        lambda page: page.value("smax_probe_success", probe=name, target=target) == float(success),
        f"{name} of {target} {'succeeds' if success else 'fails'}",
    )
    return str(probe(running, name, target)["reason"])


def wait_for_event(running: Daemon, event: str) -> str:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not running.events(event):
        assert running.process.poll() is None, "the daemon ended"
        assert time.monotonic() < give_up, f"never: {event}\n{running.log_file.read_text()}"
        time.sleep(0.1)
    return running.events(event)[-1]


def fio_under_way(place: Path) -> bool:
    return any(command.startswith("fio ") for command in processes_naming(str(place)))


def no_defects(running: Daemon) -> None:
    text = running.log_file.read_text()
    assert "Traceback" not in text
    assert "tick_failed" not in text
    assert "reason=defect" not in text


# -- what was learned, and a state directory that fails


@contextmanager
def state_fault(
    place: Path,
    state: Path,
    others: Path,
    *,
    config: str = "",
    user: int | None = None,
    **run: str,
) -> Iterator[Daemon]:
    """A daemon with its state in ``state``; the block begins while fio, whose result is the first
    thing worth saving, is still running on the disk of the database ``others``."""
    file = write_config(place, SLOW_FIO + config)
    scratch = place / "scratch"
    scratch.mkdir()
    if user is not None:
        os.chown(scratch, user, user)
    words = ("--config", file, "--db", str(others), "--state", str(state))
    with daemon(
        place,
        *(*words, "--scratch", str(scratch)),
        python=run.pop("python", "") or often_saving(place),
        user=user,
        **run,
    ) as running:
        running.wait_until(lambda _: fio_under_way(place), "fio is running")
        yield running


def state_is_whole(state: Path) -> None:
    """What is there is one whole file, and nothing else of ours."""
    saved = json.loads((state / "learned.json").read_bytes())
    assert [d["baseline_bytes_per_second"] > 0 for d in saved["devices"]] == [True]
    assert not list(state.glob(".learned*"))


class Broken:
    """One way to break a state directory, what the daemon says of it, and how to mend it."""

    def __init__(
        self,
        do: Callable[[Path, Volume, Path], object],
        says: str,
        undo: Callable[[Path, Volume, Path], object],
        config: str = "",
    ) -> None:
        self.do, self.says, self.undo, self.config = do, says, undo, config


def _exchange(state: Path, database: Path) -> None:
    shutil.move(state, f"{state}.away")
    state.symlink_to(database)


def _exchange_back(state: Path) -> None:
    state.unlink()
    shutil.move(f"{state}.away", state)


FULL = Broken(
    lambda state, volume, _: volume.fill(),
    "No space left on device",
    lambda state, volume, _: volume.make_room(),
)
WRITE_PROTECTED = Broken(
    lambda state, volume, _: volume.protect(),
    "Read-only file system",
    lambda state, volume, _: volume.unprotect(),
    # Whoever has a file open for writing, as the history has, keeps it from being remounted.
    "history: {enabled: false}\n",
)
REMOVED = Broken(
    lambda state, volume, _: shutil.rmtree(state),
    "No such file or directory",
    lambda state, volume, _: state.mkdir(),
)
A_LINK_INTO_THE_DATABASE = Broken(
    lambda state, volume, database: _exchange(state, database),
    "now lies in the database",
    lambda state, volume, _: _exchange_back(state),
)


@needs_fio
@needs_volumes
@pytest.mark.parametrize(
    "fault",
    [FULL, WRITE_PROTECTED, REMOVED, A_LINK_INTO_THE_DATABASE],
    ids=["full", "read-only", "removed", "link-into-the-database"],
)
def test_what_was_learned_is_saved_once_the_state_directory_is_well_again(
    place: Path, volume: Volume, fault: Broken
) -> None:
    """Said once in the log; no half file, nothing in the database, no number missed meanwhile."""
    database, state = place / "db", volume.path / "state"
    state.mkdir(mode=0o700)
    with writing(database), state_fault(place, state, database, config=fault.config) as running:
        fault.do(state, volume, database)
        said = wait_for_event(running, "state_not_saved")
        goes_on(running, database)
        half = [*state.glob("*"), *state.glob(".*")] if state.is_dir() else []
        ours = [path.name for path in database.iterdir() if "learned" in path.name]
        fault.undo(state, volume, database)
        wait_for_event(running, "state_saved_again")
        state_is_whole(state)
        goes_on(running, database)
        assert len(running.events("state_not_saved")) == 1
        no_defects(running)
        assert running.stop() == 0

    assert fault.says in said
    assert [path.name for path in half if "learned" in path.name] == []
    assert ours == []
    assert [path for path in leftovers(place) if str(volume.path) not in path] == []


@needs_fio
@needs_root
def test_a_state_directory_that_becomes_unwritable_is_used_again_once_it_is_not(
    place: Path,
) -> None:
    """As a user whom permissions stop, which root they do not."""
    database, state = place / "db", place / "state"
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    with nobody(place) as agent, writing(database):
        program = often_saving(place, agent.python)
        with state_fault(
            place,
            state,
            database,
            user=NOBODY,
            python=program,
            PYTHONPATH=f"{agent.source}:{agent.packages}",
            LD_LIBRARY_PATH=str(Path(agent.python).parents[1] / "lib"),
        ) as running:
            state.chmod(0o500)
            said = wait_for_event(running, "state_not_saved")
            goes_on(running, database)
            state.chmod(0o700)
            wait_for_event(running, "state_saved_again")
            state_is_whole(state)
            no_defects(running)
            assert running.stop() == 0

    assert "Permission denied" in said


# -- the file system of the database and of fio's scratch file


def finished_database(path: Path) -> None:
    """A database that nobody has open."""
    subprocess.run([sys.executable, "-c", FINISHED_WRITER, str(path)], check=True)


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
        with daemon(place, "--config", config, "--db", str(full), "--db", str(good)) as running:
            page = running.wait_until(
                lambda page: page.value(
                    "smaxd_fio_gate_closed", device=volume.device, reason="low_space"
                ),
                "the gate is closed for want of room",
            )
            goes_on(running, good)
            names = sorted(path.name for path in volume.path.iterdir())
            scratch = [path for path in volume.path.rglob("smaxd-scratch-*") if path.is_file()]
            volume.make_room()
            wait_for_probe(running, "fio", volume.device, success=True)
            with writing(full):
                after = running.wait_until(lambda page: rate(page, full), "the database's rate")
                goes_on(running, good)
            no_defects(running)
            assert running.stop() == 0
        left = sorted(path.name for path in volume.path.iterdir())

    capacity = "smax_device_write_capacity_bytes_per_second"
    assert page.value(capacity, device=volume.device) is None
    assert after.value(capacity, device=volume.device) is not None
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
        daemon(place, *words, "--scratch", str(scratch)) as running,
    ):
        reason = wait_for_probe(running, "fio", volume.device, success=False)
        detail = str(probe(running, "fio", volume.device)["detail"])
        page = running.page()
        goes_on(running, good)
        volume.unprotect()
        wait_for_probe(running, "fio", volume.device, success=True)
        volume.protect()
        again = wait_for_probe(running, "fio", volume.device, success=False)
        volume.unprotect()
        no_defects(running)
        assert running.stop() == 0

    assert reason == again == "read_only_file_system"
    assert str(scratch) in detail
    assert page.value("smax_device_write_capacity_bytes_per_second", device=volume.device) is None
    assert puts(page, closed) == 1000.0
    assert list(scratch.iterdir()) == []


@needs_volumes
def test_a_stopped_databases_file_system_can_be_unmounted(place: Path, volume: Volume) -> None:
    """An observer's open LOG would make the operator's umount fail."""
    database = volume.path / "db"
    with daemon(
        place, "--config", write_config(place, NO_PROGRAMS), "--db", str(database)
    ) as running:
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
        running.wait_until(
            lambda page: (
                page.reasons(str(database)).get("observed_puts_per_second") == "database_missing"
            ),
            "the database is missed",
        )
        no_defects(running)


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
    capacity = "smax_device_write_capacity_bytes_per_second"
    with writing(good), daemon(place, *words) as running:
        with writing(database):
            running.wait_until(
                lambda page: rate(page, database) and page.value(capacity, device=volume.device),
                "the database's rate and its device's capacity",
            )
        volume.unplug()
        gone = running.wait_until(
            lambda page: (
                page.reasons(str(database)).get("observed_puts_per_second") == "database_missing"
                and not page.samples(capacity, device=volume.device)
                and device_of(page, database) != volume.device
            ),
            "database and device are gone",
        )
        goes_on(running, good)
        held = volume.in_use()
        former = volume.device
        volume.plug_in()
        with writing(database):
            running.wait_until(
                lambda page: rate(page, database) and page.value(capacity, device=volume.device),
                "the rate, and the capacity of the new device",
                # fio waits after each opening of the database, and it is found twice: as files
                # that nobody has open, then with its writer.
                PATIENCE_SECONDS + 2 * OPENING_SECONDS,
            )
            back = running.page()
        no_defects(running)
        assert running.stop() == 0

    assert puts(gone, database) == 0.0
    assert not held
    assert volume.device != former
    assert device_of(back, database) == volume.device
    assert not back.samples(capacity, device=former)
    assert sorted(path.name for path in volume.path.iterdir()) == ["db", "lost+found"]


@needs_fio
@needs_root
@pytest.mark.parametrize("trap", ["link-into-the-database", "another-users"])
def test_a_scratch_directory_that_was_exchanged_is_refused(place: Path, trap: str) -> None:
    """While it is somebody's trap no probe runs, and nothing is written where it leads."""
    database, scratch, away = place / "db", place / "scratch", place / "away"
    scratch.mkdir()
    words = ("--config", write_config(place, SMALL_FIO), "--db", str(database))
    with writing(database), daemon(place, *words, "--scratch", str(scratch)) as running:
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
        goes_on(running, database)
        strangers = list(database.rglob("*smaxd*"))
        if trap == "another-users":
            assert list(theirs.iterdir()) == []
            theirs.rmdir()
        else:
            scratch.unlink()
            away.rename(scratch)
        wait_for_probe(running, "fio", device, success=True)
        no_defects(running)
        assert running.stop() == 0

    assert reason == "scratch_invalid"
    assert ("not our private directory" if trap == "another-users" else str(database)) in detail
    assert strangers == []
    assert leftovers(place) == []
    assert list(scratch.iterdir()) == []


# -- recordings


def record_refused(place: Path, target: str) -> str:
    """The one line that a daemon ends with which is to record there."""
    done = subprocess.run(
        [sys.executable, "-m", "agent", "run", "--record", target],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(place)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_recording_goes_to_a_new_file_or_nowhere(place: Path) -> None:
    """Devices, pipes and files that exist are told apart in what to do."""
    pipe, old = place / "pipe", place / "old"
    os.mkfifo(pipe)
    old.write_text("precious")

    assert "/dev/full: is no regular file; name a new file" in record_refused(place, "/dev/full")
    assert "is no regular file; name a new file" in record_refused(place, str(pipe))
    assert "exists already" in record_refused(place, str(old))
    assert "No such file or directory" in record_refused(place, str(place / "no/where"))
    assert old.read_text() == "precious"


@needs_volumes
def test_a_recording_on_a_read_only_file_system_is_refused(place: Path, volume: Volume) -> None:
    """In the words of the system."""
    volume.protect()
    assert "Read-only file system" in record_refused(place, str(volume.path / "ticks"))


@needs_volumes
@pytest.mark.parametrize(
    ("leave_bytes", "reason", "remark"),
    [
        (0, "No space left on device|less than 5 %", "incomplete|almost full"),
        (3 * MIB, "less than 5 % of its file system is free", "almost full"),
    ],
    ids=["full", "almost-full"],
)
def test_a_recording_ends_where_the_disk_is_full(
    place: Path, volume: Volume, leave_bytes: int, reason: str, remark: str
) -> None:
    """One log line; the daemon goes on, and what was recorded can be read."""
    database, recording = place / "db", volume.path / "ticks"
    words = ("--config", write_config(place, NO_PROGRAMS), "--db", str(database))
    with writing(database), daemon(place, *words, "--record", str(recording)) as running:
        goes_on(running, database)
        volume.fill(leave_bytes)
        said = wait_for_event(running, "recording_stopped")
        goes_on(running, database)
        no_defects(running)
        volume.make_room()
        replayed = running.smaxd("replay", str(recording))
        assert running.stop() == 0

    assert re.search(reason, said)
    assert replayed.returncode == 0
    assert re.search(remark, replayed.stderr)
