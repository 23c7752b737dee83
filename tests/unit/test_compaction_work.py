"""Flushes and compactions added up in cycles."""

from dataclasses import replace

import pytest

from agent.demands.compaction_work import (
    MIN_CYCLES,
    compaction_work,
    flush_work,
)
from probes.rocksdb.samples import CompactionEvent, LevelInput, LogSample, TrivialMove
from tests.unit.agent_samples import a_compaction, a_flush, a_log, captured_log, truth


def merge(end: float, **changes: object) -> CompactionEvent:
    """4 files of 100 kB into 600 kB of level 1, 2 s long."""
    inputs = (LevelInput(0, 4, 400_000.0), LevelInput(1, 3, 600_000.0))
    compaction = a_compaction(
        end,
        duration_seconds=2.0,
        inputs=inputs,
        output_level_files_before=3,
        level_files=(0, 3, 7),
    )
    return replace(compaction, **changes)  # type: ignore[arg-type]


def turns(count: int) -> LogSample:
    """Every 40 s: four flushes, one merge of level 0 and one compaction of level 1."""
    flushes = [a_flush(10.0 * index) for index in range(1, 4 * count + 1)]
    compactions = []
    for turn in range(1, count + 1):
        compactions.append(merge(40.0 * turn + 5.0))
        compactions.append(
            a_compaction(
                40.0 * turn + 15.0,
                input_level=1,
                output_level=2,
                input_bytes=500_000,
                output_bytes=450_000,
                duration_seconds=1.0,
                inputs=(LevelInput(1, 1, 200_000.0), LevelInput(2, 2, 300_000.0)),
                level_files=(0, 2, 7),
            )
        )
    return a_log(recent_flushes=tuple(flushes), recent_compactions=tuple(compactions))


def test_bytes_per_put_are_those_of_whole_cycles() -> None:
    """Each cycle has 4000 entries and 1.35 MB, wherever the window begins or ends."""
    work = compaction_work(turns(10), "default")
    assert work is not None
    assert work.written_per_put is not None
    assert work.read_per_put is not None
    assert pytest.approx((work.written_per_put.value, work.read_per_put.value)) == (
        1_350_000 / 4000,
        1_500_000 / 4000,
    )


def test_a_steady_load_needs_no_more_than_the_fewest_cycles() -> None:
    """The window ends as soon as the error is small; older loads play no part."""
    work = compaction_work(turns(20), "default")
    assert work is not None
    assert (work.cycles, work.window_seconds) == (MIN_CYCLES, 40.0 * MIN_CYCLES)


def test_a_scattered_load_takes_all_that_the_log_tells() -> None:
    """Merges of very different sizes: the error stays, so the window grows."""
    log = turns(20)
    scattered = tuple(
        replace(c, output_bytes=c.output_bytes * (9 if int(c.wall_seconds // 40) % 5 == 0 else 1))
        for c in log.recent_compactions
    )
    work = compaction_work(replace(log, recent_compactions=scattered), "default")
    assert work is not None
    assert work.cycles == 19


def test_one_merge_is_no_cycle() -> None:
    """What led to it may lie before what was read."""
    assert compaction_work(turns(1), "default") is None


def test_a_cycle_whose_flushes_are_no_longer_told_is_left_out() -> None:
    """Compactions reach further back than flushes: those would cost no puts."""
    log = turns(12)
    recent = tuple(f for f in log.recent_flushes if f.wall_seconds > 200.0)
    work = compaction_work(replace(log, recent_flushes=recent), "default")
    assert work is not None
    assert work.written_per_put is not None
    assert pytest.approx(1_350_000 / 4000) == work.written_per_put.value


def test_what_merges_of_level_0_write_is_told_as_a_share() -> None:
    """They run one at a time. Tables that are only moved are written by nobody."""
    log = turns(7)
    move = TrivialMove(250.0, "default", 2, 1, 100_000, 4)
    work = compaction_work(replace(log, recent_moves=(move,)), "default")
    assert work is not None
    others = sum(1 for c in log.recent_compactions if c.input_level == 1 and c.wall_seconds > 45.0)
    assert work.level0_output_share == pytest.approx(
        6 * 900_000.0 / (6 * 900_000.0 + others * 450_000.0)
    )


def test_a_log_that_hides_the_inputs_tells_no_share() -> None:
    """Which of them came from level 0 cannot be said."""
    log = turns(7)
    hidden = tuple(replace(c, inputs=()) for c in log.recent_compactions)
    work = compaction_work(replace(log, recent_compactions=hidden), "default")
    assert work is not None
    assert work.level0_output_share is None


def test_merges_into_the_last_level_are_told_apart() -> None:
    """Only there do overwritten keys vanish for good."""
    work = compaction_work(turns(10), "default")
    assert work is not None
    assert work.output_ratio is not None
    assert work.last_output_ratio is not None
    assert pytest.approx((work.output_ratio.value, work.last_output_ratio.value)) == (0.9, 0.9)
    # One into the last came after the newest merge of level 0.
    assert (work.output_ratio.terms, work.last_output_ratio.terms) == (MIN_CYCLES, MIN_CYCLES + 1)


@pytest.mark.parametrize(("met", "expected"), [(3, 1.0), (1, 1 / 3), (0, 0.0)])
def test_overlap_is_the_share_of_the_base_level_that_a_merge_meets(
    met: int, expected: float
) -> None:
    """Random keys meet all of it, ascending ones none."""
    log = turns(10)
    compactions = tuple(
        replace(c, inputs=(LevelInput(0, 4, 4e5), LevelInput(1, met, 1.0)))
        if c.input_level == 0
        else c
        for c in log.recent_compactions
    )
    work = compaction_work(replace(log, recent_compactions=compactions), "default")
    assert work is not None
    assert work.overlap_ratio is not None
    assert pytest.approx(expected) == work.overlap_ratio.value


def test_tables_moved_into_a_level_that_holds_some_met_nothing() -> None:
    """Half of the bytes moved, half merged with everything: an overlap of a half."""
    log = turns(7)
    moves = tuple(
        TrivialMove(40.0 * turn + 5.0, "default", 1, 4, 400_000, 3) for turn in range(2, 8)
    )
    work = compaction_work(replace(log, recent_moves=moves), "default")
    assert work is not None
    assert work.overlap_ratio is not None
    assert pytest.approx(0.5) == work.overlap_ratio.value


def test_compactions_within_level_0_are_work_but_no_cycle() -> None:
    """Intra-L0 compactions only shorten level 0: their bytes count, the merge ends the cycle."""
    log = turns(10)
    inside = tuple(
        a_compaction(40.0 * turn + 20.0, output_level=0, output_bytes=40_000, input_bytes=40_000)
        for turn in range(1, 11)
    )
    everything = tuple(sorted(log.recent_compactions + inside, key=lambda c: c.wall_seconds))
    work = compaction_work(replace(log, recent_compactions=everything), "default")
    assert work is not None
    assert work.written_per_put is not None
    assert pytest.approx(1_390_000 / 4000) == work.written_per_put.value


def test_a_captured_flush_costs_what_its_tables_hold() -> None:
    """RocksDB's own record size and keys of 16 bytes come back from a real LOG."""
    work = flush_work(captured_log("v11.8.1"))
    assert work is not None
    assert work.key_bytes is not None
    assert work.key_and_value_bytes is not None
    assert work.user_bytes_per_entry is not None
    wrote = truth("v11.8.1")["operations"].values()
    puts, deletes = sum(w["puts"] for w in wrote), sum(w["deletes"] for w in wrote)
    assert work.key_bytes.value == 16.0
    # Values of 400 bytes; a delete has none.
    assert (
        pytest.approx(16.0 + 400.0 * puts / (puts + deletes), rel=0.01)
        == work.key_and_value_bytes.value
    )
    assert work.user_bytes_per_entry.value > work.key_and_value_bytes.value


def test_flushes_of_part_of_a_memtable_do_not_tell_its_size() -> None:
    """A manual flush or one at shutdown may hold anything."""
    flushes = (
        a_flush(1.0, reason="Write Buffer Full"),
        a_flush(2.0, reason="Manual Flush", entries=10, user_bytes=1110, output_bytes=1000),
    )
    work = flush_work(a_log(recent_flushes=flushes))
    assert work is not None
    assert work.entries_per_flush is not None
    assert work.entries_per_flush.value == 1000.0


def test_records_of_another_load_before_do_not_count() -> None:
    """A fill that was followed by small records says nothing of these."""
    fill = tuple(a_flush(float(n), entries=100) for n in range(10))
    small = tuple(a_flush(10.0 + n) for n in range(3))
    work = flush_work(a_log(recent_flushes=fill + small))
    assert work is not None
    assert work.user_bytes_per_entry is not None
    assert (work.user_bytes_per_entry.value, work.user_bytes_per_entry.terms) == (111.0, 3)


def test_one_odd_flush_is_no_other_load() -> None:
    """What came before it counts, and so does it."""
    flushes = (a_flush(1.0), a_flush(2.0, entries=100), a_flush(3.0), a_flush(4.0))
    work = flush_work(a_log(recent_flushes=flushes))
    assert work is not None
    assert work.user_bytes_per_entry is not None
    assert work.user_bytes_per_entry.terms == 4


def test_the_column_family_that_is_written_most_is_the_one_described() -> None:
    """By the bytes that its flushes write."""
    flushes = (
        a_flush(1.0, column_family="small", output_bytes=1000),
        a_flush(2.0, column_family="large", output_bytes=3000),
    )
    work = flush_work(a_log(recent_flushes=flushes))
    assert work is not None
    assert (work.column_family, work.column_family_share) == ("large", 0.75)


def test_a_log_without_flushes_has_no_work() -> None:
    """Nothing was flushed, nothing is known."""
    assert flush_work(a_log()) is None
