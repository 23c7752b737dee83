"""The history for other programs: CSV and JSON, with the names of the columns. Pure.

A database's metrics are its own columns, those of the device that carried it (``device_...``) and
what each model said (``model_...``, calibrated).
"""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from agent.history.columns import DATABASES, DEVICES
from agent.history.past import Line, Past, PastDatabase

DEVICE_PREFIX = "device_"
MODEL_PREFIX = "model_"


class UnknownMetric(ValueError):
    """No such metric; the message names those there are."""


def lines_of(
    past: Past, database: PastDatabase
) -> dict[str, tuple[Line, Sequence[float | str | None]]]:
    """Every metric of a database, by name: the line that it belongs to, and its values."""
    named: dict[str, tuple[Line, Sequence[float | str | None]]] = {
        name: (database.line, values) for name, values in database.line.columns.items()
    }
    line = database.line
    at = {
        device: dict(zip(carrier.times, range(len(carrier.times)), strict=True))
        for device, carrier in past.devices.items()
    }
    places = [
        None if device is None or time not in at.get(device, {}) else (device, at[device][time])
        for time, device in zip(line.times, line.words("device"), strict=True)
    ]
    for column in DEVICES.columns:
        of = {device: carrier.numbers(column.name) for device, carrier in past.devices.items()}
        values = [None if place is None else of[place[0]][place[1]] for place in places]
        named[DEVICE_PREFIX + column.name] = (line, values)
    for model, own in sorted(database.models.items()):
        said = dict(zip(own.times, own.numbers("calibrated_puts_per_second"), strict=True))
        named[MODEL_PREFIX + model] = (line, [said.get(time) for time in line.times])
    return named


def check_metrics(past: Past, metrics: Sequence[str]) -> None:
    """Raises UnknownMetric for a name that is a metric of no database."""
    if not metrics:
        return
    known = {name for database in past.databases for name in lines_of(past, database)}
    known |= {column.name for column in DATABASES.columns}
    known |= {DEVICE_PREFIX + column.name for column in DEVICES.columns}
    for metric in metrics:
        if metric not in known:
            raise UnknownMetric(f"there is no metric {metric!r}; known: {', '.join(sorted(known))}")


def _rows(
    past: Past, metrics: Sequence[str]
) -> Iterator[tuple[str, int, dict[str, float | str | None]]]:
    """Database, time, values by metric."""
    for database in past.databases:
        named = lines_of(past, database)
        chosen = metrics or list(named)
        for index, time in enumerate(database.line.times):
            values = {m: named[m][1][index] if m in named else None for m in chosen}
            yield database.name, time, values


def to_csv(past: Past, metrics: Sequence[str]) -> str:
    """A header, and one row per database and moment; empty for unknown, times in UTC."""
    chosen = list(metrics)
    if not chosen:
        names: dict[str, None] = {}
        for database in past.databases:
            names.update(dict.fromkeys(lines_of(past, database)))
        chosen = list(names)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["time", "db", *chosen])
    for name, time, values in _rows(past, chosen):
        cells = ("" if values.get(m) is None else _cell(values[m]) for m in chosen)
        writer.writerow([_utc(time), _cell(name), *cells])
    return out.getvalue()


def to_json(past: Past, metrics: Sequence[str]) -> str:
    """The same, with episodes, alerts and scores; null for unknown, times in Unix seconds."""
    rows: dict[str, list[dict[str, Any]]] = {database.name: [] for database in past.databases}
    for name, time, values in _rows(past, metrics):
        rows[name].append({"time": time, **{m: _json(v) for m, v in values.items()}})
    document: Mapping[str, Any] = {
        "since": past.since,
        "until": past.until,
        "resolution_seconds": past.resolution_seconds,
        "databases": [
            {
                "name": database.name,
                "rows": rows[database.name],
                "episodes": [asdict(episode) for episode in database.episodes],
                "scores": {
                    model: [asdict(score) for score in scores]
                    for model, scores in sorted(database.scores.items())
                },
            }
            for database in past.databases
        ],
        "alerts": [asdict(alert) for alert in past.alerts],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cell(value: float | str | None) -> str:
    if isinstance(value, float):
        return "+Inf" if math.isinf(value) else f"{value:.10g}"
    text = "" if value is None else str(value)
    # A spreadsheet takes a cell that begins so for a formula; no name of ours does.
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text


def _json(value: float | str | None) -> float | str | None:
    """JSON has no infinity: it is written as in Prometheus."""
    return "+Inf" if isinstance(value, float) and math.isinf(value) else value
