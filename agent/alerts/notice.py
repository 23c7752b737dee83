"""What receivers are told of alerts: the seam between the alert states and their delivery."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

NotificationKind = Literal["firing", "repeated", "escalated", "resolved"]


@dataclass(frozen=True, slots=True)
class AlertNotice:
    """One alert that is firing, or was resolved a short time ago.

    ``fingerprint`` identifies the alert on its subject, also over restarts. ``labels`` hold
    ``alertname``, ``severity`` and what it is about (``db``, ``device``), ``annotations`` a
    ``summary``, a ``description`` and a ``runbook_url``. ``ends_wall_seconds`` is None while it is
    firing.
    """

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_wall_seconds: float
    ends_wall_seconds: float | None


@dataclass(frozen=True, slots=True)
class Notification:
    """Something to tell people once: alerts of one group that changed together.

    ``identity`` is the same when the same change is computed again after a crash, so that whoever
    delivers can tell a repetition.
    """

    identity: str
    kind: NotificationKind
    group: str
    alerts: tuple[AlertNotice, ...]
    wall_seconds: float


def without_replaced(
    notifications: Sequence[Notification], limit: int
) -> tuple[tuple[Notification, ...], tuple[str, ...]]:
    """The newest of them, where there are more than ``limit``, and the identities of the others.

    A notification is replaced when a later one speaks of each of its alerts. No other goes: what is
    left may be more than ``limit``, but then it is at most one for each alert.
    """
    surplus = len(notifications) - limit
    if surplus <= 0:
        return tuple(notifications), ()
    last = {a.fingerprint: index for index, one in enumerate(notifications) for a in one.alerts}
    replaced = [
        one.identity
        for index, one in enumerate(notifications)
        if all(last[alert.fingerprint] > index for alert in one.alerts)
    ][:surplus]
    dropped = frozenset(replaced)
    return tuple(one for one in notifications if one.identity not in dropped), tuple(replaced)


class AlertSink(Protocol):
    """Whoever delivers; called once a tick, by the thread of the tick. Never blocks, never raises.

    What was offered and is not settled is kept in the alert book on disk, and offered anew, under
    the same identity, by the first ``offer`` after a restart. So nothing is lost between the two,
    and what is known by its identity need not be repeated.
    """

    def offer(
        self, notifications: tuple[Notification, ...], active: tuple[AlertNotice, ...]
    ) -> None:
        """Take what is new to tell, and all alerts as they stand now.

        ``active`` are the alerts that fire and those resolved within the last quarter of an hour
        (with ``ends_wall_seconds``): what a receiver that wants states instead of changes, such as
        Alertmanager, is sent again and again. Silenced alerts are in neither.
        """
        ...

    def settled(self) -> frozenset[str]:
        """Identities of notifications that need not be offered anew: delivered, given up, not
        wanted, or kept on disk by the sink itself. Asked after each ``offer``; to say the same ones
        again does no harm."""
        ...
