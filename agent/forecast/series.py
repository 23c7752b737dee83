"""What a forecast of stalls follows over time: L0, pending bytes and flushes, and their limits.

One ``FamilyTrends`` per column family, one ``Flushes`` per database; ``compaction_limits`` are the
triggers of OPTIONS as RocksDB applies them. Pure.
"""

import math
from collections import deque
from dataclasses import replace

from agent.forecast.pending import (
    LevelOptions,
    estimated_pending_compaction_bytes,
    level_count,
    level_multiplier,
    stall_file_count,
)
from agent.forecast.trends import SawtoothTrend
from probes.rocksdb.options_samples import ColumnFamilyOptions
from probes.rocksdb.samples import ColumnFamilyShape, FlushEvent, LogSample

FALL_FILES = 2.0
"""A merge takes at least two files out of L0 (the least that RocksDB merges); one file less between
two ticks may be a move."""

FLUSHES_KEPT = 64
FLUSH_WINDOW_SECONDS = 120.0
"""How slow flushes are at worst is asked of the last two minutes."""

MIN_FLUSHES = 4
"""With fewer, one slow flush would be the rule."""


class Flushes:
    """Recent flushes out of the LOG: how long they take, and what they empty."""

    def __init__(self) -> None:
        self._events: deque[FlushEvent] = deque(maxlen=FLUSHES_KEPT)
        self._clock_shift_seconds = 0.0

    def add(self, log: LogSample) -> None:
        """Take the flushes that are new."""
        jump = log.clock_shift_seconds - self._clock_shift_seconds
        if jump:
            self._clock_shift_seconds = log.clock_shift_seconds
            for index, event in enumerate(self._events):
                self._events[index] = replace(event, wall_seconds=event.wall_seconds + jump)
        last = self._events[-1].wall_seconds if self._events else -math.inf
        self._events.extend(f for f in log.recent_flushes if f.wall_seconds > last)

    def _of(self, family: str) -> list[FlushEvent]:
        return [f for f in self._events if f.column_family in (family, None)]

    def puts_per_file(self, family: str) -> float | None:
        """Puts to the whole database for one flush of this column family, the mean.

        The put rate is the whole database's, and a column family with a tenth of the puts fills
        its memtables ten times slower. None when no event carried entries.
        """
        flushes = sum(1 for f in self._of(family) if f.entries)
        return sum(f.entries or 0 for f in self._events) / flushes if flushes else None

    def slow_seconds(self, family: str) -> float | None:
        """The second longest of the last minutes: the longest may be an accident."""
        events = self._of(family)
        if not events:
            return None
        since = events[-1].wall_seconds - FLUSH_WINDOW_SECONDS
        durations = sorted(
            f.duration_seconds
            for f in events
            if f.duration_seconds is not None and f.wall_seconds >= since
        )
        return durations[-2] if len(durations) >= MIN_FLUSHES else None


class FamilyTrends:
    """L0 files and pending bytes of one column family over time."""

    def __init__(self, name: str, options: ColumnFamilyOptions) -> None:
        self.name = name
        self._leveled = options.compaction_style == "level"
        self.files = SawtoothTrend(FALL_FILES)
        # The estimate of pending bytes falls by what a merge took in, at least a level's base.
        self.pending = SawtoothTrend(float(options.max_bytes_for_level_base or 256 * 1048576) / 4)

    def add(self, at: float, shape: ColumnFamilyShape, options: ColumnFamilyOptions) -> None:
        """Take the shape of one tick."""
        style = options.compaction_style or "level"
        self.files.add(at, float(stall_file_count(shape, style)))
        self.pending.add(
            at, estimated_pending_compaction_bytes(shape.levels, family_level_options(options))
        )

    @property
    def owed(self) -> float:
        """Pending bytes, or files where RocksDB has no estimate of those (universal, FIFO)."""
        return (self.pending.value or 0.0) if self._leveled else (self.files.value or 0.0)


def family_level_options(options: ColumnFamilyOptions) -> LevelOptions:
    """The options that the estimate of pending bytes needs; RocksDB's defaults where not said."""
    return LevelOptions(
        # Absent in files of versions before the option was written; its default was false then.
        level_compaction_dynamic_level_bytes=bool(options.level_compaction_dynamic_level_bytes),
        style=options.compaction_style or "level",
        num_levels=level_count(options.num_levels),
        level0_file_num_compaction_trigger=options.level0_file_num_compaction_trigger or 4,
        max_bytes_for_level_base=float(options.max_bytes_for_level_base or 256 * 1048576),
        max_bytes_for_level_multiplier=level_multiplier(options.max_bytes_for_level_multiplier),
    )


def compaction_limits(options: ColumnFamilyOptions) -> tuple[float, float]:
    """L0 files and pending bytes at which writes are first held back; infinite: never.

    RocksDB replaces FIFO's triggers by the largest integer; without automatic compactions neither
    limit holds.
    """
    if options.disable_auto_compactions or options.compaction_style == "fifo":
        return math.inf, math.inf
    triggers = (
        options.level0_slowdown_writes_trigger,
        options.level0_stop_writes_trigger,
    )
    limits = (
        options.soft_pending_compaction_bytes_limit,
        options.hard_pending_compaction_bytes_limit,
    )
    return (
        min((float(t) for t in triggers if t is not None and t >= 0), default=math.inf),
        min((float(x) for x in limits if x is not None and x > 0), default=math.inf),
    )
