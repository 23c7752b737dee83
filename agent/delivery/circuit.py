"""A circuit breaker: a receiver that is down is asked seldom, and by one attempt at a time. Pure.

Invariants:
- closed: every attempt is allowed; it opens with the fifth failure in a row;
- open: none is allowed before ``until``;
- half-open: one attempt is under way; its success closes, its failure opens for twice as long.
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

    def failed(self, now: float) -> "Circuit":
        """The receiver did not answer, or said that it cannot now."""
        failures = self.failures + 1
        if self.state == "half_open":
            open_seconds = min(2.0 * self.open_seconds, LONGEST_OPEN_SECONDS)
            return Circuit("open", failures, now + open_seconds, open_seconds)
        if failures >= OPENS_AFTER_FAILURES:
            return Circuit("open", failures, now + self.open_seconds, self.open_seconds)
        return replace(self, failures=failures)
