"""What is remembered of each device's measurement and runs, and when that is worth saving. Pure.

A run that begins or ends is saved at once: an agent that does not outlive it has to know. But a
busy device is measured by its traffic all the time, and each save waits for an fsync on what may be
the database's file system. So a measurement that hardly changed goes with the next save that
something else asks for, or after an hour.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final

from agent.learning.memory import (
    MAX_ENTRIES,
    CapacityMemory,
    DeviceIdentity,
    ProbingMemory,
    RunsMemory,
)

OLD_SECONDS: Final = 3600.0
"""What is saved of a measurement that goes on may lag behind by so much."""

CHANGED_RATIO: Final = 1.05
"""A capacity that is further from the saved one is another."""

SAME_MOMENT_SECONDS: Final = 60.0
"""The wall clock is corrected all the time, and with it what it said of a moment."""


class News(Enum):
    """How soon what was remembered is to be saved."""

    NONE = "none"
    LATER = "later"
    AT_ONCE = "at_once"


class ProbingMemories:
    """By the identity of the device; of MAX_ENTRIES, as many as are saved, or of all that there are
    at a time. The others were seen longest ago."""

    def __init__(self, entries: Iterable[ProbingMemory]) -> None:
        self._entries = {entry.device.key: entry for entry in entries}
        self._saved = dict(self._entries)

    def get(self, device: DeviceIdentity) -> ProbingMemory | None:
        """None: neither measured nor tried so far."""
        return self._entries.get(device.key)

    def remember(self, entry: ProbingMemory) -> News:
        """Take an entry in the place of the device's older one."""
        key = entry.device.key
        if key not in self._entries and entry.capacity is None and entry.runs == RunsMemory():
            return News.NONE
        if self._entries.pop(key, None) is None:
            self._make_room(entry.seen_wall_seconds)
        self._entries[key] = entry
        before = self._saved.get(key) or ProbingMemory(
            entry.device, None, RunsMemory(), entry.seen_wall_seconds
        )
        same_runs = _same_runs(before.runs, entry.runs)
        # What was noted by a clock that was fast would have no age for whoever reads it.
        set_back = entry.seen_wall_seconds < before.seen_wall_seconds
        same_device = before.device.instance == entry.device.instance
        same_capacity = same_device and _same_capacity(before.capacity, entry.capacity)
        if same_runs and same_capacity and not set_back:
            return News.NONE
        self._saved[key] = entry
        return News.LATER if same_runs else News.AT_ONCE

    def _make_room(self, now_wall_seconds: float) -> None:
        """For a new one. Those that are seen with it stay: each would be news again and again."""
        while len(self._entries) >= MAX_ENTRIES:
            oldest, entry = next(iter(self._entries.items()))
            if entry.seen_wall_seconds == now_wall_seconds:
                return
            del self._entries[oldest]
            self._saved.pop(oldest, None)

    def all(self) -> tuple[ProbingMemory, ...]:
        """Every device's."""
        return tuple(self._entries.values())


def _same_runs(one: RunsMemory, other: RunsMemory) -> bool:
    return (
        (one.long_run_done, one.fruitless, one.outcome)
        == (other.long_run_done, other.fruitless, other.outcome)
        and _same_moment(one.ended_wall_seconds, other.ended_wall_seconds)
        and _same_moment(one.running_since_wall_seconds, other.running_since_wall_seconds)
    )


def _same_moment(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= SAME_MOMENT_SECONDS


def _same_capacity(one: CapacityMemory | None, other: CapacityMemory | None) -> bool:
    if one is None or other is None:
        return one is other
    ratio = one.bytes_per_second / other.bytes_per_second
    return (
        (one.source, one.lower_bound) == (other.source, other.lower_bound)
        and 1.0 / CHANGED_RATIO <= ratio <= CHANGED_RATIO
        and abs(one.measured_wall_seconds - other.measured_wall_seconds) <= OLD_SECONDS
    )
