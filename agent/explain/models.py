"""What each model says about a database, taken apart: the models of an ``Explanation``. Pure."""

from agent.explain import decomposition
from agent.explain.explanation import Demand, ModelPart, Term
from agent.models.estimate import CalibratedEstimate, Estimate
from agent.models.prediction import Prediction
from agent.readings import Known, value_of
from agent.snapshot import DatabaseSnapshot


def model_parts(database: DatabaseSnapshot, recommended: str | None) -> tuple[ModelPart, ...]:
    """Every model that answered, the one of that name first."""
    calibrated = {each.model: each for each in value_of(database.calibrated) or ()}
    measured = {estimate.model: estimate for estimate in value_of(database.estimates) or ()}
    parts = [
        _published(prediction, calibrated.get(prediction.model), database, recommended)
        for prediction in value_of(database.predictions) or ()
        if prediction.model not in measured
    ]
    parts += [
        _measured(estimate, calibrated.get(estimate.model), database, recommended)
        for estimate in measured.values()
    ]
    return tuple(sorted(parts, key=lambda part: not part.recommended))


def _published(
    prediction: Prediction,
    calibrated: CalibratedEstimate | None,
    database: DatabaseSnapshot,
    recommended: str | None,
) -> ModelPart:
    rate = prediction.puts_per_second if calibrated is None else calibrated.puts_per_second
    return ModelPart(
        model=prediction.model,
        recommended=prediction.model == recommended,
        puts_per_second=rate,
        raw_puts_per_second=prediction.puts_per_second,
        lower=None if calibrated is None else calibrated.lower,
        upper=None if calibrated is None else calibrated.upper,
        confidence=prediction.confidence if calibrated is None else calibrated.confidence,
        factors=decomposition.of_prediction(prediction, _correction(calibrated), rate),
        reference=decomposition.REFERENCE,
        reference_puts_per_second=decomposition.reference_puts_per_second(),
        bandwidth_terms=_bandwidth_terms(database),
        demands=(),
        advice="",
        source=database.predictions.source if isinstance(database.predictions, Known) else "",
    )


def _correction(calibrated: CalibratedEstimate | None) -> float | None:
    """What labels multiplied the number by; None where they did nothing yet."""
    if calibrated is None or calibrated.factor == 1.0:
        return None
    return calibrated.factor


def _measured(
    estimate: Estimate,
    calibrated: CalibratedEstimate | None,
    database: DatabaseSnapshot,
    recommended: str | None,
) -> ModelPart:
    rate = estimate.puts_per_second if calibrated is None else calibrated.puts_per_second
    observed = value_of(database.observed_puts_per_second)
    return ModelPart(
        model=estimate.model,
        recommended=estimate.model == recommended,
        puts_per_second=rate,
        raw_puts_per_second=estimate.puts_per_second,
        lower=estimate.lower if calibrated is None else calibrated.lower,
        upper=estimate.upper if calibrated is None else calibrated.upper,
        confidence="unverified" if calibrated is None else calibrated.confidence,
        factors=decomposition.of_estimate(estimate, _correction(calibrated), rate),
        reference=None,
        reference_puts_per_second=None,
        bandwidth_terms=(),
        demands=tuple(
            Demand(
                resource=row.resource,
                unit=row.unit,
                demand_per_put=row.demand,
                free_capacity_per_second=row.free_capacity,
                puts_per_second=row.puts_per_second,
                utilization_now=(
                    None
                    if observed is None or row.free_capacity <= 0.0
                    else observed * row.demand / row.free_capacity
                ),
                spread_ratio=row.spread_ratio,
                source=row.source,
            )
            for row in estimate.resources
        ),
        advice=estimate.advice,
        source=estimate.source,
    )


def _bandwidth_terms(database: DatabaseSnapshot) -> tuple[Term, ...]:
    """Capacity - foreign - own compaction, where all are known: V4's available bandwidth."""
    available = value_of(database.available_bytes_per_second)
    foreign = value_of(database.foreign_bytes_per_second)
    compaction = value_of(database.compaction_bytes_per_second)
    if available is None or foreign is None or compaction is None:
        return ()
    return (
        Term("device capacity", available + foreign + compaction, "bytes/s"),
        Term("writes of others", -foreign, "bytes/s"),
        Term("own compaction", -compaction, "bytes/s"),
    )
