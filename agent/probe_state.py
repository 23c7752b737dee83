"""How one probe on one target is doing: what the scheduler tells everyone else."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProbeState:
    """How one probe on one target is doing; ``success`` is None before its first answer.

    ``absent`` tells a normal "no data" from a failure. Durations in seconds, times Unix.
    """

    probe: str
    target: str
    success: bool | None
    absent: bool
    duration_seconds: float | None
    last_success_wall_seconds: float | None
    reason: str | None
    detail: str | None
    on_order: bool = False  # it runs when it is worth while: nobody waits for its first answer
