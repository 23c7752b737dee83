"""A circuit breaker: a receiver that is down is asked seldom, and by one attempt at a time. Pure.

Invariants:
- closed: every attempt is allowed; it opens with the fifth failure in a row;
- open: none is allowed before ``until``;
- half-open: one attempt is under way; its success closes, its failure opens for twice as long.

It is open for between half of ``open_seconds`` and all of it, by chance: the agents of a fleet that
lost their receiver at the same moment must not ask for it in step.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

OPENS_AFTER_FAILURES: Final = 5
FIRST_OPEN_SECONDS: Final = 15.0
LONGEST_OPEN_SECONDS: Final = 120.0
"""At most so long after a receiver is back it is noticed."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """One receiver's breaker; times are monotonic seconds."""

    state: Literal["closed", "open", "half_open"] = "closed"
    failures: int = 0  # in a row
    until: float = 0.0
    open_seconds: float = FIRST_OPEN_SECONDS

    def wait_seconds(self, now: float) -> float:
        """How long no attempt is allowed."""
        return max(0.0, self.until - now) if self.state == "open" else 0.0

    def trying(self, now: float) -> "Circuit":
        """An attempt begins; only where ``wait_seconds`` is 0."""
        if self.wait_seconds(now) > 0.0:
            raise ValueError("the circuit is open")
        return replace(self, state="half_open") if self.state == "open" else self

    def succeeded(self) -> "Circuit":
        """The receiver answered."""
        return Circuit()

    def failed(self, now: float, random_unit: float) -> "Circuit":
        """The receiver did not answer, or said that it cannot now; ``random_unit`` in [0, 1)."""
        failures, open_seconds = self.failures + 1, self.open_seconds
        if self.state == "half_open":
            open_seconds = min(2.0 * open_seconds, LONGEST_OPEN_SECONDS)
        elif failures < OPENS_AFTER_FAILURES:
            return replace(self, failures=failures)
        until = now + open_seconds * (1.0 + random_unit) / 2.0
        return Circuit("open", failures, until, open_seconds)
