"""What one channel still has to tell, oldest first, and what it need not tell again. Pure.

Invariant: the newest word about each alert is never dropped, however long the receiver is down. So
a queue longer than its limit holds at most one notification for each alert there is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from agent.alerts.notice import Notification, without_replaced

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
        kept, dropped = without_replaced(pending, limit)
        return Queue(kept, _newest((*self.settled, *dropped))), len(dropped)

    def settle(self, *identities: str) -> "Queue":
        """Without these: they were delivered, or never will be."""
        done = dict.fromkeys(identities)
        pending = tuple(one for one in self.pending if one.identity not in done)
        others = (one for one in self.settled if one not in done)
        return Queue(pending, _newest((*others, *done)))


def _newest(identities: tuple[str, ...]) -> tuple[str, ...]:
    return identities[-KEPT_IDENTITIES:]
