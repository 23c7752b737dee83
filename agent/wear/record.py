"""The wear accounts as they are written down: typed, versioned, with a check sum, pure.

`encode(record) -> bytes`, `decode(raw) -> WearRecord` (raises `DamagedRecord`). The check sum is
there because a budget must not be believed on the strength of a digit that flipped.
"""

import zlib
from typing import Annotated, Final

import msgspec

from agent.wear.account_clock import AccountClock
from agent.wear.budget import WearAccount

VERSION: Final = 1

MAX_ACCOUNTS: Final = 256
"""Beyond it, the first of those with nothing in the last day are forgotten."""


RECEIPT_NAME: Final = r"\Awritten-[0-9a-f]{1,32}\.json\Z"

ReceiptName = Annotated[str, msgspec.Meta(pattern=RECEIPT_NAME)]


class WearRecord(msgspec.Struct, frozen=True):
    """Everything that outlives the process.

    Until ``unknown_until_seconds`` of the account's clock nothing may be reserved on any device:
    what was written in the day before is not known. ``receipts`` are the names of those that are
    charged, and may still lie there.
    """

    clock: AccountClock
    unknown_until_seconds: float = 0.0
    accounts: tuple[WearAccount, ...] = ()
    receipts: tuple[ReceiptName, ...] = ()


class DamagedRecord(ValueError):
    """Not what this version writes; the message says why."""


class _Envelope(msgspec.Struct):
    version: int
    crc32: int
    ledger: msgspec.Raw


def encode(record: WearRecord) -> bytes:
    """The bytes to be written: JSON, one line."""
    ledger = msgspec.json.encode(record)
    envelope = _Envelope(VERSION, zlib.crc32(ledger), msgspec.Raw(ledger))
    return msgspec.json.encode(envelope) + b"\n"


def decode(raw: bytes) -> WearRecord:
    """The record again."""
    try:
        envelope = msgspec.json.decode(raw, type=_Envelope)
        if envelope.version != VERSION:
            raise DamagedRecord(f"version {envelope.version}, this program writes {VERSION}")
        if zlib.crc32(envelope.ledger) != envelope.crc32:
            raise DamagedRecord("its check sum is wrong")
        record = msgspec.json.decode(envelope.ledger, type=WearRecord)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedRecord(str(error)) from error
    now = record.clock.account_seconds
    if not 0 <= now < 1e12:
        raise DamagedRecord(f"its clock says {now}")
    for account in record.accounts:
        problem = account.problem(now)
        if problem is not None:
            raise DamagedRecord(problem)
    if len({account.device for account in record.accounts}) < len(record.accounts):
        raise DamagedRecord("a device has two accounts")
    return record
