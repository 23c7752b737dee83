"""The real daemon below a service manager's socket: what it says from its start to its end."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import (
    PATIENCE_SECONDS,
    Daemon,
    daemon,
    write_config,
    writing,
)

QUIET = (
    "fio: {enabled: false}\nsecondary: {enabled: false}\ndiscovery: {enabled: false}\n"
    "probe_timeout_seconds: 0.1\n"
)
WATCHDOG_USEC = "2000000"
FED_EVERY_SECONDS = 1.0


class Manager:
    """A service manager's end of the socket, with all that was ever said, line by line."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self.lines: list[str] = []

    def wait_for(self, begin: str, times: int = 1) -> list[str]:
        """Listen until so many lines that begin like this were said; returns them."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while len(found := [line for line in self.lines if line.startswith(begin)]) < times:
            self._socket.settimeout(max(0.01, give_up - time.monotonic()))
            try:
                self.lines += self._socket.recv(65536).decode().split("\n")
            except TimeoutError:
                pytest.fail(f"{begin} was not said {times} times: {self.lines}")
        return found

    def listen(self, seconds: float) -> list[str]:
        """What is said within so long."""
        until, heard = time.monotonic() + seconds, []
        while (left := until - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                heard += self._socket.recv(65536).decode().split("\n")
            except TimeoutError:
                break
        self.lines += heard
        return heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(place: Path) -> Iterator[Manager]:
    one = Manager(place / "notify")
    yield one
    one.close()


def reload(running: Daemon, manager: Manager, times: int) -> None:
    running.process.send_signal(signal.SIGHUP)
    manager.wait_for("RELOADING=1", times)
    manager.wait_for("READY=1", times + 1)


def test_a_life_as_its_manager_sees_it(place: Path, manager: Manager) -> None:
    """Ready with a page to scrape; reloads, good and bad, that end; an end that is announced."""
    database = place / "db"
    config = write_config(place, QUIET + f"databases: [{{path: {database}}}]\n")
    with (
        writing(database),
        daemon(place, "--config", config, NOTIFY_SOCKET=manager.path) as running,
    ):
        manager.wait_for("READY=1")
        assert running.get("/metrics")[0] == 200
        assert running.page().value("smaxd_config_last_reload_successful") == 1.0
        assert manager.wait_for("STATUS=1 database")
        assert manager.lines[0].startswith("EXTEND_TIMEOUT_USEC=")

        write_config(place, QUIET)
        reload(running, manager, 1)
        assert len(running.events("config_reloaded")) == 1
        write_config(place, "fio: {mode: brave}\n")
        reload(running, manager, 2)
        (refused,) = manager.wait_for("STATUS=the configuration on disk is refused")
        assert refused.endswith("no database is watched")
        stamps = [int(line.partition("=")[2]) for line in manager.wait_for("MONOTONIC_USEC=", 2)]
        assert stamps == sorted(stamps)
        assert stamps[-1] <= time.monotonic_ns() // 1000

        assert running.stop() == 0
        manager.wait_for("STOPPING=1")
        assert manager.lines.count("READY=1") == 3
        assert "WATCHDOG=1" not in manager.lines


def hang_by_configuration(place: Path, running: Daemon, manager: Manager) -> None:
    """Its loop waits for a file that nobody ever writes: as on a dead network file system."""
    config = place / "smaxd.yaml"
    config.unlink()
    os.mkfifo(config)
    running.process.send_signal(signal.SIGHUP)
    manager.wait_for("RELOADING=1")


def stop_the_process(_: Path, running: Daemon, __: Manager) -> None:
    running.process.send_signal(signal.SIGSTOP)


@pytest.mark.slow
@pytest.mark.parametrize("hang", [hang_by_configuration, stop_the_process])
def test_the_watchdog_is_fed_while_ticks_advance_and_starves_when_they_do_not(
    place: Path, manager: Manager, hang: Callable[[Path, Daemon, Manager], None]
) -> None:
    """A loop that hangs while the main thread and the listener live; and a process that is stopped.

    The watchdog's SIGABRT, sent here as systemd would, then tells where the loop hangs.
    """
    config = write_config(place, QUIET)
    with daemon(
        place, "--config", config, NOTIFY_SOCKET=manager.path, WATCHDOG_USEC=WATCHDOG_USEC
    ) as running:
        manager.wait_for("WATCHDOG=1", 3)
        hang(place, running, manager)
        give_up = time.monotonic() + PATIENCE_SECONDS
        # What was due before the last tick became too old is still fed.
        while "WATCHDOG=1" in manager.listen(3 * FED_EVERY_SECONDS):
            assert time.monotonic() < give_up, "the watchdog is fed though nothing ticks"

        running.process.send_signal(signal.SIGABRT)
        running.process.send_signal(signal.SIGCONT)
        # Python reads the other threads' frames while they run, and may stumble over one (seen
        # once in some hundred runs): that is a failure to systemd, too, and it starts us again.
        assert running.process.wait(20) in (-signal.SIGABRT, -signal.SIGSEGV)
        assert 'agent/loop.py"' in running.log_file.read_text()
