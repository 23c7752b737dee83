"""Which compaction starts next, against RocksDB's pickers."""

from collections.abc import Mapping

import pytest

from agent.models.lsm import TreeShape
from agent.models.lsm_jobs import Job, JobPicker
from agent.models.lsm_tree import Run, Tree
from tests.unit.model_inputs_samples import MIB, model_inputs

GIB = 1024 * MIB


def picker(
    shape: TreeShape,
    *,
    options: Mapping[str, object] | None = None,
    costs: Mapping[str, object] | None = None,
) -> tuple[Tree, JobPicker]:
    inputs = model_inputs(shape=shape, options=options, costs=costs)
    tree = Tree(inputs)
    return tree, JobPicker(inputs, tree)


def picked(picker: JobPicker) -> Job:
    job = picker.compaction()
    assert job is not None
    return job


NEW_KEYS: dict[str, object] = {"merge_into_last_output_ratio": 1.0}


def test_all_of_level_0_is_merged_with_all_of_level_1() -> None:
    """Random keys: every table overlaps every other."""
    tree, jobs = picker(TreeShape((4 * 64 * MIB, 200 * MIB, 2 * GIB), (4, 4, 32)), costs=NEW_KEYS)
    job = picked(jobs)
    assert (job.source_level, job.output_level, len(job.runs)) == (0, 1, 4)
    assert job.read_bytes == pytest.approx(456 * MIB)
    assert job.write_bytes == pytest.approx(456 * MIB)
    jobs.finish(job)
    assert tree.level0 == []
    assert tree.level_bytes[1] == pytest.approx(456 * MIB)
    assert not any(tree.locked[1])


def test_while_level_0_is_merged_its_new_files_are_merged_among_themselves() -> None:
    """Intra-L0, from trigger + 2 files on and at least 4 new ones; not twice at a time."""
    tree, jobs = picker(TreeShape((6 * 64 * MIB, 200 * MIB, 2 * GIB), (6, 4, 32)))
    picked(jobs)
    tree.level0[:0] = [Run(64 * MIB) for _ in range(3)]
    assert jobs.compaction() is None
    tree.level0.insert(0, Run(64 * MIB))
    job = picked(jobs)
    assert (job.output_level, len(job.runs)) == (0, 4)
    jobs.finish(job)
    assert len(tree.level0) == 7
    assert tree.level0[0].size > 200 * MIB


def test_the_overfull_level_passes_on_one_file_where_least_lies_below() -> None:
    """kMinOverlappingRatio: the densest part of level 1 meets the least of level 2 per byte."""
    tree, jobs = picker(TreeShape((0.0, 512 * MIB, 2 * GIB), (0, 8, 32)), costs=NEW_KEYS)
    tree.density[1][20:] = [4 * size for size in tree.density[1][20:]]
    tree.refresh()
    job = picked(jobs)
    assert (job.source_level, job.output_level) == (1, 2)
    assert job.first_bin >= 20
    moved = sum(tree.density[1][job.first_bin : job.last_bin])
    assert moved == pytest.approx(64 * MIB, rel=0.5)
    share = (job.last_bin - job.first_bin) / tree.bins
    assert job.read_bytes == pytest.approx(moved + share * 2 * GIB)


def test_the_last_level_keeps_its_size() -> None:
    """S_max is for the present size of the database."""
    tree, jobs = picker(TreeShape((0.0, 512 * MIB, 2 * GIB), (0, 8, 32)), costs=NEW_KEYS)
    jobs.finish(picked(jobs))
    assert tree.level_bytes[2] == pytest.approx(2 * GIB)
    assert tree.level_bytes[1] < 512 * MIB


def test_jobs_side_by_side_take_different_parts_of_the_keys() -> None:
    """A locked part is not taken again."""
    _, jobs = picker(TreeShape((0.0, 2 * GIB, 2 * GIB), (0, 32, 32)))
    first, second = picked(jobs), picked(jobs)
    assert first.last_bin <= second.first_bin or second.last_bin <= first.first_bin


def test_nothing_leaves_the_base_level_while_level_0_waits_for_it() -> None:
    """Or level 0 would starve (skipped_l0_to_base)."""
    tree, jobs = picker(TreeShape((3 * 64 * MIB, 512 * MIB, 4 * GIB), (3, 8, 64)))
    assert picked(jobs).source_level == 1
    tree.level0[:0] = [Run(64 * MIB) for _ in range(40)]
    tree.refresh()
    job = jobs.compaction()
    assert job is not None
    assert job.output_level == 0
    assert jobs.compaction() is None


def test_subcompactions_split_no_finer_than_a_table() -> None:
    """8 allowed, 456 MiB in tables of 64: 7."""
    _, jobs = picker(
        TreeShape((4 * 64 * MIB, 200 * MIB, 2 * GIB), (4, 4, 32)),
        options={"max_subcompactions": 8},
    )
    assert picked(jobs).threads == 7


def test_universal_merges_everything_when_space_amplification_is_reached() -> None:
    """200 %: what lies above the last run is twice as large."""
    _, jobs = picker(
        TreeShape((4 * 64 * MIB, 0.0, 0.0, 0.0, 0.0, 200 * MIB, 200 * MIB), (4, 0, 0, 0, 0, 4, 4)),
        options={"style": "universal"},
    )
    job = picked(jobs)
    assert len(job.runs) == 6
    assert job.output_level == 6


def test_universal_merges_neighbours_of_like_size() -> None:
    """A run joins while the sum so far, and 1 %, is not smaller than it."""
    _, jobs = picker(
        TreeShape((4 * 64 * MIB, 0.0, 0.0, 0.0, 0.0, 1 * GIB, 9 * GIB), (4, 0, 0, 0, 0, 16, 160)),
        options={"style": "universal"},
    )
    job = picked(jobs)
    assert len(job.runs) == 4
    assert job.output_level == 4


def test_universal_merges_by_number_when_no_sizes_match() -> None:
    """More runs than the trigger: the newest ones, whatever their size."""
    tree, jobs = picker(
        TreeShape((0.0,) * 6 + (9 * GIB,), (0,) * 6 + (160,)),
        options={"style": "universal"},
    )
    tree.level0[:0] = [Run(size * MIB) for size in (1, 4, 16, 64, 256)]
    job = picked(jobs)
    assert [run.size for run in job.runs] == [1 * MIB, 4 * MIB, 16 * MIB]
    assert job.output_level == 0


def test_a_flush_takes_all_memtables_that_wait() -> None:
    """Two memtables, one file in level 0."""
    tree, jobs = picker(TreeShape((), ()))
    job = jobs.flush(2, 128 * MIB)
    jobs.finish(job)
    assert [run.size for run in tree.level0] == [128 * MIB]
