"""The number of keys that puts go to, from what merges drop."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.demands.key_space import key_space
from probes.rocksdb.samples import CompactionEvent, LevelInput

TABLE_BYTES_PER_RECORD = 1056.0


def merge(runs: list[int], base: int, left: int, **changes: object) -> CompactionEvent:
    """A merge of level 0's runs with all of level 1."""
    inputs = (
        LevelInput(0, len(runs), sum(runs) * TABLE_BYTES_PER_RECORD),
        LevelInput(1, 4, base * TABLE_BYTES_PER_RECORD),
    )
    fields: dict[str, object] = {
        "wall_seconds": 0.0,
        "job": 1,
        "column_family": "default",
        "input_level": 0,
        "output_level": 1,
        "input_bytes": int((sum(runs) + base) * TABLE_BYTES_PER_RECORD),
        "output_bytes": int(left * TABLE_BYTES_PER_RECORD),
        "input_records": sum(runs) + base,
        "output_records": left,
        "duration_seconds": 1.0,
        "cpu_seconds": 0.5,
        "subcompactions": 1,
        "reason": None,
        "inputs": inputs,
        "output_level_files_before": 4,
    }
    return CompactionEvent(**(fields | changes))  # type: ignore[arg-type]


def merge_of_random_keys(keys: int, seed: int) -> CompactionEvent:
    """Four runs and a base level, each a random choice of the keys, merged one by one."""
    draw = random.Random(seed)  # noqa: S311 - a repeatable choice, nothing secret
    runs = [set(draw.sample(range(keys), keys // 20)) for _ in range(4)]
    base = set(draw.sample(range(keys), keys // 4))
    left = base.union(*runs)
    return merge([len(run) for run in runs], len(base), len(left))


def test_the_keys_are_counted_from_what_overwriting_drops() -> None:
    """Within a per cent, from three merges of a fifth of the keys each."""
    found = key_space([merge_of_random_keys(40_000, seed) for seed in range(3)], "default")

    assert found is not None
    assert found.keys == pytest.approx(40_000, rel=0.02)
    assert found.bytes == pytest.approx(40_000 * TABLE_BYTES_PER_RECORD, rel=0.02)
    assert found.spread_ratio is not None
    assert found.spread_ratio < 0.05


def test_keys_that_are_all_new_have_no_end() -> None:
    """Nothing dropped: every put brings a key of its own."""
    found = key_space([merge([1000, 1000], 5000, 7000)] * 3, "default")

    assert found is not None
    assert math.isinf(found.bytes)


def test_what_is_written_now_counts_not_the_load_before() -> None:
    """A bulk load of new keys, then updates: the first merge of updates already tells of them."""
    load = [merge([1000, 1000], 5000, 7000)] * 20
    updates = [merge_of_random_keys(40_000, seed) for seed in range(2)]

    for count in (1, 2):
        found = key_space(load + updates[:count], "default")
        assert found is not None
        assert found.keys == pytest.approx(40_000, rel=0.02)
        assert found.merges == count


@pytest.mark.parametrize(
    "changes",
    [
        {"column_family": "other"},
        {"input_level": 1},
        {"input_records": None},
        {"output_records": None},
        {"inputs": ()},
        {"inputs": (LevelInput(0, 2, None), LevelInput(1, 4, 1.0))},
        {"output_level_files_before": 5},
    ],
)
def test_merges_that_do_not_meet_the_whole_key_space_tell_nothing(
    changes: dict[str, object],
) -> None:
    """Part of a level, another family, or events of a version that leaves something out."""
    whole = merge([1000, 1000], 5000, 6500)
    part = merge([1000, 1000], 5000, 6500, **changes)

    assert key_space([whole] * 3, "default") is not None
    assert key_space([part] * 3, "default") is None


@given(
    st.lists(st.integers(1, 10**9), min_size=1, max_size=40),
    st.integers(0, 10**9),
    st.floats(0.0, 1.5),
)
def test_any_numbers_give_a_key_space_no_smaller_than_a_run(
    runs: list[int], base: int, left_share: float
) -> None:
    """Also those that cannot be, such as more left than went in."""
    left = max(1, int((sum(runs) + base) * left_share))
    found = key_space([merge(runs, base, left)] * 3, "default")

    assert found is not None
    assert found.keys >= max(base, sum(runs) / len(runs)) * (1 - 1e-9)
