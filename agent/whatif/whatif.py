"""The same prediction with changed inputs, and whether a load fits. Pure.

    what_if(explanation, change, load, models) -> WhatIf

``models`` are what predicts (``RateModel``: model inputs in, ``Answer`` out), run before and after
with the same code; what this database's labels say about a model (its calibration factor and its
interval) is applied to both. What the change leaves unknown widens the interval: the models are
run at both ends of all assumptions too.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from agent.explain.explanation import Explanation, ModelPart
from agent.forecast.capacity_plan import Plan, SMaxInterval, new_key_ratio, plan
from agent.models.lsm import ModelInputs
from agent.readings import Missing
from agent.whatif.change import Change
from agent.whatif.compression_prior import Lean
from agent.whatif.inputs import apply

UNTESTED_LOG_HALF_WIDTH: Final = math.log(1.5)
"""Half width, in log space, of the 90 % interval of a step to another limit: a prior, as wide as
the worst error that the project aims at and a tenth more."""


EXTRAPOLATION_SHARE: Final = 0.15
"""How much of a change, in log space, a model may get wrong though it is right now; a prior. A
limit that is another one after the change was never tested here."""


DISAGREEMENT_RATIO: Final = 0.1
"""A run here that gives so much more or less than the daemon's own on nearly the same inputs is
worth a note: the versions differ, or a run did not settle."""


class NoAnswer(Exception):
    """There is nothing to predict from; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model makes of a set of inputs; ``settled`` False: a rough figure.

    ``log_half_width`` is the half width of the 90 % interval that the model claims for itself.
    """

    puts_per_second: float
    bottleneck: str | None
    log_half_width: float
    written_bytes_per_put: Mapping[str, float] = field(default_factory=dict)
    settled: bool = True


RateModel = Callable[[ModelInputs], Answer | Missing]


@dataclass(frozen=True, slots=True)
class Load:
    """A put rate to be held: as a function of the present one, in puts/s, and for how long."""

    text: str
    put_rate: Callable[[float | None], float]
    duration_seconds: float


class Compared(msgspec.Struct, frozen=True):
    """One model before and after; rates calibrated, ``lower`` and ``upper`` are those after."""

    model: str
    before: float
    after: float
    ratio: float
    lower: float
    upper: float
    bottleneck_before: str | None
    bottleneck_after: str | None
    written_bytes_per_put_before: dict[str, float]
    written_bytes_per_put_after: dict[str, float]
    calibration: float
    settled: bool


class WhatIf(msgspec.Struct, frozen=True):
    """The answer. ``models`` has first the one to plan with, by which ``load`` is judged."""

    database: str
    changes: tuple[str, ...]
    published_model: str | None
    published_puts_per_second: float | None
    observed_puts_per_second: float | None
    models: tuple[Compared, ...]
    notes: tuple[str, ...]
    load_text: str | None
    load: Plan | None


def what_if(
    explanation: Explanation, change: Change, load: Load | None, models: Mapping[str, RateModel]
) -> WhatIf:
    """Predict with and without the change.

    Raises ChangeError for a change that cannot be, NoAnswer where there is nothing to predict from.
    """
    inputs = explanation.inputs
    if inputs is None:
        absent = next((a for a in explanation.missing if a.quantity == "inputs"), None)
        why = "the daemon does not say why" if absent is None else absent.detail
        raise NoAnswer(f"no model inputs of {explanation.database} are known: {why}")
    foreign = None if explanation.disk is None else explanation.disk.foreign_bytes_per_second.value
    published = {part.model: part for part in explanation.models}
    changed = apply(change, inputs, foreign)
    ends = tuple(apply(change, inputs, foreign, lean).inputs for lean in _ENDS)
    compared: list[Compared] = []
    silent: list[str] = []
    for name, model in models.items():
        row = _compare(name, model, inputs, changed.inputs, ends, published.get(name))
        if isinstance(row, Missing):
            silent.append(f"{name} has no answer: {row.detail}")
        else:
            compared.append(row)
    if not compared:
        raise NoAnswer(f"{explanation.database}: {'; '.join(silent) or 'no model was asked'}")
    compared.sort(key=lambda row: row.model != explanation.recommended_model)
    observed = explanation.observed_puts_per_second.value
    unsettled = any(not row.settled for row in compared)
    notes = [
        *(f"assumed for {m.name}: {m.fallback} ({m.detail})" for m in inputs.missing),
        *changed.notes,
        *silent,
        *_disagreements(compared, published),
        *(["the simulation did not settle: rough figures"] if unsettled else []),
    ]
    if explanation.recommended_model is not None and not any(
        row.model == explanation.recommended_model for row in compared
    ):
        notes.append(
            f"the published S_max is {explanation.recommended_model}'s, which knows no such "
            "changes: compare the ratios"
        )
    answer = WhatIf(
        database=explanation.database,
        changes=changed.changes,
        published_model=explanation.recommended_model,
        published_puts_per_second=explanation.puts_per_second.value,
        observed_puts_per_second=observed,
        models=tuple(compared),
        notes=tuple(notes),
        load_text=None if load is None else load.text,
        load=None,
    )
    if load is None:
        return answer
    return msgspec.structs.replace(
        answer, load=_planned(explanation, changed.inputs, load, compared[0])
    )


_ENDS: Final[tuple[Lean, Lean]] = (-1, 1)


def _compare(
    name: str,
    model: RateModel,
    before: ModelInputs,
    after: ModelInputs,
    ends: tuple[ModelInputs, ...],
    published: ModelPart | None,
) -> Compared | Missing:
    old = model(before)
    new = old if after == before else model(after)
    if isinstance(old, Missing):
        return old
    if isinstance(new, Missing):
        return new
    rates = [new.puts_per_second]
    for end in ends:
        answer = new if end == after else model(end)
        if isinstance(answer, Missing):
            return answer
        rates.append(answer.puts_per_second)
    for rate, when in ((old.puts_per_second, "now"), (min(rates), "with the change")):
        if rate <= 0.0:
            return Missing("no_rate", f"it finds no rate that holds without a stall {when}")
    factor = 1.0
    below = above = new.log_half_width
    if published is not None:
        # The daemon's own number is the one before; the change is what the two runs differ by.
        factor = published.puts_per_second / old.puts_per_second
        if published.lower is not None and published.upper is not None:
            below = math.log(published.puts_per_second / published.lower)
            above = math.log(published.upper / published.puts_per_second)
    ratio = new.puts_per_second / old.puts_per_second
    reach = EXTRAPOLATION_SHARE * abs(math.log(ratio))
    if new.bottleneck != old.bottleneck:
        reach = max(reach, UNTESTED_LOG_HALF_WIDTH)
    # The model's error now, that of the step, and what the change leaves unknown are independent.
    below = math.hypot(below, reach, math.log(new.puts_per_second / min(rates)))
    above = math.hypot(above, reach, math.log(max(rates) / new.puts_per_second))
    expected = factor * new.puts_per_second
    return Compared(
        model=name,
        before=factor * old.puts_per_second,
        after=expected,
        ratio=ratio,
        lower=expected * math.exp(-below),
        upper=expected * math.exp(above),
        bottleneck_before=old.bottleneck,
        bottleneck_after=new.bottleneck,
        written_bytes_per_put_before=dict(old.written_bytes_per_put),
        written_bytes_per_put_after=dict(new.written_bytes_per_put),
        calibration=factor,
        settled=old.settled and new.settled,
    )


def _disagreements(compared: list[Compared], published: Mapping[str, ModelPart]) -> tuple[str, ...]:
    return tuple(
        f"{row.model} gives {row.before / row.calibration:,.0f} puts/s here and gave the daemon "
        f"{published[row.model].raw_puts_per_second:,.0f}: the ratio is of the runs here"
        for row in compared
        if row.model in published
        and abs(row.before / row.calibration / published[row.model].raw_puts_per_second - 1.0)
        > DISAGREEMENT_RATIO
    )


def _planned(explanation: Explanation, inputs: ModelInputs, load: Load, row: Compared) -> Plan:
    if explanation.disk is None:
        raise NoAnswer(
            f"the device under {explanation.database} is not known: whether a load fits cannot "
            "be said"
        )
    put_rate = load.put_rate(explanation.observed_puts_per_second.value)
    answer = plan(
        inputs,
        SMaxInterval(row.after, row.lower, row.upper),
        put_rate,
        load.duration_seconds,
        explanation.disk.filesystem_free_bytes,
        new_key_ratio(inputs, put_rate * load.duration_seconds),
    )
    said = {f"{missing.name}: {missing.fallback}" for missing in inputs.missing}
    own = tuple(caveat for caveat in answer.caveats if caveat not in said)
    return dataclasses.replace(answer, caveats=own)
