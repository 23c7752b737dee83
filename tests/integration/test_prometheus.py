"""A real Prometheus scrapes the real daemon and answers a query for S_max."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import (
    PATIENCE_SECONDS,
    daemon,
    process,
    write_config,
    writing,
)

needs_fio = pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed"
)
pytestmark = [pytest.mark.slow, needs_fio, needs_prometheus]

SCRAPES = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: smaxd
    static_configs:
      - targets: ["{address}"]
"""


class Prometheus:
    """A running one, by its HTTP API."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector; empty while it does not answer or knows nothing."""
        words = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(  # noqa: S310 - http to our own program
                f"{self._url}/api/v1/query?{words}", timeout=5
            ) as response:
                vector: list[dict[str, Any]] = json.load(response)["data"]["result"]
                return vector
        except (OSError, urllib.error.HTTPError):
            return []

    def wait_for(self, expression: str) -> list[dict[str, Any]]:
        """The first answer that is not empty."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not (vector := self.query(expression)):
            assert time.monotonic() < give_up, f"Prometheus never knew {expression}"
            time.sleep(0.2)
        return vector


def test_prometheus_answers_a_query_for_s_max(place: Path) -> None:
    """Both models, with the labels of the contract, from a scrape without a single complaint."""
    database = place / "db"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    arguments = ("--config", write_config(place), "--db", str(database))
    with writing(database), daemon(place, *arguments) as running:
        (place / "prometheus.yml").write_text(SCRAPES.format(address=running.address))
        with (
            (place / "prometheus.log").open("wb") as log,
            process(
                [
                    "prometheus",
                    f"--config.file={place}/prometheus.yml",
                    f"--storage.tsdb.path={place}/data",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=place,
            ),
        ):
            prometheus = Prometheus(port)
            s_max = prometheus.wait_for("smax_puts_per_second")
            puts = prometheus.wait_for("rate(smax_puts_total[10s]) > 0")
            up = prometheus.query("up")
            types = prometheus.query('count({__name__=~".*_created"})')
        complaints = [
            line
            for line in (place / "prometheus.log").read_text().splitlines()
            if "level=warn" in line.lower() or "level=error" in line.lower()
        ]

    models = {one["metric"]["model"]: float(one["value"][1]) for one in s_max}
    assert models.keys() >= {"v4", "v4.1"}
    assert all(value > 0 for value in models.values())
    assert {one["metric"]["db"] for one in s_max} == {str(database)}
    assert float(puts[0]["value"][1]) > 0
    assert [one["value"][1] for one in up] == ["1"]
    assert types == []
    assert [line for line in complaints if "scrape" in line.lower()] == []
