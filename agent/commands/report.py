"""``smaxd report``: the page for a capacity review."""

import os
import platform
import tempfile
import time
from collections.abc import Mapping

import click

from agent import __version__
from agent.commands.accounting import account_for_file
from agent.commands.history import NotToBeHad, Wanted, read_past
from agent.history.report import report_page


def write_report(wanted: Wanted, output: str, environ: Mapping[str, str]) -> int:
    """Write the page to ``output``, "-" for stdout; 0, 1 when that fails, 2 for a bad time."""
    try:
        past = read_past(wanted, environ, models=True)
    except NotToBeHad as error:
        click.echo(f"smaxd: {error}", err=True)
        return error.code
    page = report_page(past, host=platform.node(), version=__version__, made=int(time.time()))
    if output == "-":
        click.echo(page, nl=False)
        return 0
    try:
        _replace(output, page.encode())
    except OSError as error:
        click.echo(f"smaxd: {output} cannot be written: {error.strerror}", err=True)
        return 1
    if os.path.isfile(output):
        account_for_file(output, environ, state=wanted.state)
    click.echo(f"{output}: {len(page.encode()) // 1024} KiB")
    return 0


def _replace(path: str, content: bytes) -> None:
    """Whole or not at all: a page cut short would look like one that ends early."""
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as special:  # a pipe, or /dev/stdout
            special.write(content)
        return
    directory = os.path.dirname(os.path.abspath(path))
    descriptor, beside = tempfile.mkstemp(prefix=".smaxd-report-", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(descriptor, 0o666 & ~mask)
        os.replace(beside, path)
    except BaseException:  # an end that was asked for as well
        os.unlink(beside)
        raise
