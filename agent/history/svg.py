"""Inline SVG, drawn here: lines, areas, strips and axes over time. Pure.

Colours are the style sheet's (``agent.history.report_style``), named by class.
"""

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.history.columns import DAY, HOUR
from agent.history.plot import number_text, time_text

WIDTH = 960
LEFT, RIGHT, BELOW, ABOVE = 64, 8, 22, 8
MOST_TICKS = 8
HALF_LABEL = 34
"""How far the last label reaches to the right."""
TICK_STEPS = (60, 300, 600, 1800, HOUR, 3 * HOUR, 6 * HOUR, DAY, 7 * DAY, 30 * DAY, 120 * DAY)
DATE_ONLY = 366 * DAY
"""A span whose times are told as dates."""


def escaped(text: str) -> str:
    """Text of any origin, for HTML and its attributes: what cannot be printed is shown as ?."""
    return html.escape("".join(c if c.isprintable() else "?" for c in text), quote=True)


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a chart lies: its period, and the value at its upper edge; the lower one is 0."""

    since: int
    until: int
    top: float
    height: int

    def x(self, time: float) -> float:
        """Where a time lies, kept within the frame."""
        share = (time - self.since) / (self.until - self.since)
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, share))

    def y(self, value: float) -> float:
        """Where a value lies, kept within the frame."""
        share = min(1.0, max(0.0, value / self.top))
        return self.height - BELOW - (self.height - BELOW - ABOVE) * share

    def columns(self, count: int) -> list[float]:
        """The times of the middles of so many equal stretches."""
        width = (self.until - self.since) / count
        return [self.since + width * (index + 0.5) for index in range(count)]


def document(title: str, frame_height: int, body: Iterator[str]) -> str:
    """One drawing; the title is what is read to those who do not see it."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {frame_height}" role="img" aria-label="{escaped(title)}">'
        f"<title>{escaped(title)}</title>{''.join(body)}</svg>"
    )


def line(frame: Frame, values: Sequence[float | None], style: str) -> str:
    """A line that breaks where nothing is known."""
    path = []
    for run in _runs(values):
        points = _points(frame, run, values)
        if len(points) == 1:  # a lone stretch would be invisible
            x, y = points[0]
            points.append((x + 1.0, y))
        path.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points))
    return f'<path class="line {style}" d="{"".join(path)}"/>' if path else ""


def area(
    frame: Frame, lower: Sequence[float | None], upper: Sequence[float | None], style: str
) -> str:
    """What lies between two lines, where both are known."""
    both = [
        None if low is None or high is None else high
        for low, high in zip(lower, upper, strict=True)
    ]
    path = []
    for run in _runs(both):
        there = _points(frame, run, upper)
        back = reversed(_points(frame, run, lower))
        path.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in (*there, *back)) + "Z")
    return f'<path class="area {style}" d="{"".join(path)}"/>' if path else ""


def bars(frame: Frame, values: Sequence[float | None], base: Sequence[float], style: str) -> str:
    """Bars on top of ``base``."""
    width = (WIDTH - LEFT - RIGHT) / len(values)
    path = []
    for index, value in enumerate(values):
        if value:
            x = LEFT + width * index
            bottom, top = frame.y(base[index]), frame.y(base[index] + value)
            path.append(f"M{x:.1f} {bottom:.1f}V{top:.1f}h{width:.2f}V{bottom:.1f}Z")
    return f'<path class="bar {style}" d="{"".join(path)}"/>' if path else ""


def dots(frame: Frame, points: Sequence[tuple[float, float, str]], style: str) -> str:
    """Marks at (time, value), each with a text that is shown under the pointer."""
    return "".join(
        f'<circle class="dot {style}" cx="{frame.x(time):.1f}" cy="{frame.y(value):.1f}" r="4">'
        f"<title>{escaped(text)}</title></circle>"
        for time, value, text in points
    )


def strip(
    frame: Frame, y: float, height: float, pieces: Sequence[tuple[float, float, str, str]]
) -> str:
    """Pieces from one time to another on one height, each with a style and a text."""
    drawn = []
    for begin, end, style, text in pieces:
        x = frame.x(begin)
        width = max(1.0, frame.x(end) - x)
        drawn.append(
            f'<rect class="piece {style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}"><title>{escaped(text)}</title></rect>'
        )
    return "".join(drawn)


def label(x: float, y: float, text: str, anchor: str = "end") -> str:
    """A word beside an axis."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped(text)}</text>'


def value_axis(frame: Frame, *, factor: float = 1.0) -> Iterator[str]:
    """Numbers and rules at quarters; ``factor`` is how many of the value make one of the text."""
    for part in range(5):
        value = frame.top * part / 4
        y = frame.y(value)
        yield f'<path class="rule" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield label(LEFT - 6, y + 4, number_text(value / factor))


def time_axis(frame: Frame) -> Iterator[str]:
    """Local times below, at whole hours, days or weeks, with rules."""
    span = frame.until - frame.since
    longest = TICK_STEPS[-1]
    step = next(
        (step for step in TICK_STEPS if span / step <= MOST_TICKS),
        longest * -(-span // (longest * MOST_TICKS)),
    )
    zone = datetime.fromtimestamp(frame.since).astimezone().utcoffset()
    offset = 0 if zone is None else int(zone.total_seconds())
    first = -(-(frame.since + offset) // step) * step - offset
    y = frame.height - 6
    for time in range(first, frame.until + 1, step):
        x = frame.x(time)
        yield f'<path class="rule" d="M{x:.1f} {ABOVE}V{frame.height - BELOW}"/>'
        text = time_text(time, span=span if step % DAY else DATE_ONLY)
        yield label(min(x, WIDTH - HALF_LABEL), y, text, "middle")


def _runs(values: Sequence[float | None]) -> Iterator[range]:
    """Stretches of neighbours that are known."""
    begin = None
    for index, value in enumerate((*values, None)):
        known = value is not None and math.isfinite(value)
        if known and begin is None:
            begin = index
        elif not known and begin is not None:
            yield range(begin, index)
            begin = None


def _points(frame: Frame, run: range, values: Sequence[float | None]) -> list[tuple[float, float]]:
    times = frame.columns(len(values))
    return [(frame.x(times[index]), frame.y(values[index] or 0.0)) for index in run]
