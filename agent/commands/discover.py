"""``smaxd discover``: the databases that run on this host."""

import json
import os

import click
import msgspec
import yaml

from agent.commands.accounting import account_for_file
from agent.readings import printable
from probes.rocksdb.discover import DiscoveryResult, discover_databases


def print_databases(write_config: str | None, *, as_json: bool) -> int:
    """Print what was found, or write a configuration that names it; 1 when nothing was found."""
    found = discover_databases()
    if as_json:
        # json, not msgspec: it escapes what is no valid UTF-8, such as a path.
        click.echo(json.dumps(msgspec.to_builtins(found), indent=2))
    else:
        _print_table(found)
    for database in found.silent:
        click.echo(
            f"smaxd: {_shown(database.path)}, open in process {database.pid}, does not answer: "
            "its disk hangs",
            err=True,
        )
    if found.unreadable_owners:
        click.echo(
            f"smaxd: {found.unreadable_owners} process(es) of other users hold such a lock but "
            "cannot be looked into; run with sudo to see them",
            err=True,
        )
    if write_config is not None:
        return _write_config(found, write_config)
    return 0 if found.databases else 1


def _print_table(found: DiscoveryResult) -> None:
    if not found.databases:
        click.echo("no running RocksDB database found", err=True)
        return
    click.echo(f"{'PID':>8}  {'VERSION':<8}  {'SIZE':>10}  {'OWNER':<15}  PATH")
    for database in found.databases:
        size = database.size_bytes
        click.echo(
            f"{database.pid:>8}  {database.rocksdb_version or '-':<8}  "
            f"{'-' if size is None else f'{size / 1048576:,.0f} MiB':>10}  "
            f"{_shown(database.owner_command or '-')[:15]:<15}  {_shown(database.path)}"
        )


def _shown(text: str) -> str:
    """A name that others gave, on one line of a terminal: control characters are escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in printable(text)
    )


def _write_config(found: DiscoveryResult, path: str) -> int:
    if not found.databases:
        click.echo(f"smaxd: {path} not written: no database found", err=True)
        return 1
    through_a_container = [d.path for d in found.databases if d.path.startswith("/proc/")]
    for database_path in through_a_container:
        click.echo(
            f"smaxd: {_shown(database_path)} lies in a container and is left out: its path "
            "changes with every start",
            err=True,
        )
    stable = [d for d in found.databases if d.path not in through_a_container]
    text = "# The databases found by 'smaxd discover --write-config'\n" + yaml.safe_dump(
        {"databases": [{"path": database.path} for database in stable]}, sort_keys=False
    )
    try:
        # Exclusive: an operator's own configuration is never overwritten.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        click.echo(f"smaxd: {path} exists and is not overwritten; move it away first", err=True)
        return 1
    except OSError as error:
        click.echo(f"smaxd: {path} cannot be written: {error.strerror}", err=True)
        return 1
    account_for_file(path, os.environ)
    click.echo(f"{path} written: {len(stable)} database(s); start with: smaxd run --config {path}")
    return 0
