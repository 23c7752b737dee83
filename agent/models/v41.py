"""V4.1: V4 times phase-dependent corrections, as published.

Where the reference listing guesses at missing context, this takes only what is known; the list of
these deviations is in docs/models.md. ``agent.models.arrays`` computes it for whole arrays.
"""

import math
from typing import Final

from agent.models import v4
from agent.models.phase_votes import PHASES, UNKNOWN
from agent.models.prediction import (
    CONFIDENCE_LEVELS,
    DEFAULT_RECORD_SIZE_BYTES,
    Prediction,
    checked_rate,
)

INITIAL_FACTOR: Final = 0.85
SMALL_DATABASE_FACTOR: Final = 0.9
SMALL_DATABASE_GB: Final = 1.0
MIDDLE_FACTOR: Final = 1.10 * 1.05
TRANSITION_START_MINUTE: Final = 25.0
TRANSITION_END_MINUTE: Final = 35.0
TRANSITION_GAIN: Final = 0.1
FINAL_FACTOR: Final = 1.05 * 0.95 * 0.9
HIGH_AMPLIFICATION_FACTOR: Final = 0.95
HIGH_AMPLIFICATION: Final = 4.0
DEFAULT_WRITE_AMPLIFICATION: Final = 3.5
DEFAULT_READ_AMPLIFICATION: Final = 0.8

PHASE_ACCURACY_PERCENT: Final = (68.5, 96.9, 70.5)
"""The published accuracies, by phase index. They serve only as the published confidence rule."""

LARGE_CORRECTION: Final = 0.2
"""A factor further than this from 1 costs one step of confidence, from high upwards."""


def transition(runtime_minutes: float) -> float:
    """The middle phase's ramp: 1 before minute 25 or unknown, a sigmoid to 35, then 1.1."""
    # "not at or after the start" is also true of NaN: an unknown runtime has no ramp
    if not runtime_minutes >= TRANSITION_START_MINUTE:
        return 1.0
    if runtime_minutes > TRANSITION_END_MINUTE:
        return 1.0 + TRANSITION_GAIN
    return 1.0 + TRANSITION_GAIN / (1.0 + math.exp(-10.0 * ((runtime_minutes - 25.0) / 10.0 - 0.5)))


def amplification_is_high(write_amplification: float, read_amplification: float) -> bool:
    """Whether WA + RA is known to be above 4: one known is enough, the other its default."""
    wa_known = write_amplification >= 0
    ra_known = read_amplification >= 0
    if not (wa_known or ra_known):
        return False
    wa = write_amplification if wa_known else DEFAULT_WRITE_AMPLIFICATION
    ra = read_amplification if ra_known else DEFAULT_READ_AMPLIFICATION
    return wa + ra > HIGH_AMPLIFICATION


def factor(
    phase: int,
    runtime_minutes: float = UNKNOWN,
    database_size_gb: float = UNKNOWN,
    write_amplification: float = UNKNOWN,
    read_amplification: float = UNKNOWN,
) -> float:
    """What V4.1 multiplies V4 by, per phase index; unknown inputs are NaN."""
    small = database_size_gb < SMALL_DATABASE_GB
    high = amplification_is_high(write_amplification, read_amplification)
    return (
        INITIAL_FACTOR * (SMALL_DATABASE_FACTOR if small else 1.0),
        MIDDLE_FACTOR * transition(runtime_minutes),
        FINAL_FACTOR * (HIGH_AMPLIFICATION_FACTOR if high else 1.0),
    )[phase]


def confidence(phase: int, correction: float) -> int:
    """Index into CONFIDENCE_LEVELS from the published accuracy of the phase.

    Over 90 % very high, over 80 % high, over 60 % medium, else low; high and very high lose one
    step under a large correction. Bandwidth plays no part, as in the reference listing.
    """
    start = LEVEL_BY_ACCURACY[phase]
    return start - (start >= 2 and abs(correction - 1.0) > LARGE_CORRECTION)


def _level_by_accuracy(percent: float) -> int:
    return (percent > 60.0) + (percent > 80.0) + (percent > 90.0)


LEVEL_BY_ACCURACY: Final = tuple(_level_by_accuracy(percent) for percent in PHASE_ACCURACY_PERCENT)
"""Where the confidence starts, by phase index."""


def predict(
    bandwidth_mib: float,
    *,
    phase: str | None = None,
    runtime_minutes: float | None = None,
    database_size_gb: float | None = None,
    record_size_bytes: float = DEFAULT_RECORD_SIZE_BYTES,
    write_amplification: float | None = None,
    read_amplification: float | None = None,
) -> Prediction:
    """One prediction; InvalidInput as for V4, and for amplifications that are not numbers."""
    v4.check_bandwidth(bandwidth_mib)
    v4.check_record_size(record_size_bytes)
    v4.check_optional("write amplification", write_amplification)
    v4.check_optional("read amplification", read_amplification)
    index = v4.resolve_phase(bandwidth_mib, phase, runtime_minutes, database_size_gb)
    correction = factor(
        index,
        UNKNOWN if runtime_minutes is None else runtime_minutes,
        UNKNOWN if database_size_gb is None else database_size_gb,
        UNKNOWN if write_amplification is None else write_amplification,
        UNKNOWN if read_amplification is None else read_amplification,
    )
    utilization = v4.UTILIZATION[index]
    return Prediction(
        puts_per_second=checked_rate(
            v4.put_rate(bandwidth_mib, utilization, record_size_bytes) * correction
        ),
        model="v4.1",
        phase=PHASES[index],
        confidence=CONFIDENCE_LEVELS[confidence(index, correction)],
        utilization=utilization,
        factor=correction,
        bandwidth_mib=bandwidth_mib,
        record_size=record_size_bytes,
        warnings=v4.bandwidth_warnings(bandwidth_mib),
    )
