"""V4: S_max = (bandwidth / record size) * utilization of the phase.

The published formula, exactly, with the deviations listed in docs/models.md. Its utilization is in
effect 1 / (bytes written per user byte at saturation) of one experiment on one machine.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.models.phase_votes import (
    INITIAL,
    PHASES,
    UNKNOWN,
    Number,
    as_numbers,
    phase_by_votes,
    phase_index,
)
from agent.models.prediction import (
    CONFIDENCE_LEVELS,
    DEFAULT_RECORD_SIZE_BYTES,
    MAX_PLAUSIBLE_BANDWIDTH_MIB,
    MIB,
    InvalidInput,
    Prediction,
    checked_rate,
)

UTILIZATION: Final = np.array([0.019, 0.047, 0.046])
"""By phase index: initial, middle, final."""

_UTILIZATION_OF: Final = tuple(float(u) for u in UTILIZATION)
"""The same for one number: indexing a tuple costs a tenth of indexing an array."""


@dataclass(frozen=True, slots=True)
class PredictionArrays:
    """Predictions over arrays: all members have the shape of the bandwidths."""

    puts_per_second: npt.NDArray[np.float64]
    phase: npt.NDArray[np.integer[Any]]  # index into PHASES
    confidence: npt.NDArray[np.integer[Any]]  # index into CONFIDENCE_LEVELS
    factor: npt.NDArray[np.float64] | float


def utilization_of(phase: Number) -> Number:
    """Utilization by phase index, for one index or an array of them."""
    return _UTILIZATION_OF[phase] if isinstance(phase, int) else UTILIZATION[phase]


def put_rate(bandwidth_mib: Number, phase: Number, record_size_bytes: Number) -> Number:
    """The formula itself; puts/s."""
    return bandwidth_mib * MIB / record_size_bytes * utilization_of(phase)


def confidence(bandwidth_mib: Number, phase: Number) -> Number:
    """Index into CONFIDENCE_LEVELS.

    Middle and final start high, initial medium; under 100 MiB/s low; under 500 one step down.
    """
    start = 2 - (phase == INITIAL) * 1
    return (start - (bandwidth_mib < 500.0) * 1) * (bandwidth_mib >= 100.0)


def check_bandwidth(bandwidth_mib: float) -> None:
    """Raise InvalidInput unless the bandwidth is a positive finite number (NaN fails too)."""
    if not 0.0 < bandwidth_mib < float("inf"):
        raise InvalidInput(
            f"bandwidth is {bandwidth_mib:g} MiB/s; it must be greater than 0 and finite"
        )


def check_record_size(record_size_bytes: float) -> None:
    """Raise InvalidInput unless the record size is a positive finite number."""
    if not 0.0 < record_size_bytes < float("inf"):
        raise InvalidInput(
            f"record size is {record_size_bytes:g} bytes; it must be greater than 0 and finite"
        )


def check_optional(name: str, value: float | None) -> None:
    """Raise InvalidInput for a known value that is negative, NaN or infinite."""
    if value is not None and not 0.0 <= value < float("inf"):
        raise InvalidInput(f"{name} is {value:g}; it must be 0 or more and finite")


def checked_optional_array(name: str, value: npt.ArrayLike | None) -> Number:
    """As a number or an array, NaN where unknown; InvalidInput for a negative or infinite one."""
    numbers = as_numbers(value)
    if np.any(numbers < 0.0) or np.any(numbers == float("inf")):
        raise InvalidInput(f"{name} must be 0 or more and finite, or NaN where it is unknown")
    return numbers


def bandwidth_warnings(bandwidth_mib: float) -> tuple[str, ...]:
    """A sentence when the bandwidth is beyond what the published model holds plausible."""
    if bandwidth_mib > MAX_PLAUSIBLE_BANDWIDTH_MIB:
        return (
            f"bandwidth {bandwidth_mib:g} MiB/s is above {MAX_PLAUSIBLE_BANDWIDTH_MIB:g} MiB/s: "
            "check the unit",
        )
    return ()


def resolve_phase(
    bandwidth_mib: float,
    phase: str | None,
    runtime_minutes: float | None,
    database_size_gb: float | None,
) -> int:
    """Index of the given phase, or of the one the votes give."""
    check_optional("runtime in minutes", runtime_minutes)
    check_optional("database size in GB", database_size_gb)
    if phase is not None:
        try:
            return phase_index(phase)
        except ValueError as error:
            raise InvalidInput(str(error)) from None
    return int(
        phase_by_votes(
            bandwidth_mib,
            UNKNOWN if runtime_minutes is None else runtime_minutes,
            UNKNOWN if database_size_gb is None else database_size_gb,
        )
    )


def predict(
    bandwidth_mib: float,
    *,
    phase: str | None = None,
    runtime_minutes: float | None = None,
    database_size_gb: float | None = None,
    record_size_bytes: float = DEFAULT_RECORD_SIZE_BYTES,
) -> Prediction:
    """One prediction; InvalidInput for a bandwidth or size that is not positive and finite."""
    check_bandwidth(bandwidth_mib)
    check_record_size(record_size_bytes)
    index = resolve_phase(bandwidth_mib, phase, runtime_minutes, database_size_gb)
    return Prediction(
        puts_per_second=checked_rate(put_rate(bandwidth_mib, index, record_size_bytes)),
        model="v4",
        phase=PHASES[index],
        confidence=CONFIDENCE_LEVELS[confidence(bandwidth_mib, index)],
        utilization=_UTILIZATION_OF[index],
        factor=1.0,
        bandwidth_mib=bandwidth_mib,
        record_size=record_size_bytes,
        warnings=bandwidth_warnings(bandwidth_mib),
    )


def predict_arrays(
    bandwidth_mib: npt.ArrayLike,
    *,
    phase: npt.ArrayLike | None = None,
    runtime_minutes: npt.ArrayLike | None = None,
    database_size_gb: npt.ArrayLike | None = None,
    record_size_bytes: npt.ArrayLike = DEFAULT_RECORD_SIZE_BYTES,
) -> PredictionArrays:
    """Predictions for arrays that broadcast to the shape of ``bandwidth_mib``.

    ``phase`` holds indices into PHASES (votes decide when None); NaN marks an unknown runtime or
    size. InvalidInput when any bandwidth or record size is not positive and finite, or a known
    runtime or size is negative or infinite.
    """
    bandwidth, sizes = checked_arrays(bandwidth_mib, record_size_bytes)
    phases = resolve_phases(bandwidth, phase, runtime_minutes, database_size_gb)
    return PredictionArrays(
        puts_per_second=put_rate(bandwidth, phases, sizes),
        phase=phases,
        confidence=confidence(bandwidth, phases),
        factor=1.0,
    )


def checked_arrays(
    bandwidth_mib: npt.ArrayLike, record_size_bytes: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], Number]:
    """Both as float arrays, every element positive and finite; InvalidInput otherwise."""
    bandwidth = np.asarray(bandwidth_mib, dtype=np.float64)
    sizes = as_numbers(record_size_bytes)
    # The extremes tell for all elements, and NaN propagates through both.
    if bandwidth.size:
        check_bandwidth(float(bandwidth.min()))
        check_bandwidth(float(bandwidth.max()))
    if np.size(sizes):
        check_record_size(float(np.min(sizes)))
        check_record_size(float(np.max(sizes)))
    return bandwidth, sizes


def resolve_phases(
    bandwidth: npt.NDArray[np.float64],
    phase: npt.ArrayLike | None,
    runtime_minutes: npt.ArrayLike | None,
    database_size_gb: npt.ArrayLike | None,
) -> npt.NDArray[np.integer[Any]]:
    """The given phase indices, checked, or those of the votes; the shape of ``bandwidth``."""
    runtime = checked_optional_array("runtime in minutes", runtime_minutes)
    size = checked_optional_array("database size in GB", database_size_gb)
    if phase is None:
        phases = phase_by_votes(bandwidth, runtime, size)
    else:
        phases = np.asarray(phase)
        if not np.issubdtype(phases.dtype, np.integer):
            raise InvalidInput("phases must be indices: 0 initial, 1 middle, 2 final")
        if phases.size and (phases.min() < 0 or phases.max() >= len(PHASES)):
            raise InvalidInput("phase index out of range: 0 initial, 1 middle, 2 final")
    return np.broadcast_to(phases, bandwidth.shape)
