"""Alerts, notifications and a clock for the tests of delivery."""

from agent.alerts.notice import AlertNotice, Notification, NotificationKind

WALL = 1_800_000_000.0


class TestClock:
    """A clock that goes when it is told to; both times go together until the wall's is set."""

    __test__ = False

    def __init__(self, wall: float = WALL) -> None:
        self.now = 1000.0
        self._wall_offset = wall - self.now

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self._wall_offset

    def set_wall(self, by_seconds: float) -> None:
        """Somebody sets the wall clock; the monotonic one goes on."""
        self._wall_offset += by_seconds


def alert(
    name: str = "RocksdbWriteStopped",
    *,
    db: str = "orders",
    severity: str = "critical",
    starts: float = WALL,
    ends: float | None = None,
) -> AlertNotice:
    """One alert about a database."""
    return AlertNotice(
        fingerprint=f"{name}-{db.encode(errors='surrogateescape').hex()}-{severity}",
        labels={"alertname": name, "severity": severity, "db": db, "device": "nvme0n1"},
        annotations={
            "summary": f"RocksDB has stopped writes to {db}",
            "description": "The condition holds.",
            "runbook_url": f"https://example.org/runbooks/{name}.md",
        },
        starts_wall_seconds=starts,
        ends_wall_seconds=ends,
    )


def notification(
    identity: str = "n1",
    *alerts: AlertNotice,
    kind: NotificationKind = "firing",
    wall: float = WALL,
) -> Notification:
    """One change, about the alert above where none is given."""
    return Notification(identity, kind, "device nvme0n1", alerts or (alert(),), wall)
