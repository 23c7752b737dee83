"""When the next attempt may be made: backoff, the receiver's own wish, the breaker. Pure."""

from dataclasses import dataclass, field, replace
from typing import Final

from agent.delivery.answer import Answer
from agent.delivery.circuit import Circuit

BASE_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 120.0


def backoff_seconds(failures: int, random_unit: float) -> float:
    """The wait after ``failures`` (at least 1) in a row; ``random_unit`` is uniform in [0, 1).

    Exponential with full jitter, so that the agents of a fleet do not ask a receiver that comes
    back all at once (Brooker, "Exponential Backoff And Jitter", 2015).
    """
    ceiling = min(LONGEST_SECONDS, BASE_SECONDS * 2.0 ** min(failures - 1, 30))
    return random_unit * ceiling


@dataclass(frozen=True, slots=True)
class Pace:
    """One channel's; times are monotonic seconds."""

    circuit: Circuit = field(default_factory=Circuit)
    not_before: float = 0.0

    def wait_seconds(self, now: float) -> float:
        """How long to wait before the next attempt."""
        return max(0.0, self.not_before - now, self.circuit.wait_seconds(now))

    def trying(self, now: float) -> "Pace":
        """An attempt begins."""
        return replace(self, circuit=self.circuit.trying(now))

    def after(self, answer: Answer, now: float, random_unit: float) -> "Pace":
        """An attempt ended. A rejection is an answer, too: the receiver is up."""
        if answer.outcome != "failed":
            return Pace(self.circuit.succeeded())
        circuit = self.circuit.failed(now, random_unit)
        wait = max(
            backoff_seconds(circuit.failures, random_unit), answer.retry_after_seconds or 0.0
        )
        return Pace(circuit, now + wait)
