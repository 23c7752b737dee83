"""Whether a database's debt grew over a window: a robust slope, as a share of the work done.

Stop-and-go cycles make level-0 files and pending bytes saw-toothed, so neither a difference of two
readings nor a significance test for independent samples says anything. The slope is Theil and Sen's
(the median of the slopes between all pairs of readings; P. K. Sen, JASA 63, 1968): a few odd
readings do not move it. It is then compared with the work of the same window: of the memtables
flushed, which share stayed behind in level 0; of the bytes compacted, by which share more are owed
at the end. A share of 5 % says that about 5 % of the puts were taken on credit, which is what the
error of a put rate measured there is.
"""

import statistics
from collections.abc import Sequence

MAX_POINTS = 40
"""The slope needs all pairs, every tick: more readings than this are averaged in bins first."""


def theil_sen_slope(points: Sequence[tuple[float, float]]) -> float | None:
    """Median slope of value over time, per second; None with fewer than three different times.

    >>> theil_sen_slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0), (3.0, 400.0), (4.0, 9.0)])
    2.0
    """
    kept = _binned(points)
    if len({at for at, _ in kept}) < 3:
        return None
    slopes = [
        (value - value_before) / (at - before)
        for index, (at, value) in enumerate(kept)
        for before, value_before in kept[:index]
        if at != before
    ]
    return statistics.median(slopes)


def _binned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    size = -(-len(points) // MAX_POINTS)
    if size <= 1:
        return points
    bins = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        (statistics.fmean(at for at, _ in held), statistics.fmean(value for _, value in held))
        for held in bins
    ]


def debt_share(points: Sequence[tuple[float, float]], work: float | None) -> float | None:
    """Growth over the window by its robust slope, as a share of ``work``; None: cannot be told.

    ``points`` are (time, debt) and ``work`` is what was done in the same window and in the same
    unit. Without it the growth is compared with the mean debt itself, which is stricter while the
    debt is small; a debt that is nought throughout has not grown.

    >>> debt_share([(0.0, 20.0), (30.0, 21.0), (60.0, 22.0)], 40.0)
    0.05
    >>> debt_share([(0.0, 0.0), (30.0, 0.0), (60.0, 0.0)], None)
    0.0
    """
    slope = theil_sen_slope(points)
    if slope is None:
        return None
    growth = slope * (points[-1][0] - points[0][0])
    measure = work if work is not None else statistics.fmean(value for _, value in points)
    if measure <= 0:
        return 0.0 if growth == 0 else None
    return growth / measure
