"""A channel: one receiver, what is to be told it, and the thread that does.

``offer`` and ``status`` take a lock for a moment; only ``step``, in the channel's own thread, waits
for a receiver. A test calls ``step`` itself, with a clock of its own.
"""

import math
import random
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import structlog

from agent.alerts.notice import Notification
from agent.delivery.answer import Answer
from agent.delivery.pace import Pace
from agent.delivery.queue import Queue
from agent.delivery.status import ChannelStatus, Outcome
from probes.clock import Clock

Logger = structlog.typing.FilteringBoundLogger
Random = Callable[[], float]
"""Uniform in [0, 1)."""

LONGEST_WAIT_SECONDS: Final = 3600.0
"""A thread without work looks up so often."""

AFTER_DEFECT_SECONDS: Final = 60.0


class Channel(ABC):
    """What both kinds have in common: the thread, the pace, the account, the log."""

    rejections_repeat = False
    """Whether what was rejected is sent again, so that one line about it is enough."""

    def __init__(self, name: str, clock: Clock, log: Logger, uniform: Random) -> None:
        self.name = name
        self._clock = clock
        self._log = log
        self._uniform = uniform
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._pace = Pace()
        self._outcomes: Counter[Outcome] = Counter()
        self._attempts = 0
        self._attempt_seconds = 0.0
        self._last_success: float | None = None
        self._failing = False
        self._rejecting = False
        self._offers = self._seen_offers = 0
        self._thread: threading.Thread | None = None

    @abstractmethod
    def step(self) -> float:
        """Make the attempt that is due, if one is; the seconds until the next look, inf for none
        before something is offered."""

    @abstractmethod
    def abort(self) -> None:
        """End an attempt under way."""

    @abstractmethod
    def _queue_length(self) -> int: ...

    def start(self) -> None:
        """Begin to deliver."""
        self._thread = threading.Thread(target=self._run, name=f"to {self.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Deliver nothing more; does not wait."""
        with self._changed:
            self._closed.set()
            self._changed.notify_all()
        self.abort()

    def join(self, seconds: float) -> None:
        """Wait for the thread's end; one that hangs in the resolver of names is left behind."""
        if self._thread is not None:
            self._thread.join(seconds)

    def status(self) -> ChannelStatus:
        """The account since the start."""
        with self._changed:
            return ChannelStatus(
                name=self.name,
                outcomes=dict(self._outcomes),
                queue_length=self._queue_length(),
                attempts=self._attempts,
                attempt_seconds=self._attempt_seconds,
                circuit_open=self._pace.circuit.state != "closed",
                last_success_wall_seconds=self._last_success,
            )

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                wait = self.step()
            except Exception:  # a defect costs this channel a minute, and the log tells of it
                self._log.exception("delivery_defect", channel=self.name)
                wait = AFTER_DEFECT_SECONDS
            with self._changed:
                if not self._closed.is_set() and wait > 0.0 and self._offers == self._seen_offers:
                    self._changed.wait(min(wait, LONGEST_WAIT_SECONDS))

    def _offered(self) -> None:
        """There is something new for the next step; lock held."""
        self._offers += 1
        self._changed.notify_all()

    def _attempt(self, send: Callable[[float], Answer]) -> Answer | None:
        """Try now; None when it was cut off because the channel is closed."""
        began = self._clock.monotonic()
        with self._changed:
            if self._closed.is_set():
                return None
            self._pace = self._pace.trying(began)
        answer = send(self._clock.wall())
        ended = self._clock.monotonic()
        with self._changed:
            if self._closed.is_set() and answer.outcome == "failed":
                return None
            self._attempts += 1
            self._attempt_seconds += ended - began
            opened_before = self._pace.circuit.state != "closed"
            self._pace = self._pace.after(answer, ended, self._uniform())
            opened = self._pace.circuit.state == "open"
            if answer.outcome == "delivered":
                self._last_success = self._clock.wall()
        self._tell(answer, opened and not opened_before)
        return answer

    def _tell(self, answer: Answer, opened: bool) -> None:
        """One line when a receiver begins to fail, when it is left alone, and when it is back."""
        if answer.outcome == "failed":
            if not self._failing:
                self._log.warning("delivery_failing", channel=self.name, detail=answer.detail)
            elif opened:
                self._log.warning(
                    "delivery_circuit_opened", channel=self.name, detail=answer.detail
                )
            self._failing = True
            return
        if self._failing:
            self._log.info("delivery_recovered", channel=self.name)
        self._failing = False
        rejected = answer.outcome == "rejected"
        if rejected and not (self._rejecting and self.rejections_repeat):
            self._log.error("notification_rejected", channel=self.name, detail=answer.detail)
        self._rejecting = rejected


class NotificationSender(Protocol):
    """Tells people of a change."""

    def send(self, notification: Notification, wall_seconds: float) -> Answer:
        """What came of it; raises nothing and ends within its timeout."""
        ...

    def abort(self) -> None:
        """End what is under way."""
        ...


class NotificationChannel(Channel):
    """Tells a receiver of each change once, in their order."""

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
        on_settled: Callable[[], None] = lambda: None,
        uniform: Random = random.random,
    ) -> None:
        super().__init__(name, clock, log, uniform)
        self._sender = sender
        self._on_settled = on_settled
        self._limit = limit
        self._give_up_seconds = give_up_seconds
        self._queue = queue or Queue()

    @property
    def queue(self) -> Queue:
        """What waits, and what need not be told again."""
        return self._queue

    def offer(self, notifications: Iterable[Notification]) -> None:
        """Have these delivered, unless they were."""
        with self._changed:
            self._queue, dropped = self._queue.take(notifications, self._limit)
            self._outcomes["dropped"] += dropped
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
        # Only after an attempt: a wall clock that is set forward must not lose anything.
        if outcome == "retried" and self._clock.wall() - one.wall_seconds > self._give_up_seconds:
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

    def _queue_length(self) -> int:
        return len(self._queue.pending)
