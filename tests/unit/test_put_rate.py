"""The observed put rate: exact from sequence numbers, else from flush to flush."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.put_rate import PutRate
from agent.readings import Known, Missing, Quantity
from probes.rocksdb.samples import LogSample
from tests.unit.agent_samples import (
    ABSENT,
    WALL,
    a_flush,
    a_log,
    a_manifest,
    a_wal,
    captured_log,
    known,
    truth,
)


def reason(quantity: Quantity) -> str:
    assert isinstance(quantity, Missing)
    return quantity.reason


def sequence_of(rate: PutRate) -> Known[int] | Missing:
    return rate.sequence_number


def by_wal(rate: PutRate, at: float, sequence: int) -> Quantity:
    return rate.update(a_wal(at, sequence), ABSENT, ABSENT, at, WALL + at)


def by_manifest(rate: PutRate, at: float, sequence: int) -> Quantity:
    manifest = known(a_manifest(at, last_sequence=sequence), at=at)
    return rate.update(ABSENT, manifest, ABSENT, at, WALL + at)


def by_log(log: LogSample, now: float = 0.0, wall_seconds: float = WALL) -> Quantity:
    return PutRate().update(ABSENT, ABSENT, known(log, at=now), now, wall_seconds)


def flushes(*walls: float, **changes: int | None) -> LogSample:
    return a_log(recent_flushes=tuple(a_flush(wall, **changes) for wall in walls))


def test_the_rate_is_the_difference_of_sequence_numbers() -> None:
    """Exact, from the second reading on."""
    rate = PutRate()
    assert reason(by_wal(rate, 0.0, 1000)) == "not_yet_measured"
    assert by_wal(rate, 10.0, 501_000) == Known(50_000.0, "wal", 10.0)


def test_the_rate_is_the_mean_of_the_last_sixty_seconds() -> None:
    """What came before is forgotten after a minute, not sooner."""
    rate = PutRate()
    sequence = 0
    for tick in range(13):
        sequence += 10_000 if tick <= 6 else 20_000
        found = by_wal(rate, 10.0 * tick, sequence)
        if tick == 9:
            assert found == Known((3 * 10_000 + 3 * 20_000) / 60.0, "wal", 90.0)
    assert found == Known(2000.0, "wal", 120.0)


def test_an_idle_database_has_a_rate_of_zero() -> None:
    """A sequence number that stands still in the WAL is a measurement."""
    rate = PutRate()
    by_wal(rate, 0.0, 1000)
    assert by_wal(rate, 10.0, 1000) == Known(0.0, "wal", 10.0)


def test_a_sequence_number_that_went_back_gives_no_rate() -> None:
    """A recreated database begins anew, and so does its rate."""
    rate = PutRate()
    by_wal(rate, 0.0, 1_000_000)
    by_wal(rate, 10.0, 2_000_000)
    assert reason(by_wal(rate, 20.0, 5)) == "not_yet_measured"
    assert by_wal(rate, 30.0, 105) == Known(10.0, "wal", 30.0)


def test_a_wal_that_was_gone_starts_over() -> None:
    """Rates do not span the time in which nothing was known."""
    rate = PutRate()
    by_wal(rate, 0.0, 0)
    by_wal(rate, 10.0, 1000)
    assert rate.update(ABSENT, ABSENT, ABSENT, 20.0, WALL) is ABSENT
    assert reason(by_wal(rate, 30.0, 9000)) == "not_yet_measured"


def test_the_sequence_number_is_the_wals_else_the_manifests() -> None:
    """The MANIFEST's lags by what is not flushed yet."""
    rate = PutRate()
    assert isinstance(sequence_of(rate), Missing)
    manifest = known(a_manifest(1.0, last_sequence=900), at=1.0)
    rate.update(a_wal(2.0, 1000), manifest, ABSENT, 2.0, WALL)
    assert sequence_of(rate) == Known(1000, "wal", 2.0)
    rate.update(ABSENT, manifest, ABSENT, 3.0, WALL)
    assert sequence_of(rate) == Known(900, "manifest", 1.0)
    rate.update(ABSENT, ABSENT, ABSENT, 4.0, WALL)
    assert sequence_of(rate) is ABSENT


def test_the_wal_comes_before_the_log_and_the_log_before_the_manifest() -> None:
    """The ladder, each rung with its own figure."""
    log = known(flushes(WALL - 20.0, WALL - 10.0, WALL))  # 100 puts/s
    rate = PutRate()
    for at, wal, flushed in ((0.0, 0, 0), (10.0, 70, 300), (20.0, 140, 600), (30.0, 210, 900)):
        manifest = known(a_manifest(at, last_sequence=flushed), at=at)
        found = rate.update(a_wal(at, wal), manifest, log, at, WALL)
    assert found == Known(7.0, "wal", 30.0)
    assert rate.update(ABSENT, manifest, log, 30.0, WALL) == Known(100.0, "log flush events", 30.0)
    assert rate.update(ABSENT, manifest, ABSENT, 30.0, WALL) == Known(30.0, "manifest", 30.0)


def test_a_flush_holds_what_came_since_the_one_before() -> None:
    """So the entries of the first belong to an unknown time and do not count."""
    log = a_log(
        recent_flushes=(
            a_flush(WALL - 60.0, entries=10**9),
            a_flush(WALL - 30.0, entries=600),
            a_flush(WALL, entries=900),
        )
    )
    assert by_log(log) == Known(25.0, "log flush events", 0.0)


def test_flushes_that_finished_out_of_order_are_put_in_order() -> None:
    """The first in time is left out, not the first in the list."""
    log = a_log(
        recent_flushes=(
            a_flush(WALL - 30.0, entries=600),
            a_flush(WALL, entries=900),
            a_flush(WALL - 60.0, entries=10**9),
        )
    )
    assert by_log(log) == Known(25.0, "log flush events", 0.0)


def test_fewer_than_three_flushes_with_entries_are_no_rate() -> None:
    """Two tell one interval, which may be any part of a burst."""
    assert by_log(flushes(WALL - 10.0, WALL)) is ABSENT
    assert by_log(flushes(WALL - 20.0, WALL - 10.0, WALL, entries=None)) is ABSENT
    assert by_log(flushes(WALL, WALL, WALL)) is ABSENT


def test_a_rate_out_of_flushes_is_as_old_as_the_last_flush() -> None:
    """It says nothing about the time since."""
    log = flushes(WALL - 40.0, WALL - 20.0, WALL)
    assert by_log(log, now=500.0, wall_seconds=WALL + 30.0) == Known(50.0, "log flush events", 470)


def test_a_flush_overdue_by_three_times_the_usual_distance_ends_the_rate() -> None:
    """By the clock: the LOG of an idle database has no later line to tell it."""
    log = flushes(WALL - 40.0, WALL - 20.0, WALL)
    assert isinstance(by_log(log, wall_seconds=WALL + 60.0), Known)
    assert by_log(log, wall_seconds=WALL + 60.1) is ABSENT


def test_flushes_every_second_may_be_late_by_half_a_minute() -> None:
    """The LOG itself lags by up to ten seconds."""
    log = flushes(WALL - 2.0, WALL - 1.0, WALL)
    assert isinstance(by_log(log, wall_seconds=WALL + 30.0), Known)
    assert by_log(log, wall_seconds=WALL + 30.1) is ABSENT


def test_a_clock_that_was_set_back_does_not_make_a_rate_of_the_future() -> None:
    """The reading is as old as the tick at least."""
    log = flushes(WALL - 40.0, WALL - 20.0, WALL)
    found = by_log(log, now=500.0, wall_seconds=WALL - 100.0)
    assert found == Known(50.0, "log flush events", 500.0)


@pytest.mark.parametrize("name", ["v5.3.0", "v6.17.3", "v7.8.3", "v9.8.4", "v11.8.1"])
def test_the_flushes_of_a_real_log_give_the_rate_at_which_it_was_written(name: str) -> None:
    """Against the operations counted by the writer, over the time of the flushes."""
    log = captured_log(name)
    walls = [flush.wall_seconds for flush in log.recent_flushes]
    expected = truth(name)["operations_total"] / (max(walls) - min(walls))
    found = by_log(log, wall_seconds=max(walls))
    assert isinstance(found, Known)
    assert expected == pytest.approx(found.value, rel=0.15)


def test_the_manifest_tells_a_rate_between_two_flushes_that_were_seen_to_happen() -> None:
    """The number found at first was reached at an unknown time before."""
    rate = PutRate()
    by_manifest(rate, 0.0, 1_000_000)
    assert by_manifest(rate, 10.0, 2_000_000) is ABSENT
    for at in (20.0, 30.0, 40.0):
        assert by_manifest(rate, at, 2_000_000) is ABSENT
    assert by_manifest(rate, 50.0, 2_400_000) == Known(10_000.0, "manifest", 50.0)


def test_a_standing_manifest_keeps_its_rate_until_a_flush_is_overdue() -> None:
    """Three times the mean distance between flushes, and a minute at least."""
    rate = PutRate()
    for flush in range(11):
        by_manifest(rate, 100.0 * flush, 5000 * flush)
    assert by_manifest(rate, 1300.0, 50_000) == Known(50.0, "manifest", 1000.0)
    assert by_manifest(rate, 1300.1, 50_000) is ABSENT
    quick = PutRate()
    for flush in range(11):
        by_manifest(quick, 1.0 * flush, 5000 * flush)
    assert isinstance(by_manifest(quick, 70.0, 50_000), Known)
    assert by_manifest(quick, 70.1, 50_000) is ABSENT


def test_a_manifest_whose_number_went_back_gives_no_rate() -> None:
    """Neither across the reset nor from the first number after it."""
    rate = PutRate()
    for at, sequence in ((0.0, 0), (10.0, 1000), (20.0, 2000)):
        found = by_manifest(rate, at, sequence)
    assert found == Known(100.0, "manifest", 20.0)
    assert by_manifest(rate, 30.0, 5) is ABSENT
    assert by_manifest(rate, 40.0, 500) is ABSENT
    assert by_manifest(rate, 50.0, 700) == Known(20.0, "manifest", 50.0)


def test_a_flush_during_a_gap_in_the_readings_has_no_time() -> None:
    """The rate after it spans the gap from flush to flush."""
    rate = PutRate()
    for at, sequence in ((0.0, 0), (10.0, 1000), (20.0, 2000)):
        by_manifest(rate, at, sequence)
    rate.update(ABSENT, ABSENT, ABSENT, 30.0, WALL)
    assert by_manifest(rate, 59.0, 4000) == Known(100.0, "manifest", 20.0)
    assert by_manifest(rate, 60.0, 5000) == Known(4000 / 50.0, "manifest", 60.0)


@given(
    st.lists(
        st.tuples(
            st.floats(0.1, 30.0),
            st.none() | st.integers(0, 10**9),
            st.none() | st.integers(0, 10**9),
        ),
        max_size=60,
    )
)
def test_no_rate_is_ever_negative_or_from_the_future(
    steps: list[tuple[float, int | None, int | None]],
) -> None:
    """Whatever numbers come and go in WAL and MANIFEST."""
    rate = PutRate()
    now = 0.0
    for elapsed, wal, flushed in steps:
        now += elapsed
        found = rate.update(
            ABSENT if wal is None else a_wal(now, wal),
            ABSENT if flushed is None else known(a_manifest(now, last_sequence=flushed), at=now),
            ABSENT,
            now,
            WALL + now,
        )
        if isinstance(found, Known):
            assert found.value >= 0
            assert found.at <= now
            assert found.source == ("wal" if wal is not None else "manifest")


def test_a_manifest_that_is_gone_takes_its_rate_with_it() -> None:
    """The flushes seen before say nothing of a database that cannot be read any more."""
    rate = PutRate()
    for at, sequence in ((0.0, 1000), (10.0, 2000), (20.0, 3000)):
        by_manifest(rate, at, sequence)
    assert rate.update(ABSENT, ABSENT, ABSENT, 21.0, WALL) is ABSENT
