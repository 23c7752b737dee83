"""All of the host: which database meets which device, and what starts over when."""

from typing import Any

import pytest

from agent.alerts.book import decode_book, encode_book
from agent.alerts.rules import AlertingSettings, AlertSettings
from agent.config import FioSettings
from agent.findings import DatabaseFindings, DeviceFindings, Findings
from agent.host_state import HostSettings, HostState
from agent.learning.learning import Learning
from agent.learning.memory import LearnedState
from agent.probing.settings import probing_settings
from agent.readings import Known, Missing
from agent.snapshot import DatabaseSnapshot, Snapshot
from probes.samples import CgroupLimitsSample, PressureSample
from tests.unit.agent_samples import (
    DAY,
    MIB,
    WALL,
    a_device,
    a_fio,
    a_log,
    a_wal,
    database_findings,
    device_findings,
    disk_counters,
    diskstats,
    findings_of,
    known,
    limits_of,
    on_device,
    probe_state,
)
from tests.unit.alert_life import silence


def host(**changes: Any) -> HostState:
    learning = changes.pop("learning", None) or Learning(LearnedState())
    return HostState(version="0.1.0", settings=settings(**changes), learning=learning)


def settings(**changes: Any) -> HostSettings:
    defaults: dict[str, Any] = {
        "config_hash": "abc",
        "tick_seconds": 10.0,
        "phase_hold_seconds": 300.0,
        "capacity_max_age_seconds": DAY,
        "alerts": AlertSettings(),
        "alerting": AlertingSettings(),
        "probing": probing_settings(FioSettings()),
    }
    return HostSettings(**(defaults | changes))


def device_named(name: str, devnum: str, rate_mib: float = 100.0) -> DeviceFindings:
    fio = known(a_fio(-5.0, rate_mib * MIB), at=-5.0)
    return device_findings(name=name, sample=a_device(name, devnum), fio=fio)


def database_on(name: str, device: str, devnum: str, **changes: Any) -> DatabaseFindings:
    paths = (on_device("data", device, devnum),)
    return database_findings(name=name, paths=paths, log=known(a_log()), **changes)


def both_disks(at: float, sda: float, sdb: float) -> Known[Any]:
    return diskstats(at, disk_counters(sda), disk_counters(sdb, name="sdb", devnum="8:16"))


def two_of_each(at: float, **changes: Any) -> Findings:
    findings: dict[str, Any] = {
        "diskstats": both_disks(at, 1 * MIB * (at + 10), 2 * MIB * (at + 10)),
        "databases": (database_on("one", "sda", "8:0"), database_on("two", "sdb", "8:16")),
        "devices": (device_named("sda", "8:0"), device_named("sdb", "8:16", 500.0)),
    }
    return findings_of(at, **(findings | changes))


def by_name(snapshot: Snapshot) -> dict[str, DatabaseSnapshot]:
    return {database.name: database for database in snapshot.databases}


def test_each_database_is_judged_by_the_device_that_carries_it() -> None:
    """Traffic and capacity of sda for one, of sdb for two."""
    state = host()
    state.advance(two_of_each(0.0))
    snapshot = state.advance(two_of_each(10.0))
    databases = by_name(snapshot)
    assert databases["one"].foreign_bytes_per_second == Known(
        1 * MIB, "diskstats - log events", 0.0
    )
    for name, available in (("one", 99.0), ("two", 498.0)):
        found = databases[name].available_bytes_per_second
        assert isinstance(found, Known)
        assert found.value / MIB == pytest.approx(available)


def test_a_snapshot_tells_which_tick_it_is_and_of_what_agent() -> None:
    """The frame around the numbers."""
    state = host()
    state.advance(findings_of(0.0))
    pressure = PressureSample(10.0, 0.25, 0.1, 1.0, None, None, None)
    probes = (probe_state("wal", "one", True),)
    snapshot = state.advance(
        findings_of(
            10.0,
            pressure=Known(pressure, "pressure", 10.0),
            probes=probes,
            written_bytes={("sda", "fio"): 5},
            hidden_databases=3,
        )
    )
    assert (snapshot.tick, snapshot.at, snapshot.wall_seconds) == (2, 10.0, WALL + 10.0)
    assert (snapshot.version, snapshot.config_hash, snapshot.tick_seconds) == ("0.1.0", "abc", 10)
    assert snapshot.pressure_some_ratio == Known(0.25, "pressure", 10.0)
    assert snapshot.written_bytes == {("sda", "fio"): 5}
    assert snapshot.hidden_databases == 3
    assert snapshot.probes == probes


@pytest.mark.parametrize(
    ("answers", "ready"),
    [((), False), ((None,), False), ((True, None), False), ((True, False), True)],
)
def test_it_is_ready_when_every_probe_has_answered_or_said_why_not(
    answers: tuple[bool | None, ...], ready: bool
) -> None:
    """A failure is an answer; no probes at all are none."""
    probes = tuple(probe_state(f"p{i}", "db", answer) for i, answer in enumerate(answers))
    assert ready == host().advance(findings_of(0.0, probes=probes)).ready


def test_another_incarnation_starts_over_under_the_same_name() -> None:
    """A recreated database has no rate until two new readings, whatever the numbers say."""
    state = host()

    def tick(at: float, sequence: int, incarnation: int) -> DatabaseSnapshot:
        database = database_on(
            "one", "sda", "8:0", wal=a_wal(at, sequence), incarnation=incarnation
        )
        return state.advance(findings_of(at, databases=(database,))).databases[0]

    tick(0.0, 0, 1)
    assert tick(10.0, 1000, 1).observed_puts_per_second == Known(100.0, "wal", 10.0)
    assert isinstance(tick(20.0, 2000, 2).observed_puts_per_second, Missing)
    assert tick(30.0, 2500, 2).observed_puts_per_second == Known(50.0, "wal", 30.0)


def test_a_database_or_device_that_left_is_forgotten() -> None:
    """When it comes back, it has no history of before."""
    state = host()
    for at in (0.0, 10.0):
        state.advance(two_of_each(at))
    snapshot = state.advance(findings_of(20.0))
    assert (snapshot.databases, snapshot.devices) == ((), ())
    back = state.advance(two_of_each(30.0))
    for device in back.devices:
        assert isinstance(device.write_bytes_per_second, Missing)
        assert device.write_bytes_per_second.reason == "not_yet_measured"


def test_a_database_that_left_takes_its_alerts_with_it() -> None:
    """Forgotten on purpose is not "its data vanished"; a device's alert stays."""
    state = host()
    for at in (0.0, 10.0, 140.0):
        snapshot = state.advance(two_of_each(at))
    assert {s.database for s in snapshot.alerts if s.active} == {"one", "two"}
    left = state.advance(two_of_each(150.0, databases=(database_on("two", "sdb", "8:16"),)))
    assert {s.database for s in left.alerts if s.active} == {"two"}
    assert {s.device for s in left.alerts if not s.database} == {"sda", "sdb"}


def test_a_database_whose_device_is_not_watched_yet_waits_for_it() -> None:
    """The device is found a tick later than the database."""
    database = database_on("one", "sda", "8:0")
    snapshot = host().advance(findings_of(0.0, databases=(database,)))
    recommended = snapshot.databases[0].recommended
    assert isinstance(recommended, Missing)
    assert recommended.reason == "not_yet_measured"


def test_the_limits_of_a_databases_owner_count_on_the_devices_it_uses() -> None:
    """Any of its directories makes the device one of its own."""
    paths = (on_device("data", "sda", "8:0"), on_device("wal", "sdb", "8:16"))
    limited = database_findings(
        name="one",
        paths=paths,
        limits=known(limits_of(d8_0=50 * MIB, d8_16=60 * MIB, d8_32=1.0)),
    )
    devices = (
        device_named("sda", "8:0"),
        device_named("sdb", "8:16"),
        device_named("sdc", "8:32"),
    )
    snapshot = host().advance(findings_of(0.0, databases=(limited,), devices=devices))
    limits = {device.name: device.limit_bytes_per_second for device in snapshot.devices}
    assert limits == {"sda": 50 * MIB, "sdb": 60 * MIB, "sdc": None}


def test_a_cpu_quota_is_shown_with_its_database() -> None:
    """None without a quota, and without an answer."""
    quota = known(CgroupLimitsSample(0.0, {}, 1.5))
    databases = (database_findings(name="a", limits=quota), database_findings(name="b"))
    snapshot = host().advance(findings_of(0.0, databases=databases))
    assert [database.cpu_limit_cores for database in snapshot.databases] == [1.5, None]


def test_alerts_are_carried_from_tick_to_tick() -> None:
    """Data that is stale for its 120 s raises the alert, and not before."""
    state = host()
    active = []
    for at in range(0, 140, 10):
        snapshot = state.advance(two_of_each(float(at)))
        states = {(s.alert, s.database): s.active for s in snapshot.alerts}
        active.append(states["SmaxPredictionStale", "one"])
    assert active == [at >= 120 for at in range(0, 140, 10)]
    assert {s.device for s in snapshot.alerts if s.database == "one"} == {"sda"}


def test_an_alert_outlives_a_restart_also_of_a_database_that_is_found_again_late() -> None:
    """Five minutes are allowed for that; then it has left, and its alert is over."""
    first = host()
    for at in (0.0, 10.0, 140.0):
        first.advance(two_of_each(at))
    book = decode_book(encode_book(first.book))
    state = HostState(
        version="0.1.0", settings=settings(), learning=Learning(LearnedState()), book=book
    )

    def active(at: float, *databases: DatabaseFindings) -> dict[str, float | None]:
        alerts = state.advance(two_of_each(at, databases=databases)).alerts
        return {s.database: s.since_wall_seconds for s in alerts if s.active}

    one, two = database_on("one", "sda", "8:0"), database_on("two", "sdb", "8:16")
    assert active(200.0, one) == {"one": WALL + 140.0, "two": WALL + 140.0}
    assert active(499.0, one, two) == {"one": WALL + 140.0, "two": WALL + 140.0}
    assert active(510.0, two) == {"two": WALL + 140.0}


@pytest.mark.parametrize(
    ("reason", "hushed"), [("no_orders", False), ("orders_unusable", True), ("timeout", True)]
)
def test_orders_that_cannot_be_read_are_not_taken_back(reason: str, hushed: bool) -> None:
    """None is an answer; a failure is not."""
    state = host()
    order = silence(since=WALL, seconds=3600.0)
    state.advance(two_of_each(0.0, orders=Known((order,), "alert_orders", 0.0)))
    after = state.advance(two_of_each(10.0, orders=Missing(reason, "test")))
    assert bool(after.alerting.orders) == hushed


def test_what_delivery_has_settled_is_not_kept() -> None:
    """The rest waits in the book."""
    state = host(alerting=AlertingSettings(group_wait_seconds=0.0))
    for at in (0.0, 10.0, 140.0):
        told = state.advance(two_of_each(at)).alerting.notifications
    assert [one.group for one in told] == ["device sda", "device sdb"]
    state.settle(frozenset({told[0].identity}))
    assert state.book.outbox == told[1:]


def test_a_device_is_held_against_what_it_could_before_the_restart() -> None:
    """What was learned of it outlives the daemon."""
    first = Learning(LearnedState())
    fast = findings_of(0.0, devices=(device_named("sda", "8:0", 1000.0),))
    slow = findings_of(0.0, devices=(device_named("sda", "8:0", 600.0),))
    host(learning=first).advance(fast)
    after = host(learning=Learning(first.memory(WALL))).advance(slow)

    assert isinstance(after.devices[0].capacity_ratio, Known)
    assert after.devices[0].capacity_ratio.value == pytest.approx(0.6)
