"""The faults of the other tests as a table, to be had several at a time.

    with FAULTS["moved"].begin(stage), FAULTS["fio_killed"].begin(stage):  # until the block ends
        ...

Each is one way to harm one ``part`` of what the daemon lives on; two of the same part are not had
at a time.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.integration.daemon import Daemon
from tests.integration.demands import RECOMMENDED
from tests.integration.fault_stage import SETTINGS, Stage
from tests.integration.faults import (
    FIO,
    SECONDARY,
    children,
    executable,
    failed_with,
    names,
    sabotage,
    signalled,
)

ROTATIONS: Final = 15
CLIENTS: Final = 60
INVALID: Final = "fio: {mode: brave}\n"
NO_PROGRAMS: Final = "fio: {enabled: false}\nsecondary: {enabled: false}\n"
RELOADED: Final = "smaxd_config_last_reload_successful"
MISBEHAVIOUR: Final = (
    b"",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000,
    b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20,
    bytes(range(256)),
)
"""What clients send that then neither read nor go."""

Begin = Callable[[Stage], AbstractContextManager[None]]


def of_children(program: str, number: signal.Signals) -> Begin:
    """Signal every child that runs a program, of the daemon that runs now."""

    @contextmanager
    def begin(stage: Stage) -> Iterator[None]:
        with sabotage(stage.running.process.pid, program, signalled(number)):
            yield

    return begin


@contextmanager
def fio_garbage(stage: Stage) -> Iterator[None]:
    imposter = executable(stage.programs / FIO, "echo this is not JSON")
    yield
    imposter.unlink()


@contextmanager
def state_full(stage: Stage) -> Iterator[None]:
    stage.volume.fill()
    yield
    stage.volume.make_room()


@contextmanager
def state_read_only(stage: Stage) -> Iterator[None]:
    """As far as files are made and replaced: a history that is open keeps the mount writable."""
    subprocess.run(["chattr", "+i", str(stage.state)], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(stage.state)], check=True)


@contextmanager
def state_removed(stage: Stage) -> Iterator[None]:
    away = stage.state.rename(stage.volume.path / "away")
    shutil.rmtree(away)
    yield
    stage.state.mkdir(mode=0o700, exist_ok=True)  # a daemon that starts makes it


@contextmanager
def closed(stage: Stage) -> Iterator[None]:
    stage.owner.do("close")
    yield
    stage.owner.do("open", *SETTINGS)


@contextmanager
def crashed(stage: Stage) -> Iterator[None]:
    os.kill(stage.owner.pid, signal.SIGKILL)
    yield
    stage.own()


@contextmanager
def moved(stage: Stage) -> Iterator[None]:
    away = stage.database.rename(stage.place / "moved")
    yield
    away.rename(stage.database)


@contextmanager
def destroyed(stage: Stage) -> Iterator[None]:
    shutil.rmtree(stage.database)
    yield
    stage.own()


@contextmanager
def log_rotated(stage: Stage) -> Iterator[None]:
    for _ in range(ROTATIONS):
        stage.owner.do("flush")
    yield
    for _ in range(ROTATIONS):
        stage.owner.do("flush")


@contextmanager
def families(stage: Stage) -> Iterator[None]:
    for name in ("later", "last"):
        stage.owner.do("add", name)
    stage.owner.do("flush")
    yield
    for name in ("last", "later"):
        stage.owner.do("drop", name)


@contextmanager
def suspended(stage: Stage) -> Iterator[None]:
    process = stage.running.process
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@contextmanager
def killed(stage: Stage) -> Iterator[None]:
    stage.kill()
    yield
    stage.restart()


@contextmanager
def invalid_file(stage: Stage) -> Iterator[None]:
    stage.reload(INVALID)
    stage.running.wait_until(lambda page: page.value(RELOADED) == 0.0, "it is refused")
    yield
    stage.reload_first()


@contextmanager
def unwatched(stage: Stage) -> Iterator[None]:
    stage.reload(stage.configuration(stage.other))
    yield
    stage.reload_first()


@contextmanager
def switched_off(stage: Stage) -> Iterator[None]:
    stage.reload(stage.configuration(stage.database, stage.other, more=NO_PROGRAMS))
    yield
    stage.reload_first()


@contextmanager
def paused(stage: Stage) -> Iterator[None]:
    words = ("--state", str(stage.state))
    done = stage.running.smaxd("pause", "10m", *words)
    assert done.returncode in {0, 1}, done.stderr  # 1: the directory cannot be written to
    yield
    done = stage.running.smaxd("resume", *words)
    assert done.returncode == 0, done.stderr


@contextmanager
def bad_clients(stage: Stage) -> Iterator[None]:
    host, _, port = stage.running.address.rpartition(":")
    with ExitStack() as clients:
        for number in range(CLIENTS):
            try:
                client = clients.enter_context(socket.create_connection((host, int(port)), 1))
                client.setblocking(False)
                client.send(MISBEHAVIOUR[number % len(MISBEHAVIOUR)])
            except OSError:
                continue  # it makes room for others, or is not there
        yield


OF_FILES: Final = ("observed_puts_per_second", RECOMMENDED)
MISSING: Final = frozenset({"database_missing", "path_missing"})


@dataclass(frozen=True)
class Fault:
    """``gone`` are the quantities of the database that are absent while it lasts, for one of
    ``reasons``; a fault that leaves the numbers of now in force has none. ``met``: whether it has
    met what it is for, which it may not ``under`` others."""

    part: str
    begin: Begin
    gone: tuple[str, ...] = ()
    reasons: frozenset[str] = frozenset()
    met: Callable[[Daemon], object] = lambda _: True
    under: frozenset[str] = frozenset()


FIO_RESTS: Final = frozenset({"paused", "switched_off", "moved", "destroyed"})
"""Under these no run is asked for."""

NOTHING_KEPT: Final = frozenset({"state_full", "state_read_only", "state_removed"})
"""Under these none is allowed."""


def fails_with(reason: str) -> Callable[[Daemon], bool]:
    return lambda running: failed_with(running, FIO, reason)


def fio_hangs(running: Daemon) -> bool:
    """A child that is stopped."""
    return any(
        names(command, FIO) and state_of(pid) == "T"
        for pid, command in children(running.process.pid).items()
    )


def nothing_is_spent(running: Daemon) -> object:
    """A run was wanted, and could not be put on record."""
    return running.page().samples("smaxd_fio_gate_closed", reason="budget_not_kept")


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""  # it has ended


def fio_fault(begin: Begin, met: Callable[[Daemon], object]) -> Fault:
    return Fault("fio", begin, met=met, under=FIO_RESTS | NOTHING_KEPT)


def state_fault(begin: Begin) -> Fault:
    return Fault("state", begin, met=nothing_is_spent, under=FIO_RESTS)


FAULTS: Final = {
    "fio_killed": fio_fault(of_children(FIO, signal.SIGKILL), fails_with("fio_killed")),
    "fio_stopped": fio_fault(of_children(FIO, signal.SIGSTOP), fio_hangs),
    "fio_garbage": fio_fault(fio_garbage, fails_with("fio_garbage")),
    "secondary_killed": Fault(
        "secondary",
        of_children(SECONDARY, signal.SIGKILL),
        ("estimated_keys",),
        frozenset({"killed"}),
    ),
    "secondary_stopped": Fault(
        "secondary",
        of_children(SECONDARY, signal.SIGSTOP),
        ("estimated_keys",),
        frozenset({"timeout"}),
    ),
    "state_full": state_fault(state_full),
    "state_read_only": state_fault(state_read_only),
    "state_removed": state_fault(state_removed),
    "closed": Fault("database", closed, ("cpu_cores",), frozenset({"not_open"})),
    "crashed": Fault("database", crashed, ("cpu_cores",), frozenset({"not_open"})),
    "moved": Fault("database", moved, OF_FILES, MISSING),
    "destroyed": Fault("database", destroyed, OF_FILES, MISSING),
    "log_rotated": Fault("database", log_rotated),
    "families": Fault("database", families),
    "suspended": Fault("daemon", suspended),
    "killed": Fault("daemon", killed),
    "invalid_file": Fault("file", invalid_file),
    "unwatched": Fault("file", unwatched),
    "switched_off": Fault("file", switched_off, ("estimated_keys",), frozenset({"disabled"})),
    "paused": Fault("pause", paused),
    "bad_clients": Fault("clients", bad_clients),
}

APART: Final = (
    # A daemon that is started with such a file or directory says what is wrong and ends.
    {"killed", "invalid_file"},
    {"killed", "state_read_only"},
)
"""What is not had together, besides two faults of one part."""


def draw(choose: random.Random, count: int) -> list[str]:
    """So many faults that can be had together, in the order in which they come."""
    while True:
        drawn = choose.sample(sorted(FAULTS), count)
        parts = {FAULTS[name].part for name in drawn}
        if len(parts) == count and not any(pair <= set(drawn) for pair in APART):
            return drawn


def healing_order(choose: random.Random, drawn: Sequence[str]) -> list[str]:
    """Any; only a pause cannot be ended where its file cannot be removed."""
    shuffled = choose.sample(drawn, len(drawn))
    return sorted(shuffled, key=lambda name: name == "paused")
