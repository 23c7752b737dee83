"""The daemon's wear account, as a command uses it beside a daemon that may be running.

    account = RunAccount(state_directory, carrier)
    account.budget(now)              # what may still be written; Missing: why nothing may
    account.reserve("fio", size)     # on record, in full, before anything is written; or why not
    account.settle(written)          # the rest is free again

The daemon alone writes its account. A command leaves it receipts, and counts those that the daemon
has not taken yet; under a lock, so that no two of them reserve the same bytes. It holds its own
until it has settled it; of a command that is killed the daemon takes it in full. Where no daemon
ever kept an account there is nothing to be charged to; what may be written is then what a daemon
would begin with.
"""

import errno
import os
from collections.abc import Iterable
from typing import Final

import msgspec

from agent.atomic_file import AtomicFile, UnusableFile
from agent.findings import DeviceBudget
from agent.readings import Known, Missing, printable
from agent.wear.account_lock import account_lock
from agent.wear.boot_time import system_boot_time
from agent.wear.budget import Refused, WearAccount, daily_limit_bytes
from agent.wear.ledger_file import FILE_NAME, MAX_FILE_BYTES
from agent.wear.own_files import Carrier
from agent.wear.receipts import Receipt, Receipts, hold_receipt, leave_receipt, replace_receipt
from agent.wear.record import DamagedRecord, decode

LOCK_PATIENCE_SECONDS: Final = 10.0
"""A daemon reserves within milliseconds, where its disk is not saturated."""


class RunAccount:
    """The account of what a run writes to; ``directory`` is where the daemon keeps its state."""

    def __init__(self, directory: str | None, carrier: Carrier) -> None:
        self._directory = directory if directory is not None and _is_kept(directory) else None
        self._key = printable(carrier.key)
        self._size_bytes = carrier.size_bytes
        self._reserved: tuple[Receipt, str, int] | None = None

    def budget(self, now: float) -> Known[DeviceBudget] | Missing:
        """What is left of the day; Missing "wear_history_lost", "budget_not_kept"."""
        found = self._read()
        if isinstance(found, Missing):
            return found
        account, at = found
        return Known(
            DeviceBudget(
                account.limit_bytes, account.remaining_bytes(at), account.kept_for_files_bytes(at)
            ),
            "no wear account" if self._directory is None else "wear account",
            now,
        )

    @property
    def free_bytes(self) -> int | Missing:
        """What a run may write now without overdrawing; or as ``budget``, why nothing."""
        found = self._read()
        if isinstance(found, Missing):
            return found
        account, now = found
        return account.remaining_bytes(now) - account.kept_for_files_bytes(now)

    def _read(self) -> tuple[WearAccount, float] | Missing:
        """The account with all that is on record for it, and its time."""
        fresh = WearAccount(self._key, daily_limit_bytes(self._size_bytes))
        if self._directory is None:
            return fresh, 0.0
        file = AtomicFile(self._directory, FILE_NAME)
        try:
            record = decode(file.read(MAX_FILE_BYTES, of_owner=True))
        except FileNotFoundError:
            return Missing("wear_history_lost", f"{file.path} was damaged, and not yet begun anew")
        except (UnusableFile, DamagedRecord) as problem:
            return Missing("wear_history_lost", f"{file.path}: {problem}")
        except OSError as error:
            return Missing("budget_not_kept", f"{file.path}: {error.strerror}")
        now = record.clock.advanced(system_boot_time()).account_seconds
        if now < record.unknown_until_seconds:
            return Missing("wear_history_lost", f"{file.path} was lost, and begins anew for a day")
        account = next((one for one in record.accounts if one.device == self._key), fresh)
        for receipt in _waiting(self._directory, record.receipts):
            if printable(receipt.device) == self._key:
                account = account.charge(receipt.purpose, receipt.written_bytes, now)
        return account, now

    def reserve(self, purpose: str, size_bytes: int, *, overdraw: bool = False) -> str | None:
        """Put what may be written on record as written; or a sentence why that is not allowed,
        unless it is to ``overdraw``. OSError when it cannot be put on record.
        """
        if self._directory is None:
            return None
        with account_lock(self._directory, LOCK_PATIENCE_SECONDS) as busy:
            refused = busy or self._refused(purpose, size_bytes)
            if refused is not None and not overdraw:
                return f"{refused.detail} ({refused.reason})"
            receipt = Receipt(self._key, self._size_bytes, purpose, size_bytes)
            path = leave_receipt(self._directory, receipt)
            self._reserved = receipt, path, hold_receipt(path)
        return None

    def _refused(self, purpose: str, size_bytes: int) -> Refused | None:
        found = self._read()
        if isinstance(found, Missing):
            return Refused(found.reason, found.detail)
        account, now = found
        _, answer = account.reserve(purpose, size_bytes, now)
        return answer if isinstance(answer, Refused) else None

    def settle(self, written_bytes: int) -> None:
        """Put what was really written in its place; OSError: what was reserved stays charged."""
        if self._reserved is None or self._directory is None:
            return
        (receipt, path, descriptor), self._reserved = self._reserved, None
        try:
            if written_bytes == receipt.written_bytes:
                return
            with account_lock(self._directory, LOCK_PATIENCE_SECONDS) as busy:
                if busy is not None:
                    raise OSError(errno.EWOULDBLOCK, busy.detail, path)
                replace_receipt(path, msgspec.structs.replace(receipt, written_bytes=written_bytes))
        finally:
            os.close(descriptor)


def _is_kept(directory: str) -> bool:
    """Whether a daemon keeps its account there, or did until it was damaged."""
    file = AtomicFile(directory, FILE_NAME)
    return os.path.lexists(file.path) or file.aside_exists()


def _waiting(directory: str, taken: Iterable[str]) -> tuple[Receipt, ...]:
    """What the daemon has not taken yet."""
    receipts = Receipts(directory, of_owner=True)
    receipts.remember(taken)
    return receipts.new()
