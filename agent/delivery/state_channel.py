"""The channel to a receiver that wants states instead of changes: Alertmanager."""

import math
import random
from collections.abc import Iterable
from typing import Protocol

from agent.alerts.notice import AlertNotice
from agent.delivery.answer import Answer
from agent.delivery.channel import Channel, Logger, Random
from agent.delivery.status import Outcome
from agent.delivery.wire import RESEND_SECONDS
from probes.clock import Clock


class StateSender(Protocol):
    """Tells a receiver how all alerts stand."""

    def send(self, active: tuple[AlertNotice, ...], wall_seconds: float) -> Answer:
        """What came of it; raises nothing and ends within its timeout."""
        ...

    def abort(self) -> None:
        """End what is under way."""
        ...


class StateChannel(Channel):
    """Sends how all alerts stand: at once when that changed, and again every minute.

    There is no queue: what a receiver missed is in what it is sent next. An alert is sent with its
    end as long as it is offered so.
    """

    rejections_repeat = True

    def __init__(
        self,
        name: str,
        sender: StateSender,
        clock: Clock,
        log: Logger,
        *,
        uniform: Random = random.random,
    ) -> None:
        super().__init__(name, clock, log, uniform)
        self._sender = sender
        self._active: tuple[AlertNotice, ...] = ()
        self._told: dict[str, float | None] = {}
        self._told_at = -math.inf

    def offer(self, active: tuple[AlertNotice, ...]) -> None:
        """This is how the alerts stand now."""
        with self._changed:
            changed = _ends(active) != _ends(self._active)
            self._active = active
            if changed:
                self._offered()

    def step(self) -> float:
        """Send, when something changed or it is time."""
        with self._changed:
            self._seen_offers = self._offers
            now = self._clock.monotonic()
            active = self._active
            if not active:
                self._told = {}
                return math.inf
            due = 0.0 if self._has_news() else self._told_at + RESEND_SECONDS - now
            wait = max(due, self._pace.wait_seconds(now))
        if wait > 0.0:
            return wait
        answer = self._attempt(lambda wall_seconds: self._sender.send(active, wall_seconds))
        if answer is None:
            return math.inf
        outcome: Outcome = "retried" if answer.outcome == "failed" else answer.outcome
        with self._changed:
            self._outcomes[outcome] += len(active)
            now = self._clock.monotonic()
            if outcome != "retried":  # a rejected one may be accepted next time
                self._told, self._told_at = _ends(active), now
            due = 0.0 if self._has_news() else self._told_at + RESEND_SECONDS - now
            return max(due, self._pace.wait_seconds(now))

    def abort(self) -> None:
        """End an attempt under way."""
        self._sender.abort()

    def _has_news(self) -> bool:
        # An alert that is no longer offered is no news: there is nothing to send of it.
        return self._queue_length() > 0

    def _queue_length(self) -> int:
        return sum(
            self._told.get(alert.fingerprint, math.nan) != alert.ends_wall_seconds
            for alert in self._active
        )


def _ends(active: Iterable[AlertNotice]) -> dict[str, float | None]:
    return {alert.fingerprint: alert.ends_wall_seconds for alert in active}
