"""What several commands share: options, and how they end with an error."""

import os
from typing import NoReturn

import click


class _PathName(click.Path):
    """Completed as a path by the shells. Looked at by whoever uses it: already asking whether a
    file is there hangs on a dead disk, and what the daemon asks of one has a time limit."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        """As it was typed."""
        del param, ctx
        return os.fspath(value)


PATH = _PathName()

url_option = click.option(
    "--url",
    envvar="SMAXD_URL",
    default="http://127.0.0.1:10390",
    show_default=True,
    help="Where the daemon listens (or SMAXD_URL).",
)
web_config_option = click.option(
    "--web.config.file",
    "web_config_file",
    type=PATH,
    metavar="FILE",
    help="TLS, users and passwords, as every Prometheus exporter has them.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
state_option = click.option(
    "--state", type=PATH, metavar="DIR", help="The daemon's state directory, if it is not running."
)


def fail(message: str, code: int = 1) -> NoReturn:
    """End with one line on stderr."""
    click.echo(f"smaxd: {message}", err=True)
    raise SystemExit(code)
