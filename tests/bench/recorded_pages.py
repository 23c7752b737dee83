"""Pages of recorded hosts, as the daemon would have shown them to Prometheus."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from prometheus_client import generate_latest

from agent.loop import Published
from agent.main import host_state_for
from agent.metrics import registry_for
from agent.recording.recording import open_recording
from agent.recording.replay import replay
from agent.simulator import InlineSimulator

DATA = Path(__file__).parents[1] / "data"
RECORDINGS = DATA / "recordings"
NAMES = tuple(sorted(path.parent.name for path in RECORDINGS.glob("*/recording.gz")))

TICK_DURATION_SECONDS = 0.01
"""The recordings do not tell how long a tick took."""

JOB = "smaxd"
SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """One scrape: when, and the value of each series by name and labels, as they are written."""

    seconds: float
    """Unix time."""
    values: Mapping[tuple[str, str], float]

    def lines(self, instance: str, seconds: float | None = None) -> Iterator[str]:
        """As Prometheus stores it, with the labels of the target, and a time if it is given."""
        time = "" if seconds is None else f" {seconds:.3f}"
        target = f'job="{JOB}",instance="{instance}"'
        yield f"up{{{target}}} 1{time}"
        for (name, labels), value in self.values.items():
            yield f"{name}{{{target}{',' if labels else ''}{labels}}} {value}{time}"


def parsed(text: str, seconds: float) -> Page:
    """A page from the text that the daemon answers."""
    found = {(name, labels): float(value) for name, labels, value in SAMPLE.findall(text)}
    return Page(seconds, found)


class _StandingClock:
    """The time of the snapshot that is shown."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


@cache
def recorded_pages(name: str) -> tuple[Page, ...]:
    """The pages of one recording, tick by tick; the process metrics are those of this process."""
    published, clock = Published(), _StandingClock()
    registry = registry_for(published, clock)
    recording = open_recording(str(RECORDINGS / name / "recording.gz"))
    pages = []
    for snapshot in replay(recording, host_state_for(recording.header.config), InlineSimulator()):
        published.put(snapshot, TICK_DURATION_SECONDS)
        clock.now = snapshot.at
        pages.append(parsed(generate_latest(registry).decode(), snapshot.wall_seconds))
    return tuple(pages)


def golden_pages(seconds: float, every_seconds: float, number: int) -> Iterator[Page]:
    """The golden page, which has every metric, again and again; its counters grow."""
    text = (DATA / "golden" / "metrics.txt").read_text()
    first = parsed(text, seconds)
    for tick in range(number):
        values = {
            (name, labels): value + tick if name.endswith("_total") else value
            for (name, labels), value in first.values.items()
        }
        yield Page(seconds + tick * every_seconds, values)
