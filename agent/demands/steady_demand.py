"""Compaction's bytes per put in a steady state: the work done, corrected for debt. Pure."""

from typing import Final

from agent.demands.compaction_debt import owed_bytes
from agent.demands.compaction_work import CompactionWork, FlushWork
from agent.demands.ratio_estimate import joint_spread
from agent.demands.values import Demand, Measured
from agent.findings import DatabaseFindings
from agent.inputs.tree_options import column_family_options, resolved_tree
from agent.readings import Missing
from probes.rocksdb.samples import LevelShape

LEAST_STEADY_SHARE: Final = 0.25
"""Of the work done in the window, what is taken for steady at least when it worked off a debt."""

MIN_TOTAL_COMPACTIONS: Final = 4
"""With fewer, even the LOG's totals since its beginning say nothing about compaction."""


def steady_written_bytes(
    findings: DatabaseFindings,
    work: FlushWork | None,
    merged: CompactionWork | None,
    absence: Missing,
) -> Demand:
    """Compaction's bytes per put, corrected for the debt that the window left or worked off."""
    log = findings.log
    if isinstance(log, Missing):
        return log
    if merged is None or merged.written_per_put is None:
        sample = log.value
        if sample.compactions < MIN_TOTAL_COMPACTIONS or not sample.puts:
            return absence
        per_put = sample.compaction_output_bytes / sample.puts
        spread = sample.compactions**-0.5
        return Measured(per_put, spread, "log totals", log.at, sample.compactions)
    done = merged.written_per_put
    change = _owed_change(findings, work, merged)
    if change is None or done.value <= 0:
        return Measured(done.value, done.spread_ratio, "log compaction events", log.at, done.terms)
    # What is owed is reckoned in input, what was done in output.
    read = merged.read_per_put.value if merged.read_per_put else 0.0
    per_put = change / merged.puts * (min(1.0, done.value / read) if read > 0 else 1.0)
    value = max(LEAST_STEADY_SHARE * done.value, done.value + per_put)
    # The bytes of past moments are files times their present mean size: good to about a quarter.
    unsure = 0.25 * abs(per_put) / max(value, done.value)
    spread = joint_spread(done.spread_ratio, unsure)
    return Measured(value, spread, "log compaction events and debt", log.at, done.terms)


def _owed_change(
    findings: DatabaseFindings, work: FlushWork | None, merged: CompactionWork
) -> float | None:
    """Growth of what compactions owe from the window's beginning to its end, bytes."""
    manifest, options = findings.manifest, findings.options
    start, end = merged.level_files_at_start, merged.level_files_at_end
    if isinstance(manifest, Missing) or isinstance(options, Missing) or not start or not end:
        return None
    name = work.column_family if work else None
    family = column_family_options(options.value, name)
    shape = next((f for f in manifest.value.column_families if f.name == name), None)
    if family is None or shape is None or family.compaction_style != "level" or merged.puts <= 0:
        return None
    tree = resolved_tree(options.value, family)

    means = [
        now.bytes / now.files
        if now.files
        else tree.target_file_size_base * tree.target_file_size_multiplier ** max(0, level - 1)
        for level, now in enumerate(shape.levels)
    ]
    if work and means and work.written_per_entry and work.entries_per_flush:
        means[0] = work.written_per_entry.value * work.entries_per_flush.value

    def owed(files: tuple[int, ...]) -> float:
        levels = [
            LevelShape(count, round(count * mean))
            for count, mean in zip(files, means, strict=False)
        ]
        # With every level over its target the estimate counts the same bytes level after level;
        # more than all of them cannot be rewritten.
        return min(owed_bytes(levels, tree), float(sum(level.bytes for level in levels)))

    return owed(end) - owed(start)
