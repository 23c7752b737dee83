"""What the service manager is told, and when."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.readings import Known, Missing
from agent.reload_plan import ConfigLoad
from agent.service_notices import (
    MAX_STATUS_CHARACTERS,
    STATUS_SECONDS,
    Seen,
    Told,
    next_notice,
    reload_notice,
    start_notice,
    status_text,
)
from agent.snapshot import DatabaseSnapshot, Snapshot
from tests.unit.snapshots import alerts as some_alerts
from tests.unit.snapshots import busy_database, snapshot

LOAD = ConfigLoad(True, 1.0)
REFUSED = ConfigLoad(False, 1.0)
WATCHDOG_SECONDS = 60.0
READY_STATUS = "STATUS=no database is watched"


def watching(*databases: DatabaseSnapshot, hidden: int = 0, alerts: int = 0) -> Snapshot:
    active = next(state for state in some_alerts() if state.active)
    over = dataclasses.replace(active, active=False)
    return dataclasses.replace(
        snapshot(),
        databases=databases,
        hidden_databases=hidden,
        alerts=(over, *(active for _ in range(alerts))),
    )


def database(
    name: str = "orders", headroom: float | None = 0.32, bottleneck: str | None = "device_write"
) -> DatabaseSnapshot:
    return dataclasses.replace(
        busy_database(),
        name=name,
        bottleneck=bottleneck,
        headroom_ratio=Missing("stale", "too old") if headroom is None else Known(headroom, "", 0),
    )


def seen(
    at: float = 100.0,
    of: Snapshot | None = None,
    load: ConfigLoad | None = LOAD,
    *,
    published: bool = True,
    serving: bool = True,
    ticking: bool = True,
) -> Seen:
    what = (watching() if of is None else of) if published else None
    return Seen(at, what, load, serving, ticking)


def told_of(*looks: Seen, watchdog_seconds: float | None = None) -> list[tuple[str, ...]]:
    """What each of a series of looks says to the manager."""
    told, lines = Told(), []
    for look in looks:
        notice, told = next_notice(told, look, watchdog_seconds)
        lines.append(notice)
    return lines


def test_it_is_ready_once_the_listener_answers_and_a_tick_is_published() -> None:
    """Not before both, and only once."""
    assert told_of(
        seen(published=False), seen(serving=False), seen(published=False), seen(), seen()
    ) == [(), (), (), ("READY=1", READY_STATUS), ()]


def test_a_watchdog_is_fed_twice_in_its_period() -> None:
    """The first time with being ready; without a watchdog never."""
    looks = [seen(at=100.0 + second) for second in range(61)]

    fed = [
        look.at
        for look, lines in zip(looks, told_of(*looks, watchdog_seconds=60.0), strict=True)
        if "WATCHDOG=1" in lines
    ]

    assert fed == [100.0, 130.0, 160.0]
    assert not [line for line in sum(told_of(*looks), ()) if "WATCHDOG" in line]


@pytest.mark.parametrize("lost", ["ticking", "serving"])
def test_a_loop_or_a_listener_that_hangs_starves_the_watchdog(lost: str) -> None:
    """And feeds it again once it goes on."""
    first, hangs, goes_on = told_of(
        seen(at=100.0),
        seen(at=131.0, ticking=lost != "ticking", serving=lost != "serving"),
        seen(at=140.0),
        watchdog_seconds=WATCHDOG_SECONDS,
    )

    assert ["WATCHDOG=1" in lines for lines in (first, hangs, goes_on)] == [True, False, True]


def test_a_status_is_told_when_it_changed_and_once_a_minute_at_most() -> None:
    """A change within the minute is told at its end, in its last form."""
    one, two, three = (watching(database(headroom=value)) for value in (0.9, 0.8, 0.7))

    assert told_of(
        seen(at=0.0, of=one),
        seen(at=10.0, of=two),
        seen(at=59.0, of=three),
        seen(at=STATUS_SECONDS, of=three),
        seen(at=200.0, of=three),
    ) == [
        ("READY=1", "STATUS=1 database, headroom 90 %, limit device write"),
        (),
        (),
        ("STATUS=1 database, headroom 70 %, limit device write",),
        (),
    ]


def test_what_could_not_be_sent_is_told_again() -> None:
    """The caller keeps the old state when sending failed."""
    lines, _ = next_notice(Told(), seen(), None)
    again, _ = next_notice(Told(), seen(at=101.0), None)

    assert lines == again == ("READY=1", READY_STATUS)


@pytest.mark.parametrize("after", [ConfigLoad(True, 2.0), REFUSED])
def test_a_reload_ends_with_ready_whether_the_file_was_good_or_not(after: ConfigLoad) -> None:
    """The manager waits for it either way; the status tells of the bad one at once."""
    _, told = next_notice(Told(), seen(at=100.0), None)
    told = dataclasses.replace(told, reloading=LOAD)

    waiting, told = next_notice(told, seen(at=101.0), None)
    ended, told = next_notice(told, seen(at=102.0, load=after), None)
    later, _ = next_notice(told, seen(at=103.0, load=after), None)

    refused = () if after.successful else (f"STATUS={status_text(watching(), after)}",)
    assert (waiting, ended, later) == ((), ("READY=1", *refused), ())


def test_a_second_bad_file_ends_its_reload_like_the_first() -> None:
    """Its reading is another one, though it looks the same."""
    told = Told(ready=True, reloading=REFUSED, status=status_text(watching(), REFUSED))

    lines, _ = next_notice(told, seen(load=ConfigLoad(False, 1.0)), None)

    assert lines == ("READY=1",)


def test_a_reload_carries_its_time_in_microseconds_of_the_monotonic_clock() -> None:
    """As Type=notify-reload wants it."""
    assert reload_notice(12.345678) == ("RELOADING=1", "MONOTONIC_USEC=12345678")


def test_a_start_asks_for_the_time_of_its_first_tick() -> None:
    """In microseconds."""
    assert start_notice(30.0)[0] == "EXTEND_TIMEOUT_USEC=30000000"


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (watching(), "no database is watched"),
        (watching(hidden=2), "no database is watched, 2 of other users cannot be looked into"),
        (watching(database()), "1 database, headroom 32 %, limit device write"),
        (watching(database(bottleneck=None)), "1 database, headroom 32 %"),
        (watching(database(headroom=None)), "1 database, headroom not known yet"),
        (watching(alerts=1), "no database is watched, 1 alert"),
        (watching(database(bottleneck=None), alerts=2), "1 database, headroom 32 %, 2 alerts"),
        (
            watching(database("a", 0.5), database("b", -0.1, "cpu"), database("c", None)),
            "3 databases, worst headroom -10 % (b), limit cpu",
        ),
    ],
)
def test_the_status_names_the_database_closest_to_its_limit(of: Snapshot, expected: str) -> None:
    """Those whose headroom is not known do not hide it."""
    assert status_text(of, LOAD) == expected


def test_the_status_begins_with_a_configuration_that_was_refused() -> None:
    """An operator who looks why nothing changed reads it first."""
    assert status_text(watching(), REFUSED) == (
        "the configuration on disk is refused, the former one in force, no database is watched"
    )


@given(
    st.lists(st.tuples(st.text(), st.floats(allow_nan=False), st.none() | st.text()), max_size=4)
)
def test_no_name_of_a_database_makes_a_line_of_its_own(
    databases: list[tuple[str, float, str | None]],
) -> None:
    """It would be an assignment: a path may hold "\\nMAINPID=1"."""
    text = status_text(watching(*(database(*one) for one in databases)), LOAD)

    assert text.isprintable()
    assert len(text) <= MAX_STATUS_CHARACTERS


@given(
    st.lists(
        st.tuples(st.floats(0.1, 100.0), st.booleans(), st.booleans(), st.floats(0.0, 1.0)),
        max_size=60,
    )
)
def test_statuses_keep_their_distance_and_the_watchdog_gets_no_false_food(
    looks: list[tuple[float, bool, bool, float]],
) -> None:
    """Whatever happens in whatever order."""
    told, at, last_status = Told(), 0.0, -math.inf
    for step, serving, ticking, headroom in looks:
        at += step
        look = seen(at, watching(database(headroom=headroom)), serving=serving, ticking=ticking)
        lines, after = next_notice(told, look, WATCHDOG_SECONDS)
        if "WATCHDOG=1" in lines:
            assert serving
            assert ticking
            assert at - told.fed_at >= WATCHDOG_SECONDS / 2
        if any(line.startswith("STATUS=") for line in lines):
            assert at - last_status >= STATUS_SECONDS
            last_status = at
        assert ("READY=1" in lines) == (after.ready and not told.ready)
        told = after
