"""When RocksDB delays and stops writes, and at what rate it lets them in meanwhile.

ColumnFamilyData::RecalculateWriteStallConditions, GetWriteStallConditionAndCause, SetupDelay and
GetL0FileCountForCompactionSpeedup (called GetL0ThresholdSpeedupCompaction up to 8.x), all in
db/column_family.cc; unchanged in these points from 7.8.3 to 9.8.4. They run whenever a new
SuperVersion is installed: after each memtable switch, flush and compaction.
"""

from typing import Final

from agent.models.lsm import TreeOptions

SLOW_DOWN: Final = 0.8
"""kIncSlowdownRatio: debt stayed or grew while writes were delayed. Its inverse when it shrank."""
SLOW_DOWN_NEAR_STOP: Final = 0.6
"""kNearStopSlowdownRatio."""
RECOVERY: Final = 1.4
"""kDelayRecoverSlowdownRatio: the reward for leaving the delay."""
SLOWEST_BYTES_PER_SECOND: Final = 16 * 1024.0
"""kMinWriteRate."""
FILES_BEFORE_STOP: Final = 2
"""Level 0 within so many files of its stop trigger counts as near it."""

MEMTABLES: Final = "memtables"
LEVEL0_FILES: Final = "l0_files"
PENDING_BYTES: Final = "pending_compaction_bytes"


class WriteControl:
    """The write controller of one column family. ``cause`` is None while writes flow freely."""

    __slots__ = (
        "_options",
        "_previous_debt",
        "_speedup_files",
        "cause",
        "delayed",
        "delayed_bytes_per_second",
        "pressure",
        "stopped",
    )

    def __init__(self, options: TreeOptions) -> None:
        self._options = options
        self._previous_debt = 0.0
        trigger, slowdown = (
            options.level0_file_num_compaction_trigger,
            options.level0_slowdown_writes_trigger,
        )
        self._speedup_files = min(2 * trigger, trigger + (slowdown - trigger) // 4)
        self.cause: str | None = None
        self.stopped = False
        self.delayed = False
        self.pressure = False
        self.delayed_bytes_per_second = options.delayed_write_rate_bytes_per_second

    @property
    def speeds_up_compaction(self) -> bool:
        """WriteController::NeedSpeedupCompaction: all compaction slots may be used."""
        return self.stopped or self.delayed or self.pressure

    def update(self, immutable_memtables: int, level0_files: int, debt: float) -> None:
        """A new SuperVersion: ``debt`` is the estimate of pending compaction bytes."""
        options = self._options
        was_stopped, was_delayed = self.stopped, self.delayed
        stopped, cause, near_stop = self._condition(immutable_memtables, level0_files, debt)
        self.stopped = stopped
        self.delayed = cause is not None and not stopped
        self.cause = cause
        self.pressure = False
        if self.delayed:
            if was_delayed or was_stopped:
                self._adjust(debt, was_stopped or near_stop, was_delayed)
        elif cause is None:
            soft = options.soft_pending_compaction_bytes_limit
            self.pressure = level0_files >= self._speedup_files or debt >= soft / 4.0
            if was_delayed:
                self._set(self.delayed_bytes_per_second * RECOVERY)
        self._previous_debt = debt

    def _condition(self, memtables: int, files: int, debt: float) -> tuple[bool, str | None, bool]:
        """(stopped, cause, near the stop)."""
        options = self._options
        soft = options.soft_pending_compaction_bytes_limit
        hard = options.hard_pending_compaction_bytes_limit
        if memtables >= options.max_write_buffer_number:
            return True, MEMTABLES, False
        if files >= options.level0_stop_writes_trigger:
            return True, LEVEL0_FILES, False
        if 0 < hard <= debt:
            return True, PENDING_BYTES, False
        if (
            options.max_write_buffer_number > 3
            and memtables >= options.max_write_buffer_number - 1
            and memtables - 1 >= options.min_write_buffer_number_to_merge
        ):
            return False, MEMTABLES, False
        if 0 <= options.level0_slowdown_writes_trigger <= files:
            near = files >= options.level0_stop_writes_trigger - FILES_BEFORE_STOP
            return False, LEVEL0_FILES, near
        if 0 < soft <= debt:
            return False, PENDING_BYTES, hard > 0 and debt - soft > 0.75 * (hard - soft)
        return False, None, False

    def _adjust(self, debt: float, penalized: bool, was_delayed: bool) -> None:
        """SetupDelay. Its first condition asks for a delay token: a stop alone changes nothing."""
        if (
            not was_delayed
            or self._options.delayed_write_rate_bytes_per_second <= SLOWEST_BYTES_PER_SECOND
        ):
            return
        rate = self.delayed_bytes_per_second
        if penalized:
            rate = max(SLOWEST_BYTES_PER_SECOND, rate * SLOW_DOWN_NEAR_STOP)
        elif 0 < self._previous_debt <= debt:
            rate = max(SLOWEST_BYTES_PER_SECOND, rate * SLOW_DOWN)
        elif self._previous_debt > debt:
            rate /= SLOW_DOWN
        self._set(rate)

    def _set(self, rate: float) -> None:
        self.delayed_bytes_per_second = min(rate, self._options.delayed_write_rate_bytes_per_second)
