"""What compaction owes beyond a steady state, and how long it takes to clear."""

import math

import pytest

from agent.demands.compaction_debt import DebtTrend, owed_bytes
from agent.models.lsm import TreeOptions
from agent.readings import Known, Missing
from probes.rocksdb.samples import LevelShape

MIB = 1048576
TREE = TreeOptions()  # level 1: 256 MiB, level 2: 2.5 GiB, trigger 4 files


def levels(*sizes: tuple[int, int]) -> tuple[LevelShape, ...]:
    return tuple(LevelShape(files, mib * MIB) for files, mib in sizes)


def test_a_tree_within_its_targets_owes_nothing() -> None:
    """Also with level 0 just at its trigger: that merge is part of the steady state."""
    assert owed_bytes(levels((3, 180), (4, 256), (20, 2000)), TREE) == 0.0
    assert owed_bytes(levels((4, 240), (4, 256), (20, 2000)), TREE) == 0.0


def test_files_beyond_one_merge_are_owed() -> None:
    """Twenty files in level 0: sixteen more than the steady merge, and what they push down."""
    steady = owed_bytes(levels((4, 240), (4, 256), (0, 0)), TREE)
    full = owed_bytes(levels((20, 1200), (4, 256), (0, 0)), TREE)
    assert steady == 0.0
    assert full == pytest.approx(960 * MIB)


def test_a_level_above_its_target_is_owed_with_what_it_meets() -> None:
    """256 MiB too many in level 1, of which every byte meets 2000/512 in level 2."""
    owed = owed_bytes(levels((1, 60), (8, 512), (20, 2000)), TREE)
    assert owed == pytest.approx(256 * MIB * (2000 / 512 + 1))


def test_universal_compaction_owes_the_runs_beyond_its_trigger() -> None:
    """RocksDB has no estimate of its own there."""
    tree = TreeOptions(style="universal")
    assert owed_bytes(levels((10, 600), (1, 4000)), tree) == pytest.approx(360 * MIB)


def test_an_empty_tree_owes_nothing() -> None:
    """No level at all is a database just created."""
    assert owed_bytes((), TREE) == 0.0


def test_a_shrinking_debt_clears_at_its_present_pace() -> None:
    """100 bytes less every second: 600 bytes need six more."""
    trend = DebtTrend()
    answers = [trend.clear_seconds(float(at), 1000.0 - 100.0 * at) for at in range(5)]
    assert isinstance(answers[-1], Known)
    assert answers[-1].value == pytest.approx(6.0)


def test_a_growing_debt_never_clears() -> None:
    """Nor does one that stands still."""
    for growth in (0.0, 10.0):
        trend = DebtTrend()
        answers = [trend.clear_seconds(float(at), 1000.0 + growth * at) for at in range(5)]
        assert isinstance(answers[-1], Known)
        assert answers[-1].value == math.inf


def test_no_debt_is_clear_at_once_and_two_readings_are_no_trend() -> None:
    """A first reading cannot tell where the debt goes."""
    trend = DebtTrend()
    none = trend.clear_seconds(0.0, 0.0)
    assert isinstance(none, Known)
    assert none.value == 0.0
    assert isinstance(trend.clear_seconds(1.0, 50.0), Missing)
