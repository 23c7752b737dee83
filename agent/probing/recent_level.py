"""What is usual of a quantity lately: the median over a window. Pure."""

from collections import deque
from statistics import median


class RecentLevel:
    """Keeps at most one value per ``step_seconds`` over ``window_seconds``."""

    def __init__(self, window_seconds: float, step_seconds: float, least: int) -> None:
        self._window_seconds = window_seconds
        self._step_seconds = step_seconds
        self._least = least
        self._values: deque[tuple[float, float]] = deque()

    def add(self, at: float, value: float) -> None:
        """Take a value of moment ``at`` (monotonic seconds); one too soon after the last is not."""
        if self._values and at < self._values[-1][0] + self._step_seconds:
            return
        self._values.append((at, value))
        while self._values[0][0] < at - self._window_seconds:
            self._values.popleft()

    def level(self) -> float | None:
        """The median; None before there are enough values to speak of what is usual."""
        if len(self._values) < self._least:
            return None
        return median(value for _, value in self._values)
