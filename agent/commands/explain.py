"""``smaxd explain``: how a database's S_max came about."""

import json
import sys

import click

from agent.client import NoDaemon, UnknownDatabaseName, fetch_explanation
from agent.explain.text import explanation_lines, plain


def show_explanation(url: str, database: str | None, *, as_json: bool) -> int:
    """Print it; 0, 1 when no daemon answers, 2 when it does not watch that database."""
    try:
        document, raw = fetch_explanation(url, database)
    except NoDaemon as error:
        click.echo(f"smaxd: {error}", err=True)
        return 1
    except UnknownDatabaseName as error:
        click.echo(f"smaxd: {error}", err=True)
        return 2
    if as_json:
        click.echo(json.dumps(json.loads(raw), indent=2))
        return 0
    if document.stalled:
        click.echo(
            f"smaxd: warning: the agent has not ticked for {document.snapshot_age_seconds:.0f} s",
            err=True,
        )
    if not document.databases:
        click.echo("no RocksDB database found on this host")
    elif sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 - only where a terminal is styled for
        from rich.text import Text  # noqa: PLC0415

        console = Console(highlight=False, soft_wrap=True)
        for index, explanation in enumerate(document.databases):
            if index:
                console.print()
            for line in explanation_lines(explanation):
                console.print(Text.assemble(*line))
    else:
        click.echo(plain(document.databases), nl=False)
    return 0
