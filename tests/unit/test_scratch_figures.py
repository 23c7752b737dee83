import dataclasses
from typing import Any

import pytest

from agent.calibrate.figures import (
    LoadPoint,
    LoadReading,
    Written,
    cpu_use,
    device_use,
    limit_of,
    open_loop_check,
    saturated_window,
    sustained_puts_per_second,
    written_bytes_per_put,
)
from agent.calibrate.result import CpuUse, DeviceUse, OpenLoopCheck, SaturatedWindow
from probes.samples import HostCpuSample
from tests.unit.agent_samples import a_log, disk_counters


def reading(at: float, puts: int, **changes: Any) -> LoadReading:
    values: dict[str, Any] = {
        "at": at,
        "puts": puts,
        "written": Written(total=puts * 4000, cancelled=0, writer=puts * 1100, flush=puts * 1000),
        "writer_cpu_seconds": 0.3 * at,
        "compaction_cpu_seconds": 0.5 * at,
        "flush_cpu_seconds": 0.1 * at,
        "disk": disk_counters(puts * 5120.0),
        "host": HostCpuSample(at=at, cores=2, busy_seconds=at, total_seconds=2 * at),
        "log": a_log(stall_seconds={"delayed": 0.0, "stopped": 0.0}),
        **changes,
    }
    return LoadReading(**values)


def stalled(delayed: float = 0.0, stopped: float = 0.0) -> Any:
    return a_log(stall_seconds={"delayed": delayed, "stopped": stopped})


def points(seconds: int, rate: float, level0: Any = lambda at: 10) -> list[LoadPoint]:
    return [
        LoadPoint(
            at=at / 4, puts=int(rate * at / 4), level0_files=level0(at), pending_compaction_bytes=0
        )
        for at in range(4 * seconds + 1)
    ]


def a_window(**changes: Any) -> SaturatedWindow:
    window = saturated_window(
        reading(0.0, 0), reading(20.0, 20000, log=stalled(10.0, 2.0)), points(20, 1000.0), 0.0
    )
    assert window is not None
    return SaturatedWindow(
        **{**{f: getattr(window, f) for f in window.__struct_fields__}, **changes}
    )


def a_device(**changes: Any) -> DeviceUse:
    values: dict[str, Any] = {
        "write_bytes_per_second": 5e6,
        "own_write_bytes_per_second": 4e6,
        "foreign_write_bytes_per_second": 1e6,
        "read_bytes_per_second": 0.0,
        "busy_ratio": 1.0,
        "mean_queue_depth": 2.0,
        "limit_bytes_per_second": None,
        "lower_bound": True,
        **changes,
    }
    return DeviceUse(**values)


def a_cpu(**changes: Any) -> CpuUse:
    values: dict[str, Any] = {
        "writer": 0.3,
        "compaction": 0.5,
        "flush": 0.1,
        "host_busy_ratio": 0.5,
        "cores": 4.0,
        **changes,
    }
    return CpuUse(**values)


def test_the_rate_is_that_of_whole_stop_and_go_cycles() -> None:
    """Puts over time between the edges, stalls included."""
    window = a_window()
    assert (window.puts_per_second, window.delayed_ratio, window.stopped_ratio, window.steady) == (
        1000.0,
        0.5,
        0.1,
        True,
    )


def test_an_even_rate_has_no_spread() -> None:
    """The standard error of the mean, relative."""
    assert a_window().spread_ratio == pytest.approx(0.0, abs=1e-3)


def test_growing_level_0_is_not_steady() -> None:
    """Debt that still grows: the rate is not held."""
    window = saturated_window(
        reading(0.0, 0), reading(20.0, 20000), points(20, 1000.0, lambda at: 10 + at // 4), 0.0
    )
    assert window is not None
    assert not window.steady
    assert window.level0_files_change == pytest.approx(20, abs=2)


@pytest.mark.parametrize(("seconds", "puts"), [(9.0, 1000), (20.0, 0)])
def test_a_window_too_short_or_without_puts_says_nothing(seconds: float, puts: int) -> None:
    """Less than a cycle of flush and compaction."""
    assert saturated_window(reading(0.0, 0), reading(seconds, puts), [], 0.0) is None


def test_foreign_writes_are_the_devices_less_our_own() -> None:
    """5,120 bytes a put reached the device, 4,000 of them ours."""
    use = device_use(reading(0.0, 0), reading(10.0, 10000), None)
    assert use is not None
    assert use.write_bytes_per_second == pytest.approx(5.12e6)
    assert use.own_write_bytes_per_second == pytest.approx(4e6)
    assert use.foreign_write_bytes_per_second == pytest.approx(1.12e6)
    assert use.lower_bound


def test_a_reached_limit_makes_the_bandwidth_a_capacity() -> None:
    """Within the few percent that a throttle keeps."""
    use = device_use(reading(0.0, 0), reading(10.0, 10000), 5.2e6)
    assert use is not None
    assert not use.lower_bound


def test_without_counters_nothing_is_said_of_the_device() -> None:
    """Never 0 for unknown."""
    assert device_use(reading(0.0, 0, disk=None), reading(10.0, 10000), None) is None
    assert device_use(reading(0.0, 0, written=None), reading(10.0, 10000), None) is None


def test_bytes_are_told_by_the_threads_that_wrote_them() -> None:
    """The WAL without what was deleted before it reached the device."""
    after = reading(
        10.0,
        10000,
        written=Written(total=40_000_000, cancelled=1_000_000, writer=11_000_000, flush=10_000_000),
    )
    per_put = written_bytes_per_put(reading(0.0, 0), after, None)
    assert per_put == {"wal": 1000.0, "flush": 1000.0, "compaction": 1900.0}


def test_causes_that_cannot_be_told_are_left_out() -> None:
    """Their share is not 0."""
    before, after = reading(0.0, 0, written=None), reading(10.0, 10000)
    assert written_bytes_per_put(before, after, a_device()) == {"device": pytest.approx(4000.0)}


@pytest.mark.parametrize(
    ("window", "cpu", "device", "expected"),
    [
        # Stalls: the database holds the writer back, however busy that is.
        ({}, {"writer": 0.95}, {}, ("database", False)),
        # No stall and a writer that computes all the time: more could be put.
        (
            {"delayed_ratio": 0.0, "stopped_ratio": 0.01},
            {"writer": 0.95},
            {},
            ("writer", True),
        ),
        # No stall, and the writer waits: for the WAL or a memtable.
        ({"delayed_ratio": 0.0, "stopped_ratio": 0.0}, {"writer": 0.4}, {}, ("database", False)),
        ({"delayed_ratio": 0.0, "stopped_ratio": 0.0}, {"writer": None}, {}, ("unknown", True)),
        # All cores busy: the Python writer's share of them decides what that says.
        (
            {},
            {"host_busy_ratio": 0.99, "writer": 0.2, "compaction": 3.0},
            {},
            ("cpu", False),
        ),
        # Busy with other programs: they may not be there tomorrow.
        ({}, {"host_busy_ratio": 0.99, "writer": 0.2}, {}, ("cpu", True)),
        ({}, {"host_busy_ratio": 0.99, "writer": 0.8}, {}, ("cpu", True)),
        ({}, {"host_busy_ratio": 0.3, "compaction": 3.6}, {}, ("cpu", False)),
        # A device at its limit explains the stalls, busy cores or not.
        ({}, {"host_busy_ratio": 0.99}, {"lower_bound": False}, ("database", False)),
    ],
)
def test_what_was_the_limit(
    window: dict[str, float],
    cpu: dict[str, float],
    device: dict[str, bool],
    expected: tuple[str, bool],
) -> None:
    """And whether the rate is only a lower bound."""
    assert limit_of(a_window(**window), a_cpu(**cpu), a_device(**device)) == expected


def test_cpu_is_counted_in_cores() -> None:
    """Half of two cores are busy."""
    found = cpu_use(reading(0.0, 0), reading(10.0, 1000), 2.0)
    assert (found.writer, found.compaction, found.flush) == (0.3, 0.5, 0.1)
    assert found.host_busy_ratio == 0.5


def test_unknown_cpu_stays_unknown() -> None:
    """Another user's process, or no /proc/stat."""
    before = reading(0.0, 0, compaction_cpu_seconds=None, host=None)
    found = cpu_use(before, reading(10.0, 1000), 2.0)
    assert (found.compaction, found.host_busy_ratio) == (None, None)


def check_of(puts: int, seconds: float = 20.0, **stalls: float) -> OpenLoopCheck:
    check = open_loop_check(
        reading(0.0, 0), reading(seconds, puts, log=stalled(**stalls)), 950.0, 10
    )
    assert check is not None
    return check


def test_a_rate_that_was_accepted_without_a_stop_is_held() -> None:
    """A delay is allowed: the rate arrived all the same."""
    assert check_of(19000, delayed=1.0).held


def test_a_rate_that_was_not_accepted_is_not_held() -> None:
    """0.5 % may be missing."""
    check = check_of(18000)
    assert not check.held
    assert check.accepted_ratio == pytest.approx(18010 / 19000)
    assert "94.8 %" in check.detail


def test_a_stop_is_not_held_even_if_all_was_accepted() -> None:
    """S_max has no write stop."""
    check = check_of(19000, stopped=0.5)
    assert not check.held
    assert "stopped for 0.5 s" in check.detail


def test_a_short_check_corrects_nothing() -> None:
    """It holds no cycle."""
    assert open_loop_check(reading(0.0, 0), reading(5.0, 10), 950.0, 10) is None


def test_the_truth_is_corrected_downwards_only() -> None:
    """Luo & Carey: what the check accepted stands where it fell short."""
    window = a_window()
    assert sustained_puts_per_second(window, None) == 1000.0
    assert sustained_puts_per_second(window, check_of(19000)) == 1000.0
    assert sustained_puts_per_second(window, check_of(9490)) == pytest.approx(475.0)
    assert sustained_puts_per_second(window, check_of(19000, stopped=1.0)) == 950.0
    assert sustained_puts_per_second(None, None) is None


def test_readings_are_frozen() -> None:
    """They are passed between modules."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        reading(0.0, 0).puts = 1  # type: ignore[misc]
