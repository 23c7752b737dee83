"""What of the alerts reaches the channels: by mode, and by whether Prometheus is there. Pure.

In mode ``fallback``:
- while Prometheus scrapes, a new notification is held until Prometheus has been seen
  ``COVER_SECONDS`` later: then it has raised its own alert, and ours is forgotten;
- when Prometheus is absent, everything held that still fires and everything new is passed on. What
  is over meanwhile is not: it would come after its end, and most of it Prometheus has told;
- when it is back, nothing new is. Whoever was told that an alert fires is still told of its end,
  and Alertmanager is sent what it has from us on for the time of the handover, since Prometheus may
  need as long to raise its own.
"""

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace
from typing import Final

from agent.alerts.notice import AlertNotice, Notification
from agent.delivery.scrapers import ScraperView
from agent.delivery.settings import Mode

COVER_SECONDS: Final = 120.0
"""A scrape interval and an evaluation interval, both a minute by default: the rules themselves are
the same here and there."""

MAX_HELD: Final = 1000
"""Two minutes' notifications of the largest host; the oldest go first."""

MAX_TOLD: Final = 5000
"""More alerts than a host has rules and databases; the oldest go first."""


@dataclass(frozen=True, slots=True)
class Held:
    """A notification that waits for Prometheus, since when."""

    notification: Notification
    since: float


@dataclass(frozen=True, slots=True)
class Gate:
    """``held`` wait for Prometheus, ``passed`` are identities of those that were passed on and are
    not settled: offered again after a restart, they pass again.

    ``told`` are the alerts that people were told of, and not yet of their end; ``sent`` those that
    Alertmanager has from us: all that fire while Prometheus is absent, and for the time of the
    handover those that fired ``back``, when it came back (None at any other time). Alerts are kept
    as ``occurrence``; times are monotonic seconds, for a wall clock may be set meanwhile.
    """

    held: tuple[Held, ...] = ()
    passed: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    pushing: bool = False
    sent: tuple[str, ...] = ()
    back: float | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """What the channels get: changes for those that tell people, states for Alertmanager."""

    notifications: tuple[Notification, ...]
    active: tuple[AlertNotice, ...]


def occurrence(alert: AlertNotice) -> str:
    """One time that an alert fires: when it fires again later, that is another."""
    return f"{alert.fingerprint}@{alert.starts_wall_seconds:.3f}"


def pass_on(
    gate: Gate,
    mode: Mode,
    scraper: ScraperView,
    handover_seconds: float,
    notifications: tuple[Notification, ...],
    active: tuple[AlertNotice, ...],
    now: float,
) -> tuple[Gate, Passed]:
    """The gate after this tick, and what passes it."""
    if mode == "off":
        return Gate(), Passed((), ())
    if mode == "always" or scraper.absent:
        passed = (*_still_firing(gate.held, active), *notifications)
        after = Gate(
            passed=_with(gate.passed, passed),
            told=_told(gate.told, passed),
            pushing=True,
            sent=tuple(sorted(_firing(active))),
        )
        return after, Passed(passed, active)
    if gate.pushing:
        gate = replace(gate, back=now)
    if gate.back is not None and now - gate.back >= handover_seconds:
        gate = replace(gate, sent=(), back=None)
    again = tuple(one for one in notifications if one.identity in gate.passed)
    new = tuple(one for one in notifications if one.identity not in gate.passed)
    ends = tuple(_ends(new, gate.told))
    ended = {one.identity for one in ends}
    waiting = (*gate.held, *(Held(one, now) for one in new if one.identity not in ended))
    held = tuple(one for one in waiting if not _covered(one, scraper, now))
    after = replace(
        gate,
        held=held[-MAX_HELD:],
        passed=_with(gate.passed, ends),
        told=_told(gate.told, ends),
        pushing=False,
    )
    known = set(gate.sent)
    handed_over = tuple(alert for alert in active if occurrence(alert) in known)
    return after, Passed((*again, *ends), handed_over)


def settled(gate: Gate, identities: Set[str]) -> Gate:
    """Without what need not pass again."""
    return replace(gate, passed=tuple(one for one in gate.passed if one not in identities))


def _with(before: tuple[str, ...], passed: Iterable[Notification]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*before, *(one.identity for one in passed))))


def _firing(active: Iterable[AlertNotice]) -> set[str]:
    return {occurrence(alert) for alert in active if alert.ends_wall_seconds is None}


def _still_firing(held: Iterable[Held], active: Iterable[AlertNotice]) -> Iterator[Notification]:
    firing = _firing(active)
    for one in held:
        alerts = tuple(a for a in one.notification.alerts if occurrence(a) in firing)
        if alerts:
            yield replace(one.notification, alerts=alerts)


def _covered(one: Held, scraper: ScraperView, now: float) -> bool:
    """Whether Prometheus was still there long enough after it to have raised its own alert."""
    if scraper.seconds_since is None:
        return False
    return now - scraper.seconds_since >= one.since + COVER_SECONDS


def _ends(notifications: Iterable[Notification], told: Iterable[str]) -> Iterator[Notification]:
    known = set(told)
    for one in notifications:
        alerts = tuple(alert for alert in one.alerts if occurrence(alert) in known)
        if one.kind == "resolved" and alerts:
            yield replace(one, alerts=alerts)


def _told(before: Iterable[str], notifications: Iterable[Notification]) -> tuple[str, ...]:
    """With what was passed on as firing, without that whose end was; the newest last."""
    told = dict.fromkeys(before)
    for alert in (alert for one in notifications for alert in one.alerts):
        if alert.ends_wall_seconds is None:
            told[occurrence(alert)] = None
        else:
            told.pop(occurrence(alert), None)
    return tuple(told)[-MAX_TOLD:]
