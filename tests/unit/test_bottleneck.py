"""The bottleneck model: demand table, binding resource, advice."""

import math
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.demands.demands import DemandEstimator, Demands, Measured
from agent.inputs.tree_options import NEVER
from agent.models.bottleneck import (
    ETA,
    bottleneck_estimate,
    saturated_bytes_per_put,
)
from agent.models.estimate import RESOURCES, Estimate
from agent.models.lsm import HostShare, ModelInputs, TreeCosts, TreeOptions, TreeShape
from agent.readings import Missing
from tests.unit.agent_samples import a_flush, a_log, database_findings, known

MIB = 1048576.0


def a_demand(value: float, spread: float | None = 0.05) -> Measured:
    return Measured(value, spread, "test", 0.0, 20)


def demands(**changes: Any) -> Demands:
    """A database of 1040-byte records, leveled; 3000 bytes of compaction a put, 4 files a merge."""
    findings = database_findings(log=known(a_log(recent_flushes=(a_flush(1.0),))))
    found = DemandEstimator().update(findings, known(1000.0))
    assert isinstance(found, Demands)
    values: dict[str, Any] = {
        "flush_written_bytes": a_demand(1040.0),
        "compaction_written_bytes": a_demand(3000.0),
        "compaction_read_bytes": a_demand(3200.0),
        "level0_files_per_merge": a_demand(4.0),
        "level0_output_share": 0.5,
    }
    return replace(found, **(values | changes))


def inputs(
    options: dict[str, Any] | None = None,
    costs: dict[str, Any] | None = None,
    host: dict[str, Any] | None = None,
    **changes: Any,
) -> ModelInputs:
    """64 MiB memtables, 3 GB in three levels, 100 MB/s, 4 cores."""
    whole = ModelInputs(
        database="db",
        column_family="default",
        options=TreeOptions(**({"max_background_compactions": 3} | (options or {}))),
        shape=TreeShape((64 * MIB, 256 * MIB, 2500 * MIB), (1, 4, 40)),
        costs=TreeCosts(
            **(
                {
                    "record_bytes": 1040.0,
                    "wal_bytes_per_put": 1060.0,
                    "memtable_bytes_per_put": 1075.0,
                    "flush_user_bytes": 62 * MIB,
                    "flush_cpu_seconds_per_byte": 2e-9,
                    "compaction_cpu_seconds_per_byte": 3e-9,
                    "foreground_cpu_seconds_per_put": 6e-6,
                    "writer_seconds_per_put": 6e-6,
                }
                | (costs or {})
            )
        ),
        host=HostShare(
            **({"device_write_bytes_per_second": 100e6, "cpu_cores": 4.0} | (host or {}))
        ),
        log_spread=0.1,
        missing=(),
        sources={},
        at=5.0,
    )
    return msgspec.structs.replace(whole, **changes)


def estimate(given_inputs: ModelInputs, given_demands: Demands | None = None) -> Estimate:
    answer = bottleneck_estimate(given_inputs, given_demands or demands())
    assert isinstance(answer, Estimate)
    return answer


def bound(answer: Estimate, resource: str) -> float:
    return next(use.puts_per_second for use in answer.resources if use.resource == resource)


def test_the_device_bound_is_capacity_over_the_bytes_of_a_put() -> None:
    """X = eta C / D, with D the bytes at saturation."""
    written = saturated_bytes_per_put(inputs(), demands())
    assert not isinstance(written, Missing)
    answer = estimate(inputs())
    assert answer.bottleneck == "device_write"
    assert answer.puts_per_second == pytest.approx(ETA["device_write"] * 100e6 / written.written)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"host": {"device_write_bytes_per_second": 20e6}}, "device_write"),
        ({"host": {"device_write_bytes_per_second": 5e9, "cpu_cores": 0.5}}, "cpu"),
        (
            {
                "host": {"device_write_bytes_per_second": 5e9, "cpu_cores": 64.0},
                "costs": {"writer_seconds_per_put": 50e-6},
            },
            "writer",
        ),
        (
            {
                "host": {"device_write_bytes_per_second": 5e9, "cpu_cores": 64.0},
                "costs": {"compaction_cpu_seconds_per_byte": 60e-9},
            },
            "compaction_threads",
        ),
        (
            {
                "host": {"device_write_bytes_per_second": 5e9, "cpu_cores": 64.0},
                "costs": {"flush_cpu_seconds_per_byte": 200e-9},
            },
            "flush_threads",
        ),
        ({"options": {"rate_limiter_bytes_per_second": 10e6}}, "rate_limiter"),
    ],
)
def test_the_scarcest_resource_is_the_bottleneck(changes: dict[str, Any], expected: str) -> None:
    """Each can be the limit, and its name, numbers and what follows are in the advice."""
    answer = estimate(inputs(**changes))
    assert answer.bottleneck == expected
    assert "next limit: " in answer.advice
    assert f"{answer.puts_per_second:,.0f} puts/s" in answer.advice


def test_the_rows_are_in_order_and_named_as_published() -> None:
    """The binding resource first; every name is a value of the metric's label."""
    answer = estimate(inputs(options={"rate_limiter_bytes_per_second": 50e6}))
    rates = [use.puts_per_second for use in answer.resources]
    assert rates == sorted(rates)
    assert {use.resource for use in answer.resources} <= set(RESOURCES)
    assert answer.puts_per_second == rates[0]


def test_larger_batches_at_saturation_take_bytes_off_a_put() -> None:
    """Measured with 4 files a merge, at saturation level 0 stands near its slowdown trigger."""
    known = {"compaction_written_bytes": a_demand(3000.0, 0.01)}
    one_slot = inputs(options={"max_background_compactions": 1})
    low = saturated_bytes_per_put(one_slot, demands(**known))
    high = saturated_bytes_per_put(
        one_slot, demands(level0_files_per_merge=a_demand(14.0), **known)
    )
    assert not isinstance(low, Missing)
    assert not isinstance(high, Missing)
    assert low.compaction < 3000.0
    assert low.compaction < high.compaction


def test_measured_at_saturation_bytes_are_what_they_are() -> None:
    """A batch as large as the trigger gives needs no correction but the closed form's weight."""
    sure = demands(
        level0_files_per_merge=a_demand(20.0), compaction_written_bytes=a_demand(3000.0, 0.01)
    )
    written = saturated_bytes_per_put(inputs(), sure)
    assert not isinstance(written, Missing)
    assert written.compaction == pytest.approx(3000.0, rel=0.1)


def test_a_demand_without_an_error_of_its_own_makes_the_interval_wider() -> None:
    """A single cycle says little."""
    sure = estimate(inputs())
    unsure = estimate(inputs(), demands(compaction_written_bytes=a_demand(3000.0, None)))
    assert unsure.log_half_width > sure.log_half_width


def test_without_any_compaction_seen_the_closed_form_answers() -> None:
    """A tree just filled is not free of compaction for ever."""
    absent = Missing("no_recent_compaction", "none yet")
    fresh = demands(compaction_written_bytes=absent, compaction_read_bytes=absent)
    written = saturated_bytes_per_put(inputs(), fresh)
    assert not isinstance(written, Missing)
    assert written.compaction > 0.0
    assert estimate(inputs(), fresh).log_half_width > estimate(inputs()).log_half_width


def test_a_tree_that_is_never_merged_has_no_compaction() -> None:
    """FIFO: flush and WAL alone."""
    never = {"style": "universal", "level0_file_num_compaction_trigger": NEVER}
    answer = estimate(inputs(options=never))
    assert "compaction_threads" not in {use.resource for use in answer.resources}
    assert answer.puts_per_second == pytest.approx(ETA["device_write"] * 100e6 / 2100.0)


def test_the_wal_costs_nothing_when_it_is_not_used() -> None:
    """Its bytes fall out of the device's demand."""
    on, off = estimate(inputs()), estimate(inputs(options={"wal_enabled": False}))
    per_put = {use.resource: use.demand for use in on.resources}["device_write"]
    without = {use.resource: use.demand for use in off.resources}["device_write"]
    assert per_put - without == pytest.approx(1060.0)


def test_merges_of_level_0_use_one_slot_however_many_there_are() -> None:
    """Where they are all the work, eight slots give no more than one: the others only merge level 0
    within itself, for more bytes."""
    alone = demands(level0_output_share=1.0)
    slots = [
        bound(
            estimate(inputs(options={"max_background_compactions": count}), alone),
            "compaction_threads",
        )
        for count in (1, 8)
    ]
    assert slots[1] <= slots[0]
    parallel = estimate(
        inputs(options={"max_background_compactions": 8, "max_subcompactions": 4}), alone
    )
    assert bound(parallel, "compaction_threads") == pytest.approx(4 * slots[1])


@settings(max_examples=60, deadline=None)
@given(
    device=st.floats(1e6, 1e10),
    factor=st.floats(1.01, 100.0),
    cores=st.floats(0.1, 256.0),
    record=st.floats(8.0, 65536.0),
)
def test_more_of_a_resource_never_gives_a_lower_rate(
    device: float, factor: float, cores: float, record: float
) -> None:
    """Monotonic in device and cores, positive and finite, for any record."""
    costs = {"record_bytes": record, "wal_bytes_per_put": record + 20.0}
    base = {"device_write_bytes_per_second": device, "cpu_cores": cores}
    rate = estimate(inputs(costs=costs, host=base)).puts_per_second
    assert 0.0 < rate < math.inf
    for name, value in base.items():
        more = estimate(inputs(costs=costs, host=base | {name: value * factor}))
        assert more.puts_per_second >= rate * (1 - 1e-9)


def test_the_inputs_gaps_and_age_are_the_estimates() -> None:
    """What was missing stays named; the estimate is no younger than its inputs."""
    answer = estimate(inputs())
    assert (answer.at, answer.missing, answer.model) == (5.0, (), "bottleneck")
    assert answer.lower < answer.puts_per_second < answer.upper
