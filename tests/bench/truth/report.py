"""``docs/accuracy.md`` out of the results: every scenario, then the scores, then what was run."""

from collections.abc import Sequence
from pathlib import Path

from tests.bench.truth.judged import MOMENTS, Judged, Truths, judge, truths_of
from tests.bench.truth.results import read_runs
from tests.bench.truth.scenarios import SCENARIOS
from tests.bench.truth.score_sections import every_scenario, scores_by_model, stalls_announced
from tests.bench.truth.scores import pooled_spread
from tests.bench.truth.truth_sections import grid, remarks, repeatability, truth_table
from tests.bench.truth.whatif_section import whatif_checked

TITLES = {
    "before": "From the load before the answer, no saturation seen",
    "after": "After one saturation episode",
}
MISSES = Path(__file__).with_name("misses.md")
METHOD = Path(__file__).with_name("method.md")
COMMAND = "sudo tests/bench/accuracy run --out DIR && tests/bench/accuracy report DIR"


def document(directory: Path) -> str:
    """The whole page; RuntimeError when there is nothing to report."""
    held_out = frozenset(scenario.name for scenario in SCENARIOS if scenario.held_out)
    judged = [judge(path, run, held_out) for path, run in read_runs(directory)]
    if not judged:
        raise RuntimeError(f"no results below {directory}")
    whatif = whatif_checked(directory, judged, truths_of(judged))
    return page(judged, whatif)


def page(judged: Sequence[Judged], whatif: str = "") -> str:
    """The page for these runs; ``whatif`` is the section about changes."""
    truths = truths_of(judged)
    sections = [_head(judged, truths)]
    for moment in MOMENTS:
        sections.append(f"## {TITLES[moment]}")
        sections.append(scores_by_model(judged, truths, moment))
        sections.append(every_scenario(judged, truths, moment))
    sections += [MISSES.read_text().rstrip(), stalls_announced(judged), whatif]
    sections.append(METHOD.read_text().rstrip())
    sections += ["## The truth", truth_table(judged), repeatability(truths)]
    sections += [grid(judged), remarks(judged)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(judged: Sequence[Judged], truths: Truths) -> str:
    machine = judged[-1].run.machine
    scatter = pooled_spread(list(truths.values()))
    repeated = sum(len(values) > 1 for values in truths.values())
    said = (
        "No scenario was run twice: how well the truth repeats is unknown."
        if scatter is None
        else f"The truth itself repeats with a relative standard deviation of "
        f"{scatter * 100:.1f} % (scenarios run more than once: {repeated}): "
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
