"""Capacity from fio and natural traffic, its caps, and what is left of it."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bandwidth import Capacity, CapacityEstimate, available_bandwidth, foreign_writes
from agent.rates import MeanRate
from agent.readings import Known, Missing
from tests.unit.agent_samples import DAY, MIB, a_fio, disk_rates_of, known

NO_FIO = Missing("disabled", "fio is switched off")


def measured(rate: float, at: float = 0.0) -> CapacityEstimate:
    estimate = CapacityEstimate(DAY)
    estimate.add_fio(a_fio(at, rate))
    return estimate


def bytes_per_second(estimate: CapacityEstimate, limit: float | None = None) -> float:
    capacity = estimate.capacity(limit, NO_FIO, 0.0)
    assert isinstance(capacity, Known)
    return capacity.value.bytes_per_second


def saturate(
    estimate: CapacityEstimate, since: float, until: float, rate: float, step: float = 10.0
) -> None:
    at = since
    while at < until:
        at += step
        estimate.add_traffic(at, step, disk_rates_of(rate, busy=0.99, queue=16.0))


def test_without_any_measurement_there_is_no_capacity_but_a_reason() -> None:
    """A limit caps a capacity; it does not make one."""
    estimate = CapacityEstimate(DAY)
    assert estimate.capacity(None, NO_FIO, 0.0) is NO_FIO
    assert estimate.capacity(100.0 * MIB, NO_FIO, 0.0) is NO_FIO
    ratio = estimate.ratio_to_best()
    assert isinstance(ratio, Missing)
    assert ratio.reason == "not_yet_measured"


def test_fio_and_what_others_wrote_meanwhile_make_the_capacity() -> None:
    """Capacity is everyone's total; it carries fio's spread, source and time."""
    estimate = CapacityEstimate(DAY)
    estimate.add_fio(a_fio(50.0, 300.0, other_write_bytes_per_second=100.0, spread_ratio=0.1))
    assert estimate.capacity(None, NO_FIO, 0.0) == Known(Capacity(400.0, 0.1, False), "fio", 50.0)


def test_others_may_be_unknown() -> None:
    """Without diskstats fio's own rate is all there is."""
    estimate = CapacityEstimate(DAY)
    estimate.add_fio(a_fio(50.0, 300.0, other_write_bytes_per_second=None))
    assert bytes_per_second(estimate) == 300.0


def test_a_fio_that_wrote_nothing_measures_nothing() -> None:
    """0 is not a capacity."""
    estimate = measured(0.0)
    assert estimate.capacity(None, NO_FIO, 0.0) is NO_FIO


def test_a_newer_fio_replaces_the_older_one() -> None:
    """Up or down within a factor of ten."""
    estimate = measured(500.0)
    estimate.add_fio(a_fio(60.0, 400.0))
    assert estimate.capacity(None, NO_FIO, 0.0) == Known(Capacity(400.0, 0.05, False), "fio", 60.0)
    assert estimate.ratio_to_best() == Known(0.8, "fio", 60.0)


def test_natural_traffic_above_the_measurement_lifts_it_as_a_lower_bound() -> None:
    """The device demonstrably carried it, saturated or not."""
    estimate = measured(100.0)
    estimate.add_traffic(10.0, 10.0, disk_rates_of(150.0))
    estimate.add_traffic(20.0, 10.0, disk_rates_of(120.0))
    expected = Known(Capacity(150.0, None, True), "observed traffic", 10.0)
    assert expected == estimate.capacity(None, NO_FIO, 0.0)


def test_natural_traffic_below_the_measurement_says_nothing() -> None:
    """An idle device is not a slow one."""
    estimate = measured(100.0)
    estimate.add_traffic(10.0, 10.0, disk_rates_of(1.0))
    assert bytes_per_second(estimate) == 100.0


def test_a_lift_is_forgotten_after_an_hour_and_by_a_newer_measurement() -> None:
    """A device may get slower again."""
    estimate = measured(100.0)
    estimate.add_traffic(10.0, 10.0, disk_rates_of(150.0))
    estimate.add_traffic(3610.0, 10.0, disk_rates_of(1.0))
    assert bytes_per_second(estimate) == 150.0
    estimate.add_traffic(3620.0, 10.0, disk_rates_of(1.0))
    assert bytes_per_second(estimate) == 100.0
    estimate.add_traffic(3630.0, 10.0, disk_rates_of(140.0))
    estimate.add_fio(a_fio(3640.0, 90.0))
    assert bytes_per_second(estimate) == 90.0


def test_what_traffic_proves_is_the_most_of_the_last_hour() -> None:
    """However it went up and down; asked in the middle of it and at its end."""
    rates = np.random.default_rng(1).uniform(1.0, 1000.0, 1500).round()
    estimate = measured(0.5)
    for number, rate in enumerate(rates):
        estimate.add_traffic(10.0 * number, 10.0, disk_rates_of(float(rate)))
        assert bytes_per_second(estimate) == rates[max(0, number - 360) : number + 1].max()


def test_a_short_burst_into_the_cache_lifts_nothing() -> None:
    """Shorter intervals are not a rate that can be held; a tick of 5 s may come a little early."""
    estimate = measured(100.0)
    estimate.add_traffic(10.0, 4.4, disk_rates_of(900.0))
    assert bytes_per_second(estimate) == 100.0
    estimate.add_traffic(20.0, 4.9, disk_rates_of(900.0))
    assert bytes_per_second(estimate) == 900.0


@pytest.mark.parametrize(
    ("limit", "capacity", "source"),
    [(None, 100.0, "fio"), (100.0, 100.0, "fio"), (99.0, 99.0, "limit"), (500.0, 100.0, "fio")],
)
def test_a_limit_set_by_others_caps_the_capacity(
    limit: float | None, capacity: float, source: str
) -> None:
    """Only where it is below the measurement, and then it is the source."""
    found = measured(100.0).capacity(limit, NO_FIO, 0.0)
    assert isinstance(found, Known)
    assert (capacity, source) == (found.value.bytes_per_second, found.source)
    assert not found.value.lower_bound


def test_a_limit_caps_lifted_capacity_too() -> None:
    """What was carried before the limit was set cannot be carried now."""
    estimate = measured(100.0)
    estimate.add_traffic(10.0, 10.0, disk_rates_of(150.0))
    assert bytes_per_second(estimate, 120.0) == 120.0


def test_saturated_traffic_is_a_measurement_after_thirty_seconds_of_full_queue() -> None:
    """And not a moment before; it lowers the capacity, where a lower bound could not."""
    estimate = measured(100.0)
    saturate(estimate, 0.0, 20.0, 60.0)
    assert bytes_per_second(estimate) == 100.0
    saturate(estimate, 20.0, 30.0, 60.0)
    expected = Known(Capacity(60.0, None, False), "saturated traffic", 30.0)
    assert expected == estimate.capacity(None, NO_FIO, 0.0)


def test_saturated_traffic_is_enough_without_fio() -> None:
    """Natural traffic is the best probe."""
    estimate = CapacityEstimate(DAY)
    saturate(estimate, 0.0, 30.0, 60.0)
    assert bytes_per_second(estimate) == 60.0


def test_saturated_traffic_is_the_mean_over_its_time() -> None:
    """Not its peak."""
    estimate = CapacityEstimate(DAY)
    for at, rate in ((10.0, 30.0), (20.0, 60.0), (30.0, 90.0)):
        estimate.add_traffic(at, 10.0, disk_rates_of(rate, busy=1.0, queue=8.0))
    assert estimate.capacity(None, NO_FIO, 0.0) == Known(
        Capacity(90.0, None, True), "observed traffic", 30.0
    )
    ratio = estimate.ratio_to_best()
    assert ratio == Known(1.0, "saturated traffic", 30.0), "the measurement itself is the mean"
    saturate(estimate, 30.0, 130.0, 30.0)
    halved = estimate.ratio_to_best()
    assert isinstance(halved, Known)
    assert halved.value == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("busy", "queue", "read"),
    [(0.979, 16.0, 0.0), (1.0, 7.9, 0.0), (1.0, 16.0, 60.0)],
)
def test_a_device_that_is_busy_shallow_or_mostly_reading_is_not_saturated_by_writes(
    busy: float, queue: float, read: float
) -> None:
    """Busy alone says nothing about an SSD."""
    estimate = measured(100.0)
    for tick in range(1, 20):
        rates = disk_rates_of(60.0, read=read, busy=busy, queue=queue)
        estimate.add_traffic(10.0 * tick, 10.0, rates)
    assert bytes_per_second(estimate) == 100.0


def test_bursts_with_a_full_queue_add_up() -> None:
    """A compaction keeps the device full for some seconds, and the next one comes minutes later."""
    estimate = measured(100.0)
    saturate(estimate, 0.0, 10.0, 60.0)
    estimate.add_traffic(20.0, 10.0, disk_rates_of(5.0, busy=0.1, queue=0.1))
    saturate(estimate, 120.0, 130.0, 60.0)
    assert bytes_per_second(estimate) == 100.0
    saturate(estimate, 300.0, 310.0, 60.0)
    assert bytes_per_second(estimate) == 60.0


def test_bursts_too_far_apart_do_not_add_up() -> None:
    """The device of an hour ago may have been another one."""
    estimate = measured(100.0)
    for start in (0.0, 700.0, 1400.0):
        saturate(estimate, start, start + 10.0, 60.0)
    assert bytes_per_second(estimate) == 100.0


def test_only_the_latest_half_minute_of_full_queue_counts() -> None:
    """A device that halved is told as soon as there is half a minute of it."""
    estimate = CapacityEstimate(DAY)
    saturate(estimate, 0.0, 60.0, 100.0)
    saturate(estimate, 60.0, 90.0, 50.0)
    assert estimate.measured == Known(Capacity(50.0, None, False), "saturated traffic", 90.0)


def test_a_queue_that_is_full_while_busy_time_was_not_counted_is_full() -> None:
    """The kernel samples busy time; requests in flight on average cannot come from nothing."""
    estimate = measured(100.0)
    for tick in range(1, 4):
        rates = disk_rates_of(60.0, busy=0.0, queue=16.0)
        estimate.add_traffic(10.0 * tick, 10.0, rates)
    assert bytes_per_second(estimate) == 60.0


def waiting(
    estimate: CapacityEstimate, *intervals: tuple[float, float], since: float = 0.0
) -> None:
    """Intervals of 5 s, each with its rate and the writes in flight."""
    for number, (rate, depth) in enumerate(intervals, 1):
        rates = dataclasses.replace(
            disk_rates_of(rate, read=rate, busy=0.8, queue=depth),
            writes_per_second=100.0,
            write_await_seconds=depth / 100.0,
        )
        estimate.add_traffic(since + 5.0 * number, 5.0, rates)


FLAT = ((100.0, 1.2), (99.0, 1.9), (100.5, 2.8), (99.5, 1.3))


def test_a_rate_that_deeper_queues_do_not_raise_is_the_capacity() -> None:
    """Compaction bursts of one or two threads never fill the queue, and yet the device is full."""
    estimate = CapacityEstimate(DAY)
    waiting(estimate, *FLAT)
    assert estimate.measured == Known(Capacity(99.75, None, False), "saturated traffic", 20.0)


@pytest.mark.parametrize(
    "intervals",
    [
        FLAT[:3],  # too short
        tuple((rate, 1.5) for rate, _ in FLAT),  # as deep each time: one writer's own pace
        tuple((rate, depth / 3.0) for rate, depth in FLAT),  # nobody waits
        tuple((rate, 1.0 + depth / 10.0) for rate, depth in FLAT),  # hardly deeper
        ((50.0, 1.0), (70.0, 1.4), (90.0, 1.8), (120.0, 2.4)),  # Little's law: there is room
        (*FLAT[:3], (50.0, 2.0)),  # the last one is not on it
    ],
)
def test_without_a_plateau_there_is_no_passive_measurement(
    intervals: tuple[tuple[float, float], ...],
) -> None:
    """Natural traffic is then a lower bound, nothing more."""
    estimate = CapacityEstimate(DAY)
    waiting(estimate, *intervals)
    assert estimate.measured is None


def test_the_writes_in_flight_count_and_not_the_reads() -> None:
    """Writes that RocksDB's own limiter holds back are as flat, beside deep queues of reads."""
    estimate = CapacityEstimate(DAY)
    for number, (rate, depth) in enumerate(FLAT, 1):
        rates = disk_rates_of(rate, read=rate, busy=1.0, queue=depth)
        held = dataclasses.replace(rates, writes_per_second=100.0, write_await_seconds=0.001)
        estimate.add_traffic(5.0 * number, 5.0, held)
    assert estimate.measured is None


def test_a_plateau_below_a_recent_one_waits_until_the_old_one_is_outweighed() -> None:
    """A single slow compaction changes nothing; a device that halved does within a minute."""
    estimate = CapacityEstimate(DAY)
    waiting(estimate, *FLAT * 2)
    half = tuple((rate / 2.0, depth) for rate, depth in FLAT)
    waiting(estimate, *half, since=40.0)
    assert bytes_per_second(estimate) > 99.0
    waiting(estimate, *half * 2, since=60.0)
    found = estimate.measured
    assert found is not None
    assert found.value.bytes_per_second == pytest.approx(50.0, rel=0.02)


def test_a_plateau_whose_rate_is_also_written_with_a_free_queue_was_none() -> None:
    """RocksDB's rate limiter writes at a steady pace, beside deep and shallow queues alike."""
    estimate = measured(300.0)
    waiting(estimate, *FLAT)
    assert bytes_per_second(estimate) == pytest.approx(100.0, rel=0.02)
    waiting(estimate, (99.0, 0.3), since=100.0)
    assert bytes_per_second(estimate) == pytest.approx(100.0, rel=0.02)  # one reading is noise
    waiting(estimate, (100.0, 0.3), since=110.0)
    assert estimate.measured == Known(Capacity(300.0, 0.05, False), "fio", 0.0)
    waiting(estimate, *FLAT, since=120.0)
    assert bytes_per_second(estimate) == 300.0


def test_a_refuted_plateau_that_followed_nothing_leaves_the_capacity_unknown() -> None:
    """Absent rather than wrong."""
    estimate = CapacityEstimate(DAY)
    waiting(estimate, *FLAT)
    waiting(estimate, (100.0, 0.3), (100.0, 0.3), since=100.0)
    assert estimate.measured is None


def test_a_slower_rate_with_a_free_queue_refutes_no_plateau() -> None:
    """Load that comes and goes is the usual case."""
    estimate = CapacityEstimate(DAY)
    waiting(estimate, *FLAT)
    waiting(estimate, *((90.0, 0.3),) * 10, since=100.0)
    assert bytes_per_second(estimate) == pytest.approx(100.0, rel=0.02)


def test_an_aborted_fio_never_lowers_a_measurement() -> None:
    """It bounds the capacity from below, and stands where nothing or less is known."""
    estimate = measured(100.0)
    estimate.add_fio(a_fio(5.0, 40.0, aborted="the LOG says: Stopping writes"))
    assert estimate.measured == Known(Capacity(100.0, 0.05, False), "fio", 0.0)
    estimate.add_fio(a_fio(6.0, 140.0, aborted="the LOG says: Stopping writes"))
    assert estimate.measured == Known(Capacity(140.0, 0.05, True), "fio", 6.0)
    fresh = CapacityEstimate(DAY)
    fresh.add_fio(a_fio(5.0, 40.0, aborted="the LOG says: Stopping writes"))
    assert fresh.measured == Known(Capacity(40.0, 0.05, True), "fio", 5.0)


def test_a_lower_bound_is_no_decline() -> None:
    """It says nothing about how much slower the device became."""
    estimate = measured(100.0)
    estimate.add_fio(a_fio(DAY + 1.0, 40.0, aborted="the LOG says: Stopping writes"))
    assert bytes_per_second(estimate) == 40.0
    ratio = estimate.ratio_to_best()
    assert isinstance(ratio, Missing)
    assert ratio.reason == "lower_bound"


def test_traffic_clearly_above_a_measurement_contradicts_it() -> None:
    """Until there is a newer measurement; a little above is noise."""
    estimate = measured(100.0)
    assert estimate.contradiction(0.0) is None
    estimate.add_traffic(10.0, 10.0, disk_rates_of(109.0))
    assert estimate.contradiction(10.0) is None
    estimate.add_traffic(20.0, 10.0, disk_rates_of(150.0))
    found = estimate.contradiction(20.0)
    assert found is not None
    assert "1.50 times" in found
    estimate.add_fio(a_fio(30.0, 140.0))
    assert estimate.contradiction(30.0) is None


def test_a_queue_full_clearly_below_a_measurement_contradicts_it() -> None:
    """Too short to be a measurement of its own, but twice is no chance."""
    estimate = measured(100.0)
    saturate(estimate, 0.0, 10.0, 60.0)
    assert estimate.contradiction(10.0) is None
    saturate(estimate, 10.0, 20.0, 60.0)
    assert "0.60" in str(estimate.contradiction(20.0))


@pytest.mark.parametrize("absurd", [1001.0, 9.99, 1e12, 1e-3])
def test_an_absurd_measurement_needs_another_to_confirm_it(absurd: float) -> None:
    """More than a factor of ten away from two that agreed, either way."""
    estimate = measured(100.0)
    estimate.add_fio(a_fio(1.0, 100.0))
    estimate.add_fio(a_fio(60.0, absurd))
    assert estimate.capacity(None, NO_FIO, 0.0) == Known(Capacity(100.0, 0.05, False), "fio", 1.0)
    assert estimate.ratio_to_best() == Known(1.0, "fio", 1.0)
    estimate.add_fio(a_fio(120.0, absurd * 1.5))
    assert bytes_per_second(estimate) == absurd * 1.5


def test_of_a_first_and_a_second_that_disagree_the_lower_is_believed_until_a_third() -> None:
    """Nothing speaks for the first one but that it came first."""
    estimate = measured(5000.0)
    estimate.add_fio(a_fio(60.0, 100.0))
    assert estimate.measured == Known(Capacity(100.0, 0.05, False), "fio", 60.0)
    assert estimate.ratio_to_best() == Known(1.0, "fio", 60.0)
    other = measured(100.0)
    other.add_fio(a_fio(60.0, 5000.0))
    assert bytes_per_second(other) == 100.0
    for one in (estimate, other):
        one.add_fio(a_fio(120.0, 4900.0))
        assert bytes_per_second(one) == 4900.0


@pytest.mark.parametrize("plausible", [1000.0, 10.0])
def test_a_change_by_exactly_ten_is_believed(plausible: float) -> None:
    """The band is closed."""
    estimate = measured(100.0)
    estimate.add_fio(a_fio(60.0, plausible))
    assert plausible == bytes_per_second(estimate)


def test_two_absurd_measurements_that_disagree_confirm_nothing() -> None:
    """They must lie within a factor of two of each other."""
    estimate = measured(100.0)
    estimate.add_fio(a_fio(60.0, 5000.0))
    estimate.add_fio(a_fio(120.0, 10001.0))
    assert bytes_per_second(estimate) == 100.0
    estimate.add_fio(a_fio(180.0, 9000.0))
    assert bytes_per_second(estimate) == 9000.0


def test_a_plausible_measurement_clears_the_suspicion() -> None:
    """A later absurd one has to be confirmed on its own."""
    estimate = measured(100.0)
    estimate.add_fio(a_fio(60.0, 5000.0))
    estimate.add_fio(a_fio(120.0, 110.0))
    estimate.add_fio(a_fio(180.0, 5000.0))
    assert bytes_per_second(estimate) == 110.0


def test_one_fio_result_handed_in_every_tick_does_not_confirm_itself() -> None:
    """The daemon shows the last result until there is a newer one."""
    estimate = measured(100.0)
    for _ in range(5):
        estimate.add_fio(a_fio(60.0, 5000.0))
    assert bytes_per_second(estimate) == 100.0


def test_a_decline_is_told_against_the_best_measurement() -> None:
    """It does not follow the device down."""
    estimate = measured(100.0)
    estimate.add_fio(a_fio(1.0, 300.0))
    estimate.add_fio(a_fio(2.0, 200.0))
    assert estimate.ratio_to_best() == Known(200.0 / 300.0, "fio", 2.0)


def test_measurements_of_different_kinds_are_not_compared() -> None:
    """Natural traffic rarely reaches fio's long sequential writes: that is no decline."""
    estimate = measured(100.0)
    saturate(estimate, 0.0, 30.0, 60.0)
    assert estimate.ratio_to_best() == Known(1.0, "saturated traffic", 30.0)
    estimate.add_fio(a_fio(60.0, 50.0))
    assert estimate.ratio_to_best() == Known(0.5, "fio", 60.0)


def test_a_fio_held_back_by_its_own_rate_limit_gives_a_lower_bound() -> None:
    """It found out what it was allowed, not what the device can do."""
    estimate = CapacityEstimate(DAY)
    estimate.add_fio(a_fio(5.0, 100.0, rate_limited=True))
    assert estimate.capacity(None, NO_FIO, 5.0) == Known(Capacity(100.0, 0.05, True), "fio", 5.0)


def test_a_measurement_older_than_the_maximal_age_is_stale() -> None:
    """Absent with a reason, limit or not, until there is a newer one."""
    estimate = measured(100.0)
    assert isinstance(estimate.capacity(None, NO_FIO, DAY), Known)
    for limit in (None, 10.0):
        stale = estimate.capacity(limit, NO_FIO, DAY + 1.0)
        assert isinstance(stale, Missing)
        assert stale.reason == "stale"
    estimate.add_fio(a_fio(DAY + 2.0, 90.0))
    assert isinstance(estimate.capacity(None, NO_FIO, DAY + 3.0), Known)


@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.floats(1.0, 1e10),
            st.floats(1.0, 60.0),
            st.floats(0.0, 1.0),
            st.floats(0.0, 64.0),
        ),
        max_size=40,
    ),
    st.none() | st.floats(1.0, 1e10),
)
def test_capacity_is_within_the_limit_and_never_clearly_below_the_last_traffic(
    steps: list[tuple[bool, float, float, float, float]], limit: float | None
) -> None:
    """Whatever comes in: capped, positive, and at least what was just carried."""
    estimate = CapacityEstimate(DAY)
    now = 0.0
    carried = 0.0
    for is_fio, rate, elapsed, busy, queue in steps:
        now += elapsed
        if is_fio:
            estimate.add_fio(a_fio(now, rate))
            carried = 0.0
        else:
            estimate.add_traffic(now, elapsed, disk_rates_of(rate, busy=busy, queue=queue))
            carried = rate if elapsed >= 5.0 else 0.0
        capacity = estimate.capacity(limit, NO_FIO, 0.0)
        if isinstance(capacity, Known):
            assert 0 < capacity.value.bytes_per_second <= (limit or 1e10)
            noise = 1.03 * capacity.value.bytes_per_second
            assert noise >= min(carried, limit or carried)
            assert capacity.at <= now


def test_foreign_is_what_the_device_wrote_beyond_our_own() -> None:
    """With both sources named, and as old as the older of the two."""
    foreign = foreign_writes(MeanRate(100.0, 300.0, 50.0), Known(30.0, "process", 48.0))
    assert foreign == Known(70.0, "diskstats - process", 48.0)


def test_foreign_is_never_negative() -> None:
    """Page cache and device do not count at the same moment."""
    assert foreign_writes(MeanRate(100.0, 300.0, 50.0), known(130.0)) == Known(
        0.0, "diskstats - test", 0.0
    )


def test_foreign_is_missing_when_either_side_is() -> None:
    """Never 0 for unknown."""
    absent = Missing("no_log", "there is no LOG")
    assert foreign_writes(MeanRate(100.0, 300.0, 50.0), absent) is absent
    missing = foreign_writes(None, known(1.0))
    assert isinstance(missing, Missing)
    assert missing.reason == "not_yet_measured"


def capacity_of(rate: float, at: float = 9.0) -> Known[Capacity]:
    return Known(Capacity(rate, None, False), "fio", at)


def test_available_is_capacity_less_foreign_less_compaction() -> None:
    """V4's device_write_bw; as old as the oldest of the three."""
    available = available_bandwidth(
        capacity_of(100.0), Known(30.0, "x", 8.0), Known(20.0, "y", 7.0)
    )
    assert available == Known(50.0, "fio - foreign - compaction", 7.0)


@pytest.mark.parametrize(("foreign", "compaction"), [(60.0, 40.0), (100.0, 0.0), (0.0, 101.0)])
def test_nothing_left_is_a_reason_and_not_a_zero(foreign: float, compaction: float) -> None:
    """The models are not defined at 0."""
    available = available_bandwidth(capacity_of(100.0), known(foreign), known(compaction))
    assert isinstance(available, Missing)
    assert available.reason == "no_bandwidth_left"


def test_the_reason_shows_the_three_figures_in_mib() -> None:
    """A person sees who uses the device."""
    available = available_bandwidth(capacity_of(100 * MIB), known(70 * MIB), known(40 * MIB))
    assert isinstance(available, Missing)
    for part in ("foreign writes (70 MiB/s)", "compaction (40 MiB/s)", "capacity (100 MiB/s)"):
        assert part in available.detail


def test_available_is_missing_for_the_reason_of_its_first_missing_part() -> None:
    """Capacity first, then foreign, then compaction."""
    one, two, three = (Missing(name, name) for name in ("one", "two", "three"))
    assert available_bandwidth(one, two, three) is one
    assert available_bandwidth(capacity_of(1.0), two, three) is two
    assert available_bandwidth(capacity_of(1.0), known(0.0), three) is three
