"""What the operator orders about alerts: acknowledgements and silences, each with an end. Pure.

An acknowledgement is of one occurrence of one alert: somebody knows, so nobody is reminded of it. A
silence is of every alert that matches, the future ones included: nobody is told anything of them.
"""

from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from agent.probing.pause import LONGEST_SECONDS

VERSION: Final = 1
MAX_ORDERS: Final = 256
MAX_COMMENT: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One of them; what it leaves open (None) matches anything.

    From when to when is Unix time; ``uid`` is the user who asked for it. ``fingerprint`` and
    ``occurrence`` are what an acknowledgement is of, and ``alert``, ``database`` and ``device``
    then only tell people so.
    """

    id: str
    kind: Literal["acknowledgement", "silence"]
    alert: str | None = None
    database: str | None = None
    device: str | None = None
    fingerprint: str | None = None
    occurrence: int | None = None
    since_wall_seconds: float
    until_wall_seconds: float
    comment: str = ""
    uid: int

    @property
    def seconds(self) -> float:
        """How long it was meant to be."""
        return self.until_wall_seconds - self.since_wall_seconds

    def remaining_seconds(self, wall_seconds: float) -> float:
        """How much of it is left by the wall clock; a clock set back does not make it longer."""
        return max(0.0, min(self.seconds, self.until_wall_seconds - wall_seconds))

    def silences(self, alert: str, database: str, device: str) -> bool:
        """Whether it is a silence of an alert with these labels."""
        return (
            self.kind == "silence"
            and self.alert in (None, alert)
            and self.database in (None, database)
            and self.device in (None, device)
        )

    def acknowledges(self, fingerprint: str, occurrence: int) -> bool:
        """Whether it is an acknowledgement of this occurrence of this alert."""
        return self.kind == "acknowledgement" and (self.fingerprint, self.occurrence) == (
            fingerprint,
            occurrence,
        )


class DamagedOrders(ValueError):
    """The content of a file of orders that is none; the message says why."""


class _File(msgspec.Struct, frozen=True):
    version: int
    orders: tuple[Order, ...]


def encode_orders(orders: tuple[Order, ...]) -> bytes:
    """The file's content."""
    return msgspec.json.encode(_File(VERSION, orders)) + b"\n"


def decode_orders(content: bytes) -> tuple[Order, ...]:
    """The orders in a file's content. Raises DamagedOrders."""
    try:
        file = msgspec.json.decode(content, type=_File)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DamagedOrders(f"it holds no orders: {error}") from error
    if file.version != VERSION:
        raise DamagedOrders(f"it is of version {file.version}, this program reads {VERSION}")
    for order in file.orders:
        # Written so that NaN fails, too; a second more for rounding.
        if not 0.0 < order.seconds <= LONGEST_SECONDS + 1.0:
            raise DamagedOrders(f"the length of {order.id} is not between 0 and 30 days")
    return file.orders
