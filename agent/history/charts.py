"""The charts of one database in the report. Pure."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, groupby

from agent.explain.quantity_text import duration_text, rate_text
from agent.explain.sentence import LIMIT_WORDS
from agent.history import svg
from agent.history.buckets import cut, cut_words, mean, round_up
from agent.history.export import DEVICE_PREFIX, lines_of
from agent.history.past import Line, Past, PastAlert, PastDatabase, PastScore
from agent.history.plot import time_text
from agent.models.estimate import RESOURCES
from agent.models.phase_votes import PHASES
from agent.models.prediction import MIB

COLUMNS = 448
"""Stretches of time in a chart: two units of the drawing's width each."""

STRIP_HEIGHT = 16.0
STRIP_DISTANCE = 22.0

INTERVAL_ROOM = 1.5
"""An interval may reach so far above all else; a prior's would press the rest to the ground."""

MODEL_STYLES = ("c1", "c2", "c3", "c4", "c5", "c6")

Numbers = Sequence[float | None]


def rates(past: Past, database: PastDatabase) -> str:
    """Put rate against S_max with its interval, and what episodes showed."""
    put = _cut(past, database.line, "observed_puts_per_second", mean)
    peak = _cut(past, database.line, "observed_puts_per_second_max", max)
    s_max = _cut(past, database.line, "s_max_puts_per_second", mean)
    lower = _cut(past, database.line, "s_max_lower_puts_per_second", min)
    upper = _cut(past, database.line, "s_max_upper_puts_per_second", max)
    sustained = [episode.puts_per_second for episode in database.episodes]
    top = max(_top(peak), _top(s_max), max(sustained, default=0.0))
    frame = _frame(past, max(top, min(_top(upper), INTERVAL_ROOM * top)), 260)
    marks = [
        (
            (episode.started + episode.ended) / 2,
            episode.puts_per_second,
            f"saturated ({episode.kind}) for "
            f"{duration_text(float(episode.ended - episode.started))}: "
            f"{rate_text(episode.puts_per_second)} puts/s",
        )
        for episode in database.episodes
    ]
    body = chain(
        svg.value_axis(frame),
        [
            svg.area(frame, lower, upper, "interval"),
            svg.area(frame, put, peak, "put"),
            svg.line(frame, s_max, "smax"),
            svg.line(frame, put, "put"),
            svg.dots(frame, marks, "episode"),
        ],
        svg.time_axis(frame),
    )
    return svg.document(f"Put rate and S_max of {database.name}", frame.height, body)


def bandwidth(past: Past, database: PastDatabase) -> str:
    """Capacity of the device, what is available of it, and what others write."""
    named = lines_of(past, database)
    line, values = named[DEVICE_PREFIX + "capacity_bytes_per_second"]
    numbers = [value if isinstance(value, float) else None for value in values]
    capacity = cut(line, numbers, past.since, past.until, COLUMNS, mean)
    available = _cut(past, database.line, "available_bytes_per_second", mean)
    foreign = _cut(past, database.line, "foreign_bytes_per_second", mean)
    top = max(_top(capacity), _top(available), _top(foreign))
    frame = svg.Frame(past.since, past.until, round_up(top / MIB) * MIB, 180)
    body = chain(
        svg.value_axis(frame, factor=MIB),
        [
            svg.line(frame, capacity, "capacity"),
            svg.line(frame, available, "available"),
            svg.line(frame, foreign, "foreign"),
        ],
        svg.time_axis(frame),
    )
    return svg.document(f"Write bandwidth for {database.name}", frame.height, body)


def bands(past: Past, database: PastDatabase, alerts: Sequence[PastAlert]) -> str:
    """Phase, bottleneck and model over time, and the alerts."""
    line = database.line
    rows = [
        ("phase", _pieces(past, line, "phase", _phase_style, str)),
        ("limit", _pieces(past, line, "bottleneck", _resource_style, _resource_words)),
        ("model", _pieces(past, line, "model", _model_style(database), str)),
        ("alerts", [_alert_piece(past, alert) for alert in alerts]),
    ]
    height = int(svg.ABOVE + STRIP_DISTANCE * len(rows) + svg.BELOW)
    frame = _frame(past, 1.0, height)
    drawn = []
    for index, (name, pieces) in enumerate(rows):
        y = svg.ABOVE + STRIP_DISTANCE * index
        drawn.append(svg.label(svg.LEFT - 6, y + 12, name))
        drawn.append(svg.strip(frame, y, STRIP_HEIGHT, pieces))
    body = chain(drawn, svg.time_axis(frame))
    return svg.document(f"Phase, limit, model and alerts of {database.name}", height, body)


def stalls(past: Past, database: PastDatabase) -> str:
    """The share of time in which writes were stopped or delayed."""
    line = database.line
    stopped = _share_of_time(past, line, "stopped_seconds")
    delayed = _share_of_time(past, line, "delayed_seconds")
    nothing = [0.0] * COLUMNS
    ground = [share or 0.0 for share in stopped]
    tallest = max((a + (b or 0.0) for a, b in zip(ground, delayed, strict=True)), default=0.0)
    frame = _frame(past, tallest or 0.01, 120)
    body = chain(
        svg.value_axis(frame, factor=0.01),
        [
            svg.bars(frame, stopped, nothing, "stopped"),
            svg.bars(frame, delayed, ground, "delayed"),
        ],
        svg.time_axis(frame),
    )
    return svg.document(f"Write stalls of {database.name}", frame.height, body)


def models(past: Past, database: PastDatabase) -> str:
    """What each model said, calibrated; "" without any."""
    said = {
        model: _cut(past, line, "calibrated_puts_per_second", mean)
        for model, line in sorted(database.models.items())
    }
    top = max((_top(values) for values in said.values()), default=0.0)
    if top == 0.0:
        return ""
    frame = _frame(past, top, 180)
    style = _model_style(database)
    body = chain(
        svg.value_axis(frame),
        [svg.line(frame, values, style(model)) for model, values in said.items()],
        svg.time_axis(frame),
    )
    return svg.document(f"S_max of {database.name} by model", frame.height, body)


def scores(past: Past, database: PastDatabase) -> str:
    """How accurate each model had been until then."""
    frame = svg.Frame(past.since, past.until, 1.0, 150)
    style = _model_style(database)
    body = chain(
        svg.value_axis(frame, factor=0.01),
        [
            svg.line(frame, _standing(past, known), style(model))
            for model, known in sorted(database.scores.items())
        ],
        svg.time_axis(frame),
    )
    return svg.document(f"Accuracy of the models of {database.name}", frame.height, body)


def legend_of_models(database: PastDatabase, models: Iterable[str]) -> list[tuple[str, str]]:
    """Style and name of each of them."""
    style = _model_style(database)
    return [(style(model), model) for model in sorted(models)]


def legend_of_bands(database: PastDatabase) -> list[tuple[str, str]]:
    """Style and name of each phase, limit and model that occurred."""
    words = database.line.words
    phases = sorted(set(filter(None, words("phase"))))
    limits = sorted(set(filter(None, words("bottleneck"))))
    models = sorted(set(filter(None, words("model"))))
    style = _model_style(database)
    return [
        *((_phase_style(phase), f"phase: {phase}") for phase in phases),
        *((_resource_style(limit), f"limit: {_resource_words(limit)}") for limit in limits),
        *((style(model), f"model: {model}") for model in models),
    ]


def _frame(past: Past, top: float, height: int) -> svg.Frame:
    return svg.Frame(past.since, past.until, round_up(top), height)


def _cut(
    past: Past, line: Line, name: str, how: Callable[[list[float]], float]
) -> list[float | None]:
    return cut(line, line.numbers(name), past.since, past.until, COLUMNS, how)


def _top(values: Numbers) -> float:
    return max((value for value in values if value is not None), default=0.0)


def _standing(past: Past, known: Sequence[PastScore]) -> list[float | None]:
    """The latest accuracy by the end of each stretch: it stands until the next episode."""
    width = (past.until - past.since) / COLUMNS
    said: list[float | None] = []
    place = 0
    latest = None
    for index in range(COLUMNS):
        while place < len(known) and known[place].time < past.since + width * (index + 1):
            latest = known[place].accuracy_ratio
            place += 1
        said.append(latest)
    return said


def _share_of_time(past: Past, line: Line, name: str) -> list[float | None]:
    """Seconds of a row over the seconds that it stands for, at most all of them."""
    shares = [
        None if value is None else min(1.0, value / span)
        for (_, span), value in zip(line.spans(), line.numbers(name), strict=True)
    ]
    return cut(line, shares, past.since, past.until, COLUMNS, mean)


def _pieces(
    past: Past, line: Line, name: str, style: Callable[[str], str], words: Callable[[str], str]
) -> list[tuple[float, float, str, str]]:
    """Stretches of one word, drawn as one piece where it stays the same."""
    said = cut_words(line, line.words(name), past.since, past.until, COLUMNS)
    width = (past.until - past.since) / COLUMNS
    pieces = []
    index = 0
    for word, run in groupby(said):
        count = len(list(run))
        begin, end = past.since + width * index, past.since + width * (index + count)
        if word is not None:
            pieces.append((begin, end, style(word), _told(words(word), begin, end)))
        index += count
    return pieces


def _told(word: str, begin: float, end: float) -> str:
    return f"{word}, {duration_text(end - begin)} from {time_text(int(begin), span=86401)}"


def _alert_piece(past: Past, alert: PastAlert) -> tuple[float, float, str, str]:
    end = float(past.until if alert.ended is None else alert.ended)
    style = "critical" if alert.severity == "critical" else "warning"
    return float(alert.started), end, style, _told(alert.alert, float(alert.started), end)


def _phase_style(phase: str) -> str:
    return f"p{PHASES.index(phase)}" if phase in PHASES else "other"


def _resource_style(resource: str) -> str:
    return f"r{RESOURCES.index(resource)}" if resource in RESOURCES else "other"


def _resource_words(resource: str) -> str:
    return LIMIT_WORDS.get(resource, resource)


def _model_style(database: PastDatabase) -> Callable[[str], str]:
    names = sorted({*database.models, *database.scores})

    def style(model: str) -> str:
        return MODEL_STYLES[names.index(model) % len(MODEL_STYLES)] if model in names else "other"

    return style
