"""Models corrected by what the database really did, with intervals that mean what they say. Pure.

`Calibration`, one per (database, device):

    note(raw, calibrated, now)       every tick outside saturation: what was published, for later
    present(answers)                 every tick: what the models say themselves
    label(episode) -> bool           what `EpisodeDetector` reported; True when something changed
    calibrated(model, puts_per_second, log_half_width, wall_seconds) -> CalibratedEstimate
    set_conditions(options_key, device_key)

Lead. A label is compared with what was predicted *before* the onset of saturation
(agent.learning.predictions). Predictions made during an episode have seen the answer and are never
noted. Only raw predictions are corrected; corrected ones are only scored, so nothing is trained on
itself.

Correction. Per label and model the residual is ln(measured / raw). Where the raw answer at the time
of the label is nearer to it, because the model has learned more of the database since, only that
part of the error is corrected that is still made: else it would be corrected twice. The factor is
exp of their Huber mean in which a label weighs half as much for every 10 later ones, less when it
is less certain, and a quarter when it was measured under other options. It is shrunk towards 1 as a
normal prior would do: the prior weighs (scatter / bias)^2 labels, where bias is the documented
spread of the model between hosts, scatter that of labels on one host. Bounds (ceiling, floor) pull
while they are violated.

Interval. Half widths are in natural log space. Without labels: the larger of the model's own claim
and the documented prior. With n labels: the split-conformal quantile of the leave-one-out errors,
rank ceil((n + 1) * 0.9), from n = 9 on. For n < 9 that does not exist: the half width is then
(9 - n) parts prior and n parts largest error, and the basis says "few labels". It is widened, with
the reason in ``widened``, after drift, after labels that fell outside (adaptive: a miss widens by
e^(0.9 g), a hit narrows by e^(0.1 g), never below 1; after I. Gibbs & E. Candes, NeurIPS 2021),
under other options, when the newest label is over a week old, and when the inputs are less certain
now than they were at the labels.

Coverage's interval is Clopper and Pearson's, level 0.9.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from agent.learning.conformal import clopper_pearson, labels_for
from agent.learning.correction import Correction, correction, prior_half_width
from agent.learning.episodes import Episode
from agent.learning.labels import Label, RawEstimate
from agent.learning.predictions import RecentPredictions
from agent.models.estimate import INTERVAL_LEVEL, CalibratedEstimate
from agent.models.prediction import CONFIDENCE_LEVELS

FRESH_SECONDS: Final = 7 * 86400.0
STALE_HALF_LIFE_SECONDS: Final = 30 * 86400.0
"""From a week on, what labels say about the width counts half as much with every 30 days."""

MAX_LABELS: Final = 64

WIDEST: Final = 50.0
"""A half width beyond this says nothing more, and its exponential would leave the numbers."""

WIDTH_LEVELS: Final = (0.5, 0.25, 0.1)
"""Half widths up to which confidence is medium, high and very high."""


class Calibration:
    """Learns one database's labels on one device."""

    def __init__(self, labels: Sequence[Label] = ()) -> None:
        self._labels = list(labels)
        self._said = RecentPredictions()
        self._corrections: dict[str, Correction] = {}
        self._present: dict[str, float] = {}
        self._options_key = self._device_key = ""

    @property
    def labels(self) -> tuple[Label, ...]:
        """Every label kept, oldest first; what is to be remembered."""
        return tuple(self._labels)

    def set_conditions(self, options_key: str, device_key: str) -> None:
        """Say what the database runs with now: labels of another device do not count at all."""
        if (options_key, device_key) != (self._options_key, self._device_key):
            self._options_key, self._device_key = options_key, device_key
            self._corrections.clear()

    def present(self, answers: Mapping[str, float]) -> None:
        """The models' own answers of this tick, by model; a label is compared with them too."""
        self._present = dict(answers)

    def note(self, raw: RawEstimate, published: CalibratedEstimate, now: float) -> None:
        """Remember what was said at ``now``, outside saturation, for an episode that may follow."""
        self._said.note(raw, published, now)

    def label(self, episode: Episode) -> bool:
        """Learn from an episode, or unlearn it; False when nothing follows from it."""
        known = next(
            (
                label
                for label in self._labels
                if label.started_wall_seconds == episode.started_wall_seconds
            ),
            None,
        )
        if known is not None:
            self._labels.remove(known)
            self._corrections.clear()
        predictions = self._said.before(episode.started_at) if known is None else known.predictions
        predictions = tuple(
            msgspec.structs.replace(p, raw_then=self._present.get(p.model)) for p in predictions
        )
        if episode.status == "withdrawn" or not predictions:
            return known is not None
        label = Label(
            started_wall_seconds=episode.started_wall_seconds,
            ended_wall_seconds=episode.ended_wall_seconds,
            kind=episode.kind,
            puts_per_second=episode.puts_per_second,
            log_uncertainty=episode.log_uncertainty,
            closed=episode.status == "closed",
            options_key=episode.options_key,
            device_key=self._device_key,
            predictions=predictions,
        )
        if not label.exact and not self._violates(label):
            return known is not None
        self._labels.append(label)
        self._labels.sort(key=lambda held: held.started_wall_seconds)
        del self._labels[:-MAX_LABELS]
        self._corrections.clear()
        return True

    @staticmethod
    def _violates(label: Label) -> bool:
        """Whether a bound contradicts what any model said: else it teaches nothing."""
        if label.kind == "floor":
            return any(p.published < label.puts_per_second for p in label.predictions)
        return any(p.published > label.puts_per_second for p in label.predictions)

    def calibrated(
        self,
        model: str,
        puts_per_second: float,
        log_half_width: float | None,
        wall_seconds: float,
    ) -> CalibratedEstimate:
        """The corrected rate with its 90 % interval; ``wall_seconds`` is now."""
        if model not in self._corrections:
            self._corrections[model] = correction(
                model, self._labels, self._options_key, self._device_key
            )
        learned = self._corrections[model]
        prior = prior_half_width(model, log_half_width)
        needed = labels_for(INTERVAL_LEVEL)
        reasons = list(learned.reasons)
        half_width, basis = prior, "prior"
        if learned.label_half_width is not None:
            trust = min(1.0, learned.counted / needed)
            stale = max(0.0, wall_seconds - learned.newest_wall_seconds - FRESH_SECONDS)
            if stale:
                trust *= 0.5 ** (stale / STALE_HALF_LIFE_SECONDS)
                days = (stale + FRESH_SECONDS) / 86400.0
                reasons.append(f"the newest label is {days:.0f} days old")
            by_labels = learned.label_half_width
            if learned.own_half_width and (log_half_width or 0.0) > learned.own_half_width:
                # Only what the labels say: the prior part is no narrower than the claim already.
                by_labels *= (log_half_width or 0.0) / learned.own_half_width
                reasons.append("the inputs are less certain than they were at the labels")
            half_width = ((1 - trust) * prior + trust * by_labels) * learned.widening
            half_width = min(half_width, WIDEST)
            basis = "labels" if learned.counted >= needed else "few labels"
        factor = math.exp(learned.log_factor)
        rate = puts_per_second * factor
        coverage = clopper_pearson(learned.covered, learned.judged, INTERVAL_LEVEL)
        return CalibratedEstimate(
            model=model,
            puts_per_second=rate,
            lower=rate * math.exp(-half_width),
            upper=rate * math.exp(half_width),
            factor=factor,
            basis=basis,
            labels=learned.labels,
            accuracy_ratio=learned.accuracy_ratio,
            judged=learned.judged,
            coverage_ratio=learned.covered / learned.judged if learned.judged else None,
            coverage_interval=coverage if learned.judged else None,
            confidence=_confidence(half_width, learned, coverage[1]),
            widened="; ".join(reasons) or None,
        )


def _confidence(half_width: float, learned: Correction, coverage_upper: float) -> str:
    """Levels by interval width; few labels cap them, coverage that is demonstrably short costs one.

    One or two labels give at most medium, up to eight at most high.
    """
    if learned.labels == 0:
        return "unverified"
    level = sum(half_width <= width for width in WIDTH_LEVELS)
    level = min(level, 1 if learned.labels < 3 else 2 if learned.labels < 9 else 3)
    if learned.judged and coverage_upper < INTERVAL_LEVEL:
        level -= 1
    return CONFIDENCE_LEVELS[max(0, level)]
