"""Does a series of samples grow? A robust slope and its interval. Pure."""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000
CONFIDENCE = 0.95
SEED = 20_240_101
"""Fixed, so that the same samples always give the same report."""

LEAST_POINTS = 8
"""Fewer tell nothing of a slope's interval."""

MOST_POINTS = 60
"""More are averaged to so many: the pairs of Theil-Sen grow with the square."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth per unit of x, with its interval."""

    point: float
    lower: float
    upper: float

    @property
    def zero_within_noise(self) -> bool:
        """Whether the interval contains zero."""
        return self.lower <= 0.0 <= self.upper


def slope(xs: Sequence[float], ys: Sequence[float]) -> Slope | None:
    """Theil-Sen slope of block means, None when there are too few or x stands still.

    The interval comes from a moving-block bootstrap of the residuals (Künsch, 1989): samples of
    one process that follow one another are alike, and resampling them singly would claim more
    than is known.
    """
    if len(xs) != len(ys):
        raise ValueError("as many x as y")
    if len(xs) < LEAST_POINTS:
        return None
    x, y = _block_means(xs), _block_means(ys)
    if x[0] == x[-1]:
        return None  # nothing has passed
    point = _theil_sen(x, y[np.newaxis, :])[0]
    line = point * x
    residuals = y - line - np.median(y - line)
    length = max(2, round(len(x) ** (1 / 3)))
    generator = np.random.default_rng(SEED)
    blocks = -(-len(x) // length)
    starts = generator.integers(0, len(x) - length + 1, (RESAMPLES, blocks))
    picks = (starts[:, :, np.newaxis] + np.arange(length)).reshape(RESAMPLES, -1)[:, : len(x)]
    slopes = _theil_sen(x, line + residuals[picks])
    tail = (1 - CONFIDENCE) / 2
    lower, upper = np.quantile(slopes, [tail, 1 - tail])
    return Slope(float(point), float(lower), float(upper))


def _theil_sen(x: Values, ys: Values) -> Values:
    """The median of the slopes of all pairs of points, for each row of ``ys``."""
    first, second = np.triu_indices(len(x), 1)
    apart = x[first] != x[second]
    first, second = first[apart], second[apart]
    runs = x[second] - x[first]
    return np.array([np.median((row[second] - row[first]) / runs) for row in ys])


def _block_means(values: Sequence[float]) -> Values:
    """At most MOST_POINTS means of samples that follow one another."""
    count = min(MOST_POINTS, len(values))
    edges = [round(number * len(values) / count) for number in range(count + 1)]
    return np.array([statistics.fmean(values[a:b]) for a, b in itertools.pairwise(edges)])
