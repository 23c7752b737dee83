"""Debt: compaction owed for puts already taken, beyond what is owed in a steady state. Pure.

Interface: ``owed_bytes`` (one moment) and ``DebtTrend`` (how long it takes to clear).
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from agent.forecast.pending import (
    estimated_pending_compaction_bytes,
    level_limits,
    level_options,
)
from agent.learning.debt_trend import theil_sen_slope
from agent.models.lsm import TreeOptions
from agent.readings import Known, Missing, Quantity
from probes.rocksdb.samples import LevelShape

TREND_SECONDS: Final = 120.0
"""Over how long the trend of the debt is taken: several flushes at any rate that matters."""

TREND_MIN_READINGS: Final = 4
"""A slope through fewer readings is no trend."""

SOURCE: Final = "manifest and options"


def owed_bytes(levels: Sequence[LevelShape], tree: TreeOptions) -> float:
    """Bytes that compactions owe beyond what they owe in a steady state.

    Leveled compaction: RocksDB's own estimate for the tree as it is, less the same for a steady
    tree: level 0 not above its compaction trigger, every other level not above its target. So the
    merge that is always about to run, with what it pushes down, is no debt. Universal compaction
    has no such estimate: what lies in level 0 beyond its trigger.
    """
    if not levels:
        return 0.0
    trigger = tree.level0_file_num_compaction_trigger
    file_bytes = levels[0].bytes / max(1, levels[0].files)
    if tree.style != "level":
        return max(0.0, levels[0].bytes - trigger * file_bytes)
    options = level_options(tree)
    targets = level_limits(levels, options).target_bytes
    files = min(levels[0].files, trigger)
    steady = [
        LevelShape(files, round(files * file_bytes)),
        *(
            LevelShape(level.files, round(min(level.bytes, target)))
            for level, target in zip(levels[1:], targets[1:], strict=False)
        ),
    ]
    owed = estimated_pending_compaction_bytes(levels, options)
    return max(0.0, owed - estimated_pending_compaction_bytes(steady, options))


class DebtTrend:
    """Follows the debt of one database."""

    def __init__(self) -> None:
        self._readings: deque[tuple[float, float]] = deque()

    def clear_seconds(self, at: float, debt_bytes: float) -> Quantity:
        """Take a reading; seconds until the debt is gone at its present trend, +Inf if never."""
        if not self._readings or at > self._readings[-1][0]:
            self._readings.append((at, debt_bytes))
        while self._readings[0][0] < at - TREND_SECONDS:
            self._readings.popleft()
        if debt_bytes <= 0:
            return Known(0.0, SOURCE, at)
        if len(self._readings) < TREND_MIN_READINGS:
            return Missing("not_yet_measured", "the trend of the debt needs several readings")
        slope = theil_sen_slope(tuple(self._readings))
        if slope is None or slope >= 0:
            return Known(float("inf"), SOURCE, at)
        return Known(debt_bytes / -slope, SOURCE, at)
