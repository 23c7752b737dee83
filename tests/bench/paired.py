"""What a bench of pairs concludes: the order of runs, ratios, their intervals. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 20_240_101
"""Fixed, so that the same measurements always give the same report."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A ratio from ``n`` pairs or rounds and its bootstrap interval; None below two of them."""

    point: float
    lower: float | None
    upper: float | None
    n: int

    def shown(self) -> str:
        """As a report's cell."""
        if self.lower is None or self.upper is None:
            return f"{self.point:.4f} (one pair: no interval)"
        return f"{self.point:.4f} ({self.lower:.4f}..{self.upper:.4f})"


@dataclass(frozen=True, slots=True)
class Aim:
    """How far a ratio may be from 1, at the point estimate and at the interval's worse end.

    ``worse_is_lower``: a loss counts downwards (throughput), an increase upwards (latency).
    """

    worse_is_lower: bool
    point_change: float
    interval_change: float

    def reached(self, estimate: Estimate) -> bool:
        """Whether both hold; without an interval nothing is excluded."""
        if estimate.lower is None or estimate.upper is None:
            return False
        if self.worse_is_lower:
            return 1 - estimate.point < self.point_change and (
                1 - estimate.lower < self.interval_change
            )
        return estimate.point - 1 < self.point_change and (
            estimate.upper - 1 < self.interval_change
        )

    def shown(self) -> str:
        """As a report's cell."""
        word = "loss" if self.worse_is_lower else "increase"
        return f"{word} < {self.point_change:.0%}, interval excludes {self.interval_change:.0%}"


def alternating(pairs: int) -> Iterator[tuple[int, bool]]:
    """(pair, with the agent) in the order A B B A A B ...: a steady drift favours neither side."""
    for pair in range(pairs):
        first = pair % 2 == 0
        yield pair, first
        yield pair, not first


def median_ratio(ratios: Sequence[float]) -> Estimate:
    """Median of the ratios; the percentile bootstrap resamples whole pairs (Efron, 1979)."""
    if not ratios:
        raise ValueError("no pairs")
    values = np.asarray(ratios, dtype=np.float64)
    return resampled(len(values), lambda picks: float(np.median(values[picks])))


def resampled(
    n: int, ratio: Callable[[NDArray[np.int64]], float], resamples: int = RESAMPLES
) -> Estimate:
    """``ratio`` of all n, given by their indices, and of resamples of them with replacement."""
    point = ratio(np.arange(n))
    if n < 2:
        return Estimate(point, None, None, n)
    generator = np.random.default_rng(SEED)
    found = [ratio(picks) for picks in generator.integers(0, n, (resamples, n))]
    tail = (1 - CONFIDENCE) / 2
    lower, upper = np.quantile(found, [tail, 1 - tail])
    return Estimate(point, float(lower), float(upper), n)


def mixed_throughput(ordinary_ratio: float, probed_ratio: float, share: float) -> float:
    """Ratio over a time of which ``share`` has a probe: rates over time add up."""
    return ordinary_ratio * (1 - share + share * probed_ratio)
