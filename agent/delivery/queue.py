"""What one channel still has to tell, oldest first, and what it need not tell again. Pure.

Invariant: the newest word about each alert is never dropped, however long the receiver is down. A
notification is replaceable when a later one in the queue speaks of each of its alerts. So a queue
longer than its limit holds at most one notification for each alert there is.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from agent.alerts.notice import Notification

KEPT_IDENTITIES: Final = 1000
"""How many notifications are remembered as told. It takes as many that one channel has told and
another has not before a restart repeats one."""


@dataclass(frozen=True, slots=True)
class Queue:
    """``settled`` are identities of what was delivered or given up, newest last."""

    pending: tuple[Notification, ...] = ()
    settled: tuple[str, ...] = ()

    def take(self, notifications: Iterable[Notification], limit: int) -> tuple["Queue", int]:
        """With what is new of these, and how many others that cost."""
        known = {*self.settled, *(waiting.identity for waiting in self.pending)}
        pending = list(self.pending)
        for notification in notifications:
            if notification.identity not in known:
                known.add(notification.identity)
                pending.append(notification)
        kept, dropped = _without_replaceable(pending, limit)
        return Queue(tuple(kept), _newest((*self.settled, *dropped))), len(dropped)

    def settle(self, identity: str) -> "Queue":
        """Without this one: it was delivered, or never will be."""
        pending = tuple(one for one in self.pending if one.identity != identity)
        return replace(self, pending=pending, settled=_newest((*self.settled, identity)))


def _newest(identities: tuple[str, ...]) -> tuple[str, ...]:
    return identities[-KEPT_IDENTITIES:]


def _without_replaceable(
    pending: list[Notification], limit: int
) -> tuple[list[Notification], list[str]]:
    """Without the oldest replaceable ones, until the limit holds or none is left; and their
    identities."""
    surplus = len(pending) - limit
    if surplus <= 0:
        return pending, []
    last = {alert.fingerprint: index for index, one in enumerate(pending) for alert in one.alerts}
    kept: list[Notification] = []
    dropped: list[str] = []
    for index, one in enumerate(pending):
        replaceable = all(last[alert.fingerprint] > index for alert in one.alerts)
        if replaceable and len(dropped) < surplus:
            dropped.append(one.identity)
        else:
            kept.append(one)
    return kept, dropped
