"""What was written to one device, and what may be: pure, immutable, on the account's own clock.

    account = WearAccount("model/size", daily_limit_bytes(size_bytes))
    account, answer = account.reserve("fio", 128 * MIB, now)   # answer: Reservation or Refused
    account = account.settle(answer, written_bytes, now)       # the rest is free again
    account = account.charge("state", 8192, now)               # small things, always allowed

Invariant: what was written in the last 24 hours plus what is reserved never exceeds the limit by
reserving. A reservation counts in full until it is settled, and what it wrote then counts from the
moment of settling, so no byte leaves the window less than 24 hours after it was written. What is
charged, and what a reservation wrote beyond itself, is always counted and so delays the next one.

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

LEAST_DAILY_BYTES: Final = 256 * 1024 * 1024
"""On a small drive, too, two short probes a day."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


def daily_limit_bytes(
    device_size_bytes: int, ratio: float = DAILY_RATIO, minimum: int = LEAST_DAILY_BYTES
) -> int:
    """How much the agent may write to a device in any 24 hours."""
    return max(minimum, int(device_size_bytes * ratio))


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
        """What running probes may still write."""
        return sum(reservation.size_bytes for reservation in self.reservations)

    def written_last_day(self, now: float) -> int:
        """Bytes written in the last 24 hours, the oldest hour counted whole."""
        return sum(bucket.written_bytes for bucket in self.buckets if _counts(bucket, now))

    def remaining_bytes(self, now: float) -> int:
        """How much may be reserved."""
        return max(0, self.limit_bytes - self.written_last_day(now) - self.reserved_bytes)

    def reserve(
        self, purpose: str, size_bytes: int, now: float
    ) -> "tuple[WearAccount, Reservation | Refused]":
        """Set bytes aside. Refused "over_daily_limit" (never possible), "wear_budget_used"."""
        if size_bytes <= 0:
            raise ValueError(f"a reservation of {size_bytes} bytes")
        if size_bytes > self.limit_bytes:
            return self, Refused(
                "over_daily_limit",
                f"{size_bytes} bytes are more than {self.limit_bytes}, the limit of a day",
            )
        remaining_bytes = self.remaining_bytes(now)
        if size_bytes > remaining_bytes:
            return self, Refused(
                "wear_budget_used",
                f"{size_bytes} bytes are more than the {remaining_bytes} left of "
                f"{self.limit_bytes} in 24 hours",
            )
        reservation = Reservation(self.device, self.next_id, purpose, size_bytes)
        return (
            msgspec.structs.replace(
                self, reservations=(*self.reservations, reservation), next_id=self.next_id + 1
            ),
            reservation,
        )

    def settle(self, reservation: Reservation, written_bytes: int, now: float) -> "WearAccount":
        """End a reservation with what was really written; a second time does nothing."""
        if reservation not in self.reservations:
            return self
        others = tuple(other for other in self.reservations if other != reservation)
        freed = msgspec.structs.replace(self, reservations=others)
        return freed.charge(reservation.purpose, written_bytes, now)

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
        if kept and kept[-1].index >= index:  # never into a bucket that is forgotten earlier
            newest = kept.pop()
            index, before = newest.index, newest.written_bytes
        else:
            before = 0
        return msgspec.structs.replace(
            self,
            totals={**self.totals, purpose: self.written(purpose) + written_bytes},
            buckets=(*kept, Bucket(index, before + written_bytes)),
        )

    def problem(self, now: float) -> str | None:
        """Why an account that was read cannot be true at ``now``; None when it can."""
        indices = [bucket.index for bucket in self.buckets]
        if indices != sorted(set(indices)):
            return f"the hours of {self.device} are out of order"
        if indices and indices[-1] * BUCKET_SECONDS > now:
            return f"the account of {self.device} lies in the future"
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
