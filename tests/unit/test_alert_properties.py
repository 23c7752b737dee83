"""What holds of the alerts' lifecycle whatever happens, and in whatever order it is told."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.alerts.book import PENDING_GAP_SECONDS, decode_book, encode_book
from agent.alerts.notice import Notification
from agent.alerts.orders import Order
from agent.alerts.rules import AlertingSettings, Observation
from agent.versioned import DamagedState
from tests.unit.alert_life import RULES, WALL, Host, delayed, sick, silence, stale, stopped


def slow(value: float | None) -> Observation:
    """The device itself, sick at 1 and well at 0."""
    return sick(None if value is None else 1.0 - value / 2)


SUBJECTS: tuple[Callable[[float | None], Observation], ...] = (
    lambda value: delayed(value, "a", "sda"),
    lambda value: stopped(value, "a", "sda"),
    lambda value: delayed(value, "b", "sda"),
    lambda value: stopped(value, "c"),
    slow,
)

SILENCES = (None, "everything", "database a", "device sda", "stops")

GONE = "not observed"


@dataclass(frozen=True)
class Step:
    """One tick: how much later, what each subject shows, what is ordered, what happens."""

    seconds: float
    values: tuple[float | str | None, ...]
    silenced: str | None
    acknowledged: bool
    restarts: bool

    @property
    def observed(self) -> tuple[Observation, ...]:
        return tuple(
            subject(value)
            for subject, value in zip(SUBJECTS, self.values, strict=True)
            if not isinstance(value, str)
        )


VALUES = st.sampled_from([0.0, 0.0, 1.0, 1.0, None, GONE])

STEPS = st.lists(
    st.builds(
        Step,
        seconds=st.sampled_from([10.0, 10.0, 30.0, 100.0, 700.0]),
        values=st.tuples(*[VALUES] * len(SUBJECTS)),
        silenced=st.sampled_from(SILENCES + (None,) * 4),
        acknowledged=st.booleans(),
        restarts=st.booleans(),
    ),
    max_size=40,
)

TIMES = st.builds(
    AlertingSettings,
    group_wait_seconds=st.sampled_from([0.0, 30.0]),
    cooldown_seconds=st.sampled_from([0.0, 60.0, 300.0]),
    repeat_seconds=st.sampled_from([0.0, 60.0, 1000.0]),
    escalate_after_repeats=st.integers(0, 2),
)


def ordered(step: Step, number: int, wall: float) -> tuple[Order, ...]:
    """A silence lasts as long as the steps that want it: each has one of its own."""
    what: dict[str, dict[str, str]] = {
        "everything": {},
        "database a": {"database": "a"},
        "device sda": {"device": "sda"},
        "stops": {"alert": "RocksdbWriteStopped"},
    }
    if step.silenced is None:
        return ()
    return (silence(f"s{number}", **what[step.silenced], since=wall, seconds=86400.0),)


def lived(host: Host, steps: Sequence[Step], *, restart: bool = False) -> list[Notification]:
    """The steps, one after another; all that was told."""
    acknowledgements: tuple[Order, ...] = ()
    for number, step in enumerate(steps):
        if restart and step.restarts:
            host.restart()
        host.orders = (*acknowledgements, *ordered(step, number, host.wall + step.seconds))
        host.tick(*step.observed, seconds=step.seconds)
        if step.acknowledged:
            for observation in step.observed:
                if host.standing(observation).phase == "firing":
                    host.acknowledge(observation)
            acknowledgements = tuple(o for o in host.orders if o.kind == "acknowledgement")
    return host.told


def by_alert(told: Sequence[Notification]) -> dict[str, list[tuple[str, float]]]:
    """Kind and time of everything told of each alert."""
    history: dict[str, list[tuple[str, float]]] = {}
    for one in told:
        for alert in one.alerts:
            history.setdefault(alert.fingerprint, []).append((one.kind, one.wall_seconds))
    return history


@given(TIMES, STEPS)
def test_nothing_is_told_twice(times: AlertingSettings, steps: list[Step]) -> None:
    """No identity, and of each alert: firing, what is still so, resolved, and from the front."""
    told = lived(Host(times), steps)
    assert len({one.identity for one in told}) == len(told)
    for history in by_alert(told).values():
        believed = False
        for kind, _ in history:
            assert (kind == "firing") == (not believed)
            believed = kind != "resolved"


@given(TIMES, STEPS)
def test_what_was_told_is_what_is_once_everything_had_time(
    times: AlertingSettings, steps: list[Step]
) -> None:
    """Without a silence, people believe of each alert what is; so every firing one that was told is
    resolved in the end, or fires still."""
    host = Host(times)
    lived(host, steps)
    host.orders = ()
    last = steps[-1].observed if steps else ()
    for _ in range(3):
        host.tick(*last, seconds=1000.0)
    believed = {
        fingerprint: history[-1][0] != "resolved"
        for fingerprint, history in by_alert(host.told).items()
    }
    fires = {notice.fingerprint for notice in host.last.active if notice.ends_wall_seconds is None}
    assert {fingerprint for fingerprint, firing in believed.items() if firing} == fires
    assert fires == {f"{entry.fingerprint}" for entry in host.book.followed if entry.active}


@given(TIMES, STEPS)
def test_what_is_silenced_is_not_told(times: AlertingSettings, steps: list[Step]) -> None:
    """Nor shown."""
    host = Host(times)
    for number, step in enumerate(steps):
        host.orders = ordered(step, number, host.wall + step.seconds)
        told = host.tick(*step.observed, seconds=step.seconds)
        for notice in [*host.last.active, *(alert for one in told for alert in one.alerts)]:
            labels = notice.labels
            assert not any(
                order.silences(labels["alertname"], labels.get("db", ""), labels.get("device", ""))
                for order in host.orders
            )


@given(TIMES, STEPS)
def test_the_end_of_a_silence_is_told(times: AlertingSettings, steps: list[Step]) -> None:
    """Of everything that fires then: as news, or once more where it was told before."""
    host = Host(times)
    lived(host, steps)
    last = steps[-1].observed if steps else ()
    host.orders = (silence("last", since=host.wall, seconds=86400.0),)
    host.tick(*last)
    host.orders = ()
    before = len(host.told)
    for _ in range(3):
        host.tick(*last, seconds=1000.0)
    since = {alert.fingerprint for one in host.told[before:] for alert in one.alerts}
    assert {entry.fingerprint for entry in host.book.followed if entry.active} <= since


@given(TIMES, STEPS)
def test_the_cooldown_is_honoured(times: AlertingSettings, steps: list[Step]) -> None:
    """No alert is told as firing, nor as firing and then resolved, in less; and of a group nothing
    is told as firing in less but what is critical after what was not."""
    told = lived(Host(times), steps)
    for history in by_alert(told).values():
        firing_at = -1e9
        for kind, wall in history:
            if kind in {"firing", "resolved"}:
                assert wall - firing_at >= times.cooldown_seconds
            if kind == "firing":
                firing_at = wall
    groups: dict[str, tuple[float, bool]] = {}
    for one in told:
        if one.kind == "firing":
            critical = any(alert.labels["severity"] == "critical" for alert in one.alerts)
            at, was_critical = groups.get(one.group, (-1e9, False))
            if one.wall_seconds - at < times.cooldown_seconds:
                assert critical
                assert not was_critical
            groups[one.group] = (one.wall_seconds, critical)


@given(TIMES, STEPS)
def test_what_is_acknowledged_is_not_repeated(times: AlertingSettings, steps: list[Step]) -> None:
    """As long as it lasts, and only this occurrence."""
    host = Host(times)
    for step in steps:
        host.tick(*step.observed, seconds=step.seconds)
        acknowledged = {
            standing.fingerprint
            for standing in host.last.standings.values()
            if standing.acknowledged_seconds is not None
        }
        for one in host.last.notifications:
            if one.kind in {"repeated", "escalated"}:
                assert not acknowledged & {alert.fingerprint for alert in one.alerts}
        for observation in step.observed if step.acknowledged else ():
            if host.standing(observation).phase == "firing":
                host.acknowledge(observation)


@given(TIMES, STEPS)
def test_a_restart_at_any_moment_changes_nothing(
    times: AlertingSettings, steps: list[Step]
) -> None:
    """The same is told, at the same times, under the same identities; and the book is the same."""
    through, restarted = Host(times), Host(times)
    assert lived(through, steps) == lived(restarted, steps, restart=True)
    assert encode_book(through.book) == encode_book(restarted.book)


@given(TIMES, STEPS)
def test_what_delivery_has_not_settled_survives_any_restart(
    times: AlertingSettings, steps: list[Step]
) -> None:
    """It is offered anew, and nothing else is."""
    told = lived(Host(times), steps)
    offered = lived(Host(times, settles=False), steps, restart=True)
    assert list({one.identity: one for one in offered}.values()) == told


@given(TIMES, STEPS, st.randoms(use_true_random=False))
def test_the_order_of_the_observations_does_not_matter(
    times: AlertingSettings, steps: list[Step], chance: random.Random
) -> None:
    """Neither for the groups nor for what is told first."""
    one, other = Host(times), Host(times)
    for number, step in enumerate(steps):
        shuffled = list(step.observed)
        chance.shuffle(shuffled)
        one.orders = other.orders = ordered(step, number, one.wall + step.seconds)
        assert one.tick(*step.observed, seconds=step.seconds) == other.tick(
            *shuffled, seconds=step.seconds
        )
        assert one.book == other.book


@given(TIMES, STEPS)
def test_every_notification_is_of_one_group_and_says_what_is(
    times: AlertingSettings, steps: list[Step]
) -> None:
    """Alerts of one device or else one database; over where they are told as resolved."""
    for one in lived(Host(times), steps):
        subjects = {
            f"device {alert.labels['device']}"
            if "device" in alert.labels
            else f"database {alert.labels['db']}"
            for alert in one.alerts
        }
        assert subjects == {one.group}
        for alert in one.alerts:
            ends = alert.ends_wall_seconds
            assert (ends is not None) == (one.kind == "resolved")
            assert ends is None or WALL < alert.starts_wall_seconds <= ends <= one.wall_seconds


@given(
    st.lists(
        st.tuples(
            st.sampled_from([10.0, 30.0, 50.0, 100.0, 700.0]),
            st.sampled_from([1.0, 1.0, 1.0, 0.0, None]),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_an_alert_begins_when_its_value_was_beyond_for_its_time_and_not_before(
    steps: list[tuple[float, float | None, bool]],
) -> None:
    """As far as anybody looked: a restart that takes longer than a minute begins it anew."""
    host, beyond_seconds, fires = Host(), -1.0, False  # -1: it is not beyond
    for seconds, value, restarts in steps:
        if restarts:
            host.restart()
            if seconds > PENDING_GAP_SECONDS:
                beyond_seconds = -1.0
        host.tick(stale(value), seconds=seconds)
        if value == 1.0:
            beyond_seconds = 0.0 if beyond_seconds < 0.0 else beyond_seconds + seconds
        else:
            beyond_seconds = -1.0
        fires = value != 0.0 and (fires or beyond_seconds >= RULES["data_stale"].for_seconds)
        assert (host.standing(stale()).phase == "firing") == fires


@settings(max_examples=50)
@given(st.binary(max_size=300))
def test_garbage_is_no_book(content: bytes) -> None:
    """And says so."""
    with pytest.raises(DamagedState):
        decode_book(content)


def test_the_rules_of_these_tests_fire_at_once() -> None:
    """Else the properties would hold of nothing."""
    steps = [Step(1000.0, (1.0,) * len(SUBJECTS), None, acknowledged=False, restarts=False)] * 2
    told = lived(Host(), steps)
    assert sorted((one.group, len(one.alerts)) for one in told) == [
        ("database c", 1),
        ("device sda", 4),
    ]
    assert all(RULES[observation.rule].for_seconds == 0.0 for observation in steps[0].observed)
