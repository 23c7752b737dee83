"""Pending compaction bytes from MANIFEST and OPTIONS, against what RocksDB itself said."""

import math
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.forecast.pending import (
    LevelOptions,
    estimated_pending_compaction_bytes,
    level_limits,
    stall_file_count,
)
from agent.forecast.series import family_level_options
from probes.clock import SystemClock
from probes.rocksdb.options import OptionsProbe
from probes.rocksdb.records import read_records
from probes.rocksdb.samples import ColumnFamilyShape, LevelShape
from probes.rocksdb.version_edit import decode_version_edit

ROCKSDB = Path(__file__).parents[1] / "data" / "rocksdb"
WARNED = re.compile(
    r"\[(\w+)\] (?:Stalling|Stopping) writes because of estimated pending compaction bytes (\d+)"
)
STALLED_BY_DEBT = (
    "v5.3.0",
    "v6.17.3",
    "v6.29.5",
    "v7.4.4",
    "v7.8.3",
    "v8.8.1",
    "v9.0.0",
    "v9.8.4",
    "v10.7.5",
    "v11.8.1",
)
MIB = 1048576
STATIC = LevelOptions(level_compaction_dynamic_level_bytes=False)


def said_by_rocksdb(case: str) -> list[tuple[str, int]]:
    content = (ROCKSDB / case / "LOG").read_text(errors="replace")
    return [(family, int(value)) for family, value in WARNED.findall(content)]


def every_estimate(case: str) -> dict[str, set[int]]:
    """Return our estimate after each edit of the MANIFEST, by column family."""
    directory = ROCKSDB / case
    limits = {
        family.name: family_level_options(family)
        for family in OptionsProbe(str(directory), SystemClock()).read().column_families
    }
    names = {0: "default"}
    files: dict[int, dict[int, dict[int, int]]] = {0: {}}
    found: dict[str, set[int]] = {}
    (manifest,) = directory.glob("MANIFEST-*")
    fd = os.open(manifest, os.O_RDONLY)
    try:
        for record, _ in read_records(fd, 0, max_bytes=1 << 24, max_record_bytes=1 << 24):
            edit = decode_version_edit(record)
            if edit.column_family_added is not None:
                names[edit.column_family] = edit.column_family_added
                files[edit.column_family] = {}
            tree = files[edit.column_family]
            for level, number in edit.deleted_files:
                del tree[level][number]
            for level, number, size in edit.new_files:
                tree.setdefault(level, {})[number] = size
            shape = [
                LevelShape(len(tree.get(level, {})), sum(tree.get(level, {}).values()))
                for level in range(max(tree, default=0) + 1)
            ]
            name = names[edit.column_family]
            estimate = estimated_pending_compaction_bytes(shape, limits[name])
            found.setdefault(name, set()).add(int(estimate))
    finally:
        os.close(fd)
    return found


@pytest.mark.parametrize("case", STALLED_BY_DEBT)
def test_every_value_that_rocksdb_stalled_for_is_an_estimate_of_ours(case: str) -> None:
    """Every version from 5 to 11 warned of exactly the bytes that MANIFEST and OPTIONS give."""
    ours = every_estimate(case)
    said = said_by_rocksdb(case)
    assert said
    missed = [
        (family, value)
        for family, value in said
        if not any(abs(value - estimate) <= 1 for estimate in ours[family])
    ]
    assert missed == []


def test_a_tree_under_all_its_targets_owes_nothing() -> None:
    """Three L0 files and levels below their targets wait for nothing."""
    levels = [LevelShape(3, 30 * MIB), LevelShape(4, 256 * MIB), LevelShape(9, 2560 * MIB)]
    assert estimated_pending_compaction_bytes(levels, STATIC) == 0.0


def test_level_0_at_its_trigger_owes_itself_and_the_level_below() -> None:
    """Four files of 10 MiB are merged with the 100 MiB of L1."""
    levels = [LevelShape(4, 40 * MIB), LevelShape(2, 100 * MIB)]
    assert estimated_pending_compaction_bytes(levels, STATIC) == 140.0 * MIB


def test_what_is_too_much_for_a_level_is_carried_with_its_share_of_the_next() -> None:
    """L1 is 44 MiB over its target, and each of its bytes meets 1000 / 300 bytes of L2."""
    levels = [LevelShape(0, 0), LevelShape(5, 300 * MIB), LevelShape(9, 1000 * MIB)]
    expected = math.floor(44 * MIB * (1000 / 300 + 1))
    assert estimated_pending_compaction_bytes(levels, STATIC) == expected


@pytest.mark.parametrize("style", ["universal", "fifo"])
def test_other_styles_owe_nothing(style: str) -> None:
    """RocksDB has the estimate for leveled compaction only."""
    options = LevelOptions(level_compaction_dynamic_level_bytes=False, style=style)
    assert estimated_pending_compaction_bytes([LevelShape(50, 50 * MIB)], options) == 0.0


def test_static_levels_grow_by_the_multiplier() -> None:
    """Level 1 is max_bytes_for_level_base, each next one ten times that."""
    limits = level_limits([], STATIC)
    assert limits.base_level == 1
    assert limits.target_bytes[1:4] == (256 * MIB, 2560 * MIB, 25600 * MIB)


def test_dynamic_levels_put_an_empty_tree_on_the_last_level() -> None:
    """Without data below it, L0 is merged straight into the last level."""
    options = LevelOptions(level_compaction_dynamic_level_bytes=True)
    limits = level_limits([LevelShape(9, 900 * MIB)], options)
    assert (6, (math.inf,) * 7) == (limits.base_level, limits.target_bytes)


def test_dynamic_targets_descend_from_the_largest_level() -> None:
    """20,000 MiB in L6 make L5's target a tenth, and L4, with a hundredth, the base level."""
    options = LevelOptions(level_compaction_dynamic_level_bytes=True)
    levels = [*[LevelShape(0, 0)] * 6, LevelShape(99, 20_000 * MIB)]
    limits = level_limits(levels, options)
    assert limits.base_level == 4
    assert [limits.target_bytes[4], limits.target_bytes[5]] == [256.0 * MIB, 2000.0 * MIB]


def test_universal_compaction_counts_every_sorted_run_against_the_triggers() -> None:
    """Two files of L0 and one deeper level with many files are three runs."""
    family = ColumnFamilyShape("x", (LevelShape(2, 2), LevelShape(0, 0), LevelShape(30, 30)))
    assert (stall_file_count(family, "universal"), stall_file_count(family, "level")) == (3, 2)


@given(
    sizes=st.lists(st.integers(0, 1 << 40), max_size=9),
    files=st.integers(0, 60),
    dynamic=st.booleans(),
)
def test_no_shape_owes_less_than_nothing(sizes: list[int], files: int, *, dynamic: bool) -> None:
    """Any sizes, and more levels than the options know, give a finite number."""
    options = LevelOptions(level_compaction_dynamic_level_bytes=dynamic)
    levels = [LevelShape(files, size) for size in sizes]
    owed = estimated_pending_compaction_bytes(levels, options)
    assert 0.0 <= owed < math.inf
