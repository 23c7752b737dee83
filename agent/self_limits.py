"""How far the agent restrains itself so that its own CPU and memory stay within their limits.

It steps up before a limit is exceeded, one step at a time, and back much more slowly. Reads no
clock and no counters: ``update`` is given them. Invariants, each held by a property test:

- a step comes at least ``RISE_SECONDS`` after the last one, a step down ``FALL_SECONDS``;
- from the same past, more use never leads to a lower level than less use;
- a host that costs the same all the time is given one level and keeps it.
"""

from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import msgspec

from agent.config import Config

MEAN_SECONDS: Final = 600.0
"""CPU is judged by its mean over so long: one compaction's LOG lines are no reason to degrade."""

RISE_SECONDS: Final = 300.0
"""A level is judged by nothing but its own time, and by at least so much of it."""

FALL_SECONDS: Final = 3600.0
"""So long a level is kept at least before a lower one is tried."""

RISE_CPU_RATIO: Final = 0.8
"""Of the CPU limit: a step up that waited for the limit itself would come after it."""

RISE_MEMORY_RATIO: Final = 0.9
"""Of the memory limit. Resident memory moves slowly, so less room is enough."""

FALL_MEMORY_RATIO: Final = 0.8
"""Of the memory limit: below this the secondary may come back."""

FALL_CPU_RATIO: Final = 0.7
"""Of the CPU limit: a lower level is tried when what it will cost is below this. It is less than
``RISE_CPU_RATIO``, so that a lower level does not lead straight back."""

SECONDARY_CPU_RATIO: Final = 0.1
"""Of the CPU limit: what a rare secondary may cost when it comes back, more than it may by its own
configuration."""

RARE_FACTOR: Final = 4.0
"""How many times longer the intervals of secondary and simulator are when they are rare."""


class Level(IntEnum):
    """What is given up, in the order of what the estimates miss least; each includes the former."""

    NORMAL = 0
    RARE_CHILDREN = 1
    NO_SECONDARY = 2
    DOUBLE_TICK = 3
    QUADRUPLE_TICK = 4


_MEMORY_LEVEL: Final = Level.NO_SECONDARY
"""Memory asks for no more than this: rarer ticks would keep as much of it."""


@dataclass(frozen=True, slots=True)
class SelfLimits:
    """What the agent may use: CPU as a share of one core, resident memory in bytes."""

    cpu_ratio: float = 0.005
    resident_bytes: float = 80e6


@dataclass(frozen=True, slots=True)
class OwnUse:
    """What the agent uses at a moment (monotonic seconds).

    ``own_cpu_seconds`` are of its own process since its start, ``children_cpu_seconds`` of the
    children it has reaped, ``resident_bytes`` its own.
    """

    at: float
    own_cpu_seconds: float
    children_cpu_seconds: float
    resident_bytes: float


@dataclass(frozen=True, slots=True)
class Degradation:
    """The level in force, since when (monotonic seconds), and the sentence that says why.

    ``reason`` is "cpu", "memory" or None at ``NORMAL``. ``cpu_ratio`` is the mean that was judged,
    None while there is too little of it. ``release_memory`` asks for a garbage collection and the
    return of free memory to the system, now and not again before the next such answer.
    """

    level: Level
    since: float
    reason: str | None
    detail: str
    cpu_ratio: float | None
    release_memory: bool

    @property
    def tick_factor(self) -> int:
        """How many times longer a tick is."""
        return {Level.DOUBLE_TICK: 2, Level.QUADRUPLE_TICK: 4}.get(self.level, 1)

    @property
    def secondary_enabled(self) -> bool:
        """Whether the secondary may run."""
        return self.level < Level.NO_SECONDARY

    @property
    def children_factor(self) -> float:
        """How many times longer the intervals of secondary and simulator are.

        The secondary's share of CPU is smaller by as much.
        """
        return 1.0 if self.level == Level.NORMAL else RARE_FACTOR * self.tick_factor


UNRESTRAINED: Final = Degradation(Level.NORMAL, 0.0, None, "", None, release_memory=False)
"""Before the first look."""


def restrained(config: Config, degradation: Degradation) -> Config:
    """The configuration that is in force at this level."""
    secondary, rarer = config.secondary, degradation.children_factor
    return msgspec.structs.replace(
        config,
        tick_seconds=config.tick_seconds * degradation.tick_factor,
        secondary=msgspec.structs.replace(
            secondary,
            enabled=secondary.enabled and degradation.secondary_enabled,
            interval_seconds=secondary.interval_seconds * rarer,
            cpu_share_ratio=secondary.cpu_share_ratio / rarer,
        ),
    )


class SelfDegradation:
    """Follows the agent's own use over time; one ``update`` per tick."""

    def __init__(self, limits: SelfLimits) -> None:
        self._limits = limits
        self._uses: deque[OwnUse] = deque()  # of the level in force, MEAN_SECONDS at most
        self._level = Level.NORMAL
        self._since: float | None = None
        self._reason: str | None = None
        self._detail = ""
        self._released_at: float | None = None

    def update(self, use: OwnUse) -> Degradation:
        """The level after this moment."""
        if self._since is None:
            self._since = use.at
        self._uses.append(use)
        while len(self._uses) > 2 and use.at - self._uses[1].at >= MEAN_SECONDS:
            self._uses.popleft()
        ratios = self._cpu_ratios()
        cpu_ratio, release = None, False
        if ratios is not None:
            cpu_ratio = sum(ratios)
            release = self._memory_is_short() and self._may_release(use.at)
            self._step(use, *ratios)
        return Degradation(self._level, self._since, self._reason, self._detail, cpu_ratio, release)

    def _cpu_ratios(self) -> tuple[float, float] | None:
        """Means of its own and its children's CPU over this level's own time.

        None before ``RISE_SECONDS`` of it.
        """
        first, last = self._uses[0], self._uses[-1]
        elapsed = last.at - first.at
        if elapsed < RISE_SECONDS:
            return None
        return (
            (last.own_cpu_seconds - first.own_cpu_seconds) / elapsed,
            (last.children_cpu_seconds - first.children_cpu_seconds) / elapsed,
        )

    def _lower_level_cpu_ratio(self, own: float, children: float) -> float:
        """What the next lower level will cost, at most."""
        if self._level > Level.NO_SECONDARY:
            return 2.0 * (own + children)
        if self._level == Level.NO_SECONDARY:
            return own + children + SECONDARY_CPU_RATIO * self._limits.cpu_ratio
        return own + RARE_FACTOR * children

    def _step(self, use: OwnUse, own: float, children: float) -> None:
        limit = self._limits.cpu_ratio
        if own + children >= RISE_CPU_RATIO * limit and self._level < Level.QUADRUPLE_TICK:
            self._change(use, self._level + 1, "cpu", self._cpu_words(own + children))
        elif self._memory_is_short() and self._level < _MEMORY_LEVEL:
            self._change(use, self._level + 1, "memory", self._memory_words())
        elif (
            self._level > Level.NORMAL
            and self._since is not None
            and use.at - self._since >= FALL_SECONDS
            and self._lower_level_cpu_ratio(own, children) < FALL_CPU_RATIO * limit
            and (self._level > _MEMORY_LEVEL or self._memory_is_plenty())
        ):
            lower = self._level - 1
            self._change(use, lower, self._reason if lower else None, self._detail if lower else "")

    def _change(self, use: OwnUse, level: int, reason: str | None, detail: str) -> None:
        self._level, self._since = Level(level), use.at
        self._reason, self._detail = reason, detail
        self._uses = deque([use])

    def _resident_bytes(self) -> float:
        """The least of the window: what stays, not what a tick takes and gives back."""
        return min(use.resident_bytes for use in self._uses)

    def _memory_is_short(self) -> bool:
        return self._resident_bytes() >= RISE_MEMORY_RATIO * self._limits.resident_bytes

    def _memory_is_plenty(self) -> bool:
        return self._resident_bytes() < FALL_MEMORY_RATIO * self._limits.resident_bytes

    def _may_release(self, now: float) -> bool:
        if self._released_at is not None and now - self._released_at < RISE_SECONDS:
            return False
        self._released_at = now
        return True

    def _cpu_words(self, cpu_ratio: float) -> str:
        return (
            f"the agent used {cpu_ratio:.2%} of one core over {self._seconds():.0f} s; "
            f"its limit is {self._limits.cpu_ratio:.2%}"
        )

    def _memory_words(self) -> str:
        return (
            f"the agent held {self._resident_bytes() / 1e6:.0f} MB over {self._seconds():.0f} s; "
            f"its limit is {self._limits.resident_bytes / 1e6:.0f} MB"
        )

    def _seconds(self) -> float:
        return self._uses[-1].at - self._uses[0].at
