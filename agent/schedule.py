"""When each probe runs, and what its last run left: one slot per probe and target.

Every run has a thread of its own, so a probe that hangs on a dead device costs its own slot and
nothing else; it is not started again before it has come back.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from agent.probe_state import ProbeState
from agent.readings import Known, Missing, printable
from probes.clock import Clock
from probes.errors import NoData, ProbeError, ProbeFailed

T = TypeVar("T")

STALE_AFTER_CADENCES = 3.0
"""A value older than this many cadences of its probe is stale and is not shown."""


@dataclass(frozen=True, slots=True)
class _Run:
    """What a finished run left."""

    started: float
    duration_seconds: float
    error: ProbeError | None
    unexpected: str | None


class Slot(Generic[T]):
    """One probe on one target: its cadence, its timeout, its latest answer.

    ``sticky`` keeps the last good value through failures until it is stale: right for a rare,
    expensive measurement, wrong for one that is repeated every tick. A tick does not wait for a
    ``background`` probe. ``retry_seconds`` brings a failed run forward. An ``each_tick`` probe
    runs whenever a tick comes, early ones included; its cadence only tells when it is stale.
    An ``on_order`` probe is never due: ``start`` is called when somebody decides so. Those that go
    ``in_turn`` are started by ``Turns``, one after another, when they are due.
    """

    def __init__(
        self,
        probe: str,
        target: str,
        read: Callable[[], T],
        clock: Clock,
        *,
        cadence_seconds: float,
        timeout_seconds: float,
        sticky: bool = False,
        background: bool = False,
        each_tick: bool = False,
        first_after_seconds: float = 0.0,
        retry_seconds: float | None = None,
        on_order: bool = False,
        in_turn: bool = False,
    ) -> None:
        self.probe = probe
        self.target = target
        self.cadence_seconds = cadence_seconds
        self.timeout_seconds = timeout_seconds
        self._read = read
        self._clock = clock
        self.background = background
        self._sticky = sticky
        self.each_tick = each_tick
        self._on_order = on_order
        self.in_turn = in_turn
        self.retired = False
        self._retry_seconds = retry_seconds
        self._next_at = clock.monotonic() + first_after_seconds
        self._started_at: float | None = None
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._last_run: _Run | None = None
        self._value: T | None = None
        self._value_at = 0.0
        self._last_success_wall: float | None = None

    @property
    def running(self) -> bool:
        """Whether a run is under way (or hangs)."""
        return self._started_at is not None and not self._done.is_set()

    @property
    def due_at(self) -> float:
        """When the next run is due, on the monotonic clock."""
        return self._next_at

    def due(self, now: float) -> bool:
        """Whether it is time for a run and none is under way."""
        if self.running or self.retired or self._on_order:
            return False
        return self.each_tick or now >= self._next_at

    def start(self, now: float) -> bool:
        """Start a run in a thread of its own; False where there is none: the answer says so."""
        self._started_at = now
        self._next_at = now + self.cadence_seconds
        self._done.clear()
        thread = threading.Thread(
            target=self._run, args=(now,), name=f"probe-{self.probe}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # a limit on processes or memory: the next run may succeed
            refused = ProbeFailed("no_thread", f"{self.probe} cannot be run: {error}")
            with self._lock:
                self._last_run = _Run(now, 0.0, refused, None)
                self._retry_after(now)
            self._done.set()
            return False
        return True

    def wait(self, seconds: float) -> bool:
        """Wait for the run under way; False when it did not end in time."""
        return self._done.wait(max(0.0, seconds))

    def pace(self, cadence_seconds: float) -> None:
        """Run at another cadence from the last start on."""
        if self._started_at is not None and cadence_seconds != self.cadence_seconds:
            self._next_at = self._started_at + cadence_seconds
        self.cadence_seconds = cadence_seconds

    def hurry(self) -> None:
        """Run with the next tick: what was answered may not hold any more."""
        self._next_at = self._clock.monotonic()

    def configure(
        self, *, cadence_seconds: float, timeout_seconds: float, retry_seconds: float | None = None
    ) -> None:
        """Go on with other settings; what was answered stays."""
        self.pace(cadence_seconds)
        self.timeout_seconds = timeout_seconds
        self._retry_seconds = retry_seconds
        self.retired = False

    def retire(self) -> None:
        """Start no other run; one under way ends."""
        self.retired = True

    def _run(self, started: float) -> None:
        error: ProbeError | None = None
        unexpected: str | None = None
        value: T | None = None
        try:
            value = self._read()
        except ProbeError as probe_error:
            error = probe_error
        except Exception as defect:  # a defect in one probe must cost only its own gauges
            unexpected = f"{type(defect).__name__}: {defect}"
        finished = self._clock.monotonic()
        with self._lock:
            self._last_run = _Run(started, finished - started, error, unexpected)
            if error is None and unexpected is None:
                self._value = value
                self._value_at = finished
                self._last_success_wall = self._clock.wall()
            else:
                self._retry_after(finished)
        self._done.set()

    def _retry_after(self, failed_at: float) -> None:
        if self._retry_seconds is not None:
            self._next_at = min(self._next_at, failed_at + self._retry_seconds)

    def answer(self, now: float) -> Known[T] | Missing:
        """The latest value while it is fresh, else why there is none."""
        with self._lock:
            value, value_at, last = self._value, self._value_at, self._last_run
        failure = self._failure(now, last)
        if value is None or (failure is not None and not self._sticky):
            return failure or Missing("not_yet_measured", f"{self.probe} has not answered yet")
        age = now - value_at
        if age > STALE_AFTER_CADENCES * max(self.cadence_seconds, self.timeout_seconds):
            return failure or Missing("stale", f"{self.probe} last answered {age:.0f} s ago")
        return Known(value, self.probe, value_at)

    def state(self, now: float) -> ProbeState:
        """How the probe is doing, for metrics and alerts."""
        with self._lock:
            last, last_success = self._last_run, self._last_success_wall
        failure = self._failure(now, last)
        absent = (
            failure is not None
            and last is not None
            and isinstance(last.error, NoData)
            and failure.reason == last.error.reason
        )
        return ProbeState(
            probe=self.probe,
            target=self.target,
            success=None if last is None and failure is None else failure is None,
            absent=absent,
            duration_seconds=None if last is None else last.duration_seconds,
            last_success_wall_seconds=last_success,
            reason=None if failure is None else failure.reason,
            detail=None if failure is None else failure.detail,
            on_order=self._on_order,
        )

    def _failure(self, now: float, last: _Run | None) -> Missing | None:
        if self.running and self._started_at is not None:
            under_way = now - self._started_at
            if under_way > self.timeout_seconds:
                return Missing("timeout", f"{self.probe} has hung for {under_way:.0f} s")
        if last is None:
            return None
        if last.unexpected is not None:
            return Missing(
                "defect", printable(f"{self.probe} failed unexpectedly: {last.unexpected}")
            )
        if last.error is not None:
            return Missing(last.error.reason, printable(last.error.detail))
        return None


def run_due(slots: Iterable[Slot[Any]], clock: Clock, wait_seconds: float) -> None:
    """Start every slot that is due; wait for those of the foreground, at most ``wait_seconds``."""
    now = clock.monotonic()
    started = [slot for slot in slots if slot.due(now) and not slot.in_turn]
    for slot in started:
        slot.start(now)
    deadline = now + wait_seconds
    for slot in started:
        if not slot.background:
            slot.wait(min(slot.timeout_seconds, deadline - clock.monotonic()))


class Turns:
    """Runs probes that start costly programs one after another, however many databases there are.

    Who has waited longest goes first. A probe that hangs delays the others by its timeout.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._round: threading.Thread | None = None
        self._closed = False

    def offer(self, slots: Iterable[Slot[Any]]) -> None:
        """Begin a round of what is due, unless one is under way; returns at once."""
        if self._closed or (self._round is not None and self._round.is_alive()):
            return
        now = self._clock.monotonic()
        due = sorted(
            (slot for slot in slots if slot.in_turn and slot.due(now)),
            key=lambda slot: slot.due_at,
        )
        if not due:
            return
        self._round = threading.Thread(target=self._run, args=(due,), name="turns", daemon=True)
        try:
            self._round.start()
        except RuntimeError:
            self._round = None  # no thread to be had now; the next tick offers them again

    def close(self) -> None:
        """Start nothing more."""
        self._closed = True

    def _run(self, due: Iterable[Slot[Any]]) -> None:
        for slot in due:
            if self._closed:
                return
            if not slot.retired:
                slot.start(self._clock.monotonic())
                slot.wait(slot.timeout_seconds)
