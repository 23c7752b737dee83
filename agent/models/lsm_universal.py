"""Which sorted runs universal compaction merges next, as RocksDB's picker decides.

db/compaction/compaction_picker_universal.cc, without delete-triggered, periodic and incremental
compactions, and with the default stop style (kCompactionStopStyleTotalSize).
"""

import math
from collections.abc import Sequence

from agent.models.lsm import TreeOptions
from agent.models.lsm_tree import Run


def runs_to_merge(runs: Sequence[Run], options: TreeOptions) -> tuple[int, int] | None:
    """First and end (exclusive) of the runs to merge, newest first; None when nothing is to do.

    UniversalCompactionBuilder::PickCompaction; that only runs at rest count towards the trigger is
    in VersionStorageInfo::ComputeCompactionScore.
    """
    trigger = options.level0_file_num_compaction_trigger
    if len(runs) < max(1, trigger):
        return None
    idle = sum(1 for run in runs if not run.busy)
    if idle < trigger:
        return None
    chosen = _by_size_amplification(runs, options.universal_max_size_amplification_percent)
    if chosen is None:
        chosen = _by_size(runs, options.universal_size_ratio_percent, len(runs), options)
    if chosen is None and idle > trigger:
        chosen = _by_size(runs, math.inf, idle - trigger + 1, options)
    return chosen


def _by_size_amplification(runs: Sequence[Run], limit_percent: float) -> tuple[int, int] | None:
    """PickCompactionToReduceSizeAmp: all, when what is above the last run has grown too large."""
    if runs[-1].busy:
        return None
    first = next((i for i in range(len(runs) - 1) if not runs[i].busy), None)
    if first is None or any(run.busy for run in runs[first:-1]):
        return None
    above = sum(run.size for run in runs[first:-1])
    return (first, len(runs)) if above * 100.0 >= limit_percent * runs[-1].size else None


def _by_size(
    runs: Sequence[Run], ratio_percent: float, most: int, options: TreeOptions
) -> tuple[int, int] | None:
    """PickCompactionToReduceSortedRuns: neighbours of like size, from the newest on."""
    fewest = max(2, options.universal_min_merge_width)
    most = min(most, options.universal_max_merge_width)
    for start, run in enumerate(runs):
        if run.busy:
            continue
        size = run.size
        end = start + 1
        while end < len(runs) and end - start < most and not runs[end].busy:
            if size * (100.0 + ratio_percent) / 100.0 < runs[end].size:
                break
            size += runs[end].size
            end += 1
        if end - start >= fewest:
            return start, end
    return None
