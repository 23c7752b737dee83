"""Commands that run the daemon, or that its operator needs around it."""

import functools
import os

import click

from agent.cli.options import PATH, fail, json_option, state_option, url_option, web_config_option


@click.command()
@click.option(
    "--config", "config_path", type=PATH, envvar="SMAXD_CONFIG", help="Configuration file (YAML)."
)
@click.option(
    "--db", "databases", type=PATH, multiple=True, help="Watch this database; may be repeated."
)
@click.option("--web.listen-address", "listen_address", help="HOST:PORT of the listener.")
@web_config_option
@click.option("--scratch", type=PATH, help="Directory for fio's scratch file.")
@click.option(
    "--state", type=PATH, metavar="DIR", help="Directory for what is learned, kept over restarts."
)
@click.option(
    "--record", type=PATH, metavar="FILE", help="Record what the probes see; see smaxd replay."
)
@click.option(
    "--record-limit-mib",
    default=64.0,  # a week of ten-second ticks at 1 KB each
    show_default=True,
    help="Where the recording stops.",
)
def run(
    config_path: str | None,
    databases: tuple[str, ...],
    listen_address: str | None,
    web_config_file: str | None,
    scratch: str | None,
    state: str | None,
    record: str | None,
    record_limit_mib: float,
) -> None:
    """Run the daemon; without --db or a configuration it finds the running databases."""
    from agent.commands.run import effective_config, record_to
    from agent.config import ConfigError
    from agent.http import ListenError
    from agent.main import run_daemon
    from agent.recording.recorder import RecordError
    from agent.state_directory import StateDirectoryError

    read_config = functools.partial(
        effective_config, config_path, databases, listen_address, scratch, state, web_config_file
    )
    try:
        run_daemon(read_config, os.environ, record_to(record, record_limit_mib))
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"smaxd: {problem}", err=True)
        raise SystemExit(2) from None
    except ListenError as error:
        fail(str(error))
    except (RecordError, StateDirectoryError) as error:
        fail(str(error), 2)


@click.command()
@url_option
@json_option
@click.option("--watch", is_flag=True, help="Refresh until Ctrl-C.")
@click.option("--interval", default=2.0, show_default=True, help="Seconds between refreshes.")
def status(url: str, as_json: bool, watch: bool, interval: float) -> None:
    """Show what the daemon knows; exit 1 when none answers."""
    from agent.commands.status import show_status, watch_status

    if watch and as_json:
        fail("--watch and --json exclude each other", 2)
    if watch:
        raise SystemExit(watch_status(url, min(max(0.1, interval), 3600.0)))
    raise SystemExit(show_status(url, as_json=as_json))


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def check(words: tuple[str, ...]) -> None:
    """Check as host checks do: one line; exit 0 ok, 1 warning, 2 critical, 3 unknown.

    Options: [--db NAME] [--url URL].
    """
    from agent.commands.check import check_host

    raise SystemExit(check_host(words, os.environ))


@click.command("check-config")
@click.argument("file", type=PATH)
@web_config_option
@click.option("--syntax-only", is_flag=True, help="Look at no file that the configuration names.")
def check_config(file: str, web_config_file: str | None, syntax_only: bool) -> None:
    """Report every problem of a configuration file; exit 2 if there is any."""
    from agent.config import ConfigError, load_config
    from agent.delivery.receiver_files import file_problems, unchecked_files
    from agent.otlp_receiver import otlp_problems, unchecked_otlp_files
    from agent.web_file import web_config_problems

    try:
        config = load_config(file)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"smaxd: {problem}", err=True)
        raise SystemExit(2) from None
    if syntax_only:
        click.echo(f"{file}: ok")
        return
    delivery = config.alerting.delivery
    problems = file_problems(delivery, os.environ)
    problems += otlp_problems(config.otlp, os.environ)
    problems += web_config_problems(web_config_file or config.web.config_file)
    for problem in problems:
        click.echo(f"smaxd: {problem}", err=True)
    if problems:
        raise SystemExit(2)
    unchecked = unchecked_files(delivery, os.environ)
    unchecked += unchecked_otlp_files(config.otlp, os.environ)
    for name in sorted(set(unchecked)):
        click.echo(f"{file}: not checked: {name}, a credential of the service", err=True)
    click.echo(f"{file}: ok")


@click.command("notify-test")
@click.option(
    "--config",
    "config_path",
    type=PATH,
    envvar="SMAXD_CONFIG",
    default="/etc/smaxd/smaxd.yaml",
    show_default=True,
    help="Configuration file (YAML).",
)
@click.option("--channel", metavar="NAME", help="Only through this one.")
def notify_test(config_path: str, channel: str | None) -> None:
    """Send a test notification through every channel of alerting.delivery; no daemon needed."""
    from agent.commands.notify_test import notify_test as send_test

    raise SystemExit(send_test(config_path, channel, os.environ))


@click.command()
@click.argument("duration", default="1h")
@url_option
@state_option
def pause(duration: str, url: str, state: str | None) -> None:
    """Start no probe that writes for DURATION: 90s, 30m, 2h, 1d (1h when not given)."""
    from agent.commands.pause import pause as pause_probes

    raise SystemExit(pause_probes(url, state, duration))


@click.command()
@url_option
@state_option
def resume(url: str, state: str | None) -> None:
    """End a pause before its time."""
    from agent.commands.pause import resume as resume_probes

    raise SystemExit(resume_probes(url, state))
