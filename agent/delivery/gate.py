"""What of the alerts reaches the channels: by mode, and by whether Prometheus is there. Pure.

In mode ``fallback``:
- while Prometheus scrapes, a new notification is held until Prometheus has been seen
  ``COVER_SECONDS`` later: then it has raised its own alert, and ours is forgotten;
- when Prometheus is absent, everything held that still fires and everything new is passed on. What
  is over meanwhile is not: it would come after its end, and most of it Prometheus has told;
- when it is back, nothing new is. Whoever was told that an alert fires is still told of its end,
  and Alertmanager is sent those alerts on for the time of the handover, since Prometheus may need
  as long to raise its own.
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
class Gate:
    """``held`` wait for Prometheus, ``passed`` are identities of those that were passed on and are
    not settled: offered again after a restart, they pass again.

    ``told`` are the alerts that people were told of, and not yet of their end; ``handing_over``
    those of them at ``back_wall_seconds``, when Prometheus came back, which is None outside the
    time of a handover. Alerts are kept as ``occurrence``.
    """

    held: tuple[Notification, ...] = ()
    passed: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    pushing: bool = False
    handing_over: tuple[str, ...] = ()
    back_wall_seconds: float | None = None


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
    wall_seconds: float,
) -> tuple[Gate, Passed]:
    """The gate after this tick, and what passes it."""
    if mode == "off":
        return Gate(), Passed((), ())
    if mode == "always" or scraper.absent:
        passed = (*_still_firing(gate.held, active), *notifications)
        after = Gate(
            passed=_with(gate.passed, passed),
            told=_told(gate.told, passed, active),
            pushing=True,
        )
        return after, Passed(passed, active)
    if gate.pushing:
        gate = replace(gate, handing_over=gate.told, back_wall_seconds=wall_seconds)
    back = gate.back_wall_seconds
    if back is not None and wall_seconds - back >= handover_seconds:
        gate = replace(gate, handing_over=(), back_wall_seconds=None)
    again = tuple(one for one in notifications if one.identity in gate.passed)
    new = tuple(one for one in notifications if one.identity not in gate.passed)
    ends = tuple(_ends(new, gate.told))
    ended = {one.identity for one in ends}
    held = tuple(
        one
        for one in (*gate.held, *new)
        if one.identity not in ended and not _covered(one, scraper, wall_seconds)
    )
    after = replace(
        gate,
        held=held[-MAX_HELD:],
        passed=_with(gate.passed, ends),
        told=_told(gate.told, ends, ()),
        pushing=False,
    )
    known = set(gate.handing_over)
    handed_over = tuple(alert for alert in active if occurrence(alert) in known)
    return after, Passed((*again, *ends), handed_over)


def settled(gate: Gate, identities: Set[str]) -> Gate:
    """Without what need not pass again."""
    return replace(gate, passed=tuple(one for one in gate.passed if one not in identities))


def _with(before: tuple[str, ...], passed: Iterable[Notification]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*before, *(one.identity for one in passed))))


def _still_firing(
    held: Iterable[Notification], active: Iterable[AlertNotice]
) -> Iterator[Notification]:
    firing = {occurrence(alert) for alert in active if alert.ends_wall_seconds is None}
    for one in held:
        alerts = tuple(alert for alert in one.alerts if occurrence(alert) in firing)
        if alerts:
            yield replace(one, alerts=alerts)


def _covered(one: Notification, scraper: ScraperView, wall_seconds: float) -> bool:
    """Whether Prometheus was still there long enough after it to have raised its own alert."""
    if scraper.seconds_since is None:
        return False
    return wall_seconds - scraper.seconds_since >= one.wall_seconds + COVER_SECONDS


def _ends(notifications: Iterable[Notification], told: Iterable[str]) -> Iterator[Notification]:
    known = set(told)
    for one in notifications:
        alerts = tuple(alert for alert in one.alerts if occurrence(alert) in known)
        if one.kind == "resolved" and alerts:
            yield replace(one, alerts=alerts)


def _told(
    before: Iterable[str], notifications: Iterable[Notification], active: Iterable[AlertNotice]
) -> tuple[str, ...]:
    """With what fires and was passed on, without that whose end was; the newest last."""
    told = dict.fromkeys(before)
    firing = [alert for alert in active if alert.ends_wall_seconds is None]
    for alert in (*firing, *(alert for one in notifications for alert in one.alerts)):
        if alert.ends_wall_seconds is None:
            told[occurrence(alert)] = None
        else:
            told.pop(occurrence(alert), None)
    return tuple(told)[-MAX_TOLD:]
