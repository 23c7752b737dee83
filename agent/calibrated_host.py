"""What ``smaxd calibrate`` measured on this host, as capacity of a device and as a model. Pure.

A controlled saturation replaces what is otherwise only a prior: the rate that the device sustains,
which a short probe into an idle drive's cache cannot tell, and the put rate of a database with
these options and records. It is compared with what is watched now before it is used.
"""

import math
from collections.abc import Sequence
from typing import Final

from agent.bandwidth import Capacity
from agent.findings import CalibrationFindings
from agent.learning.memory import DeviceIdentity
from agent.models.estimate import Estimate
from agent.readings import Known

MODEL: Final = "calibrate"

MAX_AGE_SECONDS: Final = 90 * 86400.0
"""After a season a drive is fuller and older."""

LOG_HALF_WIDTH: Final = 0.2
"""Half width of the 90 % interval in log space of a run of some minutes, everything else equal: a
put rate held for minutes is not yet the one of an hour."""

SIZE_LOG_SHARE: Final = 0.15
"""And by how much it is wider per factor of e between the scratch tree and the watched one: every
level more rewrites each byte again, so a young tree sustains more."""

SAME_RECORD_RATIO: Final = 1.25
"""Records of another size than this cost other amounts: such a run says nothing about them."""


def sustained_capacity(
    results: Sequence[CalibrationFindings],
    device: DeviceIdentity,
    now: float,
    wall_seconds: float,
) -> Known[Capacity] | None:
    """What the device sustained in the newest run on it that it limited; None without one."""
    runs = [
        run
        for run in results
        if _ran_on(run, device)
        and run.sustained_bytes_per_second is not None
        and wall_seconds - run.measured_wall_seconds <= MAX_AGE_SECONDS
    ]
    if not runs:
        return None
    newest = max(runs, key=lambda run: run.measured_wall_seconds)
    age = max(0.0, wall_seconds - newest.measured_wall_seconds)
    rate = newest.sustained_bytes_per_second or 0.0
    return Known(Capacity(rate, None, lower_bound=False), "calibrate", now - age)


def calibrate_estimate(
    results: Sequence[CalibrationFindings],
    *,
    path: str,
    device: DeviceIdentity,
    options_key: str,
    record_bytes: float | None,
    now: float,
    wall_seconds: float,
) -> Estimate | None:
    """The newest run's put rate for this database under these options; None without one."""
    runs = [
        run
        for run in results
        if (run.database, run.options_key) == (path, options_key)
        and _ran_on(run, device)
        and run.puts_per_second is not None
        and wall_seconds - run.measured_wall_seconds <= MAX_AGE_SECONDS
        and record_bytes is not None
        and 1.0 / SAME_RECORD_RATIO <= run.record_bytes / record_bytes <= SAME_RECORD_RATIO
    ]
    if not runs:
        return None
    newest = max(runs, key=lambda run: run.measured_wall_seconds)
    width = LOG_HALF_WIDTH
    if newest.size_ratio is not None and newest.size_ratio > 0:
        width += SIZE_LOG_SHARE * abs(math.log(newest.size_ratio))
    age = max(0.0, wall_seconds - newest.measured_wall_seconds)
    return Estimate(
        model=MODEL,
        puts_per_second=newest.puts_per_second or 0.0,
        log_half_width=width,
        resources=(),
        missing=(),
        source="scratch database of smaxd calibrate",
        at=now - age,
    )


def _ran_on(run: CalibrationFindings, device: DeviceIdentity) -> bool:
    """Where no model was told then, it was what has this name and size."""
    return run.device_key in {device.key, device.nameless_key}
