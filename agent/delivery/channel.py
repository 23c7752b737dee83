"""A channel: one receiver, what is to be told it, and the thread that does.

``offer`` and ``status`` take a lock for a moment; only ``step``, in the channel's own thread, waits
for a receiver. A test calls ``step`` itself, with a clock of its own.
"""

import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from agent.delivery.answer import Answer
from agent.delivery.pace import Pace
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
        self._defect: str | None = None
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

    def retire(self) -> None:
        """Deliver nothing more after the attempt under way; does not wait."""
        with self._changed:
            self._closed.set()
            self._changed.notify_all()

    def close(self) -> None:
        """Deliver nothing more; does not wait."""
        self.retire()
        self.abort()

    def join(self, seconds: float | None) -> None:
        """Wait for the thread's end, None for as long as it takes; one that hangs in the resolver
        of names is left behind."""
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
        answer = self._sent(send)
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

    def _sent(self, send: Callable[[float], Answer]) -> Answer:
        """What came of it; a defect is a failure like another, and the log has it once."""
        try:
            answer = send(self._clock.wall())
        except Exception as defect:  # a sender is not to raise
            if repr(defect) != self._defect:
                self._defect = repr(defect)
                self._log.exception("delivery_defect", channel=self.name)
            return Answer("failed", f"a defect of the agent: {type(defect).__name__}")
        self._defect = None
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
