"""Scraping /metrics of a program: one page, and many at once."""

import http.client
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.bench.figures import Figure, percentile, series
from tests.bench.processes import Program

CONNECTIONS = 4
SCRAPES_PER_CONNECTION = 75
ROUNDS = 3
PACE_SECONDS = 0.1


class HttpTarget:
    """One keep-alive connection to a program's /metrics."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10.0)

    def scrape(self) -> tuple[float, str]:
        """Seconds until the whole page was there, and the page; OSError when there is none."""
        start = time.perf_counter()
        try:
            self._connection.request("GET", "/metrics")
            answer = self._connection.getresponse()
            page = answer.read()
        except http.client.HTTPException as error:
            self._connection.close()
            raise OSError(f"no answer: {error}") from error
        except OSError:
            self._connection.close()
            raise
        elapsed = time.perf_counter() - start
        if answer.status != 200:
            raise OSError(f"/metrics answered {answer.status}")
        return elapsed, page.decode()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@dataclass
class Side:
    """What was measured of one of the two exporters; seconds and bytes."""

    program: Program
    port: int
    tick_cpu: list[float] = field(default_factory=list)  # a window without its scrape
    scrape_cpu: list[float] = field(default_factory=list)
    window_cpu: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    pss: list[float] = field(default_factory=list)

    def page(self) -> str:
        """The page of /metrics, through a connection of its own."""
        target = HttpTarget(self.port)
        try:
            return target.scrape()[1]
        finally:
            target.close()


def latency_figures(smaxd: Side, beside: Side) -> Iterator[Figure]:
    """Latencies and CPU of several scrapers at once, in rounds that take turns."""
    for name, pause, aim in (
        ("each 10 times a second", PACE_SECONDS, "< 10"),
        ("each as fast as it can", 0.0, ""),
    ):
        results: dict[str, tuple[list[float], list[float], list[float]]] = {}
        for _ in range(ROUNDS):
            for label, side in (("ours", smaxd), ("theirs", beside)):
                before = side.program.cpu_seconds()
                elapsed = _scrape_at_once(side.port, pause)
                used = side.program.cpu_seconds() - before
                p50s, p99s, cpu = results.setdefault(label, ([], [], []))
                p50s.append(statistics.median(elapsed))
                p99s.append(percentile(elapsed, 0.99))
                cpu.append(used / len(elapsed))
        section = (
            f"scrapes, {CONNECTIONS} keep-alive connections, {name} "
            f"({CONNECTIONS * SCRAPES_PER_CONNECTION} per round)"
        )
        ours, theirs = results["ours"], results["theirs"]
        for index, (figure, limit) in enumerate(
            (("latency p50", ""), ("latency p99", aim), ("CPU per scrape", ""))
        ):
            yield Figure(
                section,
                figure,
                "ms",
                series(ours[index], 1e3),
                series(theirs[index], 1e3),
                limit,
            )


def _scrape_at_once(port: int, pause_seconds: float) -> list[float]:
    """Latencies in seconds of all connections' scrapes, the first of each left out."""

    def scrape_in_turn(number: int) -> list[float]:
        target = HttpTarget(port)
        elapsed = []
        try:
            target.scrape()
            time.sleep(pause_seconds * number / CONNECTIONS)
            for _ in range(SCRAPES_PER_CONNECTION):
                elapsed.append(target.scrape()[0])
                time.sleep(pause_seconds)
        finally:
            target.close()
        return elapsed

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return [each for result in pool.map(scrape_in_turn, range(CONNECTIONS)) for each in result]
