"""Which of the models speaks: by its measured score, before any by ``auto`` of the reference.

`recommend` is the choice at one moment, `Recommendation` the same over time, without flapping.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from agent.models import v4, v41
from agent.models.estimate import CalibratedEstimate
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


SHRINKAGE_LABELS: Final = 2.0
"""A measured error is averaged with the documented one as if that came from so many labels: one
lucky label does not make a model the best."""

PRIOR_RELATIVE_ERROR: Final[Mapping[str, float]] = {
    "calibrate": 0.2,
    "simulator": 0.2,
    "bottleneck": 0.3,
    "v4": 0.9,
    "v4.1": 0.9,
}
"""Absolute relative error to expect before any label; see calibration's documented half widths."""

UNKNOWN_MODEL_RELATIVE_ERROR: Final = 0.6

SWITCH_RATIO: Final = 0.8
"""Another model is recommended only once its error is at most this share of the present one's."""

RETURN_SECONDS: Final = 300.0
"""A model that was missing must be there for so long before it is recommended (again)."""


def expected_error(estimate: CalibratedEstimate) -> float:
    """Absolute relative error to expect: the measured one, shrunk towards the documented one."""
    prior = PRIOR_RELATIVE_ERROR.get(estimate.model, UNKNOWN_MODEL_RELATIVE_ERROR)
    if estimate.accuracy_ratio is None or estimate.labels == 0:
        return prior
    measured, labels = 1.0 - estimate.accuracy_ratio, float(estimate.labels)
    return (labels * measured + SHRINKAGE_LABELS * prior) / (labels + SHRINKAGE_LABELS)


def recommend(
    estimates: Sequence[CalibratedEstimate],
    complete: Collection[str],
    phase: str | None,
    present: str | None = None,
) -> str | None:
    """The model to recommend; None when there is none.

    The best measured score on this host wins. Before any score: the simulator, else the bottleneck
    model, else the original's ``auto`` for the phase. A measured model with a fallback for an input
    comes before ``auto`` too: its interval says how much that costs, which is a few tens of per
    cent, while ``auto`` misses by factors. ``present`` keeps its place while not clearly beaten.
    """
    by_model = {estimate.model: estimate for estimate in estimates}
    scored = [e for e in estimates if e.labels > 0 and e.accuracy_ratio is not None]
    if not scored:
        auto = () if phase is None else (auto_model(phase),)
        order = [*_measured_order(by_model), *auto, "v4.1", "v4"]
        return next((model for model in order if model in by_model), None)
    # A model without a score that is complete competes with its documented error: it may have
    # been missing only when the labels came.
    rivals = scored + [e for e in estimates if e not in scored and e.model in complete]
    best = min(rivals, key=expected_error)
    held = by_model.get(present or "")
    if held in rivals and expected_error(best) > SWITCH_RATIO * expected_error(held):
        return held.model
    return best.model


def _measured_order(by_model: Mapping[str, CalibratedEstimate]) -> tuple[str, ...]:
    """The simulator first, unless a calibration run of this database is the more certain."""

    def width(model: str) -> float:
        estimate = by_model.get(model)
        return math.inf if estimate is None else math.log(estimate.upper / estimate.lower)

    if width("calibrate") < width("simulator"):
        return ("calibrate", "simulator", "bottleneck")
    return ("simulator", "calibrate", "bottleneck")


class Recommendation:
    """Follows `recommend` over time, so that a model that comes and goes does not make it flap.

    A model that disappears is replaced at once, and one that is better for the first time takes
    over at once. One that was replaced before must be the better choice without a break for
    RETURN_SECONDS before it comes back. ``auto``'s own two follow the phase, which has a hysteresis
    of its own.
    """

    def __init__(self, present: str | None = None) -> None:
        self._present = present
        self._replaced: set[str] = set()
        self._rival: str | None = None
        self._rival_since = 0.0

    def update(
        self,
        estimates: Sequence[CalibratedEstimate],
        complete: Collection[str],
        phase: str | None,
        now: float,
    ) -> str | None:
        """The model recommended at ``now`` (monotonic); None when there is none."""
        best = recommend(estimates, complete, phase, self._present)
        if best != self._rival:
            self._rival, self._rival_since = best, now
        present = self._present
        waited = now - self._rival_since >= RETURN_SECONDS
        both_published = {best, present} == {"v4", "v4.1"}
        gone = all(estimate.model != present for estimate in estimates)
        if gone or waited or both_published or best not in self._replaced:
            if present is not None and present != best:
                self._replaced.add(present)
            self._present = best
        return self._present
