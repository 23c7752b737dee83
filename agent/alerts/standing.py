"""How alerts stand with people: what ``smaxd alerts`` shows. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.alerts.book import Followed, OrderSeen
from agent.alerts.engine import AlertState
from agent.alerts.following import acknowledged_seconds, silenced_seconds
from agent.alerts.notices import fingerprint_of

RESOLVED_SHOWN_SECONDS: Final = 900.0
"""How long a resolved alert is among those shown: as long as Prometheus sends it on."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How an alert stands with people; ``acknowledged`` and ``silenced`` in seconds left, or None.

    ``phase`` is "pending", "firing", "resolved" (a short time ago) or "inactive".
    """

    fingerprint: str
    phase: str
    occurrence: int
    acknowledged_seconds: float | None
    silenced_seconds: float | None


def is_shown(entry: Followed, at: float) -> bool:
    """Whether receivers of states are sent it: it fires, or did a short time ago."""
    return not entry.hushed and (entry.active or _ended_lately(entry, at))


def _ended_lately(entry: Followed, at: float) -> bool:
    return entry.ended is not None and at - entry.ended < RESOLVED_SHOWN_SECONDS


def standing_of(
    state: AlertState,
    entry: Followed | None = None,
    orders: Sequence[OrderSeen] = (),
    at: float = 0.0,
) -> Standing:
    """How an alert stands with people, with what is remembered of it."""
    labels = (state.alert, state.severity, state.database, state.device)
    if state.active:
        phase = "firing"
    elif state.pending_since is not None:
        phase = "pending"
    else:
        phase = "resolved" if entry is not None and _ended_lately(entry, at) else "inactive"
    return Standing(
        fingerprint=fingerprint_of(*labels),
        phase=phase,
        occurrence=0 if entry is None else entry.occurrence,
        acknowledged_seconds=(
            acknowledged_seconds(entry, orders, at) if entry is not None and entry.active else None
        ),
        silenced_seconds=silenced_seconds(entry or state, orders, at),
    )
