"""What the models built on measured demands answer: a rate, the limit, and how it came about."""

import math
from dataclasses import dataclass
from typing import Final

RESOURCES: Final = (
    "device_write",  # bytes/s the device takes in writes
    "device_read_write",  # bytes/s the device moves, reads and writes together
    "compaction_threads",  # thread seconds/s of RocksDB's low-priority pool
    "flush_threads",  # thread seconds/s of RocksDB's high-priority pool
    "cpu",  # core seconds/s of the host, or of the process's quota
    "writer",  # the write path itself: one write group at a time
    "wal_sync",  # the WAL's syncs, which take turns: seconds of sync/s
    "rate_limiter",  # bytes/s that RocksDB's own rate limiter lets flush and compaction write
)
"""What can be the bottleneck; the names are the values of the metric's ``resource`` label."""

INTERVAL_LEVEL: Final = 0.9
"""The share of true values that every published interval is meant to contain."""

NORMAL_90: Final = 1.645
"""Standard errors on either side that hold that share of a normal distribution."""


@dataclass(frozen=True, slots=True)
class MissingInput:
    """An input that could not be had, and what was taken in its place."""

    name: str
    detail: str
    fallback: str


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """One row of the demand table: what a put costs a resource, and what the resource can give.

    ``demand`` is in ``unit`` per put and ``free_capacity`` in ``unit`` per second;
    ``puts_per_second`` = utilization attainable * free_capacity / demand. ``spread_ratio`` is the
    relative standard error of the demand, None where it is not measured.
    """

    resource: str
    unit: str  # "bytes", "thread seconds", "core seconds", "seconds of sync"
    demand: float
    free_capacity: float
    puts_per_second: float
    source: str
    spread_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A model's sustainable put rate, before calibration.

    ``log_half_width`` is the half width, in natural log space, of the 90 % interval that the model
    claims for itself before any label exists: lower = puts_per_second * exp(-log_half_width).
    ``resources`` has the binding resource first. ``at`` is the age of the oldest input that
    matters (monotonic). ``advice`` is a sentence: what would lift the limit.
    """

    model: str
    puts_per_second: float
    log_half_width: float
    resources: tuple[ResourceUse, ...]
    missing: tuple[MissingInput, ...]
    source: str
    at: float
    advice: str = ""

    @property
    def bottleneck(self) -> str | None:
        """The binding resource."""
        return self.resources[0].resource if self.resources else None

    @property
    def runner_up(self) -> ResourceUse | None:
        """The resource that would bind next."""
        return self.resources[1] if len(self.resources) > 1 else None

    @property
    def lower(self) -> float:
        """Lower end of the model's own interval."""
        return self.puts_per_second * math.exp(-self.log_half_width)

    @property
    def upper(self) -> float:
        """Upper end of the model's own interval."""
        return self.puts_per_second * math.exp(self.log_half_width)


@dataclass(frozen=True, slots=True)
class CalibratedEstimate:
    """A model's rate after correction by what this database really sustained, with its interval.

    ``lower`` and ``upper`` enclose the true S_max with ``INTERVAL_LEVEL`` probability by ``basis``:
    "prior" (no label yet: the model's own claim or a documented prior), "few labels" (prior and
    labels mixed) or "labels" (split conformal). ``factor`` is what the raw rate was multiplied by.
    ``accuracy_ratio`` is 1 - median absolute relative error over the labels, ``coverage_ratio``
    the share of the ``judged`` labels inside the interval published before them, with its binomial
    interval; None without labels. ``labels`` are fewer: those since the model's error last drifted.
    ``widened`` says why the interval is wider than the scores alone would make it.
    """

    model: str
    puts_per_second: float
    lower: float
    upper: float
    factor: float
    basis: str
    labels: int
    accuracy_ratio: float | None
    judged: int
    coverage_ratio: float | None
    coverage_interval: tuple[float, float] | None
    confidence: str  # "unverified", or one of CONFIDENCE_LEVELS
    widened: str | None = None
