"""``docs/accuracy.md`` out of the results: every scenario, then the scores, then what was run."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.recording import RecordingError
from tests.bench.truth.announcements import (
    Announcement,
    false_alarms,
    lead_seconds,
    stall_begin,
)
from tests.bench.truth.answers import RECOMMENDED, Prediction, of_document
from tests.bench.truth.markdown import percent, rate, table
from tests.bench.truth.replayed import replayed
from tests.bench.truth.results import RunRecord, read_runs
from tests.bench.truth.scenarios import SCENARIOS
from tests.bench.truth.scores import Scored, pooled_spread, scored, spread, summary, wilson

MOMENTS = ("before", "after")
TITLES = {
    "before": "From the load before the answer, no saturation seen",
    "after": "After one saturation episode",
}
EARLY_SECONDS = 30.0
"""An announcement as early as this leaves time to act."""

METHOD = Path(__file__).with_name("method.md")
COMMAND = "sudo tests/bench/accuracy run --out DIR && tests/bench/accuracy report DIR"


@dataclass(frozen=True, slots=True)
class Judged:
    """One run with the answers that are judged: today's models' on its recording, or the API's."""

    run: RunRecord
    held_out: bool
    replayed: bool
    predictions: dict[str, dict[str, Prediction]]  # by moment, by model
    first_seconds: dict[str, float]  # by model, from the agent's start
    announced: list[Announcement]  # of stalls, by the replay


def judge(directory: Path, run: RunRecord, held_out: frozenset[str]) -> Judged:
    """Replay the run's recording; without one, or where it cannot be read, the API's answers."""
    recorded = [answer for moment in MOMENTS for answer in run.answers if answer.moment == moment]
    predictions = {one.moment: of_document(one.database) for one in recorded}
    first, is_replayed = run.first_estimate_seconds, False
    announced: list[Announcement] = []
    if run.recording is not None and (directory / run.recording).exists():
        try:
            found = replayed(directory / run.recording, [one.wall_seconds for one in recorded])
        except RecordingError:
            pass  # the API's answers stand
        else:
            predictions = {
                one.moment: replies for one, replies in zip(recorded, found.answers, strict=True)
            }
            first, is_replayed = found.first_seconds, True
            announced = found.stalls_announced
    return Judged(run, run.scenario in held_out, is_replayed, predictions, first, announced)


def document(directory: Path) -> str:
    """The whole page; RuntimeError when there is nothing to report."""
    held_out = frozenset(scenario.name for scenario in SCENARIOS if scenario.held_out)
    judged = [judge(path, run, held_out) for path, run in read_runs(directory)]
    if not judged:
        raise RuntimeError(f"no results below {directory}")
    return page(judged)


def page(judged: Sequence[Judged]) -> str:
    """The page for these runs."""
    truths = _truths(judged)
    sections = [_head(judged, truths)]
    for moment in MOMENTS:
        sections.append(f"## {TITLES[moment]}")
        sections.append(_scores(judged, truths, moment))
        sections.append(_each(judged, truths, moment))
    sections.append(_stalls(judged))
    sections.append(METHOD.read_text().rstrip())
    sections += ["## The truth", _truth_table(judged, truths), _repeats(truths), _notes(judged)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _truths(judged: Sequence[Judged]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for one in judged:
        found[one.run.scenario].append(one.run.truth.puts_per_second)
    return dict(found)


def _head(judged: Sequence[Judged], truths: dict[str, list[float]]) -> str:
    machine = judged[-1].run.machine
    repeatability = pooled_spread(list(truths.values()))
    repeated = sum(len(values) > 1 for values in truths.values())
    said = (
        "No scenario was run twice: how well the truth repeats is unknown."
        if repeatability is None
        else f"The truth itself repeats with a relative standard deviation of "
        f"{repeatability * 100:.1f} % ({repeated} scenarios run more than once): "
        "no error below that means anything."
    )
    from_recordings = sum(one.replayed for one in judged)
    return "\n\n".join(
        [
            "# Accuracy",
            "How far S_max is from what a RocksDB really sustained, scenario by scenario. "
            "Made by the following command, not by hand.",
            f"    {COMMAND}",
            f"{len(judged)} runs of {len(truths)} scenarios on {machine['processor']}, "
            f"{machine['cores']} cores, Linux {machine['kernel']}. The answers of "
            f"{from_recordings} runs come from replaying their recordings with the models of this "
            f"version, the others are those the daemon gave. {said}",
        ]
    )


def _models(judged: Iterable[Judged]) -> list[str]:
    """In order of appearance, what is recommended first."""
    found = dict.fromkeys(
        model for one in judged for by_model in one.predictions.values() for model in by_model
    )
    return [RECOMMENDED, *(model for model in found if model != RECOMMENDED)]


def _score(one: Judged, moment: str, model: str, truth: float) -> Scored | None:
    prediction = one.predictions.get(moment, {}).get(model)
    if prediction is None:
        return None
    return scored(
        one.run.scenario, truth, prediction.puts_per_second, prediction.lower, prediction.upper
    )


def _scores(judged: Sequence[Judged], truths: dict[str, list[float]], moment: str) -> str:
    rows = []
    for title, held in (("all", None), ("design", False), ("held out", True)):
        chosen = [one for one in judged if held is None or one.held_out is held]
        for model in _models(judged):
            every = [_score(one, moment, model, _truth(one, truths)) for one in chosen]
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


def _each(judged: Sequence[Judged], truths: dict[str, list[float]], moment: str) -> str:
    models = [model for model in _models(judged) if model != RECOMMENDED]
    head = ["scenario", "load", "truth", "limit", "recommended", "error", "interval", "inside"]
    head += ["named limit", "first after", *(f"{model}" for model in models)]
    rows = []
    for one in sorted(judged, key=lambda each: each.held_out):
        run = one.run
        truth = _truth(one, truths)
        prediction = one.predictions.get(moment, {}).get(RECOMMENDED)
        score = _score(one, moment, RECOMMENDED, truth)
        interval = inside = "-"
        if prediction is not None and prediction.lower is not None:
            interval = f"{rate(prediction.lower)}..{rate(prediction.upper)}"
        if score is not None and score.inside is not None:
            inside = "yes" if score.inside else "no"
        first = one.first_seconds.get(RECOMMENDED)
        row = [
            f"{run.scenario}{' *' if one.held_out else ''}",
            percent(run.load.offered_puts_per_second / truth),
            rate(truth),
            run.truth.bottleneck or "-",
            rate(None if prediction is None else prediction.puts_per_second),
            percent(None if score is None else score.error, signed=True),
            interval,
            inside,
            (prediction.bottleneck if prediction is not None else None) or "-",
            "-" if first is None else f"{first:.0f} s",
        ]
        for model in models:
            own = _score(one, moment, model, truth)
            row.append(percent(None if own is None else own.error, signed=True))
        rows.append(row)
    limits = _limits_named(judged, moment)
    below = "\\* held out. The columns behind are each model's signed error."
    return f"{table(head, rows)}\n\n{below}\n{limits}"


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


def _stalls(judged: Sequence[Judged]) -> str:
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


def _truth(one: Judged, truths: dict[str, list[float]]) -> float:
    """The median over a scenario's runs, so that one run's scatter is not the models' error.

    Only where the runs measured the same thing; a scenario has one truth by construction.
    """
    return statistics.median(truths[one.run.scenario])


def _truth_table(judged: Sequence[Judged], truths: dict[str, list[float]]) -> str:
    del truths
    head = ["scenario", "truth", "closed loop", "held at", "p99 there", "L0 files", "drift"]
    head += ["device", "CPU", "compaction slots", "flush slots", "stalled", "bytes/put"]
    head += ["at the load", "seconds"]
    rows = []
    for one in judged:
        truth, seen = one.run.truth, one.run.truth.saturation
        holding = truth.tried[-1]
        rows.append(
            [
                one.run.scenario,
                rate(truth.puts_per_second),
                rate(truth.closed_loop_puts_per_second),
                percent(holding.ratio) if truth.held else "none",
                "-" if holding.p99_seconds is None else f"{holding.p99_seconds * 1e3:.0f} ms",
                f"{seen.level0_files:.1f}",
                f"{seen.level0_drift_files:+.1f}{'' if seen.steady else ' !'}",
                percent(seen.device_ratio),
                percent(seen.cpu_ratio),
                percent(seen.compaction_slots_ratio),
                percent(seen.flush_slots_ratio),
                percent(seen.stalled_ratio),
                rate(seen.bytes_per_put),
                rate(one.run.load.bytes_per_put),
                f"{seen.seconds:.0f}",
            ]
        )
    return table(head, rows)


def _repeats(truths: dict[str, list[float]]) -> str:
    rows = [
        [name, *(" ".join(rate(value) for value in values),), f"{spread(values) * 100:.1f} %"]
        for name, values in truths.items()
        if len(values) > 1
    ]
    if not rows:
        return ""
    return "## How well the truth repeats\n\n" + table(
        ["scenario", "truths", "standard deviation"], rows
    )


def _notes(judged: Sequence[Judged]) -> str:
    lines = [
        f"- {one.run.scenario}: {note}"
        for one in judged
        for note in (*one.run.notes, *_remarks(one.run))
    ]
    return "## Remarks\n\n" + "\n".join(lines) if lines else ""


def _remarks(run: RunRecord) -> Iterable[str]:
    accepted = run.load.accepted_puts_per_second / run.load.offered_puts_per_second
    if accepted < 0.995:
        yield f"of the load before the answer only {percent(accepted)} was accepted"
    if not run.truth.held:
        yield "no share of the closed-loop rate held: the truth is what the last try accepted"
