"""What is remembered of alerts from tick to tick, and from run to run. Pure.

The book has a clock of its own, ``seconds``, by which everything in it is timed but what people
read. It goes with the monotonic clock, so that no wall clock that is set ends or repeats anything;
over a restart, with the wall clock, at most ``LONGEST_GAP_SECONDS`` and never backwards.
"""

from dataclasses import replace
from typing import Final

import msgspec

from agent.alerts.engine import AlertKey, AlertState, key_of
from agent.alerts.notice import Notification
from agent.alerts.orders import Order
from agent.alerts.rules import RULE_OF
from agent.readings import printable
from agent.versioned import decode_versioned

VERSION: Final = 1

LONGEST_GAP_SECONDS: Final = 30 * 86400.0
"""Between two runs; after more, every wait is over anyway. A clock that was set right at a boot
must not count as decades."""

PENDING_GAP_SECONDS: Final = 60.0
"""Between two runs; a value that nobody looked at for longer has to be beyond its threshold anew.
Else what was pending when the book was last written would fire with the first tick."""


class Followed(msgspec.Struct, frozen=True):
    """An alert that fires, or has fired; times are the book's but for those named ``wall``.

    ``occurrence`` numbers its firings and is never used again; one that fires again while people
    still believe that it does is the same. ``told`` is that belief. ``owed_since``: since when
    people believe what is not so. ``reminders`` are all told of this occurrence after the first,
    ``repeats`` those since it was last acknowledged. ``hushed`` while it is silenced; ``remind``
    when a silence ended over it. ``gone``: its end is not known, for its subject is not watched any
    more.
    """

    alert: str
    severity: str
    database: str
    device: str
    fingerprint: str
    group: str
    occurrence: int
    active: bool
    starts_wall_seconds: float
    ends_wall_seconds: float | None = None
    ended: float | None = None
    gone: bool = False
    unseen_since: float | None = None
    value: float | None = None
    summary: str = ""
    told: bool = False
    told_at: float = 0.0
    reminded_at: float = 0.0
    owed_since: float | None = None
    reminders: int = 0
    repeats: int = 0
    hushed: bool = False
    remind: bool = False

    @property
    def key(self) -> AlertKey:
        """What identifies the alert across ticks."""
        return key_of(self.alert, self.severity, self.database, self.device)


class GroupTold(msgspec.Struct, frozen=True):
    """When a group was last told of, by the book's clock (None: never), and how bad it was."""

    group: str
    firing_at: float | None = None
    critical: bool = False
    resolved_at: float | None = None


class OrderSeen(msgspec.Struct, frozen=True):
    """An order of the operator, and when it ends by the book's clock."""

    order: Order
    ends: float


class AlertBook(msgspec.Struct, frozen=True):
    """All of it.

    ``epoch_wall_seconds`` is when the book was begun, which tells its notifications from those of
    another; ``forgotten`` is the highest occurrence of alerts that are not remembered any more.
    ``outbox`` is what was handed to delivery and not settled. ``revision`` grows with every change
    worth keeping; ``urgent_revision`` is that of the last one that should be on disk before
    anything else happens. ``monotonic_seconds`` is None in a book that was just read.
    """

    version: int = VERSION
    epoch_wall_seconds: float = 0.0
    seconds: float = 0.0
    wall_seconds: float = 0.0
    monotonic_seconds: float | None = None
    states: tuple[AlertState, ...] = ()
    followed: tuple[Followed, ...] = ()
    groups: tuple[GroupTold, ...] = ()
    orders: tuple[OrderSeen, ...] = ()
    outbox: tuple[Notification, ...] = ()
    forgotten: int = 0
    revision: int = 0
    urgent_revision: int = 0

    def advanced(self, now: float, wall_seconds: float) -> "AlertBook":
        """The same book at monotonic ``now``."""
        states = self.states
        if self.monotonic_seconds is not None:
            elapsed = max(0.0, now - self.monotonic_seconds)
        elif self.epoch_wall_seconds:
            elapsed = min(max(0.0, wall_seconds - self.wall_seconds), LONGEST_GAP_SECONDS)
            if elapsed > PENDING_GAP_SECONDS:
                states = tuple(_from_the_front(state) for state in states)
        else:
            elapsed = 0.0
        return msgspec.structs.replace(
            self,
            epoch_wall_seconds=self.epoch_wall_seconds or wall_seconds,
            seconds=self.seconds + elapsed,
            wall_seconds=wall_seconds,
            monotonic_seconds=now,
            states=states,
        )

    @property
    def has_pending(self) -> bool:
        """Whether an alert is on its way: worth keeping at the end, not each time it changes."""
        return any(s.pending_since is not None and not s.active for s in self.states)

    def settled(self, identities: frozenset[str]) -> "AlertBook":
        """The book without those notifications in its outbox."""
        left = tuple(n for n in self.outbox if n.identity not in identities)
        if len(left) == len(self.outbox):
            return self
        revision = self.revision + 1
        return msgspec.structs.replace(
            self, outbox=left, revision=revision, urgent_revision=revision
        )


def _from_the_front(state: AlertState) -> AlertState:
    return state if state.active else replace(state, pending_since=None)


def encode_book(book: AlertBook) -> bytes:
    """The bytes to be written: JSON, one line. A value that JSON cannot hold is as one not seen;
    states that are neither active nor pending are left out."""
    kept = tuple(s for s in book.states if s.active or s.pending_since is not None)
    book = msgspec.structs.replace(book, states=kept, monotonic_seconds=None)
    try:
        return msgspec.json.encode(book) + b"\n"
    except UnicodeEncodeError:  # a message out of a LOG that is no valid UTF-8
        return msgspec.json.encode(_escaped(msgspec.to_builtins(book))) + b"\n"


def _escaped(tree: object) -> object:
    if isinstance(tree, str):
        return printable(tree)
    if isinstance(tree, dict):
        return {key: _escaped(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_escaped(value) for value in tree]
    return tree


def decode_book(raw: bytes) -> AlertBook:
    """The book again, without alerts that this version does not know. Raises DamagedState, also
    for one of another version."""
    book = decode_versioned(raw, VERSION, AlertBook)
    return msgspec.structs.replace(
        book,
        states=tuple(s for s in book.states if (s.alert, s.severity) in RULE_OF),
        followed=tuple(f for f in book.followed if (f.alert, f.severity) in RULE_OF),
        monotonic_seconds=None,
    )
