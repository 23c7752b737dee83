"""What receivers are sent: the bodies of Alertmanager's API and of webhooks, and text. Pure."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from agent.alerts.notice import AlertNotice, Notification
from agent.delivery.settings import DeliverySettings
from agent.readings import printable

NEVER: Final = "0001-01-01T00:00:00Z"
"""How Go spells "no time": the endsAt of an alert that fires, in Alertmanager's webhooks."""

RESEND_SECONDS: Final = 60.0
"""How often Alertmanager is sent what has not changed, as Prometheus does (its resendDelay)."""

VALID_RESENDS: Final = 4
"""An alert that is not sent again for so many intervals ends by itself: as long as Prometheus's."""

JOB: Final = "smaxd"
"""The label ``job``, as in the shipped scrape configuration."""

OWN_LABEL: Final = {"source": "smaxd"}
"""Tells the agent's own alerts from Prometheus's, for Alertmanager's inhibition rules. Where all
labels are Prometheus's and this one is empty, both are the same alert to Alertmanager."""

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what a secret begins with


@dataclass(frozen=True, slots=True)
class Origin:
    """Who sends: labels that every alert gets, and where a link on it leads."""

    labels: Mapping[str, str]
    url: str


def origin_of(settings: DeliverySettings, instance: str) -> Origin:
    """The labels of all alerts of this agent, and where they link to."""
    labels = {"job": JOB, "instance": instance, **OWN_LABEL, **settings.external_labels}
    return Origin(labels, settings.generator_url or f"http://{labels['instance']}/")


def instance_of(host: str, port: int, hostname: str) -> str:
    """HOST:PORT by which a scraper on another host probably knows the listener at ``host``."""
    if host.startswith("127.") or host in {"localhost", "::1", "0.0.0.0", "::", ""}:  # noqa: S104
        host = hostname
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def timestamp(wall_seconds: float) -> str:
    """RFC 3339 with milliseconds."""
    text = datetime.fromtimestamp(wall_seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def alertmanager_body(active: Iterable[AlertNotice], origin: Origin, wall_seconds: float) -> bytes:
    """What ``POST /api/v2/alerts`` takes.

    ``endsAt`` is always set: an agent that dies leaves no alert that fires for ever.
    """
    return msgspec.json.encode(
        [
            {
                "labels": _labels(alert, origin),
                "annotations": _annotations(alert),
                **_period(alert, wall_seconds),
                "generatorURL": origin.url,
            }
            for alert in active
        ]
    )


def _period(alert: AlertNotice, wall_seconds: float) -> dict[str, str]:
    """When it began and ends, neither of them later than now: Alertmanager refuses an alert that
    ends before it began and takes one whose end is to come as firing, as both would look where the
    wall clock was set back meanwhile."""
    starts = min(alert.starts_wall_seconds, wall_seconds)
    if alert.ends_wall_seconds is None:
        ends = wall_seconds + VALID_RESENDS * RESEND_SECONDS
    else:
        ends = max(starts, min(alert.ends_wall_seconds, wall_seconds))
    return {"startsAt": timestamp(starts), "endsAt": timestamp(ends)}


def webhook_body(notification: Notification, channel: str, origin: Origin) -> bytes:
    """The shape of Alertmanager's own webhooks, version 4, with ``kind`` besides."""
    alerts = [
        {
            "status": _status(alert),
            "labels": _labels(alert, origin),
            "annotations": _annotations(alert),
            "startsAt": timestamp(alert.starts_wall_seconds),
            "endsAt": NEVER
            if alert.ends_wall_seconds is None
            else timestamp(alert.ends_wall_seconds),
            "generatorURL": origin.url,
            "fingerprint": alert.fingerprint,
        }
        for alert in notification.alerts
    ]
    return msgspec.json.encode(
        {
            "version": "4",
            "groupKey": printable(notification.group),
            "truncatedAlerts": 0,
            "status": _overall(notification),
            "receiver": channel,
            "groupLabels": {},
            "commonLabels": _common([_labels(alert, origin) for alert in notification.alerts]),
            "commonAnnotations": _common([_annotations(alert) for alert in notification.alerts]),
            "externalURL": origin.url,
            "alerts": alerts,
            "kind": notification.kind,
        }
    )


def signing_key(secret: str) -> bytes:
    """The key in ``whsec_`` and base64; ValueError for anything else, without showing it."""
    try:
        if not secret.startswith(SECRET_PREFIX):
            raise ValueError
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < 24:
        raise ValueError(
            "must hold whsec_ and at least 24 bytes in base64; make one with: "
            'echo "whsec_$(openssl rand -base64 32)"'
        )
    return key


def webhook_headers(
    identity: str, body: bytes, key: bytes | None, wall_seconds: float
) -> dict[str, str]:
    """Standard Webhooks' headers: what is sent again has the same ``webhook-id``.

    The signature is base64(HMAC-SHA256(key, "ID.TIMESTAMP.BODY")).
    """
    sent_at = str(int(wall_seconds))
    headers = {"webhook-id": identity, "webhook-timestamp": sent_at}
    if key is not None:
        signed = hmac.digest(key, f"{identity}.{sent_at}.".encode() + body, hashlib.sha256)
        headers["webhook-signature"] = "v1," + base64.b64encode(signed).decode()
    return headers


def title(notification: Notification, origin: Origin) -> str:
    """One line for a phone's screen."""
    names = sorted({alert.labels.get("alertname", "alert") for alert in notification.alerts})
    where = origin.labels.get("instance", "")
    count = len(notification.alerts)
    mark = "RESOLVED" if _overall(notification) == "resolved" else f"FIRING:{count}"
    if notification.kind == "escalated":
        mark += " ESCALATED"
    return f"[{mark}] {', '.join(names)}" + (f" on {where}" if where else "")


def text(notification: Notification, origin: Origin) -> str:
    """A paragraph for each alert."""
    paragraphs = []
    for alert in notification.alerts:
        labels, annotations = _labels(alert, origin), _annotations(alert)
        about = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
        lines = [
            f"{_status(alert).upper()} since {timestamp(alert.starts_wall_seconds)}",
            annotations.get("summary", ""),
            annotations.get("description", ""),
            about,
            annotations.get("runbook_url", ""),
        ]
        paragraphs.append("\n".join(line for line in lines if line))
    return "\n\n".join(paragraphs)


def severity(notification: Notification) -> str:
    """In apprise's words: success, warning or failure."""
    if _overall(notification) == "resolved":
        return "success"
    critical = any(alert.labels.get("severity") == "critical" for alert in notification.alerts)
    return "failure" if critical else "warning"


def _status(alert: AlertNotice) -> str:
    return "firing" if alert.ends_wall_seconds is None else "resolved"


def _overall(notification: Notification) -> str:
    firing = any(alert.ends_wall_seconds is None for alert in notification.alerts)
    return "firing" if firing else "resolved"


def _labels(alert: AlertNotice, origin: Origin) -> dict[str, str]:
    """The alert's own win, as in Prometheus; an empty label is no label."""
    return _text(
        {name: value for name, value in {**origin.labels, **alert.labels}.items() if value}
    )


def _annotations(alert: AlertNotice) -> dict[str, str]:
    return _text(alert.annotations)


def _text(mapping: Mapping[str, str]) -> dict[str, str]:
    """With what is no valid UTF-8, such as the name of a file, escaped: JSON cannot hold it."""
    return {name: printable(value) for name, value in mapping.items()}


def _common(mappings: list[dict[str, str]]) -> dict[str, str]:
    first, *others = mappings or [{}]
    return {
        name: value
        for name, value in first.items()
        if all(other.get(name) == value for other in others)
    }
