"""The channel to a receiver that tells people: a webhook, or whatever apprise knows."""

import math
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from agent.alerts.notice import Notification
from agent.delivery.answer import Answer
from agent.delivery.channel import Channel, Logger, Random
from agent.delivery.queue import Queue
from agent.delivery.status import Outcome
from probes.clock import Clock


class NotificationSender(Protocol):
    """Tells people of a change."""

    def send(self, notification: Notification, wall_seconds: float) -> Answer:
        """What came of it; raises nothing and ends within its timeout."""
        ...

    def abort(self) -> None:
        """End what is under way."""
        ...


class NotificationChannel(Channel):
    """Tells a receiver of each change once, in their order.

    One that replaces a ``predecessor`` tells what that one has not told. An attempt under way there
    is waited for, not cut off: else the receiver would hear of it twice.
    """

    def __init__(
        self,
        name: str,
        sender: NotificationSender,
        clock: Clock,
        log: Logger,
        *,
        limit: int,
        give_up_seconds: float,
        queue: Queue | None = None,
        predecessor: "NotificationChannel | None" = None,
        on_settled: Callable[[], None] = lambda: None,
        uniform: Random = random.random,
    ) -> None:
        super().__init__(name, clock, log, uniform)
        self._sender = sender
        self._on_settled = on_settled
        self._limit = limit
        self._give_up_seconds = give_up_seconds
        self._predecessor = predecessor
        self._queue = queue or Queue()
        self._counted: Mapping[str, float] = {}
        if predecessor is not None:
            predecessor.retire()
            self._queue, self._counted = predecessor.queue, predecessor.counted_from

    @property
    def queue(self) -> Queue:
        """What waits, and what need not be told again."""
        return self._queue

    @property
    def counted_from(self) -> Mapping[str, float]:
        """Since when, by the monotonic clock, each that waits is tried. That of an earlier run is
        as old as the wall clock says; after that, setting the wall clock gives nothing up."""
        return self._counted

    def offer(self, notifications: Iterable[Notification]) -> None:
        """Have these delivered, unless they were."""
        with self._changed:
            self._queue, dropped = self._queue.take(notifications, self._limit)
            self._outcomes["dropped"] += dropped
            now, wall = self._clock.monotonic(), self._clock.wall()
            self._counted = {
                one.identity: self._counted.get(
                    one.identity, now - max(0.0, wall - one.wall_seconds)
                )
                for one in self._queue.pending
            }
            self._offered()
        if dropped:
            self._log.warning(
                "notifications_dropped",
                channel=self.name,
                count=dropped,
                detail="the queue is full; later notifications about the same alerts are kept",
            )

    def step(self) -> float:
        """Try the oldest."""
        with self._changed:
            self._seen_offers = self._offers
            queue = self._queue
            wait = self._pace.wait_seconds(self._clock.monotonic())
        if not queue.pending:
            return math.inf
        if wait > 0.0:
            return wait
        one = queue.pending[0]
        answer = self._attempt(lambda wall_seconds: self._sender.send(one, wall_seconds))
        if answer is None:
            return math.inf
        outcome: Outcome = "retried" if answer.outcome == "failed" else answer.outcome
        # Only after an attempt: what is old by a wrong clock of an earlier run is tried, too.
        tried_seconds = self._clock.monotonic() - self._counted.get(one.identity, math.inf)
        if outcome == "retried" and tried_seconds > self._give_up_seconds:
            outcome = "expired"
            self._log.error("notification_expired", channel=self.name, detail=answer.detail)
        with self._changed:
            self._outcomes[outcome] += 1
            if outcome != "retried":
                self._queue = self._queue.settle(one.identity)
            wait = self._pace.wait_seconds(self._clock.monotonic())
        if outcome != "retried":
            self._on_settled()
        return wait

    def abort(self) -> None:
        """End an attempt under way."""
        self._sender.abort()
        predecessor = self._predecessor
        if predecessor is not None:
            predecessor.abort()

    def _run(self) -> None:
        if self._predecessor is not None:
            self._predecessor.join(None)
            with self._changed:
                self._queue = self._queue.settle(*self._predecessor.queue.settled)
            self._on_settled()
            self._predecessor = None
        super()._run()

    def _queue_length(self) -> int:
        return len(self._queue.pending)
