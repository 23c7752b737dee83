"""The reference experiment (120 minutes of FillRandom): what was claimed, and what recomputes.

The product never repeats a claimed accuracy as its own; ``smaxd validate`` prints both.
"""

from dataclasses import dataclass
from typing import Final

from agent.models import v4, v41
from agent.models.select import auto_model


@dataclass(frozen=True, slots=True)
class ReferencePoint:
    """One phase of the reference experiment and the accuracies claimed for it."""

    phase: str
    bandwidth_mib: float
    measured_puts_per_second: float
    claimed_v4_accuracy_percent: float


@dataclass(frozen=True, slots=True)
class Recomputation:
    """The formula applied to one reference point."""

    phase: str
    bandwidth_mib: float
    measured_puts_per_second: float
    model: str
    predicted_puts_per_second: float
    accuracy_percent: float
    claimed_accuracy_percent: float | None


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """Mean accuracy of one model over the reference points, recomputed and claimed."""

    model: str
    mean_accuracy_percent: float
    claimed_accuracy_percent: float | None


@dataclass(frozen=True, slots=True)
class Validation:
    """Everything ``smaxd validate`` shows."""

    points: tuple[Recomputation, ...]
    summaries: tuple[ModelSummary, ...]


REFERENCE: Final = (
    ReferencePoint("initial", 4116.6, 138769.0, 56.8),
    ReferencePoint("middle", 1074.8, 114472.0, 96.9),
    ReferencePoint("final", 852.5, 109678.0, 86.6),
)
CLAIMED_OVERALL_PERCENT: Final = {"v4": 81.4, "v4.1": 78.6}


def accuracy_percent(predicted: float, measured: float) -> float:
    """100 * (1 - |predicted - measured| / measured), not below 0: the reference's own measure."""
    return max(0.0, 100.0 * (1.0 - abs(predicted - measured) / measured))


def validate() -> Validation:
    """Recompute every reference point without context, the way the listing calls its models."""
    points: list[Recomputation] = []
    for point in REFERENCE:
        base = v4.predict(point.bandwidth_mib, phase=point.phase)
        refined = v41.predict(point.bandwidth_mib, phase=point.phase)
        automatic = refined if auto_model(point.phase) == "v4.1" else base
        for model, prediction, claimed in (
            ("v4", base, point.claimed_v4_accuracy_percent),
            ("v4.1", refined, None),
            ("auto", automatic, None),
        ):
            points.append(
                Recomputation(
                    phase=point.phase,
                    bandwidth_mib=point.bandwidth_mib,
                    measured_puts_per_second=point.measured_puts_per_second,
                    model=model,
                    predicted_puts_per_second=prediction.puts_per_second,
                    accuracy_percent=accuracy_percent(
                        prediction.puts_per_second, point.measured_puts_per_second
                    ),
                    claimed_accuracy_percent=claimed,
                )
            )
    summaries = []
    for model in ("v4", "v4.1", "auto"):
        accuracies = [p.accuracy_percent for p in points if p.model == model]
        summaries.append(
            ModelSummary(
                model, sum(accuracies) / len(accuracies), CLAIMED_OVERALL_PERCENT.get(model)
            )
        )
    return Validation(tuple(points), tuple(summaries))
