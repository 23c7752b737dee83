"""The command line. Each command's work is in ``agent.commands``; here are its options and exits.

Exit codes: 0, 1 for a failed operation, 2 for bad usage or input; ``check`` has its own. Imports
that only one command needs are made by that command: the daemon stays small.
"""

import functools
import io
import os
import signal
import sys
from types import FrameType
from typing import Any, Literal, NoReturn

import click

from agent import __version__

MODES = ("fast", "balanced", "accurate")


class Group(click.Group):
    """Keeps the commands in the order in which an operator meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in order of definition."""
        del ctx
        return list(self.commands)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="smaxd")
def cli() -> None:
    """How many puts per second this host's RocksDB can sustain, and what limits it."""


def fail(message: str, code: int = 1) -> NoReturn:
    """End with one line on stderr."""
    click.echo(f"smaxd: {message}", err=True)
    raise SystemExit(code)


url_option = click.option(
    "--url",
    envvar="SMAXD_URL",
    default="http://127.0.0.1:10390",
    show_default=True,
    help="Where the daemon listens (or SMAXD_URL).",
)
PATH = click.Path(readable=False)
"""Completed as a path by the shells; whether it can be used is for the command to say."""

web_config_option = click.option(
    "--web.config.file",
    "web_config_file",
    type=PATH,
    metavar="FILE",
    help="TLS, users and passwords, as every Prometheus exporter has them.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@cli.command()
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


@cli.command()
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


@cli.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def check(words: tuple[str, ...]) -> None:
    """Check as host checks do: one line; exit 0 ok, 1 warning, 2 critical, 3 unknown.

    Options: [--db NAME] [--url URL].
    """
    from agent.commands.check import check_host

    raise SystemExit(check_host(words, os.environ))


@cli.command()
@click.option("--bandwidth", type=float, required=True, help="Available write bandwidth, MiB/s.")
@click.option("--phase", type=click.Choice(["initial", "middle", "final"]))
@click.option("--runtime-min", type=float, help="Age of the database in minutes.")
@click.option("--db-size-gb", type=float, help="Size of the database in GB.")
@click.option("--record-size", type=float, default=1040.0, show_default=True, help="Bytes per put.")
@click.option("--wa", type=float, help="Write amplification.")
@click.option("--ra", type=float, help="Read amplification.")
@click.option("--model", type=click.Choice(["v4", "v4.1", "auto"]), default="auto")
@json_option
def predict(as_json: bool, **options: Any) -> None:  # noqa: ANN401 - click passes the options by name
    """Apply a model to given numbers; no daemon, no measurement."""
    from agent.commands.models import print_prediction
    from agent.models.prediction import InvalidInput

    try:
        print_prediction(as_json=as_json, **options)
    except InvalidInput as error:
        fail(str(error), 2)


@cli.command()
@json_option
def validate(as_json: bool) -> None:
    """Show the reference experiment: what was claimed, and what its formula gives."""
    from agent.commands.models import print_validation

    print_validation(as_json=as_json)


@cli.group()
def probe() -> None:
    """Make one measurement now; no daemon needed."""


@probe.command("disk")
@click.option("--path", type=PATH, required=True, help="Any path on the file system.")
@click.option("--seconds", default=1.0, show_default=True, help="Over how long rates are taken.")
@json_option
def probe_disk(path: str, seconds: float, as_json: bool) -> None:
    """Show which device carries a path, and how busy it is."""
    from agent.commands.probes import print_disk

    raise SystemExit(print_disk(path, min(max(0.1, seconds), 60.0), as_json=as_json))


@probe.command("fio")
@click.option(
    "--path", type=PATH, required=True, help="A directory; the scratch file goes into it."
)
@click.option("--mode", type=click.Choice(MODES), default="fast", show_default=True)
@json_option
def probe_fio(path: str, mode: str, as_json: bool) -> None:
    """Measure the write bandwidth with fio; writes to the device, within the mode's limits."""
    from agent.commands.probes import print_fio

    raise SystemExit(print_fio(path, mode, as_json=as_json))


@probe.command("rocksdb")
@click.option("--db", type=PATH, required=True, help="The database's directory.")
@json_option
def probe_rocksdb(db: str, as_json: bool) -> None:
    """Read a database's state from outside, once, from every source."""
    from agent.commands.probes import print_rocksdb

    raise SystemExit(print_rocksdb(db, as_json=as_json))


@probe.command("log")
@click.argument("file", type=PATH)
@json_option
def probe_log(file: str, as_json: bool) -> None:
    """Summarize a RocksDB LOG file."""
    from agent.commands.probes import print_log

    raise SystemExit(print_log(file, as_json=as_json))


@cli.command()
@json_option
@click.option(
    "--write-config", type=PATH, metavar="FILE", help="Write a configuration naming them all."
)
def discover(as_json: bool, write_config: str | None) -> None:
    """List the RocksDB databases that run on this host."""
    from agent.commands.discover import print_databases

    raise SystemExit(print_databases(write_config, as_json=as_json))


@cli.command("check-config")
@click.argument("file", type=PATH)
@web_config_option
def check_config(file: str, web_config_file: str | None) -> None:
    """Report every problem of a configuration file; exit 2 if there is any."""
    from agent.config import ConfigError, load_config
    from agent.delivery.receiver_files import file_problems, unchecked_files
    from agent.web_file import web_config_problems

    try:
        config = load_config(file)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"smaxd: {problem}", err=True)
        raise SystemExit(2) from None
    delivery = config.alerting.delivery
    problems = file_problems(delivery, os.environ)
    problems += web_config_problems(web_config_file or config.web.config_file)
    for problem in problems:
        click.echo(f"smaxd: {problem}", err=True)
    if problems:
        raise SystemExit(2)
    for name in unchecked_files(delivery, os.environ):
        click.echo(f"{file}: not checked: {name}, a credential of the service", err=True)
    click.echo(f"{file}: ok")


@cli.command("notify-test")
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


@cli.command()
@url_option
@json_option
@click.option("--db", "database", help="Only this database, by the name it is watched under.")
def explain(url: str, as_json: bool, database: str | None) -> None:
    """Show how S_max came about, what limits it, and how sure it is; exit 1 without a daemon."""
    from agent.commands.explain import show_explanation

    raise SystemExit(show_explanation(url, database, as_json=as_json))


@cli.command("replay")
@click.argument("recording", type=PATH)
@json_option
@click.option("--at", metavar="SECONDS|last", help="Only the last tick until then.")
@click.option("--every", default=30.0, show_default=True, help="Seconds between the table's rows.")
@click.option("--model", help="Of the models only this one, such as v4.1.")
def replay_recording(
    recording: str, as_json: bool, at: str | None, every: float, model: str | None
) -> None:
    """Show what this version says about a recording of smaxd run --record, over its time."""
    from agent.commands.replay import print_replay

    raise SystemExit(
        print_replay(recording, as_json=as_json, at=at, every_seconds=max(0.1, every), model=model)
    )


@cli.command()
@click.option(
    "--scratch", required=True, type=PATH, metavar="DIR", help="Where the scratch database goes."
)
@click.option("--db", "database", type=PATH, help="Imitate this database's options and records.")
@click.option("--minutes", default=5.0, show_default=True, help="How long; 1 to 240.")
@click.option("--max-gib", type=float, help="Never write more than this.")
@click.option("--value-size", type=click.IntRange(1, 64 * 1048576), help="Bytes of a value.")
@click.option("--wal/--no-wal", default=None, help="Write a WAL; by default as the database does.")
@click.option(
    "--key-order",
    type=click.Choice(["random", "sequential"]),
    default="random",
    show_default=True,
    help="All over the key space, or ascending.",
)
@click.option("--other-device", is_flag=True, help="DIR may be on another device.")
@click.option("--state", type=PATH, metavar="DIR", help="Where the daemon keeps what it learns.")
@click.option("--yes", is_flag=True, help="Write more than the wear budget without asking.")
@json_option
def calibrate(
    scratch: str,
    database: str | None,
    minutes: float,
    max_gib: float | None,
    value_size: int | None,
    wal: bool | None,
    key_order: Any,  # noqa: ANN401 - one of the two choices
    other_device: bool,
    state: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Saturate a scratch database for some minutes, and measure what it sustains.

    For a maintenance window or a new host. Writes a lot: says how much beforehand, and asks.
    """
    from agent.commands.calibrate import calibrate as run_calibration
    from agent.commands.calibrate_checks import Request

    # Written so that NaN fails, too.
    if not 1.0 <= minutes <= 240.0:
        fail(f"--minutes must be between 1 and 240, not {minutes:g}", 2)
    if max_gib is not None and not 0.0 < max_gib < 1e6:
        fail(f"--max-gib must be above 0, not {max_gib:g}", 2)
    request = Request(
        scratch=scratch,
        database=database,
        seconds=60.0 * minutes,
        max_bytes=None if max_gib is None else int(max_gib * 1073741824),
        value_bytes=value_size,
        wal=wal,
        key_order=key_order,
        other_device=other_device,
        state=None if state is None else os.path.abspath(state),
        yes=yes,
        as_json=as_json,
    )
    raise SystemExit(run_calibration(request, os.environ))


@cli.command()
@url_option
@json_option
@click.option("--db", "database", help="The database, by the name it is watched under.")
@click.option(
    "--inputs", "inputs_file", type=PATH, metavar="FILE", help="A saved 'smaxd explain --json'."
)
@click.option("--max-background-jobs", type=int, help="A quarter flushes, the rest compacts.")
@click.option("--max-subcompactions", type=int)
@click.option("--value-size", type=float, metavar="BYTES", help="Of one put; keys stay.")
@click.option("--compression", metavar="none|lz4|snappy|zstd", help="For the whole tree.")
@click.option("--device-mbps", type=float, help="MiB/s the device writes in all (1 = 1048576 B/s).")
@click.option("--foreign-mb", type=float, help="MiB/s that others write to the device.")
@click.option("--write-buffer-mb", type=float, help="MiB per memtable.")
@click.option("--max-write-buffer-number", type=int)
@click.option("--l0-compaction", type=int, metavar="FILES", help="Level-0 compaction trigger.")
@click.option("--l0-slowdown", type=int, metavar="FILES", help="Level-0 slowdown trigger.")
@click.option("--l0-stop", type=int, metavar="FILES", help="Level-0 stop trigger.")
@click.option("--level-base-mb", type=float, help="MiB of the base level.")
@click.option("--level-multiplier", type=float, help="Each level over the one above it.")
@click.option("--target-file-mb", type=float, help="MiB per table file.")
@click.option("--compaction-style", type=click.Choice(["level", "universal"]))
@click.option("--rate-limit-mb", type=float, help="MiB/s of RocksDB's rate limiter; 0: none.")
@click.option("--cpu-cores", type=float, help="Cores this database may use.")
@click.option("--wal", type=click.Choice(["on", "off"]))
@click.option("--put-rate", metavar="+N|-N|=N|xF", help="Does this load fit? +20000, =30000, x1.5")
@click.option("--duration", metavar="TIME", help="How long it lasts: 90s, 4h, 2d.  [default: 1h]")
def whatif(
    url: str,
    as_json: bool,
    database: str | None,
    inputs_file: str | None,
    **options: Any,  # noqa: ANN401 - click passes the options by name
) -> None:
    """Predict S_max with changed options, records or host, and whether a load fits.

    All MB are MiB (1048576 bytes).
    """
    from agent.commands.whatif import show_what_if
    from agent.whatif.models import rate_models

    raise SystemExit(
        show_what_if(url, database, inputs_file, options, rate_models(), as_json=as_json)
    )


@cli.command()
@click.argument("duration", default="1h")
@url_option
@click.option(
    "--state", type=PATH, metavar="DIR", help="The daemon's state directory, if it is not running."
)
def pause(duration: str, url: str, state: str | None) -> None:
    """Start no probe that writes for DURATION: 90s, 30m, 2h, 1d (1h when not given)."""
    from agent.commands.pause import pause as pause_probes

    raise SystemExit(pause_probes(url, state, duration))


@cli.command()
@url_option
@click.option(
    "--state", type=PATH, metavar="DIR", help="The daemon's state directory, if it is not running."
)
def resume(url: str, state: str | None) -> None:
    """End a pause before its time."""
    from agent.commands.pause import resume as resume_probes

    raise SystemExit(resume_probes(url, state))


@cli.command()
@url_option
@json_option
@click.option("--all", "everything", is_flag=True, help="Those that are quiet, too.")
def alerts(url: str, as_json: bool, everything: bool) -> None:
    """List the alerts that fire or are about to, silences and acknowledgements."""
    from agent.commands.alerts import show_alerts

    raise SystemExit(show_alerts(url, as_json=as_json, everything=everything))


@cli.command()
@click.argument("alert", metavar="ALERT|FINGERPRINT")
@url_option
@click.option("--db", "database", help="Only this database's, by the name it is watched under.")
@click.option("--for", "duration", default="24h", show_default=True, help="How long: 90s to 30d.")
@click.option("--comment", default="", help="Why, or who looks after it.")
def ack(alert: str, url: str, database: str | None, duration: str, comment: str) -> None:
    """Acknowledge alerts that fire: they are not repeated while they last, and not escalated."""
    from agent.commands.alerts import acknowledge

    raise SystemExit(acknowledge(url, alert, database, duration, comment))


@cli.command()
@click.argument("words", nargs=-1, metavar="[ALERT] DURATION")
@url_option
@click.option(
    "--state", type=PATH, metavar="DIR", help="The daemon's state directory, if it is not running."
)
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


@cli.command()
@click.argument("id", required=False)
@url_option
@click.option(
    "--state", type=PATH, metavar="DIR", help="The daemon's state directory, if it is not running."
)
@click.option("--all", "everything", is_flag=True, help="Every silence.")
def unsilence(id: str | None, url: str, state: str | None, everything: bool) -> None:
    """End a silence or an acknowledgement before its time."""
    from agent.commands.alerts import unsilence as unsilence_alerts

    raise SystemExit(unsilence_alerts(url, state, id, everything=everything))


@cli.command()
@url_option
@json_option
@click.option("--since", default="24h", show_default=True, help="90m, 24h, 7d ago, or a time.")
@click.option("--until", default="now", show_default=True, help="The same.")
@click.option("--db", "database", help="Only this database.")
@click.option(
    "--state", type=PATH, metavar="DIR", help="The daemon's state directory, if it is not running."
)
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


@cli.command()
@url_option
@click.option("--since", default="7d", show_default=True, help="90m, 24h, 7d ago, or a time.")
@click.option("--until", default="now", show_default=True, help="The same.")
@click.option("--db", "database", help="Only this database.")
@click.option(
    "--state", type=PATH, metavar="DIR", help="The daemon's state directory, if it is not running."
)
@click.option("-o", "--output", required=True, type=PATH, metavar="FILE", help="- for stdout.")
def report(
    url: str, since: str, until: str, database: str | None, state: str | None, output: str
) -> None:
    """Write a self-contained HTML page for a capacity review."""
    from agent.commands.history import Wanted
    from agent.commands.report import write_report

    wanted = Wanted(url, state, since, until, database)
    raise SystemExit(write_report(wanted, output, os.environ))


def _end(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> None:
    """The entry point: errors are one line, a broken pipe and Ctrl-C end quietly."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A path may be no valid UTF-8; it is shown escaped instead of ending the command.
            stream.reconfigure(errors="backslashreplace")
    # So that a measurement that is told to end takes its fio and its scratch file with it; the
    # daemon has a way of its own.
    signal.signal(signal.SIGTERM, _end)
    try:
        raise SystemExit(cli(prog_name="smaxd", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        raise SystemExit(2) from None
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        command = "smaxd" if context is None else context.command_path
        what = " ".join(error.format_message().split()).rstrip(".")
        fail(f"{what}; see '{command} --help'", 2)
    except click.Abort:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader of our output has gone; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
