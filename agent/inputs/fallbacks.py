"""What inputs are missing, what was taken instead, and how much wider that makes the answer. Pure.

The constants ``SPREAD_...`` of the modules that take fallbacks are what each adds to the standard
error in log space: half the natural logarithm of the factor by which the answer changes between
plausible values of the input, so that two standard errors span it. They are judgement, each named
beside the input that it stands for, so that it can be judged.
"""

import math

from agent.demands.demands import Demand
from agent.models.estimate import MissingInput
from agent.readings import Missing


class Fallbacks:
    """Collects what is missing, what was taken instead, and how much wider that makes it."""

    def __init__(self) -> None:
        self.missing: list[MissingInput] = []
        self.sources: dict[str, str] = {}
        self._square = 0.0
        self.at = math.inf

    def note(self, name: str, detail: str, fallback: str, spread: float) -> None:
        """``fallback`` was taken for the input ``name``, because of ``detail``."""
        self.missing.append(MissingInput(name, detail, fallback))
        self.sources[name] = fallback
        self.widen(spread)

    def widen(self, spread: float) -> None:
        """Add an independent standard error, in log space."""
        self._square += spread * spread

    @property
    def log_spread(self) -> float:
        """All of them together."""
        return math.sqrt(self._square)

    def take(self, name: str, demand: Demand) -> float | None:
        """The value of a demand, its source and time noted; None when it is missing."""
        if isinstance(demand, Missing):
            return None
        self.sources[name] = demand.source
        self.at = min(self.at, demand.at)
        return demand.value
