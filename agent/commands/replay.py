"""``smaxd replay``: what this version of smaxd says about a recording, tick by tick."""

import json
from collections import deque
from collections.abc import Iterator

import click
import msgspec

from agent.api import status_document
from agent.learning.learning import Learning
from agent.main import host_state_for
from agent.recording.recording import Recording, RecordingError, open_recording
from agent.recording.replay import replay
from agent.recording.table import Row, models_of, row_of, table_lines
from agent.simulator import InlineSimulator
from agent.snapshot import Snapshot

LAST = "last"
"""``--at last``: the recording's end."""


def print_replay(
    path: str, *, as_json: bool, at: str | None, every_seconds: float, model: str | None
) -> int:
    """Print a table per database, or one JSON object per tick; the exit code.

    ``at`` is "last" or seconds after the first tick: only the last tick until then is printed.
    """
    try:
        until = _until(at)
        recording = open_recording(path)
        ticks = _ticks(recording, until)
        if at is not None:
            ticks = _last_of(ticks)
        count = _print_json(ticks, model) if as_json else _print_tables(ticks, every_seconds, model)
    except (RecordingError, _BadOption) as error:
        return _fail(str(error))
    if count == 0:
        return _fail(f"{path}: holds no tick")
    for remark in _remarks(recording):
        click.echo(f"smaxd: {path}: {remark}", err=True)
    return 0


class _BadOption(Exception):
    """An option that does not fit, or not this recording."""


def _until(at: str | None) -> float:
    if at is None or at == LAST:
        return float("inf")
    try:
        seconds = float(at)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise _BadOption(f"--at {at}: must be a number of seconds from 0, or {LAST}")
    return seconds


def _ticks(recording: Recording, until: float) -> Iterator[tuple[float, Snapshot]]:
    """Every snapshot with the seconds since the first."""
    first: float | None = None
    state = host_state_for(recording.header.config, Learning(recording.header.learned))
    for snapshot in replay(recording, state, InlineSimulator()):
        first = snapshot.at if first is None else first
        if snapshot.at - first > until:
            return
        yield snapshot.at - first, snapshot


def _last_of(ticks: Iterator[tuple[float, Snapshot]]) -> Iterator[tuple[float, Snapshot]]:
    yield from deque(ticks, maxlen=1)


def _print_json(ticks: Iterator[tuple[float, Snapshot]], model: str | None) -> int:
    count = 0
    for seconds, snapshot in ticks:
        count += 1
        document = msgspec.to_builtins(status_document(snapshot, snapshot.at))
        if model is not None:
            for database in document["databases"]:
                database["predictions"] = [
                    each for each in database["predictions"] if each["model"] == model
                ]
        click.echo(json.dumps({"seconds": seconds, **document}))
    return count


def _print_tables(
    ticks: Iterator[tuple[float, Snapshot]], every_seconds: float, model: str | None
) -> int:
    """Print what there is, also of a recording that turns out to be damaged."""
    tables: dict[str, list[Row]] = {}
    pending: dict[str, Row] = {}
    damage: RecordingError | None = None
    count, due = 0, 0.0
    try:
        for seconds, snapshot in ticks:
            count += 1
            rows = {database.name: row_of(database, seconds) for database in snapshot.databases}
            pending = {} if seconds >= due else rows
            if seconds >= due:
                due = (seconds // every_seconds + 1) * every_seconds
                for name, row in rows.items():
                    tables.setdefault(name, []).append(row)
    except RecordingError as error:
        damage = error
    for name, row in pending.items():  # the end is always shown
        tables.setdefault(name, []).append(row)
    known = models_of(row for rows in tables.values() for row in rows)
    if model is not None and count and model not in known:
        raise _BadOption(
            f"--model {model}: no such model here; known: {', '.join(known) or 'none'}"
        )
    for index, (name, table) in enumerate(tables.items()):
        click.echo(("\n" if index else "") + name)
        for line in table_lines(table, model):
            click.echo(line)
    if damage is not None:
        raise damage
    return count


def _remarks(recording: Recording) -> Iterator[str]:
    if recording.cut is not None:
        yield recording.cut
    if recording.end == "limit":
        yield "ends at its size limit (--record-limit-mib)"
    if recording.end == "disk_full":
        yield "ends where its file system was almost full"
    if recording.skipped:
        yield f"{recording.skipped} ticks are missing: the disk did not take them in time"


def _fail(message: str) -> int:
    click.echo(f"smaxd: {message}", err=True)
    return 2
