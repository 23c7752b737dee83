"""A directory that hangs, as of a dead disk, costs only what looks into it.

The disk is a FUSE file system that answers nothing, mounted over the directory: once it is
unmounted, what lies in the directory is there again.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from agent.readings import Known
from agent.recording.recording import open_recording
from tests.integration.daemon import (
    PATIENCE_SECONDS,
    Daemon,
    Page,
    daemon,
    environment,
    leftovers,
    write_config,
    writing,
)
from tests.integration.test_reload import QUIET, reload, watching

ROOT = Path(__file__).parents[2]
CAPTURED = ROOT / "tests" / "data" / "rocksdb" / "v9.8.4"
MNT_DETACH = 2
pytestmark = pytest.mark.slow
IMPATIENT = "probe_timeout_seconds: 0.3\n"

RUN = """
import sys
from probes.command import ProcessGroupRunner
from probes.errors import ProbeFailed
try:
    ProcessGroupRunner().run(["true"], timeout_seconds=0.5, cwd=sys.argv[1])
except ProbeFailed as failure:
    print(failure.reason)
"""

STOP = """
import sys, threading, time
from pathlib import Path
from probes.command import ProcessGroupRunner
runner = ProcessGroupRunner()
threading.Thread(
    target=runner.run, args=(["true"],), kwargs={"timeout_seconds": 600, "cwd": sys.argv[1]},
    daemon=True,
).start()
while not any(tasks.read_text() for tasks in Path("/proc/self/task").glob("*/children")):
    time.sleep(0.01)
runner.cpu_seconds()
runner.stop()
print("stopped")
"""

SCRATCH = """
import os, sys
from probes.scratch import choose_scratch_directory, remove_scratch_directory
hung = os.path.join(sys.argv[1], "db")
here = os.path.dirname(sys.argv[1])
found = choose_scratch_directory(here, None, [here], [hung])
remove_scratch_directory(found)
print(os.path.dirname(found) == here)
"""

THREADS = """
import sys, threading
from agent.patience import Questions, real_paths
from probes.clock import SystemClock
questions = Questions(SystemClock())
for _ in range(3):
    answering = real_paths([sys.argv[1], "/"], questions)
print(answering, threading.active_count())
"""


@contextmanager
def hanging(directory: Path) -> Iterator[None]:
    """Nobody is answered below ``directory`` until the end of the block."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("needs root and FUSE")
    libc = ctypes.CDLL(None)
    device = os.open("/dev/fuse", os.O_RDWR)
    try:
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
        if libc.mount(b"hung", os.fsencode(directory), b"fuse", 0, options.encode()):
            pytest.skip("mounting is not permitted here")
        try:
            yield
        finally:
            libc.umount2(os.fsencode(directory), MNT_DETACH)
    finally:
        os.close(device)  # whoever still waits gets an error now


@pytest.fixture
def hung_directory(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "hung"
    directory.mkdir()
    with hanging(directory):
        yield directory


@pytest.fixture
def dead(place: Path) -> Path:
    """A database that nobody has open, on a disk of its own (its parent) that is yet to die."""
    return Path(shutil.copytree(CAPTURED, place / "disk" / "db"))


def test_a_program_in_a_directory_that_hangs_meets_its_timeout(hung_directory: Path) -> None:
    """The caller is not kept in its start, where no thread of it could do anything."""
    assert printed_by(RUN, hung_directory) == "timeout\n"


def test_a_directory_that_hangs_keeps_nobody_from_ending(hung_directory: Path) -> None:
    """Neither the order to stop nor the end of the process waits for it."""
    assert printed_by(STOP, hung_directory) == "stopped\n"


def test_a_scratch_directory_is_chosen_beside_a_database_that_hangs(hung_directory: Path) -> None:
    """That another disk is dead keeps no fio from this one."""
    assert printed_by(SCRATCH, hung_directory) == "True\n"


def test_what_hangs_is_asked_once_however_often_somebody_wants_to_know(
    hung_directory: Path,
) -> None:
    """Its thread, and no other; whatever answers does so each time."""
    assert printed_by(THREADS, hung_directory) == "['/'] 2\n"


def test_a_database_on_a_dead_disk_costs_only_itself_and_recovers(place: Path, dead: Path) -> None:
    """Not the start, though the scratch files are to lie there, too, nor the end, nor a thread
    with each tick. Once the disk answers the database is there, without a restart."""
    good = place / "good"
    text = IMPATIENT + f"scratch: {dead.parent}\n" + watching(good, dead)
    with writing(good), daemon_on_dead_disk(place, dead, text) as (running, revive):
        timed_out(running, good, dead)
        status, check = running.smaxd("status"), running.smaxd("check")
        threads = threads_that_hang(running)
        ticks_go_on(running, good)
        assert threads_that_hang(running) == threads > 0
        revive()
        running.wait_until(
            lambda page: page.value("smax_probe_success", probe="manifest", target=str(dead)) == 1,
            "the database is read once its disk answers",
        )
        assert running.stop() == 0

    assert "has hung for" in status.stdout
    assert f"{dead}: unknown puts/s, S_max unknown" in check.stdout
    assert len(running.events("database_watched")) == 2
    assert leftovers(place) == []


def test_the_daemon_ends_beside_a_dead_disk(place: Path, dead: Path) -> None:
    """Whatever still looks into it is left behind."""
    good = place / "good"
    text = IMPATIENT + watching(good, dead)
    with writing(good), daemon_on_dead_disk(place, dead, text) as (running, _):
        timed_out(running, good, dead)
        assert running.stop() == 0

    assert leftovers(place) == []


def test_a_database_that_a_reload_adds_may_lie_on_a_dead_disk(place: Path, dead: Path) -> None:
    """The reload takes effect, the others go on, and another reload takes no other thread."""
    good = place / "good"
    with writing(good), daemon_on_dead_disk(place, dead, watching(good)) as (running, _):
        write_config(place, IMPATIENT + watching(good, dead))
        reload(running, "config_reloaded", 1, successful=1.0)
        timed_out(running, good, dead)
        threads = threads_that_hang(running)
        write_config(place, IMPATIENT + watching(good, dead) + "phase: {hold_seconds: 7}\n")
        reload(running, "config_reloaded", 2, successful=1.0)
        timed_out(running, good, dead)
        assert threads_that_hang(running) == threads > 0
        assert running.stop() == 0

    assert leftovers(place) == []


def test_a_running_database_on_a_dead_disk_hides_no_other(place: Path) -> None:
    """The search finds both, the one by its lock alone; ``smaxd discover`` says so."""
    good, dead = place / "good", place / "disk" / "db"
    dead.parent.mkdir()
    printed = place / "printed"
    with writing(good), writing(dead), daemon_on_dead_disk(place, dead, IMPATIENT + QUIET) as it:
        running, revive = it
        timed_out(running, good, dead)
        with (
            printed.open("wb") as file,
            subprocess.Popen(
                [sys.executable, "-m", "agent", "discover"],
                env=environment(running.home),
                stdout=file,
                stderr=file,
            ) as discover,
        ):
            try:
                wait_for_text(printed, f"{dead}, open in process")
            finally:
                revive()
            assert discover.wait(PATIENCE_SECONDS) == 0
        assert running.stop() == 0

    assert f" {good}\n" in printed.read_text()
    assert leftovers(place) == []


def test_the_next_daemon_starts_while_a_dead_disk_keeps_this_one(place: Path) -> None:
    """Who waits for a name that another process is looking up can be ended by nobody: what the
    next one needs is given back all the same."""
    good, dead = place / "good", place / "disk" / "db"
    dead.parent.mkdir()
    text = IMPATIENT + watching(good, dead)
    with writing(good), writing(dead) as owner, ExitStack() as disk:
        disk.enter_context(hanging(dead.parent))
        wait_for_disk(owner)
        with daemon(place, "--config", write_config(place, text)) as running:
            try:
                timed_out(running, good, dead)
                running.process.terminate()
                wait_for_text(running.log_file, " event=stopped")
                with daemon(
                    place / "next",
                    *("--config", write_config(place, text)),
                    STATE_DIRECTORY=str(running.home / "state"),
                ) as following:
                    try:
                        page = timed_out(following, good, dead)
                    finally:
                        disk.close()
            finally:
                disk.close()
            assert running.process.wait(PATIENCE_SECONDS) == 0

    assert following.events("wear_budget_not_kept") == []
    assert "state_in_use" not in page.text


def test_a_state_directory_on_a_dead_disk_is_done_without(place: Path, dead: Path) -> None:
    """The daemon starts, and says that it keeps nothing."""
    good, state = place / "good", dead.parent / "state"
    with writing(good), hanging(dead.parent):
        config = write_config(place, watching(good))
        with daemon(place, "--config", config, STATE_DIRECTORY=str(state)) as running:
            ticks_go_on(running, good)
            assert running.stop() == 0

    assert len(running.events("state_directory_silent")) == 1
    assert running.events("state_not_kept") == []
    assert leftovers(place) == []


def test_a_recording_on_a_dead_disk_begins_once_that_answers(place: Path, dead: Path) -> None:
    """The start waits for nothing of it."""
    good, file = place / "good", dead.parent / "x.rec"
    with writing(good), ExitStack() as disk:
        disk.enter_context(hanging(dead.parent))
        config = write_config(place, watching(good))
        with daemon(place, "--config", config, "--record", str(file)) as running:
            try:
                ticks_go_on(running, good)
            finally:
                disk.close()
            wait_for_text(running.log_file, " event=recording ")
            ticks_go_on(running, good)
            assert running.stop() == 0

    assert len(running.events("recording_silent")) == 1
    recording = open_recording(str(file))
    ticks = list(recording)
    assert any(isinstance(tick.databases[0].wal, Known) for tick in ticks)
    assert recording.end == "stopped"
    assert leftovers(place) == []


def test_a_textfile_on_a_dead_disk_costs_only_itself(place: Path, dead: Path) -> None:
    """At a reload, which waits for nothing of it."""
    good, textfile = place / "good", dead.parent / "smaxd.prom"
    with writing(good), daemon_on_dead_disk(place, dead, watching(good)) as (running, _):
        write_config(place, watching(good) + f"textfile: {{path: {textfile}}}\n")
        reload(running, "config_reloaded", 1, successful=1.0)
        ticks_go_on(running, good)
        assert running.stop() == 0

    assert leftovers(place) == []


@contextmanager
def daemon_on_dead_disk(
    place: Path, dead: Path, text: str
) -> Iterator[tuple[Daemon, Callable[[], None]]]:
    """A daemon that starts while the disk of ``dead`` is; and what revives that.

    It is revived before the daemon is waited for: see the test of the next daemon.
    """
    with ExitStack() as disk:
        disk.enter_context(hanging(dead.parent))
        with daemon(place, "--config", write_config(place, text)) as running:
            try:
                yield running, disk.close
            finally:
                disk.close()


def wait_for_disk(process: subprocess.Popen[bytes]) -> None:
    """Until it waits for a disk, for good."""
    status = Path(f"/proc/{process.pid}/status")
    seen = 0
    give_up = time.monotonic() + PATIENCE_SECONDS
    while seen < 20:
        seen = seen + 1 if "State:\tD" in status.read_text() else 0
        assert time.monotonic() < give_up
        time.sleep(0.05)


def wait_for_text(file: Path, text: str) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while text not in file.read_text():
        assert time.monotonic() < give_up, f"never: {text}\n{file.read_text()}"
        time.sleep(0.05)


def timed_out(running: Daemon, good: Path, dead: Path) -> Page:
    """The page once it says of the one database that it hangs, and has the rate of the other."""
    return running.wait_until(
        lambda page: (
            page.reasons(str(dead)).get("observed_puts_per_second") == "timeout"
            and page.value("smax_observed_puts_per_second", db=str(good)) is not None
        ),
        "the one has timed out, the other has a rate",
    )


def ticks_go_on(running: Daemon, good: Path) -> None:
    """Several ticks pass in which the database is read."""
    puts = 0.0
    for _ in range(4):
        page = running.wait_until(
            partial(more_puts, good, puts), "the other database is read, again and again"
        )
        puts = page.value("smax_puts_total", db=str(good)) or 0.0


def more_puts(database: Path, before: float, page: Page) -> bool:
    return (page.value("smax_puts_total", db=str(database)) or 0.0) > before


def threads_that_hang(running: Daemon) -> int:
    """Those that wait for a disk for good: others do so for a moment only."""
    counts = []
    for _ in range(10):
        states = []
        for task in Path(f"/proc/{running.process.pid}/task").iterdir():
            with suppress(OSError):  # it has just ended
                states.append((task / "status").read_text())
        counts.append(sum("State:\tD" in state for state in states))
        running.page()
    return min(counts)


def printed_by(code: str, directory: Path) -> str:
    argv = [sys.executable, "-c", code, str(directory)]
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    return done.stdout
