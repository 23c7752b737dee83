"""What a calibration run says about a device and a database now."""

from dataclasses import replace

import pytest

from agent.bandwidth import Capacity
from agent.calibrated_host import (
    LOG_HALF_WIDTH,
    MAX_AGE_SECONDS,
    SIZE_LOG_SHARE,
    calibrate_estimate,
    sustained_capacity,
)
from agent.findings import CalibrationFindings
from agent.learning.memory import DeviceIdentity
from agent.models.estimate import Estimate
from agent.readings import Known

WALL = 1_700_000_000.0
NOW = 500.0
DEVICE = DeviceIdentity("sda", 10**12, "a drive")
RUN = CalibrationFindings(
    measured_wall_seconds=WALL - 3600.0,
    database="/db",
    device=DEVICE.name,
    device_size_bytes=DEVICE.size_bytes,
    device_model=DEVICE.model,
    options_key="abc",
    record_bytes=1040.0,
    puts_per_second=20_000.0,
    sustained_bytes_per_second=1e8,
    size_ratio=None,
)


def capacity_of(*runs: CalibrationFindings) -> Known[Capacity] | None:
    return sustained_capacity(runs, DEVICE, NOW, WALL)


def estimate_of(*runs: CalibrationFindings) -> Estimate | None:
    return calibrate_estimate(
        runs,
        path="/db",
        device=DEVICE,
        options_key="abc",
        record_bytes=1040.0,
        now=NOW,
        wall_seconds=WALL,
    )


def test_the_newest_run_tells_what_the_device_sustains() -> None:
    """With its age."""
    older = replace(RUN, measured_wall_seconds=WALL - 7200.0, sustained_bytes_per_second=9e8)

    assert Known(Capacity(1e8, None, False), "calibrate", NOW - 3600.0) == capacity_of(RUN, older)


@pytest.mark.parametrize(
    "changes",
    [
        {"device_model": "another drive"},
        {"device_size_bytes": 10**11},
        {"device_model": None, "device": "sdb"},
        {"sustained_bytes_per_second": None},
        {"measured_wall_seconds": WALL - MAX_AGE_SECONDS - 1.0},
    ],
)
def test_another_device_or_an_old_run_says_nothing(changes: dict[str, object]) -> None:
    """Nor one that the device did not limit."""
    assert capacity_of(replace(RUN, **changes)) is None  # type: ignore[arg-type]


def test_a_run_with_this_databases_options_is_an_estimate() -> None:
    """Named for what it is."""
    found = estimate_of(RUN)

    assert found is not None
    assert (found.model, found.puts_per_second, found.at) == ("calibrate", 20_000.0, NOW - 3600.0)
    assert found.log_half_width == LOG_HALF_WIDTH


def test_a_younger_tree_widens_the_interval() -> None:
    """It has fewer levels than the watched one."""
    found = estimate_of(replace(RUN, size_ratio=1.0 / 2.718281828459045))

    assert found is not None
    assert found.log_half_width == pytest.approx(LOG_HALF_WIDTH + SIZE_LOG_SHARE)


def test_a_run_stays_with_its_drive_whatever_its_name_is_now() -> None:
    """Kernels hand names out anew at every boot."""
    renamed = replace(RUN, device="sdz")
    assert capacity_of(renamed) == capacity_of(RUN)
    assert estimate_of(renamed) == estimate_of(RUN)


def test_a_run_that_tells_no_model_is_of_what_has_its_name_and_size() -> None:
    """The results of before it was asked, and those of a disk that tells one only now."""
    old = replace(RUN, device_model=None)
    assert capacity_of(old) == capacity_of(RUN)
    assert estimate_of(old) == estimate_of(RUN)


@pytest.mark.parametrize(
    "changes",
    [
        {"database": "/other"},
        {"device_model": "another drive"},
        {"options_key": "other"},
        {"puts_per_second": None},
        {"record_bytes": 100.0},
        {"measured_wall_seconds": WALL - MAX_AGE_SECONDS - 1.0},
    ],
)
def test_a_run_under_other_conditions_is_none(changes: dict[str, object]) -> None:
    """Each of them changes what is sustained."""
    assert estimate_of(replace(RUN, **changes)) is None  # type: ignore[arg-type]
