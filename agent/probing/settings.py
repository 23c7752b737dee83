"""What the configuration says about fio, as the scheduler takes it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.config import FioSettings
from probes.fio import DEFAULT_LIMITS, FioLimits, FioMode

_MIB = 1048576


@dataclass(frozen=True, slots=True)
class ProbingSettings:
    """Whether fio may run, how old a measurement may become, and what one run may do by mode."""

    enabled: bool
    interval_seconds: float
    mode: FioMode
    limits: Mapping[FioMode, FioLimits]


def probing_settings(fio: FioSettings) -> ProbingSettings:
    """The modes that may be used instead are the default ones.

    Who sets the size, the time or the rate of a run gets these, and no other, longer run.
    """
    mode = FioMode(fio.mode)
    default = DEFAULT_LIMITS[mode]
    wanted = FioLimits(
        size_bytes=default.size_bytes if fio.size_mib is None else int(fio.size_mib * _MIB),
        runtime_seconds=(
            default.runtime_seconds if fio.runtime_seconds is None else fio.runtime_seconds
        ),
        rate_bytes_per_second=(
            default.rate_bytes_per_second
            if fio.rate_mib_per_second is None
            else fio.rate_mib_per_second * _MIB
        ),
    )
    limits = {mode: wanted}
    if wanted == default:
        limits = {**DEFAULT_LIMITS, mode: wanted}
    return ProbingSettings(fio.enabled, fio.interval_seconds, mode, limits)
