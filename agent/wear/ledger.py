"""Keeps the wear accounts on the device: what may be written is on record before it is written.

    ledger = WearLedger(StateDirectory(path), log)
    ledger.start()                                    # loads, and looks for receipts each minute
    ledger.open_account(device, size_bytes)           # device: a key that survives reboots
    ledger.keeps_its_file_on(device)                  # whose account the ledger's own writes go to
    answer = ledger.reserve(device, "fio", size_bytes)  # Reservation or Refused; waits for fsync
    ledger.settle(answer, written_bytes)                # waits for fsync
    advance = ledger.top_up(device, "history", None, size_bytes, 0)  # or Refused; waits, not long
    ledger.draw(device, "history", advance, written_bytes)       # never waits
    ledger.give_back(device, advance)                            # never waits
    ledger.charge(device, "calibrate", written_bytes)   # never waits
    ledger.view()                                       # never waits
    ledger.close(wait_seconds)

What a tick may call waits for nothing but other threads' arithmetic; writing has a lock of its own.

The file is replaced when something is set aside, not when something is drawn from it: whatever
the moment of a kill, it counts at least what was written.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import structlog

from agent.atomic_file import PAGE_BYTES, replacing_bytes
from agent.readings import printable
from agent.state_directory import StateDirectory
from agent.wear.account_clock import BootTime
from agent.wear.account_lock import account_lock
from agent.wear.accounts import Accounts, Advance, WearView
from agent.wear.boot_time import system_boot_time
from agent.wear.budget import PROBE_PURPOSES, Refused, Reservation, daily_limit_bytes
from agent.wear.ledger_file import LedgerFile, not_kept
from agent.wear.receipts import Receipt, Receipts
from agent.wear.record import encode

SAVE_SECONDS: Final = 60.0
"""How often receipts are looked for, and a saving that failed is tried again."""

ADVANCE_SECONDS: Final = 10.0
"""How long own files wait for their advance to be on the device. A disk that hangs is the ledger's
alone: a file on another one goes on, and its bytes count in memory meanwhile."""

CLOCK_SAVE_SECONDS: Final = 3600.0
"""The clock is saved this often when nothing is charged, or a reboot would take back more time."""

Logger = structlog.typing.FilteringBoundLogger


class WearLedger:
    """One per agent. Every method may be called from any thread."""

    def __init__(
        self,
        directory: StateDirectory,
        log: Logger,
        boot_time: Callable[[], BootTime] = system_boot_time,
    ) -> None:
        self._path = directory.path or ""
        self._file = LedgerFile(directory, log)
        self._receipts = Receipts(directory.path)
        self._log = log
        # Held for arithmetic only; _writing, taken first where both are, through a whole fsync.
        self._changing = threading.Lock()
        self._writing = threading.Lock()
        self._tried = threading.Condition(self._changing)
        self._accounts = Accounts(boot_time)
        self._loaded = False
        self._tried_revision = 0
        self._saved_revision = 0
        self._saved_seconds = 0.0
        self._obstacle: Refused | None = None
        self._closing = False
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    # What a tick may call.

    def open_account(self, device: str, size_bytes: int) -> None:
        """Tell a device's size, from which its limit follows; again when it changes."""
        limit_bytes = daily_limit_bytes(size_bytes)
        with self._changing:
            account = self._accounts.of(device)
            self._accounts.put(msgspec.structs.replace(account, limit_bytes=limit_bytes))

    def keeps_its_file_on(self, device: str) -> None:
        """Tell which device the state directory lies on, as soon as it is known."""
        with self._changing:
            self._accounts.keep_own_file_on(device)

    def charge(self, device: str, purpose: str, written_bytes: int) -> None:
        """Count what was written without asking, and have it saved."""
        self.draw(device, purpose, None, written_bytes)

    def draw(self, device: str, purpose: str, advance: Advance | None, written_bytes: int) -> None:
        """Count what was written out of an advance; what goes beyond it is saved soon."""
        number = None if advance is None else advance.number
        with self._changing:
            before = self._accounts.of(device)
            beyond = written_bytes > before.advanced_bytes(number)
            after = before.draw(number, purpose, written_bytes, self._accounts.now())
            self._accounts.put(after, to_be_saved=beyond)
        if beyond:
            self._wake.set()

    def give_back(self, device: str, advance: Advance) -> None:
        """Nothing more is written out of an advance; saved with what is saved next."""
        with self._changing:
            self._accounts.put(self._accounts.of(device).give_back(advance.number))

    def view(self) -> WearView:
        """All accounts now, in the order of their names."""
        with self._changing:
            return self._accounts.view(self._refused())

    # What waits for the device.

    def reserve(self, device: str, purpose: str, size_bytes: int) -> Reservation | Refused:
        """Set a probe's bytes aside, on the device before this returns. Refused:

        "wear_budget_used", "over_daily_limit" (the device's limit), "wear_history_lost" (for a day
        after wear.json was damaged), "state_in_use" (by another smaxd), "wear_account_busy" (a
        command reserves just now), "budget_not_kept" (nowhere to write it, or that failed). The
        last three are tried anew each time. What commands have reserved until now counts.
        """
        with self._writing:
            if not self._own_directory():
                with self._changing:
                    return self._refused() or not_kept("the state directory is lost")
            with account_lock(self._path) as obstacle:
                if obstacle is not None:
                    return obstacle
                left = self._receipts.take(self._charge_receipt)
                return self._set_aside(device, purpose, size_bytes, left)

    def settle(self, reservation: Reservation, written_bytes: int) -> None:
        """End a reservation with what was really written; more than reserved counts, too."""
        with self._changing:
            account = self._accounts.of(reservation.device)
            self._accounts.put(account.settle(reservation, written_bytes, self._accounts.now()))
        self.save()

    def top_up(
        self,
        device: str,
        purpose: str,
        advance: Advance | None,
        size_bytes: int,
        spare_bytes: int,
        *,
        vital: bool = False,
        wait: bool = True,
    ) -> Advance | Refused:
        """Have at least so many bytes of own files on record, in an advance. Where it has to grow,
        by ``spare_bytes`` more, so that not each file costs a record. Without ``wait`` that is
        under way only, and whoever asks next waits for the rest of it.

        Refused "wear_budget_used", unless it is ``vital``; "stopping". Where the record cannot be
        written, or was lost, own files go on within the limit, and count in memory: a probe writes
        a hundred times as much at once, and a day of history must not be lost with the account.
        """
        with self._changing:
            before, number = self._accounts.of(device), None if advance is None else advance.number
            account, answer = before.top_up(
                number, purpose, size_bytes, spare_bytes, self._accounts.now(), vital=vital
            )
            if isinstance(answer, Refused):
                return answer
            if account is not before or advance is None:  # else enough is set aside already
                if self._closing:
                    return Refused("stopping", "smaxd is stopping")
                self._accounts.put(account)
                advance = Advance(answer.id, self._accounts.revision)
            on_record = self._tried_revision >= advance.revision
        if not on_record:
            self._try_to_save(advance.revision, wait=wait)
        return advance

    def load(self) -> None:
        """Take the directory and read what was kept; without it, reserving tries again."""
        with self._writing:
            self._own_directory()

    def save(self) -> bool:
        """Save what changed; True when everything is on the device."""
        with self._writing:
            if not self._own_directory():
                with self._changing:
                    self._have_tried(self._accounts.revision)
                return False
            return self._save()

    def start(self) -> None:
        """Load, and look after receipts and what is not saved yet, in a thread of its own."""
        self.load()
        if self._loaded:
            self._receipts.remove_unfinished()
        self._take_receipts()
        self._thread = threading.Thread(target=self._look_after, name="wear", daemon=True)
        self._thread.start()

    def close(self, wait_seconds: float) -> None:
        """Save for the last time, and grant nothing more; gives up after ``wait_seconds``."""
        with self._changing:
            self._closing = True
            self._tried.notify_all()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(wait_seconds)

    def _look_after(self) -> None:
        closing = False
        while not closing:
            self._wake.wait(SAVE_SECONDS)
            self._wake.clear()
            closing = self._closing  # what came before that is saved in this round, the last one
            self._take_receipts()
            with self._changing:
                clock_is_old = self._accounts.now() - self._saved_seconds >= CLOCK_SAVE_SECONDS
            if closing or clock_is_old or not self._is_saved():
                self.save()

    def _try_to_save(self, revision: int, *, wait: bool) -> None:
        """Have the ledger's thread save this; what others ask for meanwhile goes with it."""
        self._wake.set()
        if not wait:
            return
        if self._thread is None:
            self.save()
            return
        with self._changing:
            self._tried.wait_for(
                lambda: self._tried_revision >= revision or self._closing, ADVANCE_SECONDS
            )

    def _take_receipts(self) -> None:
        """Charge what commands wrote, and remove their receipts, as soon as nobody reserves."""
        with self._writing:
            if not self._loaded or not self._receipts.waiting:
                return
            with account_lock(self._path) as obstacle:
                if obstacle is not None:
                    return
                self._receipts.take(self._charge_receipt)
                if self._is_saved() or self._save():
                    self._receipts.discard()

    def _charge_receipt(self, receipt: Receipt, file_bytes: int) -> None:
        self.open_account(receipt.device, receipt.device_size_bytes)
        self.charge(receipt.device, receipt.purpose, receipt.written_bytes)
        # A run's is there before it, and replaced after it.
        times = 2 if receipt.purpose in PROBE_PURPOSES else 1
        with self._changing:
            self._accounts.charge_own(times * replacing_bytes(file_bytes))

    def _is_saved(self) -> bool:
        with self._changing:
            return self._saved_revision == self._accounts.revision

    # Under _changing.

    def _have_tried(self, revision: int) -> None:
        self._tried_revision = max(self._tried_revision, revision)
        self._tried.notify_all()

    def _refused(self) -> Refused | None:
        if self._obstacle is not None:
            return self._obstacle
        if not self._loaded:
            return not_kept("the accounts are not loaded yet")
        return self._accounts.day_lost()

    # Under _writing.

    def _own_directory(self) -> bool:
        """Whether this process alone keeps the accounts; when it begins to, they are read."""
        if self._loaded:
            return True
        obstacle = self._file.take()
        if obstacle is not None:
            self._meet(obstacle)
            return False
        found = self._file.read()
        orphans: tuple[Reservation, ...] = ()
        with self._changing:
            self._loaded = True
            self._obstacle = None
            if found.record is not None:
                self._saved_seconds = found.record.clock.account_seconds
                orphans = self._accounts.adopt(found.record)
                self._receipts.remember(found.record.receipts)
            elif found.lost:
                self._accounts.lose_the_day()
        for orphan in orphans:
            self._log.warning(
                "wear_reservation_unsettled",
                device=orphan.device,
                purpose=orphan.purpose,
                bytes=orphan.size_bytes,
                detail="smaxd was killed while it was set aside: all of it counts as written",
            )
        if found.lost:
            self._save()  # so that a restart does not find no file at all
        return True

    def _set_aside(
        self, device: str, purpose: str, size_bytes: int, left: Iterable[Receipt]
    ) -> Reservation | Refused:
        left_bytes = sum(
            receipt.written_bytes
            for receipt in left
            if printable(receipt.device) == printable(device)
        )
        with self._changing:
            answer = self._accounts.day_lost() or self._accounts.reserve(
                device, purpose, size_bytes, left_bytes
            )
            if isinstance(answer, Refused):
                return answer
        if not self._save():
            with self._changing:
                now = self._accounts.now()
                self._accounts.put(self._accounts.of(device).settle(answer, 0, now))
                return self._obstacle or not_kept("the last write failed")
        return answer

    def _save(self) -> bool:
        with self._changing:
            revision = self._accounts.revision
            record = msgspec.structs.replace(self._accounts.record(), receipts=self._receipts.taken)
            size_bytes = replacing_bytes(len(encode(record)))
            next_bytes = 0 if self._closing else size_bytes + PAGE_BYTES
            record = self._accounts.with_own_write(record, size_bytes, next_bytes)
        written_bytes, obstacle = self._file.write(record)
        with self._changing:
            self._accounts.charge_own(written_bytes)
            if obstacle is None:
                self._saved_revision = revision
                self._saved_seconds = record.clock.account_seconds
            self._have_tried(revision)
        self._meet(obstacle)
        return obstacle is None

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
