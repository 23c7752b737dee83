"""The report's sections on the truth itself: how it was found, how well it repeats, remarks."""

from collections.abc import Iterable, Sequence

from tests.bench.truth.judged import Judged, Truths
from tests.bench.truth.markdown import percent, rate, table
from tests.bench.truth.results import RunRecord
from tests.bench.truth.scenarios import SCENARIOS
from tests.bench.truth.scores import spread

OTHERS_CPU_RATIO = 0.25
OTHERS_DISK_MB_PER_SECOND = 200.0
"""Beyond these, other work on the host may have shaped the truth, and a remark says so."""


def truth_table(judged: Sequence[Judged]) -> str:
    """How busy everything was at saturation, and what held."""
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


def repeatability(truths: Truths) -> str:
    """The truths of scenarios that ran more than once; empty without any."""
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


def grid(judged: Sequence[Judged]) -> str:
    """What each scenario is: how it differs from the first of the grid."""
    common = SCENARIOS[0]
    run = {one.run.scenario for one in judged}
    rows = [
        [f"{scenario.name}{' *' if scenario.held_out else ''}", scenario.differences(common)]
        for scenario in SCENARIOS
        if scenario.name in run
    ]
    return "## The scenarios\n\n" + table(["scenario", "differs by"], rows)


def remarks(judged: Sequence[Judged]) -> str:
    """What would make a figure mean something else."""
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
    seen = run.truth.saturation
    others_cpu = seen.host_cpu_ratio - (seen.cpu_ratio or 0.0)
    if others_cpu > OTHERS_CPU_RATIO:
        yield f"other work used {percent(others_cpu)} of the host's CPU during the saturation"
    others_disk = (seen.other_disk_bytes_per_second or 0.0) / 1e6
    if others_disk > OTHERS_DISK_MB_PER_SECOND:
        yield f"other work wrote {others_disk:.0f} MB/s to the disk behind during the saturation"
    if not run.truth.held:
        yield "no share of the closed-loop rate held: the truth is what the last try accepted"
