"""``smaxd whatif``: the prediction with changed inputs, from the daemon or from a saved file."""

import sys
from collections.abc import Mapping
from typing import Any

import click
import msgspec

from agent.client import NoDaemon, UnknownDatabaseName, fetch_explanation
from agent.explain.explanation import ExplainDocument, Explanation, decode
from agent.whatif.change import Change, ChangeError
from agent.whatif.load import parse_load
from agent.whatif.text import plain, what_if_lines
from agent.whatif.whatif import NoAnswer, RateModel, WhatIf, what_if

MIB = 1048576.0
MAX_INPUT_BYTES = 64 * 1024 * 1024
"""A saved explanation of a hundred databases is a tenth of it."""

DEFAULT_DURATION = "1h"
"""As long as S_max is defined to hold."""


def change_from(options: Mapping[str, Any]) -> Change:
    """The command's options, as they are named there, in SI units; MB means MiB throughout."""

    def mib(name: str) -> float | None:
        return None if options[name] is None else options[name] * MIB

    return Change(
        max_background_jobs=options["max_background_jobs"],
        max_subcompactions=options["max_subcompactions"],
        value_bytes=options["value_size"],
        compression=options["compression"],
        device_bytes_per_second=mib("device_mbps"),
        write_buffer_bytes=mib("write_buffer_mb"),
        max_write_buffer_number=options["max_write_buffer_number"],
        level0_compaction=options["l0_compaction"],
        level0_slowdown=options["l0_slowdown"],
        level0_stop=options["l0_stop"],
        level_base_bytes=mib("level_base_mb"),
        level_multiplier=options["level_multiplier"],
        target_file_bytes=mib("target_file_mb"),
        style=options["compaction_style"],
        rate_limit_bytes_per_second=mib("rate_limit_mb"),
        cpu_cores=options["cpu_cores"],
        wal=None if options["wal"] is None else options["wal"] == "on",
        foreign_bytes_per_second=mib("foreign_mb"),
    )


def show_what_if(
    url: str,
    database: str | None,
    inputs_file: str | None,
    options: Mapping[str, Any],
    models: Mapping[str, RateModel],
    *,
    as_json: bool,
) -> int:
    """Print before and after; 0, 1 when there is nothing to predict from, 2 for bad values."""
    try:
        change = change_from(options)
        rate, duration = options["put_rate"], options["duration"]
        if rate is None and duration is not None:
            raise ChangeError("--duration says for how long --put-rate is to hold: give both")
        load = None if rate is None else parse_load(rate, duration or DEFAULT_DURATION)
        if change.is_empty and load is None:
            raise ChangeError("nothing is to change: give an option, or --put-rate")
        explanation = _explanation(url, database, inputs_file)
        answer = what_if(explanation, change, load, models)
    except (ChangeError, UnknownDatabaseName) as error:
        click.echo(f"smaxd: {error}", err=True)
        return 2
    except (NoAnswer, NoDaemon) as error:
        click.echo(f"smaxd: {error}", err=True)
        return 1
    except (ValueError, ArithmeticError) as error:
        # Only a file that was changed by hand holds figures that nothing can be worked out from.
        click.echo(f"smaxd: the inputs make no sense: {error}", err=True)
        return 2
    _print(answer, as_json=as_json)
    return 0


def _explanation(url: str, database: str | None, inputs_file: str | None) -> Explanation:
    if inputs_file is None:
        document, _ = fetch_explanation(url, database)
        where = url
    else:
        document, where = _saved(inputs_file), inputs_file
    found = [e for e in document.databases if database is None or e.database == database]
    names = ", ".join(e.database for e in document.databases) or "none"
    if database is not None and not found:
        raise UnknownDatabaseName(f"no database {database!r} in {where}; known: {names}")
    if not found:
        raise NoAnswer(f"{where} knows no database")
    if len(found) > 1:
        raise ChangeError(f"{where} knows several databases: choose one with --db: {names}")
    return found[0]


def _saved(path: str) -> ExplainDocument:
    try:
        with open(path, "rb") as file:
            body = file.read(MAX_INPUT_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise ChangeError(f"cannot read {path}: {reason}") from error
    try:
        return decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ChangeError(f"{path} is not what 'smaxd explain --json' writes: {error}") from error


def _print(answer: WhatIf, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode())
    elif sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 - only where a terminal is styled for
        from rich.text import Text  # noqa: PLC0415

        console = Console(highlight=False, soft_wrap=True)
        for line in what_if_lines(answer):
            console.print(Text.assemble(*line))
    else:
        click.echo(plain(answer), nl=False)
