"""How many different keys the puts go to, from what merges drop. Pure.

Where keys are overwritten, a merge keeps one version of each. Of runs drawn independently from
``K`` keys, with ``n_i`` keys each, ``K * (1 - product(1 - n_i / K))`` are left. Merges of level 0
with the whole of the level below are the only ones that meet the whole key space, so their records
in and out give ``K``. It is an effective number: for skewed keys it is nearer to the hot ones,
which is what decides how much the larger merges of a saturated database drop.
"""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from probes.rocksdb.samples import CompactionEvent

MAX_MERGES: Final = 8
"""The newest merges that are averaged, as far as they agree."""

AGREEMENT_RATIO: Final = 1.2
"""Merges within this factor of the newest tell of the same writing. One merge meets some 100,000
records, so that chance is no matter; but what is written changes (a load of new keys, then
updates), and merges from before then tell of something else."""

LEAST_DROPPED_RATIO: Final = 0.002
"""Fewer records dropped than this are taken for none: tables count range tombstones and a merge may
keep versions for snapshots."""

STEPS: Final = 60
"""Halvings of the search interval in log space."""


@dataclass(frozen=True, slots=True)
class KeySpace:
    """``bytes`` is what one version of every key takes as tables; infinite when nothing is dropped.

    ``spread_ratio`` is the relative standard error, None where it cannot be told.
    """

    bytes: float
    keys: float
    merges: int
    spread_ratio: float | None


@dataclass(frozen=True, slots=True)
class _Merge:
    runs: tuple[float, ...]  # records of each sorted run that went in
    records_out: float
    bytes_per_record: float

    def left(self, keys: float) -> float:
        """Records left of the runs drawn from so many keys."""
        absent = 1.0
        for run in self.runs:
            absent *= 1.0 - min(1.0, run / keys)
        return keys * (1.0 - absent)


def key_space(compactions: Sequence[CompactionEvent], column_family: str | None) -> KeySpace | None:
    """The key space of one column family; None without a merge that tells it."""
    merges = [
        merge
        for event in compactions
        if event.column_family == column_family and (merge := _whole_merge(event)) is not None
    ][-MAX_MERGES:]
    if not merges:
        return None
    found = [_solve(merge) for merge in reversed(merges)]
    agreeing = list(itertools.takewhile(lambda keys: _agree(keys, found[0]), found))
    # The newest first, as found: older records may be of another size.
    newest = merges[-len(agreeing) :]
    bytes_per_record = statistics.fmean(merge.bytes_per_record for merge in newest)
    if math.isinf(found[0]):
        return KeySpace(math.inf, math.inf, len(agreeing), None)
    keys = statistics.geometric_mean(agreeing)
    spread = None
    if len(agreeing) > 1:
        spread = statistics.stdev(map(math.log, agreeing)) / math.sqrt(len(agreeing))
    return KeySpace(keys * bytes_per_record, keys, len(agreeing), spread)


def _agree(keys: float, newest: float) -> bool:
    if math.isinf(keys) or math.isinf(newest):
        return keys == newest
    return newest / AGREEMENT_RATIO <= keys <= newest * AGREEMENT_RATIO


def _whole_merge(event: CompactionEvent) -> _Merge | None:
    """A merge of level 0 with all of its output level, with the records of each sorted run."""
    records_in, records_out = event.input_records, event.output_records
    if event.input_level != 0 or not records_in or not records_out or not event.inputs:
        return None
    total_bytes = sum(part.bytes or 0.0 for part in event.inputs)
    if total_bytes <= 0 or any(part.bytes is None for part in event.inputs):
        return None
    met = sum(part.files for part in event.inputs if part.level == event.output_level)
    before = event.output_level_files_before
    if event.output_level > 0 and before is not None and met < before:
        return None
    runs: list[float] = []
    for part in event.inputs:
        records = records_in * (part.bytes or 0.0) / total_bytes
        runs += [records / part.files] * part.files if part.level == 0 else [records]
    if len(runs) < 2:
        return None
    return _Merge(tuple(runs), float(records_out), total_bytes / records_in)


def _solve(merge: _Merge) -> float:
    """The number of keys with which the merge leaves what it left."""
    went_in = sum(merge.runs)
    if merge.records_out >= went_in * (1.0 - LEAST_DROPPED_RATIO):
        return math.inf
    low = math.log(max(merge.runs))
    high = math.log(went_in / LEAST_DROPPED_RATIO)
    for _ in range(STEPS):
        middle = (low + high) / 2.0
        if merge.left(math.exp(middle)) < merge.records_out:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2.0)
