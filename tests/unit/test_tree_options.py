"""Options as RocksDB resolves them."""

from dataclasses import replace

import pytest

from agent.inputs.tree_options import (
    NO_LIMIT,
    background_slots,
    bulk_compression,
    column_family_options,
    rate_limiter_rate,
    resolved_tree,
)
from tests.unit.agent_samples import captured_options

REAL = captured_options("v7.8.3")
DEFAULT = REAL.column_families[0]
MIB = 1048576


@pytest.mark.parametrize(
    ("jobs", "flushes", "compactions", "expected"),
    [
        (2, -1, -1, (1, 1)),
        (4, -1, -1, (1, 3)),
        (8, -1, -1, (2, 6)),
        (16, -1, -1, (4, 12)),
        (1, -1, -1, (1, 1)),
        (8, 3, -1, (3, 1)),
        (8, -1, 5, (1, 5)),
        (None, 2, 4, (2, 4)),  # before 5.15
        (None, None, None, (1, 1)),
        (8, None, None, (2, 6)),
    ],
)
def test_background_jobs_are_split_as_rocksdb_does(
    jobs: int | None, flushes: int | None, compactions: int | None, expected: tuple[int, int]
) -> None:
    """GetBGJobLimits: a quarter flushes, the rest compacts; the legacy options win when set."""
    options = replace(
        REAL,
        max_background_jobs=jobs,
        max_background_flushes=flushes,
        max_background_compactions=compactions,
    )
    assert expected == background_slots(options)


def test_the_options_of_a_real_database_are_taken_as_they_are() -> None:
    """Nothing of a captured OPTIONS file needs a default."""
    tree = resolved_tree(REAL, DEFAULT)
    assert (
        tree.write_buffer_bytes,
        tree.max_write_buffer_number,
        tree.level0_file_num_compaction_trigger,
        tree.level0_slowdown_writes_trigger,
        tree.level0_stop_writes_trigger,
        tree.max_bytes_for_level_base,
        tree.max_bytes_for_level_multiplier,
        tree.target_file_size_base,
        tree.max_compaction_bytes,
        tree.level_compaction_dynamic_level_bytes,
        tree.delayed_write_rate_bytes_per_second,
        tree.compression,
    ) == (131072, 6, 2, 4, 6, 524288, 4.0, 262144, 6553600, False, 2097152, "none")


def test_zeros_stand_for_what_rocksdb_takes_instead() -> None:
    """A limit of 0 is none, max_compaction_bytes 25 tables, delayed_write_rate 16 MiB/s."""
    family = replace(
        DEFAULT,
        soft_pending_compaction_bytes_limit=0,
        hard_pending_compaction_bytes_limit=0,
        max_compaction_bytes=0,
        target_file_size_base=10 * MIB,
    )
    tree = resolved_tree(replace(REAL, delayed_write_rate=0), family)
    assert (
        tree.soft_pending_compaction_bytes_limit,
        tree.hard_pending_compaction_bytes_limit,
        tree.max_compaction_bytes,
        tree.delayed_write_rate_bytes_per_second,
    ) == (NO_LIMIT, NO_LIMIT, 250 * MIB, 16 * MIB)


def test_a_soft_limit_above_the_hard_one_or_unset_is_the_hard_one() -> None:
    """SanitizeOptions of column families."""
    limits = [
        resolved_tree(
            REAL,
            replace(
                DEFAULT,
                soft_pending_compaction_bytes_limit=soft,
                hard_pending_compaction_bytes_limit=50,
            ),
        ).soft_pending_compaction_bytes_limit
        for soft in (0, 40, 60)
    ]
    assert limits == [50.0, 40.0, 50.0]


def test_the_triggers_are_put_in_order() -> None:
    """Slowdown is never below the compaction trigger, stop never below slowdown."""
    family = replace(
        DEFAULT,
        level0_file_num_compaction_trigger=8,
        level0_slowdown_writes_trigger=4,
        level0_stop_writes_trigger=6,
    )
    tree = resolved_tree(REAL, family)
    assert (
        tree.level0_file_num_compaction_trigger,
        tree.level0_slowdown_writes_trigger,
        tree.level0_stop_writes_trigger,
    ) == (8, 8, 8)


@pytest.mark.parametrize(
    ("version", "expected"), [("8.3.2", False), ("8.4.4", True), ("10.1.0", True)]
)
def test_an_unset_dynamic_level_size_is_the_versions_default(version: str, expected: bool) -> None:
    """On by default since 8.4."""
    options = replace(REAL, rocksdb_version=version)
    family = replace(DEFAULT, level_compaction_dynamic_level_bytes=None)
    assert expected == resolved_tree(options, family).level_compaction_dynamic_level_bytes


def test_universal_options_come_from_their_group() -> None:
    """compaction_options_universal of a captured OPTIONS file."""
    options = captured_options("universal")
    tree = resolved_tree(options, options.column_families[0])
    assert (
        tree.style,
        tree.universal_size_ratio_percent,
        tree.universal_min_merge_width,
        tree.universal_max_merge_width,
        tree.universal_max_size_amplification_percent,
    ) == ("universal", 1.0, 2, 4294967295, 200.0)


def test_the_limiters_rate_shows_in_an_unset_delayed_write_rate() -> None:
    """The captured database has a limiter of 2 MiB/s; the default value tells nothing."""
    default = replace(REAL, delayed_write_rate=16 * MIB)
    assert (
        rate_limiter_rate(REAL, configured=True),
        rate_limiter_rate(default, configured=True),
        rate_limiter_rate(REAL, configured=False),
    ) == (2097152.0, None, None)


def test_most_of_the_data_is_compressed_as_the_last_level() -> None:
    """bottommost_compression wins, then the last of compression_per_level, then compression."""
    levels = replace(DEFAULT, compression_per_level=("none", "lz4"))
    bottom = replace(levels, bottommost_compression="zstd")
    assert (
        bulk_compression(bottom),
        bulk_compression(levels),
        bulk_compression(DEFAULT),
    ) == ("zstd", "lz4", "none")


def test_an_unknown_family_has_the_options_of_default_only_when_there_is_one() -> None:
    """Else no options are better than another family's."""
    others = replace(
        REAL, column_families=tuple(replace(DEFAULT, name=name) for name in ("a", "b"))
    )
    assert (
        getattr(column_family_options(REAL, "second"), "name", None),
        getattr(column_family_options(REAL, "gone"), "name", None),
        column_family_options(others, "gone"),
    ) == ("second", "default", None)


@pytest.mark.parametrize(
    ("levels", "multiplier", "expected"),
    [(1, 10.0, (2, 10.0)), (-1, 0.0, (2, 1.0)), (10**9, -3.0, (100, 1.0)), (7, 1e-30, (7, 0.01))],
)
def test_a_tree_that_cannot_be_is_taken_as_rocksdb_takes_it(
    levels: int, multiplier: float, expected: tuple[int, float]
) -> None:
    """Leveled compaction needs two levels, and what is not positive is 1."""
    family = replace(DEFAULT, num_levels=levels, max_bytes_for_level_multiplier=multiplier)
    tree = resolved_tree(REAL, family)
    assert (tree.num_levels, tree.max_bytes_for_level_multiplier) == expected
