"""Intervals that mean what they say: conformal quantiles, binomial intervals, robust means.

Split conformal prediction (V. Vovk et al., Algorithmic Learning in a Random World, 2005; J. Lei et
al., JASA 113, 2018): of n earlier errors, the one of rank ceil((n + 1) * level) bounds the next
with probability of at least ``level``, whatever their distribution, as long as old and new are
exchangeable. For level 0.9 that rank exists from n = 9 on; with fewer labels there is no such
bound, and this module says so.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

MAX_STEPS = 12
SETTLED = 1e-4
"""The Huber mean is found by steps that shrink geometrically; 0.01 % is far below any scatter."""

HUBER_K = 1.345
"""Huber's constant: 95 % efficiency for normal errors."""


def conformal_quantile(scores: Sequence[float], level: float) -> float | None:
    """The score of rank ceil((n + 1) * level); None when there are too few of them.

    >>> conformal_quantile([3.0, 1.0, 2.0, 5.0, 4.0, 9.0, 7.0, 8.0, 6.0], 0.9)
    9.0
    >>> conformal_quantile([1.0] * 8, 0.9) is None
    True
    """
    # Rounded first: 0.9 * 10 must not become the tenth of nine ranks by a floating-point error.
    rank = math.ceil(round((len(scores) + 1) * level, 9))
    return sorted(scores)[rank - 1] if rank <= len(scores) else None


def labels_for(level: float) -> int:
    """How many labels a conformal interval of this level needs.

    >>> labels_for(0.9)
    9
    """
    return math.ceil(round(level / (1 - level), 9))


def clopper_pearson(successes: int, trials: int, level: float) -> tuple[float, float]:
    """The exact binomial interval of a share (Clopper & Pearson, Biometrika 26, 1934).

    >>> low, high = clopper_pearson(9, 10, 0.9)
    >>> f"{low:.4f} {high:.4f}"
    '0.6058 0.9949'
    """
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else _root(lambda p: _at_least(successes, trials, p) - tail)
    high = (
        1.0
        if successes == trials
        else _root(lambda p: tail - (1 - _at_least(successes + 1, trials, p)))
    )
    return low, high


def _at_least(successes: int, trials: int, share: float) -> float:
    return sum(
        math.comb(trials, k) * share**k * (1 - share) ** (trials - k)
        for k in range(successes, trials + 1)
    )


def _root(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@dataclass(frozen=True, slots=True)
class Evidence:
    """One value with its weight; or a bound, which says nothing until it is violated."""

    value: float
    weight: float
    bound: Literal["exact", "at_least", "at_most"] = "exact"


def robust_center(evidence: Sequence[Evidence], prior_weight: float, scale: float) -> float:
    """Weighted Huber mean, shrunk towards 0 by ``prior_weight`` observations of 0.

    ``scale`` is the standard deviation that errors are expected to have: what lies further off than
    HUBER_K of it counts less (P. J. Huber, Annals of Mathematical Statistics 35, 1964). A bound
    pulls the center up to its value while the center violates it, and not at all otherwise.

    >>> robust_center([Evidence(0.5, 1.0), Evidence(0.5, 1.0)], 0.0, 0.1)
    0.5
    >>> robust_center([Evidence(0.5, 1.0, "at_most")], 1.0, 0.1)
    0.0
    """
    exact = [e for e in evidence if e.bound == "exact"]
    center = weighted_median(exact) if exact else 0.0
    for _ in range(MAX_STEPS):
        before = center
        total, mass = 0.0, prior_weight
        for e in evidence:
            if (e.bound == "at_least" and center >= e.value) or (
                e.bound == "at_most" and center <= e.value
            ):
                continue
            away = abs(e.value - center)
            weight = e.weight
            if e.bound == "exact" and away > HUBER_K * scale:
                weight *= HUBER_K * scale / away
            total += weight * e.value
            mass += weight
        center = total / mass if mass > 0 else 0.0
        if abs(center - before) < SETTLED:
            break
    return center


def weighted_median(evidence: Sequence[Evidence]) -> float:
    """The value that has half of the weight on either side; the mean of two where it is even.

    >>> weighted_median([Evidence(1.0, 1.0), Evidence(2.0, 1.0), Evidence(9.0, 1.0)])
    2.0
    """
    ordered = sorted(evidence, key=lambda e: e.value)
    half = sum(e.weight for e in ordered) / 2
    below = 0.0
    for index, e in enumerate(ordered):
        below += e.weight
        if below > half or index == len(ordered) - 1:
            return e.value
        if below == half:
            return (e.value + ordered[index + 1].value) / 2
    raise ValueError("a median needs at least one value")
