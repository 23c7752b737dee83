"""How good the forecasts of stalls were: lead times, stalls missed, false alarms.

Interface: one ``ForecastScore`` per database, ``update`` every tick with what was announced and
whether a stall is in force, ``summary`` for publishing. Pure; times are monotonic seconds.

Definitions. A *stall episode* begins with a delay or stop after ``EPISODE_GAP_SECONDS`` without
one: a saturated database stops and goes, and only its first stall can be foretold. An
*announcement* is an unbroken run of finite forecasts; an unknown forecast does not break it, "not
heading there" does; what is still announced when a stall ends belongs to that stall. The *lead* of
an episode is the time from the beginning of the announcement that was in force when the stall
began; 0 where none was. An announcement is a *false alarm* when no stall comes within three times
the time it first announced, and at least within ten minutes; what is announced again before that
has passed is the same alarm.
"""

import math
import statistics
from collections import deque
from dataclasses import dataclass

from agent.readings import Known, Missing, Quantity

EPISODE_GAP_SECONDS = 600.0
"""DESIGN.md section 2: gaps under 10 min merge into one episode."""

DEADLINE_FACTOR = 3.0
"""A stall within this many times the time announced confirms the announcement."""

DEADLINE_MIN_SECONDS = 600.0
"""And at least so long is waited: "in 20 s" is no better than its uncertainty."""

USEFUL_LEAD_SECONDS = 30.0
"""Issue 3: a stall counts as announced when it was at least so long ahead."""

KEPT_LEADS = 100
"""Episodes remembered; a median over more would hide how good the forecast is now."""


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """The score so far.

    Of all ``stalls`` that came while there was a forecast, ``announced_stalls`` came with a useful
    lead. The leads are those of the newest ``KEPT_LEADS``, their median None before the first.
    """

    stalls: int
    announced_stalls: int
    median_lead_seconds: float | None
    lead_seconds: tuple[float, ...]
    false_alarms: int


class ForecastScore:
    """Follows announcements and stalls of one database."""

    def __init__(self, episode_gap_seconds: float = EPISODE_GAP_SECONDS) -> None:
        self._gap_seconds = episode_gap_seconds
        self._leads: deque[float] = deque(maxlen=KEPT_LEADS)
        self._stalls = 0
        self._announced_stalls = 0
        self._false_alarms = 0
        self._last_at: float | None = None
        self._last_stalled_at = -math.inf
        self._announced_since: float | None = None  # of the unbroken run that is in force
        self._alarm_deadline: float | None = None  # of the alarm that waits for its stall
        self._known = False
        self._aftermath = False  # a stall ended, and "not heading there" was not yet said

    def update(self, at: float, time_to_stall: Quantity, *, stalled: bool | None) -> None:
        """Take one tick into account; ``stalled`` None where it is not known.

        ``time_to_stall`` is what was published at ``at``: finite, infinite or Missing. A tick not
        later than the last is ignored.
        """
        if self._last_at is not None and at <= self._last_at:
            return
        self._last_at = at
        if self._alarm_deadline is not None and at > self._alarm_deadline:
            self._false_alarms += 1
            # One that still stands has to come true within a deadline of its own.
            self._alarm_deadline = None
            self._announced_since = None
        if stalled:
            self._enter_stall(at)
            return
        self._known = isinstance(time_to_stall, Known)
        if isinstance(time_to_stall, Missing):
            return
        if math.isinf(time_to_stall.value):
            self._announced_since = None
            self._aftermath = False
        elif self._aftermath:
            pass  # the same stall in its stop-and-go, and no announcement of another
        elif self._announced_since is None:
            self._announced_since = at
            if self._alarm_deadline is None:
                announced = DEADLINE_FACTOR * time_to_stall.value
                self._alarm_deadline = at + max(announced, DEADLINE_MIN_SECONDS)

    def _enter_stall(self, at: float) -> None:
        if at - self._last_stalled_at > self._gap_seconds:
            if self._announced_since is not None:
                self._count(at - self._announced_since)
            elif self._known:
                self._count(0.0)
            # One that came while the forecast was unknown is no evidence about it.
        self._last_stalled_at = at
        self._announced_since = None
        self._alarm_deadline = None
        self._known = False
        self._aftermath = True

    def _count(self, lead_seconds: float) -> None:
        self._leads.append(lead_seconds)
        self._stalls += 1
        self._announced_stalls += lead_seconds >= USEFUL_LEAD_SECONDS

    def summary(self) -> ScoreSummary:
        """The score of everything seen so far."""
        leads = tuple(self._leads)
        return ScoreSummary(
            stalls=self._stalls,
            announced_stalls=self._announced_stalls,
            median_lead_seconds=statistics.median(leads) if leads else None,
            lead_seconds=leads,
            false_alarms=self._false_alarms,
        )
