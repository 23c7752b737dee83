"""What a model answers."""

from dataclasses import dataclass
from typing import Final

CONFIDENCE_LEVELS: Final = ("low", "medium", "high", "very_high")
"""Confidence names by index, in ascending order."""

MIB: Final = 1048576.0
"""The published formula says "MB/s" and multiplies by 1024 * 1024: it means MiB/s."""

DEFAULT_RECORD_SIZE_BYTES: Final = 1040.0
"""Key and value of the reference experiment; used only until the real record size is known."""

MAX_PLAUSIBLE_BANDWIDTH_MIB: Final = 10000.0
"""Above this the published model warns: no device of its time wrote faster."""


class InvalidInput(ValueError):
    """An input no model can work with; the message says which and what would be valid."""


def checked_rate(puts_per_second: float) -> float:
    """The rate itself; InvalidInput when the inputs, each valid, give no finite number."""
    if not puts_per_second < float("inf"):
        raise InvalidInput("these inputs give no finite put rate; check their units")
    return puts_per_second


@dataclass(frozen=True, slots=True)
class Prediction:
    """One model's sustainable put rate and the inputs it came from.

    ``utilization`` is the model's share of raw bandwidth, ``factor`` what a refined model
    multiplied it by (1.0 for V4). ``warnings`` are sentences for a person.
    """

    puts_per_second: float
    model: str
    phase: str
    confidence: str
    utilization: float
    factor: float
    bandwidth_mib: float
    record_size: float
    warnings: tuple[str, ...] = ()
