"""200 hosts, scraped by a real Prometheus, in a real central store: as docs/fleet.md tells.

The hosts play recordings of real databases; the configurations are the shipped ones.
"""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.bench.dashboard_queries import DashboardQuery, filled_in, panel_queries
from tests.integration.daemon import PATIENCE_SECONDS, workplace
from tests.integration.metric_stores import (
    VICTORIA_METRICS,
    Series,
    Store,
    prometheus,
    victoria_metrics,
)
from tests.integration.simulated_fleet import global_config, simulated_hosts, site_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
    pytest.mark.skipif(
        shutil.which(VICTORIA_METRICS) is None, reason=f"{VICTORIA_METRICS} is not installed"
    ),
]

HOSTS = 200
RECORDINGS = ("base", "universal")
SCRAPE_SECONDS = 2.0
RATE_INTERVAL = "8s"
RANGE_SECONDS = 60.0
AGO_SECONDS = 4.0
"""Where the time range of the queries ends: what was scraped has arrived everywhere by then."""

NOT_RECORDED = {
    "Least of the wear budget left": "the recordings are older than the wear budget",
    "Databases without S_max, by reason": "they are known but for the first ticks of a recording",
}
"""Panels that have nothing to show, and why; test_grafana.py asks them of other pages."""

QUERIES = [one for one in panel_queries("smaxd-fleet") if one.panel not in NOT_RECORDED]


@dataclass(frozen=True)
class Fleet:
    """The stores that know all hosts."""

    site: Store
    central: Store
    above: Store


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """A site whose Prometheus has scraped all hosts a few times, and what is above it."""
    with workplace() as place:
        for name in ("site", "central", "above"):
            (place / name).mkdir()
        with (
            simulated_hosts(place, HOSTS, *RECORDINGS) as hosts,
            victoria_metrics(place / "central", "-search.latencyOffset=1s") as central,
            prometheus(place / "site", site_config(hosts, central.address, SCRAPE_SECONDS)) as site,
            prometheus(place / "above", global_config(site.address, SCRAPE_SECONDS)) as above,
        ):
            rates = f"rate(process_cpu_seconds_total[{RATE_INTERVAL}] offset {AGO_SECONDS:g}s)"
            for store in (site, central):
                store.wait_for(f"count({rates}) == {HOSTS}")
            yield Fleet(site, central, above)


def test_every_host_is_scraped_and_is_in_the_central_store(fleet: Fleet) -> None:
    """Each by its own name, with the site it is at."""
    (up,) = fleet.central.instant('count by (job, site) (up{job="smaxd"} == 1)')
    databases = fleet.central.instant("count by (instance, db) (smax_puts_total)")

    assert up["metric"] == {"job": "smaxd", "site": "site-a"}
    assert float(up["value"][1]) == HOSTS
    assert len({one["metric"]["instance"] for one in databases}) == HOSTS


def test_no_two_hosts_show_the_same(fleet: Fleet) -> None:
    """Else the queries would be easier than they are."""
    (different,) = fleet.site.instant(
        'count(count by (value) (count_values by (instance) ("value", smax_puts_total)))'
    )

    assert float(different["value"][1]) == HOSTS


def shown(store: Store, expr: str, *, instant: bool) -> list[Series]:
    """What a panel draws of the last minute; waits, since remote write may lag."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        end = time.time() - AGO_SECONDS
        series = (
            store.instant(expr, end)
            if instant
            else store.over_time(expr, end - RANGE_SECONDS, end, SCRAPE_SECONDS)
        )
        if series or time.monotonic() > give_up:
            return series
        time.sleep(SCRAPE_SECONDS / 2)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_every_panel_of_the_fleet_shows_something(fleet: Fleet, query: DashboardQuery) -> None:
    """In the site's Prometheus and in the central store."""
    expr = filled_in(query.dashboard, query.expr, {}, RATE_INTERVAL)

    assert shown(fleet.site, expr, instant=query.instant)
    assert shown(fleet.central, expr, instant=query.instant)


def test_the_dropped_series_stay_at_the_site(fleet: Fleet) -> None:
    """What no dashboard draws is not sent."""
    assert fleet.site.instant("count(smax_estimate_age_seconds)")
    assert not fleet.central.instant("count(smax_estimate_age_seconds)")


def test_federation_brings_what_the_rules_made_of_all_hosts(fleet: Fleet) -> None:
    """And no series of a single database."""
    (databases,) = fleet.above.wait_for(f"job:smax_databases:count == {HOSTS}")
    worst = fleet.above.wait_for("bottomk(10, instance:smax_headroom_lower_ratio:min)")

    assert databases["metric"]["site"] == "site-a"
    assert len(worst) == 10
    assert not fleet.above.instant("smax_puts_total")
