"""The simulator behaves as the theory of LSM trees says, and as recorded databases did."""

import itertools
import math
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.models.lsm import HostShare, TreeCosts, TreeOptions, TreeShape
from agent.models.lsm_estimate import bottleneck
from agent.models.lsm_simulator import simulate
from tests.unit.model_inputs_samples import MIB, model_inputs


def rate(**changes: object) -> float:
    return simulate(model_inputs(**changes)).puts_per_second  # type: ignore[arg-type]


@pytest.mark.parametrize("style", ["level", "universal"])
def test_more_bandwidth_never_lowers_the_rate(style: str) -> None:
    """Nor do the rates of a slow device come out of thin air."""
    rates = [
        rate(options={"style": style}, host={"device_write_bytes_per_second": mb * 1e6})
        for mb in (30, 60, 120, 240, 480)
    ]
    assert all(faster >= slower * 0.98 for slower, faster in itertools.pairwise(rates))
    assert rates[1] > 1.5 * rates[0]


def test_no_byte_is_written_that_the_device_cannot_take() -> None:
    """Bytes per put times puts is what the device did, and at saturation nearly all it could."""
    found = simulate(model_inputs())
    written = sum(found.written_bytes_per_put.values()) * found.puts_per_second
    assert found.utilization["device_write"] == pytest.approx(written / 100e6)
    assert 0.9 < found.utilization["device_write"] <= 1.001


def test_sequential_fill_moves_tables_and_rewrites_none() -> None:
    """Without overlap compaction writes nothing, so only log and flush remain."""
    found = simulate(model_inputs(costs={"overlap_ratio": 0.0}))
    assert found.written_bytes_per_put["compaction"] == 0.0
    assert found.puts_per_second > 1.8 * rate()


def test_without_write_ahead_log_its_bytes_go_to_more_puts() -> None:
    """The log costs bandwidth and nothing else."""
    found = simulate(model_inputs(options={"wal_enabled": False}))
    assert found.written_bytes_per_put["wal"] == 0.0
    assert found.puts_per_second > rate()


def test_a_byte_costs_less_at_saturation_than_at_low_load() -> None:
    """Level 0 then falls into level 1 in larger batches."""
    saturated = simulate(model_inputs())
    idle = simulate(model_inputs(), offered_puts_per_second=0.2 * saturated.puts_per_second)
    low = idle.written_bytes_per_put["compaction"]
    assert low > 1.5 * saturated.written_bytes_per_put["compaction"]
    assert idle.level0_files_mean < 6 < saturated.level0_files_mean


def test_an_offered_rate_below_the_limit_is_accepted_without_stall() -> None:
    """The open loop accepts what is offered, no more."""
    limit = rate()
    found = simulate(model_inputs(), offered_puts_per_second=0.5 * limit)
    assert found.puts_per_second == pytest.approx(0.5 * limit, rel=0.01)
    assert found.stopped_ratio == 0.0


def test_an_offered_rate_above_the_limit_is_cut_to_it() -> None:
    """An open loop beyond saturation is a closed loop."""
    limit = rate()
    found = simulate(model_inputs(), offered_puts_per_second=3.0 * limit)
    assert found.puts_per_second == pytest.approx(limit, rel=0.05)


def test_one_compaction_thread_bounds_a_fast_device() -> None:
    """Slow cores, a fast device: a second slot helps, a faster device does not."""
    slow = {"compaction_cpu_seconds_per_byte": 2e-8}
    host = {"device_write_bytes_per_second": 2e9, "cpu_cores": 16.0}
    one = simulate(model_inputs(costs=slow, host=host))
    faster = simulate(model_inputs(costs=slow, host={**host, "device_write_bytes_per_second": 4e9}))
    more = simulate(model_inputs(options={"max_background_compactions": 4}, costs=slow, host=host))
    assert one.utilization["compaction_threads"] > 0.9
    assert one.utilization["device_write"] < 0.5
    assert faster.puts_per_second < 1.1 * one.puts_per_second
    assert more.puts_per_second > 1.2 * one.puts_per_second


def test_cores_bound_the_rate_where_everything_else_is_plenty() -> None:
    """Half the cores, about half the rate."""
    costs = {"foreground_cpu_seconds_per_put": 4e-5, "writer_seconds_per_put": 0.0}
    fast = {"device_write_bytes_per_second": 5e9}
    two = simulate(model_inputs(costs=costs, host={**fast, "cpu_cores": 2.0}))
    one = simulate(model_inputs(costs=costs, host={**fast, "cpu_cores": 1.0}))
    assert two.utilization["cpu"] == pytest.approx(1.0, abs=0.05)
    assert one.puts_per_second == pytest.approx(two.puts_per_second / 2.0, rel=0.1)


def test_a_slow_writer_bounds_the_rate() -> None:
    """One write group at a time: 1 / its time."""
    found = simulate(model_inputs(costs={"writer_seconds_per_put": 5e-4}))
    assert found.puts_per_second == pytest.approx(2000.0, rel=0.01)
    assert found.stopped_ratio + found.delayed_ratio == 0.0


def test_the_rate_limiter_bounds_flush_and_compaction() -> None:
    """Bytes of flush and compaction per second stay below it; the log is not limited."""
    found = simulate(model_inputs(options={"rate_limiter_bytes_per_second": 20e6}))
    assert found.utilization["rate_limiter"] == pytest.approx(1.0, abs=0.06)
    assert found.utilization["device_write"] < 0.5


def test_slow_reads_bound_compaction() -> None:
    """What is merged has to be read first."""
    found = simulate(model_inputs(host={"device_read_bytes_per_second": 20e6}))
    assert found.utilization["device_read_write"] > 0.8
    assert found.puts_per_second < 0.7 * rate()


def test_saturation_is_held_by_delays_on_level_0_files() -> None:
    """RocksDB slows writers down before it stops them."""
    found = simulate(model_inputs())
    assert found.delayed_ratio > 0.1 > found.stopped_ratio
    assert max(found.stall_causes, key=lambda cause: found.stall_causes[cause]) == "l0_files"
    assert 10 < found.level0_files_mean < 24


def test_a_low_delayed_write_rate_makes_level_0_fluctuate_less() -> None:
    """Writers then crawl at the slowdown trigger instead of running on towards the stop."""
    crawling = simulate(model_inputs(options={"delayed_write_rate_bytes_per_second": 1e6}))
    running = simulate(model_inputs(options={"delayed_write_rate_bytes_per_second": 1e9}))
    assert crawling.level0_files_mean < running.level0_files_mean
    assert crawling.stopped_ratio <= running.stopped_ratio


def test_debt_at_the_start_does_not_count() -> None:
    """Level 0 and 1 overfull, or empty: the same rate in the end."""
    empty = TreeShape((0.0, 250 * MIB, 2000 * MIB), (0, 4, 31))
    full = TreeShape((20 * 62 * MIB, 900 * MIB, 2000 * MIB), (20, 14, 31))
    # The share of new keys is read from the fan-out, so the ratio is given for each shape.
    first = rate(shape=empty, costs={"merge_into_last_output_ratio": 1.0})
    second = rate(shape=full, costs={"merge_into_last_output_ratio": 1.0})
    assert first == pytest.approx(second, rel=0.05)


def test_a_larger_database_takes_fewer_puts() -> None:
    """More bytes below are met by each merge."""
    small = TreeShape((130 * MIB, 250 * MIB, 1000 * MIB), (2, 4, 16))
    large = TreeShape((130 * MIB, 250 * MIB, 2500 * MIB, 20000 * MIB), (2, 4, 40, 320))
    costs = {"merge_into_last_output_ratio": 1.0}
    assert rate(shape=small, costs=costs) > 1.3 * rate(shape=large, costs=costs)


def test_larger_memtables_never_make_a_level_tree_slower() -> None:
    """Fewer, larger files in level 0: each merge into level 1 carries more."""
    options = [{"write_buffer_bytes": mib * MIB} for mib in (16, 64, 256)]
    rates = [
        rate(options=option, costs={"flush_user_bytes": 0.98 * option["write_buffer_bytes"]})
        for option in options
    ]
    assert rates[0] < rates[1] < rates[2]


def test_an_empty_database_has_a_rate() -> None:
    """Nothing to merge with yet; the number is for this size, which is none."""
    found = simulate(model_inputs(shape=TreeShape((), ())))
    assert found.puts_per_second > rate()


def test_universal_compaction_counts_sorted_runs() -> None:
    """Its stalls come from runs, and nothing is ever pending in RocksDB's estimate."""
    found = simulate(model_inputs(options={"style": "universal"}))
    assert found.pending_compaction_bytes_end == 0.0
    assert 4 <= found.level0_files_mean < 24


def test_the_budget_of_events_is_kept_and_told() -> None:
    """A run that was cut short says so."""
    found = simulate(model_inputs(), max_events=50)
    assert 20 < found.events <= 50
    assert not found.converged


def test_the_simulator_is_deterministic() -> None:
    """Same inputs, same answer: replays are reproducible."""
    assert simulate(model_inputs()) == simulate(model_inputs())


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"host": {"device_write_bytes_per_second": 0.0}}, "device_write_bytes_per_second"),
        ({"host": {"cpu_cores": math.nan}}, "cpu_cores"),
        ({"costs": {"record_bytes": -1.0}}, "record_bytes"),
        ({"costs": {"flush_user_bytes": math.inf}}, "flush_user_bytes"),
    ],
)
def test_inputs_without_sense_are_refused(changes: dict[str, object], name: str) -> None:
    """With the name of the input."""
    with pytest.raises(ValueError, match=name):
        simulate(model_inputs(**changes))  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(
    style=st.sampled_from(["level", "universal"]),
    dynamic=st.booleans(),
    bandwidth=st.floats(5e6, 3e9),
    memtable_mib=st.sampled_from([1, 8, 64, 256]),
    slots=st.integers(1, 16),
    flushes=st.integers(1, 4),
    memtables=st.integers(1, 8),
    trigger=st.integers(1, 8),
    overlap=st.floats(0.0, 1.0),
    ratio=st.floats(0.1, 1.1),
    levels=st.lists(st.floats(0.0, 5e10), max_size=7),
)
def test_any_tree_gives_a_finite_rate_within_the_device(
    style: str,
    dynamic: bool,
    bandwidth: float,
    memtable_mib: int,
    slots: int,
    flushes: int,
    memtables: int,
    trigger: int,
    overlap: float,
    ratio: float,
    levels: list[float],
) -> None:
    """No options and no shape make it hang, divide by zero or write more than the device takes."""
    found = simulate(
        model_inputs(
            options={
                "style": style,
                "level_compaction_dynamic_level_bytes": dynamic,
                "write_buffer_bytes": memtable_mib * MIB,
                "max_background_compactions": slots,
                "max_background_flushes": flushes,
                "max_write_buffer_number": memtables,
                "level0_file_num_compaction_trigger": trigger,
            },
            costs={
                "flush_user_bytes": 0.97 * memtable_mib * MIB,
                "overlap_ratio": overlap,
                "merge_into_last_output_ratio": ratio,
            },
            host={"device_write_bytes_per_second": bandwidth},
            shape=TreeShape(tuple(levels), tuple(math.ceil(size / (64 * MIB)) for size in levels)),
        ),
        max_events=1500,
    )
    assert 0.0 <= found.puts_per_second <= bandwidth / 1000.0
    assert found.utilization["device_write"] <= 1.01
    assert 0.0 <= found.stopped_ratio + found.delayed_ratio <= 1.0 + 1e-9


def wide(least: float, most: float) -> st.SearchStrategy[float]:
    """Evenly over the orders of magnitude."""
    return st.floats(math.log(least), math.log(most)).map(math.exp)


OPTIONS = st.fixed_dictionaries(
    {
        "style": st.sampled_from(["level", "universal"]),
        "max_write_buffer_number": st.integers(2, 8),
        "min_write_buffer_number_to_merge": st.integers(1, 3),
        "level0_file_num_compaction_trigger": st.integers(1, 10),
        "level0_slowdown_writes_trigger": st.integers(10, 60),
        "level0_stop_writes_trigger": st.integers(60, 100),
        "soft_pending_compaction_bytes_limit": wide(1e6, 1e12),
        "hard_pending_compaction_bytes_limit": wide(1e7, 1e13),
        "num_levels": st.integers(2, 12),
        "max_bytes_for_level_base": wide(1e5, 1e11),
        "max_bytes_for_level_multiplier": wide(1.0, 50.0),
        "level_compaction_dynamic_level_bytes": st.booleans(),
        "target_file_size_base": wide(1e5, 1e10),
        "target_file_size_multiplier": st.sampled_from([1.0, 2.0]),
        "max_background_flushes": st.integers(1, 8),
        "max_background_compactions": st.integers(1, 32),
        "max_subcompactions": st.integers(1, 16),
        "rate_limiter_bytes_per_second": st.none() | wide(1e5, 1e10),
        "wal_enabled": st.booleans(),
    }
)
COSTS = st.fixed_dictionaries(
    {
        "record_bytes": wide(1.0, 1e6),
        "wal_bytes_per_put": wide(1.0, 1e8),
        "flush_user_bytes": wide(1e4, 4e9),
        "flush_output_ratio": st.just(0.0) | wide(1e-3, 2.0),
        "merge_into_last_output_ratio": wide(1e-3, 1.0),
        "overlap_ratio": st.floats(0.0, 1.0),
        "flush_cpu_seconds_per_byte": st.just(0.0) | wide(1e-11, 1e-6),
        "compaction_cpu_seconds_per_byte": st.just(0.0) | wide(1e-11, 1e-6),
        "foreground_cpu_seconds_per_put": st.just(0.0) | wide(1e-8, 1e-2),
        "writer_seconds_per_put": st.just(0.0) | wide(1e-8, 1e-2),
        "key_space_bytes": st.none() | wide(1e3, 1e18),
    }
)
HOST = st.fixed_dictionaries(
    {
        "device_write_bytes_per_second": wide(1e4, 1e11),
        "device_read_bytes_per_second": st.none() | wide(1e4, 1e11),
        "cpu_cores": wide(0.05, 512.0),
    }
)
SHAPE = st.lists(
    st.tuples(st.just(0.0) | wide(1.0, 1e13), st.integers(0, 500)), min_size=1, max_size=7
).map(lambda levels: TreeShape(tuple(b for b, _ in levels), tuple(f for _, f in levels)))


@settings(max_examples=60, deadline=None)
@given(options=OPTIONS, costs=COSTS, host=HOST, shape=SHAPE)
def test_no_resource_is_ever_used_beyond_what_it_has(
    options: dict[str, object],
    costs: dict[str, object],
    host: dict[str, object],
    shape: TreeShape,
) -> None:
    """Whatever is scarce, however much: no core, byte or slot comes out of thin air."""
    inputs = model_inputs(options=options, costs=costs, host=host, shape=shape)
    found = simulate(inputs, max_events=400)
    assert found.events <= 400
    assert math.isfinite(found.puts_per_second)
    assert found.puts_per_second > 0.0 or found.stopped_ratio == pytest.approx(1.0)
    assert {
        name: used for name, used in found.utilization.items() if not 0.0 <= used <= 1.001
    } == {}


NUMBERS: st.SearchStrategy[float] = st.floats() | wide(1e-300, 1e300)


@settings(max_examples=150, deadline=None)
@given(
    part=st.sampled_from(["options", "costs", "host"]),
    data=st.data(),
)
def test_a_number_without_sense_is_a_value_error_or_has_an_answer(
    part: str, data: st.DataObject
) -> None:
    """Infinity, nothing, negative or beyond what can be calculated with: nothing else escapes."""
    kind = {"options": TreeOptions, "costs": TreeCosts, "host": HostShare}[part]
    numbers = sorted(
        name for name, hint in typing.get_type_hints(kind).items() if hint in (float, float | None)
    )
    changes = data.draw(st.dictionaries(st.sampled_from(numbers), NUMBERS, min_size=1, max_size=3))
    try:
        found = simulate(model_inputs(**{part: changes}), max_events=200)  # type: ignore[arg-type]
    except ValueError:
        return
    assert math.isfinite(found.puts_per_second)
    assert all(0.0 <= used <= 1.001 for used in found.utilization.values())


def test_syncs_of_the_log_bound_the_rate() -> None:
    """One write group after the other waits for its sync: 0.5 ms a put are 2000 puts/s at most."""
    found = simulate(model_inputs(costs={"wal_sync_seconds_per_put": 0.5e-3}))
    assert found.puts_per_second == pytest.approx(2000.0, rel=0.03)
    assert bottleneck(found) == "wal_sync"
