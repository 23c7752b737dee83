"""What is remembered of each alert, brought up to what is: pure.

First what is (``brought_up``), then since when it is owed to people (``under_orders``); whether it
is told, ``agent.alerts.group_news`` says.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from agent.alerts.book import Followed, OrderSeen
from agent.alerts.engine import AlertKey, AlertState
from agent.alerts.notices import fingerprint_of, group_of
from agent.alerts.rules import AlertingSettings

REMEMBERED_SECONDS: Final = 30 * 86400.0
"""How long an alert that is over is remembered, with the number of its firings."""

UNSEEN_SECONDS: Final = 7 * 86400.0
"""An alert whose subject is not observed at all for so long ends with it: a disk that was taken out
would fire for ever."""

MAX_OVER: Final = 1000
"""So many alerts that are over are remembered, the last ones: databases may come and go by the
hundred, each under a name of its own."""


def retired(followed: Followed | None, at: float) -> bool:
    """Whether its subject was not observed for so long that it ends."""
    since = None if followed is None else followed.unseen_since
    return since is not None and at - since >= UNSEEN_SECONDS


def brought_up(
    remembered: Mapping[AlertKey, Followed],
    current: Mapping[AlertKey, AlertState],
    observed: set[AlertKey],
    settings: AlertingSettings,
    forgotten: int,
    at: float,
    wall_seconds: float,
) -> tuple[list[Followed], int]:
    """What is remembered, brought up to what is, sorted by group and key; and the highest
    occurrence of what was ever forgotten."""
    entries = []
    for key in remembered.keys() | {k for k, state in current.items() if state.active}:
        entry, state = remembered.get(key), current.get(key)
        if state is not None and state.active:
            entry = _firing(entry, state, forgotten)
            since = at if entry.unseen_since is None else entry.unseen_since
            entry = replace(entry, unseen_since=None if key in observed else since)
        elif entry is not None:
            entry = _over(entry, state, settings, at, wall_seconds)
        if entry is not None:
            entries.append(entry)
    entries = _without_oldest(entries)
    lost = remembered.keys() - {entry.key for entry in entries}
    forgotten = max((forgotten, *(remembered[key].occurrence for key in lost)))
    return sorted(entries, key=lambda entry: (entry.group, entry.key)), forgotten


def _without_oldest(entries: list[Followed]) -> list[Followed]:
    over = [entry for entry in entries if not entry.active and not entry.told]
    surplus = sorted(over, key=lambda entry: (entry.ended or 0.0, entry.key))[:-MAX_OVER]
    dropped = {entry.key for entry in surplus}
    return [entry for entry in entries if entry.key not in dropped]


def _firing(entry: Followed | None, state: AlertState, forgotten: int) -> Followed:
    value, summary = state.value, state.summary
    if entry is not None and entry.active:
        return replace(entry, value=value, summary=summary)
    if entry is not None and entry.told:  # people still believe it: the same occurrence goes on
        return replace(
            entry,
            active=True,
            ends_wall_seconds=None,
            ended=None,
            gone=False,
            owed_since=None,
            value=value,
            summary=summary,
        )
    labels = (state.alert, state.severity, state.database, state.device)
    return Followed(
        *labels,
        fingerprint=fingerprint_of(*labels),
        group=group_of(state.database, state.device),
        # Never one that this alert may have had before it was forgotten: to whoever remembers that
        # notification, receivers among them, this one would be its repetition.
        occurrence=1 + (forgotten if entry is None else entry.occurrence),
        active=True,
        starts_wall_seconds=state.since_wall_seconds or 0.0,
        value=value,
        summary=summary,
        # One that comes and goes has waited since it first came: else it would never be told.
        owed_since=None if entry is None else entry.owed_since,
    )


def _over(
    entry: Followed,
    state: AlertState | None,
    settings: AlertingSettings,
    at: float,
    wall_seconds: float,
) -> Followed | None:
    """An alert that does not fire (any more); None when it can be forgotten."""
    if entry.active:
        return replace(
            entry,
            active=False,
            ends_wall_seconds=max(wall_seconds, entry.starts_wall_seconds),
            ended=at,
            gone=state is None,
            unseen_since=None,
            value=entry.value if state is None else state.value,
        )
    ended = at if entry.ended is None else entry.ended
    if entry.told:
        return entry
    if at - ended > max(REMEMBERED_SECONDS, settings.cooldown_seconds):
        return None
    if entry.owed_since is not None and at - ended > settings.group_wait_seconds:
        return replace(entry, owed_since=None)
    return entry


def under_orders(entry: Followed, orders: Sequence[OrderSeen], at: float) -> Followed:
    """With what silences and acknowledgements make of it, and since when it is owed to people."""
    if silenced_seconds(entry, orders, at) is not None:
        return replace(entry, hushed=True, owed_since=None)
    owed_since = entry.owed_since
    if entry.active != entry.told and owed_since is None:
        owed_since = at
    acknowledged = acknowledged_seconds(entry, orders, at) is not None
    return replace(
        entry,
        hushed=False,
        owed_since=owed_since,
        remind=entry.remind or (entry.hushed and entry.active and entry.told),
        repeats=0 if acknowledged else entry.repeats,
    )


def silenced_seconds(
    entry: Followed | AlertState, orders: Sequence[OrderSeen], at: float
) -> float | None:
    """For how long it is silenced still; None: it is not."""
    labels = (entry.alert, entry.database, entry.device)
    return max((o.ends - at for o in orders if o.order.silences(*labels)), default=None)


def acknowledged_seconds(entry: Followed, orders: Sequence[OrderSeen], at: float) -> float | None:
    """For how long this occurrence counts as acknowledged still; None: it does not."""
    return max(
        (o.ends - at for o in orders if o.order.acknowledges(entry.fingerprint, entry.occurrence)),
        default=None,
    )
