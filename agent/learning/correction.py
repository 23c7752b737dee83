"""What the labels say about one model: its factor, its errors, whether they changed. Pure.

`correction(model, labels, options_key, device_key) -> Correction` replays the labels from the first
on, so that a label that is replaced or withdrawn leaves no trace. How the result is used, and why,
is in ``agent.learning.calibration``.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from agent.learning.conformal import Evidence, conformal_quantile, labels_for, robust_center
from agent.learning.drift import PageHinkley
from agent.learning.labels import Label, PredictionBefore
from agent.models.estimate import INTERVAL_LEVEL, NORMAL_90

PRIOR_LOG_HALF_WIDTH: Final[Mapping[str, float]] = {
    "v4": math.log(12.0),
    "v4.1": math.log(12.0),
    "bottleneck": 0.5,
    "simulator": 0.2,
    "calibrate": 0.2,
}
"""Least half width of the 90 % interval before any label, by model; a model that claims a wider one
is believed. V4's constants come from one experiment on one machine: it was measured a factor of 11
to 50 off on others. The bottleneck model's own widths are by resource and inputs, and so are the
simulator's, which docs/accuracy.md found within 13 % of the truth where the device or the rate
limiter was the limit."""

UNKNOWN_MODEL_LOG_HALF_WIDTH: Final = 1.0

SCATTER: Final = 0.1
"""Prior standard deviation, log space, of one model's residuals among one database's episodes."""

LABEL_UNCERTAINTY: Final = 0.05
"""Of an ordinary label (LOG_UNCERTAINTY in agent.learning.saturation): it weighs 1, less certain
ones less. No interval is narrower than this either: truth itself is not known better."""

HALF_LIFE_LABELS: Final = 10.0
OTHER_OPTIONS_WEIGHT: Final = 0.25

ADAPTATION: Final = 0.2
"""g above: about five misses in a row double the width."""

LARGEST_WIDENING: Final = 4.0

MAX_SCORED: Final = 40


@dataclass(frozen=True, slots=True)
class Correction:
    """What the labels say about one model."""

    log_factor: float = 0.0
    label_half_width: float | None = None
    labels: int = 0
    counted: float = 0.0  # labels, those under other options by their weight
    newest_wall_seconds: float = 0.0
    own_half_width: float | None = None  # the model's median claim at the labels
    widening: float = 1.0
    accuracy_ratio: float | None = None
    covered: int = 0
    judged: int = 0
    reasons: tuple[str, ...] = ()


def correction(
    model: str, labels: Sequence[Label], options_key: str, device_key: str
) -> Correction:
    """What ``labels``, oldest first, say about a model under the present options and device."""
    pairs = [
        (label, prediction)
        for label in labels
        if label.device_key == device_key and (prediction := label.of(model)) is not None
    ]
    judged = [(label, p) for label, p in pairs if label.exact]
    since, widening, reasons = _watch(judged)
    active = [(label, p) for label, p in pairs if label.started_wall_seconds >= since][-MAX_SCORED:]
    if not active:
        return Correction()
    own = [p.log_half_width for _, p in active if p.log_half_width is not None]
    evidence = _evidence(active, options_key)
    bias = prior_half_width(model, statistics.median(own) if own else None) / NORMAL_90
    exact = [e for e in evidence if e.bound == "exact"]
    scale = _scale(exact)
    prior_weight = (SCATTER**2 + LABEL_UNCERTAINTY**2) / bias**2
    center = robust_center(evidence, prior_weight, scale)
    others = sum(1 for label, _ in active if label.exact and label.options_key != options_key)
    if others:
        reasons.append(f"{others} labels were measured under other options: a quarter each")
    errors = [
        abs(e.value - robust_center([o for o in evidence if o is not e], prior_weight, scale))
        for e in exact
    ]
    quantile = conformal_quantile(errors, INTERVAL_LEVEL)
    relative = [
        abs(p.published / label.puts_per_second - 1)
        for label, p in judged
        if label.started_wall_seconds >= since
    ]
    return Correction(
        log_factor=center,
        label_half_width=(
            max(LABEL_UNCERTAINTY, max(errors) if quantile is None else quantile)
            if errors
            else None
        ),
        labels=len(exact),
        counted=len(exact) - others * (1 - OTHER_OPTIONS_WEIGHT),
        newest_wall_seconds=max(label.ended_wall_seconds for label, _ in active),
        own_half_width=statistics.median(own) if own else None,
        widening=widening,
        accuracy_ratio=1 - statistics.median(relative[-MAX_SCORED:]) if relative else None,
        covered=sum(p.lower <= label.puts_per_second <= p.upper for label, p in judged),
        judged=len(judged),
        reasons=tuple(reasons),
    )


def _evidence(active: Sequence[tuple[Label, PredictionBefore]], options_key: str) -> list[Evidence]:
    """Residuals, newest with weight 1."""
    evidence = []
    for age, (label, p) in zip(range(len(active) - 1, -1, -1), active, strict=True):
        certain = SCATTER**2 + LABEL_UNCERTAINTY**2
        weight = 0.5 ** (age / HALF_LIFE_LABELS)
        weight *= certain / (SCATTER**2 + label.log_uncertainty**2)
        weight *= 1.0 if label.options_key == options_key else OTHER_OPTIONS_WEIGHT
        residual = _still_made(label, p)
        if label.kind == "ceiling":
            # "At most this plus a little": the label's own uncertainty.
            evidence.append(Evidence(residual + label.log_uncertainty, weight, "at_most"))
        elif label.kind == "floor":
            evidence.append(Evidence(residual, weight, "at_least"))
        else:
            evidence.append(Evidence(residual, weight))
    return evidence


def _still_made(label: Label, before: PredictionBefore) -> float:
    """The error of the model's own answer before the episode, as far as it still makes it.

    Where it erred one way before and the other way now, the one that lowers the rate counts: who
    acts on a rate that is too high gets a stall.
    """
    error = math.log(label.puts_per_second / before.raw)
    if not before.raw_then or before.raw_then <= 0:
        return error
    now = math.log(label.puts_per_second / before.raw_then)
    return min(error, now, key=abs) if error * now > 0 else min(error, now)


def _watch(
    judged: Sequence[tuple[Label, PredictionBefore]],
) -> tuple[float, float, list[str]]:
    """Follow the scores in order: since when they are of one kind, and how often they missed.

    Scores are in units of the published interval's own standard deviation; the first label
    finds an uncorrected model, which is no drift.
    """
    since, log_widening, dropped = -math.inf, 0.0, 0
    chart, followed = PageHinkley(), list[Label]()
    for label, p in judged:
        if not label.closed:
            continue
        inside = p.lower <= label.puts_per_second <= p.upper
        log_widening += ADAPTATION * (INTERVAL_LEVEL - 1 if inside else INTERVAL_LEVEL)
        log_widening = max(0.0, min(math.log(LARGEST_WIDENING), log_widening))
        if not p.verified:
            continue
        followed.append(label)
        claimed = math.log(p.upper / p.lower) / 2 / NORMAL_90
        if chart.update(math.log(label.puts_per_second / p.published) / claimed):
            since = followed[chart.began].started_wall_seconds
            dropped = sum(old.started_wall_seconds < since for old, _ in judged)
            followed, log_widening = [], 0.0
    reasons = []
    if dropped and len(judged) - dropped < labels_for(INTERVAL_LEVEL):
        reasons.append(f"the model's error drifted: {dropped} older labels no longer count")
    if log_widening > 0.01:
        reasons.append("more labels than a tenth fell outside the interval of late")
    return since, math.exp(log_widening), reasons


def prior_half_width(model: str, own: float | None) -> float:
    """Of the 90 % interval before any label: the documented one or the model's own, if larger."""
    prior = PRIOR_LOG_HALF_WIDTH.get(model, UNKNOWN_MODEL_LOG_HALF_WIDTH)
    return max(prior, own) if own is not None and math.isfinite(own) else prior


def _scale(exact: Sequence[Evidence]) -> float:
    """Standard deviation of residuals: the prior's, or more where successive labels differ more."""
    if len(exact) < 4:
        return SCATTER
    steps = [abs(after.value - before.value) for before, after in pairwise(exact)]
    # The difference of two normal values has a median of 0.954 standard deviations of one.
    return max(SCATTER, statistics.median(steps) / 0.954)
