"""The simulated rate as an estimate, and the closed form beside it."""

import math
import time

import msgspec
import pytest

from agent.models.estimate import RESOURCES, MissingInput
from agent.models.lsm import TreeShape
from agent.models.lsm_amplification import saturated_written_bytes_per_put
from agent.models.lsm_estimate import simulator_estimate
from agent.models.lsm_simulator import simulate
from agent.models.lsm_tree import Tree
from tests.unit.model_inputs_samples import MIB, model_inputs


def test_a_saturated_device_is_the_bottleneck() -> None:
    """With its demand in bytes per put, and advice."""
    inputs = model_inputs()
    found = simulate(inputs)
    estimate = simulator_estimate(inputs, found)
    assert estimate.puts_per_second == found.puts_per_second
    assert estimate.bottleneck == "device_write"
    assert estimate.resources[0].demand == pytest.approx(sum(found.written_bytes_per_put.values()))
    assert "level-0 files" in estimate.advice
    assert {use.resource for use in estimate.resources} <= set(RESOURCES)


def test_a_single_compaction_thread_is_named() -> None:
    """Where neither device nor cores are used up."""
    inputs = model_inputs(
        costs={"compaction_cpu_seconds_per_byte": 2e-8},
        host={"device_write_bytes_per_second": 2e9, "cpu_cores": 16.0},
    )
    assert simulator_estimate(inputs, simulate(inputs)).bottleneck == "compaction_threads"


def test_cores_and_writer_and_limiter_are_named() -> None:
    """Each where it is the one."""
    fast = {"device_write_bytes_per_second": 5e9, "cpu_cores": 2.0}
    cases = {
        "cpu": model_inputs(costs={"foreground_cpu_seconds_per_put": 1e-4}, host=fast),
        "writer": model_inputs(costs={"writer_seconds_per_put": 5e-4}),
        "rate_limiter": model_inputs(options={"rate_limiter_bytes_per_second": 20e6}),
    }
    named = {
        name: simulator_estimate(inputs, simulate(inputs)).bottleneck
        for name, inputs in cases.items()
    }
    assert named == {name: name for name in cases}


def test_what_was_missing_is_passed_on_and_widens_the_interval() -> None:
    """The inputs' own scatter is part of the width."""
    missing = (MissingInput("overlap_ratio", "not measured", "1.0"),)
    inputs = msgspec.structs.replace(model_inputs(), missing=missing, log_spread=0.3)
    found = simulate(inputs)
    wide = simulator_estimate(inputs, found)
    narrow = simulator_estimate(model_inputs(), found)
    assert wide.missing == missing
    assert wide.log_half_width > 2 * narrow.log_half_width
    cut_short = msgspec.structs.replace(found, converged=False)
    assert simulator_estimate(inputs, cut_short).log_half_width > wide.log_half_width


def test_the_closed_form_agrees_with_the_simulator_on_level_compaction() -> None:
    """Within a third, over trees of different depth, and on log and flush exactly."""
    shapes = {
        "shallow": TreeShape((130 * MIB, 250 * MIB, 2000 * MIB), (2, 4, 31)),
        "deep": TreeShape((130 * MIB, 250 * MIB, 2500 * MIB, 20000 * MIB), (2, 4, 40, 320)),
    }
    for shape in shapes.values():
        inputs = model_inputs(shape=shape, costs={"merge_into_last_output_ratio": 1.0})
        simulated = simulate(inputs).written_bytes_per_put
        closed = saturated_written_bytes_per_put(inputs)
        assert closed["wal"] == pytest.approx(simulated["wal"])
        assert closed["flush"] == pytest.approx(simulated["flush"], rel=0.02)
        assert abs(math.log(closed["compaction"] / simulated["compaction"])) < math.log(4 / 3)


def test_the_closed_form_knows_sequential_fill_and_no_log() -> None:
    """Only the flush is left."""
    found = saturated_written_bytes_per_put(
        model_inputs(options={"wal_enabled": False}, costs={"overlap_ratio": 0.0})
    )
    assert found["wal"] == found["compaction"] == 0.0
    assert found["flush"] == pytest.approx(1027.0)


def test_the_closed_form_refuses_what_makes_no_sense() -> None:
    """A record of no bytes."""
    with pytest.raises(ValueError, match="record_bytes"):
        saturated_written_bytes_per_put(model_inputs(costs={"record_bytes": 0.0}))


@pytest.mark.parametrize("trigger", [1_000_000, 2**31 - 1])
def test_a_slowdown_trigger_that_is_never_reached_costs_no_time(trigger: int) -> None:
    """Operators switch slowdowns off by the largest integer; the closed form runs in every tick."""
    options = {"level0_slowdown_writes_trigger": trigger, "level0_stop_writes_trigger": trigger}
    began = time.process_time()
    found = saturated_written_bytes_per_put(model_inputs(options=options))
    assert time.process_time() - began < 0.5
    assert all(math.isfinite(size) and size >= 0.0 for size in found.values())


@pytest.mark.parametrize("style", ["level", "universal"])
def test_flushes_that_leave_nothing_leave_nothing_to_merge(style: str) -> None:
    """Every put was deleted before its memtable was flushed."""
    changes = {"options": {"style": style}, "costs": {"flush_output_ratio": 0.0}}
    found = saturated_written_bytes_per_put(model_inputs(**changes))  # type: ignore[arg-type]
    assert found["flush"] == found["compaction"] == 0.0


def test_a_universal_tree_may_have_no_room_above_its_last_run() -> None:
    """max_size_amplification_percent 0: every flush is merged with everything."""
    none = {"style": "universal", "universal_max_size_amplification_percent": 0.0}
    some = {"style": "universal"}
    found = [
        saturated_written_bytes_per_put(model_inputs(options=options))["compaction"]
        for options in (none, some)
    ]
    assert math.isfinite(found[0])
    assert found[0] > found[1]


@pytest.mark.parametrize(
    "options",
    [
        {"num_levels": 1},
        {"num_levels": 2**31 - 1},
        {"max_bytes_for_level_base": 0.0},
        {"max_bytes_for_level_multiplier": math.nan},
        {"target_file_size_base": 0.0},
    ],
)
def test_options_that_cannot_be_are_no_tree(options: dict[str, float]) -> None:
    """ValueError, which both models answer with what is wrong."""
    with pytest.raises(ValueError, match=next(iter(options))):
        simulate(model_inputs(options=options))
    with pytest.raises(ValueError, match=next(iter(options))):
        saturated_written_bytes_per_put(model_inputs(options=options))


def test_many_runs_of_one_size_are_merged_at_once() -> None:
    """As one after the other."""
    tree = Tree(model_inputs(costs={"key_space_bytes": 3e9}))
    one_by_one = 0.0
    for _ in range(25):
        one_by_one = tree.merged(64 * MIB, one_by_one)
    assert tree.merged_alike(64 * MIB, 25) == pytest.approx(one_by_one)
