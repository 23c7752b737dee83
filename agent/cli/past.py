"""Commands about alerts and about what was."""

import os
from typing import Literal

import click

from agent.cli.options import PATH, fail, json_option, state_option, url_option


@click.command()
@url_option
@json_option
@click.option("--all", "everything", is_flag=True, help="Those that are quiet, too.")
def alerts(url: str, as_json: bool, everything: bool) -> None:
    """List the alerts that fire or are about to, silences and acknowledgements."""
    from agent.commands.alerts import show_alerts

    raise SystemExit(show_alerts(url, as_json=as_json, everything=everything))


@click.command()
@click.argument("alert", metavar="ALERT|FINGERPRINT")
@url_option
@click.option("--db", "database", help="Only this database's, by the name it is watched under.")
@click.option("--for", "duration", default="24h", show_default=True, help="How long: 90s to 30d.")
@click.option("--comment", default="", help="Why, or who looks after it.")
def ack(alert: str, url: str, database: str | None, duration: str, comment: str) -> None:
    """Acknowledge alerts that fire: they are not repeated while they last, and not escalated."""
    from agent.commands.alerts import acknowledge

    raise SystemExit(acknowledge(url, alert, database, duration, comment))


@click.command()
@click.argument("words", nargs=-1, metavar="[ALERT] DURATION")
@url_option
@state_option
@click.option("--db", "database", help="Only alerts of this database.")
@click.option("--device", help="Only alerts about this device and the databases on it.")
@click.option("--comment", default="", help="Why.")
def silence(
    words: tuple[str, ...],
    url: str,
    state: str | None,
    database: str | None,
    device: str | None,
    comment: str,
) -> None:
    """Tell nobody of ALERT, or of any alert, for DURATION: 90s, 30m, 2h, 1d."""
    from agent.commands.alerts import silence as silence_alerts

    raise SystemExit(silence_alerts(url, state, words, database, device, comment))


@click.command()
@click.argument("id", required=False)
@url_option
@state_option
@click.option("--all", "everything", is_flag=True, help="Every silence.")
def unsilence(id: str | None, url: str, state: str | None, everything: bool) -> None:
    """End a silence or an acknowledgement before its time."""
    from agent.commands.alerts import unsilence as unsilence_alerts

    raise SystemExit(unsilence_alerts(url, state, id, everything=everything))


@click.command()
@url_option
@json_option
@click.option("--since", default="24h", show_default=True, help="90m, 24h, 7d ago, or a time.")
@click.option("--until", default="now", show_default=True, help="The same.")
@click.option("--db", "database", help="Only this database.")
@state_option
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="May be repeated.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--resolution", metavar="10s|1m|10m|6h", help="Of what is read; else by length.")
def history(
    url: str,
    as_json: bool,
    since: str,
    until: str,
    database: str | None,
    state: str | None,
    metrics: tuple[str, ...],
    as_csv: bool,
    resolution: str | None,
) -> None:
    """Plot the put rate against S_max over time, with saturation episodes and alerts."""
    from agent.commands.history import Wanted, show_history

    if as_csv and as_json:
        fail("--csv and --json exclude each other", 2)
    wanted = Wanted(url, state, since, until, database, resolution)
    form: Literal["text", "csv", "json"] = "csv" if as_csv else "json" if as_json else "text"
    raise SystemExit(show_history(wanted, metrics, form, os.environ))


@click.command()
@url_option
@click.option("--since", default="7d", show_default=True, help="90m, 24h, 7d ago, or a time.")
@click.option("--until", default="now", show_default=True, help="The same.")
@click.option("--db", "database", help="Only this database.")
@state_option
@click.option("-o", "--output", required=True, type=PATH, metavar="FILE", help="- for stdout.")
def report(
    url: str, since: str, until: str, database: str | None, state: str | None, output: str
) -> None:
    """Write a self-contained HTML page for a capacity review."""
    from agent.commands.history import Wanted
    from agent.commands.report import write_report

    wanted = Wanted(url, state, since, until, database)
    raise SystemExit(write_report(wanted, output, os.environ))
