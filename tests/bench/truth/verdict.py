"""The truth out of what was measured: the rate that holds, and the resource that was the limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

VERIFY_RATIOS: Final = (0.95, 0.90, 0.85, 0.75, 0.60)
"""Tried in this order, as shares of the closed-loop rate."""

VERIFY_AIM: Final = 0.95
"""The share that must hold for the closed-loop rate itself to be the truth (Luo & Carey 2019)."""

ACCEPTED_AT_LEAST: Final = 0.995
STOPPED_AT_MOST: Final = 0.01
"""Share of samples. A stop that is seen once in a minute and lost nothing is the memtable's."""

BUSY: Final = 0.90
IDLE: Final = 0.75
"""A limit is clear when one resource is busier than ``BUSY`` and all others less than ``IDLE``."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One open loop at a share of the closed-loop rate."""

    ratio: float
    offered: float
    accepted: float
    stopped_ratio: float
    delayed_ratio: float

    @property
    def holds(self) -> bool:
        """Whether the database took all of it."""
        return (
            self.accepted >= ACCEPTED_AT_LEAST * self.offered
            and self.stopped_ratio <= STOPPED_AT_MOST
        )


def corrected(closed_loop_puts_per_second: float, tried: Sequence[Holding]) -> float:
    """The truth: the closed-loop rate when 95 % of it holds, else lowered in proportion.

    When 90 % is the first share that holds, the truth is 90 / 95 of the closed-loop rate. When
    none holds, what the last try accepted is the best that is known.
    """
    for holding in tried:
        if holding.holds:
            return closed_loop_puts_per_second * min(1.0, holding.ratio / VERIFY_AIM)
    if not tried:
        return closed_loop_puts_per_second
    last = tried[-1]
    return closed_loop_puts_per_second * last.ratio * last.accepted / last.offered


@dataclass(frozen=True, slots=True)
class Saturation:
    """How busy everything was in the second half of the saturation, as shares."""

    device: float
    cpu: float
    compaction_slots: float
    flush_slots: float
    rate_limiter: float
    stalled: float
    """Share of the time in which a write group waited in a delay or stop."""


def bottleneck(seen: Saturation, wal: str) -> str | None:
    """The resource that was the limit, by the names of ``agent.models.estimate``; None: unclear.

    Slots count as waiting, not as busy, where the device or the CPU is the limit: a compaction
    that waits for them still occupies its slot.
    """
    bandwidth = {"device_write": seen.device, "cpu": seen.cpu, "rate_limiter": seen.rate_limiter}
    named = [name for name, share in bandwidth.items() if share > BUSY]
    if named:
        others = [share for name, share in bandwidth.items() if name != named[0]]
        return named[0] if max(others) < IDLE else None
    if max(bandwidth.values()) >= IDLE:
        return None
    slots = {"compaction_threads": seen.compaction_slots, "flush_threads": seen.flush_slots}
    named = [name for name, share in slots.items() if share > BUSY]
    if named:
        return named[0] if min(slots.values()) < IDLE else None
    if max(slots.values()) < IDLE and seen.stalled < 1.0 - BUSY:
        # Nothing behind the memtable is short, and writers do not wait for it.
        return "wal_sync" if wal == "sync" else "writer"
    return None
