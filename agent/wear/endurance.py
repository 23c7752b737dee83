"""When a drive will have used what its maker rated it for, if it goes on as in its life so far.

The drive tells whole percents of its rated endurance and the hours that it was powered on; the
rate is their quotient. A maker may round either way, so the truth lies within one percent point of
what is told, and that is the width given here: wide on a young drive. Whether the next years are
like the last is not known and not in the width.
"""

from dataclasses import dataclass
from typing import Final

RESOLUTION_RATIO: Final = 0.01
"""NVMe "Percentage Used" and ATA "Percentage Used Endurance Indicator" count whole percents."""


@dataclass(frozen=True, slots=True)
class WearOut:
    """Seconds from now until the rated endurance is used; 0 when it is.

    ``expected_seconds`` and ``latest_seconds`` are None where the drive has not used enough to say.
    """

    earliest_seconds: float
    expected_seconds: float | None
    latest_seconds: float | None


def wear_out(used_ratio: float | None, power_on_seconds: float | None) -> WearOut | None:
    """None when one of the two is unknown or nothing was used up in no time."""
    if used_ratio is None or power_on_seconds is None or power_on_seconds <= 0 or used_ratio < 0:
        return None
    least_used = used_ratio - RESOLUTION_RATIO
    # Half a percent point: 0.02 - 0.01 is not 0.01 in floats.
    told, told_well = used_ratio > RESOLUTION_RATIO / 2, least_used > RESOLUTION_RATIO / 2
    return WearOut(
        earliest_seconds=_left_seconds(used_ratio + RESOLUTION_RATIO, power_on_seconds),
        expected_seconds=_left_seconds(used_ratio, power_on_seconds) if told else None,
        latest_seconds=_left_seconds(least_used, power_on_seconds) if told_well else None,
    )


def _left_seconds(used_ratio: float, power_on_seconds: float) -> float:
    return max(0.0, power_on_seconds * (1 - used_ratio) / used_ratio)
