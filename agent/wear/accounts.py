"""All devices' accounts and the clock they share: the ledger without locks, files and threads.

accounts = Accounts(boot_time)
account = accounts.of(device)            # a WearAccount, with the least limit where it is new
accounts.put(account.charge("state", 8192, accounts.now()))
accounts.revision                        # grows with what has to be saved
accounts.record()                        # WearRecord, to be saved
accounts.adopt(record)                   # goes on from what was kept; what a killed run left
accounts.view(refused)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from agent.readings import printable
from agent.wear.account_clock import AccountClock, BootTime
from agent.wear.budget import (
    DAY_SECONDS,
    LEAST_DAILY_BYTES,
    Refused,
    Reservation,
    WearAccount,
)
from agent.wear.record import MAX_ACCOUNTS, WearRecord

OWN_PURPOSE: Final = "state"
"""What the ledger's own writes are charged as. They are never refused."""


@dataclass(frozen=True, slots=True)
class Advance:
    """What own files draw from: its number, and the revision of the accounts that it is in."""

    number: int
    revision: int


@dataclass(frozen=True, slots=True)
class AccountView:
    """One device's account at one moment; written bytes by purpose, since the account's start.

    Of what remains, no probe may take ``kept_for_files_bytes``.
    """

    device: str
    limit_bytes: int
    remaining_bytes: int
    kept_for_files_bytes: int
    reserved_bytes: int
    written_bytes: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class WearView:
    """All accounts; ``refused`` when no probe may write to any device, and why."""

    refused: Refused | None
    accounts: tuple[AccountView, ...]


class Accounts:
    """Not for several threads at once."""

    def __init__(self, boot_time: Callable[[], BootTime]) -> None:
        self._boot_time = boot_time
        self._clock = AccountClock(0.0, boot_time())
        self._accounts: dict[str, WearAccount] = {}
        self._unknown_until_seconds = 0.0
        self._own_device: str | None = None
        self._own_bytes_without_device = 0
        self._next_record: int | None = None  # the advance for it
        self.revision = 0

    def now(self) -> float:
        """Seconds of the account's clock."""
        self._clock = self._clock.advanced(self._boot_time())
        return self._clock.account_seconds

    def of(self, device: str) -> WearAccount:
        """Of a device whose size was not told: with the least limit."""
        key = printable(device)
        return self._accounts.get(key) or WearAccount(key, LEAST_DAILY_BYTES)

    def reserve(
        self, device: str, purpose: str, size_bytes: int, left_bytes: int
    ) -> Reservation | Refused:
        """Set a probe's bytes aside; ``left_bytes`` are those of receipts not charged yet."""
        now, account = self.now(), self.of(device)
        _, answer = account.charge(purpose, left_bytes, now).reserve(purpose, size_bytes, now)
        if isinstance(answer, Reservation):
            self.put(account.with_reservation(answer))
        return answer

    def put(self, account: WearAccount, *, to_be_saved: bool = True) -> None:
        """Replace an account; what is on record already, as an advance, need not be saved."""
        if self._accounts.get(account.device) != account:
            self._accounts[account.device] = account
            self.revision += to_be_saved

    def keep_own_file_on(self, device: str) -> None:
        """Tell which device the record lies on, as soon as it is known."""
        self._own_device = printable(device)
        waiting, self._own_bytes_without_device = self._own_bytes_without_device, 0
        self.charge_own(waiting)

    def charge_own(self, written_bytes: int) -> None:
        """Count what writing the record wrote: that alone is no reason to write it again."""
        if self._own_device is None:
            self._own_bytes_without_device += written_bytes
        else:
            account = self.of(self._own_device)
            self.put(account.charge(OWN_PURPOSE, written_bytes, self.now()), to_be_saved=False)

    def lose_the_day(self) -> None:
        """What was written in the last day is not known."""
        self._unknown_until_seconds = self.now() + DAY_SECONDS
        self.revision += 1

    def day_lost(self) -> Refused | None:
        """Why no probe may write on any device: the day is not known."""
        left = self._unknown_until_seconds - self.now()
        if left <= 0.0:
            return None
        return Refused(
            "wear_history_lost",
            f"wear.json was not usable, so the day's budget counts as used for {left / 3600:.1f} h",
        )

    def adopt(self, record: WearRecord) -> tuple[Reservation, ...]:
        """Go on from what was kept, adding what was charged since the start.

        What was reserved then counts as written: nobody is left to say how much of it was.
        """
        charged = self._accounts
        self._clock = record.clock
        now = self.now()
        self._unknown_until_seconds = record.unknown_until_seconds
        self._accounts = {account.device: account for account in record.accounts}
        orphans = tuple(one for account in record.accounts for one in account.reservations)
        for account in record.accounts:
            self.put(account.settle_orphans(now))
        for account in charged.values():
            known = self.of(account.device)
            merged = msgspec.structs.replace(
                known,
                limit_bytes=account.limit_bytes,
                next_id=max(known.next_id, account.next_id),  # numbers given out are not used twice
            )
            for purpose, written_bytes in account.totals.items():
                merged = merged.charge(purpose, written_bytes, now)
            self.put(merged)
        return orphans

    def record(self) -> WearRecord:
        """What is to be kept, without accounts that do not matter where there are too many."""
        now = self.now()
        accounts = sorted(
            self._accounts.values(),
            key=lambda account: account.written_last_day(now) + account.reserved_bytes,
        )
        kept = {account.device: account for account in accounts[-MAX_ACCOUNTS:]}
        for account in accounts[:-MAX_ACCOUNTS]:
            if account.written_last_day(now) or account.reserved_bytes:
                kept[account.device] = account
        self._accounts = kept
        return WearRecord(self._clock, self._unknown_until_seconds, tuple(kept.values()))

    def with_own_write(self, record: WearRecord, size_bytes: int, next_bytes: int) -> WearRecord:
        """The record, with what writing it will cost already in it: it is not written twice.

        ``next_bytes`` are set aside for the one after it, of which a kill may leave a part that no
        record tells of; 0: there is none to come.
        """
        if self._own_device is None:
            return record
        now = record.clock.account_seconds
        account = self.of(self._own_device)
        if next_bytes:
            account, held = account.top_up(
                self._next_record, OWN_PURPOSE, next_bytes, 0, now, vital=True
            )
            self._next_record = held.id if isinstance(held, Reservation) else None
        elif self._next_record is not None:
            account = account.give_back(self._next_record)
        self.put(account, to_be_saved=False)
        own = account.charge(OWN_PURPOSE, size_bytes, now)
        others = tuple(other for other in record.accounts if other.device != own.device)
        return msgspec.structs.replace(record, accounts=(*others, own))

    def view(self, refused: Refused | None) -> WearView:
        """All accounts now, in the order of their names."""
        now = self.now()
        return WearView(
            refused,
            tuple(
                AccountView(
                    device=account.device,
                    limit_bytes=account.limit_bytes,
                    remaining_bytes=0 if refused else account.remaining_bytes(now),
                    kept_for_files_bytes=0 if refused else account.kept_for_files_bytes(now),
                    reserved_bytes=account.reserved_bytes,
                    written_bytes=tuple(sorted(account.totals.items())),
                )
                for _, account in sorted(self._accounts.items())
            ),
        )
