"""What delivery remembers over a restart, as one JSON document. Pure.

What is still to be told is in the alert book, which offers it anew; here is which channel was told
what, so that none is told twice, and what the gate let pass.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from agent.versioned import decode_versioned

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class GateRecord:
    """A ``Gate`` without what is offered anew; ``back`` by the wall clock, for the next run."""

    passed: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    pushing: bool = False
    sent: tuple[str, ...] = ()
    back_wall_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """``settled`` are identities by the channel's name."""

    version: int = VERSION
    gate: GateRecord = field(default_factory=GateRecord)
    settled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def encode(record: DeliveryRecord) -> bytes:
    """The document."""
    return msgspec.json.encode(record) + b"\n"


def decode(raw: bytes) -> DeliveryRecord:
    """The record; DamagedState for what is none, or one of another version."""
    return decode_versioned(raw, VERSION, DeliveryRecord)
