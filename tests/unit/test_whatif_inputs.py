"""A change worked into model inputs: what changes, what stays, and what is said to be assumed."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.models.lsm import ALL_KEYS_NEW_BYTES, HostShare, ModelInputs, TreeCosts, TreeOptions
from agent.whatif.change import Change, ChangeError, check
from agent.whatif.compression_prior import ALGORITHMS, Lean, Range, cpu_per_raw_byte, new_size_ratio
from agent.whatif.inputs import ChangedInputs, apply
from agent.workload import MEMTABLE_OVERHEAD_BYTES
from tests.unit.explained import FOREIGN, INPUTS

MIB = 1048576.0


def changed(inputs: ModelInputs = INPUTS, lean: Lean = 0, **change: Any) -> ChangedInputs:
    return apply(Change(**change), inputs, FOREIGN, lean)


def options(**change: Any) -> TreeOptions:
    return changed(**change).inputs.options


def costs(inputs: ModelInputs = INPUTS, lean: Lean = 0, **change: Any) -> TreeCosts:
    return changed(inputs, lean, **change).inputs.costs


def host(**change: Any) -> HostShare:
    return changed(**change).inputs.host


def with_costs(**change: Any) -> ModelInputs:
    return replace(INPUTS, costs=replace(INPUTS.costs, **change))


def with_options(**change: Any) -> ModelInputs:
    return replace(INPUTS, options=replace(INPUTS.options, **change))


def test_no_change_changes_nothing() -> None:
    """Not even in the last digit."""
    assert changed() == ChangedInputs(INPUTS, (), ())


@pytest.mark.parametrize(
    ("jobs", "flushes", "compactions"), [(1, 1, 1), (2, 1, 1), (4, 1, 3), (6, 1, 5), (16, 4, 12)]
)
def test_background_jobs_are_divided_as_rocksdb_does(
    jobs: int, flushes: int, compactions: int
) -> None:
    """GetBGJobLimits: a quarter for flushes, at least one of each."""
    after = options(max_background_jobs=jobs)

    assert (after.max_background_flushes, after.max_background_compactions) == (
        flushes,
        compactions,
    )


@pytest.mark.parametrize(
    ("wanted", "got", "notes"),
    [
        ((None, 40, None), (4, 40, 40), 1),
        ((None, 40, 60), (4, 40, 60), 0),
        ((30, None, None), (30, 30, 36), 1),
        ((2, 3, 5), (2, 3, 5), 0),
        ((4, 20, 36), (4, 20, 36), 0),
    ],
)
def test_triggers_are_put_in_order_as_rocksdb_does(
    wanted: tuple[int | None, ...], got: tuple[int, ...], notes: int
) -> None:
    """SanitizeOptions raises the later ones, and that is said."""
    after = changed(level0_compaction=wanted[0], level0_slowdown=wanted[1], level0_stop=wanted[2])
    tree = after.inputs.options

    assert (
        tree.level0_file_num_compaction_trigger,
        tree.level0_slowdown_writes_trigger,
        tree.level0_stop_writes_trigger,
    ) == got
    assert len(after.notes) == notes


def test_a_larger_write_buffer_makes_larger_flushes() -> None:
    """In proportion, also where a flush takes less than the whole buffer."""
    assert options(write_buffer_bytes=256 * MIB).write_buffer_bytes == 256 * MIB
    assert costs(write_buffer_bytes=256 * MIB).flush_user_bytes == 4 * INPUTS.costs.flush_user_bytes


def test_a_derived_limit_follows_the_target_file_and_a_set_one_stays() -> None:
    """max_compaction_bytes is 25 target files unless somebody set it."""
    assert options(target_file_bytes=8 * MIB).max_compaction_bytes == 200 * MIB
    own = with_options(max_compaction_bytes=500 * MIB)
    assert changed(own, target_file_bytes=8 * MIB).inputs.options.max_compaction_bytes == 500 * MIB


def test_larger_values_keep_the_key_and_the_overheads() -> None:
    """WAL and memtable grow by what the value grows, the memtable holds fewer puts."""
    after = costs(value_bytes=4096.0)

    assert after.record_bytes == 4112.0
    assert after.wal_bytes_per_put == 4112.0 + 22.0
    assert after.memtable_bytes_per_put == 4112.0 + 60.0
    entry = MEMTABLE_OVERHEAD_BYTES
    puts_before = INPUTS.costs.flush_user_bytes / (INPUTS.costs.record_bytes + entry)
    puts_after = after.flush_user_bytes / (after.record_bytes + entry)
    assert puts_after * after.memtable_bytes_per_put == pytest.approx(
        puts_before * INPUTS.costs.memtable_bytes_per_put
    )


def test_a_value_of_the_present_size_changes_no_cost() -> None:
    """The way there and back is no way."""
    assert costs(value_bytes=1024.0) == INPUTS.costs


def test_a_compressed_wal_grows_in_proportion() -> None:
    """Fewer bytes per put than the record has can only be compression."""
    compressed = with_costs(wal_bytes_per_put=520.0)

    assert costs(compressed, value_bytes=2064.0).wal_bytes_per_put == 1040.0


def test_an_unknown_key_is_assumed_and_that_is_said() -> None:
    """At either end of what is usual."""
    blind = with_costs(key_bytes=None)
    sizes = [costs(blind, lean, value_bytes=100.0).record_bytes for lean in (-1, 0, 1)]

    assert sizes == [148.0, 124.0, 110.0]
    assert any("key's size was not measured" in n for n in changed(blind, value_bytes=100.0).notes)


def test_cpu_that_was_not_measured_stays_unmeasured() -> None:
    """0 stands for that, and no prior is made up for it."""
    blind = with_costs(foreground_cpu_seconds_per_put=0.0, writer_seconds_per_put=0.0)
    after = costs(blind, value_bytes=8192.0)

    assert (after.foreground_cpu_seconds_per_put, after.writer_seconds_per_put) == (0.0, 0.0)


def test_compression_of_uncompressed_data_is_a_prior_with_wide_ends() -> None:
    """Uncompressed tables do not tell what zstd would make of them."""
    ratios = [costs(lean=lean, compression="zstd").flush_output_ratio for lean in (-1, 0, 1)]

    assert ratios == [1.0, 0.42, 0.18]
    assert "a prior" in changed(compression="zstd").notes[0]


def test_a_measured_ratio_is_carried_over_to_another_algorithm() -> None:
    """Half under lz4 makes more than a third of it under zstd, and less than half."""
    lz4 = replace(
        with_options(compression="lz4"), costs=replace(INPUTS.costs, flush_output_ratio=0.5)
    )
    after = changed(lz4, compression="zstd")

    assert 0.33 < after.inputs.costs.flush_output_ratio < 0.42
    assert "carried over from lz4's measured 0.50" in after.notes[0]


def test_switching_compression_off_restores_the_raw_size_and_frees_cpu() -> None:
    """Of the tree too, once it is rewritten."""
    zstd = replace(
        with_options(compression="zstd"),
        costs=replace(INPUTS.costs, flush_output_ratio=0.4, compaction_cpu_seconds_per_byte=20e-9),
    )
    after = changed(zstd, compression="none").inputs

    assert after.costs.flush_output_ratio == pytest.approx(1.0)
    assert sum(after.shape.level_bytes) == pytest.approx(sum(INPUTS.shape.level_bytes) / 0.4)
    # 20 ns per compressed byte were 8 ns per raw one; the codec's part of them is gone.
    assert after.costs.compaction_cpu_seconds_per_byte < 8e-9


def test_a_compressed_byte_costs_what_its_raw_bytes_cost() -> None:
    """Merges count table bytes, codecs raw ones: 5 ns and zstd's share, for 1 / 0.42 raw bytes."""
    raw = 5e-9 + cpu_per_raw_byte("zstd", 0, decompress=True)

    assert costs(compression="zstd").compaction_cpu_seconds_per_byte == pytest.approx(raw / 0.42)
    assert costs(compression="zstd").flush_cpu_seconds_per_byte == pytest.approx(
        4e-9 + cpu_per_raw_byte("zstd", 0, decompress=False)
    )


def test_the_files_shrink_with_the_bytes_but_level_0_keeps_its_count() -> None:
    """A flush makes one file whatever its size."""
    after = changed(compression="zstd").inputs.shape

    assert after.level_files == (3, 2, 14, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("measured", "factor"), [(2e9, 0.42), (ALL_KEYS_NEW_BYTES, 1.0)], ids=["keys", "all new"]
)
def test_the_key_space_shrinks_with_the_tables(measured: float, factor: float) -> None:
    """It is one version of every key as tables; without overwrites there is none."""
    after = costs(with_costs(key_space_bytes=measured), compression="zstd").key_space_bytes
    assert after == pytest.approx(measured * factor)


def test_the_compression_in_force_is_no_change() -> None:
    """And that is said."""
    after = changed(compression="none")

    assert (after.inputs, after.changes) == (INPUTS, ())
    assert after.notes == ("the compression is none already",)


def test_an_unknown_present_compression_is_told_by_the_tables() -> None:
    """As large as the records: none."""
    blind = with_options(compression=None)

    assert "taken for none" in changed(blind, compression="lz4").notes[0]
    small = replace(blind, costs=replace(INPUTS.costs, flush_output_ratio=0.5))
    assert "taken for lz4" in changed(small, compression="zstd").notes[0]


@given(st.sampled_from(ALGORITHMS), st.sampled_from(ALGORITHMS), st.floats(0.02, 1.0))
def test_the_ends_of_a_size_enclose_the_likely_value(now: str, new: str, ratio: float) -> None:
    """And no algorithm makes data larger."""
    measured = 1.0 if now == "none" else ratio
    worst, likely, best = (new_size_ratio(now, measured, new, lean) for lean in (-1, 0, 1))

    assert best <= likely <= worst <= 1.0


@given(st.sampled_from(ALGORITHMS), st.booleans())
def test_the_ends_of_a_cost_enclose_the_likely_value(algorithm: str, decompress: bool) -> None:
    """The pessimistic one costs most."""
    worst, likely, best = (
        cpu_per_raw_byte(algorithm, lean, decompress=decompress) for lean in (-1, 0, 1)
    )

    assert best <= likely <= worst


def test_a_range_has_its_ends_where_the_lean_points() -> None:
    """-1 lowers S_max."""
    assert [Range(3.0, 2.0, 1.0).at(lean) for lean in (-1, 0, 1)] == [3.0, 2.0, 1.0]


def test_a_device_s_rate_is_everyone_s_and_others_keep_theirs() -> None:
    """What is left for the database is the rest."""
    assert host(device_bytes_per_second=400 * MIB).device_write_bytes_per_second == (
        400 * MIB - FOREIGN
    )
    assert host(foreign_bytes_per_second=40e6).device_write_bytes_per_second == 60e6


def test_others_cannot_take_more_than_the_device_has() -> None:
    """One clear line."""
    with pytest.raises(ChangeError, match="leave nothing of the device's 95 MiB/s"):
        changed(foreign_bytes_per_second=200 * MIB)


def test_reads_are_taken_to_change_with_the_device() -> None:
    """And that is said."""
    reading = replace(INPUTS, host=HostShare(98e6, 200e6, 2.0))
    after = apply(Change(device_bytes_per_second=200e6), reading, FOREIGN)

    assert after.inputs.host.device_read_bytes_per_second == 400e6
    assert "the device's reads are taken to change as its writes do" in after.notes


def test_an_unknown_share_of_others_is_said() -> None:
    """Nothing is assumed of them."""
    after = apply(Change(device_bytes_per_second=200e6), INPUTS, None)

    assert after.inputs.host.device_write_bytes_per_second == 200e6
    assert "how much others write is not known: nothing is assumed" in after.notes


def test_the_wal_can_be_switched_off_and_on() -> None:
    """On again it costs the record and its overhead."""
    off = changed(wal=False)

    assert (off.inputs.options.wal_enabled, off.inputs.costs.wal_bytes_per_put) == (False, 0.0)
    on = apply(Change(wal=True), off.inputs, FOREIGN)
    assert (on.inputs.options.wal_enabled, on.inputs.costs.wal_bytes_per_put) == (True, 1062.0)
    assert changed(wal=True).inputs == INPUTS


def test_a_rate_limit_of_zero_is_none() -> None:
    """As in RocksDB there is then no limiter at all."""
    limited = with_options(rate_limiter_bytes_per_second=10 * MIB)
    after = changed(limited, rate_limit_bytes_per_second=0.0).inputs.options

    assert after.rate_limiter_bytes_per_second is None
    assert options(rate_limit_bytes_per_second=5 * MIB).rate_limiter_bytes_per_second == 5 * MIB


def test_dynamic_levels_belong_to_the_leveled_style() -> None:
    """Universal has none."""
    dynamic = with_options(level_compaction_dynamic_level_bytes=True)
    after = changed(dynamic, style="universal")

    assert after.inputs.options.style == "universal"
    assert not after.inputs.options.level_compaction_dynamic_level_bytes
    assert "a rewrite of the whole database" in after.notes[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_background_jobs": 0}, "--max-background-jobs is 0; it must be 1 to 1024"),
        ({"max_write_buffer_number": 1}, "--max-write-buffer-number is 1; it must be 2 to 1024"),
        ({"value_bytes": 0.0}, "--value-size is 0; it must be 1 to 1.07374e+09 bytes"),
        ({"value_bytes": float("nan")}, "--value-size is nan"),
        ({"device_bytes_per_second": -MIB}, "--device-mbps is -1; it must be 0.1 to 1e+06 MiB/s"),
        ({"device_bytes_per_second": float("inf")}, "--device-mbps is inf"),
        ({"level_multiplier": 1.0}, "--level-multiplier is 1; it must be 1.01 to 1000"),
        ({"compression": "brotli"}, "--compression is 'brotli'; it must be one of none, lz4"),
        ({"cpu_cores": 0.0}, "--cpu-cores is 0; it must be 0.05 to 4096 cores"),
    ],
)
def test_a_value_outside_its_range_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    """With the range."""
    with pytest.raises(ChangeError) as error:
        check(Change(**change))

    assert str(error.value).startswith(message)


def test_every_member_of_a_change_is_worked_in() -> None:
    """An option that does nothing would be a lie."""
    samples: dict[str, Any] = {
        "max_background_jobs": 16,
        "max_subcompactions": 4,
        "value_bytes": 100.0,
        "compression": "zstd",
        "device_bytes_per_second": 1e9,
        "write_buffer_bytes": 16 * MIB,
        "max_write_buffer_number": 6,
        "level0_compaction": 8,
        "level0_slowdown": 30,
        "level0_stop": 50,
        "level_base_bytes": 1024 * MIB,
        "level_multiplier": 8.0,
        "target_file_bytes": 32 * MIB,
        "style": "universal",
        "rate_limit_bytes_per_second": 50e6,
        "cpu_cores": 16.0,
        "wal": False,
        "foreign_bytes_per_second": 10e6,
    }

    assert set(samples) == {field.name for field in dataclasses.fields(Change)}
    for member, value in samples.items():
        after = changed(**{member: value})
        assert after.inputs != INPUTS, member
        assert len(after.changes) == 1, member
