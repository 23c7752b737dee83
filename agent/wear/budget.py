"""What was written to one device, and what may be: pure, immutable, on the account's own clock.

    account = WearAccount("model/size", daily_limit_bytes(size_bytes))
    account, answer = account.reserve("fio", 128 * MIB, now)   # answer: Reservation or Refused
    account = account.settle(answer, written_bytes, now)       # the rest is free again
    account, answer = account.top_up(None, "history", 69632, 0, now)   # an advance
    account = account.draw(answer.id, "history", 66000, now)        # the rest of it stays
    account = account.charge("state", 8192, now)               # what nobody asked for

Invariant: what was written in the last 24 hours plus what is reserved never exceeds the limit by
reserving. A reservation counts in full until it is settled, and what it wrote then counts from the
moment of settling, so no byte leaves the window less than 24 hours after it was written. What is
charged, and what a reservation wrote beyond itself, is always counted and so delays the next one.

An advance is a reservation that small files draw from, so that not each of them needs a record of
its own. A run that is killed has spent all of it: never too little is counted, and at most what is
left of the advance too much.

Of each day's limit a share is kept for the agent's own files (``files_share_bytes``), which fio may
not take; they may take what fio leaves. The last ``vital_bytes`` of the limit are for files that
are never refused.

``now`` is seconds of ``agent.wear.account_clock``.
"""

import math
from typing import Annotated, Final

import msgspec

DAY_SECONDS: Final = 86400.0

BUCKET_SECONDS: Final = 3600.0
"""The window forgets an hour at a time, and only when all of the hour is a day old."""

DAILY_RATIO: Final = 0.001
"""Share of a drive's capacity per day: a thousandth of one drive write."""

MIB: Final = 1024 * 1024

LEAST_DAILY_BYTES: Final = 256 * MIB
"""On a small drive, too, a short probe a day, and as much again for the agent's own files: two
such probes would leave these nothing at all."""

PROBE_PURPOSES: Final = frozenset({"fio", "calibrate"})
"""What measures; everything else that is written are the agent's own files."""

LEAST_FILES_SHARE_BYTES: Final = 128 * MIB
"""A day's history of four databases is 99 MB, what it sets aside for a commit 5 MB, all state
files together 10 MB, and VITAL_BYTES no other file may take: 123 MB of these 134."""

FILES_SHARE_BYTES: Final = 256 * MIB
"""Where a quarter of the limit is as much, their textfile fits in, too: once a minute 120 MB."""

VITAL_BYTES: Final = 8 * MIB
"""A day's worth of this ledger's own saving, twice; alerts and orders are smaller still."""

VITAL_RATIO: Final = 1 / 32
"""Of the limit: of the smallest these are the VITAL_BYTES."""

LARGEST_SPARE_BYTES: Final = MIB
SPARE_RATIO: Final = 1 / 1024
"""Of the limit. A larger advance means fewer records of it, and more that a killed run counts in
vain."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


def daily_limit_bytes(
    device_size_bytes: int, ratio: float = DAILY_RATIO, minimum: int = LEAST_DAILY_BYTES
) -> int:
    """How much the agent may write to a device in any 24 hours."""
    return max(minimum, int(device_size_bytes * ratio))


def files_share_bytes(limit_bytes: int) -> int:
    """How much of a day's limit is kept for the agent's own files."""
    share_bytes = max(LEAST_FILES_SHARE_BYTES, min(FILES_SHARE_BYTES, limit_bytes // 4))
    return min(share_bytes, limit_bytes // 2)


def vital_bytes(limit_bytes: int) -> int:
    """How much of a day's limit neither probes nor files get that can be refused."""
    return min(VITAL_BYTES, int(limit_bytes * VITAL_RATIO))


def largest_spare_bytes(limit_bytes: int) -> int:
    """How much a file may have set aside besides what it is about to write."""
    return min(LARGEST_SPARE_BYTES, int(limit_bytes * SPARE_RATIO))


class Reservation(msgspec.Struct, frozen=True):
    """Bytes that one run may write, until it is settled. ``id`` is used once per device."""

    device: str
    id: Count
    purpose: str
    size_bytes: Count


class Refused(msgspec.Struct, frozen=True):
    """Why nothing may be written: a constant for a label, a sentence for a person."""

    reason: str
    detail: str


class Bucket(msgspec.Struct, frozen=True, array_like=True):
    """Bytes written in one hour of the account's clock: hour ``index`` since its start."""

    index: Count
    written_bytes: Count
    files_bytes: Count = 0
    """Of these, by the agent's own files."""


class WearAccount(msgspec.Struct, frozen=True):
    """One device's account. Methods that change something return the changed account."""

    device: str
    limit_bytes: Count
    totals: dict[str, Count] = {}
    """Bytes written since the account was opened, by purpose; never changed in place."""

    buckets: tuple[Bucket, ...] = ()
    """Ascending."""

    reservations: tuple[Reservation, ...] = ()
    next_id: Count = 1

    def written(self, purpose: str) -> int:
        """Bytes written for a purpose since the account was opened."""
        return self.totals.get(purpose, 0)

    @property
    def reserved_bytes(self) -> int:
        """What running probes, and own files by their advances, may still write."""
        return sum(reservation.size_bytes for reservation in self.reservations)

    def written_last_day(self, now: float) -> int:
        """Bytes written in the last 24 hours, the oldest hour counted whole."""
        return sum(bucket.written_bytes for bucket in self.buckets if _counts(bucket, now))

    def remaining_bytes(self, now: float) -> int:
        """How much may still be written."""
        return max(0, self.limit_bytes - self.written_last_day(now) - self.reserved_bytes)

    def kept_for_files_bytes(self, now: float) -> int:
        """How much of what remains no probe may take."""
        used = sum(bucket.files_bytes for bucket in self.buckets if _counts(bucket, now))
        used += sum(r.size_bytes for r in self.reservations if r.purpose not in PROBE_PURPOSES)
        unused = files_share_bytes(self.limit_bytes) - used
        return min(max(unused, vital_bytes(self.limit_bytes)), self.remaining_bytes(now))

    def advanced_bytes(self, advance: int | None) -> int:
        """What is left of an advance; 0 of one that is unknown."""
        held = self._advance(advance)
        return 0 if held is None else held.size_bytes

    def reserve(
        self, purpose: str, size_bytes: int, now: float
    ) -> "tuple[WearAccount, Reservation | Refused]":
        """Set a probe's bytes aside. Refused "over_daily_limit" (never possible),
        "wear_budget_used"."""
        if size_bytes <= 0:
            raise ValueError(f"a reservation of {size_bytes} bytes")
        limit_bytes = self.limit_bytes - files_share_bytes(self.limit_bytes)
        if size_bytes > limit_bytes:
            return self, Refused(
                "over_daily_limit",
                f"{size_bytes} bytes are more than {limit_bytes}, the probes' limit of a day",
            )
        remaining_bytes = self.remaining_bytes(now) - self.kept_for_files_bytes(now)
        if size_bytes > remaining_bytes:
            return self, Refused(
                "wear_budget_used",
                f"{size_bytes} bytes are more than the {remaining_bytes} left of "
                f"{limit_bytes} in 24 hours",
            )
        reservation = Reservation(self.device, self.next_id, purpose, size_bytes)
        return self.with_reservation(reservation), reservation

    def with_reservation(self, reservation: Reservation) -> "WearAccount":
        """With a new one, numbered as the next."""
        return msgspec.structs.replace(
            self, reservations=(*self.reservations, reservation), next_id=reservation.id + 1
        )

    def settle(self, reservation: Reservation, written_bytes: int, now: float) -> "WearAccount":
        """End a reservation with what was really written; a second time does nothing."""
        if reservation not in self.reservations:
            return self
        others = tuple(other for other in self.reservations if other != reservation)
        freed = msgspec.structs.replace(self, reservations=others)
        return freed.charge(reservation.purpose, written_bytes, now)

    def top_up(
        self,
        advance: int | None,
        purpose: str,
        size_bytes: int,
        spare_bytes: int,
        now: float,
        *,
        vital: bool = False,
    ) -> "tuple[WearAccount, Reservation | Refused]":
        """Have at least so many bytes in an advance of own files, a new one where it is None, and
        about ``spare_bytes`` more where it has to grow.

        Refused "wear_budget_used"; never for what is ``vital``.
        """
        held = self._advance(advance)
        held_bytes = 0 if held is None else held.size_bytes
        missing = size_bytes - held_bytes
        if held is not None and missing <= 0:
            return self, held
        free = self.remaining_bytes(now) - vital_bytes(self.limit_bytes)
        if missing > free and not vital:
            return self, Refused(
                "wear_budget_used",
                f"the agent has written all it may within 24 hours to {self.device}",
            )
        spare_bytes = min(spare_bytes, largest_spare_bytes(self.limit_bytes))
        added = max(missing, min(missing + spare_bytes, free))
        number = self.next_id if held is None else held.id
        larger = Reservation(self.device, number, purpose, held_bytes + added)
        others = tuple(other for other in self.reservations if other.id != number)
        return (
            msgspec.structs.replace(
                self,
                reservations=(*others, larger),
                next_id=self.next_id + (held is None),
            ),
            larger,
        )

    def draw(
        self, advance: int | None, purpose: str, written_bytes: int, now: float
    ) -> "WearAccount":
        """Count what was written out of an advance; what goes beyond it, too."""
        return self._with_advance(advance, -written_bytes).charge(purpose, written_bytes, now)

    def give_back(self, advance: int) -> "WearAccount":
        """End an advance: nothing more is written out of it."""
        return self._with_advance(advance, -self.advanced_bytes(advance))

    def settle_orphans(self, now: float) -> "WearAccount":
        """Charge all reservations in full: nobody is left to say what was written."""
        account = self
        for reservation in self.reservations:
            account = account.settle(reservation, reservation.size_bytes, now)
        return account

    def charge(self, purpose: str, written_bytes: int, now: float) -> "WearAccount":
        """Count what was written."""
        if written_bytes < 0:
            raise ValueError(f"{written_bytes} bytes written")
        if written_bytes == 0:
            return self
        kept = [bucket for bucket in self.buckets if _counts(bucket, now)]
        index = max(0, math.floor(now / BUCKET_SECONDS))
        # Never into a bucket that is forgotten earlier.
        newest = kept.pop() if kept and kept[-1].index >= index else Bucket(index, 0)
        of_files = 0 if purpose in PROBE_PURPOSES else written_bytes
        grown = Bucket(
            newest.index, newest.written_bytes + written_bytes, newest.files_bytes + of_files
        )
        return msgspec.structs.replace(
            self,
            totals={**self.totals, purpose: self.written(purpose) + written_bytes},
            buckets=(*kept, grown),
        )

    def _advance(self, number: int | None) -> Reservation | None:
        return next((held for held in self.reservations if held.id == number), None)

    def _with_advance(self, number: int | None, more_bytes: int) -> "WearAccount":
        """With an advance of another size; one of nothing is none."""
        held = self._advance(number)
        if held is None:
            return self
        left = held.size_bytes + more_bytes
        others = tuple(other for other in self.reservations if other.id != number)
        if left > 0:
            others = (*others, msgspec.structs.replace(held, size_bytes=left))
        return msgspec.structs.replace(self, reservations=others)

    def problem(self, now: float) -> str | None:
        """Why an account that was read cannot be true at ``now``; None when it can."""
        indices = [bucket.index for bucket in self.buckets]
        if indices != sorted(set(indices)):
            return f"the hours of {self.device} are out of order"
        if indices and indices[-1] * BUCKET_SECONDS > now:
            return f"the account of {self.device} lies in the future"
        if any(bucket.files_bytes > bucket.written_bytes for bucket in self.buckets):
            return f"the files on {self.device} wrote more than was written"
        if sum(self.totals.values()) < sum(bucket.written_bytes for bucket in self.buckets):
            return f"{self.device} had more written in a day than ever"
        ids = [reservation.id for reservation in self.reservations]
        if len(set(ids)) < len(ids) or any(not 0 < used < self.next_id for used in ids):
            return f"the reservations of {self.device} are not numbered one by one"
        if any(reservation.device != self.device for reservation in self.reservations):
            return f"a reservation of {self.device} belongs to another device"
        return None


def _counts(bucket: Bucket, now: float) -> bool:
    return (bucket.index + 1) * BUCKET_SECONDS > now - DAY_SECONDS
