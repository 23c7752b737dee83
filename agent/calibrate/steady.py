"""Is a series of samples steady, or does it go somewhere? A trend test for sawtooth series.

Level-0 files and pending compaction bytes rise and fall with every compaction, and neighbouring
samples resemble each other, so that a plain significance test finds trends everywhere. Two things
must come together here before a series counts as having a trend: it is significant (Mann-Kendall,
with the variance corrected for autocorrelation by Hamed & Rao 1998, J. Hydrology 204, 182-196) and
it matters (the robust slope of Theil & Sen, over the whole series, is more than a tenth of the
level). Samples are equally spaced in time; both tests only look at ranks and medians.

Use: ``no_trend(values)`` for the answer, ``trend(values)`` for the figures behind it.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LEAST_SAMPLES: Final = 12
"""Below this neither rank test nor correction says anything: nothing is shown to be steady."""

MOST_SAMPLES: Final = 96
"""Longer series are averaged in blocks to at most this many: the tests compare all pairs."""

SIGNIFICANCE: Final = 0.05
"""Two-sided probability below which a trend is not taken for chance."""

SIGNIFICANT_CORRELATION: Final = 1.96
"""Autocorrelations within this many / sqrt(n) of zero are noise (95 %; Hamed & Rao)."""

LEAST_RELATIVE_CHANGE: Final = 0.1
"""A change over the whole series of less than this share of its level is none that matters:
S_max is defined for an LSM size within 10 %."""


@dataclass(frozen=True, slots=True)
class Trend:
    """``change`` from begin to end by the robust slope, in the samples' own unit; ``level`` their
    median of magnitudes; ``probability`` of a trend as strong as this by chance, two-sided."""

    change: float
    level: float
    probability: float


def no_trend(values: Sequence[float], *, least_change: float = 0.0) -> bool:
    """Tell whether the series is steady; False also when it is too short to show that.

    ``least_change`` is a change that never matters, in the samples' unit, for series near zero.

    >>> no_trend([20, 21, 19, 20, 22, 20, 19, 21, 20, 20, 21, 19])
    True
    >>> no_trend(range(12))
    False
    """
    found = trend(values)
    if found is None:
        return False
    return (
        found.probability >= SIGNIFICANCE
        or abs(found.change) <= LEAST_RELATIVE_CHANGE * found.level
        or abs(found.change) <= least_change
    )


def trend(values: Sequence[float]) -> Trend | None:
    """The series' trend; None with fewer than ``LEAST_SAMPLES`` or with samples not finite."""
    if len(values) < LEAST_SAMPLES or not all(map(math.isfinite, values)):
        return None
    samples = _averaged(values)
    count = len(samples)
    score = sum(
        _sign(later - earlier)
        for index, earlier in enumerate(samples)
        for later in samples[index + 1 :]
    )
    slope = statistics.median(
        (samples[later] - samples[earlier]) / (later - earlier)
        for earlier in range(count)
        for later in range(earlier + 1, count)
    )
    variance = _variance(samples) * _correction(samples, slope)
    probability = 1.0
    if variance > 0 and score:
        # Continuity correction: the score moves in steps of two.
        probability = math.erfc((abs(score) - 1) / math.sqrt(2.0 * variance))
    return Trend(
        change=slope * (count - 1),
        level=statistics.median(map(abs, samples)),
        probability=probability,
    )


def _averaged(values: Sequence[float]) -> list[float]:
    block = math.ceil(len(values) / MOST_SAMPLES)
    whole = len(values) - len(values) % block
    return [statistics.fmean(values[start : start + block]) for start in range(0, whole, block)]


def _sign(difference: float) -> int:
    return (difference > 0) - (difference < 0)


def _variance(samples: Sequence[float]) -> float:
    """Variance of the Mann-Kendall score for independent samples, ties considered."""
    count = len(samples)
    ties = [samples.count(value) for value in set(samples)]
    return (
        count * (count - 1) * (2 * count + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)
    ) / 18.0


def _correction(samples: Sequence[float], slope: float) -> float:
    """By what autocorrelation multiplies that variance (Hamed & Rao 1998, equation 17); at least 1.

    A sawtooth's negative correlations would make the test sharper than the data bear.
    """
    count = len(samples)
    ranks = _ranks([value - slope * index for index, value in enumerate(samples)])
    mean = statistics.fmean(ranks)
    total = sum((rank - mean) ** 2 for rank in ranks)
    if total <= 0:
        return 1.0
    excess = 0.0
    for lag in range(1, count - 2):
        correlation = (
            sum((a - mean) * (b - mean) for a, b in zip(ranks[:-lag], ranks[lag:], strict=True))
            / total
        )
        if abs(correlation) > SIGNIFICANT_CORRELATION / math.sqrt(count):
            excess += (count - lag) * (count - lag - 1) * (count - lag - 2) * correlation
    return max(1.0, 1.0 + 2.0 * excess / (count * (count - 1) * (count - 2)))


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1, equal values sharing their mean rank."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for position in range(start, end + 1):
            ranks[order[position]] = (start + end) / 2.0 + 1.0
        start = end + 1
    return ranks
