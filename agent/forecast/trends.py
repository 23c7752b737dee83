"""Trends of what does not move in lines: the put rate's noise, the sawtooth of files and debt.

``RateTrend`` fits a line to the put rate; ``SawtoothTrend`` follows the peaks of a quantity that
flushes raise step by step and compactions lower all at once. Between two compactions every such
quantity rises, however light the load, so a trend over raw readings means nothing: only peaks are
compared with peaks. Both are pure; times are monotonic seconds.
"""

import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

RATE_WINDOWS_SECONDS = (60.0, 120.0, 240.0)
"""Lines are fitted to the last one, two and four minutes, and the shortest in which the rate rises
beyond doubt is taken: a steep ramp shows soon, a slow or unsteady one later."""

RATE_MIN_INTERVALS = 5
"""Fewer give no standard error worth the name."""

RISING_STANDARD_ERRORS = 3.0
"""A slope counts when it is so many of its standard errors above zero: by Student's t a chance of
2 % in six readings of pure noise, 0.5 % in twenty-four."""

RISING_MIN_RATIO = 0.05
"""And when it raised the rate by so much within the window: less is the ordinary unrest of a
steady load, and would take twenty minutes to double it."""

RISING_MIN_SHARE = 0.25
"""And when the way from the window's first third to its middle one, and from there to its last, had
each at least this share of the rise: half in a straight ramp, nothing in a step."""

RISING_STILL_RATIO = 0.5
"""And when the last minute alone rises at half that slope or more, significant or not."""

PEAK_WINDOW_SECONDS = 600.0
"""Peaks further back belong to another load."""

KEPT_PEAKS = 6
"""A trend over the newest peaks: older ones would hide that growth has ended."""

MIN_PEAKS = 3
"""Two peaks always have a slope; three can contradict it."""


@dataclass(frozen=True, slots=True)
class FittedRate:
    """The line's value now, its slope per second, and whether it rises beyond doubt."""

    per_second: float
    slope: float
    rising: bool
    span_seconds: float


class RateTrend:
    """A straight line through the rates between readings of one counter."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self._rates: deque[tuple[float, float, float]] = deque()  # start, end, per second

    def add(self, at: float, counter: float) -> None:
        """Add a reading; a step back forgets all before, one not later than the last is ignored."""
        last, rates = self._last, self._rates
        if last is not None and at <= last[0]:
            return
        self._last = (at, counter)
        if last is None:
            return
        if counter < last[1]:
            rates.clear()
            return
        rates.append((last[0], at, (counter - last[1]) / (at - last[0])))
        while rates[0][1] <= at - RATE_WINDOWS_SECONDS[-1]:
            rates.popleft()

    def fit(self) -> FittedRate | None:
        """The line at the last reading; None before ``RATE_MIN_INTERVALS``."""
        if len(self._rates) < RATE_MIN_INTERVALS:
            return None
        now = self._rates[-1][1]
        first: FittedRate | None = None
        for window in RATE_WINDOWS_SECONDS:
            # An interval counts when most of it lies within the window.
            inside = [r for r in self._rates if (r[0] + r[1]) / 2.0 > now - window]
            if len(inside) < RATE_MIN_INTERVALS:
                continue
            fitted = _line(inside)
            first = first or fitted
            # The rise of a longer window has to go on in the shortest: a ramp may have ended.
            if fitted.rising and first.slope >= RISING_STILL_RATIO * fitted.slope:
                return fitted
        return first

    def clear(self) -> None:
        """Forget everything."""
        self._last = None
        self._rates.clear()


def _line(rates: Sequence[tuple[float, float, float]]) -> FittedRate:
    """Least squares through the middles of the intervals."""
    now = rates[-1][1]
    span = now - rates[0][0]
    times = [(start + end) / 2.0 - now for start, end, _ in rates]
    values = [rate for _, _, rate in rates]
    mean_time, mean = sum(times) / len(times), sum(values) / len(values)
    variance = sum((time - mean_time) ** 2 for time in times)
    pairs = list(zip(times, values, strict=True))
    slope = sum((t - mean_time) * (v - mean) for t, v in pairs) / variance
    residual = sum((v - mean - slope * (t - mean_time)) ** 2 for t, v in pairs)
    error = math.sqrt(residual / (len(values) - 2) / variance)
    rising = (
        slope > RISING_STANDARD_ERRORS * error
        and slope * span > RISING_MIN_RATIO * mean
        and _rises_throughout(values)
        and residual / (len(values) - 2) <= _step_residual(values) / (len(values) - 3)
    )
    # A rate that does not move is best told by its mean: the line's end has twice its error.
    return FittedRate(max(0.0, mean - slope * mean_time) if rising else mean, slope, rising, span)


def _rises_throughout(values: Sequence[float]) -> bool:
    """Whether the rise goes on: after a start or a step it was all in the window's beginning."""
    third = len(values) // 3
    first, last = sum(values[:third]) / third, sum(values[-third:]) / third
    middle = sum(values[third:-third]) / (len(values) - 2 * third)
    return min(middle - first, last - middle) >= RISING_MIN_SHARE * (last - first)


def _step_residual(values: Sequence[float]) -> float:
    """What the best step between two levels leaves unexplained.

    A burst looks like a steep ramp to a line; only where the line explains the rates better than a
    step does is there a ramp to be followed further.
    """
    total, count = sum(values), len(values)
    squares = sum(value * value for value in values)
    best, head = math.inf, 0.0
    for split in range(1, count):
        head += values[split - 1]
        tail = total - head
        best = min(best, squares - head * head / split - tail * tail / (count - split))
    return best


@dataclass(frozen=True, slots=True)
class PeakTrend:
    """How high the newest peaks stand, and how fast they grow per second.

    ``slope`` is the median of the slopes between all pairs of peaks (Theil-Sen), ``slope_low``
    their lower quartile: positive when growth is no accident. ``span_seconds`` is between the first
    and the last peak regarded.
    """

    level: float
    slope: float
    slope_low: float
    span_seconds: float
    peaks: int


class SawtoothTrend:
    """Peaks of a quantity, told apart by falls of at least ``fall``."""

    def __init__(self, fall: float) -> None:
        self._fall = fall
        self._top: tuple[float, float] | None = None  # of the present rise: time, value
        self._peaks: deque[tuple[float, float]] = deque(maxlen=KEPT_PEAKS)
        self._falls: deque[float] = deque(maxlen=KEPT_PEAKS + 1)
        self.value: float | None = None

    def add(self, at: float, value: float) -> None:
        """Add a reading."""
        self.value = value
        while self._peaks and self._peaks[0][0] < at - PEAK_WINDOW_SECONDS:
            self._peaks.popleft()
        if self._top is None or value >= self._top[1]:
            self._top = (at, value)
        elif self._top[1] - value >= self._fall:
            self._peaks.append(self._top)
            self._falls.append(at)
            self._top = (at, value)

    @property
    def since_fall(self) -> float | None:
        """When the last fall was seen; None before the first."""
        return self._falls[-1] if self._falls else None

    @property
    def longest_cycle_seconds(self) -> float | None:
        """The longest time between two falls of late; None before two."""
        falls = list(self._falls)
        return max((b - a for a, b in itertools.pairwise(falls)), default=None)

    @property
    def highest_peak(self) -> float | None:
        """The highest of the peaks kept; None before the first."""
        return max((value for _, value in self._peaks), default=None)

    def trend(self) -> PeakTrend | None:
        """Growth of the peaks; None before ``MIN_PEAKS``.

        The present rise counts as a peak once it stands above the last one: it is at least as high.
        """
        peaks = list(self._peaks)
        if self._top is not None and peaks and self._top[1] > peaks[-1][1]:
            peaks.append(self._top)
        if len(peaks) < MIN_PEAKS:
            return None
        slopes = sorted(
            (b[1] - a[1]) / (b[0] - a[0])
            for i, a in enumerate(peaks)
            for b in peaks[i + 1 :]
            if b[0] > a[0]
        )
        if not slopes:
            return None
        return PeakTrend(
            level=max(peak[1] for peak in peaks[-2:]),
            slope=slopes[len(slopes) // 2],
            slope_low=slopes[len(slopes) // 4],
            span_seconds=peaks[-1][0] - peaks[0][0],
            peaks=len(peaks),
        )
