"""Level targets, scores and pending bytes as RocksDB's sources compute them."""

import math

import pytest

from agent.models.lsm import TreeShape
from agent.models.lsm_tree import (
    Run,
    Tree,
    key_space_bytes,
)
from tests.unit.model_inputs_samples import MIB, model_inputs

GIB = 1024 * MIB


def test_dynamic_levels_are_counted_up_from_the_largest() -> None:
    """100 GiB in level 6: 10 in level 5, 1 in level 4, then a base level of 102 MiB.

    No level is held below max_bytes_for_level_base.
    """
    tree = Tree(
        model_inputs(
            options={"level_compaction_dynamic_level_bytes": True},
            shape=TreeShape((*[0.0] * 6, 100 * GIB), (*[0] * 6, 1600)),
        )
    )
    assert tree.base_level == 3
    assert tree.target_bytes[3:] == pytest.approx((256 * MIB, 1 * GIB, 10 * GIB, 100 * GIB))


def test_pending_bytes_count_level_0_its_target_and_what_follows() -> None:
    """4 files of 64 MiB merge with level 1; what is then above 256 MiB goes on at 1 + fan-out."""
    tree = Tree(model_inputs(shape=TreeShape((256 * MIB, 256 * MIB, 2560 * MIB), (4, 4, 40))))
    first = 256 + 256
    second = 256 * (2560 / 512 + 1)
    # Level 2 then holds 2816 MiB, 256 above its target, with nothing below it to merge with.
    assert tree.pending_compaction_bytes() == pytest.approx((first + second) * MIB)


def test_level_0_has_the_higher_score_by_files_or_by_bytes() -> None:
    """8 files over a trigger of 4, or bytes over max_bytes_for_level_base."""
    tree = Tree(model_inputs(shape=TreeShape((8 * 64 * MIB, 250 * MIB, 2 * GIB), (8, 4, 32))))
    assert tree.scores()[0] == (2.0, 0)
    heavy = Tree(model_inputs(shape=TreeShape((1 * GIB, 250 * MIB, 2 * GIB), (8, 4, 32))))
    assert heavy.scores()[0] == (4.0, 0)


def test_dynamic_levels_scale_scores_above_one() -> None:
    """Level 5 over its target is divided by target and what comes down, then times ten."""
    tree = Tree(
        model_inputs(
            options={"level_compaction_dynamic_level_bytes": True},
            shape=TreeShape(
                (128 * MIB, 0.0, 0.0, 0.0, 0.0, 512 * MIB, 2 * GIB), (2, 0, 0, 0, 0, 8, 32)
            ),
        )
    )
    assert tree.base_level == 5
    scores, levels = zip(*tree.scores(), strict=True)
    assert levels == (5, 0)
    assert scores == pytest.approx((10 * 512 / (256 + 128), 0.5))


def test_a_merge_keeps_keys_of_both_sides_once() -> None:
    """Two random halves of the keys have a quarter in common."""
    tree = Tree(model_inputs(costs={"merge_into_last_output_ratio": 0.5}))
    half = tree.key_space_bytes / 2.0
    assert tree.merged(half, half) == pytest.approx(1.5 * half)
    assert tree.merged_runs([Run(half), Run(half), Run(half)]) == pytest.approx(1.75 * half)


def test_new_keys_have_no_key_space() -> None:
    """A ratio of 1: nothing is dropped, so nothing is ever overwritten."""
    inputs = model_inputs(costs={"merge_into_last_output_ratio": 1.0})
    assert math.isinf(Tree(inputs).key_space_bytes)


def test_the_key_space_follows_from_what_merges_drop() -> None:
    """At a fan-out of 4, 4.5 of 5 bytes left: half the upper keys were new."""
    sizes = [0.0, 250 * MIB, 2000 * MIB]
    inputs = model_inputs(costs={"merge_into_last_output_ratio": 0.9})
    assert key_space_bytes(inputs, sizes, 2) == pytest.approx(4000 * MIB)
