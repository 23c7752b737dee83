"""One device over time: its traffic without fio's, its capacity under limits."""

import pytest

from agent.device_state import DeviceState
from agent.rates import MeanRate
from agent.readings import Known, Missing
from agent.snapshot import DeviceSnapshot
from probes.diskstats import DiskstatsProbe
from probes.samples import BlockLayer
from tests.unit.agent_samples import (
    ABSENT,
    DAY,
    MIB,
    ROCKSDB,
    FixedClock,
    a_device,
    a_fio,
    device_findings,
    disk_counters,
    diskstats,
    known,
    limits_of,
)


def tick(
    state: DeviceState, at: float, written: float, *, fio_active: bool = False
) -> DeviceSnapshot:
    counters = diskstats(at, disk_counters(written))
    return state.update(device_findings(fio_active=fio_active), counters, (), 0.0)


def test_rates_need_two_readings() -> None:
    """The first tick says why there are none."""
    first = tick(DeviceState(DAY), 0.0, 1e9)
    for quantity in (first.write_bytes_per_second, first.read_bytes_per_second):
        assert isinstance(quantity, Missing)
        assert quantity.reason == "not_yet_measured"


def test_rates_are_those_of_the_last_interval() -> None:
    """Writes, reads, queue and await, each with its source and time."""
    state = DeviceState(DAY)
    tick(state, 0.0, 0.0)
    after = disk_counters(
        1024_000,
        sectors_read=1000,
        reads_completed=5,
        writes_completed=100,
        write_milliseconds=500,
        weighted_io_milliseconds=20_000,
    )
    snapshot = state.update(device_findings(), diskstats(10.0, after), (), 0.0)
    assert snapshot.write_bytes_per_second == Known(102_400.0, "diskstats", 10.0)
    assert snapshot.read_bytes_per_second == Known(51_200.0, "diskstats", 10.0)
    assert snapshot.write_await_seconds == Known(0.005, "diskstats", 10.0)
    assert snapshot.mean_queue_depth == Known(2.0, "diskstats", 10.0)


def test_an_idle_interval_has_no_await() -> None:
    """No request, no mean; the other rates are zero."""
    state = DeviceState(DAY)
    tick(state, 0.0, 0.0)
    snapshot = tick(state, 10.0, 0.0)
    assert snapshot.write_bytes_per_second == Known(0.0, "diskstats", 10.0)
    assert isinstance(snapshot.write_await_seconds, Missing)
    assert snapshot.write_await_seconds.reason == "no_requests"


def test_counters_that_went_back_give_no_rate_and_the_next_two_readings_do() -> None:
    """A reset or a wrap is not negative traffic."""
    state = DeviceState(DAY)
    tick(state, 0.0, 1e9)
    reset = tick(state, 10.0, 0.0)
    assert isinstance(reset.write_bytes_per_second, Missing)
    assert reset.write_bytes_per_second.reason == "counter_reset"
    assert tick(state, 20.0, 5120.0).write_bytes_per_second == Known(512.0, "diskstats", 20.0)
    assert state.natural_writes() == MeanRate(512.0, 10.0, 20.0)


def test_a_vanished_device_has_neither_rates_nor_a_remembered_mean() -> None:
    """Never the old value."""
    state = DeviceState(DAY)
    tick(state, 0.0, 0.0)
    tick(state, 10.0, 5120.0)
    gone = state.update(device_findings(), diskstats(20.0), (), 0.0)
    assert isinstance(gone.write_bytes_per_second, Missing)
    assert gone.write_bytes_per_second.reason == "device_vanished"
    assert state.natural_writes() is None
    back = tick(state, 30.0, 9e9)
    assert isinstance(back.write_bytes_per_second, Missing)
    assert tick(state, 40.0, 9e9).write_bytes_per_second == Known(0.0, "diskstats", 40.0)


def test_without_diskstats_the_reason_is_its_own() -> None:
    """And the mean of minutes ago is not shown as of now."""
    state = DeviceState(DAY)
    tick(state, 0.0, 0.0)
    tick(state, 10.0, 5120.0)
    assert state.update(device_findings(), ABSENT, (), 0.0).write_bytes_per_second is ABSENT
    assert state.natural_writes() is None


def test_natural_writes_are_the_mean_of_five_minutes() -> None:
    """A burst before that is forgotten."""
    state = DeviceState(DAY)
    written = 0.0
    for step in range(60):
        written += 51_200_000.0 if step < 20 else 5120.0
        tick(state, 10.0 * step, written)
    natural = state.natural_writes()
    assert natural is not None
    assert natural.per_second == pytest.approx(512.0)


def test_intervals_that_fio_touched_are_not_natural_traffic() -> None:
    """Active at either end: the whole interval is left out of mean and capacity."""
    state = DeviceState(DAY)
    written = 0.0
    for step, active in enumerate([False, False, True, True, False, False]):
        written += 5120.0 if step in (1, 5) else 1e12
        snapshot = tick(state, 10.0 * step, written, fio_active=active)
    assert state.natural_writes() == MeanRate(512.0, 20.0, 50.0)
    assert isinstance(snapshot.capacity, Missing)


def test_a_fio_that_ran_between_two_ticks_is_told_by_its_result() -> None:
    """It was active at neither end, but it ended after the interval had begun."""
    state = DeviceState(DAY)
    tick(state, 0.0, 0.0)
    tick(state, 10.0, 5120.0)
    result = known(a_fio(15.0, 100 * MIB), at=15.0)
    state.update(device_findings(fio=result), diskstats(20.0, disk_counters(1e9)), (), 0.0)
    assert state.natural_writes() == MeanRate(512.0, 10.0, 10.0)
    state.update(device_findings(fio=result), diskstats(30.0, disk_counters(1e9 + 10_240)), (), 0.0)
    assert state.natural_writes() == MeanRate(768.0, 20.0, 30.0)


def test_capacity_and_fio_are_missing_for_fios_reason() -> None:
    """Nothing was measured, and the snapshot says why."""
    snapshot = DeviceState(DAY).update(device_findings(), ABSENT, (), 0.0)
    assert snapshot.capacity is snapshot.capacity_ratio is snapshot.fio is ABSENT


def test_capacity_comes_from_fio_and_outlives_its_result() -> None:
    """The last valid value is kept with its age when a later fio fails."""
    state = DeviceState(DAY)
    fio = Known(a_fio(5.0, 100 * MIB, other_write_bytes_per_second=20 * MIB), "fio", 5.0)
    snapshot = state.update(device_findings(fio=fio), ABSENT, (), 0.0)
    assert isinstance(snapshot.capacity, Known)
    assert snapshot.capacity.value.bytes_per_second == 120 * MIB
    assert snapshot.fio == Known(100 * MIB, "fio", 5.0)
    assert snapshot.capacity_ratio == Known(1.0, "fio", 5.0)
    later = state.update(device_findings(), ABSENT, (), 0.0)
    assert later.fio is ABSENT
    assert later.capacity == snapshot.capacity


def test_a_capacity_that_is_too_old_is_missing_with_its_ratio() -> None:
    """By the maximal age the state was made with."""
    state = DeviceState(DAY)
    findings = device_findings(fio=known(a_fio(5.0, 100 * MIB), at=5.0))
    assert isinstance(state.update(findings, ABSENT, (), DAY).capacity, Known)
    old = state.update(device_findings(), ABSENT, (), DAY + 6.0)
    for quantity in (old.capacity, old.capacity_ratio):
        assert isinstance(quantity, Missing)
        assert quantity.reason == "stale"


def test_a_decline_shows_in_the_capacity_ratio() -> None:
    """Against the best measurement known."""
    state = DeviceState(DAY)
    for at, rate in ((5.0, 100.0), (6.0, 60.0)):
        snapshot = state.update(
            device_findings(fio=known(a_fio(at, rate * MIB), at=at)), ABSENT, (), at
        )
    assert snapshot.capacity_ratio == Known(0.6, "fio", 6.0)


def test_the_lowest_limit_on_any_layer_of_the_stack_caps_the_capacity() -> None:
    """The control group may name the partition or the disk; other devices' limits do not count."""
    state = DeviceState(DAY)
    fio = known(a_fio(5.0, 100 * MIB))
    limits = [
        limits_of(d8_0=60 * MIB, d9_9=1.0),
        limits_of(d8_01=50 * MIB),  # the partition of a_device()
        limits_of(),
    ]
    snapshot = state.update(device_findings(fio=fio), ABSENT, limits, 0.0)
    assert snapshot.limit_bytes_per_second == 50 * MIB
    assert isinstance(snapshot.capacity, Known)
    assert (snapshot.capacity.value.bytes_per_second, snapshot.capacity.source) == (
        50 * MIB,
        "limit",
    )


def test_a_configured_limit_counts_like_any_other() -> None:
    """The lower of configuration and control group."""
    findings = device_findings(
        fio=known(a_fio(5.0, 100 * MIB)), configured_limit_bytes_per_second=40 * MIB
    )
    assert DeviceState(DAY).update(findings, ABSENT, (), 0.0).limit_bytes_per_second == 40 * MIB
    lower = [limits_of(d8_0=30 * MIB)]
    assert DeviceState(DAY).update(findings, ABSENT, lower, 0.0).limit_bytes_per_second == 30 * MIB
    assert (
        DeviceState(DAY).update(device_findings(), ABSENT, (), 0.0).limit_bytes_per_second is None
    )


def test_a_limit_is_not_a_decline_of_the_device() -> None:
    """The ratio is that of the measurements; the cap shows in the capacity alone."""
    state = DeviceState(DAY)
    limit = [limits_of(d8_0=10 * MIB)]
    healthy = state.update(device_findings(fio=known(a_fio(5.0, 100 * MIB))), ABSENT, limit, 0.0)
    assert healthy.capacity_ratio == Known(1.0, "fio", 5.0)
    worn = state.update(device_findings(fio=known(a_fio(6.0, 50 * MIB))), ABSENT, limit, 0.0)
    assert worn.capacity_ratio == Known(0.5, "fio", 6.0)
    for snapshot in (healthy, worn):
        assert isinstance(snapshot.capacity, Known)
        assert snapshot.capacity.value.bytes_per_second == 10 * MIB


def test_natural_traffic_lifts_the_capacity() -> None:
    """The whole way from counters to the lower bound."""
    state = DeviceState(DAY)
    fio = known(a_fio(-5.0, 1 * MIB), at=-5.0)
    state.update(device_findings(fio=fio), diskstats(0.0, disk_counters(0.0)), (), 0.0)
    snapshot = state.update(
        device_findings(fio=fio), diskstats(10.0, disk_counters(20 * MIB)), (), 0.0
    )
    assert isinstance(snapshot.capacity, Known)
    assert snapshot.capacity.value.bytes_per_second == 2 * MIB
    assert snapshot.capacity.value.lower_bound


def test_what_the_device_is_goes_into_the_snapshot() -> None:
    """Name, number, sizes and the layers of its stack."""
    device = a_device(layers=(BlockLayer("dm-0", "252:0", "dm"), BlockLayer("sda", "8:0", "disk")))
    snapshot = DeviceState(DAY).update(device_findings(sample=device), ABSENT, (), 0.0)
    assert (snapshot.name, snapshot.devnum, snapshot.layers) == ("sda", "8:0", ("dm-0", "sda"))
    assert (snapshot.size_bytes, snapshot.filesystem_free_bytes) == (10**12, 10**11)
    assert (snapshot.filesystem_type, snapshot.scratch_directory) == ("ext4", "/srv/scratch")


@pytest.mark.parametrize(
    ("tree", "name", "devnum"),
    [("debian12-vm", "nvme0n1", "259:0"), ("virtio-loop", "loop0", "7:0")],
)
def test_real_counters_that_stand_still_are_an_idle_device(
    tree: str, name: str, devnum: str
) -> None:
    """A captured /proc/diskstats, read twice."""
    proc = ROCKSDB.parent / "proc" / tree
    sample = DiskstatsProbe(FixedClock(), str(proc)).read()
    findings = device_findings(name=name, sample=a_device(name, devnum))
    state = DeviceState(DAY)
    state.update(findings, Known(sample, "diskstats", 0.0), (), 0.0)
    again = diskstats(10.0, *sample.disks.values())
    snapshot = state.update(findings, again, (), 0.0)
    assert snapshot.write_bytes_per_second == Known(0.0, "diskstats", 10.0)
    assert snapshot.mean_queue_depth == Known(0.0, "diskstats", 10.0)


def test_short_ticks_prove_a_rate_together() -> None:
    """Intervals under 5 s are bursts; a fast tick must add them up instead of losing them."""
    state = DeviceState(capacity_max_age_seconds=3600.0)
    measured = device_findings(fio=known(a_fio(0.0, 10 * MIB)))
    for second in range(8):
        counters = diskstats(float(second), disk_counters(second * 100.0 * MIB))
        snapshot = state.update(measured, counters, (), float(second))

    assert isinstance(snapshot.capacity, Known)
    assert snapshot.capacity.source == "observed traffic"
    assert snapshot.capacity.value.bytes_per_second == pytest.approx(100 * MIB)
