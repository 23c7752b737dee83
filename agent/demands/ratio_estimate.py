"""Ratios of sums with their standard error, by the jackknife. Pure.

What a put costs is a total over a total (bytes over puts), never a mean of ratios. Its error comes
from leaving out one block of terms at a time (Quenouille's jackknife; Efron & Stein, The Annals of
Statistics 9, 1981), which needs no assumption about how numerator and denominator vary together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MAX_BLOCKS: Final = 32
"""Neighbouring terms are joined to at most so many blocks: what follows one another is not
independent, and a block covers several compactions."""

SMALL_SAMPLE_INFLATION: Final = (4.5, 2.2, 1.6, 1.4, 1.3, 1.2)
"""Student's t over the normal quantile at 90 % two-sided, for 2, 3, ... 7 blocks, rounded up: with
so few blocks the error itself is badly known."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio; ``spread_ratio`` is its relative standard error, None from a single block."""

    value: float
    spread_ratio: float | None
    terms: int


def ratio_of_sums(terms: Sequence[tuple[float, float]]) -> Ratio | None:
    """Sum of the first members over the sum of the second ones; None when that has no meaning."""
    top, bottom = sum(term[0] for term in terms), sum(term[1] for term in terms)
    if bottom <= 0:
        return None
    value = top / bottom
    blocks = _blocks(terms)
    left_out = [
        (top - block_top) / (bottom - block_bottom)
        for block_top, block_bottom in blocks
        if bottom - block_bottom > 1e-12 * bottom
    ]
    count = len(left_out)
    if count < 2 or value <= 0:
        return Ratio(value, None if value > 0 else 0.0, len(terms))
    mean = sum(left_out) / count
    variance = (count - 1) / count * sum((each - mean) ** 2 for each in left_out)
    inflation = SMALL_SAMPLE_INFLATION[count - 2] if count - 2 < len(SMALL_SAMPLE_INFLATION) else 1
    return Ratio(value, math.sqrt(variance) / value * inflation, len(terms))


def _blocks(terms: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    size = max(1, math.ceil(len(terms) / MAX_BLOCKS))
    return [
        (
            sum(term[0] for term in terms[start : start + size]),
            sum(term[1] for term in terms[start : start + size]),
        )
        for start in range(0, len(terms), size)
    ]


def joint_spread(*spreads: float | None) -> float | None:
    """Relative standard error of a product of independent factors; None when one is not known."""
    known = [spread for spread in spreads if spread is not None]
    return math.hypot(*known) if len(known) == len(spreads) else None
