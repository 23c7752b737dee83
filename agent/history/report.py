"""The page of a capacity review: self-contained HTML, without scripts and without network. Pure."""

from collections.abc import Iterator, Sequence

from agent.explain.quantity_text import duration_text, rate_text
from agent.history import charts
from agent.history.past import COARSEST_SECONDS, Past, PastAlert, PastDatabase
from agent.history.plot import time_text
from agent.history.report_style import STYLE
from agent.history.summary import Summary, suggestion, summarize
from agent.history.svg import escaped

RESOLUTION_WORDS = {10: "10 s", 60: "1 min", 600: "10 min", COARSEST_SECONDS: "6 h"}

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The browser is told to load nothing and to run nothing, whatever a name may hold."""


def report_page(past: Past, *, host: str, version: str, made: int) -> str:
    """The whole page; ``made`` is now, Unix time."""
    return "".join(_page(past, host, version, made))


def _page(past: Past, host: str, version: str, made: int) -> Iterator[str]:
    title = f"RocksDB write capacity of {host}"
    yield (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title)}</title><style>{STYLE}</style></head><body>"
    )
    yield f"<h1>{escaped(title)}</h1>"
    yield (
        f"<p>{escaped(_local(past.since))} to {escaped(_local(past.until))}, means over "
        f"{RESOLUTION_WORDS.get(past.resolution_seconds, '?')}. Made {escaped(_local(made))} by "
        f"smaxd {escaped(version)}. S_max is the put rate that a database can sustain; headroom "
        "the share of it that is left.</p>"
    )
    if not past.databases:
        yield "<p>No database is on record in this time.</p>"
    else:
        yield from _table_of(past)
    for database in past.databases:
        yield from _section(past, database)
    yield from _alerts(past.alerts)
    yield "</body></html>\n"


def _table_of(past: Past) -> Iterator[str]:
    heads = (
        "database",
        "puts/s median",
        "95 %",
        "max",
        "S_max median",
        "least headroom",
        "short of headroom",
        "stopped",
        "delayed",
        "on record",
    )
    yield '<div class="wide"><table><thead><tr>'
    yield "".join(f'<th scope="col">{head}</th>' for head in heads)
    yield "</tr></thead><tbody>"
    for database in past.databases:
        yield _summary_row(summarize(database))
    yield "</tbody></table></div>"


def _summary_row(summary: Summary) -> str:
    lowest = summary.headroom_min
    share = "-" if lowest is None else f"{100 * lowest:.0f} %"
    if lowest is not None and summary.headroom_min_at is not None:
        share += f" at {time_text(summary.headroom_min_at, span=86401)}"
    cells = (
        _rate(summary.put_median),
        _rate(summary.put_p95),
        _rate(summary.put_max),
        _rate(summary.s_max_median),
        share,
        duration_text(summary.short_seconds),
        _duration(summary.stopped_seconds),
        _duration(summary.delayed_seconds),
        duration_text(summary.recorded_seconds),
    )
    return (
        f'<tr><th scope="row">{escaped(summary.name)}</th>'
        + "".join(f"<td>{escaped(cell)}</td>" for cell in cells)
        + "</tr>"
    )


def _section(past: Past, database: PastDatabase) -> Iterator[str]:
    alerts = [
        alert
        for alert in past.alerts
        if alert.database == database.name or alert.device in database.devices
    ]
    yield f"<section><h2>{escaped(database.name)}</h2>"
    yield f"<p><strong>{escaped(suggestion(summarize(database)))}</strong></p>"
    yield _figure(
        "Put rate against S_max, puts/s",
        charts.rates(past, database),
        [
            ("put", "accepted, mean up to the highest sample"),
            ("smax", "S_max"),
            ("interval", "its 90 % interval"),
            ("episode", "sustained in saturation"),
        ],
    )
    yield _figure(
        "Write bandwidth, MiB/s",
        charts.bandwidth(past, database),
        [
            ("capacity", f"capacity of {', '.join(database.devices) or 'the device'}"),
            ("available", "available for puts"),
            ("foreign", "written by others"),
        ],
    )
    yield _figure(
        "Phase, limit, model in charge, alerts",
        charts.bands(past, database, alerts),
        charts.legend_of_bands(database),
    )
    yield _figure(
        "Writes held back, % of the time",
        charts.stalls(past, database),
        [("stopped", "stopped"), ("delayed", "delayed")],
    )
    said = charts.models(past, database)
    if said:
        yield _figure(
            "S_max by model, puts/s", said, charts.legend_of_models(database, database.models)
        )
    yield from _scores(past, database)
    yield from _episodes(database)
    yield "</section>"


def _figure(title: str, drawing: str, legend: Sequence[tuple[str, str]]) -> str:
    keys = "".join(
        f'<span class="key"><i class="{style}"></i>{escaped(text)}</span>' for style, text in legend
    )
    return f"<figure><figcaption>{escaped(title)} {keys}</figcaption>{drawing}</figure>"


def _scores(past: Past, database: PastDatabase) -> Iterator[str]:
    """How far each model was off what saturation showed."""
    if not database.scores:
        yield "<p>No model is scored yet: that takes a saturation episode.</p>"
        return
    yield _figure(
        "Accuracy of each model against what saturation showed, %",
        charts.scores(past, database),
        charts.legend_of_models(database, database.scores),
    )
    rows = []
    for model, scores in sorted(database.scores.items()):
        latest = scores[-1]
        rows.append(
            (
                model,
                _ratio(latest.accuracy_ratio),
                _ratio(latest.coverage_ratio),
                str(latest.labels),
                _local(latest.time),
            )
        )
    heads = ("model", "accuracy", "truth inside its interval", "episodes", "since")
    yield _table("Model scores", heads, rows)


def _episodes(database: PastDatabase) -> Iterator[str]:
    if not database.episodes:
        return
    rows = [
        (
            _local(episode.started),
            duration_text(float(episode.ended - episode.started)),
            rate_text(episode.puts_per_second),
            episode.kind,
            _ratio(episode.stopped_ratio),
            _ratio(episode.delayed_ratio),
            episode.cause or "-",
        )
        for episode in database.episodes
    ]
    heads = ("began", "lasted", "puts/s sustained", "kind", "stopped", "delayed", "cause")
    yield _table("Saturation episodes", heads, rows)


def _alerts(alerts: Sequence[PastAlert]) -> Iterator[str]:
    yield "<section><h2>Alerts</h2>"
    if not alerts:
        yield "<p>None.</p></section>"
        return
    rows = [
        (
            _local(alert.started),
            "active" if alert.ended is None else duration_text(float(alert.ended - alert.started)),
            alert.severity,
            alert.alert,
            alert.database or alert.device or "-",
            alert.summary,
        )
        for alert in alerts
    ]
    yield _table("", ("began", "lasted", "severity", "alert", "about", "summary"), rows)
    yield "</section>"


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    caption = f"<caption>{escaped(title)}</caption>" if title else ""
    head = "".join(f'<th scope="col">{escaped(word)}</th>' for word in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="wide"><table>{caption}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _local(seconds: int) -> str:
    long = 15 * 86400
    return f"{time_text(seconds, span=long)} {time_text(seconds, span=3600)}"


def _rate(value: float | None) -> str:
    return "-" if value is None else rate_text(value)


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else duration_text(seconds)
