"""What ``smaxd history`` prints: a plot and tables, at most 80 columns. Pure."""

from collections.abc import Callable, Iterator, Sequence

from agent.explain.quantity_text import duration_text, rate_text
from agent.history.buckets import cut, mean
from agent.history.export import lines_of
from agent.history.past import Line, Past, PastAlert, PastDatabase, PastEpisode
from agent.history.plot import AXIS, Plot, Style, number_text, plot, time_text
from agent.history.summary import Summary, median_rate_text, summarize

WIDTH = 80
COLUMNS = WIDTH - AXIS

MOST_ROWS = 20
"""Of a table; the rest is counted."""


def history_lines(
    past: Past, metrics: Sequence[str], *, unicode: bool = True
) -> Iterator[list[Style]]:
    """The whole answer: of each database the plot, or one of each metric, and the tables."""
    for database in past.databases:
        yield [(_fit(database.name), "bold cyan")]
        if metrics:
            named = lines_of(past, database)
            for metric in metrics:
                if metric in named:
                    yield []
                    yield from _metric(past, metric, *named[metric], unicode=unicode)
        else:
            yield from _rates(past, database, unicode=unicode)
            yield from _figures(summarize(database))
        yield from _episodes(past, database.episodes)
        yield []
    yield from _alerts(past)


def plain(lines: Iterator[list[Style]]) -> str:
    """The same without styles."""
    return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines)


def _rates(past: Past, database: PastDatabase, *, unicode: bool) -> Iterator[list[Style]]:
    line = database.line
    if not line.times:
        yield [("no rates on record in this time", "yellow")]
        return

    def columns(name: str, how: Callable[[list[float]], float] = mean) -> list[float | None]:
        return cut(line, line.numbers(name), past.since, past.until, COLUMNS, how)

    drawn = Plot(
        past.since,
        past.until,
        bars=columns("observed_puts_per_second"),
        level=columns("s_max_puts_per_second"),
        lower=columns("s_max_lower_puts_per_second", min),
        upper=columns("s_max_upper_puts_per_second", max),
    )
    bar, level, band = ("█", "━", "░") if unicode else ("#", "=", "~")
    yield [
        ("puts/s: ", ""),
        (f"{bar} accepted  ", "green"),
        (f"{level} S_max  ", "cyan"),
        (f"{band} its 90 % interval", "blue"),
    ]
    yield from plot(drawn, unicode=unicode)


def _metric(
    past: Past, name: str, line: Line, values: Sequence[float | str | None], *, unicode: bool
) -> Iterator[list[Style]]:
    numbers = [value if isinstance(value, float) else None for value in values]
    words = [value for value in values if isinstance(value, str)]
    yield [(_fit(name), "bold")]
    if words:
        yield from _shares(line, values)
        return
    bars = cut(line, numbers, past.since, past.until, COLUMNS, mean)
    known = [value for value in numbers if value is not None and abs(value) != float("inf")]
    if not known:
        yield [("nothing on record in this time", "yellow")]
        return
    yield from plot(Plot(past.since, past.until, bars, height=8), unicode=unicode)
    figures = (min(known), sum(known) / len(known), max(known))
    yield [("least / mean / most  " + " / ".join(map(number_text, figures)), "")]


def _shares(line: Line, values: Sequence[float | str | None]) -> Iterator[list[Style]]:
    """Of words: for how long each was the one."""
    seconds: dict[str, float] = {}
    for (_, span), word in zip(line.spans(), values, strict=True):
        if isinstance(word, str):
            seconds[word] = seconds.get(word, 0.0) + span
    total = sum(seconds.values())
    for word, lasted in sorted(seconds.items(), key=lambda item: -item[1]):
        share = f"{100 * lasted / total:5.1f} %"
        yield [(f"  {share}  {duration_text(lasted):>8}  {_fit(word, WIDTH - 22)}", "")]


def _figures(summary: Summary) -> Iterator[list[Style]]:
    stalled = summary.stalled_seconds
    lowest = summary.headroom_min
    pieces = [f"puts/s median / 95 % / max  {median_rate_text(summary)}"]
    if lowest is not None:
        pieces.append(f"least headroom {100 * lowest:.0f} %")
    yield [("   ".join(pieces), "")]
    if stalled is not None:
        yield [
            (
                f"stopped {duration_text(summary.stopped_seconds or 0.0)}, "
                f"delayed {duration_text(summary.delayed_seconds or 0.0)}",
                "bold red" if stalled >= 1.0 else "",
            )
        ]


def _episodes(past: Past, episodes: Sequence[PastEpisode]) -> Iterator[list[Style]]:
    if not episodes:
        return
    yield []
    yield [("saturated at              for      puts/s sustained  how", "bold")]
    for episode in episodes[-MOST_ROWS:]:
        lasted = duration_text(float(episode.ended - episode.started))
        how = episode.kind if episode.cause is None else f"{episode.kind}, {episode.cause}"
        if not episode.closed and episode is episodes[-1]:
            how += " (going on)"
        yield [
            (
                f"{_moment(episode.started, past):<24}  {lasted:<8} "
                f"{rate_text(episode.puts_per_second):>14}    {_fit(how, 27)}",
                "",
            )
        ]
    yield from _rest(len(episodes))


def _alerts(past: Past) -> Iterator[list[Style]]:
    if not past.alerts:
        yield [("no alerts", "green")]
        return
    yield [("alert began               for      severity  alert", "bold")]
    for alert in past.alerts[-MOST_ROWS:]:
        lasted = "active" if alert.ended is None else duration_text(_lasted(alert))
        subject = alert.database or alert.device
        yield [
            (f"{_moment(alert.started, past):<24}  {lasted:<8} ", ""),
            (f"{_fit(alert.severity, 9):<9} ", "red" if alert.severity == "critical" else "yellow"),
            (_fit(f"{alert.alert} {subject}", 34), ""),
        ]
    yield from _rest(len(past.alerts))


def _lasted(alert: PastAlert) -> float:
    return float((alert.ended or alert.started) - alert.started)


def _rest(count: int) -> Iterator[list[Style]]:
    if count > MOST_ROWS:
        yield [(f"... and {count - MOST_ROWS} before; --json has all", "dim")]


def _moment(seconds: int, past: Past) -> str:
    long = max(15 * 86400, past.until - past.since)
    return f"{time_text(seconds, span=long)} {time_text(seconds, span=3600)}"


def _fit(text: str, width: int = WIDTH) -> str:
    """Cut at the width; names may hold control characters."""
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown if len(shown) <= width else shown[: width - 3] + "..."
