"""Who is told what while Prometheus is there, away, and back."""

import pytest

from agent.alerts.notice import AlertNotice, Notification
from agent.delivery.gate import COVER_SECONDS, Gate, Passed, pass_on, settled
from agent.delivery.scrapers import (
    ASSUMED_INTERVAL_SECONDS,
    MAX_SCRAPERS,
    ScraperView,
    Scrapes,
    view,
)
from agent.delivery.settings import Mode
from tests.unit.delivery_samples import WALL, alert, notification

THERE = ScraperView(absent=False, seconds_since=5.0)
AWAY = ScraperView(absent=True, seconds_since=200.0)
HANDOVER = 600.0
NOW = 5000.0


class Ticks:
    """A gate over several ticks, ten seconds apart."""

    def __init__(self, mode: Mode = "fallback", gate: Gate | None = None) -> None:
        self.gate = gate or Gate()
        self.mode = mode
        self.now = NOW

    def tick(
        self,
        scraper: ScraperView,
        *notifications: Notification,
        active: tuple[AlertNotice, ...] = (),
        after: float = 10.0,
    ) -> Passed:
        self.now += after
        self.gate, passed = pass_on(
            self.gate, self.mode, scraper, HANDOVER, notifications, active, self.now
        )
        return passed


def told(passed: Passed) -> list[str]:
    return [one.identity for one in passed.notifications]


def scraped(*at: float, client: str = "10.0.0.1") -> Scrapes:
    scrapes = Scrapes()
    for moment in at:
        scrapes = scrapes.saw(client, moment)
    return scrapes


def is_absent(scrapes: Scrapes, now: float, started_at: float = 0.0) -> bool:
    return view(scrapes, now, started_at, absent_intervals=5.0, grace_seconds=300.0).absent


def test_off_passes_nothing_and_always_passes_everything() -> None:
    """Both whatever Prometheus does."""
    for scraper in (THERE, AWAY):
        off, always = Ticks("off"), Ticks("always")
        assert off.tick(scraper, notification(), active=(alert(),)) == Passed((), ())
        assert always.tick(scraper, notification(), active=(alert(),)) == Passed(
            (notification(),), (alert(),)
        )


def test_while_prometheus_is_there_nothing_is_told() -> None:
    """It stays the source of alerts."""
    ticks = Ticks()

    assert ticks.tick(THERE, notification(), active=(alert(),)) == Passed((), ())


def test_when_prometheus_is_away_everything_is_told_once() -> None:
    """Changes to people, states to Alertmanager."""
    ticks = Ticks()

    assert told(ticks.tick(AWAY, notification("a"), active=(alert(),))) == ["a"]
    assert ticks.tick(AWAY, active=(alert(),)) == Passed((), (alert(),))


def test_an_alert_that_began_while_prometheus_died_is_not_lost() -> None:
    """Between its last scrape and the moment at which it counts as absent."""
    ticks = Ticks()
    ticks.tick(THERE, notification("a"), active=(alert(),))
    assert told(ticks.tick(ScraperView(False, 60.0), after=60.0)) == []

    assert told(ticks.tick(ScraperView(True, 80.0), active=(alert(),), after=20.0)) == ["a"]


def test_what_began_and_ended_before_prometheus_counted_as_absent_is_not_told() -> None:
    """Most of it Prometheus has told, and nobody can do anything about it."""
    ticks = Ticks()
    over = alert(ends=WALL + 20)
    users = alert(db="users")
    ticks.tick(THERE, notification("a", alert(), users), active=(alert(), users))
    ticks.tick(THERE, notification("b", over, kind="resolved"), active=(over, users))

    passed = ticks.tick(AWAY, active=(over, users))

    assert passed.notifications == (notification("a", users),)


def test_an_alert_that_prometheus_outlived_is_not_told_later() -> None:
    """It raised its own, and people know."""
    ticks = Ticks()
    ticks.tick(THERE, notification("a"))
    ticks.tick(THERE, after=COVER_SECONDS + 10)

    assert told(ticks.tick(AWAY)) == []
    assert ticks.gate.held == ()


def test_a_prometheus_that_was_never_seen_covers_nothing() -> None:
    """What began before it counts as absent is told then."""
    ticks = Ticks()
    never = ScraperView(absent=False, seconds_since=None)
    ticks.tick(never, notification("a"))
    ticks.tick(never, after=10_000.0)

    assert told(ticks.tick(ScraperView(True, None), active=(alert(),))) == ["a"]


def test_when_prometheus_is_back_only_ends_are_told() -> None:
    """Whoever was told of an alert by us learns from us that it is over; nothing else is said."""
    ticks = Ticks()
    ticks.tick(AWAY, notification("a"), active=(alert(),))
    ticks.tick(THERE, notification("b", alert(db="users"), kind="firing"))
    over = alert(ends=WALL + 100)
    other = alert(db="users", ends=WALL + 100)

    passed = ticks.tick(THERE, notification("c", over, other, kind="resolved"))

    assert passed.notifications == (notification("c", over, kind="resolved"),)
    assert ticks.gate.told == ()


def test_the_end_of_what_prometheus_told_is_not_told_by_us() -> None:
    """It began before Prometheus went away for a while, and ends after it is back."""
    ticks = Ticks()
    ticks.tick(THERE, notification("a"), active=(alert(),))
    ticks.tick(THERE, active=(alert(),), after=COVER_SECONDS + 10)
    ticks.tick(AWAY, active=(alert(),))
    over = alert(ends=WALL + 500)

    passed = ticks.tick(THERE, notification("b", over, kind="resolved"), active=(over,))

    assert passed == Passed((), (over,))  # Alertmanager has it from us, and nobody else


def test_an_end_is_told_once_and_not_again_when_prometheus_goes_away() -> None:
    """What passed is not held."""
    ticks = Ticks()
    ticks.tick(AWAY, notification("a"), active=(alert(),))
    over = alert(ends=WALL + 100)
    ticks.tick(THERE, notification("c", over, kind="resolved"), active=(over,))

    assert told(ticks.tick(AWAY, active=(over,))) == []


def test_alertmanager_is_sent_the_known_alerts_for_the_time_of_the_handover() -> None:
    """So that nothing resolves before Prometheus has raised its own; also their ends."""
    ticks = Ticks()
    ticks.tick(AWAY, notification("a"), active=(alert(),))
    new = alert(db="users", starts=WALL + 20)

    assert ticks.tick(THERE, active=(alert(), new)).active == (alert(),)
    over = alert(ends=WALL + 100)
    assert ticks.tick(THERE, notification("c", over, kind="resolved"), active=(over,)).active == (
        over,
    )
    assert ticks.tick(THERE, active=(over, new)).active == (over,)
    assert ticks.tick(THERE, active=(over, new), after=HANDOVER).active == ()


def test_an_alert_that_fires_again_is_another_one() -> None:
    """Its second time is Prometheus's, which is back."""
    ticks = Ticks()
    ticks.tick(AWAY, notification("a"), active=(alert(),))
    again = alert(starts=WALL + 500)

    assert ticks.tick(THERE, active=(again,)).active == ()


def test_what_was_let_pass_before_a_restart_passes_again() -> None:
    """It was promised to a receiver that did not answer; Prometheus may be back meanwhile."""
    ticks = Ticks()
    ticks.tick(AWAY, notification("a"), active=(alert(),))
    after_restart = Ticks(gate=ticks.gate)

    assert told(after_restart.tick(THERE, notification("a"))) == ["a"]


def test_what_is_settled_need_not_pass_again() -> None:
    """The gate forgets it."""
    ticks = Ticks()
    ticks.tick(AWAY, notification("a"), notification("b"))

    assert settled(ticks.gate, frozenset({"a"})).passed == ("b",)


def test_a_scraper_is_absent_after_some_of_its_usual_intervals() -> None:
    """Its own pace counts: one that comes every 15 s is missed after 75 s."""
    scrapes = scraped(0.0, 15.0, 30.0, 45.0)

    assert not is_absent(scrapes, 45.0 + 75.0)
    assert is_absent(scrapes, 45.0 + 75.1)


def test_a_missed_scrape_does_not_change_the_usual_interval() -> None:
    """The median, not the mean."""
    scrapes = scraped(0.0, 15.0, 30.0, 300.0, 315.0, 330.0)

    assert is_absent(scrapes, 330.0 + 75.1)


def test_a_scraper_seen_once_is_taken_to_come_every_minute() -> None:
    """Prometheus's default."""
    scrapes = scraped(1000.0)

    assert not is_absent(scrapes, 1000.0 + 5 * ASSUMED_INTERVAL_SECONDS)
    assert is_absent(scrapes, 1000.1 + 5 * ASSUMED_INTERVAL_SECONDS)


def test_one_replica_of_two_is_enough() -> None:
    """Prometheus in pairs."""
    scrapes = scraped(0.0, 15.0, 30.0, client="10.0.0.1")
    for moment in (200.0, 215.0):
        scrapes = scrapes.saw("10.0.0.2", moment)

    assert not is_absent(scrapes, 216.0)


@pytest.mark.parametrize(("now", "absent"), [(1299.0, False), (1301.0, True)])
def test_a_scraper_that_was_never_seen_is_absent_after_a_grace(now: float, absent: bool) -> None:
    """Right after the start nobody can have come yet."""
    assert is_absent(Scrapes(), now, started_at=1000.0) is absent


def test_only_so_many_scrapers_are_remembered() -> None:
    """A page fetched from many addresses must not take memory."""
    scrapes = Scrapes()
    for number in range(MAX_SCRAPERS + 10):
        scrapes = scrapes.saw(f"client {number}", float(number))

    assert len(scrapes.scrapers) == MAX_SCRAPERS
    assert scrapes.scrapers[-1].client == f"client {MAX_SCRAPERS + 9}"
