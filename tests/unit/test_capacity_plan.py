"""Does a load fit: margins, the disk, and when it would stall."""

import math
from dataclasses import astuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.forecast.capacity_plan import SMaxInterval, new_key_ratio, plan, stall_room, write_fit
from agent.models.estimate import MissingInput
from agent.models.lsm import (
    ALL_KEYS_NEW_BYTES,
    HostShare,
    ModelInputs,
    TreeCosts,
    TreeOptions,
    TreeShape,
)

MIB = 1048576.0
GIB = 1024 * MIB
HOUR = 3600.0
S_MAX = SMaxInterval(20_000.0, 16_000.0, 25_000.0)
INPUTS = ModelInputs(
    database="test",
    column_family="default",
    options=TreeOptions(),
    shape=TreeShape((0.0, 256 * MIB, 2560 * MIB), (0, 4, 40)),
    costs=TreeCosts(
        record_bytes=1040.0,
        wal_bytes_per_put=1050.0,
        memtable_bytes_per_put=1100.0,
        flush_user_bytes=64 * MIB,
    ),
    host=HostShare(device_write_bytes_per_second=100e6),
    log_spread=0.1,
    missing=(),
    sources={},
    at=0.0,
)
PUTS_PER_FLUSH = 64 * MIB / 1051.0


def with_options(**changes: object) -> ModelInputs:
    return msgspec.structs.replace(
        INPUTS, options=msgspec.structs.replace(INPUTS.options, **changes)
    )


@pytest.mark.parametrize(
    ("rate", "verdict"),
    [
        (16_000.0, "fits"),
        (16_001.0, "uncertain"),
        (25_000.0, "uncertain"),
        (26_000.0, "does not fit"),
    ],
)
def test_the_verdict_is_by_the_interval(rate: float, verdict: str) -> None:
    """Only what is below the lower end is said to fit."""
    assert verdict == write_fit(rate, S_MAX).verdict


def test_margins_are_by_value_and_both_ends() -> None:
    """24,000 puts/s is 20 % above the value, half as much again as the lower end."""
    fit = write_fit(24_000.0, S_MAX)
    assert (fit.margin_ratio, fit.margin_lower_ratio, fit.margin_upper_ratio) == pytest.approx(
        (-0.2, -0.5, 0.04)
    )


@pytest.mark.parametrize("rate", [-1.0, math.nan, math.inf])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    """Negative and not finite rates raise."""
    with pytest.raises(ValueError, match="put rate"):
        write_fit(rate, S_MAX)


@pytest.mark.parametrize("interval", [(0.0, 0.0, 0.0), (2.0, 3.0, 4.0), (2.0, 1.0, 1.5)])
def test_an_interval_that_is_none_is_refused(interval: tuple[float, float, float]) -> None:
    """The value has to lie between positive ends."""
    with pytest.raises(ValueError, match="interval"):
        write_fit(1.0, SMaxInterval(*interval))


def test_a_rate_below_the_lower_end_never_stalls() -> None:
    """It leaves nothing undone."""
    result = plan(INPUTS, S_MAX, 15_000.0, HOUR, 100 * GIB)
    assert (
        result.stall_after_seconds,
        result.stall_earliest_seconds,
        result.stall_cause,
    ) == (None, None, None)


def test_the_excess_fills_level_0_up_to_its_slowdown_trigger() -> None:
    """Sixteen files between the compaction trigger and the slowdown, at the excess of 10,000."""
    result = plan(INPUTS, S_MAX, 30_000.0, HOUR, 100 * GIB)
    assert result.stall_cause == "l0_files"
    assert result.stall_after_seconds == pytest.approx(16 * PUTS_PER_FLUSH / 10_000)
    assert result.stall_earliest_seconds == pytest.approx(16 * PUTS_PER_FLUSH / 14_000)


def test_a_low_limit_on_pending_bytes_is_reached_first() -> None:
    """A put owes its 1,051 bytes, and in L1, at its target, eleven times as much for L2."""
    room = stall_room(with_options(soft_pending_compaction_bytes_limit=1.0 * GIB))
    assert room.cause == "pending_compaction_bytes"
    assert room.puts == pytest.approx(GIB / (1051.0 * (1 + 11)))


def test_no_limit_is_endless_room() -> None:
    """A negative slowdown trigger and a soft limit of 0 switch both off."""
    inputs = with_options(
        level0_slowdown_writes_trigger=-1, soft_pending_compaction_bytes_limit=0.0
    )
    assert (math.inf, None) == astuple(stall_room(inputs))


def test_a_stall_after_the_load_is_over_is_none() -> None:
    """A burst that ends before the room is used up does not stall."""
    result = plan(INPUTS, S_MAX, 30_000.0, 60.0, 100 * GIB)
    assert result.stall_after_seconds is None


def test_without_the_share_of_new_keys_the_disk_is_planned_for_both_bounds() -> None:
    """Overwrites grow nothing; new keys grow by all their bytes."""
    result = plan(INPUTS, S_MAX, 10_000.0, HOUR, 1000 * GIB)
    assert [use.growth_bytes for use in result.disk] == [0.0, 10_000 * HOUR * 1051.0]
    assert result.disk_fits is True
    assert "share of new keys" in result.caveats[-1]


def test_the_bounds_may_differ_about_the_disk() -> None:
    """With new keys the disk fills, with overwrites it does not: nobody can tell."""
    result = plan(INPUTS, S_MAX, 10_000.0, HOUR, 20 * GIB)
    assert result.disk_fits is None
    overwrites, new_keys = result.disk
    assert overwrites.full_after_seconds is None
    assert new_keys.full_after_seconds == pytest.approx(
        (20 * GIB - new_keys.temporary_bytes) / (10_000 * 1051.0)
    )


def with_key_space(key_space: float | None, *level_bytes: float) -> ModelInputs:
    return msgspec.structs.replace(
        INPUTS,
        costs=msgspec.structs.replace(INPUTS.costs, key_space_bytes=key_space),
        shape=TreeShape(level_bytes, tuple(1 for _ in level_bytes)),
    )


def test_keys_are_new_as_far_as_the_levels_do_not_hold_them() -> None:
    """Two levels of half of all keys each hold three quarters; few puts find the rest absent."""
    inputs = with_key_space(4 * GIB, 2 * GIB, 2 * GIB)
    assert new_key_ratio(inputs, 1000.0) == pytest.approx(0.25, rel=1e-3)
    # As many puts as there are keys find 1 - 1/e of the absent ones.
    table = INPUTS.costs.record_bytes + 11.0
    many = 4 * GIB / table / INPUTS.costs.flush_output_ratio
    assert new_key_ratio(inputs, many) == pytest.approx(0.25 * (1 - math.exp(-1)))


def test_new_keys_only_or_none_at_all_or_nobody_knows() -> None:
    """Of a key space without end, of one that is stored already, and of one never seen."""
    assert new_key_ratio(with_key_space(ALL_KEYS_NEW_BYTES, 1e9), 1000.0) == 1.0
    assert new_key_ratio(with_key_space(1e9, 1e9, 2e9), 1000.0) == 0.0
    assert new_key_ratio(with_key_space(None, 1e9), 1000.0) is None


def test_universal_compaction_needs_the_database_a_second_time() -> None:
    """A full merge writes all of it beside itself, so growth counts double."""
    inputs = with_options(style="universal")
    result = plan(inputs, S_MAX, 10_000.0, HOUR, 1000 * GIB, new_key_ratio=1.0)
    (use,) = result.disk
    stored = sum(inputs.shape.level_bytes)
    buffers = 2 * 64 * MIB + 64 * MIB
    assert use.temporary_bytes == pytest.approx(stored + use.growth_bytes + buffers)


def test_a_disk_too_small_for_the_next_compaction_is_full_at_once() -> None:
    """No growth is needed for that."""
    result = plan(INPUTS, S_MAX, 1000.0, HOUR, 100 * MIB, new_key_ratio=0.0)
    assert (result.disk[0].full_after_seconds, result.disk_fits) == (0.0, False)


def test_sequential_fill_rewrites_nothing() -> None:
    """Moved tables need no room for their merge: only flushes and memtables' WALs."""
    costs = msgspec.structs.replace(INPUTS.costs, overlap_ratio=0.0)
    inputs = msgspec.structs.replace(INPUTS, costs=costs)
    result = plan(inputs, S_MAX, 1000.0, HOUR, 100 * GIB, new_key_ratio=1.0)
    assert result.disk[0].temporary_bytes == 3 * 64 * MIB


def test_what_was_not_known_is_named() -> None:
    """The inputs' own gaps come along."""
    inputs = msgspec.structs.replace(
        INPUTS, missing=(MissingInput("compression", "not in OPTIONS", "taken as none"),)
    )
    assert plan(inputs, S_MAX, 1.0, 1.0, 1.0, new_key_ratio=0.5).caveats == (
        "compression: taken as none",
    )


@pytest.mark.parametrize(
    ("duration", "free", "ratio"),
    [(0.0, 1.0, None), (math.inf, 1.0, None), (1.0, -1.0, None), (1.0, 1.0, 1.5)],
)
def test_input_outside_its_range_is_refused(
    duration: float, free: float, ratio: float | None
) -> None:
    """Each raises."""
    with pytest.raises(ValueError, match="must be"):
        plan(INPUTS, S_MAX, 1.0, duration, free, ratio)


@given(rate=st.floats(0.0, 1e6), free=st.floats(0.0, 1e13), ratio=st.floats(0.0, 1.0))
def test_more_free_space_never_fills_sooner(rate: float, free: float, ratio: float) -> None:
    """Nor does a plan ever promise space that is not there."""
    less, more = (
        plan(INPUTS, S_MAX, rate, HOUR, space, ratio).disk[0] for space in (free, free + GIB)
    )
    assert (more.full_after_seconds or math.inf) >= (less.full_after_seconds or 0.0)
    if less.full_after_seconds is None:
        assert less.free_after_bytes + 1.0 >= less.temporary_bytes
