"""The shipped Alertmanager configuration in a real Alertmanager: what is told, and to whom."""

import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import PATIENCE_SECONDS, process

FILE = Path(__file__).parents[2] / "configs" / "alertmanager" / "alertmanager.yml"
PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="alertmanager is not installed"),
]

Labels = dict[str, str]
HOST = {"job": "smaxd", "instance": "db1:10390"}
DATABASE = {**HOST, "db": "orders", "device": "nvme0n1"}
NEIGHBOUR = {**HOST, "db": "users", "device": "nvme0n1"}
ELSEWHERE = {**DATABASE, "instance": "db2:10390"}
DEVICE = {**HOST, "device": "nvme0n1"}
CRITICAL = {
    "RocksdbWriteStopped",
    "RocksdbBackgroundError",
    "SmaxAgentDown",
}


def alert(name: str, subject: Labels, **more: str) -> Labels:
    severity = "critical" if name in CRITICAL else "warning"
    return {"alertname": name, "severity": severity, **subject, **more}


LOW = "RocksdbWriteHeadroomLow"
CASES: list[tuple[str, Labels, Labels, bool]] = [
    (
        "critical headroom instead of the warning",
        alert(LOW, DATABASE, severity="critical"),
        alert(LOW, DATABASE),
        True,
    ),
    (
        "but not instead of the neighbour's",
        alert(LOW, DATABASE, severity="critical"),
        alert(LOW, NEIGHBOUR),
        False,
    ),
    (
        "stopped instead of delayed",
        alert("RocksdbWriteStopped", DATABASE),
        alert("RocksdbWriteDelayed", DATABASE),
        True,
    ),
    (
        "stopped instead of predicted",
        alert("RocksdbWriteStopped", DATABASE),
        alert("RocksdbWriteStallPredicted", DATABASE),
        True,
    ),
    (
        "stopped, but not on another host",
        alert("RocksdbWriteStopped", ELSEWHERE),
        alert("RocksdbWriteDelayed", DATABASE),
        False,
    ),
    (
        "delayed instead of predicted",
        alert("RocksdbWriteDelayed", DATABASE),
        alert("RocksdbWriteStallPredicted", DATABASE),
        True,
    ),
    (
        "predicted never instead of delayed",
        alert("RocksdbWriteStallPredicted", DATABASE),
        alert("RocksdbWriteDelayed", DATABASE),
        False,
    ),
    (
        "the error instead of the stop",
        alert("RocksdbBackgroundError", DATABASE),
        alert("RocksdbWriteStopped", DATABASE),
        True,
    ),
    (
        "the sick device instead of the headroom it costs",
        alert("SsdWriteBandwidthDegraded", DEVICE),
        alert(LOW, NEIGHBOUR),
        True,
    ),
    (
        "the sick device, but not instead of what is critical",
        alert("SsdWriteBandwidthDegraded", DEVICE),
        alert(LOW, NEIGHBOUR, severity="critical"),
        False,
    ),
    (
        "the sick device, but not instead of databases on another",
        alert("SsdWriteBandwidthDegraded", DEVICE),
        alert(LOW, {**NEIGHBOUR, "device": "sda"}),
        False,
    ),
    (
        "the failing probe instead of the missing prediction",
        alert("SmaxProbeFailing", {**HOST, "db": "orders"}),
        alert("SmaxPredictionStale", DATABASE),
        True,
    ),
    (
        "a failing probe of the host says nothing of a database",
        alert("SmaxProbeFailing", HOST),
        alert("SmaxPredictionStale", DATABASE),
        False,
    ),
    (
        "the agent that is down instead of everything that was seen by it",
        alert("SmaxAgentDown", HOST),
        alert("RocksdbWriteStopped", DATABASE),
        True,
    ),
    (
        "but what an agent says that Prometheus cannot reach is heard",
        alert("SmaxAgentDown", HOST),
        alert("RocksdbWriteStopped", DATABASE, source="smaxd"),
        False,
    ),
    (
        "no target at all says nothing of a host",
        alert("SmaxAgentDown", {"job": "smaxd"}),
        alert("RocksdbWriteStopped", DATABASE),
        False,
    ),
    (
        "Prometheus's alert instead of the agent's copy, whatever device that knows",
        alert(LOW, DATABASE),
        alert(LOW, {**HOST, "db": "orders"}, source="smaxd"),
        True,
    ),
    (
        "but not of another severity",
        alert(LOW, DATABASE),
        alert(LOW, DATABASE, severity="critical", source="smaxd"),
        False,
    ),
    (
        "nor of another database",
        alert(LOW, NEIGHBOUR),
        alert(LOW, DATABASE, source="smaxd"),
        False,
    ),
    (
        "a device's copy by its device",
        alert("SsdWriteBandwidthDegraded", DEVICE),
        alert("SsdWriteBandwidthDegraded", DEVICE, source="smaxd"),
        True,
    ),
    (
        "a device's copy, but of another device",
        alert("SsdWriteBandwidthDegraded", {**HOST, "device": "sda"}),
        alert("SsdWriteBandwidthDegraded", DEVICE, source="smaxd"),
        False,
    ),
    (
        "a copy never instead of the original",
        alert(LOW, DATABASE, source="smaxd"),
        alert(LOW, DATABASE),
        False,
    ),
    (
        "nor one copy instead of another",
        alert(LOW, DATABASE, source="smaxd"),
        alert(LOW, {**DATABASE, "device": "sda"}, source="smaxd"),
        False,
    ),
]


class Alertmanager:
    """A running one, and what it sent to each receiver."""

    def __init__(self, port: int, told: list[tuple[str, dict[str, Any]]]) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self.told = told

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=5):  # noqa: S310 - our own
                return True
        except OSError:
            return False

    def post(self, *alerts: Labels) -> None:
        """Fire these."""
        body = json.dumps([{"labels": labels, "annotations": {}} for labels in alerts]).encode()
        request = urllib.request.Request(  # noqa: S310 - our own
            f"{self._url}/api/v2/alerts", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310 - our own
            pass

    def inhibited(self, labels: Labels) -> bool:
        """Whether an alert with exactly these labels is there and inhibited."""
        with urllib.request.urlopen(f"{self._url}/api/v2/alerts", timeout=5) as answer:  # noqa: S310 - our own
            alerts = json.load(answer)
        found = [one for one in alerts if one["labels"] == labels]
        assert len(found) == 1, f"{labels} is there {len(found)} times"
        return bool(found[0]["status"]["inhibitedBy"])


@contextmanager
def alertmanager(place: Path) -> Iterator[Alertmanager]:
    """With the shipped configuration, told to be quick and to send to us."""
    told: list[tuple[str, dict[str, Any]]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            told.append((self.path.strip("/"), json.loads(self.rfile.read(length))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        thread = threading.Thread(target=receiver.serve_forever)
        thread.start()
        text = FILE.read_text().replace("127.0.0.1:9099", f"127.0.0.1:{receiver.server_port}")
        text = re.sub(r"group_wait: \d+s", "group_wait: 1s", text)
        (place / "alertmanager.yml").write_text(text)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        try:
            with (
                (place / "alertmanager.log").open("wb") as log,
                process(
                    [
                        str(PROGRAM),
                        f"--config.file={place}/alertmanager.yml",
                        f"--storage.path={place}/data",
                        f"--web.listen-address=127.0.0.1:{port}",
                        "--cluster.listen-address=",
                    ],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=place,
                ),
            ):
                running = Alertmanager(port, told)
                give_up = time.monotonic() + PATIENCE_SECONDS
                while not running.ready():
                    assert time.monotonic() < give_up, (place / "alertmanager.log").read_text()
                    time.sleep(0.1)
                yield running
        finally:
            receiver.shutdown()
            thread.join()


def on_a_host_of_its_own(number: int, labels: Labels) -> Labels:
    return {
        name: f"{value}-{number}" if name == "instance" else value for name, value in labels.items()
    }


def test_each_alert_is_told_instead_of_what_follows_from_it(place: Path) -> None:
    """Every inhibition, and the cases next to it in which nothing may be hidden."""
    cases = [
        (what, on_a_host_of_its_own(number, source), on_a_host_of_its_own(number, target), hidden)
        for number, (what, source, target, hidden) in enumerate(CASES)
    ]
    with alertmanager(place) as running:
        # Alertmanager takes them in this order: when the last are hidden, it knows of all.
        for _, source, target, _ in sorted(cases, key=lambda case: case[3]):
            running.post(source, target)
        give_up = time.monotonic() + PATIENCE_SECONDS
        while wrong := [
            what
            for what, source, target, hidden in cases
            if running.inhibited(target) != hidden or (hidden and running.inhibited(source))
        ]:
            assert time.monotonic() < give_up, wrong
            time.sleep(0.2)

    assert {hidden for *_, hidden in cases} == {True, False}


def test_a_sick_disk_is_one_notification_and_copies_are_none(place: Path) -> None:
    """Critical alerts reach those on call, warnings the team, each group once."""
    sick = alert("SsdWriteBandwidthDegraded", DEVICE)
    debts = [alert("RocksdbCompactionDebtGrowing", one) for one in (DATABASE, NEIGHBOUR)]
    hidden = alert(LOW, NEIGHBOUR)
    copy = alert("SsdWriteBandwidthDegraded", DEVICE, source="smaxd")
    stopped = alert("RocksdbWriteStopped", DATABASE)
    with alertmanager(place) as running:
        running.post(sick, *debts, hidden, copy, stopped)
        give_up = time.monotonic() + PATIENCE_SECONDS
        while len(running.told) < 2:
            assert time.monotonic() < give_up, f"told: {running.told}"
            time.sleep(0.1)
    by_receiver = {
        receiver: sorted(
            (one["labels"] for one in body["alerts"]), key=lambda labels: sorted(labels.items())
        )
        for receiver, body in running.told
    }
    team = sorted([sick, *debts], key=lambda labels: sorted(labels.items()))

    assert len(running.told) == 2
    assert by_receiver == {"on-call": [stopped], "database-team": team}
