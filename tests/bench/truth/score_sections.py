"""The report's sections on predictions: scores by model, every scenario, stalls announced."""

from collections.abc import Iterable, Sequence

from tests.bench.truth.announcements import false_alarms, lead_seconds, stall_begin
from tests.bench.truth.answers import RECOMMENDED
from tests.bench.truth.judged import Judged, Truths, score, truth_of
from tests.bench.truth.markdown import percent, rate, table
from tests.bench.truth.scores import summary, wilson

NOT_MEASURED = (RECOMMENDED, "v4", "v4.1")
"""The published formulas answer at once, whatever the database; the first usable estimate is the
first of a model that works with what was measured."""

EARLY_SECONDS = 30.0
"""An announcement as early as this leaves time to act."""


def scores_by_model(judged: Sequence[Judged], truths: Truths, moment: str) -> str:
    """Errors and coverage of each model, over all runs, the design set and those held out."""
    rows = []
    for title, held in (("all", None), ("design", False), ("held out", True)):
        chosen = [one for one in judged if held is None or one.held_out is held]
        for model in _models(judged):
            every = [score(one, moment, model, truth_of(one, truths)) for one in chosen]
            scores = [one for one in every if one is not None]
            total = summary(scores)
            if total is None:
                continue
            covered = "-"
            if total.with_interval:
                low, high = wilson(total.covered, total.with_interval)
                covered = (
                    f"{total.covered} of {total.with_interval} ({percent(low)}..{percent(high)})"
                )
            rows.append(
                [
                    f"{model}, {title}",
                    f"{total.count} of {len(chosen)}",
                    percent(total.median),
                    percent(total.p90),
                    percent(total.worst),
                    percent(total.above, signed=True),
                    covered,
                ]
            )
    head = ["model, runs", "answers", "median error", "90th percentile", "worst"]
    return table([*head, "farthest above", "inside the 90 % interval"], rows)


def every_scenario(judged: Sequence[Judged], truths: Truths, moment: str) -> str:
    """One line per run: what was recommended, and every model's error."""
    models = [model for model in _models(judged) if model != RECOMMENDED]
    head = ["scenario", "load", "truth", "limit", "recommended", "error", "interval", "inside"]
    head += ["named limit", "first usable", *models]
    rows = []
    for one in sorted(judged, key=lambda each: each.held_out):
        run = one.run
        truth = truth_of(one, truths)
        prediction = one.predictions.get(moment, {}).get(RECOMMENDED)
        result = score(one, moment, RECOMMENDED, truth)
        interval = inside = "-"
        if prediction is not None and prediction.lower is not None:
            interval = f"{rate(prediction.lower)}..{rate(prediction.upper)}"
        if result is not None and result.inside is not None:
            inside = "yes" if result.inside else "no"
        measured = [at for name, at in one.first_seconds.items() if name not in NOT_MEASURED]
        first = min(measured, default=None)
        row = [
            f"{run.scenario}{' *' if one.held_out else ''}",
            percent(run.load.offered_puts_per_second / truth),
            rate(truth),
            run.truth.bottleneck or "-",
            rate(None if prediction is None else prediction.puts_per_second),
            percent(None if result is None else result.error, signed=True),
            interval,
            inside,
            (prediction.bottleneck if prediction is not None else None) or "-",
            "-" if first is None else f"{first:.0f} s",
        ]
        for model in models:
            own = score(one, moment, model, truth)
            row.append(percent(None if own is None else own.error, signed=True))
        rows.append(row)
    limits = _limits_named(judged, moment)
    below = (
        "\\* held out. *First usable* is when a model that works with what was measured first gave "
        "a rate, from the agent's start. The columns behind are each model's signed error."
    )
    return f"{table(head, rows)}\n\n{below}\n{limits}"


def stalls_announced(judged: Sequence[Judged]) -> str:
    """How early stalls were announced on the ramps, and what was announced without one."""
    rows, leads = [], []
    for one in judged:
        ramp = one.run.ramp
        stall = None if ramp is None else stall_begin(ramp)
        if ramp is None or stall is None or not one.announced:
            continue
        lead = lead_seconds(one.announced, ramp.start_wall_seconds, stall)
        leads.append(lead or 0.0)
        at = stall - ramp.start_wall_seconds
        said = "not announced" if lead is None else f"{lead:.0f} s"
        rows.append([one.run.scenario, f"{at:.0f} s", said])
    quiet = [one for one in judged if one.announced and one.run.load.stopped_ratio == 0.0]
    if not quiet:
        return ""
    alarms = minutes = 0.0
    for one in quiet:
        start = one.run.wall_seconds["load"]
        end = one.run.wall_seconds["saturation"]
        alarms += false_alarms(one.announced, start, end)
        minutes += (end - start) / 60.0
    text = (
        "## Stalls seen coming\n\n"
        f"In {minutes:.0f} minutes of load that did not stall, {alarms:.0f} stalls were announced."
    )
    if not rows:
        return text
    early = sum(lead >= EARLY_SECONDS for lead in leads)
    low, high = wilson(early, len(leads))
    return (
        f"{text} On ramps from half of the truth to one and a half, {early} of {len(leads)} were "
        f"announced {EARLY_SECONDS:g} s before or earlier ({percent(low)}..{percent(high)}).\n\n"
        + table(["ramp", "stall after", "announced before"], rows)
    )


def _models(judged: Iterable[Judged]) -> list[str]:
    """In order of appearance, what is recommended first."""
    found = dict.fromkeys(
        model for one in judged for by_model in one.predictions.values() for model in by_model
    )
    return [RECOMMENDED, *(model for model in found if model != RECOMMENDED)]


def _limits_named(judged: Sequence[Judged], moment: str) -> str:
    clear = [one for one in judged if one.run.truth.bottleneck is not None]
    named = [
        (one.run.truth.bottleneck, prediction.bottleneck)
        for one in clear
        if (prediction := one.predictions.get(moment, {}).get(RECOMMENDED)) is not None
        and prediction.bottleneck is not None
    ]
    if not named:
        return f"Of {len(clear)} runs with a clear limit none had it named."
    right = sum(truth == said for truth, said in named)
    low, high = wilson(right, len(clear))
    return (
        f"Of {len(clear)} runs with a clear limit, {right} were named correctly "
        f"({percent(low)}..{percent(high)})."
    )
