"""Commands that measure something now, without the daemon."""

import os
from typing import Any

import click

from agent.cli.options import PATH, fail, json_option

MODES = ("fast", "balanced", "accurate")


@click.command()
@json_option
@click.option(
    "--write-config", type=PATH, metavar="FILE", help="Write a configuration naming them all."
)
def discover(as_json: bool, write_config: str | None) -> None:
    """List the RocksDB databases that run on this host."""
    from agent.commands.discover import print_databases

    raise SystemExit(print_databases(write_config, as_json=as_json))


@click.group()
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
@click.option("--force", is_flag=True, help="Run also while a database or the budget forbids it.")
@click.option("--state", type=PATH, metavar="DIR", help="Where the daemon keeps its account.")
@json_option
def probe_fio(path: str, mode: str, force: bool, state: str | None, as_json: bool) -> None:
    """Measure the write bandwidth with fio; writes to the device, within the mode's limits.

    Refuses when the daemon would not run it either, and is charged to the same wear budget.
    """
    from agent.commands.probe_fio import FioRequest
    from agent.commands.probe_fio import probe_fio as run_probe
    from probes.fio import FioMode

    state = None if state is None else os.path.abspath(state)
    raise SystemExit(run_probe(FioRequest(path, FioMode(mode), force, state, as_json), os.environ))


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


@click.command()
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
