"""A stretch of the past, as it is read back: typed, in SI units. Pure.

Times are whole seconds, Unix time. A line holds only moments that were recorded: where two of them
are further apart than usual, nothing is known in between.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from agent.history.columns import DAY, HOUR, RESOLUTIONS, Value

GAP_FACTOR = 2.5
"""Rows further apart than so many times their usual distance have a gap between them."""


class InvalidPeriod(ValueError):
    """No such period, or not in that form; the message says what would do."""


@dataclass(frozen=True, slots=True)
class Line:
    """One series: ``columns`` by name, each as long as ``times``; extremes are columns, too.

    ``step_seconds`` is how long a row stands for, at most.
    """

    times: Sequence[int] = ()
    columns: Mapping[str, Sequence[Value]] = field(default_factory=dict)
    step_seconds: int = RESOLUTIONS[0].seconds

    def numbers(self, name: str) -> list[float | None]:
        """A column of numbers; all unknown where there is no such column."""
        column = self.columns.get(name)
        if column is None:
            return [None] * len(self.times)
        return [None if isinstance(value, str) else value for value in column]

    def words(self, name: str) -> list[str | None]:
        """A column of words."""
        column = self.columns.get(name, [None] * len(self.times))
        return [value if isinstance(value, str) else None for value in column]

    @property
    def usual_seconds(self) -> float:
        """The usual distance of two rows, at least the resolution's."""
        if len(self.times) < 2:
            return float(self.step_seconds)
        return max(
            float(self.step_seconds),
            statistics.median(after - before for before, after in pairwise(self.times)),
        )

    def spans(self) -> Iterator[tuple[int, float]]:
        """For each row the time from when on, and how many seconds, it stands for."""
        usual = self.usual_seconds
        for index, time in enumerate(self.times):
            last = index + 1 == len(self.times)
            until_next = usual if last else float(self.times[index + 1] - time)
            yield time, until_next if until_next <= GAP_FACTOR * usual else usual


@dataclass(frozen=True, slots=True)
class PastEpisode:
    """A saturation episode: what the database sustained, and of what kind that label is."""

    started: int
    ended: int
    kind: str
    closed: bool
    puts_per_second: float
    measured_seconds: int
    stopped_ratio: float
    delayed_ratio: float
    cause: str | None


@dataclass(frozen=True, slots=True)
class PastAlert:
    """An alert; ``ended`` None while it is active. ``database`` or ``device`` may be ""."""

    alert: str
    severity: str
    database: str
    device: str
    started: int
    ended: int | None
    summary: str


@dataclass(frozen=True, slots=True)
class PastScore:
    """How a model had done against all episodes until then."""

    time: int
    labels: int
    accuracy_ratio: float | None
    coverage_ratio: float | None


@dataclass(frozen=True, slots=True)
class PastDatabase:
    """What is on record of one database; models and scores by the model's name."""

    name: str
    line: Line
    models: Mapping[str, Line]
    scores: Mapping[str, Sequence[PastScore]]
    episodes: Sequence[PastEpisode]

    @property
    def devices(self) -> list[str]:
        """The devices that carried its data, the latest last."""
        return list(dict.fromkeys(filter(None, self.line.words("device"))))


@dataclass(frozen=True, slots=True)
class Past:
    """Everything on record between two moments, at one resolution."""

    since: int
    until: int
    resolution_seconds: int
    databases: Sequence[PastDatabase]
    devices: Mapping[str, Line]
    alerts: Sequence[PastAlert]


LONGEST_AT = {10: 6 * HOUR, 60: 7 * DAY, 600: 60 * DAY}
"""Beyond it the next coarser resolution is read: some thousand rows show all that can be seen."""

COARSEST_SECONDS = 6 * HOUR
"""Read for what is longer still; not kept, but folded while it is read."""


def resolution_for(since: int, until: int, now: int) -> int:
    """The resolution, in seconds, that a period is best read at."""
    for resolution in RESOLUTIONS:
        kept = since >= now - resolution.kept_seconds
        if kept and until - since <= LONGEST_AT[resolution.seconds]:
            return resolution.seconds
    return COARSEST_SECONDS


def resolution_named(text: str) -> int:
    """Seconds of "10s", "1m", "10m" or "6h". Raises InvalidPeriod."""
    names = {"10s": 10, "1m": 60, "10m": 600, "6h": COARSEST_SECONDS}
    if text not in names:
        raise InvalidPeriod(f"{text!r} is no resolution; one of {', '.join(names)}")
    return names[text]
