"""How an alert is told: its fingerprint, its labels, its sentences, its group. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from agent.alerts.book import Followed
from agent.alerts.notice import AlertNotice, Notification, NotificationKind
from agent.alerts.rules import RULE_OF, AlertSettings, RuleSettings

RUNBOOKS: Final = "https://github.com/smaxd/smaxd/blob/main/docs/runbooks"

HOST_GROUP: Final = "host"
"""The group of alerts about neither a device nor a database."""

_WHAT: Final = {
    "headroom_low_warning": "the share of S_max that is left, by the lower end of its interval",
    "headroom_low_critical": "the share of S_max that is left, by the lower end of its interval",
    "s_max_dropped": "S_max as a share of its median of the last hour",
    "device_bandwidth_declined": "the device's write capacity as a share of the best known of it",
    "stall_ahead": "the seconds until the next write stall, by the forecast",
    "compaction_debt_growing": "the seconds until the compaction debt is cleared",
    "write_delayed": "whether RocksDB delays writes",
    "write_stopped": "whether RocksDB has stopped writes",
    "background_error": "whether an error has stopped all writes for good",
    "model_miscalibrated": "the share of saturation episodes inside the published interval",
    "probe_failing": "whether a probe fails",
    "data_stale": "whether there is no current S_max or put rate",
}
"""The number that each rule watches, as the beginning of a sentence."""


def fingerprint_of(alert: str, severity: str, database: str, device: str) -> str:
    """Sixteen hexadecimal digits, the same for the same alert on every run of the agent.

    Of a database's alert the device is no part: it may become known, or change, while it fires.
    """
    parts = (alert, severity, database, "" if database else device)
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:16]


def group_of(database: str, device: str) -> str:
    """What is told together: a sick disk with four databases is one thing that is wrong."""
    if device:
        return f"device {device}"
    return f"database {database}" if database else HOST_GROUP


def notice_of(followed: Followed, rules: Mapping[str, RuleSettings]) -> AlertNotice:
    """The alert as receivers are told of it; labels that say nothing are left out."""
    labels = {
        "alertname": followed.alert,
        "severity": followed.severity,
        "db": followed.database,
        "device": followed.device,
    }
    rule = RULE_OF[followed.alert, followed.severity]
    description = "" if followed.gone else _description(rule, followed.value, rules[rule])
    if followed.gone:
        description = "Its subject is not watched any more, so its end was not seen."
    return AlertNotice(
        fingerprint=followed.fingerprint,
        labels={name: value for name, value in labels.items() if value},
        annotations={
            "summary": followed.summary,
            "description": description,
            "runbook_url": f"{RUNBOOKS}/{followed.alert}.md",
        },
        starts_wall_seconds=followed.starts_wall_seconds,
        ends_wall_seconds=followed.ends_wall_seconds,
    )


def _description(rule: str, value: float | None, settings: RuleSettings) -> str:
    beyond = "at or below" if rule in AlertSettings.WORSE_IS_LOWER else "at or above"
    seen = "not known now" if value is None else f"{value:.4g} when last seen"
    return (
        f"Watched is {_WHAT[rule]}: {seen}. The alert begins {beyond} {settings.threshold:g} for "
        f"{settings.for_seconds:g} s and ends at {settings.clear:g}."
    )


def notification_of(
    kind: NotificationKind,
    group: str,
    told: Iterable[Followed],
    rules: Mapping[str, RuleSettings],
    epoch_wall_seconds: float,
    wall_seconds: float,
) -> Notification:
    """One notification of ``told``, alerts of one group as they were before it was made."""
    alerts = sorted(told, key=lambda followed: followed.fingerprint)
    # Nothing of the time at which it is computed: after a crash that is another one.
    parts = [f"{epoch_wall_seconds!r}", kind, group]
    parts += [f"{a.fingerprint} {a.occurrence} {a.reminders}" for a in alerts]
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape"))
    return Notification(
        identity=digest.hexdigest()[:32],
        kind=kind,
        group=group,
        alerts=tuple(notice_of(followed, rules) for followed in alerts),
        wall_seconds=wall_seconds,
    )
