"""Talking to a service manager: real datagram sockets, real messages."""

import dataclasses
import faulthandler
import os
import secrets
import shutil
import socket
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import structlog
from structlog.testing import LogCapture

from agent.http import HttpServer, application
from agent.loop import Logger, Published
from agent.reload_plan import ConfigLoad
from agent.snapshot import Snapshot
from agent.systemd import ServiceManager
from tests.unit.snapshots import AT, TICK_SECONDS, FixedClock, snapshot

PROBE_TIMEOUT_SECONDS = 5.0


class Manager:
    """The other end of the socket."""

    def __init__(self, address: str) -> None:
        self.environ = {"NOTIFY_SOCKET": address}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[list[str]]:
        """The datagrams that have arrived, each as its lines."""
        datagrams = []
        while True:
            try:
                datagrams.append(self._socket.recv(65536).decode().split("\n"))
            except BlockingIOError:
                return datagrams

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def directory() -> Iterator[Path]:
    """A path short enough for a socket's name, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="smaxd-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, directory: Path) -> Iterator[Manager]:
    abstract = f"@smaxd-test-{secrets.token_hex(8)}"
    one = Manager(abstract if request.param == "abstract" else str(directory / "notify"))
    yield one
    one.close()


@pytest.fixture
def lines() -> LogCapture:
    return LogCapture()


@pytest.fixture
def log(lines: LogCapture) -> Logger:
    return cast(Logger, structlog.wrap_logger(None, processors=[lines]))


def quiet() -> Snapshot:
    return dataclasses.replace(snapshot(), databases=(), hidden_databases=0, alerts=())


def published() -> Published:
    """With one snapshot of the time AT."""
    one = Published()
    one.put(quiet(), 0.1)
    one.config_load = ConfigLoad(True, 0.0)
    return one


def look(service: ServiceManager, what: Published, now: float = AT) -> None:
    service.look(what, now, serving=True, probe_timeout_seconds=PROBE_TIMEOUT_SECONDS)


def test_a_life_is_told_in_the_words_of_sd_notify(manager: Manager, log: Logger) -> None:
    """Start, ready, reload, ready again, end; over a path and an abstract address alike."""
    service, what = ServiceManager(manager.environ, log), published()
    service.starting(PROBE_TIMEOUT_SECONDS)
    look(service, Published())
    look(service, what)
    service.reloading(what, AT + 1)
    look(service, what, AT + 1.5)
    what.config_load = ConfigLoad(True, 2.0)
    look(service, what, AT + 2)
    service.stopping()

    assert manager.heard() == [
        ["EXTEND_TIMEOUT_USEC=30000000", "STATUS=starting: the first tick is under way"],
        ["READY=1", "STATUS=no database is watched"],
        ["RELOADING=1", f"MONOTONIC_USEC={int((AT + 1) * 1e6)}"],
        ["READY=1"],
        ["STOPPING=1", "STATUS=stopping"],
    ]


def test_a_reload_before_it_is_ready_does_not_make_it_so(manager: Manager, log: Logger) -> None:
    """A reload ends with READY=1, which would be taken for the first one."""
    service, what = ServiceManager(manager.environ, log), Published()
    what.config_load = ConfigLoad(True, 0.0)
    service.reloading(what, AT)
    what.config_load = ConfigLoad(True, 1.0)
    look(service, what)

    assert manager.heard() == []


@pytest.mark.parametrize(
    ("late_seconds", "fed"),
    [
        (TICK_SECONDS, True),
        (3 * TICK_SECONDS + 3 * PROBE_TIMEOUT_SECONDS, True),  # every probe of a tick hangs
        (3 * TICK_SECONDS + 3 * PROBE_TIMEOUT_SECONDS + 16, False),  # the loop does
    ],
)
def test_slow_probes_feed_the_watchdog_and_a_hanging_loop_does_not(
    directory: Path, log: Logger, late_seconds: float, fed: bool
) -> None:
    """It is the age of the last tick that counts."""
    manager = Manager(str(directory / "notify"))
    environ = {**manager.environ, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}
    service, what = ServiceManager(environ, log), published()
    look(service, what)
    manager.heard()

    look(service, what, AT + late_seconds)

    assert (["WATCHDOG=1"] in manager.heard()) is fed
    manager.close()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"},  # another process's
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": ""},
    ],
)
def test_a_watchdog_that_is_not_ours_is_not_fed(
    directory: Path, log: Logger, environ: dict[str, str]
) -> None:
    """Nor one that is not there."""
    manager = Manager(str(directory / "notify"))
    service, what = ServiceManager({**manager.environ, **environ}, log), published()
    look(service, what)
    look(service, what, AT + 10)

    assert manager.heard() == [["READY=1", "STATUS=no database is watched"]]
    manager.close()


def test_a_watchdog_of_ours_has_the_threads_shown_when_it_kills(
    directory: Path, log: Logger
) -> None:
    """SIGABRT alone would tell nothing of where the loop hangs."""
    was_enabled = faulthandler.is_enabled()
    faulthandler.disable()
    try:
        ServiceManager({"NOTIFY_SOCKET": str(directory / "n"), "WATCHDOG_USEC": "2000000"}, log)

        assert faulthandler.is_enabled()
    finally:
        if not was_enabled:
            faulthandler.disable()


def test_a_manager_that_cannot_be_reached_is_told_of_once_and_told_all_when_it_is_back(
    directory: Path, log: Logger, lines: LogCapture
) -> None:
    """The daemon goes on meanwhile."""
    address = str(directory / "notify")
    service, what = ServiceManager({"NOTIFY_SOCKET": address}, log), published()
    look(service, what)
    look(service, what, AT + 1)

    assert [(line["event"], line["socket"]) for line in lines.entries] == [
        ("service_manager_unreachable", address)
    ]
    manager = Manager(address)
    look(service, what, AT + 2)
    assert manager.heard() == [["READY=1", "STATUS=no database is watched"]]
    manager.close()


def test_a_listener_serves_from_its_start_to_its_end() -> None:
    """Neither before nor after that is the daemon ready, or its watchdog fed."""
    server = HttpServer(application(Published(), FixedClock()), "127.0.0.1", 0)
    before = server.serving
    server.start()
    while not server.serving:
        time.sleep(0.01)
    with urllib.request.urlopen(f"http://{server.address}/healthz") as answer:
        assert answer.status == 200
    server.stop()

    assert (before, server.serving) == (False, False)


def test_without_a_manager_nothing_is_sent_and_nothing_is_said(
    log: Logger, lines: LogCapture
) -> None:
    """In a terminal, or below another kind of supervisor."""
    service, what = ServiceManager({}, log), published()
    service.starting(PROBE_TIMEOUT_SECONDS)
    look(service, what)
    service.reloading(what, AT)
    service.stopping()

    assert lines.entries == []
