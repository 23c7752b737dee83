"""The daemon's wear account, as a command uses it beside a daemon that may be running.

    account = RunAccount(state_directory, carrier)
    account.budget(now)              # what may still be written; Missing: why nothing may
    account.reserve("fio", size)     # on record, in full, before anything is written
    account.settle(written)          # the rest is free again, unless it was taken already

The daemon alone writes its account. A command leaves it receipts, and counts those that the daemon
has not taken yet. Where no daemon ever kept an account there is nothing to be charged to; what may
be written is then what a daemon would begin with.
"""

import os
from collections.abc import Iterable

from agent.atomic_file import AtomicFile, UnusableFile
from agent.findings import DeviceBudget
from agent.readings import Known, Missing, printable
from agent.wear.budget import WearAccount, daily_limit_bytes
from agent.wear.ledger import system_boot_time
from agent.wear.ledger_file import FILE_NAME, MAX_FILE_BYTES
from agent.wear.own_files import Carrier
from agent.wear.receipts import Receipt, Receipts, leave_receipt
from agent.wear.record import DamagedRecord, decode


class RunAccount:
    """The account of what a run writes to; ``directory`` is where the daemon keeps its state."""

    def __init__(self, directory: str | None, carrier: Carrier) -> None:
        kept = directory is not None and os.path.exists(os.path.join(directory, FILE_NAME))
        self._directory = directory if kept else None
        self._key = printable(carrier.key)
        self._size_bytes = carrier.size_bytes
        self._reserved: tuple[Receipt, str] | None = None

    def budget(self, now: float) -> Known[DeviceBudget] | Missing:
        """What is left of the day; Missing "wear_history_lost", "budget_not_kept"."""
        fresh = WearAccount(self._key, daily_limit_bytes(self._size_bytes))
        if self._directory is None:
            return Known(_budget(fresh, 0.0, 0), "no wear account", now)
        file = AtomicFile(self._directory, FILE_NAME)
        try:
            record = decode(file.read(MAX_FILE_BYTES, of_owner=True))
        except (UnusableFile, DamagedRecord) as problem:
            return Missing("wear_history_lost", f"{file.path}: {problem}")
        except OSError as error:
            return Missing("budget_not_kept", f"{file.path}: {error.strerror}")
        account_now = record.clock.advanced(system_boot_time()).account_seconds
        if account_now < record.unknown_until_seconds:
            return Missing("wear_history_lost", f"{file.path} was lost, and begins anew for a day")
        accounts = {account.device: account for account in record.accounts}
        account = accounts.get(self._key, fresh)
        waiting = self._waiting_bytes(self._directory, record.receipts)
        return Known(_budget(account, account_now, waiting), "wear account", now)

    def _waiting_bytes(self, directory: str, taken: Iterable[str]) -> int:
        """In receipts that the daemon has not taken yet."""
        waiting: list[Receipt] = []
        receipts = Receipts(directory)
        receipts.remember(taken)
        receipts.take(lambda receipt, _: waiting.append(receipt))
        return sum(one.written_bytes for one in waiting if printable(one.device) == self._key)

    def reserve(self, purpose: str, size_bytes: int) -> None:
        """Put what may be written on record as written; OSError when that is not possible."""
        if self._directory is not None:
            receipt = Receipt(self._key, self._size_bytes, purpose, size_bytes)
            self._reserved = receipt, leave_receipt(self._directory, receipt)

    def settle(self, written_bytes: int) -> None:
        """Put what was really written in its place; OSError: what was reserved stays charged."""
        if self._reserved is None or self._directory is None:
            return
        receipt, path = self._reserved
        if written_bytes == receipt.written_bytes or not os.path.exists(path):
            return  # a receipt that the daemon has taken is charged
        if written_bytes:
            less = Receipt(receipt.device, self._size_bytes, receipt.purpose, written_bytes)
            leave_receipt(self._directory, less)
        os.unlink(path)


def _budget(account: WearAccount, account_now: float, waiting_bytes: int) -> DeviceBudget:
    return DeviceBudget(
        account.limit_bytes,
        max(0, account.remaining_bytes(account_now) - waiting_bytes),
        account.kept_for_files_bytes(account_now),
    )
