"""What the models said lately, for an episode that may begin: what its label will judge. Pure.

    predictions = RecentPredictions()
    predictions.note(raw, published, now)      # every tick outside saturation
    predictions.before(started_at)             # what every model said before that onset

What counts is the median of what was noted between 50 and 30 s before the onset (what was believed
then, not the first guesses of a young daemon), or, without any there, the last one within the hour
before. An onset is mostly known within minutes, ten for a load that was held, so what is older than
a quarter of an hour is kept more sparsely: an hour of all models would be most of the memory that a
database costs.
"""

import statistics
from collections import deque
from dataclasses import dataclass
from typing import Final

from agent.learning.labels import PredictionBefore, RawEstimate
from agent.models.estimate import CalibratedEstimate

LEAD_SECONDS: Final = 30.0
LEAD_WINDOW_SECONDS: Final = 20.0
LEAD_LONGEST_SECONDS: Final = 3600.0

NOTE_EVERY_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 900.0
NOTE_OLD_EVERY_SECONDS: Final = 60.0
"""The distance of those that are older than ``CLOSE_SECONDS``."""


@dataclass(frozen=True, slots=True)
class _Noted:
    """Only what a label asks for: the estimates themselves are four times as large."""

    at: float
    raw: float
    log_half_width: float | None
    published: float
    lower: float
    upper: float
    verified: bool


class RecentPredictions:
    """Those of one database, by model; as many as time allows, however short a tick is."""

    def __init__(self) -> None:
        self._close: dict[str, deque[_Noted]] = {}
        self._old: dict[str, deque[_Noted]] = {}

    def note(self, raw: RawEstimate, published: CalibratedEstimate, now: float) -> None:
        """Remember what a model said at ``now``, unless it was asked just before.

        Not the time of its inputs counts, but that of its publication: an answer that saturation
        has not touched may be said again while it lasts, and is not noted then.
        """
        close = self._close.setdefault(raw.model, deque())
        if close and now - close[-1].at < NOTE_EVERY_SECONDS:
            return
        close.append(
            _Noted(
                at=now,
                raw=raw.puts_per_second,
                log_half_width=raw.log_half_width,
                published=published.puts_per_second,
                lower=published.lower,
                upper=published.upper,
                verified=published.labels > 0,
            )
        )
        old = self._old.setdefault(raw.model, deque())
        while close[0].at < now - CLOSE_SECONDS:
            aged = close.popleft()
            if not old or aged.at - old[-1].at >= NOTE_OLD_EVERY_SECONDS:
                old.append(aged)
        while old and old[0].at < now - LEAD_LONGEST_SECONDS - LEAD_WINDOW_SECONDS:
            old.popleft()

    def before(self, started_at: float) -> tuple[PredictionBefore, ...]:
        """What each model said before an episode that began then; none that had not spoken."""
        until = started_at - LEAD_SECONDS
        found = []
        for model, close in self._close.items():
            kept = (*self._old[model], *close)
            early = [n for n in kept if until - LEAD_LONGEST_SECONDS <= n.at <= until]
            lead = [n for n in early if n.at >= until - LEAD_WINDOW_SECONDS] or early[-1:]
            if not lead:
                continue
            own = [n.log_half_width for n in lead if n.log_half_width is not None]
            found.append(
                PredictionBefore(
                    model=model,
                    raw=statistics.median(n.raw for n in lead),
                    log_half_width=statistics.median(own) if own else None,
                    published=statistics.median(n.published for n in lead),
                    lower=statistics.median(n.lower for n in lead),
                    upper=statistics.median(n.upper for n in lead),
                    verified=lead[-1].verified,
                )
            )
        return tuple(found)
