"""``smaxd status``: what the daemon knows, once or refreshed."""

import json
import sys
import time
from typing import TYPE_CHECKING

import click

from agent.client import NoDaemon, fetch_status
from agent.render import Style, plain, status_lines

if TYPE_CHECKING:  # rich is imported only where there is a terminal to style for
    from rich.text import Text


def show_status(url: str, *, as_json: bool) -> int:
    """Print the status; 0, or 1 when no daemon answers."""
    try:
        status, raw = fetch_status(url)
    except NoDaemon as error:
        click.echo(f"smaxd: {error}", err=True)
        return 1
    if as_json:
        click.echo(json.dumps(raw, indent=2))
    elif sys.stdout.isatty():
        from rich.console import Console

        console = Console(highlight=False, soft_wrap=True)
        for line in status_lines(status):
            console.print(_text(line))
    else:
        click.echo(plain(status_lines(status)), nl=False)
    return 0


def watch_status(url: str, interval_seconds: float) -> int:
    """Show the status until Ctrl-C; a daemon that goes away is waited for."""
    if not sys.stdout.isatty():
        return _watch_plain(url, interval_seconds)
    from rich.console import Group
    from rich.live import Live

    try:
        with Live(auto_refresh=False, screen=True) as live:
            while True:
                live.update(Group(*(_text(line) for line in _current(url))), refresh=True)
                time.sleep(interval_seconds)
    except KeyboardInterrupt:
        # The screen that was refreshed is gone: leave the last state on the terminal.
        show_status(url, as_json=False)
        return 0


def _watch_plain(url: str, interval_seconds: float) -> int:
    try:
        while True:
            click.echo(plain(iter(_current(url))))
            time.sleep(interval_seconds)
    except KeyboardInterrupt:
        return 0


def _current(url: str) -> list[list[Style]]:
    try:
        return list(status_lines(fetch_status(url)[0]))
    except NoDaemon as error:
        return [[(str(error), "yellow")]]


def _text(line: list[Style]) -> "Text":
    from rich.text import Text

    return Text.assemble(*line)
