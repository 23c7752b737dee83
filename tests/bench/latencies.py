"""Many latencies as counts in narrow bins: millions of puts per round, added and mixed. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Self

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

SHORTEST_SECONDS = 1e-6
LONGEST_SECONDS = 1e3
BIN_RATIO = 1.002
"""From one edge to the next; a quantile is interpolated inside its bin."""

_LOG_RATIO = float(np.log(BIN_RATIO))
_BINS = int(np.ceil(np.log(LONGEST_SECONDS / SHORTEST_SECONDS) / _LOG_RATIO))


@dataclass(frozen=True, slots=True)
class Latencies:
    """How many puts, or which share of them, took how long; one count per bin."""

    counts: Values

    @classmethod
    def of(cls, seconds: Values) -> Self:
        """Latencies beyond the first or last edge count in the first or last bin."""
        inside = np.clip(seconds, SHORTEST_SECONDS, LONGEST_SECONDS)
        bins = (np.log(inside / SHORTEST_SECONDS) / _LOG_RATIO).astype(np.int64)
        return cls(np.bincount(np.minimum(bins, _BINS - 1), minlength=_BINS).astype(np.float64))

    @property
    def total(self) -> float:
        """All counts together."""
        return float(self.counts.sum())

    def __add__(self, other: Self) -> Self:
        return type(self)(self.counts + other.counts)

    def scaled(self, total: float) -> Self:
        """The same distribution with another total; ValueError when there is nothing."""
        if self.total <= 0:
            raise ValueError("no puts, no distribution")
        return type(self)(self.counts * (total / self.total))

    def quantile(self, quantile: float) -> float:
        """In seconds; ValueError when there is nothing."""
        reached = np.cumsum(self.counts)
        if reached[-1] <= 0:
            raise ValueError("no puts, no quantile")
        # Of rounding, and never an empty bin before the first put.
        wanted = max(quantile, 1e-12) * reached[-1]
        index = int(np.searchsorted(reached, wanted * (1 - 1e-12)))
        into = 1.0 - (reached[index] - wanted) / self.counts[index]
        return float(SHORTEST_SECONDS * np.exp((index + into) * _LOG_RATIO))


def total_of(many: Sequence[Latencies]) -> Latencies:
    """All of them as one; each put counts the same."""
    return reduce(Latencies.__add__, many)


def mixed(ordinary: Latencies, probed: Latencies, probed_ratio: float) -> Latencies:
    """A mixture in which ``probed_ratio`` of all puts are like ``probed``, whatever the counts."""
    if not 0.0 <= probed_ratio <= 1.0:
        raise ValueError("a share is between 0 and 1")
    return ordinary.scaled(1.0 - probed_ratio) + probed.scaled(probed_ratio)
