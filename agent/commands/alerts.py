"""``smaxd alerts``, ``ack``, ``silence`` and ``unsilence``."""

import difflib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import click

from agent.alerts.orders import MAX_COMMENT, Order
from agent.alerts.orders_file import FILE_NAME, TooManyOrders, change_orders
from agent.alerts.rules import ALERT_NAME
from agent.atomic_file import UnusableFile
from agent.client import NoDaemon, fetch_status
from agent.commands.accounting import account_for_file
from agent.probing.pause import InvalidDuration, parse_duration
from agent.status_documents import AlertDocument, StatusDocument

SHORTEST_FINGERPRINT = 4
"""So many digits of a fingerprint name an alert, where no other begins with them."""


class _Refused(Exception):
    """It cannot be done; the message says why, ``code`` how the command ends."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def show_alerts(url: str, *, as_json: bool, everything: bool) -> int:
    """List what fires or is about to, with silences and acknowledgements; 1 without a daemon."""
    try:
        status, raw = fetch_status(url)
    except NoDaemon as error:
        return _fail(str(error))
    alerts = [a for a in status.alerts if everything or a.state != "inactive"]
    if as_json:
        kept = [a for a in raw["alerts"] if everything or a["state"] != "inactive"]
        orders = raw.get("alert_orders", [])
        click.echo(json.dumps({"alerts": kept, "alert_orders": orders}, indent=2))
        return 0
    for line in _alert_lines(alerts, status):
        click.echo(line)
    for line in _order_lines(status):
        click.echo(line)
    return 0


def acknowledge(url: str, what: str, database: str | None, duration: str, comment: str) -> int:
    """Acknowledge the firing alerts that ``what`` names; 1 when there is none, 2 for bad input."""
    try:
        seconds = _seconds(duration)
        status = _status(url)
        alerts = _firing(status, what, database)
        orders = [
            replace(
                _order("acknowledgement", seconds, comment),
                alert=alert.alert,
                database=alert.database or None,
                device=alert.device or None,
                fingerprint=alert.fingerprint,
                occurrence=alert.occurrence,
            )
            for alert in alerts
        ]
        acknowledged = {order.fingerprint for order in orders}
        _change(
            _directory(status),
            lambda before: (
                # A later acknowledgement takes the place of an earlier one.
                *(
                    order
                    for order in before
                    if order.kind == "silence" or order.fingerprint not in acknowledged
                ),
                *orders,
            ),
        )
    except _Refused as refused:
        return _fail(str(refused), refused.code)
    for alert in alerts:
        click.echo(
            f"acknowledged {alert.alert} ({alert.severity}) of {_subject(alert)} until "
            f"{_local(time.time() + seconds)}: it is not repeated; its end will be told"
        )
    return 0


def silence(
    url: str,
    state: str | None,
    words: tuple[str, ...],
    database: str | None,
    device: str | None,
    comment: str,
) -> int:
    """Silence what ``words`` ([ALERT] DURATION), database and device name; 1 or 2 as ``ack``."""
    try:
        if not 1 <= len(words) <= 2:
            raise _Refused("say how long: smaxd silence [ALERT] DURATION, such as 2h", 2)
        alert = _known_alert(words[0]) if len(words) == 2 else None
        if alert is None and words[0] in ALERT_NAME.values():
            raise _Refused(f"say how long: smaxd silence {words[0]} DURATION, such as 2h", 2)
        seconds = _seconds(words[-1])
        if state is not None:
            directory = _named_directory(state)
        else:
            status = _status(url)
            _check_names(status, database, device)
            directory = _directory(status)
        order = replace(
            _order("silence", seconds, comment), alert=alert, database=database, device=device
        )
        _change(directory, lambda before: (*before, order))
    except _Refused as refused:
        return _fail(str(refused), refused.code)
    click.echo(
        f"silence {order.id}: nothing is told of {_scope(alert, database, device)} until "
        f"{_local(order.until_wall_seconds)}; 'smaxd unsilence {order.id}' ends this"
    )
    return 0


def unsilence(url: str, state: str | None, id: str | None, *, everything: bool) -> int:
    """End one silence or acknowledgement, or all silences; 1 when there is none, 2: bad input."""
    ended: list[Order] = []

    def without(before: tuple[Order, ...]) -> tuple[Order, ...]:
        ended[:] = [
            order for order in before if order.id == id or (everything and order.kind == "silence")
        ]
        if not everything and not ended:
            known = ", ".join(order.id for order in before) or "none"
            raise _Refused(f"there is no silence or acknowledgement {id!r}; known: {known}")
        return tuple(order for order in before if order not in ended)

    try:
        if everything == (id is not None):
            raise _Refused("name one ID, or --all; 'smaxd alerts' lists them", 2)
        directory = _directory(_status(url)) if state is None else _named_directory(state)
        _change(directory, without)
    except _Refused as refused:
        return _fail(str(refused), refused.code)
    for order in ended:
        click.echo(f"ended {order.kind} {order.id}")
    if not ended:
        click.echo("nothing was silenced")
    return 0


def _alert_lines(alerts: Sequence[AlertDocument], status: StatusDocument) -> Iterator[str]:
    order = {"firing": 0, "pending": 1, "resolved": 2}
    if not alerts:
        yield "no alert fires"
    for alert in sorted(
        alerts, key=lambda a: (order.get(a.state, 3), a.severity, a.alert, a.database, a.device)
    ):
        words = [alert.state.upper(), alert.severity, alert.alert, _subject(alert)]
        if alert.since is not None:
            words.append(f"since {_local(alert.since)}")
        if alert.value is not None:
            words.append(f"value {alert.value:.4g}")
        if alert.data_missing:
            words.append("data missing")
        if alert.acknowledged_until is not None:
            words.append(f"acknowledged until {_local(alert.acknowledged_until)}")
        if alert.silenced_until is not None:
            words.append(f"silenced until {_local(alert.silenced_until)}")
        yield _printable("  ".join(words))
        if alert.state != "inactive" and alert.summary:
            yield _printable(f"  {alert.fingerprint}  {alert.summary}")
    if status.stalled:
        yield f"the agent has not ticked for {status.snapshot_age_seconds:.0f} s"


def _order_lines(status: StatusDocument) -> Iterator[str]:
    for order in status.alert_orders:
        comment = f": {order.comment}" if order.comment else ""
        scope = _scope(order.alert, order.database, order.device)
        yield _printable(
            f"{order.kind} {order.id} of {scope} until {_local(order.until)}, "
            f"by uid {order.uid}{comment}"
        )


def _firing(status: StatusDocument, what: str, database: str | None) -> list[AlertDocument]:
    """The alerts that fire, by name or the beginning of a fingerprint."""
    firing = [alert for alert in status.alerts if alert.state == "firing"]
    if what in ALERT_NAME.values():
        found = [alert for alert in firing if alert.alert == what]
    else:
        wanted = what.lower()
        if len(wanted) < SHORTEST_FINGERPRINT or not set(wanted) <= set("0123456789abcdef"):
            _known_alert(what)  # says what can be meant
        found = [alert for alert in firing if alert.fingerprint.startswith(wanted)]
        if len(found) > 1:
            raise _Refused(f"{what!r} begins {len(found)} fingerprints; give more digits", 2)
    if database is not None:
        found = [alert for alert in found if alert.database == database]
    if not found:
        which = what if database is None else f"{what} of {database}"
        names = ", ".join(f"{a.alert} of {_subject(a)}" for a in firing) or "none"
        raise _Refused(
            f"{which} does not fire, so there is nothing to acknowledge; firing: {names}"
        )
    return found


def _known_alert(name: str) -> str:
    names = sorted(set(ALERT_NAME.values()))
    if name in names:
        return name
    by_case = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), by_case, n=1)
    hint = f"did you mean {by_case[near[0]]}?" if near else f"known: {', '.join(names)}"
    raise _Refused(f"{name!r} is no alert; {hint}", 2)


def _check_names(status: StatusDocument, database: str | None, device: str | None) -> None:
    """A silence of what is not there would be a mistake that shows in the worst moment."""
    for what, name, known in (
        ("database", database, [entry.name for entry in status.databases]),
        ("device", device, [entry.name for entry in status.devices]),
    ):
        if name is not None and name not in known:
            raise _Refused(
                f"no {what} {name!r} is watched; known: {', '.join(known) or 'none'}; name the "
                "state directory with --state to silence it beforehand",
                2,
            )


def _order(kind: Literal["acknowledgement", "silence"], seconds: float, comment: str) -> Order:
    now = time.time()
    comment = _printable(" ".join(comment.split()))
    if len(comment) > MAX_COMMENT:
        raise _Refused(f"the comment is longer than {MAX_COMMENT} characters", 2)
    return Order(
        id=secrets.token_hex(4),
        kind=kind,
        since_wall_seconds=now,
        until_wall_seconds=now + seconds,
        comment=comment,
        uid=os.getuid(),
    )


def _seconds(duration: str) -> float:
    try:
        return parse_duration(duration)
    except InvalidDuration as error:
        raise _Refused(str(error), 2) from error


def _status(url: str) -> StatusDocument:
    try:
        return fetch_status(url)[0]
    except NoDaemon as error:
        raise _Refused(str(error)) from error


def _directory(status: StatusDocument) -> str:
    if status.state_directory is None:
        raise _Refused(
            "the daemon keeps no state on disk, so that it cannot be told; run it with --state"
        )
    return status.state_directory


def _named_directory(state: str) -> str:
    if not os.path.isdir(state):
        raise _Refused(
            f"{state} is no directory; name the daemon's state directory with --state", 2
        )
    return os.path.abspath(state)


def _change(directory: str, change: Callable[[tuple[Order, ...]], tuple[Order, ...]]) -> None:
    try:
        change_orders(directory, change, time.time())
        account_for_file(os.path.join(directory, FILE_NAME), os.environ, state=directory)
    except OSError as error:
        raise _Refused(
            f"{directory}: {error.strerror}; do this as the daemon's user or as root"
        ) from error
    except (UnusableFile, TooManyOrders) as error:
        raise _Refused(f"{directory}: {error}") from error


def _scope(alert: str | None, database: str | None, device: str | None) -> str:
    words = [alert or "any alert"]
    words += [] if database is None else [f"of database {database}"]
    words += [] if device is None else [f"on device {device}"]
    return " ".join(words)


def _subject(alert: AlertDocument) -> str:
    if alert.database:
        return f"{alert.database} ({alert.device})" if alert.device else alert.database
    return alert.device or "the host"


def _local(wall_seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall_seconds))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _fail(message: str, code: int = 1) -> int:
    click.echo(f"smaxd: {message}", err=True)
    return code
