"""V4 and V4.1 over numpy arrays: many what-ifs at once, by the same formulas.

Apart from the models for one number because the daemon needs only those, and numpy would be a
fifth of its memory. A test holds every element against the prediction of one number.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.models import v4, v41
from agent.models.phase_votes import (
    FINAL,
    INITIAL,
    MIDDLE,
    PHASES,
    UNKNOWN,
    Number,
    phase_by_votes,
)
from agent.models.prediction import DEFAULT_RECORD_SIZE_BYTES, InvalidInput

_UTILIZATION: Final = np.array(v4.UTILIZATION)
_LEVEL_BY_ACCURACY: Final = np.array(v41.LEVEL_BY_ACCURACY)


@dataclass(frozen=True, slots=True)
class PredictionArrays:
    """Predictions over arrays: all members have the shape of the bandwidths."""

    puts_per_second: npt.NDArray[np.float64]
    phase: npt.NDArray[np.integer[Any]]  # index into PHASES
    confidence: npt.NDArray[np.integer[Any]]  # index into CONFIDENCE_LEVELS
    factor: npt.NDArray[np.float64] | float


def predict_v4(
    bandwidth_mib: npt.ArrayLike,
    *,
    phase: npt.ArrayLike | None = None,
    runtime_minutes: npt.ArrayLike | None = None,
    database_size_gb: npt.ArrayLike | None = None,
    record_size_bytes: npt.ArrayLike = DEFAULT_RECORD_SIZE_BYTES,
) -> PredictionArrays:
    """V4 for arrays that broadcast to the shape of ``bandwidth_mib``.

    ``phase`` holds indices into PHASES (votes decide when None); NaN marks an unknown runtime or
    size. InvalidInput when any bandwidth or record size is not positive and finite, or a known
    runtime or size is negative or infinite.
    """
    bandwidth, sizes = _checked(bandwidth_mib, record_size_bytes)
    phases = _resolve_phases(bandwidth, phase, runtime_minutes, database_size_gb)
    return PredictionArrays(
        puts_per_second=v4.put_rate(bandwidth, _UTILIZATION[phases], sizes),
        phase=phases,
        confidence=v4.confidence(bandwidth, phases),
        factor=1.0,
    )


def predict_v41(
    bandwidth_mib: npt.ArrayLike,
    *,
    phase: npt.ArrayLike | None = None,
    runtime_minutes: npt.ArrayLike | None = None,
    database_size_gb: npt.ArrayLike | None = None,
    record_size_bytes: npt.ArrayLike = DEFAULT_RECORD_SIZE_BYTES,
    write_amplification: npt.ArrayLike | None = None,
    read_amplification: npt.ArrayLike | None = None,
) -> PredictionArrays:
    """V4.1, with the arguments and errors of ``predict_v4``; NaN marks what is unknown."""
    bandwidth, sizes = _checked(bandwidth_mib, record_size_bytes)
    phases = _resolve_phases(bandwidth, phase, runtime_minutes, database_size_gb)
    correction = _factor(
        phases,
        _as_numbers(runtime_minutes),
        _as_numbers(database_size_gb),
        _checked_optional("write amplification", write_amplification),
        _checked_optional("read amplification", read_amplification),
    )
    start = _LEVEL_BY_ACCURACY[phases]
    return PredictionArrays(
        puts_per_second=v4.put_rate(bandwidth, _UTILIZATION[phases], sizes) * correction,
        phase=phases,
        confidence=start - (start >= 2) * (abs(correction - 1.0) > v41.LARGE_CORRECTION),
        factor=correction,
    )


def _factor(
    phases: npt.NDArray[np.integer[Any]],
    runtime_minutes: Number,
    database_size_gb: Number,
    write_amplification: Number,
    read_amplification: Number,
) -> npt.NDArray[np.float64]:
    small = np.less(database_size_gb, v41.SMALL_DATABASE_GB)
    high = _amplification_is_high(write_amplification, read_amplification)
    choices = (
        (INITIAL, v41.INITIAL_FACTOR * np.where(small, v41.SMALL_DATABASE_FACTOR, 1.0)),
        (MIDDLE, v41.MIDDLE_FACTOR * _transition(runtime_minutes)),
        (FINAL, v41.FINAL_FACTOR * np.where(high, v41.HIGH_AMPLIFICATION_FACTOR, 1.0)),
    )
    return np.select(
        [phases == phase for phase, _ in choices],
        [np.broadcast_to(value, phases.shape) for _, value in choices],
    )


def _transition(runtime_minutes: Number) -> npt.NDArray[np.float64]:
    minutes = np.asarray(runtime_minutes, dtype=np.float64)
    inside = np.clip(minutes, v41.TRANSITION_START_MINUTE, v41.TRANSITION_END_MINUTE)
    ramp = 1.0 + v41.TRANSITION_GAIN / (1.0 + np.exp(-10.0 * ((inside - 25.0) / 10.0 - 0.5)))
    after = np.where(minutes > v41.TRANSITION_END_MINUTE, 1.0 + v41.TRANSITION_GAIN, ramp)
    # "not at or after the start" is also true of NaN: an unknown runtime has no ramp
    return np.where(minutes >= v41.TRANSITION_START_MINUTE, after, 1.0)


def _amplification_is_high(write: Number, read: Number) -> npt.NDArray[np.bool_]:
    write_known, read_known = np.greater_equal(write, 0.0), np.greater_equal(read, 0.0)
    wa = np.where(write_known, write, v41.DEFAULT_WRITE_AMPLIFICATION)
    ra = np.where(read_known, read, v41.DEFAULT_READ_AMPLIFICATION)
    high: npt.NDArray[np.bool_] = (wa + ra > v41.HIGH_AMPLIFICATION) & (write_known | read_known)
    return high


def _as_numbers(value: npt.ArrayLike | None) -> Number:
    """None becomes NaN, a sequence an array; a plain number stays what it is."""
    if value is None:
        return UNKNOWN
    if isinstance(value, int | float):
        return value
    return np.asarray(value, dtype=np.float64)


def _checked_optional(name: str, value: npt.ArrayLike | None) -> Number:
    """As a number or an array, NaN where unknown; InvalidInput for a negative or infinite one."""
    numbers = _as_numbers(value)
    if np.any(numbers < 0.0) or np.any(numbers == float("inf")):
        raise InvalidInput(f"{name} must be 0 or more and finite, or NaN where it is unknown")
    return numbers


def _checked(
    bandwidth_mib: npt.ArrayLike, record_size_bytes: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], Number]:
    """Both as float arrays, every element positive and finite; InvalidInput otherwise."""
    bandwidth = np.asarray(bandwidth_mib, dtype=np.float64)
    sizes = _as_numbers(record_size_bytes)
    # The extremes tell for all elements, and NaN propagates through both.
    if bandwidth.size:
        v4.check_bandwidth(float(bandwidth.min()))
        v4.check_bandwidth(float(bandwidth.max()))
    if np.size(sizes):
        v4.check_record_size(float(np.min(sizes)))
        v4.check_record_size(float(np.max(sizes)))
    return bandwidth, sizes


def _resolve_phases(
    bandwidth: npt.NDArray[np.float64],
    phase: npt.ArrayLike | None,
    runtime_minutes: npt.ArrayLike | None,
    database_size_gb: npt.ArrayLike | None,
) -> npt.NDArray[np.integer[Any]]:
    """The given phase indices, checked, or those of the votes; the shape of ``bandwidth``."""
    runtime = _checked_optional("runtime in minutes", runtime_minutes)
    size = _checked_optional("database size in GB", database_size_gb)
    if phase is None:
        phases = phase_by_votes(bandwidth, runtime, size)
    else:
        phases = np.asarray(phase)
        if not np.issubdtype(phases.dtype, np.integer):
            raise InvalidInput("phases must be indices: 0 initial, 1 middle, 2 final")
        if phases.size and (phases.min() < 0 or phases.max() >= len(PHASES)):
            raise InvalidInput("phase index out of range: 0 initial, 1 middle, 2 final")
    return np.broadcast_to(phases, bandwidth.shape)
