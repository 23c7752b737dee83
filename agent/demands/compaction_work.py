"""Flushes and compactions of the LOG, added up so that ratios and their errors can be told. Pure.

The window is made of compaction cycles, not of seconds: cycle k is what was flushed between the
starts of two neighbouring merges of level 0, and the compactions that belong to it. So no part of a
merge is cut off at the window's ends, which at one compaction a minute would be most of the error.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeVar

from agent.demands.ratio_estimate import Ratio, ratio_of_sums
from probes.rocksdb.samples import CompactionEvent, FlushEvent, LogSample

TARGET_SPREAD_RATIO: Final = 0.1
"""The window grows backwards until the bytes per put are known this well (one standard error). A
closer target would reach further back, where the load was another, for the worse."""

MIN_CYCLES: Final = 6
"""Fewer cycles make a jackknife that says little about itself."""

MAX_EVENTS: Final = 512
"""Newest compactions and flushes that are looked at: bounds the work of a tick."""

OTHER_RECORDS_RATIO: Final = 1.25
"""Records of one load, averaged over a memtable, differ by less than this factor."""

FULL_BUFFER: Final = "Write Buffer Full"
"""FlushReason of a flush that took whole memtables (rocksdb/listener.h, kWriteBufferFull)."""


@dataclass(frozen=True, slots=True)
class FlushWork:
    """What the recent flushes tell; ``column_family`` is the one that they write most to."""

    column_family: str | None
    column_family_share: float
    user_bytes_per_entry: Ratio | None  # memtable bytes: 11 or so more than key and value
    memory_per_entry: Ratio | None
    written_per_entry: Ratio | None
    entries_per_flush: Ratio | None
    output_per_user_byte: Ratio | None
    cpu_per_user_byte: Ratio | None
    key_bytes: Ratio | None  # per entry of the tables written
    key_and_value_bytes: Ratio | None


@dataclass(frozen=True, slots=True)
class CompactionWork:
    """What the compaction cycles of the window tell; ``per_put`` ratios are of all families."""

    cycles: int
    window_seconds: float
    puts: float
    written_per_put: Ratio | None
    read_per_put: Ratio | None
    level0_files_per_merge: Ratio | None
    output_ratio: Ratio | None
    last_output_ratio: Ratio | None
    overlap_ratio: Ratio | None
    cpu_per_byte: Ratio | None
    level0_output_share: float | None
    level_files_at_start: tuple[int, ...] | None
    level_files_at_end: tuple[int, ...] | None


def flush_work(log: LogSample) -> FlushWork | None:
    """Add up the recent flushes; None without any that tell their entries."""
    flushes = [f for f in log.recent_flushes[-MAX_EVENTS:] if f.entries]
    if not flushes:
        return None
    by_family: Counter[str | None] = Counter()
    for flush in flushes:
        by_family[flush.column_family] += flush.output_bytes
    family, most = by_family.most_common(1)[0]
    total = sum(by_family.values())
    since = _like_the_newest([f for f in flushes if f.column_family == family])
    flushes = [f for f in flushes if f.wall_seconds >= since]
    own = [f for f in flushes if f.column_family == family]
    # A flush for another reason (manual, shutdown, WAL size) takes part of a memtable only. Where
    # the version tells no reason, or all flushes have another one, all of them count.
    full = [f for f in own if f.reason == FULL_BUFFER] or own
    return FlushWork(
        column_family=family,
        column_family_share=most / total if total else 1.0,
        user_bytes_per_entry=_ratio(flushes, lambda f: f.user_bytes, lambda f: f.entries),
        memory_per_entry=_ratio(full, lambda f: f.memory_usage_bytes, lambda f: f.entries),
        written_per_entry=_ratio(flushes, lambda f: f.output_bytes, lambda f: f.entries),
        entries_per_flush=_ratio(full, lambda f: f.entries, lambda _: 1),
        output_per_user_byte=_ratio(own, lambda f: f.output_bytes, lambda f: f.user_bytes),
        cpu_per_user_byte=_ratio(flushes, lambda f: f.cpu_seconds, lambda f: f.user_bytes),
        key_bytes=_ratio(flushes, lambda f: f.key_bytes, lambda f: f.table_entries),
        key_and_value_bytes=_ratio(flushes, _key_and_value, lambda f: f.table_entries),
    )


def _like_the_newest(flushes: Sequence[FlushEvent]) -> float:
    """Since when (Unix time) records have been about as large as now.

    A load that was followed by deletes says nothing about them. Two flushes in a row that differ
    end the run: a single one may have caught something else.
    """
    since, bytes_in_run, entries_in_run, unlike = flushes[-1].wall_seconds, 0.0, 0.0, 0
    for flush in reversed(flushes):
        if not flush.user_bytes or not flush.entries:
            continue
        size = flush.user_bytes / flush.entries
        usual = bytes_in_run / entries_in_run if entries_in_run else size
        if not usual / OTHER_RECORDS_RATIO <= size <= usual * OTHER_RECORDS_RATIO:
            unlike += 1
            if unlike == 2:
                return since
            continue
        unlike = 0
        since = flush.wall_seconds
        bytes_in_run += flush.user_bytes
        entries_in_run += flush.entries
    return flushes[0].wall_seconds


def _key_and_value(flush: FlushEvent) -> float | None:
    if flush.key_bytes is None or flush.value_bytes is None:
        return None
    return flush.key_bytes + flush.value_bytes


Event = TypeVar("Event", FlushEvent, CompactionEvent)


def _ratio(
    events: Sequence[Event],
    top: Callable[[Event], float | None],
    bottom: Callable[[Event], float | None],
) -> Ratio | None:
    """Ratio over the events that tell both."""
    terms = []
    for event in events:
        above, below = top(event), bottom(event)
        if above is not None and below:
            terms.append((float(above), float(below)))
    return ratio_of_sums(terms)


def compaction_work(log: LogSample, family: str | None) -> CompactionWork | None:
    """Add up the newest cycles, as many as the target error needs; None with less than one."""
    compactions = sorted(log.recent_compactions[-MAX_EVENTS:], key=lambda c: c.wall_seconds)
    merges = [c for c in compactions if c.column_family == family and _from_level0(c)]
    if len(merges) < 2:
        return None
    merges.sort(key=_started)
    flushes = sorted(log.recent_flushes[-MAX_EVENTS:], key=lambda f: f.wall_seconds)
    oldest_flush = flushes[0].wall_seconds if flushes else 0.0
    flush_times = [f.wall_seconds for f in flushes]
    end_times = [c.wall_seconds for c in compactions]
    cycles: list[tuple[float, float, float, float]] = []  # puts, written, read, span
    first = len(merges) - 1
    enough = MIN_CYCLES
    for before, merge in reversed(list(pairwise(merges))):
        if _started(before) < oldest_flush:
            break  # flushes of this cycle are no longer, or not yet, in what the LOG told
        taken = flushes[
            bisect_right(flush_times, _started(before)) : bisect_right(flush_times, _started(merge))
        ]
        done = [
            c
            for c in compactions[
                bisect_right(end_times, before.wall_seconds) : bisect_left(
                    end_times, merge.wall_seconds
                )
            ]
            if not (c.column_family == family and _from_level0(c))
        ]
        done.append(merge)
        first -= 1
        cycles.append(
            (
                float(sum(f.entries or 0 for f in taken)),
                float(sum(c.output_bytes for c in done)),
                float(sum(c.input_bytes or 0 for c in done)),
                merge.wall_seconds - before.wall_seconds,
            )
        )
        if len(cycles) == enough:
            enough += 1 + enough // 4  # in steps: the jackknife itself takes time
            written = ratio_of_sums([(cycle[1], cycle[0]) for cycle in cycles])
            spread = written.spread_ratio if written else None
            if spread is not None and spread <= TARGET_SPREAD_RATIO:
                break
    if not cycles:
        return None
    start = merges[first].wall_seconds
    inside = [c for c in compactions if c.wall_seconds > start and c.column_family == family]
    last = [c for c in inside if _into_last(c)]
    other = [c for c in inside if not _into_last(c)]
    return CompactionWork(
        cycles=len(cycles),
        window_seconds=sum(cycle[3] for cycle in cycles),
        puts=sum(cycle[0] for cycle in cycles),
        written_per_put=ratio_of_sums([(cycle[1], cycle[0]) for cycle in cycles]),
        read_per_put=ratio_of_sums([(cycle[2], cycle[0]) for cycle in cycles]),
        level0_files_per_merge=_ratio(
            [c for c in inside if _from_level0(c)],
            lambda c: sum(i.files for i in c.inputs if i.level == 0) or None,
            lambda _: 1,
        ),
        output_ratio=_ratio(other, lambda c: c.output_bytes, lambda c: c.input_bytes),
        last_output_ratio=_ratio(last, lambda c: c.output_bytes, lambda c: c.input_bytes),
        overlap_ratio=_overlap(log, inside, start, family),
        cpu_per_byte=_ratio(compactions, lambda c: c.cpu_seconds, lambda c: c.input_bytes),
        level0_output_share=_level0_share(inside),
        level_files_at_start=merges[first].level_files,
        level_files_at_end=merges[-1].level_files,
    )


def _started(compaction: CompactionEvent) -> float:
    return compaction.wall_seconds - compaction.duration_seconds


def _from_level0(compaction: CompactionEvent) -> bool:
    """A merge of level 0 into a deeper level, or between universal compaction's sorted runs."""
    return compaction.input_level == 0 and compaction.output_level > 0


def _into_last(compaction: CompactionEvent) -> bool:
    """Whether nothing lies below the output, so that overwritten and deleted keys vanish there."""
    files = compaction.level_files
    return files is not None and not any(files[compaction.output_level + 1 :])


def _overlap(
    log: LogSample, inside: Sequence[CompactionEvent], start: float, family: str | None
) -> Ratio | None:
    """Tables of the base level that merges of level 0 took in over those that were there.

    Weighted by the bytes from level 0. Tables moved into a level that held some met nothing.
    """
    terms = []
    bases = [c.output_level for c in inside if _from_level0(c)]
    for merge in inside:
        before = merge.output_level_files_before
        upper = sum(i.bytes or 0.0 for i in merge.inputs if i.level == 0)
        if not _from_level0(merge) or not before or not upper:
            continue
        met = sum(i.files for i in merge.inputs if i.level == merge.output_level)
        terms.append((min(1.0, met / before) * upper, upper))
    base = max(bases, default=1)
    terms.extend(
        (0.0, float(move.bytes))
        for move in log.recent_moves
        if move.wall_seconds > start
        and move.column_family == family
        and move.destination_files_before
        and move.destination_level <= base
    )
    return ratio_of_sums(terms)


def _level0_share(inside: Sequence[CompactionEvent]) -> float | None:
    """Part of the output that compactions of level 0 wrote."""
    told = [c for c in inside if c.input_level is not None and c.inputs]
    total = sum(c.output_bytes for c in told)
    return sum(c.output_bytes for c in told if c.input_level == 0) / total if total else None
