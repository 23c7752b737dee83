"""``smaxd history``: what was, as a plot and tables, or as CSV or JSON."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import click

from agent.client import NoDaemon, fetch_status
from agent.history.export import UnknownMetric, check_metrics, to_csv, to_json
from agent.history.past import InvalidPeriod, Past, resolution_for, resolution_named
from agent.history.period import period
from agent.history.reader import HistoryFile
from agent.history.reader_file import HistoryUnreadable
from agent.history.schema import FILE_NAME
from agent.history.text import history_lines, plain
from agent.state_directory import SYSTEM_DIRECTORY


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of which history which part; as the options say it."""

    url: str
    state: str | None
    since: str
    until: str
    database: str | None
    resolution: str | None = None


class NotToBeHad(Exception):
    """Why there is nothing to show, and the exit code: 1 for a failed operation, 2 for bad use."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def show_history(
    wanted: Wanted,
    metrics: Sequence[str],
    form: Literal["text", "csv", "json"],
    environ: Mapping[str, str],
) -> int:
    """Print it; 0, 1 when there is none, 2 for a bad time or name."""
    models = form != "text" or any(metric.startswith("model_") for metric in metrics)
    try:
        past = read_past(wanted, environ, models=models)
        check_metrics(past, metrics)
    except (NotToBeHad, UnknownMetric) as error:
        click.echo(f"smaxd: {error}", err=True)
        return error.code if isinstance(error, NotToBeHad) else 2
    if form == "csv":
        click.echo(to_csv(past, metrics), nl=False)
    elif form == "json":
        click.echo(to_json(past, metrics), nl=False)
    elif not past.databases and not past.alerts:
        click.echo("nothing is on record in this time")
    else:
        _print(past, metrics)
    return 0


def read_past(wanted: Wanted, environ: Mapping[str, str], *, models: bool) -> Past:
    """What is on record of what is wanted. Raises NotToBeHad."""
    now = int(time.time()) + 1  # what is on record of this second is before it
    try:
        since, until = period(wanted.since, wanted.until, now)
        seconds = (
            resolution_for(since, until, now)
            if wanted.resolution is None
            else resolution_named(wanted.resolution)
        )
    except InvalidPeriod as error:
        raise NotToBeHad(str(error), 2) from error
    path = history_path(wanted.url, wanted.state, environ)
    try:
        with HistoryFile(path) as file:
            if wanted.database is not None and wanted.database not in file.names():
                known = ", ".join(file.names()) or "none"
                raise NotToBeHad(
                    f"no database {wanted.database!r} is on record in {path}; known: {known}", 2
                )
            return file.read(since, until, seconds, database=wanted.database, models=models)
    except HistoryUnreadable as error:
        raise NotToBeHad(str(error), 1) from error


def history_path(url: str, state: str | None, environ: Mapping[str, str]) -> str:
    """The history of the named directory, else of the running daemon, else where one is usually.

    Raises NotToBeHad.
    """
    if state is not None:
        return os.path.join(os.path.abspath(state), FILE_NAME)
    try:
        _, status = fetch_status(url)
    except NoDaemon as error:
        # A daemon that has ended is just what one may want the history of.
        home = environ.get("XDG_STATE_HOME") or os.path.join(
            environ.get("HOME") or "/nonexistent", ".local/state"
        )
        for directory in (SYSTEM_DIRECTORY, os.path.join(home, "smaxd")):
            path = os.path.join(directory, FILE_NAME)
            if os.path.exists(path):
                click.echo(f"smaxd: no daemon answers at {url}; reading {path}", err=True)
                return path
        raise NotToBeHad(f"{error}; or name its state directory with --state", 1) from error
    kept = status.get("state_directory")
    if not isinstance(kept, str):
        raise NotToBeHad("the daemon keeps no state on disk, so no history; run it with --state", 1)
    return os.path.join(kept, FILE_NAME)


def _print(past: Past, metrics: Sequence[str]) -> None:
    unicode = "utf" in (sys.stdout.encoding or "").lower()
    lines = history_lines(past, metrics, unicode=unicode)
    if not sys.stdout.isatty():
        click.echo(plain(lines), nl=False)
        return
    from rich.console import Console  # noqa: PLC0415 - only where a terminal is styled for
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(Text.assemble(*line))
