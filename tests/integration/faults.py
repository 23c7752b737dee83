"""Parts for tests that break things: whose child is it, what lies around, who is made to fail."""

import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.daemon import PATIENCE_SECONDS, ROOT, Daemon, Page

SECONDARY = "secondary_child.py"
SIMULATOR = "simulator_child.py"
FIO = "fio"

CHILD_POLL_SECONDS = 0.003
"""A secondary of a small database lives for some 100 ms."""


def ticks(page: Page) -> float:
    return page.value("smaxd_ticks_total") or 0.0


def probe(running: Daemon, name: str) -> dict[str, Any]:
    """The state of the one probe of this name, as ``status`` tells it."""
    probes = [state for state in running.status().get("probes", ()) if state["probe"] == name]
    assert len(probes) <= 1, f"{name} is there {len(probes)} times"
    return probes[0] if probes else {}


def failed_with(running: Daemon, name: str, *reasons: str) -> bool:
    """Whether the probe's last run failed, for one of these reasons."""
    state = probe(running, name)
    return state.get("success") is False and state.get("reason") in reasons


def published_still(running: Daemon, database: Path) -> Page:
    """The page five ticks later: what does not depend on any program is there, and moves."""
    before = running.page()
    page = running.wait_until(lambda page: ticks(page) >= ticks(before) + 5, "five more ticks")
    name = str(database)
    puts = page.value("smax_puts_total", db=name)
    assert puts is not None
    assert puts > (before.value("smax_puts_total", db=name) or 0.0)
    for quantity in (
        "smax_observed_puts_per_second",
        "smax_database_size_bytes",
        "smax_live_wal_bytes",
    ):
        assert page.value(quantity, db=name) is not None, quantity
    assert running.get("/healthz") == (200, "ok\n")
    assert running.events("tick_failed") == []
    return page


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


@contextmanager
def sabotage(
    parent: int,
    program: str,
    number: signal.Signals,
    ripe: Callable[[int], bool] = lambda _: True,
) -> Iterator[Saboteur]:
    """Until the block ends, send every child that runs ``program`` a signal once it is ``ripe``."""
    done = threading.Event()
    saboteur = Saboteur()

    def work() -> None:
        while not done.wait(CHILD_POLL_SECONDS):
            for pid, command in children(parent).items():
                if names(command, program) and pid not in saboteur.victims:
                    try:
                        if not ripe(pid):
                            continue
                        os.kill(pid, number)
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
import sys
if "agent" in sys.orig_argv:
    from agent.probing import host_probing, scheduler
    host_probing.OPENING_SECONDS = 0.0
    scheduler.PRESSURE_UNKNOWN_LIMIT = 2.0
"""


def calm_host(place: Path) -> str:
    """The PYTHONPATH of a daemon that finds its host calm: a busy one would close fio's gates.

    The gates have tests of their own; here fio is to run at once, to be disturbed.
    """
    directory = place / "calm"
    directory.mkdir(exist_ok=True)
    (directory / "sitecustomize.py").write_text(CALM)
    return f"{directory}:{ROOT}"


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
