"""Bytes that a command wrote, told to the account of the daemon of this user."""

import os
from collections.abc import Mapping, Sequence

import click

from agent.atomic_file import replacing_bytes
from agent.commands.run_account import RunAccount
from agent.learning.memory import DeviceIdentity
from agent.state_directory import StateDirectoryError, choose_state_directory
from agent.wear.ledger_file import FILE_NAME
from agent.wear.own_files import Carrier, carrier_of
from agent.wear.receipts import Receipt, leave_receipt
from probes.clock import SystemClock
from probes.samples import BlockDeviceSample

FILE_PURPOSE = "command"
"""What a command's own files are charged as: a report, a pause."""


def account_of_run(
    device: BlockDeviceSample,
    environ: Mapping[str, str],
    *,
    state: str | None = None,
    database_paths: Sequence[str] = (),
) -> RunAccount:
    """The account of what a run is about to write to a device."""
    identity = DeviceIdentity.of(device)
    directory = None
    try:
        directory = choose_state_directory(state, environ, database_paths, make=False)
    except StateDirectoryError as error:
        _complain(str(error))
    return RunAccount(directory, Carrier(identity.key, device.device.name, device.size_bytes))


def reserve_run(
    account: RunAccount, purpose: str, size_bytes: int, *, overdraw: bool
) -> str | None:
    """Put a run on record before it writes; or a sentence why that cannot be, or is not allowed
    unless it is to ``overdraw``."""
    try:
        return account.reserve(purpose, size_bytes, overdraw=overdraw)
    except OSError as error:
        return f"{error.filename}: {error.strerror}: the wear budget cannot be charged"


def settle_run(account: RunAccount, written_bytes: int) -> None:
    """Charge a run that has ended; one line on stderr when that fails."""
    try:
        account.settle(written_bytes)
    except OSError as error:
        click.echo(
            f"smaxd: {error.filename}: {error.strerror}: "
            "the wear budget is charged with all that the run might have written",
            err=True,
        )


def account_for_file(path: str, environ: Mapping[str, str], *, state: str | None = None) -> None:
    """Leave a receipt for a file that was replaced whole, where a daemon keeps its account; one
    line on stderr when that fails. Nothing for a file in memory.

    ``state`` may be a copy of a daemon's directory, where nobody keeps an account.
    """
    if state is not None and not os.path.exists(os.path.join(state, FILE_NAME)):
        return
    try:
        size_bytes = replacing_bytes(os.stat(path).st_size)
    except OSError:
        return  # somebody has removed it already
    carrier = carrier_of(os.path.dirname(os.path.abspath(path)), SystemClock())
    if carrier is not None:
        receipt = Receipt(carrier.key, carrier.size_bytes, FILE_PURPOSE, size_bytes)
        _leave(receipt, environ, state)


def _leave(receipt: Receipt, environ: Mapping[str, str], state: str | None) -> None:
    try:
        directory = choose_state_directory(state, environ, (), make=False)
        if directory is not None and os.path.exists(os.path.join(directory, FILE_NAME)):
            leave_receipt(directory, receipt)
    except StateDirectoryError as error:
        _complain(str(error))
    except OSError as error:
        _complain(f"{error.filename}: {error.strerror}")


def _complain(why: str) -> None:
    click.echo(f"smaxd: what was written is not on the wear account of the daemon: {why}", err=True)
