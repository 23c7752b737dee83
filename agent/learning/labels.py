"""Labels, and the predictions that they judge."""

from dataclasses import dataclass
from typing import Literal

import msgspec


class PredictionBefore(msgspec.Struct, frozen=True):
    """What a model said before an episode: raw, and as published with its interval."""

    model: str
    raw: float
    log_half_width: float | None
    published: float
    lower: float
    upper: float
    verified: bool  # labels stood behind the published value
    raw_then: float | None = None  # the model's own answer when the label was measured


class Label(msgspec.Struct, frozen=True):
    """An episode, the conditions it was measured under, and the predictions it judges."""

    started_wall_seconds: float
    ended_wall_seconds: float
    kind: Literal["stop", "delay", "cpu", "ceiling", "floor"]
    puts_per_second: float
    log_uncertainty: float
    closed: bool
    options_key: str
    device_key: str
    predictions: tuple[PredictionBefore, ...]

    @property
    def exact(self) -> bool:
        """Whether it says what S_max is, not only a bound."""
        return self.kind not in {"ceiling", "floor"}

    def of(self, model: str) -> PredictionBefore | None:
        """The model's prediction that it judges."""
        return next((p for p in self.predictions if p.model == model), None)


@dataclass(frozen=True, slots=True)
class RawEstimate:
    """A model's own answer; ``log_half_width`` None: it claims none. ``complete``: no input was
    replaced by a fallback. ``at`` is monotonic."""

    model: str
    puts_per_second: float
    log_half_width: float | None
    at: float
    complete: bool = True
