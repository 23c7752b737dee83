"""The shipped rules in a real Prometheus, on the page of an agent that knows everything."""

import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.daemon import PATIENCE_SECONDS, process

ROOT = Path(__file__).parents[2]
KIT = ROOT / "configs" / "prometheus"
PAGES = [*sorted((ROOT / "docs" / "runbooks").glob("*.md")), ROOT / "docs" / "prometheus.md"]

GOLDEN = (ROOT / "tests" / "data" / "golden" / "metrics.txt").read_text()
# Of three saturation episodes no rule makes anything.
PAGE = GOLDEN.replace(
    'smax_interval_coverage_episodes{db="orders"} 3.0',
    'smax_interval_coverage_episodes{db="orders"} 12.0',
)

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed"
)
pytestmark = [pytest.mark.slow, needs_prometheus]


class Agent:
    """What Prometheus scrapes: a page that can be changed, or an error."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.page: str | None = PAGE

    def without(self, pattern: str) -> None:
        """From now on the page lacks the lines that have this in them."""
        self.page = "".join(
            line for line in PAGE.splitlines(keepends=True) if not re.search(pattern, line)
        )


@contextmanager
def agent() -> Iterator[Agent]:
    """An HTTP server that answers every request with the page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = (served.page or "").encode()
            self.send_response(200 if served.page else 503)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Agent(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


class Prometheus:
    """A running one, by its HTTP API."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path: str, **words: str) -> dict[str, Any]:
        """What it answers; an error is an answer, too."""
        url = f"{self._url}/{path}?{urllib.parse.urlencode(words)}"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own program
                answer: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                answer = json.load(error)
        return answer

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector; empty while it does not answer, or says that it starts."""
        try:
            answer = self.get("query", query=expression)
        except (OSError, ValueError):
            return []
        vector: list[dict[str, Any]] = answer["data"]["result"] if "data" in answer else []
        return vector

    def wait_until(self, condition: Callable[["Prometheus"], object], what: str) -> None:
        """Ask until the condition holds."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not condition(self):
            assert time.monotonic() < give_up, f"never: {what}"
            time.sleep(0.2)

    def firing(self, alert: str) -> bool:
        """Whether an alert of this name fires."""
        return bool(self.query(f'ALERTS{{alertname="{alert}", alertstate="firing"}}'))


@contextmanager
def prometheus(place: Path, target: str, five_minutes: str = "5m") -> Iterator[Prometheus]:
    """The shipped configuration at a second's pace, with one target and no Alertmanager.

    What is five minutes, the look-back and the `for` of most alerts, can be made shorter.
    """
    shutil.copytree(KIT, place / "kit")
    for rules in (place / "kit" / "rules").glob("*.yml"):
        rules.write_text(rules.read_text().replace("for: 5m\n", f"for: {five_minutes}\n"))
    config = yaml.safe_load((KIT / "prometheus.yml").read_text())
    config["global"] = {
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "evaluation_interval": "1s",
    }
    del config["alerting"]
    (place / "kit" / "prometheus.yml").write_text(yaml.safe_dump(config))
    (place / "kit" / "targets" / "smaxd.yml").write_text(yaml.safe_dump([{"targets": [target]}]))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        (place / "prometheus.log").open("wb") as log,
        process(
            [
                "prometheus",
                f"--config.file={place}/kit/prometheus.yml",
                f"--storage.tsdb.path={place}/data",
                f"--query.lookback-delta={five_minutes}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=place,
        ),
    ):
        yield Prometheus(port)


def recorded() -> set[str]:
    """The names of all recording rules."""
    return {
        str(rule["record"])
        for path in sorted((KIT / "rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    }


def queries() -> list[tuple[str, str]]:
    """Every query that a page of the documentation shows."""
    return [
        (page.name, line.strip())
        for page in PAGES
        for block in re.findall(r"^ *```promql\n(.*?)^ *```", page.read_text(), re.M | re.S)
        for line in block.splitlines()
        if line.strip()
    ]


def test_every_rule_is_evaluated_and_every_recording_rule_has_data(place: Path) -> None:
    """Without an error or a warning; and Prometheus understands every query of the runbooks."""
    names = recorded()
    with agent() as served, prometheus(place, served.address) as running:
        running.wait_until(
            lambda p: {name for name in names if p.query(name)} == names,
            f"data of {sorted(names)}",
        )
        groups = running.get("rules")["data"]["groups"]
        answers = [(page, line, running.get("query", query=line)) for page, line in queries()]
    rules = [rule for group in groups for rule in group["rules"]]
    log = (place / "prometheus.log").read_text().lower()

    assert names != set()
    assert {rule["name"] for rule in rules if rule["type"] == "recording"} == names
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule.get("lastError")] == []
    assert {rule["health"] for rule in rules} == {"ok"}
    assert [
        line for line in log.splitlines() if "level=warn" in line or "level=error" in line
    ] == []
    assert len(answers) > len(PAGES)
    assert [(page, line) for page, line, said in answers if said["status"] != "success"] == []


def test_an_alert_outlives_its_data_and_ends_with_a_good_value(place: Path) -> None:
    """The number goes, then the agent, then Prometheus restarts; at last the number is good."""
    alert = "RocksdbBackgroundError"
    with agent() as served:
        with prometheus(place, served.address) as running:
            running.wait_until(lambda p: p.firing(alert), f"{alert} fires")
            served.without(r"^smax_background_error\b")
            running.wait_until(lambda p: not p.query("smax_background_error"), "it is gone")
            stays = [running.firing(alert) for _ in ticks(3)]
            served.page = None
            running.wait_until(lambda p: p.query("up == 0"), "the agent is gone")
            stays += [running.firing(alert) for _ in ticks(3)]
        shutil.rmtree(place / "kit")
        with prometheus(place, served.address) as running:
            running.wait_until(lambda p: p.query("up == 0"), "Prometheus is back")
            stays += [running.firing(alert) for _ in ticks(3)]
            served.page = PAGE.replace(
                'smax_background_error{db="orders"} 1.0', 'smax_background_error{db="orders"} 0.0'
            )
            running.wait_until(lambda p: not p.firing(alert), f"{alert} ends")

    assert stays == [True] * 9


def test_an_alert_that_waits_again_after_a_restart_fires_again(place: Path) -> None:
    """For as long as what fired before can be looked back at, and longer, with no bad value."""
    headroom, device = "RocksdbWriteHeadroomLow", "SsdWriteBandwidthDegraded"
    shorter = "15s"
    bad = with_values(headroom=0.15, capacity=0.5)
    between = "".join(
        line
        for line in with_values(headroom=0.22, capacity=0.5).splitlines(keepends=True)
        if not line.startswith("smax_device_capacity_ratio")
    )
    with agent() as served:
        served.page = bad
        with prometheus(place, served.address, shorter) as running:
            running.wait_until(lambda p: p.firing(headroom) and p.firing(device), "both fire")
            served.page = between
            running.wait_until(
                lambda p: not p.query("smax_device_capacity_ratio"), "one value is gone"
            )
        shutil.rmtree(place / "kit")
        with prometheus(place, served.address, shorter) as running:
            waiting = f'ALERTS{{alertname=~"{headroom}|{device}", alertstate="pending"}}'
            running.wait_until(lambda p: len(p.query(waiting)) == 2, "both wait")
            running.wait_until(lambda p: not p.query(waiting), "neither waits any more")
            stays = [running.firing(headroom) and running.firing(device) for _ in ticks(3)]
            served.page = with_values(headroom=0.5, capacity=1.0)
            running.wait_until(
                lambda p: not p.firing(headroom) and not p.firing(device), "both end"
            )

    assert stays == [True] * 3


def with_values(*, headroom: float, capacity: float) -> str:
    """The page with another headroom of the database, and capacity of its device."""
    page = re.sub(r"(?m)^(smax_headroom_lower_ratio\{.*\}) .*$", rf"\1 {headroom}", PAGE)
    return re.sub(r"(?m)^(smax_device_capacity_ratio\{.*\}) .*$", rf"\1 {capacity}", page)


def ticks(count: int) -> Iterator[int]:
    """A little more than an evaluation apart."""
    for number in range(count):
        time.sleep(1.2)
        yield number
