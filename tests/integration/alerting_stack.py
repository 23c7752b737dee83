"""A real Prometheus and a real Alertmanager with the shipped rules and routes, only faster."""

import json
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.integration.daemon import ROOT, process, wait_for
from tests.unit.http_receiver import Receiver

FLUSH_BYTES_PER_SECOND = 2048
"""Two memtables of 256 KiB take minutes to be written: until then RocksDB stops all writes."""

WRITER = """
import os, sys, time
from rocksdict import Options, Rdict
options = Options()
options.create_if_missing(True)
options.set_write_buffer_size(256 * 1024)
options.set_max_write_buffer_number(2)
if sys.argv[2] == "stopped":
    options.set_ratelimiter(int(sys.argv[3]), 100_000, 10)
database = Rdict(sys.argv[1], options)
number = 0
while True:
    database[number % 100_000] = os.urandom(500)
    number += 1
    if sys.argv[2] != "stopped":
        time.sleep(0.01)
"""


@contextmanager
def writes(database: Path, *, stopped: bool) -> Iterator[None]:
    """A database whose writes RocksDB stops, or one that flows, until the end of the block."""
    mode = "stopped" if stopped else "flowing"
    argv = [sys.executable, "-c", WRITER, str(database), mode, str(FLUSH_BYTES_PER_SECOND)]
    with process(argv) as writer:
        wait_for(database / "CURRENT", writer)
        yield


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@dataclass(frozen=True)
class Program:
    """One that answers questions over HTTP."""

    url: str
    log_file: Path

    def ask(self, path: str, **words: str) -> Any:
        """The JSON of an answer; None while there is none."""
        query = f"?{urllib.parse.urlencode(words)}" if words else ""
        try:
            with urllib.request.urlopen(self.url + path + query, timeout=5) as response:  # noqa: S310 - our own program
                return json.load(response)
        except OSError:
            return None

    def wait_ready(self, path: str) -> None:
        """Wait until it serves."""

        def answers() -> bool:
            try:
                with urllib.request.urlopen(self.url + path, timeout=5) as response:  # noqa: S310 - as above
                    return bool(response.status == 200)
            except OSError:
                return False

        wait_until(answers, f"{self.url} is ready: {self.log_file}")


@contextmanager
def alertmanager(place: Path, receiver: Receiver) -> Iterator[Program]:
    """One with the shipped routes and inhibitions, whose groups wait seconds and not minutes."""
    config = yaml.safe_load((ROOT / "configs/alertmanager/alertmanager.yml").read_text())
    for route in (config["route"], *config["route"]["routes"]):
        route["group_wait"], route["group_interval"] = "1s", "3s"
    for one in config["receivers"]:
        for hook in one.get("webhook_configs", ()):
            hook["url"] = f"{receiver.url}/{one['name']}"
    (place / "alertmanager.yml").write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{free_port()}"
    argv = [
        "prometheus-alertmanager",
        f"--config.file={place}/alertmanager.yml",
        f"--storage.path={place}/alertmanager",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--cluster.listen-address=",
    ]
    with _running(argv, place / "alertmanager.log"):
        program = Program(url, place / "alertmanager.log")
        program.wait_ready("/-/ready")
        yield program


@contextmanager
def prometheus(place: Path, target: str, instance: str, alerts_to: str) -> Iterator[Program]:
    """One with the shipped rules, which scrapes ``target`` and evaluates every second."""
    config = yaml.safe_load((ROOT / "configs/prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [f"{ROOT}/configs/prometheus/rules/smaxd-*.yml"]
    config["alerting"] = {
        "alertmanagers": [
            {"static_configs": [{"targets": [alerts_to.removeprefix("http://")]}]},
        ]
    }
    config["scrape_configs"] = [
        {
            "job_name": "smaxd",
            "static_configs": [{"targets": [target], "labels": {"instance": instance}}],
        }
    ]
    (place / "prometheus.yml").write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{free_port()}"
    argv = [
        "prometheus",
        f"--config.file={place}/prometheus.yml",
        f"--storage.tsdb.path={place}/prometheus",
        f"--web.listen-address={url.removeprefix('http://')}",
    ]
    with _running(argv, place / "prometheus.log"):
        program = Program(url, place / "prometheus.log")
        program.wait_ready("/-/ready")
        yield program


@contextmanager
def _running(argv: list[str], log_file: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log_file.open("ab") as log,
        process(argv, stdout=log, stderr=subprocess.STDOUT, cwd=log_file.parent) as running,
    ):
        yield running


def wait_until(holds: Callable[[], object], what: str, seconds: float = 120.0) -> None:
    """Wait for what several programs are going to bring about together."""
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, f"never: {what}"
        time.sleep(0.2)
