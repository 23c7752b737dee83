"""``smaxd whatif`` held against the grid: base changed on paper, beside the scenario that is so."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.explain.explain import explain
from agent.explain.explanation import Explanation
from agent.main import host_state_for
from agent.recording.recording import open_recording
from agent.recording.replay import replay
from agent.simulator import InlineSimulator
from agent.whatif.change import Change
from agent.whatif.models import rate_models
from agent.whatif.whatif import NoAnswer, what_if
from tests.bench.truth.judged import Judged, Truths
from tests.bench.truth.markdown import percent, rate, table
from tests.bench.truth.results import read_runs
from tests.bench.truth.scenarios import SCENARIOS, Scenario

MIB = 1048576.0
MB = 1e6
BASE = "base"


@dataclass(frozen=True, slots=True)
class Checked:
    """One change: S_max after it as predicted from base, with the interval, and as it is."""

    scenario: str
    predicted: float
    lower: float
    upper: float
    predicted_ratio: float
    truth: float
    true_ratio: float


def change_to(scenario: Scenario) -> Change | None:
    """The change that makes base this scenario; None where whatif has no option for it."""
    base = next(one for one in SCENARIOS if one.name == BASE)
    expressible = {
        "memtable_mib": Change(write_buffer_bytes=scenario.memtable_mib * MIB),
        "device_mb_per_second": Change(device_bytes_per_second=scenario.device_mb_per_second * MB),
        "value_bytes": Change(value_bytes=float(scenario.value_bytes)),
        "compression": Change(compression=scenario.compression),
        "style": Change(style=scenario.style),
        "jobs": Change(max_background_jobs=scenario.jobs),
        "wal": Change(wal=scenario.wal == "on") if scenario.wal != "sync" else None,
        "foreign_mb_per_second": Change(
            foreign_bytes_per_second=scenario.foreign_mb_per_second * MB
        ),
        "rate_limiter_mb_per_second": Change(
            rate_limit_bytes_per_second=scenario.rate_limiter_mb_per_second * MB
        ),
    }
    differing = scenario.differences(base).split(", ")
    names = [words.split(" ")[0] for words in differing if words]
    return expressible.get(names[0]) if len(names) == 1 else None


def whatif_checked(directory: Path, judged: Sequence[Judged], truths: Truths) -> str:
    """The section; empty without base or without a scenario that is one change away from it."""
    origin = next(
        (
            (path, run)
            for path, run in reversed(list(read_runs(directory)))
            if run.scenario == BASE and run.recording is not None
        ),
        None,
    )
    if origin is None or not judged:
        return ""
    path, run = origin
    moment = next(one.wall_seconds for one in run.answers if one.moment == "before")
    explanation = _explanation_at(path / str(run.recording), moment)
    if explanation is None:
        return ""
    base_truth = statistics.median(truths[BASE])
    rows = []
    for scenario in SCENARIOS:
        change = change_to(scenario)
        if change is None or scenario.name not in truths:
            continue
        checked = _checked(explanation, scenario, change, truths, base_truth)
        if checked is not None:
            rows.append(_row(checked))
    if not rows:
        return ""
    head = ("changed to", "S_max after", "interval", "truth", "error", "inside", "ratio", "true")
    return (
        "## What if\n\n"
        "`smaxd whatif` on what the agent knew of base at the load before the answer, beside the "
        "scenario that differs from base in just that. *Ratio* is S_max after over before.\n\n"
        + table(head, rows)
    )


def _explanation_at(recording: Path, wall_seconds: float) -> Explanation | None:
    opened = open_recording(str(recording))
    found = None
    for snapshot in replay(opened, host_state_for(opened.header.config), InlineSimulator()):
        if snapshot.wall_seconds > wall_seconds:
            break
        for database in snapshot.databases:
            device = snapshot.devices[0] if snapshot.devices else None
            found = explain(database, device, snapshot.at)
    return found


def _checked(
    explanation: Explanation,
    scenario: Scenario,
    change: Change,
    truths: Truths,
    base_truth: float,
) -> Checked | None:
    try:
        answer = what_if(explanation, change, None, rate_models())
    except NoAnswer:
        return None
    first = answer.models[0]
    truth = statistics.median(truths[scenario.name])
    return Checked(
        scenario.name,
        first.after,
        first.lower,
        first.upper,
        first.ratio,
        truth,
        truth / base_truth,
    )


def _row(checked: Checked) -> list[str]:
    inside = "yes" if checked.lower <= checked.truth <= checked.upper else "no"
    return [
        checked.scenario,
        rate(checked.predicted),
        f"{rate(checked.lower)}..{rate(checked.upper)}",
        rate(checked.truth),
        percent(checked.predicted / checked.truth - 1.0, signed=True),
        inside,
        f"{checked.predicted_ratio:.2f}",
        f"{checked.true_ratio:.2f}",
    ]
