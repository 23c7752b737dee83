"""Every query of the dashboards has an answer in a real Prometheus that knows recorded hosts.

The recordings of real databases are imported in their own time, so that rates and courses are what
they were; beside them the golden page, which has also what no recorded host had.
"""

import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bench.dashboard_queries import (
    Choices,
    DashboardQuery,
    annotation_queries,
    filled_in,
    panel_queries,
    variable_queries,
)
from tests.bench.recorded_pages import JOB, NAMES, Page, golden_pages, recorded_pages
from tests.integration.daemon import workplace
from tests.integration.metric_stores import Series, Store, prometheus

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("promtool") is None, reason="prometheus is not installed"),
]

SCRAPE_SECONDS = 5.0
RATE_INTERVAL = "20s"
"""Four scrapes, as Grafana makes it."""

RECORDED, GOLDEN = "recorded:10390", "golden:10390"
RECORDING = "universal"

STARVED = "starved:10390"
NO_BANDWIDTH = (
    "smax_unavailable",
    'db="/db",device="",quantity="available_bytes_per_second",reason="no_bandwidth_left"',
)

NOT_IN_CHARGE = ("smax_model_accuracy_ratio", 'db="/db",model="bottleneck"')
"""No model is in charge of the starved database."""

OTHER_JOB = "node"
OTHER_MEMORY_BYTES = 1e12
"""More than any agent: what another exporter on a recorded host takes."""

NOT_RECORDED = {
    "Active alerts": "no alert was active at the end of the recording",
    "What is left: spread of the capacity": "fio tells it, and the recordings ran without",
    "What is not known": "at the end of the recording everything was known",
    "Endurance": "the drive told no SMART values",
    "Worn out in": "the drive told no SMART values",
    "Wear budget left": "the recordings are older than the wear budget",
    "CPU of the database's process: quota": "no process had a CPU quota",
    "CPU: {{program}}": "a recording does not hold what the agent's programs used",
    "Self-restraint and configuration: configuration refused": "a replay reads no configuration",
    "Notifications": "the recordings are older than the delivery",
    "Notifications that wait": "the recordings are older than the delivery",
    "What stands in the way": "the recordings are older than the delivery and the history",
    "Size of the history": "the recordings are older than the history",
    "Rows left out of the history": "the recordings are older than the history",
    "Refused by the listener": "the recordings are older than the web configuration",
    "Certificate expires in": "the recordings are older than the web configuration",
    "Self-restraint and configuration: web configuration refused": "a replay reads none",
    "Least of the wear budget left": "the recordings are older than the wear budget",
}
"""Panels, or single queries of one, that are asked of the golden page, and why."""


@dataclass(frozen=True)
class Known:
    """A Prometheus, and the time range that it knows."""

    api: Store
    start: float
    end: float
    listed: Choices

    def answers(self, query: DashboardQuery, *instances: str) -> list[Series]:
        """What Grafana would draw for a query, of the hosts that are chosen; of none: of all."""
        chosen = {"instance": instances}
        expr = filled_in(query.dashboard, query.expr, chosen, RATE_INTERVAL, self.listed)
        if query.instant:
            return self.api.instant(expr, self.end)
        return self.api.over_time(expr, self.start, self.end, SCRAPE_SECONDS)

    def last(self, dashboard: str, name: str, *instances: str) -> list[float]:
        """What one query of a panel, ``panel: legend``, answers at the end."""
        (query,) = (one for one in panel_queries(dashboard) if one.name == f"{dashboard}: {name}")
        series = self.answers(query, *instances)
        return [float((one["value"] if query.instant else one["values"][-1])[1]) for one in series]


def imported(place: Path, hosts: dict[str, tuple[Page, ...]]) -> None:
    """Write the pages of hosts as a Prometheus would have kept them; all end at the same time."""
    end = max(pages[-1].seconds for pages in hosts.values())
    with (place / "pages.txt").open("w") as file:
        for instance, pages in hosts.items():
            later = end - pages[-1].seconds
            for page in pages:
                seconds = page.seconds + later
                file.writelines(f"{line}\n" for line in page.lines(instance, seconds))
                file.write(
                    'ALERTS{alertname="RocksdbWriteStopped",alertstate="firing",severity="critical",'
                    f'job="smaxd",instance="{instance}"}} 1 {seconds:.3f}\n'
                )
                file.writelines(f"{line} {seconds:.3f}\n" for line in other_exporter(instance))
        file.write("# EOF\n")
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "pages.txt", "data"],
        cwd=place,
        check=True,
        capture_output=True,
        timeout=60,
    )


def other_exporter(instance: str) -> list[str]:
    """A target of another job that has the same name, and is down or takes much."""
    target = f'{{job="{OTHER_JOB}",instance="{instance}"}}'
    return [
        f"up{target} {int(instance == RECORDED)}",
        f"process_resident_memory_bytes{target} {OTHER_MEMORY_BYTES:g}",
        f"process_cpu_seconds_total{target} 7",
        f'ALERTS{{alertname="SmaxAgentDown",alertstate="firing",{target[1:]} 1',
    ]


@pytest.fixture(scope="module")
def known() -> Iterator[Known]:
    """A Prometheus that knows all recorded hosts and the golden one."""
    recorded = recorded_pages(RECORDING)
    hosts = {RECORDED: recorded}
    hosts |= {f"{name}:10390": recorded_pages(name) for name in NAMES if name != RECORDING}
    start, end = recorded[0].seconds, recorded[-1].seconds
    golden = golden_pages(start, SCRAPE_SECONDS, int((end - start) / SCRAPE_SECONDS) + 1)
    hosts[GOLDEN] = tuple(golden)
    starved = {NO_BANDWIDTH: 1.0, NOT_IN_CHARGE: 0.5}
    hosts[STARVED] = tuple(Page(page.seconds, starved) for page in recorded)
    with workplace() as place:
        imported(place, hosts)
        end = max(pages[-1].seconds for pages in hosts.values())
        with prometheus(place, "", "--storage.tsdb.retention.time=100y") as api:
            jobs = api.label_values("job", "smaxd_build_info")
            yield Known(api, end - (recorded[-1].seconds - start), end, {"job": jobs})


def exception_of(query: DashboardQuery) -> str | None:
    """Why a query is not asked of a recorded host."""
    return NOT_RECORDED.get(query.panel) or NOT_RECORDED.get(f"{query.panel}: {query.legend}")


@pytest.mark.parametrize("query", panel_queries("smaxd-host"), ids=lambda query: query.name)
def test_every_panel_of_a_host_shows_something(known: Known, query: DashboardQuery) -> None:
    """Of a recorded one, or, for what that did not have, of the golden page."""
    answers = known.answers(query, GOLDEN if exception_of(query) else RECORDED)

    assert answers


@pytest.mark.parametrize("query", panel_queries("smaxd-fleet"), ids=lambda query: query.name)
def test_every_panel_of_the_fleet_shows_something(known: Known, query: DashboardQuery) -> None:
    """Of all hosts together, and of a single one that is chosen."""
    assert known.answers(query)
    assert known.answers(query, GOLDEN if exception_of(query) else RECORDED)


@pytest.mark.parametrize(
    "query",
    [*annotation_queries("smaxd-host"), *annotation_queries("smaxd-fleet")],
    ids=lambda query: query.name,
)
def test_every_annotation_marks_something(known: Known, query: DashboardQuery) -> None:
    """The recorded database was saturated on purpose, and alerts were active; none of others."""
    marks = known.answers(query, RECORDED)

    assert marks
    assert {one["metric"].get("job", JOB) for one in marks} == {JOB}


@pytest.mark.parametrize(
    "query",
    [*variable_queries("smaxd-host"), *variable_queries("smaxd-fleet")],
    ids=lambda query: query.name,
)
def test_every_variable_has_values(known: Known, query: DashboardQuery) -> None:
    """Of the job, the host and so on that were chosen before it."""
    asked = re.fullmatch(r"label_values\((.*), (\w+)\)", query.expr)
    assert asked is not None
    selector, label = asked.groups()

    values = known.api.label_values(
        label,
        filled_in(query.dashboard, selector, {"instance": [RECORDED]}, RATE_INTERVAL, known.listed),
    )

    assert values


def test_what_is_not_recorded_is_named_once_and_rightly(known: Known) -> None:
    """An exception that is not needed any more, or never matched, would hide a mistake."""
    queries = panel_queries("smaxd-host") + panel_queries("smaxd-fleet")
    excepted = [query for query in queries if exception_of(query)]
    needless = [query.name for query in excepted if known.answers(query, RECORDED)]
    names = {name for query in excepted for name in (query.panel, f"{query.panel}: {query.legend}")}

    assert not needless, "\n".join(needless)
    assert set(NOT_RECORDED) <= names


def test_a_database_without_any_bandwidth_is_the_worst_of_all(known: Known) -> None:
    """It has no S_max, and must not be missing from the list for that."""
    (headroom,) = (
        query
        for query in panel_queries("smaxd-fleet")
        if query.legend == "headroom" and query.instant
    )

    found = known.answers(headroom)
    worst = min(found, key=lambda one: float(one["value"][1]))

    assert worst["metric"] == {"instance": STARVED, "db": "/db"}
    assert worst["value"][1] == "-Inf"
    assert len(found) > 1
    assert known.last("smaxd-host", "Databases: headroom", STARVED) == [-math.inf]


def test_a_database_without_any_bandwidth_is_drawn_at_the_bottom_of_a_graph(known: Known) -> None:
    """Of all hosts, and where it is the only one chosen."""
    assert known.last("smaxd-fleet", "Headroom across the fleet: worst") == [-1.0]
    for line in ("worst", "worst 5 %", "median"):
        assert known.last("smaxd-fleet", f"Headroom across the fleet: {line}", STARVED) == [-1.0]


def test_accuracy_is_that_of_the_model_in_charge(known: Known) -> None:
    """A model that S_max is not from says nothing about it."""
    panel = "Accuracy of the recommended models"

    assert known.last("smaxd-fleet", f"{panel}: worst", GOLDEN) == [0.93]
    assert known.last("smaxd-fleet", f"{panel}: worst", STARVED) == []


def test_only_agents_are_counted(known: Known) -> None:
    """A Prometheus scrapes others, too, and all have ``up`` and ``process_*``."""
    assert known.listed == {"job": [JOB]}
    assert known.last("smaxd-fleet", "Agents up: up") == [len(NAMES) + 2]
    assert known.last("smaxd-fleet", "Agents down: down") == [0]
    (highest,) = known.last("smaxd-fleet", "Memory of the agents: highest")
    (on_a_host,) = known.last("smaxd-host", "Memory: resident", RECORDED)
    assert max(highest, on_a_host) < OTHER_MEMORY_BYTES
