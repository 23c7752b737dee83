"""Parts for tests that break things: whose child is it, what lies around, who is made to fail."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import PATIENCE_SECONDS, ROOT, Daemon, Page

needs_fio = pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change user and mount")

SECONDARY = "secondary_child.py"
SIMULATOR = "simulator_child.py"
FIO = "fio"

DEAF = "trap '' TERM HUP INT; while :; do sleep 0.1; done"
"""What a program does, in shell, that only SIGKILL ends."""

CHILD_POLL_SECONDS = 0.003
"""A secondary of a small database lives for some 100 ms."""


def ticks(page: Page) -> float:
    return page.value("smaxd_ticks_total") or 0.0


def probe(running: Daemon, name: str, target: str | None = None) -> dict[str, Any]:
    """The state of the one probe of this name, or on this target, as ``status`` tells it."""
    probes = [
        state
        for state in running.status().get("probes", ())
        if state["probe"] == name and target in {None, state["target"]}
    ]
    assert len(probes) <= 1, f"{name} is there {len(probes)} times"
    return probes[0] if probes else {}


def failed_with(running: Daemon, name: str, *reasons: str) -> bool:
    """Whether the probe's last run failed, for one of these reasons."""
    state = probe(running, name)
    return state.get("success") is False and state.get("reason") in reasons


def children(pid: int) -> dict[int, str]:
    """Command lines of a process's children, by process id; those that have ended left out."""
    found = {}
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return {}
    for task in tasks:
        try:
            listed = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        except OSError:
            continue  # the thread has ended
        for child in listed:
            try:
                command = Path(f"/proc/{child}/cmdline").read_bytes()
            except OSError:
                continue
            if command:  # a zombie has none
                found[int(child)] = command.replace(b"\0", b" ").decode(errors="replace")
    return found


def names(command: str, program: str) -> bool:
    """Whether a command line is this program's, once the launcher has become it."""
    return (
        command.startswith(f"{program} ") or f"/{program} " in command
    ) and "tied.py" not in command


@dataclass
class Saboteur:
    """What was done to whom."""

    victims: list[int] = field(default_factory=list)


def signalled(number: signal.Signals) -> Callable[[int], None]:
    """What is done to a victim by a signal."""
    return lambda pid: os.kill(pid, number)


@contextmanager
def sabotage(
    parent: int,
    program: str,
    harm: Callable[[int], None],
    ripe: Callable[[int], bool] = lambda _: True,
) -> Iterator[Saboteur]:
    """Until the block ends, ``harm`` every child that runs ``program``, once it is ``ripe``."""
    done = threading.Event()
    saboteur = Saboteur()

    def work() -> None:
        while not done.wait(CHILD_POLL_SECONDS):
            for pid, command in children(parent).items():
                if names(command, program) and pid not in saboteur.victims:
                    try:
                        if not ripe(pid):
                            continue
                        harm(pid)
                    except ProcessLookupError:
                        continue  # it was faster
                    saboteur.victims.append(pid)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield saboteur
    finally:
        done.set()
        thread.join()


def executable(path: Path, script: str) -> Path:
    """Put a shell script there, complete from its first moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(f"#!/bin/sh\n{script}\n")
    beside.chmod(beside.stat().st_mode | stat.S_IXUSR)
    beside.replace(path)
    return path


def path_with(directory: Path) -> str:
    return f"{directory}:{os.environ['PATH']}"


def path_without(program: str) -> str:
    """PATH without the directories that have the program, as on a host without the package."""
    return ":".join(
        directory
        for directory in os.environ["PATH"].split(":")
        if not os.path.exists(os.path.join(directory, program))
    )


@dataclass(frozen=True)
class Interpreter:
    """An interpreter that a test may exchange under a daemon that runs: its children start it."""

    path: Path
    python_path: str

    def restore(self) -> None:
        """Make it the real one."""
        beside = self.path.with_name("new")
        beside.symlink_to(os.path.realpath(sys.executable))
        beside.replace(self.path)

    def replace(self, script: str) -> None:
        """Make it a shell script; ``$REAL`` is the real one."""
        executable(self.path, f"REAL={os.path.realpath(sys.executable)}\n{script}")


def interpreter(place: Path) -> Interpreter:
    """The real one under a name of the test's own."""
    directory = place / "bin"
    directory.mkdir()
    packages = [path for path in sys.path if path.endswith("site-packages")]
    made = Interpreter(directory / "python", ":".join([str(ROOT), *packages]))
    made.restore()
    return made


CALM = """
from agent.probing import host_probing, scheduler
from probes import guard_meters, lookout
# What is not there cannot be multiplied: a patch that has become void ends the program.
host_probing.OPENING_SECONDS *= 0.0
scheduler.STALL_QUIET_SECONDS *= 0.0
scheduler.PRESSURE_UNKNOWN_LIMIT *= 4.0
guard_meters.COLLAPSED_RATIO *= -1.0
guard_meters.PRESSURE_HIGH *= 2.0
lookout.LOOK_PATIENCE_SECONDS *= 60.0
"""
"""Opens the gates of fio, and has its guard look away, on a host that other work keeps busy."""

SITE = f"""
import os, sys, traceback
if "agent" in sys.orig_argv:
    try:
        exec({CALM!r})
    except Exception:
        traceback.print_exc()
        os._exit(70)
"""


def calm_host(place: Path) -> str:
    """The PYTHONPATH of a daemon that finds its host calm: a busy one would keep fio from running.

    Gates and guard have tests of their own; here fio is to run at once, to be disturbed.
    """
    directory = place / "calm"
    directory.mkdir(exist_ok=True)
    (directory / "sitecustomize.py").write_text(SITE)
    return f"{directory}:{ROOT}"


FINISHED_WRITER = """
import sys
from rocksdict import Rdict
database = Rdict(sys.argv[1])
for number in range(1000):
    database[number] = "x" * 200
database.close()
"""


def finished_database(path: Path) -> None:
    """A database of a thousand puts that nobody has open."""
    subprocess.run([sys.executable, "-c", FINISHED_WRITER, str(path)], check=True)


def wait_for_probe(running: Daemon, name: str, target: str, *, success: bool) -> str:
    """Wait until the probe's last run went so, and return its reason."""
    running.wait_until(
        lambda page: page.value("smax_probe_success", probe=name, target=target) == float(success),
        f"{name} of {target} {'succeeds' if success else 'fails'}",
    )
    return str(probe(running, name, target)["reason"])


def has_capacity(page: Page) -> bool:
    """Whether fio has measured. On a busy host S_max may be absent then for want of bandwidth."""
    return bool(page.samples("smax_device_write_capacity_bytes_per_second"))


def wait_for_event(running: Daemon, event: str) -> str:
    """Wait until a line of the log tells of it, and return the last one."""
    running.wait_until(lambda _: running.events(event), event)
    return running.events(event)[-1]


def eventually(condition: Any, what: str) -> None:
    """Ask until it holds, whether or not a daemon runs."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < give_up, f"never: {what}"
        time.sleep(0.02)


def scratch_files(place: Path, but_of: Sequence[int] = ()) -> list[str]:
    """Scratch files and private directories in the daemon's home, but those of some processes."""
    return [
        str(path)
        for path in (place / "home").rglob("*")
        if path.name.startswith(("smaxd-scratch-", "smaxd-secondary-"))
        and path.name.count("-") == 4
        and path.name.split("-")[2] not in map(str, but_of)
    ]
