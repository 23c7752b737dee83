"""Keeps the wear accounts on the device: what may be written is on record before it is written.

    ledger = WearLedger(StateDirectory(path), log)
    ledger.start()                                    # loads, and saves charges once a minute
    ledger.open_account(device, size_bytes)           # device: a key that survives reboots
    ledger.keeps_its_file_on(device)                  # whose account the ledger's own writes go to
    answer = ledger.reserve(device, "fio", size_bytes)  # Reservation or Refused; waits for fsync
    ledger.settle(answer, written_bytes)                # waits for fsync
    ledger.charge(device, "state", written_bytes)       # never waits
    ledger.view()                                       # never waits
    ledger.close(wait_seconds)

What a tick may call waits for nothing but other threads' arithmetic; writing has a lock of its own.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from agent.atomic_file import AtomicFile, UnusableFile, replacing_bytes
from agent.readings import printable
from agent.state_directory import Ownership, StateDirectory
from agent.wear.account_clock import AccountClock, BootTime
from agent.wear.budget import (
    DAY_SECONDS,
    LEAST_DAILY_BYTES,
    Refused,
    Reservation,
    WearAccount,
    daily_limit_bytes,
)
from agent.wear.receipts import Receipt, Receipts
from agent.wear.record import MAX_ACCOUNTS, DamagedRecord, WearRecord, decode, encode

FILE_NAME: Final = "wear.json"

OWN_PURPOSE: Final = "state"
"""What the ledger's own writes are charged as."""

SAVE_SECONDS: Final = 60.0
"""Each fsync forces a journal commit on the file system, which may be the database's."""

CLOCK_SAVE_SECONDS: Final = 3600.0
"""The clock is saved this often when nothing is charged, or a reboot would take back more time."""

MAX_FILE_BYTES: Final = 1024 * 1024
"""256 accounts take about 200 kB; a larger file is another file."""

Logger = structlog.typing.FilteringBoundLogger


@dataclass(frozen=True, slots=True)
class AccountView:
    """One device's account at one moment; written bytes by purpose, since the account's start."""

    device: str
    limit_bytes: int
    remaining_bytes: int
    reserved_bytes: int
    written_bytes: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class WearView:
    """All accounts; ``refused`` when nothing can be reserved on any device, and why."""

    refused: Refused | None
    accounts: tuple[AccountView, ...]


def system_boot_time() -> BootTime:
    """The machine's present moment."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot_id = file.read(64).strip() or None
    except (OSError, UnicodeDecodeError):
        boot_id = None
    return BootTime(boot_id, time.clock_gettime(time.CLOCK_BOOTTIME))


class WearLedger:
    """One per agent. Every method may be called from any thread."""

    def __init__(
        self,
        directory: StateDirectory,
        log: Logger,
        boot_time: Callable[[], BootTime] = system_boot_time,
    ) -> None:
        self._directory = directory
        self._receipts = Receipts(directory.path)
        self._log = log
        self._boot_time = boot_time
        self._file = None if directory.path is None else AtomicFile(directory.path, FILE_NAME)
        # Held for arithmetic only; _writing, taken first where both are, through a whole fsync.
        self._changing = threading.Lock()
        self._writing = threading.Lock()
        self._loaded = False
        self._clock = AccountClock(0.0, boot_time())
        self._accounts: dict[str, WearAccount] = {}
        self._unknown_until_seconds = 0.0
        self._own_device: str | None = None
        self._own_bytes_without_device = 0
        self._revision = 0
        self._saved_revision = 0
        self._saved_seconds = 0.0
        self._obstacle: Refused | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    # What a tick may call.

    def open_account(self, device: str, size_bytes: int) -> None:
        """Tell a device's size, from which its limit follows; again when it changes."""
        limit_bytes = daily_limit_bytes(size_bytes)
        with self._changing:
            self._change(msgspec.structs.replace(self._account(device), limit_bytes=limit_bytes))

    def keeps_its_file_on(self, device: str) -> None:
        """Tell which device the state directory lies on, as soon as it is known."""
        with self._changing:
            self._own_device = printable(device)
            waiting, self._own_bytes_without_device = self._own_bytes_without_device, 0
            self._charge_own(waiting)

    def charge(self, device: str, purpose: str, written_bytes: int) -> None:
        """Count what was written without asking; it reaches the device within a minute."""
        with self._changing:
            before = self._account(device)
            self._change(before.charge(purpose, written_bytes, self._now()))

    def view(self) -> WearView:
        """All accounts now, in the order of their names."""
        with self._changing:
            now = self._now()
            refused = self._refused(now)
            return WearView(
                refused,
                tuple(
                    AccountView(
                        device=account.device,
                        limit_bytes=account.limit_bytes,
                        remaining_bytes=0 if refused else account.remaining_bytes(now),
                        reserved_bytes=account.reserved_bytes,
                        written_bytes=tuple(sorted(account.totals.items())),
                    )
                    for _, account in sorted(self._accounts.items())
                ),
            )

    # What waits for the device.

    def reserve(self, device: str, purpose: str, size_bytes: int) -> Reservation | Refused:
        """Set bytes aside, on the device before this returns. Refused:

        "wear_budget_used", "over_daily_limit" (the device's limit), "wear_history_lost" (for a day
        after wear.json was damaged), "state_in_use" (by another smaxd), "budget_not_kept" (nowhere
        to write it, or that failed). The last two are tried anew each time.
        """
        with self._writing:
            if not self._own_directory():
                with self._changing:
                    return self._refused(self._now()) or _not_kept("the state directory is lost")
            with self._changing:
                now = self._now()
                if now < self._unknown_until_seconds:
                    return self._history_lost(now)
                account, answer = self._account(device).reserve(purpose, size_bytes, now)
                if isinstance(answer, Refused):
                    return answer
                self._change(account)
            if not self._save():
                with self._changing:
                    self._change(self._account(device).settle(answer, 0, self._now()))
                    return self._obstacle or _not_kept("the last write failed")
        return answer

    def settle(self, reservation: Reservation, written_bytes: int) -> None:
        """End a reservation with what was really written; more than reserved counts, too."""
        with self._changing:
            account = self._account(reservation.device)
            self._change(account.settle(reservation, written_bytes, self._now()))
        self.save()

    def load(self) -> None:
        """Take the directory and read what was kept; without it, reserving tries again."""
        with self._writing:
            self._own_directory()

    def save(self) -> bool:
        """Save what changed; True when everything is on the device."""
        with self._writing:
            if not self._own_directory() or not self._save():
                return False
            self._receipts.discard()
            return True

    def start(self) -> None:
        """Load, and save from now on once a minute, in a thread of its own."""
        self.load()
        self._take_receipts()
        self._thread = threading.Thread(target=self._save_often, name="wear", daemon=True)
        self._thread.start()

    def close(self, wait_seconds: float) -> None:
        """Save for the last time; gives up after ``wait_seconds``."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(wait_seconds)

    def _save_often(self) -> None:
        while not self._closing.wait(SAVE_SECONDS):
            self._take_receipts()
            with self._changing:
                clock_is_old = self._now() - self._saved_seconds >= CLOCK_SAVE_SECONDS
                due = clock_is_old or self._revision != self._saved_revision
            if due:
                self.save()
        with self._changing:
            due = self._revision != self._saved_revision
        if due:
            self.save()

    def _take_receipts(self) -> None:
        """Charge what commands wrote; their receipts go with the next save."""
        with self._writing:
            if self._loaded:
                self._receipts.take(self._charge_receipt)

    def _charge_receipt(self, receipt: Receipt) -> None:
        self.open_account(receipt.device, receipt.device_size_bytes)
        self.charge(receipt.device, receipt.purpose, receipt.written_bytes)

    # Under _changing.

    def _now(self) -> float:
        self._clock = self._clock.advanced(self._boot_time())
        return self._clock.account_seconds

    def _account(self, device: str) -> WearAccount:
        """Of a device whose size was not told: with the least limit."""
        key = printable(device)
        return self._accounts.get(key) or WearAccount(key, LEAST_DAILY_BYTES)

    def _change(self, account: WearAccount) -> None:
        if self._accounts.get(account.device) != account:
            self._accounts[account.device] = account
            self._revision += 1

    def _charge_own(self, written_bytes: int) -> None:
        if self._own_device is None:
            self._own_bytes_without_device += written_bytes
        else:
            account = self._account(self._own_device)
            # Not _change: its own writes alone are no reason to write again.
            self._accounts[account.device] = account.charge(OWN_PURPOSE, written_bytes, self._now())

    def _refused(self, now: float) -> Refused | None:
        if self._obstacle is not None:
            return self._obstacle
        if not self._loaded:
            return _not_kept("the accounts are not loaded yet")
        return self._history_lost(now) if now < self._unknown_until_seconds else None

    def _history_lost(self, now: float) -> Refused:
        hours = (self._unknown_until_seconds - now) / 3600
        return Refused(
            "wear_history_lost",
            f"{FILE_NAME} was not usable, so the day's budget counts as used for {hours:.1f} h",
        )

    def _record(self) -> WearRecord:
        now = self._now()
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

    # Under _writing.

    def _own_directory(self) -> bool:
        """Whether this process alone keeps the accounts; when it begins to, they are read."""
        if self._loaded:
            return True
        ownership = self._directory.take()
        if ownership is Ownership.HELD and self._file is not None:
            self._load(self._file)
            return True
        if ownership is Ownership.IN_USE:
            obstacle = Refused(
                "state_in_use",
                f"another smaxd keeps its budget in {self._directory.path}; pass --state",
            )
        elif ownership is Ownership.NOT_LOCKABLE:
            obstacle = _not_kept(
                f"the file system of {self._directory.path} has no locks, so another smaxd could "
                "spend the same budget; pass --state"
            )
        else:
            obstacle = _not_kept("there is no writable state directory; pass --state")
        self._meet(obstacle)
        return False

    def _load(self, file: AtomicFile) -> None:
        problem: str | None = None
        kept = "it is set aside"
        record = None
        try:
            record = decode(file.read(MAX_FILE_BYTES))
        except FileNotFoundError:
            if file.aside_exists():
                problem = "it was damaged, and not yet written anew"
        except (OSError, UnusableFile, DamagedRecord) as error:
            problem = (isinstance(error, OSError) and error.strerror) or str(error)
            kept = file.set_aside()
        if problem is not None:
            self._log.warning(
                "wear_history_lost",
                file=file.path,
                reason=problem,
                detail=f"{kept}; the day's budget of every device counts as used until "
                "the machine was up for 24 hours",
            )
        with self._changing:
            self._loaded = True
            self._obstacle = None
            if record is None:
                if problem is not None:
                    self._unknown_until_seconds = self._now() + DAY_SECONDS
                    self._revision += 1
            else:
                self._adopt(record)
        if problem is not None:
            self._save()  # so that a restart does not find no file at all

    def _adopt(self, record: WearRecord) -> None:
        """Go on from what was kept, adding what was charged since the start."""
        charged = self._accounts
        self._clock = record.clock
        now = self._now()
        self._saved_seconds = record.clock.account_seconds
        self._unknown_until_seconds = record.unknown_until_seconds
        self._accounts = {account.device: account for account in record.accounts}
        for account in record.accounts:
            if account.reservations:
                self._log.warning(
                    "wear_reservation_unsettled",
                    device=account.device,
                    bytes=account.reserved_bytes,
                    detail="smaxd ended while it was writing: all of it counts as written",
                )
                self._change(account.settle_orphans(now))
        for account in charged.values():
            merged = msgspec.structs.replace(
                self._account(account.device), limit_bytes=account.limit_bytes
            )
            for purpose, written_bytes in account.totals.items():
                merged = merged.charge(purpose, written_bytes, now)
            self._change(merged)

    def _save(self) -> bool:
        if self._file is None:
            return False
        with self._changing:
            revision = self._revision
            record = self._record_with_own_write()
            content = encode(record)
        before = self._file.written_bytes
        obstacle = None
        try:
            self._file.write(content)
        except OSError as error:
            obstacle = _not_kept(f"{self._file.path}: {error.strerror or error}")
        written_bytes = self._file.written_bytes - before
        with self._changing:
            self._charge_own(written_bytes)
            if obstacle is None:
                self._saved_revision = revision
                self._saved_seconds = record.clock.account_seconds
        self._meet(obstacle)
        return obstacle is None

    def _record_with_own_write(self) -> WearRecord:
        """The record, with what writing it will cost already in it: it is not written twice."""
        record = self._record()
        if self._own_device is None:
            return record
        size_bytes = replacing_bytes(len(encode(record)))
        now = record.clock.account_seconds
        own = self._account(self._own_device).charge(OWN_PURPOSE, size_bytes, now)
        others = tuple(other for other in record.accounts if other.device != own.device)
        return msgspec.structs.replace(record, accounts=(*others, own))

    def _meet(self, obstacle: Refused | None) -> None:
        """Remember what is in the way; tell of it once."""
        with self._changing:
            before, self._obstacle = self._obstacle, obstacle
        if obstacle is not None and obstacle != before:
            self._log.warning(
                "wear_budget_not_kept", reason=obstacle.reason, detail=obstacle.detail
            )
        elif obstacle is None and before is not None:
            self._log.info("wear_budget_kept_again")


def _not_kept(why: str) -> Refused:
    return Refused("budget_not_kept", f"the wear budget cannot be kept, so nothing is spent: {why}")
