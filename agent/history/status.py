"""How the recording of the history is doing, for the metrics."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HistoryStatus:
    """Since the agent's start.

    ``waiting`` is why nothing is written now, a constant for a label; None while it is.
    ``dropped`` counts rows by what kept them from being written.
    """

    rows_total: int
    size_bytes: int | None
    last_commit_wall_seconds: float | None
    dropped: Mapping[str, int]
    waiting: str | None
