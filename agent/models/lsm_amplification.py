"""Bytes written per put at saturation, in closed form: what the bottleneck model needs to know.

Measured at low load, bytes per put are too many: level 0 is then merged at its compaction trigger.
At saturation it stands near its slowdown trigger, so that each merge carries several times more
files into the same base level. This is the arithmetic of that, without time: the simpler
alternative to ``lsm_simulator``.
"""

from typing import Final

from agent.models.lsm import ModelInputs
from agent.models.lsm_jobs import FEWEST_FILES_INTRA_LEVEL0
from agent.models.lsm_tree import Tree
from agent.workload import MEMTABLE_OVERHEAD_BYTES

_ROUNDS: Final = 30
"""Of the fixed point below; each one halves the change at least."""


def saturated_written_bytes_per_put(inputs: ModelInputs) -> dict[str, float]:
    """Device bytes of one put by cause ("wal", "flush", "compaction") at saturation.

    Raises ValueError without a flush size or record size, or for options that cannot be.
    """
    costs, options = inputs.costs, inputs.options
    if not (costs.record_bytes > 0.0 and costs.flush_user_bytes > 0.0):
        raise ValueError("record_bytes and flush_user_bytes must be positive")
    table_bytes = (costs.record_bytes + MEMTABLE_OVERHEAD_BYTES) * costs.flush_output_ratio
    tree = Tree(inputs)
    if table_bytes <= 0.0:  # flushes leave nothing: every put was overwritten or deleted before
        per_table_byte = 0.0
    elif options.style == "universal":
        per_table_byte = _universal_amplification(inputs, tree)
    else:
        per_table_byte = _level_amplification(inputs, tree)
    return {
        "wal": costs.wal_bytes_per_put if options.wal_enabled else 0.0,
        "flush": table_bytes,
        "compaction": table_bytes * per_table_byte,
    }


def _level_amplification(inputs: ModelInputs, tree: Tree) -> float:
    """Compaction bytes per byte of level 0.

    One turn: n files merge into the base level, which then passes on what it received. While that
    merge runs, further files arrive; with them level 0 reaches its slowdown trigger, so
    ``n = trigger / (1 + share of the turn that the merge takes)``. The base level's score and level
    0's take turns in being the higher one, so a merge begins where they are equal.

    A part of the key space is passed on when it is fullest, once every ``turns``: of
    ``peak = passed * (1 + turns) / 2`` bytes, so one turn passes on 1 / turns of the key space
    and meets that much of the next level; and no part holds more than one version of its keys.
    Deeper levels receive little at a time: half their fan-out.

    With a second slot, files that arrive during a merge are merged among themselves, four to one,
    at the price of writing them once more.
    """
    options, costs = inputs.options, inputs.costs
    if tree.overlap_ratio <= 0.0:
        return 0.0
    file_bytes = costs.flush_user_bytes * costs.flush_output_ratio
    intra_level0 = options.max_background_compactions > 1
    if intra_level0:
        file_bytes *= FEWEST_FILES_INTRA_LEVEL0
    sizes, base, last = tree.level_bytes, tree.base_level, tree.last_level
    slowdown = max(
        options.level0_slowdown_writes_trigger, options.level0_file_num_compaction_trigger
    )
    files = float(slowdown)
    total = 0.0
    for _ in range(_ROUNDS):
        received = tree.merged_alike(file_bytes, max(1, round(files)))
        loaded = files * file_bytes
        if base >= last:
            into_base = tree.merged(received, sizes[base] * tree.overlap_ratio)
            below = 0.0
        else:
            resting = _resting_base_bytes(inputs, tree, files, received)
            met = resting * tree.overlap_ratio
            into_base = tree.merged(received, met)
            peak = tree.merged(received, resting)
            passed = max(1.0, peak - resting)
            part = max(passed / (2.0 * peak - passed), passed / tree.key_space_bytes)
            below = _merged_share(tree, passed, sizes[base + 1], min(1.0, part))
            for level in range(base + 1, last):
                part = passed / (2.0 * max(sizes[level], tree.target_bytes[level]))
                below += _merged_share(tree, passed, sizes[level + 1], min(1.0, part))
        total = (into_base + below) / loaded + intra_level0
        merge_share = into_base / (into_base + below + loaded)
        files = (files + max(1.0, slowdown / (1.0 + merge_share))) / 2.0
    return total


def _resting_base_bytes(inputs: ModelInputs, tree: Tree, files: float, received: float) -> float:
    """What the base level holds when level 0's score is again the higher one."""
    options = inputs.options
    target = tree.target_bytes[tree.base_level]
    level0_score = max(
        files / max(1, options.level0_file_num_compaction_trigger),
        received / options.max_bytes_for_level_base,
    )
    if options.level_compaction_dynamic_level_bytes:
        target += received  # ComputeCompactionScore divides by the target and what comes down
    # More than one version of every key does not fit into a level.
    return min(target * max(1.0, level0_score), tree.key_space_bytes)


def _merged_share(tree: Tree, upper: float, lower_level_bytes: float, share: float) -> float:
    met = lower_level_bytes * tree.overlap_ratio * share
    return tree.merged(upper, met, share) if met > 0.0 else 0.0


def _universal_amplification(inputs: ModelInputs, tree: Tree) -> float:
    """Compaction bytes per byte flushed.

    Runs gather above the last one to max_size_amplification_percent of it, then all are merged; on
    the way there runs of like size are merged whenever the trigger's number of runs is passed, at
    saturation up to the slowdown trigger at a time, so each byte takes part in as many merges as
    the base of that number goes into the gathered bytes.
    """
    options, costs = inputs.options, inputs.costs
    run_bytes = costs.flush_user_bytes * costs.flush_output_ratio
    last = tree.largest_run_bytes
    if last <= 0.0:
        return 1.0
    # With less than one run above it, the last one is merged with every flush.
    gathered = last * options.universal_max_size_amplification_percent / 100.0
    gathered = max(run_bytes, gathered)
    width = max(2.0, float(options.level0_slowdown_writes_trigger))
    merges = 0.0
    run = run_bytes
    while run * width < gathered:
        run *= width
        merges += 1.0
    return merges + tree.merged(min(gathered, tree.key_space_bytes), last) / gathered
