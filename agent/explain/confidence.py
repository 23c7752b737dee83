"""What the confidence of a recommended number consists of, in words. Pure."""

import math

from agent.explain.explanation import ConfidencePart
from agent.models.estimate import INTERVAL_LEVEL, CalibratedEstimate, MissingInput
from agent.models.prediction import Prediction
from agent.readings import value_of
from agent.snapshot import DatabaseSnapshot


def confidence_part(best: CalibratedEstimate, database: DatabaseSnapshot) -> ConfidencePart:
    """Labels, interval and what widened it, for the recommended answer."""
    inputs = value_of(database.inputs)
    spread = None if inputs is None else inputs.log_spread
    published = next(
        (p for p in value_of(database.predictions) or () if p.model == best.model), None
    )
    why = _why(best, spread, len(fallbacks(database)))
    if published is not None:
        why = (*why, *published.warnings, *_published_rule(published))
    return ConfidencePart(
        level=best.confidence,
        basis=best.basis,
        labels=best.labels,
        lower=best.lower,
        upper=best.upper,
        accuracy_ratio=best.accuracy_ratio,
        coverage_ratio=best.coverage_ratio,
        coverage_interval=best.coverage_interval,
        widened=best.widened,
        inputs_log_spread=spread,
        why=why,
    )


def _published_rule(prediction: Prediction) -> tuple[str, ...]:
    return (
        f"{prediction.model}'s published rule would say {prediction.confidence} "
        f"({prediction.phase} phase, {prediction.bandwidth_mib:,.0f} MiB/s); nothing measured "
        "here stands behind that",
    )


def _why(best: CalibratedEstimate, spread: float | None, fallbacks: int) -> tuple[str, ...]:
    level = f"{100 * INTERVAL_LEVEL:.0f} %"
    labels = f"{best.labels} saturation episode{'' if best.labels == 1 else 's'}"
    why = [
        f"no saturation of this database has been seen yet: the {level} interval is a prior"
        if best.labels == 0
        else f"{labels} of this database corrected it by a factor of {best.factor:.3f}"
        + (
            f"; the {level} interval still leans on the prior"
            if best.basis != "labels"
            else f" and made the {level} interval"
        )
    ]
    if best.accuracy_ratio is not None:
        why.append(f"its median accuracy over them was {100 * best.accuracy_ratio:.0f} %")
    if best.coverage_ratio is not None:
        interval = best.coverage_interval
        proves = (
            ""
            if interval is None
            else f" (so few prove only {100 * interval[0]:.0f} to {100 * interval[1]:.0f} %)"
        )
        # Not the labels above: those are fewer, once the model's error has drifted.
        judged = f"{best.judged} episode{'' if best.judged == 1 else 's'}"
        why.append(
            f"{100 * best.coverage_ratio:.0f} % of {judged} lay inside the interval given "
            f"before{proves}"
        )
    if best.widened is not None:
        why.append(f"the interval is wider than the scores alone make it: {best.widened}")
    if spread is not None:
        why.append(
            f"the scatter of the measured inputs alone brings {100 * math.expm1(spread):.0f} %"
        )
    if fallbacks:
        why.append(f"{fallbacks} input{'' if fallbacks == 1 else 's'} had to be assumed")
    return tuple(why)


def fallbacks(database: DatabaseSnapshot) -> tuple[MissingInput, ...]:
    """What was assumed, once by name; a model that ran earlier may give an older reason."""
    inputs = value_of(database.inputs)
    found = {missing.name: missing for missing in (() if inputs is None else inputs.missing)}
    for estimate in value_of(database.estimates) or ():
        for missing in estimate.missing:
            found.setdefault(missing.name, missing)
    return tuple(found.values())
