"""A number with its provenance, or the reason why there is none.

Everything the agent derives is one of these two; ``None`` and 0 never stand for "unknown".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Known(Generic[T]):
    """A value, where it came from, and when it was true (monotonic seconds)."""

    value: T
    source: str
    at: float

    def age_seconds(self, now: float) -> float:
        """Seconds since the value was read."""
        return max(0.0, now - self.at)


@dataclass(frozen=True, slots=True)
class Missing:
    """Why there is no value: a short constant for a label, and a sentence for a person."""

    reason: str
    detail: str


Quantity = Known[float] | Missing


def derive(source: Known[T] | Missing, compute: Callable[[T], U]) -> Known[U] | Missing:
    """Apply ``compute`` to a known value; its source and time carry over."""
    if isinstance(source, Missing):
        return source
    return Known(compute(source.value), source.source, source.at)


def first_known(*ladder: Known[T] | Missing) -> Known[T] | Missing:
    """The first rung that holds; when none does, why the first one did not."""
    for rung in ladder:
        if isinstance(rung, Known):
            return rung
    return ladder[0]


def printable(text: str) -> str:
    """A path, or what tells of one, as labels and JSON can hold it: no valid UTF-8 is escaped."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def value_of(quantity: Known[T] | Missing) -> T | None:
    """The bare value, or None."""
    return quantity.value if isinstance(quantity, Known) else None
