"""The models' inputs, every default resolved and every fallback named."""

from dataclasses import replace
from typing import Any

import pytest

from agent.bandwidth import Capacity
from agent.demands.demands import DemandEstimator, Demands, Measured
from agent.findings import DatabaseFindings
from agent.inputs.host import CROSS_CHECK_TERMS
from agent.inputs.model_inputs import CpuShare, model_inputs
from agent.inputs.tree_options import NEVER
from agent.models.lsm import ModelInputs
from agent.readings import Known, Missing, Quantity
from agent.snapshot import DeviceSnapshot
from probes.rocksdb.options_samples import OptionsSample
from tests.unit.agent_samples import (
    ABSENT,
    a_compaction,
    a_flush,
    a_log,
    captured_log,
    captured_manifest,
    captured_options,
    database_findings,
    known,
)

CORES = CpuShare(4, ABSENT, ABSENT, ABSENT, None)
FAST = known(Capacity(100e6, None, lower_bound=False))
NO_FOREIGN: Quantity = known(0.0)


def device(capacity: Known[Capacity] | Missing = FAST) -> DeviceSnapshot:
    return DeviceSnapshot(
        name="sda",
        devnum="8:0",
        size_bytes=10**12,
        filesystem_type="ext4",
        filesystem_free_bytes=10**11,
        layers=("sda",),
        capacity=capacity,
        capacity_ratio=ABSENT,
        write_bytes_per_second=ABSENT,
        read_bytes_per_second=ABSENT,
        write_await_seconds=ABSENT,
        mean_queue_depth=ABSENT,
        limit_bytes_per_second=None,
        fio=ABSENT,
        scratch_directory=None,
    )


def captured(name: str = "v9.8.4", **changes: Any) -> DatabaseFindings:
    findings = database_findings(
        log=known(captured_log(name)),
        manifest=known(captured_manifest(name)),
        options=known(captured_options(name)),
    )
    return replace(findings, **changes)


def demands_of(findings: DatabaseFindings, **changes: Any) -> Demands:
    demands = DemandEstimator().update(findings, known(1000.0))
    assert isinstance(demands, Demands)
    return replace(demands, **changes)


def inputs_of(
    findings: DatabaseFindings,
    *,
    demands: Demands | None = None,
    capacity: Known[Capacity] | Missing = FAST,
    foreign: Quantity = NO_FOREIGN,
    cpu: CpuShare = CORES,
) -> ModelInputs:
    inputs = model_inputs(
        findings, demands or demands_of(findings), device(capacity), foreign, cpu, known(1000.0)
    )
    assert isinstance(inputs, ModelInputs)
    return inputs


def missing(inputs: ModelInputs) -> set[str]:
    return {entry.name for entry in inputs.missing}


def with_family(options: OptionsSample, **changes: Any) -> Known[OptionsSample]:
    families = tuple(replace(family, **changes) for family in options.column_families)
    return known(replace(options, column_families=families))


def test_a_real_database_gives_a_whole_input_set() -> None:
    """Record, memtable, flush and merge of a captured database, and its present shape."""
    inputs = inputs_of(captured())
    costs = inputs.costs
    assert costs.record_bytes == pytest.approx(373.6, rel=0.01)
    assert costs.key_bytes == 16.0
    assert costs.memtable_bytes_per_put > costs.record_bytes
    assert costs.flush_output_ratio == pytest.approx(0.98, abs=0.02)
    assert costs.overlap_ratio == 1.0
    shape = captured_manifest("v9.8.4").column_families[0]
    assert inputs.shape.level_bytes == tuple(float(level.bytes) for level in shape.levels)
    assert inputs.sources["options"] == captured_options("v9.8.4").file_name


def test_a_flush_s_puts_follow_from_its_user_bytes() -> None:
    """total_data_size has 11 bytes an entry more than key and value: simulator and flush agree."""
    findings = captured()
    demands = demands_of(findings)
    assert isinstance(demands.flush_entries, Measured)
    costs = inputs_of(findings).costs
    puts = costs.flush_user_bytes / (costs.record_bytes + 11.0)
    assert puts == pytest.approx(demands.flush_entries.value)


def test_only_the_writes_of_others_are_taken_off_the_capacity() -> None:
    """RocksDB's own compaction is part of the demand."""
    host = inputs_of(captured(), foreign=known(30e6)).host
    assert host.device_write_bytes_per_second == pytest.approx(70e6)


def test_without_a_capacity_nothing_can_be_said() -> None:
    """The reason is the capacity's own; so it is when others use all of it."""
    findings = captured()
    demands = demands_of(findings)
    answers = [
        model_inputs(findings, demands, place, foreign, CORES, ABSENT)
        for place, foreign in (
            (None, NO_FOREIGN),
            (device(ABSENT), NO_FOREIGN),
            (device(), known(100e6)),
        )
    ]
    assert ["no_device", ABSENT.reason, "no_bandwidth_left"] == [
        answer.reason if isinstance(answer, Missing) else "" for answer in answers
    ]


@pytest.mark.parametrize(
    ("name", "wider"),
    [
        ("options", {"options": ABSENT}),
        ("shape", {"manifest": ABSENT}),
    ],
)
def test_what_is_missing_is_named_and_makes_the_answer_wider(
    name: str, wider: dict[str, Any]
) -> None:
    """Each lost source is one entry, with what was taken instead, and more spread."""
    whole = inputs_of(captured())
    part = inputs_of(captured(**wider))
    assert name in missing(part) - missing(whole)
    assert part.log_spread > whole.log_spread
    assert all(entry.fallback and entry.detail for entry in part.missing)


def test_without_manifest_and_log_there_is_no_tree() -> None:
    """The OPTIONS alone do not say how large the database is."""
    findings = captured(manifest=ABSENT)
    quiet = replace(findings, log=known(a_log(recent_flushes=(a_flush(1.0),))))
    answer = model_inputs(quiet, demands_of(quiet), device(), NO_FOREIGN, CORES, ABSENT)
    assert answer == ABSENT


def test_a_capacity_that_is_a_lower_bound_is_named() -> None:
    """The device may be faster than anything seen."""
    inputs = inputs_of(captured(), capacity=known(Capacity(100e6, None, lower_bound=True)))
    assert "device_capacity" in missing(inputs)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"compaction_style": None}, "compaction_style"),
        ({"compaction_style": "fifo"}, "compaction_style"),
        ({"disable_auto_compactions": True}, "compaction_style"),
        ({"enable_blob_files": True}, "blob_files"),
        ({"last_level_temperature": "cold"}, "tiered_storage"),
        ({"preclude_last_level_data_seconds": 3600}, "tiered_storage"),
    ],
)
def test_what_the_models_do_not_know_is_named(changes: dict[str, Any], name: str) -> None:
    """Unknown style, FIFO, blob files, tiered storage: a fallback and a wider answer."""
    whole = inputs_of(captured())
    odd = inputs_of(captured(options=with_family(captured_options("v9.8.4"), **changes)))
    assert name in missing(odd) - missing(whole)
    assert odd.log_spread > whole.log_spread


def test_fifo_is_a_tree_that_is_never_merged() -> None:
    """A captured FIFO database: no trigger is ever reached."""
    inputs = inputs_of(captured("fifo"))
    assert inputs.options.level0_file_num_compaction_trigger == NEVER
    assert inputs.options.level0_stop_writes_trigger == NEVER


def test_several_column_families_widen_by_the_share_of_the_others() -> None:
    """The captured database has two; most goes to the first one."""
    inputs = inputs_of(captured())
    assert inputs.column_family == "default"
    assert "other_column_families" in missing(inputs)


def test_a_rate_limiter_is_taken_from_delayed_write_rate() -> None:
    """The captured database's limiter of 2 MiB/s; with the default value it stays unknown."""
    options = captured_options("v9.8.4")
    told = inputs_of(captured())
    hidden = inputs_of(captured(options=known(replace(options, delayed_write_rate=16 << 20))))
    assert told.options.rate_limiter_bytes_per_second == 2 << 20
    assert hidden.options.rate_limiter_bytes_per_second is None
    assert "rate_limiter" in missing(hidden)
    assert hidden.log_spread > told.log_spread


def test_a_compaction_faster_than_the_limiter_disproves_it() -> None:
    """Then delayed_write_rate was set by somebody, and the limiter's rate is unknown."""
    log = captured_log("v9.8.4")
    fast = a_compaction(
        log.recent_compactions[-1].wall_seconds, output_bytes=100 << 20, duration_seconds=2.0
    )
    findings = captured(log=known(replace(log, recent_compactions=(*log.recent_compactions, fast))))
    inputs = inputs_of(findings)
    assert inputs.options.rate_limiter_bytes_per_second is None
    assert "rate_limiter" in missing(inputs)


def reaching(share: float, terms: int = CROSS_CHECK_TERMS, spread: float = 0.05) -> Measured:
    return Measured(share, spread, "test", 0.0, terms)


def test_buffered_bytes_that_never_reach_the_device_do_not_load_it() -> None:
    """Three quarters reach it: in bytes that RocksDB writes, it takes a third more."""
    findings = captured()
    inputs = inputs_of(findings, demands=demands_of(findings, reaching_share=reaching(0.75)))
    assert inputs.host.device_write_bytes_per_second == pytest.approx(100e6 / 0.75)
    assert "page_cache" in missing(inputs)


@pytest.mark.parametrize(
    "share", [reaching(0.75, terms=3), reaching(0.75, spread=0.5), reaching(0.95)]
)
def test_a_cross_check_that_says_little_changes_nothing(share: Measured) -> None:
    """Few intervals, much scatter, or no difference to speak of."""
    findings = captured()
    inputs = inputs_of(findings, demands=demands_of(findings, reaching_share=share))
    assert inputs.host.device_write_bytes_per_second == pytest.approx(100e6)


def test_direct_io_leaves_nothing_in_the_page_cache() -> None:
    """Then fewer bytes than the events tell are noise."""
    options = replace(
        captured_options("v9.8.4"),
        use_direct_io_for_flush_and_compaction=True,
        wal_bytes_per_sync=1 << 20,
    )
    findings = captured(options=known(options))
    inputs = inputs_of(findings, demands=demands_of(findings, reaching_share=reaching(0.75)))
    assert inputs.host.device_write_bytes_per_second == pytest.approx(100e6)
    assert "page_cache" not in missing(inputs)


def test_synced_writes_cost_more_than_their_bytes() -> None:
    """A process that writes twice what it stores: the rest is added to the WAL."""
    findings = captured()
    demands = demands_of(findings)
    more = replace(
        demands,
        reaching_share=reaching(2.0),
        process_written_bytes=Measured(3000.0, 0.05, "test", 0.0, 20),
    )
    plain, synced = inputs_of(findings, demands=demands), inputs_of(findings, demands=more)
    extra = synced.costs.wal_bytes_per_put - plain.costs.wal_bytes_per_put
    assert extra == pytest.approx(1500.0)
    assert "partial_pages" in missing(synced)


@pytest.mark.parametrize(
    ("cores", "others", "limit", "expected"),
    [
        (4, None, None, 4.0),
        (4, 1.5, None, 2.5),
        (4, 0.0, None, 4.0),
        (4, 4.0, None, 2.0),  # a fair scheduler takes it from them
        (4, 1.5, 1.0, 1.0),
        (None, None, 2.0, 2.0),
        (None, None, None, None),
    ],
)
def test_free_cores_are_all_but_those_of_others_within_the_quota(
    cores: int | None,
    others: float | None,
    limit: float | None,
    expected: float | None,
) -> None:
    """What the owner uses itself is its own."""
    share = CpuShare(cores, ABSENT, ABSENT, ABSENT if others is None else known(others), limit)
    assert share.free_cores() == expected
