"""V4: S_max = (bandwidth / record size) * utilization of the phase.

The published formula, exactly, with the deviations listed in docs/models.md. Its utilization is in
effect 1 / (bytes written per user byte at saturation) of one experiment on one machine.
``agent.models.arrays`` computes it for whole arrays.
"""

from typing import Final

from agent.models.phase_votes import (
    INITIAL,
    PHASES,
    UNKNOWN,
    Number,
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

UTILIZATION: Final = (0.019, 0.047, 0.046)
"""By phase index: initial, middle, final."""


def put_rate(bandwidth_mib: Number, utilization: Number, record_size_bytes: Number) -> Number:
    """The formula itself; puts/s."""
    return bandwidth_mib * MIB / record_size_bytes * utilization


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
        puts_per_second=checked_rate(
            put_rate(bandwidth_mib, UTILIZATION[index], record_size_bytes)
        ),
        model="v4",
        phase=PHASES[index],
        confidence=CONFIDENCE_LEVELS[confidence(bandwidth_mib, index)],
        utilization=UTILIZATION[index],
        factor=1.0,
        bandwidth_mib=bandwidth_mib,
        record_size=record_size_bytes,
        warnings=bandwidth_warnings(bandwidth_mib),
    )
