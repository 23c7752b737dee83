"""Which of the models speaks: ``auto`` of the reference, by the phase in force."""

from agent.models import v4, v41
from agent.models.phase_votes import MIDDLE, PHASES
from agent.models.prediction import DEFAULT_RECORD_SIZE_BYTES, InvalidInput, Prediction

MODELS = ("v4", "v4.1", "auto")


def auto_model(phase: str) -> str:
    """V4.1 in the middle phase, V4 otherwise."""
    return "v4.1" if phase == PHASES[MIDDLE] else "v4"


def predict(
    model: str,
    bandwidth_mib: float,
    *,
    phase: str | None = None,
    runtime_minutes: float | None = None,
    database_size_gb: float | None = None,
    record_size_bytes: float = DEFAULT_RECORD_SIZE_BYTES,
    write_amplification: float | None = None,
    read_amplification: float | None = None,
) -> Prediction:
    """The named model's prediction; ``model`` in the answer is the one that made it."""
    if model not in MODELS:
        raise InvalidInput(f"unknown model {model!r}; one of {', '.join(MODELS)}")
    if model != "v4":
        refined = v41.predict(
            bandwidth_mib,
            phase=phase,
            runtime_minutes=runtime_minutes,
            database_size_gb=database_size_gb,
            record_size_bytes=record_size_bytes,
            write_amplification=write_amplification,
            read_amplification=read_amplification,
        )
        if model == "v4.1" or auto_model(refined.phase) == "v4.1":
            return refined
    return v4.predict(
        bandwidth_mib,
        phase=phase,
        runtime_minutes=runtime_minutes,
        database_size_gb=database_size_gb,
        record_size_bytes=record_size_bytes,
    )
