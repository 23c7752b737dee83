"""Signals, taken where they interrupt and handled where the main thread waits for them."""

import os
import queue
import signal
from collections.abc import Callable
from types import FrameType

LATENCY_SECONDS = 0.5
"""How late a signal may be noticed at worst; a shorter step would cost wake-ups for nothing."""


class SignalQueue:
    """For the main thread."""

    def __init__(self) -> None:
        # A handler runs between any two instructions of the main thread, so it may take no lock
        # that this thread could hold (the log's, an Event's); SimpleQueue.put is made for that.
        self._taken: queue.SimpleQueue[signal.Signals] = queue.SimpleQueue()

    def take(self, *numbers: signal.Signals) -> None:
        """Take these from now on."""
        for number in numbers:
            signal.signal(number, self._put)

    def wait(self, meanwhile: Callable[[], None]) -> signal.Signals:
        """The next signal. Waits in steps: a signal that comes just before the wait, or to
        another thread, does not interrupt it, and its handler runs only when this thread does.
        Calls ``meanwhile`` before each step."""
        while True:
            meanwhile()
            try:
                return self._taken.get(timeout=LATENCY_SECONDS)
            except queue.Empty:
                continue

    def _put(self, number: int, _: FrameType | None) -> None:
        self._taken.put(signal.Signals(number))


def has_terminal() -> bool:
    """Whether this process has a controlling terminal, wherever its output goes."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
