"""How delivery stands: what the metrics show. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Outcome = Literal["delivered", "retried", "rejected", "dropped", "expired"]

OUTCOMES: Final[tuple[Outcome, ...]] = ("delivered", "retried", "rejected", "dropped", "expired")


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """One channel's account since the start."""

    name: str
    outcomes: Mapping[Outcome, int]
    queue_length: int
    attempts: int
    attempt_seconds: float  # of all attempts together
    circuit_open: bool
    last_success_wall_seconds: float | None


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """All channels; ``scraper_absent`` whether Prometheus is, as the fallback sees it."""

    channels: tuple[ChannelStatus, ...]
    scraper_absent: bool
