"""Scores of predictions against truths: errors, their quantiles, coverage with its interval."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

NORMAL_95_PERCENT: Final = 1.959964
"""Two-sided 95 % quantile of the standard normal distribution."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One prediction beside its truth; ``inside`` is None without an interval."""

    scenario: str
    error: float  # signed, relative: 0.1 is 10 % above the truth
    inside: bool | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Errors are absolute and relative; ``above`` is the largest signed error."""

    count: int
    median: float
    p90: float
    worst: float
    above: float
    covered: int
    with_interval: int


def scored(
    scenario: str, truth: float, rate: float, lower: float | None, upper: float | None
) -> Scored:
    """Score a prediction; an interval needs both ends."""
    inside = None if lower is None or upper is None else lower <= truth <= upper
    return Scored(scenario, rate / truth - 1.0, inside)


def summary(scores: Sequence[Scored]) -> Summary | None:
    """Over all scores; None without any."""
    if not scores:
        return None
    errors = sorted(abs(one.error) for one in scores)
    judged = [one.inside for one in scores if one.inside is not None]
    return Summary(
        count=len(errors),
        median=statistics.median(errors),
        # The smallest error that at least 90 % do not exceed: no interpolation between few.
        p90=errors[math.ceil(0.9 * len(errors)) - 1],
        worst=errors[-1],
        above=max(one.error for one in scores),
        covered=sum(judged),
        with_interval=len(judged),
    )


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); ValueError without trials."""
    if trials <= 0:
        raise ValueError("no trials, no share")
    z2 = NORMAL_95_PERCENT**2
    share = successes / trials
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = (
        NORMAL_95_PERCENT
        * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
        / (1 + z2 / trials)
    )
    return max(0.0, middle - half), min(1.0, middle + half)


def spread(values: Sequence[float]) -> float:
    """Relative standard deviation; ValueError with fewer than two values."""
    if len(values) < 2:
        raise ValueError("one value has no spread")
    return statistics.stdev(values) / statistics.fmean(values)


def pooled_spread(groups: Sequence[Sequence[float]]) -> float | None:
    """Relative standard deviation within groups, pooled by degrees of freedom; None without any."""
    repeated = [group for group in groups if len(group) > 1]
    if not repeated:
        return None
    freedom = sum(len(group) - 1 for group in repeated)
    return math.sqrt(sum(spread(group) ** 2 * (len(group) - 1) for group in repeated) / freedom)
