"""What many hosts cost those who watch them. See ``--help``."""

import argparse
import json
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
import psutil

from tests.bench.dashboard_queries import DashboardQuery, filled_in, panel_queries
from tests.bench.figures import machine
from tests.bench.fleet_hosts import TICK_SECONDS, FleetHost
from tests.bench.processes import need
from tests.bench.recorded_pages import JOB, NAMES
from tests.integration.daemon import workplace
from tests.integration.metric_stores import VICTORIA_METRICS, Store, prometheus, victoria_metrics
from tests.integration.simulated_fleet import simulated_hosts, site_config

SCRAPE_SECONDS = 15.0
WARM_UP_SECONDS = 60.0
"""After the start, in which a Prometheus makes all its series, and is not what it is later."""

STEP_SECONDS = 30.0
"""What Grafana asks for in a panel of a third of a screen, over six hours."""

RATE_INTERVAL = "1m"
RUNS = 3
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
MIB = 1048576.0


@dataclass(frozen=True)
class Use:
    """What a program used."""

    program: str
    cpu_percent: float
    """Of one core, while it only took in."""
    resident_mib: float
    disk_mib: float


@dataclass(frozen=True)
class QueryTime:
    """How long a query took, the slowest of the runs."""

    name: str
    seconds: float
    series: int


def cpu_seconds(store: Store) -> float:
    """What a store's process has used so far."""
    times = psutil.Process(store.pid).cpu_times()
    return times.user + times.system


def use(store: Store, program: str, directory: Path, cpu_percent: float) -> Use:
    """What it uses now."""
    files = [path.stat().st_size for path in directory.rglob("*") if path.is_file()]
    resident = psutil.Process(store.pid).memory_info().rss
    return Use(program, cpu_percent, resident / MIB, sum(files) / MIB)


def history(host: FleetHost, start: float, number: int) -> tuple[bytes, int]:
    """So many scrapes of a host as the lines that VictoriaMetrics imports, and their samples."""
    ticks = np.arange(number, dtype=np.int64) * int(SCRAPE_SECONDS / TICK_SECONDS)
    milliseconds = (1000.0 * (start + SCRAPE_SECONDS * np.arange(number))).astype(np.int64)
    target = {"job": JOB, "instance": host.instance, "site": "site-a"}
    lines, samples = [], 0
    up = ("up", ""), np.ones(number)
    for (name, labels), values in (up, *zip(host.course.names, host.values(ticks), strict=True)):
        shown = np.isfinite(values)
        metric = {"__name__": name, **dict(LABEL.findall(labels)), **target}
        line = {
            "metric": metric,
            "values": values[shown].tolist(),
            "timestamps": milliseconds[shown].tolist(),
        }
        lines.append(msgspec.json.encode(line))
        samples += int(np.count_nonzero(shown))
    return b"\n".join(lines), samples


def post(store: Store, path: str, body: bytes) -> None:
    """Hand it over."""
    with urllib.request.urlopen(f"http://{store.address}{path}", data=body, timeout=300):
        pass


def timed(store: Store, queries: Sequence[DashboardQuery], seconds: float) -> Iterator[QueryTime]:
    """Each query as Grafana would ask it; nothing is taken from a cache."""
    end = time.time() // STEP_SECONDS * STEP_SECONDS
    for query in queries:
        chosen = {"instance": [FleetHost(0).instance]} if query.dashboard == "smaxd-host" else {}
        expr = filled_in(query.dashboard, query.expr, chosen, RATE_INTERVAL)
        slowest, found = 0.0, 0
        for _ in range(RUNS):
            start = time.perf_counter()
            series = (
                store.instant(expr, end)
                if query.instant
                else store.over_time(expr, end - seconds, end, STEP_SECONDS)
            )
            slowest, found = max(slowest, time.perf_counter() - start), len(series)
        yield QueryTime(query.name, slowest, found)


@dataclass(frozen=True)
class Report:
    """All figures."""

    hosts: int
    series: int
    uses: Sequence[Use]
    """While only scraping, of both programs."""
    hours: float
    samples: int
    import_seconds: float
    after_import: Use
    times: Mapping[str, Sequence[QueryTime]]
    """By the name of the measurement."""


def measure(place: Path, number: int, seconds: float, hours: float) -> Report:
    """Everything; takes the seconds, a minute to warm up, and the import."""
    directories = {name: place / name for name in ("prometheus", VICTORIA_METRICS)}
    for directory in directories.values():
        directory.mkdir()
    with (
        simulated_hosts(place, number, *NAMES) as hosts,
        victoria_metrics(directories[VICTORIA_METRICS]) as central,
        prometheus(
            directories["prometheus"], site_config(hosts, central.address, SCRAPE_SECONDS)
        ) as site,
    ):
        stores = {"prometheus": site, VICTORIA_METRICS: central}
        site.wait_for(f"count(up == 1) == {number}")
        time.sleep(WARM_UP_SECONDS)
        before = {name: cpu_seconds(store) for name, store in stores.items()}
        time.sleep(seconds)
        uses = [
            use(store, name, directories[name], 100 * (cpu_seconds(store) - before[name]) / seconds)
            for name, store in stores.items()
        ]
        (scraped,) = site.instant("sum(scrape_samples_scraped)")
        (minutes, fleet) = (round(seconds / 60.0), panel_queries("smaxd-fleet"))
        times = {f"fleet dashboard, prometheus, {minutes} min": [*timed(site, fleet, seconds)]}

        scrapes = int(3600.0 * hours / SCRAPE_SECONDS)
        start = time.time() - seconds - 2 * WARM_UP_SECONDS - 3600.0 * hours
        began = time.monotonic()
        samples = 0
        for host in map(FleetHost, range(number)):
            lines, count = history(host, start, scrapes)
            post(central, "/api/v1/import", lines)
            samples += count
        post(central, "/internal/force_flush", b"")
        import_seconds = time.monotonic() - began
        for name, queries in (("fleet", fleet), ("host", panel_queries("smaxd-host"))):
            what = f"{name} dashboard, {VICTORIA_METRICS}, {hours:g} h"
            times[what] = [*timed(central, queries, 3600.0 * hours)]
        after = use(central, VICTORIA_METRICS, directories[VICTORIA_METRICS], 0.0)
    return Report(
        number,
        int(float(scraped["value"][1])),
        uses,
        hours,
        samples,
        import_seconds,
        after,
        times,
    )


def lines_of(report: Report) -> Iterator[str]:
    """The report for people; the slowest queries first."""
    yield " ".join(f"{name}: {value}" for name, value in machine().items())
    yield (
        f"{report.hosts} hosts, {report.series:,} series, scraped every {SCRAPE_SECONDS:g} s: "
        f"{report.series / SCRAPE_SECONDS:,.0f} samples/s"
    )
    for one in report.uses:
        yield (
            f"  {one.program:17} {one.cpu_percent:5.1f} % of a core {one.resident_mib:6.0f} MiB "
            f"resident {one.disk_mib:6.0f} MiB on disk"
        )
    after = report.after_import
    yield (
        f"with {report.hours:g} h of history: {report.samples:,} samples, imported in "
        f"{report.import_seconds:.0f} s"
    )
    yield (
        f"  {after.program:17} {after.resident_mib:6.0f} MiB resident {after.disk_mib:6.0f} MiB on "
        f"disk, {after.disk_mib * MIB / report.samples:.2f} bytes a sample"
    )
    for what, times in report.times.items():
        yield f"{what}: slowest of {RUNS} runs, without a cache"
        for query in sorted(times, key=lambda each: -each.seconds)[:5]:
            yield f"  {query.seconds:7.3f} s {query.series:4} series  {query.name}"
        yield f"  {sum(query.seconds for query in times):7.3f} s all {len(times)}, one by one"


def main() -> None:
    """Measure, print, and leave nothing behind."""
    parser = argparse.ArgumentParser(prog="tests/bench/fleet", description=__doc__)
    parser.add_argument("--hosts", type=int, default=200, help="(%(default)d)")
    parser.add_argument("--seconds", type=float, default=300.0, help="of scraping (%(default)g)")
    parser.add_argument("--hours", type=float, default=6.0, help="of history (%(default)g)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    words = parser.parse_args()
    need("prometheus", "prometheus")
    need(VICTORIA_METRICS, "victoria-metrics")
    with workplace() as place:
        report = measure(place, words.hosts, words.seconds, words.hours)
    print("\n".join(lines_of(report)))
    if words.json is not None:
        document = {"machine": machine(), **asdict(report)}
        words.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
