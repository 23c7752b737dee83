"""Bytes that a command wrote, told to the account of the daemon of this user."""

import os
from collections.abc import Mapping, Sequence

import click

from agent.learning.memory import DeviceIdentity
from agent.state_directory import StateDirectoryError, choose_state_directory
from agent.wear.ledger import FILE_NAME
from agent.wear.receipts import Receipt, leave_receipt
from probes.samples import BlockDeviceSample


def account_for(
    written_bytes: int,
    purpose: str,
    device: BlockDeviceSample,
    environ: Mapping[str, str],
    *,
    state: str | None = None,
    database_paths: Sequence[str] = (),
) -> None:
    """Leave a receipt where a daemon keeps its account; one line on stderr when that fails.

    Where no daemon ever kept one there is nothing to be charged to, and nothing is left behind.
    """
    identity = DeviceIdentity(device.device.name, device.size_bytes, device.model)
    receipt = Receipt(identity.key, device.size_bytes, purpose, written_bytes)
    try:
        directory = choose_state_directory(state, environ, database_paths, make=False)
        if directory is not None and os.path.exists(os.path.join(directory, FILE_NAME)):
            leave_receipt(directory, receipt)
    except StateDirectoryError as error:
        _complain(str(error))
    except OSError as error:
        _complain(f"{error.filename}: {error.strerror}")


def _complain(why: str) -> None:
    click.echo(f"smaxd: what was written is not on the wear account of the daemon: {why}", err=True)
