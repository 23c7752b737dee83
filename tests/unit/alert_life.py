"""A host's alerts through simulated time: what the tests of the lifecycle drive."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agent.alerts.book import AlertBook, decode_book, encode_book
from agent.alerts.engine import key_of
from agent.alerts.lifecycle import Alerting, follow
from agent.alerts.notice import AlertNotice, Notification
from agent.alerts.orders import Order
from agent.alerts.rules import AlertingSettings, AlertSettings, Observation, RuleSettings
from agent.alerts.standing import Standing

WALL = 1_800_000_000.0
TICK = 10.0

RULES: Mapping[str, RuleSettings] = {
    **AlertSettings().by_name(),
    "write_delayed": RuleSettings(1.0, 0.0, 0.0),
    "write_stopped": RuleSettings(1.0, 0.0, 0.0),
    "device_bandwidth_declined": RuleSettings(0.8, 0.9, 0.0),
    "data_stale": RuleSettings(1.0, 0.0, 120.0),
}
"""The defaults, but for those that the tests make fire: these do at once, the last one later."""

SETTINGS = AlertingSettings(
    group_wait_seconds=30.0, cooldown_seconds=300.0, repeat_seconds=3600.0, escalate_after_repeats=3
)


def delayed(value: float | None = 1.0, database: str = "orders", device: str = "") -> Observation:
    """A warning about a database."""
    return Observation("write_delayed", database, device, value, f"delays {database}")


def stopped(value: float | None = 1.0, database: str = "orders", device: str = "") -> Observation:
    """A critical alert about a database."""
    return Observation("write_stopped", database, device, value, f"stops {database}")


def sick(value: float | None = 0.5, device: str = "sda") -> Observation:
    """A warning about a device."""
    return Observation("device_bandwidth_declined", "", device, value, f"{device} is slow")


def stale(value: float | None = 1.0, database: str = "orders") -> Observation:
    """A warning about a database, two minutes after it began."""
    return Observation("data_stale", database, "", value, f"no data of {database}")


def silence(
    id: str = "s1",
    alert: str | None = None,
    database: str | None = None,
    device: str | None = None,
    *,
    since: float = WALL,
    seconds: float = 600.0,
) -> Order:
    """From ``since`` on for ``seconds``."""
    return Order(
        id=id,
        kind="silence",
        alert=alert,
        database=database,
        device=device,
        since_wall_seconds=since,
        until_wall_seconds=since + seconds,
        uid=0,
    )


@dataclass
class Host:
    """Ticks; remembers what was told. ``restart`` writes the book and reads it again."""

    settings: AlertingSettings = SETTINGS
    settles: bool = True
    now: float = 5000.0
    wall: float = WALL
    book: AlertBook = field(default_factory=AlertBook)
    orders: tuple[Order, ...] | None = ()
    told: list[Notification] = field(default_factory=list)
    last: Alerting = field(default_factory=Alerting)

    def tick(self, *observed: Observation, seconds: float = TICK) -> tuple[Notification, ...]:
        """One tick later; what it told."""
        self.now += seconds
        self.wall += seconds
        self.book, self.last = follow(
            RULES, self.settings, self.book, observed, self.orders, self.now, self.wall
        )
        if self.settles:
            identities = frozenset(told.identity for told in self.last.notifications)
            self.book = self.book.settled(identities)
        self.told += self.last.notifications
        return self.last.notifications

    def ticks(self, seconds: float, *observed: Observation) -> list[Notification]:
        """So long the same; all that was told."""
        return [one for _ in range(round(seconds / TICK)) for one in self.tick(*observed)]

    def restart(self, off_seconds: float = 0.0, monotonic: float | None = None) -> None:
        """Another run of the agent, its clock anywhere."""
        self.book = decode_book(encode_book(self.book))
        self.wall += off_seconds
        self.now = self.now + off_seconds if monotonic is None else monotonic

    def standing(self, observation: Observation) -> Standing:
        """How this observation's alert stands."""
        o = observation
        return self.last.standings[key_of(o.alert, o.severity, o.database, o.device)]

    def acknowledge(self, observation: Observation, seconds: float = 86400.0) -> None:
        """As ``smaxd ack`` does it."""
        found = self.standing(observation)
        order = Order(
            id=f"a{len(self.orders or ())}",
            kind="acknowledgement",
            alert=observation.alert,
            fingerprint=found.fingerprint,
            occurrence=found.occurrence,
            since_wall_seconds=self.wall,
            until_wall_seconds=self.wall + seconds,
            uid=0,
        )
        self.orders = (*(self.orders or ()), order)


def shown(notifications: Iterable[Notification]) -> list[tuple[str, list[str]]]:
    """Kind and alerts of each, for people."""
    return [
        (
            one.kind,
            sorted(
                f"{a.labels['alertname']} {a.labels.get('db', a.labels.get('device', 'host'))}"
                for a in one.alerts
            ),
        )
        for one in notifications
    ]


def names(notices: Iterable[AlertNotice]) -> list[str]:
    """The alerts' names."""
    return sorted(notice.labels["alertname"] for notice in notices)
