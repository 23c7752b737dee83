"""When a database's LSM tree is simulated anew. Pure."""

import math
from typing import Final

SIMULATION_INTERVAL_SECONDS: Final = 300.0
"""While the inputs stand still. A run costs 0.1 s of CPU, two thirds of it for starting the child,
and up to half a second."""

EARLY_SECONDS: Final = 15.0
"""How soon after a run another one may follow when the inputs moved, which happens most while a
database is first watched."""

EARLY_RUNS: Final = 3.0
EARLY_SAVED_SECONDS: Final = 120.0
"""How many such runs may be saved up, and how often one is: while the inputs keep moving there is
a run every two minutes on the mean."""

MOVED_RATIO: Final = 1.05
"""The inputs moved when the bottleneck model, which sees every tick, moved by this factor."""

FAR_RATIO: Final = 1.25
"""Moved so far, as when a device ages or an option changes, the last answer is about another
host: a run follows whatever was saved up."""


class SimulationPace:
    """Asked every tick; an answer of yes counts as a run."""

    def __init__(self) -> None:
        self._ran_at = -math.inf
        self._rate = 0.0
        self._saved = EARLY_RUNS

    def due(self, now: float, rate: float, rarer: float) -> bool:
        """Whether to run now; ``rate`` is the bottleneck model's, 0 when it has none.

        ``rarer`` is how many times longer all intervals are.
        """
        elapsed = (now - self._ran_at) / rarer
        saved = min(EARLY_RUNS, self._saved + elapsed / EARLY_SAVED_SECONDS)
        if elapsed < SIMULATION_INTERVAL_SECONDS:
            change = rate / self._rate if self._rate > 0 else math.inf
            far = not 1.0 / FAR_RATIO <= change <= FAR_RATIO
            moved = not 1.0 / MOVED_RATIO <= change <= MOVED_RATIO and saved >= 1.0
            if elapsed < EARLY_SECONDS or not (far or moved):
                return False
        self._saved = max(0.0, saved - 1.0)
        self._ran_at, self._rate = now, rate
        return True
