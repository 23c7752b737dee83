"""Many hosts in one process, each playing a recording from a moment and at a size of its own.

    python -m tests.bench.fleet_hosts --port 10400 --hosts 200

A Prometheus finds them by HTTP service discovery at /targets. No two hosts show the same numbers.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import uvicorn
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.bench.recorded_pages import NAMES, recorded_pages

TICK_SECONDS = 5.0
"""From one page of the recordings to the next."""

STEP_FROM_HOST_TO_HOST = 7
"""Ticks; with eight recordings of 86 ticks, no two of 688 hosts are at the same moment of one."""

SIZES = tuple(0.5 + number / 10 for number in range(11))
"""How much larger or smaller than the recorded ones the hosts are."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Course:
    """A recording as numbers: a row per series, a column per tick, NaN where it was not shown."""

    names: tuple[tuple[str, str], ...]
    """Name and labels of each series."""
    values: Values
    growth: Values
    """What each series gains when the recording begins again; counters must not fall."""
    scaled: Values
    """Which series grow with the size of a host."""

    def at(self, ticks: NDArray[np.int64], size: float) -> Values:
        """The values at these ticks of a recording that is played again and again."""
        rounds, columns = np.divmod(ticks, self.values.shape[1])
        grown = self.values[:, columns] + self.growth[:, None] * rounds
        return np.asarray(grown * np.where(self.scaled, size, 1.0)[:, None])


@cache
def course(recording: str) -> Course:
    """The course of one recording."""
    pages = recorded_pages(recording)
    names = tuple({name: None for page in pages for name in page.values})
    values = np.array([[page.values.get(name, np.nan) for page in pages] for name in names])
    counters = np.array([name.endswith("_total") for name, _ in names])
    growth = np.where(counters, np.nan_to_num(values[:, -1] - values[:, 0]), 0.0)
    sized = [name.endswith(("_bytes", "_total")) or "_per_second" in name for name, _ in names]
    return Course(names, values, growth, np.array(sized))


@dataclass(frozen=True)
class FleetHost:
    """One of the hosts."""

    number: int
    recordings: tuple[str, ...] = NAMES
    """What the hosts play in turn."""

    @property
    def instance(self) -> str:
        """Its name."""
        return f"db-{self.number:03}:10390"

    @property
    def course(self) -> Course:
        """What it plays."""
        return course(self.recordings[self.number % len(self.recordings)])

    def values(self, ticks: NDArray[np.int64]) -> Values:
        """What it shows at these ticks."""
        size = SIZES[self.number % len(SIZES)]
        return self.course.at(ticks + STEP_FROM_HOST_TO_HOST * self.number, size)

    def page(self, tick: int) -> str:
        """What it answers to a scrape."""
        shown = self.values(np.array([tick]))[:, 0].tolist()
        return "".join(
            f"{name}{{{labels}}} {value}\n"
            for (name, labels), value in zip(self.course.names, shown, strict=True)
            if value == value  # noqa: PLR0124 - NaN: it is not shown at this tick
        )


def application(hosts: Sequence[FleetHost], address: str) -> Starlette:
    """Answers for all of them."""
    started = time.monotonic()

    async def metrics(request: Request) -> Response:
        tick = int((time.monotonic() - started) / TICK_SECONDS)
        host = hosts[request.path_params["number"]]
        return PlainTextResponse(host.page(tick), media_type="text/plain; version=0.0.4")

    async def targets(_: Request) -> Response:
        return JSONResponse([_target(host, address) for host in hosts])

    return Starlette(
        routes=[Route("/hosts/{number:int}/metrics", metrics), Route("/targets", targets)]
    )


def _target(host: FleetHost, address: str) -> dict[str, object]:
    """A target group of Prometheus's HTTP service discovery."""
    path = f"/hosts/{host.number}/metrics"
    return {"targets": [address], "labels": {"instance": host.instance, "__metrics_path__": path}}


def main() -> None:
    """Serve until the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--recordings", nargs="+", default=NAMES, choices=NAMES)
    words = parser.parse_args()
    hosts = [FleetHost(number, tuple(words.recordings)) for number in range(words.hosts)]
    for name in words.recordings:
        course(name)  # before the first scrape, whose time it would cost
    uvicorn.run(
        application(hosts, f"127.0.0.1:{words.port}"),
        host="127.0.0.1",
        port=words.port,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
