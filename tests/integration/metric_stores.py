"""A real Prometheus and a real VictoriaMetrics, by the HTTP API that both speak."""

import json
import math
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.daemon import PATIENCE_SECONDS, process

Series = dict[str, Any]
VICTORIA_METRICS = "victoria-metrics"


@dataclass(frozen=True)
class Store:
    """A running one."""

    address: str
    pid: int

    def get(self, path: str, **words: Any) -> Any:
        """The ``data`` of an answer; AssertionError with its error when it refuses."""
        query = urllib.parse.urlencode(words, doseq=True)
        url = f"http://{self.address}{path}?{query}"
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{words}: {error.read().decode()}") from error

    def instant(self, expr: str, at: float | None = None) -> list[Series]:
        """The vector at a Unix time, by default now; nothing is taken from a cache."""
        words = {} if at is None else {"time": at}
        answer = self.get("/api/v1/query", query=expr, nocache=1, **words)
        vector: list[Series] = answer["result"]
        return [one for one in vector if not math.isnan(float(one["value"][1]))]

    def over_time(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        """The series between two Unix times."""
        answer = self.get(
            "/api/v1/query_range", query=expr, start=start, end=end, step=step, nocache=1
        )
        matrix: list[Series] = answer["result"]
        return [one for one in matrix if any(not math.isnan(float(v)) for _, v in one["values"])]

    def label_values(self, label: str, selector: str) -> list[str]:
        """As Grafana asks for ``label_values(selector, label)``."""
        values: list[str] = self.get(f"/api/v1/label/{label}/values", **{"match[]": selector})
        return values

    def is_ready(self) -> bool:
        """Whether it answers queries."""
        try:
            self.instant("vector(1)")
        except (OSError, AssertionError):
            return False
        return True

    def wait_for(self, expr: str) -> list[Series]:
        """The first answer that is not empty."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not (vector := self.instant(expr)):
            assert time.monotonic() < give_up, f"{self.address} never knew {expr}"
            time.sleep(0.2)
        return vector


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def prometheus(place: Path, config: str, *arguments: str) -> Iterator[Store]:
    """Run one with its files in ``place`` until the end of the block."""
    (place / "prometheus.yml").write_text(config)
    address = f"127.0.0.1:{free_port()}"
    argv = [
        "prometheus",
        f"--config.file={place}/prometheus.yml",
        f"--storage.tsdb.path={place}/data",
        f"--web.listen-address={address}",
        *arguments,
    ]
    with _running(argv, place, address) as store:
        yield store


@contextmanager
def victoria_metrics(place: Path, *arguments: str) -> Iterator[Store]:
    """Run one with its files in ``place`` until the end of the block."""
    address = f"127.0.0.1:{free_port()}"
    argv = [
        VICTORIA_METRICS,
        f"-storageDataPath={place}/data",
        f"-httpListenAddr={address}",
        *arguments,
    ]
    with _running(argv, place, address) as store:
        yield store


@contextmanager
def _running(argv: list[str], place: Path, address: str) -> Iterator[Store]:
    log_file = place / "log"
    with (
        log_file.open("wb") as log,
        process(argv, stdout=log, stderr=subprocess.STDOUT, cwd=place) as running,
    ):
        store = Store(address, running.pid)
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not store.is_ready():
            assert running.poll() is None, log_file.read_text()
            assert time.monotonic() < give_up, log_file.read_text()
            time.sleep(0.1)
        yield store
