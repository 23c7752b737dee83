"""A plot made of characters: the put rate as bars, S_max as a line in its interval. Pure.

for line in plot(Plot(...)): ...      # lines of styled pieces, none wider than asked for
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.history.buckets import round_up

Style = tuple[str, str]
"""A piece of text and the name of a rich style, "" for plain."""

AXIS = 9
"""Columns of the numbers beside the plot, and of the line between."""

BARS = " ▁▂▃▄▅▆▇█"
BAND, LEVEL = "░", "━"

ASCII_BARS = " ..::||##"
ASCII_BAND, ASCII_LEVEL = "~", "="


@dataclass(frozen=True, slots=True)
class Plot:
    """What is drawn, column by column; None where nothing is known.

    ``bars`` stand on 0; ``level`` is a line, ``lower`` and ``upper`` its interval.
    """

    since: int
    until: int
    bars: Sequence[float | None]
    level: Sequence[float | None] = ()
    lower: Sequence[float | None] = ()
    upper: Sequence[float | None] = ()
    height: int = 12


def number_text(value: float) -> str:
    """At most seven columns: 131.7k, 2.5M."""
    size = abs(value)
    for factor, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= factor:
            return f"{value / factor:.4g}{suffix}"
    return f"{value:.3g}"


def time_text(seconds: int, *, span: int) -> str:
    """Local time, in the form that a period of ``span`` seconds needs."""
    form = "%H:%M" if span <= 86400 else "%m-%d %H:%M" if span <= 14 * 86400 else "%Y-%m-%d"
    return datetime.fromtimestamp(seconds).astimezone().strftime(form)


def highest(plot: Plot) -> float:
    """Where the axis ends: all bars fit, and the line; the interval where it is not far above."""
    bars = _top(plot.bars)
    level = _top(plot.level)
    # An interval of a factor of ten, which a prior may be, would press all else to the ground.
    return round_up(max(bars, level, min(_top(plot.upper), 1.5 * max(bars, level))))


def _top(values: Sequence[float | None]) -> float:
    return max((v for v in values if v is not None and math.isfinite(v)), default=0.0)


def plot(what: Plot, *, unicode: bool = True) -> Iterator[list[Style]]:
    """The lines, top to bottom; ``unicode=False`` for terminals that know ASCII only."""
    top = highest(what)
    step = top / what.height
    for row in reversed(range(what.height)):
        labelled = row in {what.height - 1, what.height // 2 - 1}
        label = number_text(step * (row + 1)) if labelled else ""  # of its upper edge
        pieces: list[Style] = [(f"{label:>{AXIS - 2}} ", "dim"), ("│" if unicode else "|", "dim")]
        for column in range(len(what.bars)):
            pieces.append(_cell(what, column, row, step, unicode=unicode))
        yield _joined(pieces)
    # Where nothing is known the ground is broken: that is not the same as a rate of 0.
    corner, dash, hole = ("└", "─", "┄") if unicode else ("+", "-", " ")
    ground = "".join(hole if bar is None else dash for bar in what.bars)
    yield [(f"{'0':>{AXIS - 2}} {corner}{ground}", "dim")]
    yield [(" " * AXIS + _times(what), "dim")]


def _cell(what: Plot, column: int, row: int, step: float, *, unicode: bool) -> Style:
    bars, band, line = (BARS, BAND, LEVEL) if unicode else (ASCII_BARS, ASCII_BAND, ASCII_LEVEL)
    low, high = step * row, step * (row + 1)
    level = _at(what.level, column)
    if level is not None and min(what.height - 1, int(level / step)) == row:
        return line, "cyan"
    bar = _at(what.bars, column)
    filled = 0 if bar is None else min(8, max(0, math.ceil(8 * (bar - low) / step - 1e-9)))
    if filled:
        return bars[filled], "green" if level is None or (bar or 0.0) <= level else "red"
    lower, upper = _at(what.lower, column), _at(what.upper, column)
    if lower is not None and upper is not None and lower < high and upper > low:
        return band, "blue"
    return " ", ""


def _at(values: Sequence[float | None], column: int) -> float | None:
    return values[column] if column < len(values) else None


def _joined(pieces: list[Style]) -> list[Style]:
    """Neighbours of one style in one piece."""
    joined: list[Style] = []
    for text, style in pieces:
        if joined and joined[-1][1] == style:
            joined[-1] = (joined[-1][0] + text, style)
        else:
            joined.append((text, style))
    return joined


def _times(what: Plot) -> str:
    width, span = len(what.bars), what.until - what.since
    labels = [time_text(what.since + span * part // 2, span=span) for part in range(3)]
    text = f"{labels[0]:<{width}}"
    middle = (width - len(labels[1])) // 2
    if middle > len(labels[0]) and middle + len(labels[1]) < width - len(labels[2]):
        text = text[:middle] + labels[1] + text[middle + len(labels[1]) :]
    return text[: width - len(labels[2])] + labels[2]
