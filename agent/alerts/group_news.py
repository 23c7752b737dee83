"""What is to be told of one group of alerts now: when it may be, and what goes with it. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from agent.alerts.book import Followed, GroupTold
from agent.alerts.engine import AlertKey
from agent.alerts.notice import NotificationKind
from agent.alerts.rules import AlertingSettings


@dataclass(frozen=True, slots=True)
class GroupNews:
    """One notification to make, of alerts as they were before."""

    kind: NotificationKind
    group: str
    told: tuple[Followed, ...]


def group_news(
    group: GroupTold,
    members: Sequence[Followed],
    acknowledged: frozenset[AlertKey],
    settings: AlertingSettings,
    at: float,
) -> tuple[GroupTold, list[Followed], list[GroupNews]]:
    """The group and its alerts afterwards, and the notifications: at most one of each kind.

    ``members`` know already since when they are owed to people; ``at`` is the book's clock.
    """
    news: list[GroupNews] = []
    changed = {entry.key: entry for entry in members}

    def tell(
        kind: NotificationKind, told: Sequence[Followed], then: Callable[[Followed], Followed]
    ) -> None:
        news.append(GroupNews(kind, group.group, tuple(told)))
        changed.update({entry.key: then(entry) for entry in told})

    firing = _firing(group, members, settings, at)
    if firing:
        critical = any(entry.severity == "critical" for entry in firing)
        group = replace(group, firing_at=at, critical=critical)
        tell(
            "firing",
            firing,
            lambda entry: replace(entry, told=True, told_at=at, reminded_at=at, owed_since=None),
        )
    resolved = _resolved(group, members, settings, at)
    if resolved:
        group = replace(group, resolved_at=at)
        tell("resolved", resolved, lambda entry: replace(entry, told=False, owed_since=None))
    reminded = _reminded(members, acknowledged, settings, at)
    if reminded:
        limit = settings.escalate_after_repeats
        escalates = limit > 0 and any(entry.repeats >= limit for entry in reminded)
        tell(
            "escalated" if escalates else "repeated",
            reminded,
            lambda entry: replace(
                entry,
                reminded_at=at,
                reminders=entry.reminders + 1,
                repeats=entry.repeats + 1,
                remind=False,
            ),
        )
    return group, list(changed.values()), news


def _firing(
    group: GroupTold, members: Sequence[Followed], settings: AlertingSettings, at: float
) -> list[Followed]:
    """What is to be told as firing: as soon as one may be, all of it."""
    fresh = [entry for entry in members if entry.active and not entry.told and not entry.hushed]
    cooling = _within(group.firing_at, settings.cooldown_seconds, at)
    may = any(
        _waited(entry, settings, at)
        and (not cooling or (entry.severity == "critical" and not group.critical))
        for entry in fresh
    )
    return fresh if may else []


def _resolved(
    group: GroupTold, members: Sequence[Followed], settings: AlertingSettings, at: float
) -> list[Followed]:
    over = [
        entry
        for entry in members
        if entry.told
        and not entry.active
        and not entry.hushed
        and not _within(entry.told_at, settings.cooldown_seconds, at)
    ]
    may = not _within(group.resolved_at, settings.cooldown_seconds, at) and any(
        _waited(entry, settings, at) for entry in over
    )
    return over if may else []


def _reminded(
    members: Sequence[Followed],
    acknowledged: frozenset[AlertKey],
    settings: AlertingSettings,
    at: float,
) -> list[Followed]:
    """What still fires and nobody acknowledged; what was told lately waits for the next time."""
    every = settings.repeat_seconds
    standing = [
        entry
        for entry in members
        if entry.active and entry.told and not entry.hushed and entry.key not in acknowledged
    ]

    def older_than(entry: Followed, seconds: float) -> bool:
        return entry.remind or (every > 0 and at - entry.reminded_at >= seconds)

    if not any(older_than(entry, every) for entry in standing):
        return []
    return [entry for entry in standing if older_than(entry, every / 2)]


def _waited(entry: Followed, settings: AlertingSettings, at: float) -> bool:
    return entry.owed_since is not None and at - entry.owed_since >= settings.group_wait_seconds


def _within(since: float | None, seconds: float, at: float) -> bool:
    return since is not None and at - since < seconds
