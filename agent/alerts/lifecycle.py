"""From the states of the alerts to what people are told of them: pure.

``follow(rules, settings, book, observations, orders, now, wall_seconds)`` gives the next book and
what it means: the notifications to hand to delivery, and every alert as it stands.

The book holds, for each alert, what is (``active``) and what people believe (``told``). A silence
hides the difference; otherwise it is told as soon as these rules let it:

- *Group.* Alerts of one device are told together, else those of one database. The first news of a
  group waits ``group_wait_seconds`` for more of it.
- *Cooldown.* Within ``cooldown_seconds`` after a group was told of as firing, nothing of it is told
  as firing but what is worse; and no alert is told as resolved so soon after it was told as firing,
  nor resolutions of a group in shorter distances. So what flaps stays, in people's eyes, on: one
  message per cooldown, not one per change.
- *Repetition.* What still fires is told again every ``repeat_seconds``, and when a silence over it
  ends, until somebody acknowledges it; as an escalation after ``escalate_after_repeats``.

Invariants, each with a property test: nothing is told twice; what was told as firing is told as
resolved or fires still; a silence tells nothing, and its end tells what it hid; a book that was
written and read again at any moment changes nothing; the order of the observations does not matter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from msgspec.structs import replace

from agent.alerts.book import AlertBook, Followed, GroupTold, OrderSeen
from agent.alerts.engine import AlertKey, advance, key_of
from agent.alerts.following import acknowledged_seconds, brought_up, retired, under_orders
from agent.alerts.group_news import GroupNews, group_news
from agent.alerts.notice import AlertNotice, Notification, without_replaced
from agent.alerts.notices import notice_of, notification_of
from agent.alerts.orders import Order
from agent.alerts.rules import AlertingSettings, Observation, RuleSettings
from agent.alerts.standing import Standing, is_shown, standing_of

MAX_OUTBOX: Final = 128
"""Notifications kept for a restart while delivery does not settle them; beyond that, those that
later ones replace go first, as in the queue of a channel."""

WALL_JUMP_SECONDS: Final = 60.0
"""A wall clock that was set by more is worth writing down: the next run reckons with it."""


@dataclass(frozen=True, slots=True)
class OrderInForce:
    """An order of the operator, and how much of it is left."""

    order: Order
    remaining_seconds: float


@dataclass(frozen=True, slots=True)
class Alerting:
    """What one tick means for people; ``active`` as ``AlertSink.offer`` takes it."""

    notifications: tuple[Notification, ...] = ()
    active: tuple[AlertNotice, ...] = ()
    standings: Mapping[AlertKey, Standing] = field(default_factory=dict)
    orders: tuple[OrderInForce, ...] = ()


def follow(
    rules: Mapping[str, RuleSettings],
    settings: AlertingSettings,
    book: AlertBook,
    observations: Iterable[Observation],
    orders: tuple[Order, ...] | None,
    now: float,
    wall_seconds: float,
) -> tuple[AlertBook, Alerting]:
    """The book after this tick, and what is to be told; ``orders`` None where they cannot be read:
    those in force stay."""
    restarted = book.monotonic_seconds is None
    before, book = book, book.advanced(now, wall_seconds)
    at = book.seconds
    seen = _orders_seen(book.orders, orders, at, wall_seconds)
    in_force = [entry for entry in seen if entry.ends > at]
    observed = tuple(observations)
    keys = {key_of(o.alert, o.severity, o.database, o.device) for o in observed}
    remembered = {followed.key: followed for followed in book.followed}
    kept = [state for state in book.states if not retired(remembered.get(state.key), at)]
    states = advance(rules, kept, observed, at, wall_seconds)
    current = {state.key: state for state in states}
    followed, forgotten = brought_up(
        remembered, current, keys, settings, book.forgotten, at, wall_seconds
    )
    followed = [under_orders(entry, in_force, at) for entry in followed]
    told, groups, news = _tell(followed, book.groups, settings, in_force, at)
    notifications = tuple(
        notification_of(one.kind, one.group, one.told, rules, book.epoch_wall_seconds, wall_seconds)
        for one in news
    )
    after = replace(
        book,
        states=states,
        followed=tuple(told),
        groups=groups,
        orders=seen,
        outbox=without_replaced((*book.outbox, *notifications), MAX_OUTBOX)[0],
        forgotten=forgotten,
    )
    now_remembered = {entry.key: entry for entry in told}
    return _revised(before, after), Alerting(
        # What the last run did not settle comes first: it may have ended before it was delivered.
        notifications=(*book.outbox, *notifications) if restarted else notifications,
        active=tuple(notice_of(entry, rules) for entry in told if is_shown(entry, at)),
        standings={
            key: standing_of(state, now_remembered.get(key), in_force, at)
            for key, state in current.items()
        },
        orders=tuple(OrderInForce(entry.order, entry.ends - at) for entry in in_force),
    )


def _orders_seen(
    before: Sequence[OrderSeen], orders: tuple[Order, ...] | None, at: float, wall_seconds: float
) -> tuple[OrderSeen, ...]:
    """Each order with its end: the wall clock is asked once, when an order is first seen.

    Those that are over stay as long as they are in the file: else they would be seen anew.
    """
    if orders is None:
        return tuple(before)
    known = {entry.order: entry for entry in before}
    return tuple(
        known.get(order) or OrderSeen(order, at + order.remaining_seconds(wall_seconds))
        for order in orders
    )


def _tell(
    followed: Sequence[Followed],
    groups: Sequence[GroupTold],
    settings: AlertingSettings,
    orders: Sequence[OrderSeen],
    at: float,
) -> tuple[list[Followed], tuple[GroupTold, ...], list[GroupNews]]:
    before = {told.group: told for told in groups}
    entries: list[Followed] = []
    after: list[GroupTold] = []
    news: list[GroupNews] = []
    for name, members in groupby(followed, key=lambda entry: entry.group):
        group = list(members)
        acknowledged = frozenset(
            entry.key for entry in group if acknowledged_seconds(entry, orders, at) is not None
        )
        told, changed, new = group_news(
            before.get(name) or GroupTold(name), group, acknowledged, settings, at
        )
        entries += changed
        news += new
        after.append(told)
    return entries, tuple(after), news


def _revised(before: AlertBook, after: AlertBook) -> AlertBook:
    """With the revisions counted on, where something changed that is worth keeping."""
    jumped = before.monotonic_seconds is not None and (
        abs((after.wall_seconds - before.wall_seconds) - (after.seconds - before.seconds))
        > WALL_JUMP_SECONDS
    )
    # A new book is on disk before it tells anything: a notification computed again after a crash is
    # known by its identity, which begins with the book's.
    begun = not before.epoch_wall_seconds
    urgent = begun or jumped or after.outbox != before.outbox or after.orders != before.orders
    if not urgent and _lasting(before) == _lasting(after):
        return after
    revision = before.revision + 1
    return replace(
        after,
        revision=revision,
        urgent_revision=revision if urgent else before.urgent_revision,
    )


def _lasting(book: AlertBook) -> list[Followed]:
    """Without what changes with every tick."""
    return [replace(entry, value=None, summary="") for entry in book.followed]
