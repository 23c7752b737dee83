"""A fleet of simulated hosts, and the shipped configurations of what scrapes it."""

import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.integration.daemon import PATIENCE_SECONDS, ROOT, process
from tests.integration.metric_stores import free_port

NOBODY = "127.0.0.1:9"
"""In place of an Alertmanager."""

DISCOVERY = "file_sd_configs:\n      - files:\n          - ../prometheus/targets/smaxd.yml"
"""How the shipped configuration finds the hosts."""


@contextmanager
def simulated_hosts(place: Path, number: int, *recordings: str) -> Iterator[str]:
    """So many hosts in one process; yields its address when all of them answer."""
    address = f"127.0.0.1:{free_port()}"
    argv = [sys.executable, "-m", "tests.bench.fleet_hosts", "--hosts", str(number)]
    argv += ["--port", address.rpartition(":")[2], "--recordings", *recordings]
    with (place / "hosts.log").open("wb") as log, process(argv, stderr=log, cwd=ROOT) as running:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not _answers(f"http://{address}/targets"):
            assert running.poll() is None, (place / "hosts.log").read_text()
            assert time.monotonic() < give_up, "the hosts do not answer"
            time.sleep(0.1)
        yield address


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own program
            return True
    except (urllib.error.URLError, OSError):
        return False


def site_config(hosts: str, store: str, scrape_seconds: float) -> str:
    """The shipped one of a site, for these hosts and this central store."""
    discovery = f"http_sd_configs:\n      - url: http://{hosts}/targets"
    addresses = {DISCOVERY: discovery, "localhost:8428": store, "localhost:9093": NOBODY}
    return _shipped("site.yml", addresses, scrape_seconds)


def global_config(site: str, scrape_seconds: float) -> str:
    """The shipped one above the sites, for this site."""
    return _shipped("global.yml", {"site-a.example:9090": site}, scrape_seconds)


def _shipped(name: str, addresses: Mapping[str, str], scrape_seconds: float) -> str:
    text = (ROOT / "configs" / "fleet" / name).read_text()
    text = re.sub(r"_interval: \d+s", f"_interval: {scrape_seconds:g}s", text)
    text = text.replace("../prometheus/rules", str(ROOT / "configs" / "prometheus" / "rules"))
    for shipped, ours in addresses.items():
        assert shipped in text, f"{name} has no {shipped}"
        text = text.replace(shipped, ours)
    return text
