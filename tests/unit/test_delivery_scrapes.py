"""The listener sees who scrapes: by what scrapers send, and by nothing else."""

import urllib.request
from collections.abc import Iterator

import pytest

from agent.http import HttpServer, application
from agent.loop import Published
from tests.unit import snapshots
from tests.unit.snapshots import FixedClock

SCRAPER = {"X-Prometheus-Scrape-Timeout-Seconds": "10"}


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def published() -> Published:
    holder = Published()
    holder.put(snapshots.snapshot(), 0.01)
    return holder


@pytest.fixture
def url(published: Published, clock: FixedClock) -> Iterator[str]:
    server = HttpServer(application(published, clock), "127.0.0.1", 0)
    server.start()
    yield f"http://{server.address}"
    server.stop()


def fetch(url: str, **headers: str) -> None:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310 - as above
        response.read()


def test_a_scraper_is_seen_with_its_interval(
    url: str, published: Published, clock: FixedClock
) -> None:
    """Each time that it fetches the page."""
    for _ in range(3):
        fetch(f"{url}/metrics", **SCRAPER)
        clock.now += 15.0

    (scraper,) = published.scrapes.scrapers
    assert (scraper.client, scraper.gaps) == ("127.0.0.1", (15.0, 15.0))


def test_somebody_who_looks_at_a_page_is_no_scraper(url: str, published: Published) -> None:
    """Curl on /metrics, and a scraper's request for anything else, silence no alert."""
    fetch(f"{url}/metrics")
    fetch(f"{url}/healthz", **SCRAPER)

    assert published.scrapes.scrapers == ()
