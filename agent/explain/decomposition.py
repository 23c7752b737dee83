"""A model's number taken apart into factors whose product is the number, exactly. Pure.

V4 and V4.1 are compared in log space with a point of their own reference experiment; a measured
model is free capacity times attainable utilization over what a put costs.
"""

import math
from typing import Final

from agent.explain.explanation import Factor
from agent.models import reference, v4
from agent.models.estimate import Estimate
from agent.models.phase_votes import MIDDLE, PHASES
from agent.models.prediction import DEFAULT_RECORD_SIZE_BYTES, MIB, Prediction

REFERENCE_PHASE: Final = PHASES[MIDDLE]
"""Of the reference experiment's three points, the one for which the best accuracy is claimed."""

REFERENCE: Final = (
    f"the published V4 at its reference experiment's {REFERENCE_PHASE} point, as recomputed here"
)

PUBLISHED_CORRECTIONS: Final = {
    "initial": (0.85,),
    "middle": (1.10, 1.05),
    "final": (1.05, 0.95, 0.9),
}
"""V4.1's fixed factors by phase, one by one; ``agent.models.v41`` has their products."""

CONDITIONAL_CORRECTION: Final = {
    "initial": ("small database", "the database is known to be smaller than 1 GB"),
    "middle": (
        "transition",
        "the ramp of the middle phase, minutes 25 to 35 of the database's age",
    ),
    "final": (
        "high amplification",
        "write and read amplification are known to be above 4 together",
    ),
}
"""V4.1's factor that applies only on a condition, by phase: its name and what it stands for."""

EXACT: Final = 1e-12
"""Relative difference up to which two floating-point products are the same number."""

UNEXPLAINED: Final = "other"
"""What is left where the parts do not give the number; shown, never spread over the others."""


def reference_point() -> tuple[float, float, float]:
    """Bandwidth in bytes/s, record size in bytes, utilization of the reference."""
    point = next(p for p in reference.REFERENCE if p.phase == REFERENCE_PHASE)
    return (
        point.bandwidth_mib * MIB,
        DEFAULT_RECORD_SIZE_BYTES,
        v4.UTILIZATION[MIDDLE],
    )


def reference_puts_per_second() -> float:
    """What V4's formula gives at the reference."""
    bandwidth, record, utilization = reference_point()
    return bandwidth / record * utilization


def of_prediction(
    prediction: Prediction, calibration: float | None, puts_per_second: float
) -> tuple[Factor, ...]:
    """V4 or V4.1 as factors; ``puts_per_second`` is the published number, calibration included."""
    bandwidth, record, utilization = reference_point()
    parts: list[tuple[str, float, str, float, str]] = [
        (
            "available bandwidth",
            prediction.bandwidth_mib * MIB,
            "bytes/s",
            bandwidth,
            f"{prediction.bandwidth_mib:,.1f} MiB/s left for user writes",
        ),
        (
            "1 / record size",
            1.0 / prediction.record_size,
            "1/bytes",
            1.0 / record,
            f"{prediction.record_size:,.0f} B per put",
        ),
        (
            "utilization",
            prediction.utilization,
            "",
            utilization,
            f"published for the {prediction.phase} phase: it takes each user byte to be written "
            f"{1.0 / prediction.utilization:.1f} times",
        ),
    ]
    if prediction.factor != 1.0 or prediction.model == "v4.1":
        parts += [
            (name, value, "", 1.0, note)
            for name, value, note in _corrections(prediction.phase, prediction.factor)
        ]
    if calibration is not None:
        parts.append(_calibration(calibration))
    return _factors(parts, puts_per_second, reference_puts_per_second())


def of_estimate(
    estimate: Estimate, calibration: float | None, puts_per_second: float
) -> tuple[Factor, ...]:
    """A measured model as factors of its binding resource; empty where it names none.

    Without a reference: there is no other host to compare with.
    """
    if not estimate.resources:
        return ()
    binding = estimate.resources[0]
    if binding.demand <= 0.0 or binding.free_capacity <= 0.0:
        return ()
    attainable = estimate.puts_per_second * binding.demand / binding.free_capacity
    parts = [
        (
            f"free {binding.resource}",
            binding.free_capacity,
            f"{binding.unit}/s",
            0.0,
            "capacity less the use by others",
        ),
        (
            "1 / demand",
            1.0 / binding.demand,
            f"1/{binding.unit}",
            0.0,
            f"what one put costs it, by {binding.source}",
        ),
        (
            "attainable utilization",
            attainable,
            "",
            0.0,
            "share of the resource in use when stalls begin",
        ),
    ]
    if calibration is not None:
        parts.append(_calibration(calibration))
    return _factors(parts, puts_per_second, None)


def _calibration(factor: float) -> tuple[str, float, str, float, str]:
    return ("calibration", factor, "", 1.0, "by what this database really sustained")


def _corrections(phase: str, factor: float) -> list[tuple[str, float, str]]:
    """V4.1's factor as its published parts; what the condition adds is what is left."""
    fixed = PUBLISHED_CORRECTIONS[phase]
    parts = [
        (f"{phase} correction {number}", value, "fixed, as published for V4.1")
        for number, value in enumerate(fixed, start=1)
    ]
    rest = factor / math.prod(fixed)
    if abs(rest - 1.0) > EXACT:
        name, note = CONDITIONAL_CORRECTION[phase]
        parts.append((name, rest, note))
    return parts


def _factors(
    parts: list[tuple[str, float, str, float, str]],
    puts_per_second: float,
    reference_rate: float | None,
) -> tuple[Factor, ...]:
    rest = puts_per_second / math.prod(part[1] for part in parts)
    if abs(rest - 1.0) > EXACT:
        parts = [*parts, (UNEXPLAINED, rest, "", 1.0, "not explained by the parts above")]
    distance = None if reference_rate is None else math.log(puts_per_second / reference_rate)
    return tuple(
        Factor(
            name=name,
            value=value,
            unit=unit,
            reference=None if distance is None else base,
            log_share=(
                math.log(value / base) / distance + 0.0  # of no distance, -0.0 too is 0
                if distance is not None and abs(distance) > EXACT
                else None
            ),
            note=note,
        )
        for name, value, unit, base, note in parts
    )
