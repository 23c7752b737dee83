"""What people are told of alerts, and when: examples of every rule."""

import pytest
from msgspec.structs import replace

from agent.alerts.following import MAX_OVER, UNSEEN_SECONDS
from agent.alerts.lifecycle import MAX_OUTBOX
from agent.alerts.notices import fingerprint_of
from agent.alerts.rules import AlertingSettings
from tests.unit.alert_life import (
    SETTINGS,
    TICK,
    WALL,
    Host,
    delayed,
    names,
    shown,
    sick,
    silence,
    stale,
    stopped,
)

DELAYED = "RocksdbWriteDelayed"
STOPPED = "RocksdbWriteStopped"
DEGRADED = "SsdWriteBandwidthDegraded"

DAY = 86400.0
HOUR = 3600.0


def test_an_alert_is_told_after_the_wait_for_its_group_and_again_when_it_is_over() -> None:
    """Once each, however long it lasts."""
    host = Host()
    assert host.ticks(30.0, delayed()) == []
    assert shown(host.tick(delayed())) == [("firing", [f"{DELAYED} orders"])]
    assert host.ticks(600.0, delayed()) == []
    assert host.ticks(30.0, delayed(0.0)) == []
    assert shown(host.tick(delayed(0.0))) == [("resolved", [f"{DELAYED} orders"])]
    assert host.ticks(DAY, delayed(0.0)) == []


def test_a_notification_says_what_it_is_about_since_when_and_where_to_read_on() -> None:
    """In Alertmanager's terms."""
    host = Host()
    (told,) = host.ticks(40.0, delayed(device="sda"))
    (alert,) = told.alerts
    assert told.group == "device sda"
    assert alert.labels == {
        "alertname": DELAYED,
        "severity": "warning",
        "db": "orders",
        "device": "sda",
    }
    assert alert.annotations["summary"] == "delays orders"
    assert (
        "1 when last seen. The alert begins at or above 1 for 0 s"
        in (alert.annotations["description"])
    )
    assert alert.annotations["runbook_url"].endswith(f"/docs/runbooks/{DELAYED}.md")
    assert (alert.starts_wall_seconds, alert.ends_wall_seconds) == (WALL + TICK, None)


def test_a_databases_alert_is_the_same_whatever_device_it_is_seen_on() -> None:
    """The device may become known, or change, while it fires."""
    of_database = {fingerprint_of(STOPPED, "critical", "orders", device) for device in ("", "sda")}
    of_device = {fingerprint_of(DEGRADED, "warning", "", device) for device in ("sda", "sdb")}
    assert (len(of_database), len(of_device)) == (1, 2)


def test_one_sick_disk_with_four_databases_is_one_notification() -> None:
    """Though their alerts begin one after another, within the wait."""
    host = Host()
    bad = [sick(), *(delayed(database=name, device="sda") for name in "abcd")]
    for count in (1, 3, 5):
        host.tick(*bad[:count])
    host.tick(*bad)
    expected = [f"{DELAYED} {name}" for name in "abcd"] + [f"{DEGRADED} sda"]
    assert shown(host.told) == [("firing", expected)]


def test_what_joins_a_group_later_waits_for_the_cooldown_unless_it_is_worse() -> None:
    """A page must not wait because of a warning."""
    host = Host()
    a, b = delayed(database="a", device="sda"), delayed(database="b", device="sda")
    host.ticks(40.0, a)
    assert host.ticks(60.0, a, b) == []
    worse = stopped(database="a", device="sda")
    late = host.ticks(40.0, a, b, worse)
    assert shown(late) == [("firing", [f"{DELAYED} b", f"{STOPPED} a"])]
    other = stopped(database="b", device="sda")
    assert host.ticks(290.0, a, b, worse, other) == []
    assert shown(host.ticks(10.0, a, b, worse, other)) == [("firing", [f"{STOPPED} b"])]


def test_resolutions_of_a_group_come_together_once_a_cooldown() -> None:
    """Databases of a disk that recovered do so one after another."""
    host = Host()
    a, b, c = (delayed(database=name, device="sda") for name in "abc")
    host.ticks(600.0, a, b, c)
    over = [delayed(0.0, name, "sda") for name in "abc"]
    assert shown(host.ticks(40.0, over[0], b, c)) == [("resolved", [f"{DELAYED} a"])]
    assert host.ticks(100.0, over[0], over[1], c) == []
    assert shown(host.ticks(250.0, *over)) == [("resolved", [f"{DELAYED} b", f"{DELAYED} c"])]


def test_a_resolution_waits_anew_when_the_alert_came_back() -> None:
    """It is over when it stays over."""
    host = Host()
    host.ticks(600.0, delayed())
    host.ticks(30.0, delayed(0.0))
    host.tick(delayed())
    assert host.ticks(30.0, delayed(0.0)) == []
    assert [one.kind for one in host.tick(delayed(0.0))] == ["resolved"]


def test_groups_do_not_wait_for_each_other() -> None:
    """Another disk, another database without a known disk, the host."""
    host = Host()
    host.ticks(40.0, sick(device="sda"))
    told = host.ticks(40.0, sick(device="sda"), sick(device="sdb"), delayed())
    assert [one.group for one in told] == ["database orders", "device sdb"]


def test_an_alert_that_flaps_is_one_message_in_a_cooldown() -> None:
    """And in between people believe that it fires, which is nearer to the truth."""
    host = Host()
    for _ in range(60):
        host.tick(delayed())
        host.tick(delayed(0.0))
    kinds = [one.kind for one in host.told]
    assert kinds[:1] == ["firing"]
    assert len(kinds) <= 2 * (1200 / 300)


def test_one_that_comes_and_goes_within_the_wait_is_told_when_it_came_again() -> None:
    """Else one that stops and goes would never be told."""
    host = Host()
    for _ in range(2):
        assert host.tick(stopped()) == ()
        assert host.tick(stopped(0.0)) == ()
    assert shown(host.tick(stopped())) == [("firing", [f"{STOPPED} orders"])]


def test_a_single_blip_within_the_wait_is_nobodys_concern() -> None:
    """Neither its beginning nor its end; a later one waits anew."""
    host = Host()
    host.tick(stopped())
    assert host.ticks(HOUR, stopped(0.0)) == []
    assert host.tick(stopped()) == ()


def test_without_a_wait_an_alert_is_told_on_the_tick_that_sees_it() -> None:
    """Zero means at once."""
    host = Host(replace(SETTINGS, group_wait_seconds=0.0))
    assert shown(host.tick(stopped())) == [("firing", [f"{STOPPED} orders"])]


def test_what_still_fires_is_repeated_and_in_the_end_escalated() -> None:
    """Every hour here; from the fourth time on as an escalation."""
    host = Host()
    host.ticks(40.0, stopped())
    kinds = [one.kind for one in host.ticks(5 * HOUR, stopped())]
    assert kinds == ["repeated"] * 3 + ["escalated"] * 2
    assert len({one.identity for one in host.told}) == 6


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        (AlertingSettings(repeat_seconds=0.0), []),
        (AlertingSettings(repeat_seconds=HOUR, escalate_after_repeats=0), ["repeated"] * 4),
    ],
)
def test_zero_turns_repetition_or_escalation_off(
    settings: AlertingSettings, kinds: list[str]
) -> None:
    """As the configuration says."""
    host = Host(settings)
    host.ticks(40.0, stopped())
    assert [one.kind for one in host.ticks(4 * HOUR, stopped())] == kinds


def test_a_repetition_tells_the_whole_group_but_what_was_told_just_now() -> None:
    """One message an hour, not one per alert."""
    host = Host(replace(SETTINGS, cooldown_seconds=0.0))
    bad = [sick(), delayed(database="a", device="sda"), delayed(database="b", device="sda")]
    host.ticks(40.0, bad[0])
    host.ticks(600.0, *bad[:2])
    host.ticks(2350.0, *bad[:2])
    told = host.ticks(700.0, *bad)
    assert shown(told) == [
        ("firing", [f"{DELAYED} b"]),
        ("repeated", [f"{DELAYED} a", f"{DEGRADED} sda"]),
    ]


def test_an_acknowledged_alert_is_not_repeated_but_its_end_is_told() -> None:
    """Somebody knows, and wants to know when it is over."""
    host = Host()
    host.ticks(40.0, stopped())
    host.acknowledge(stopped())
    assert host.ticks(6 * HOUR, stopped()) == []
    assert host.standing(stopped()).acknowledged_seconds == DAY - 6 * HOUR
    assert [one.kind for one in host.ticks(60.0, stopped(0.0))] == ["resolved"]
    assert host.standing(stopped()).acknowledged_seconds is None


def test_an_acknowledgement_is_of_one_occurrence() -> None:
    """The next one is news again, and is repeated."""
    host = Host()
    host.ticks(40.0, stopped())
    host.acknowledge(stopped())
    host.ticks(HOUR, stopped(0.0))
    assert [one.kind for one in host.ticks(2 * HOUR, stopped())] == ["firing", "repeated"]
    assert host.standing(stopped()).acknowledged_seconds is None


def test_after_an_acknowledgement_the_count_to_the_escalation_begins_anew() -> None:
    """And the first repetition comes when it is over, for none came meanwhile."""
    host = Host()
    host.ticks(40.0, stopped())
    host.ticks(3 * HOUR, stopped())
    host.acknowledge(stopped(), seconds=2 * HOUR)
    assert host.ticks(2 * HOUR - TICK, stopped()) == []
    assert [one.kind for one in host.ticks(4 * HOUR, stopped())] == ["repeated"] * 3 + ["escalated"]


@pytest.mark.parametrize(
    "order",
    [
        silence(),
        silence(alert=STOPPED),
        silence(database="orders"),
        silence(device="sda"),
        silence(alert=STOPPED, database="orders", device="sda"),
    ],
)
def test_a_silence_hides_what_it_names(order: object) -> None:
    """What it leaves open matches anything."""
    host = Host(orders=(order,))  # type: ignore[arg-type]
    assert host.ticks(300.0, stopped(device="sda")) == []
    assert host.last.active == ()
    assert host.standing(stopped(device="sda")).silenced_seconds == 300.0


@pytest.mark.parametrize(
    "order", [silence(alert=DELAYED), silence(database="other"), silence(device="sdb")]
)
def test_a_silence_hides_nothing_else(order: object) -> None:
    """Every word of it counts."""
    host = Host(orders=(order,))  # type: ignore[arg-type]
    assert len(host.ticks(300.0, stopped(device="sda"))) == 1
    assert names(host.last.active) == [STOPPED]


def test_the_end_of_a_silence_tells_what_it_hid() -> None:
    """What began, what ended, and what went on all the time."""
    host = Host()
    host.ticks(400.0, delayed(database="went on"), delayed(database="ended"))
    host.orders = (silence(since=host.wall),)
    during = host.ticks(
        590.0, delayed(database="went on"), delayed(0.0, "ended"), delayed(database="began")
    )
    assert during == []
    first = host.ticks(
        20.0, delayed(database="went on"), delayed(0.0, "ended"), delayed(database="began")
    )
    assert shown(first) == [("repeated", [f"{DELAYED} went on"])]
    after = first + host.ticks(
        60.0, delayed(database="went on"), delayed(0.0, "ended"), delayed(database="began")
    )
    assert sorted(shown(after)) == [
        ("firing", [f"{DELAYED} began"]),
        ("repeated", [f"{DELAYED} went on"]),
        ("resolved", [f"{DELAYED} ended"]),
    ]


def test_what_came_and_went_during_a_silence_stays_untold() -> None:
    """Nobody has to do anything about it."""
    host = Host(orders=(silence(),))
    host.ticks(300.0, stopped())
    assert host.ticks(HOUR, stopped(0.0)) == []


def test_a_silence_that_is_taken_back_ends() -> None:
    """It is no longer in the file."""
    host = Host(orders=(silence(),))
    host.ticks(300.0, stopped())
    host.orders = ()
    assert [one.kind for one in host.ticks(40.0, stopped())] == ["firing"]


def test_orders_that_cannot_be_read_stay_in_force_until_their_end() -> None:
    """A damaged file must neither page people nor silence anything for ever."""
    host = Host(orders=(silence(),))
    host.tick(stopped())
    host.orders = None
    assert host.ticks(570.0, stopped()) == []
    assert [one.kind for one in host.ticks(60.0, stopped())] == ["firing"]


@pytest.mark.parametrize("jump", [-1e9, -HOUR, HOUR, 1e9])
def test_a_wall_clock_that_is_set_neither_ends_nor_prolongs_anything(jump: float) -> None:
    """Silences, cooldowns and repetitions go by the monotonic clock."""
    host = Host(orders=(silence(),))
    host.tick(stopped())
    revision = host.book.revision
    host.wall += jump
    host.tick(stopped())
    assert host.book.urgent_revision > revision
    assert host.ticks(570.0, stopped()) == []
    assert [one.kind for one in host.ticks(40.0, stopped())] == ["firing"]


def test_a_restart_neither_loses_nor_repeats() -> None:
    """Nor does the time that the agent was off count as less than it was."""
    host = Host()
    host.ticks(40.0, stopped())
    host.restart(off_seconds=60.0, monotonic=3.0)
    assert host.ticks(300.0, stopped(None)) == []
    assert names(host.last.active) == [STOPPED]
    assert [one.kind for one in host.ticks(HOUR - 360.0, stopped())] == ["repeated"]
    host.restart(off_seconds=HOUR)
    assert [one.kind for one in host.ticks(40.0, stopped(0.0))] == ["resolved"]


def test_a_short_restart_does_not_begin_the_wait_of_a_pending_alert_anew() -> None:
    """Its two minutes go on: else an agent that is restarted often would never tell."""
    host = Host(replace(SETTINGS, group_wait_seconds=0.0))
    host.ticks(60.0, stale())
    host.restart(off_seconds=20.0)
    assert host.ticks(40.0, stale()) == []
    assert [one.kind for one in host.tick(stale())] == ["firing"]


def test_what_nobody_looked_at_for_long_does_not_fire_because_it_was_pending_once() -> None:
    """The file may be of an hour ago; and right after a start no data is there yet."""
    host = Host(replace(SETTINGS, group_wait_seconds=0.0))
    host.ticks(60.0, stale())
    host.restart(off_seconds=HOUR)
    assert host.ticks(120.0, stale()) == []
    assert [one.kind for one in host.tick(stale())] == ["firing"]


def test_a_clock_that_was_wrong_at_the_restart_does_not_count_as_decades() -> None:
    """Nor backwards."""
    for off_seconds in (-1e9, 1e9):
        host = Host()
        host.ticks(40.0, stopped())
        before = host.book.seconds
        host.restart(off_seconds=off_seconds)
        host.tick(stopped())
        assert 0.0 <= host.book.seconds - before <= 30 * DAY


def test_what_delivery_did_not_settle_is_offered_anew_after_a_restart() -> None:
    """Under the same identity, and once."""
    host = Host(settles=False)
    (told,) = host.ticks(40.0, stopped())
    host.restart()
    assert host.tick(stopped()) == (told,)
    assert host.tick(stopped()) == ()
    host.book = host.book.settled(frozenset({told.identity}))
    host.restart()
    assert host.tick(stopped()) == ()


def test_the_same_change_has_the_same_identity_when_it_is_computed_again() -> None:
    """After a crash the book is the one before, and the time is later."""
    first, again = Host(), Host()
    first.ticks(30.0, stopped())
    again.book = first.book
    again.now, again.wall = first.now + 20.0, first.wall + 20.0
    (one,) = first.tick(stopped())
    (other,) = again.tick(stopped(), delayed(0.0))
    assert one.wall_seconds != other.wall_seconds
    assert one.identity == other.identity


def test_another_book_tells_under_other_identities() -> None:
    """A book that was lost begins to count anew; its notifications are no repetitions."""
    first, later = Host(), Host(wall=WALL + DAY)
    (one,) = first.ticks(40.0, stopped())
    (other,) = later.ticks(40.0, stopped())
    assert one.identity != other.identity
    assert one.alerts[0].fingerprint == other.alerts[0].fingerprint


def test_data_that_vanished_resolves_nothing() -> None:
    """Neither a value that is not known nor a subject that is not observed."""
    host = Host()
    host.ticks(40.0, stopped())
    assert host.ticks(HOUR - 50.0, stopped(None)) == []
    assert host.ticks(300.0, delayed(None)) == host.told[1:]
    assert [one.kind for one in host.told] == ["firing", "repeated"]
    assert STOPPED in names(host.last.active)


def test_a_device_that_is_gone_for_a_week_takes_its_alert_with_it() -> None:
    """A disk that was taken out would fire for ever; people are told that its end was not seen."""
    host = Host(replace(SETTINGS, repeat_seconds=0.0))
    host.ticks(40.0, sick())
    host.tick()
    host.tick(seconds=UNSEEN_SECONDS - TICK)
    assert names(host.last.active) == [DEGRADED]
    host.tick(seconds=TICK)
    (told,) = host.ticks(60.0)
    assert told.kind == "resolved"
    assert "not watched any more" in told.alerts[0].annotations["description"]


def test_a_device_that_is_seen_again_has_a_week_anew() -> None:
    """Twice four days are not a week."""
    host = Host(replace(SETTINGS, repeat_seconds=0.0))
    host.ticks(40.0, sick())
    for _ in range(2):
        host.tick()
        host.tick(seconds=4 * DAY)
        assert [notice.ends_wall_seconds for notice in host.last.active] == [None]
        host.tick(sick())
    assert [one.kind for one in host.told] == ["firing"]


def test_what_comes_back_before_its_end_was_told_is_watched_again() -> None:
    """Nobody has heard that it was gone."""
    host = Host(replace(SETTINGS, repeat_seconds=0.0))
    host.ticks(40.0, sick())
    host.tick()
    host.tick(seconds=UNSEEN_SECONDS)
    host.tick(sick())
    assert "not watched" not in host.last.active[0].annotations["description"]
    (told,) = host.ticks(60.0, sick(0.95))
    assert told.kind == "resolved"
    assert "not watched" not in told.alerts[0].annotations["description"]


def test_an_alert_that_is_long_over_is_forgotten() -> None:
    """The book does not grow with every database that ever was."""
    host = Host()
    host.ticks(40.0, stopped())
    host.ticks(600.0, stopped(0.0))
    host.tick(seconds=29 * DAY)
    assert list(map(len, (host.book.followed, host.book.groups))) == [1, 1]
    host.tick(seconds=2 * DAY)
    assert list(map(len, (host.book.followed, host.book.groups))) == [0, 0]


def test_what_fires_again_after_it_was_forgotten_is_no_repetition_to_anybody() -> None:
    """A receiver that remembers all it was ever told hears of it, over a restart, too."""
    host = Host()
    for _ in range(3):
        host.ticks(40.0, stopped())
        host.ticks(600.0, stopped(0.0))
        host.tick(seconds=31 * DAY)
        host.restart()
    assert host.book.followed == ()
    assert [one.kind for one in host.told] == ["firing", "resolved"] * 3
    assert len({one.identity for one in host.told}) == 6


def test_databases_that_come_and_go_by_the_hundred_do_not_fill_the_book() -> None:
    """The last ones are remembered, and whatever people still believe of the others."""
    host = Host()
    host.ticks(40.0, stopped(database="believed"))
    for number in range(0, MAX_OVER + 200, 100):
        several = [f"db{n}" for n in range(number, number + 100)]
        host.tick(*(stopped(database=name) for name in several))
        host.tick(*(stopped(0.0, name) for name in several))
    remembered = {entry.database for entry in host.book.followed}
    assert len(remembered) == MAX_OVER + 1
    assert {"believed", f"db{MAX_OVER + 199}"} <= remembered
    assert "db0" not in remembered


def test_what_was_resolved_is_shown_for_a_quarter_of_an_hour() -> None:
    """With its end, for receivers of states."""
    host = Host()
    host.ticks(600.0, stopped())
    host.tick(stopped(0.0))
    (notice,) = host.last.active
    assert (notice.starts_wall_seconds, notice.ends_wall_seconds) == (WALL + TICK, host.wall)
    host.ticks(890.0, stopped(0.0))
    assert names(host.last.active) == [STOPPED]
    host.tick(stopped(0.0))
    assert host.last.active == ()


def test_phases_as_people_see_them() -> None:
    """Pending comes from the rule's own time."""
    host = Host()
    seen = []
    rule = delayed()
    for value, seconds in ((0.0, 10.0), (1.0, 10.0), (0.0, 10.0), (0.0, 900.0)):
        host.tick(delayed(value), seconds=seconds)
        seen.append(host.standing(rule).phase)
    assert seen == ["inactive", "firing", "resolved", "inactive"]


def test_the_book_is_worth_writing_only_when_something_changed() -> None:
    """When it is begun, so that its identities outlive a crash; then not for each tick's values,
    but at once for what was told and ordered."""
    host = Host(settles=False)
    host.ticks(30.0, stopped(0.0))
    assert host.book.revision == host.book.urgent_revision == 1
    host.tick(stopped())
    assert (host.book.revision, host.book.urgent_revision) == (2, 1)
    host.ticks(20.0, stopped(1.5))
    assert host.book.revision == 2
    host.tick(stopped())
    assert host.book.revision == host.book.urgent_revision == 3
    host.orders = (silence(since=host.wall),)
    host.tick(stopped())
    assert host.book.urgent_revision == 4


def test_the_outbox_is_bounded() -> None:
    """Delivery that never settles anything must not fill the disk; the latest ones stay, and the
    last word about each alert, however old it is."""
    host = Host(replace(SETTINGS, repeat_seconds=60.0), settles=False)
    host.ticks(600.0, delayed(database="over"))
    host.ticks(400.0, delayed(0.0, "over"))
    over = host.told[-1]
    host.ticks(60.0 * (MAX_OUTBOX + 20), stopped())
    assert over.kind == "resolved"
    assert host.book.outbox == (over, *host.told[1 - MAX_OUTBOX :])
