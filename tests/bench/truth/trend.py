"""Whether a saturated database has come to rest: no trend in L0 files and pending bytes."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LEVEL0_DRIFT_FILES: Final = 3.0
"""A drift below this over the half is within the sawtooth of one compaction of L0."""

LEVEL0_DRIFT_RATIO: Final = 0.25
PENDING_DRIFT_RATIO: Final = 0.25
"""Of the mean over the half: the sawtooth of compactions is larger than that from peak to peak."""

PENDING_DRIFT_BYTES: Final = 256 * 1048576.0
"""One merge into L1 or L2 at RocksDB's default sizes moves about this much at once."""

MIN_SAMPLES: Final = 6


@dataclass(frozen=True, slots=True)
class Sample:
    """Means over one progress interval; ``at_seconds`` from the load's start."""

    at_seconds: float
    seconds: float
    puts: float
    level0_files: float
    pending_bytes: float


@dataclass(frozen=True, slots=True)
class Trend:
    """The drift over the second half: Theil-Sen slope times its duration."""

    level0_files: float
    pending_bytes: float
    steady: bool


def second_half(samples: Sequence[Sample]) -> list[Sample]:
    """The samples after the middle of the time."""
    if not samples:
        return []
    middle = samples[-1].at_seconds / 2.0
    return [sample for sample in samples if sample.at_seconds - sample.seconds >= middle - 1e-6]


def trend(half: Sequence[Sample]) -> Trend:
    """The drift in these samples; too few of them are never steady.

    Theil-Sen (Sen 1968), the median of all pairs' slopes, because the sawtooth of compactions
    would tilt a least-squares line.
    """
    if len(half) < MIN_SAMPLES:
        return Trend(0.0, 0.0, steady=False)
    times = [sample.at_seconds for sample in half]
    level0 = [sample.level0_files for sample in half]
    pending = [sample.pending_bytes for sample in half]
    duration = times[-1] - times[0]
    level0_drift = _slope(times, level0) * duration
    pending_drift = _slope(times, pending) * duration
    level0_bound = max(LEVEL0_DRIFT_FILES, LEVEL0_DRIFT_RATIO * statistics.fmean(level0))
    pending_bound = max(PENDING_DRIFT_BYTES, PENDING_DRIFT_RATIO * statistics.fmean(pending))
    return Trend(
        level0_drift,
        pending_drift,
        steady=abs(level0_drift) <= level0_bound and abs(pending_drift) <= pending_bound,
    )


def put_rate(samples: Sequence[Sample]) -> float:
    """Mean puts/s over the samples; ValueError without any."""
    if not samples:
        raise ValueError("no samples to take a rate of")
    return sum(sample.puts for sample in samples) / sum(sample.seconds for sample in samples)


def _slope(times: Sequence[float], values: Sequence[float]) -> float:
    pairs = range(len(times))
    return statistics.median(
        (values[j] - values[i]) / (times[j] - times[i]) for i in pairs for j in pairs if j > i
    )
