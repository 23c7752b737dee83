"""What to tell the service manager (sd_notify(3)), and when: pure.

A datagram of ours is told again at the next look until it was sent: ``next_notice`` gives what the
manager knows once it was, and the caller keeps that only then.
"""

import math
from dataclasses import dataclass
from typing import Final

from agent.readings import Known
from agent.reload_plan import ConfigLoad
from agent.snapshot import DatabaseSnapshot, Snapshot

STATUS_SECONDS: Final = 60.0
"""A status is told at most this often: the manager logs nothing of it, but wakes up for each."""

FED_PER_PERIOD: Final = 2.0
"""How often the watchdog is fed in its period, as sd_watchdog_enabled(3) advises."""

MAX_STATUS_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the daemon, at ``at`` (monotonic seconds).

    ``serving``: the listener answers. ``ticking``: the ticks follow each other as they should.
    """

    at: float
    snapshot: Snapshot | None
    config_load: ConfigLoad | None
    serving: bool
    ticking: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What the manager knows. ``reloading``: the last reading of the configuration before one that
    it waits for, None while it waits for none."""

    ready: bool = False
    reloading: ConfigLoad | None = None
    status: str = ""
    status_at: float = -math.inf
    fed_at: float = -math.inf


def next_notice(
    told: Told, seen: Seen, watchdog_seconds: float | None
) -> tuple[tuple[str, ...], Told]:
    """The assignments to send now, none most of the time, and what the manager knows then.

    Nothing before the daemon is ready. The watchdog is fed only while a reader of /metrics gets
    fresh numbers: ``serving`` and ``ticking``.
    """
    if seen.snapshot is None or not (told.ready or seen.serving):
        return (), told
    ready, reloading = not told.ready, told.reloading
    # Every reading, a failed one included, leaves a ConfigLoad of its own.
    if reloading is not None and seen.config_load is not reloading:
        ready, reloading = True, None
    lines = ["READY=1"] if ready else []
    status, status_at, fed_at = told.status, told.status_at, told.fed_at
    if ready or seen.at - status_at >= STATUS_SECONDS:
        text = status_text(seen.snapshot, seen.config_load)
        if text != status:
            lines.append(f"STATUS={text}")
            status, status_at = text, seen.at
    due = watchdog_seconds is not None and (
        ready or seen.at - fed_at >= watchdog_seconds / FED_PER_PERIOD
    )
    if due and seen.serving and seen.ticking:
        lines.append("WATCHDOG=1")
        fed_at = seen.at
    return tuple(lines), Told(told.ready or ready, reloading, status, status_at, fed_at)


def reload_notice(at: float) -> tuple[str, ...]:
    """The assignments that say that the configuration is about to be read anew.

    The time lets a manager of Type=notify-reload tell this reload from an earlier one.
    """
    return ("RELOADING=1", f"MONOTONIC_USEC={int(at * 1e6)}")


def start_notice(longest_seconds: float) -> tuple[str, ...]:
    """The assignments that ask for so much time until the daemon is ready."""
    return (
        f"EXTEND_TIMEOUT_USEC={int(longest_seconds * 1e6)}",
        "STATUS=starting: the first tick is under way",
    )


def status_text(snapshot: Snapshot, config_load: ConfigLoad | None) -> str:
    """One short line for ``systemctl status``: what is watched, the database closest to its limit,
    and how many alerts there are."""
    parts = []
    if config_load is not None and not config_load.successful:
        parts.append("the configuration on disk is refused, the former one in force")
    count = len(snapshot.databases)
    if not count:
        parts.append("no database is watched")
        if snapshot.hidden_databases:
            parts.append(f"{snapshot.hidden_databases} of other users cannot be looked into")
    else:
        parts.append("1 database" if count == 1 else f"{count} databases")
        parts += _worst(snapshot.databases)
    alerts = sum(alert.active for alert in snapshot.alerts)
    if alerts:
        parts.append("1 alert" if alerts == 1 else f"{alerts} alerts")
    # A database's path may hold any character, and a line of its own would be an assignment.
    text = "".join(c if c.isprintable() else "?" for c in ", ".join(parts))
    return text if len(text) <= MAX_STATUS_CHARACTERS else text[: MAX_STATUS_CHARACTERS - 3] + "..."


def _worst(databases: tuple[DatabaseSnapshot, ...]) -> list[str]:
    known = [
        (database.headroom_ratio.value, database)
        for database in databases
        if isinstance(database.headroom_ratio, Known)
    ]
    if not known:
        return ["headroom not known yet"]
    headroom, worst = min(known, key=lambda pair: pair[0])
    of = f" ({worst.name})" if len(databases) > 1 else ""
    parts = [f"{'worst ' if of else ''}headroom {100 * headroom:.0f} %{of}"]
    if worst.bottleneck is not None:
        parts.append(f"limit {worst.bottleneck.replace('_', ' ')}")
    return parts
