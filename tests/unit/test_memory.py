"""What was learned, written down and read again."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.learning.labels import Label, PredictionBefore
from agent.learning.memory import (
    KEPT_SECONDS,
    MAX_ENTRIES,
    CapacityMemory,
    DatabaseMemory,
    DeviceIdentity,
    DeviceMemory,
    LearnedState,
    ProbingMemory,
    RunsMemory,
    decode,
    encode,
    pruned,
)
from agent.versioned import DamagedState

DEVICE = DeviceIdentity("sda", 512_110_190_592, "Samsung SSD 970")
POSITIVE = st.floats(1e-3, 1e9)


def predictions() -> st.SearchStrategy[PredictionBefore]:
    return st.builds(
        PredictionBefore,
        model=st.sampled_from(["v4", "bottleneck"]),
        raw=POSITIVE,
        log_half_width=st.none() | POSITIVE,
        published=POSITIVE,
        lower=st.floats(1e-3, 1.0),
        upper=st.floats(2.0, 1e6),
        verified=st.booleans(),
    )


LABELS = st.builds(
    Label,
    started_wall_seconds=POSITIVE,
    ended_wall_seconds=POSITIVE,
    kind=st.sampled_from(["stop", "delay", "cpu", "ceiling", "floor"]),
    puts_per_second=POSITIVE,
    log_uncertainty=st.floats(0.01, 1.0),
    closed=st.booleans(),
    options_key=st.text(max_size=16),
    device_key=st.text(max_size=16),
    predictions=st.lists(predictions(), max_size=4).map(tuple),
)


def database(path: str = "/db", seen: float = 1.7e9, *labels: Label) -> DatabaseMemory:
    return DatabaseMemory(
        path=path,
        device=DEVICE,
        options_key="o",
        labels=labels,
        episodes_total=3,
        recommended="bottleneck",
        seen_wall_seconds=seen,
    )


def probed(seen: float = 1.7e9) -> ProbingMemory:
    capacity = CapacityMemory(1e8, 0.1, True, "fio", 1.6e9)
    return ProbingMemory(DEVICE, capacity, RunsMemory(True, 2, "aborted", 1.65e9, 1.66e9), seen)


@given(st.lists(LABELS, max_size=5))
def test_what_is_written_is_read_again(labels: list[Label]) -> None:
    """Every field, exactly."""
    state = LearnedState(
        saved_wall_seconds=1.7e9,
        databases=(database("/db", 1.7e9, *labels),),
        devices=(DeviceMemory(DEVICE, 1e8, 1.6e9, 1.7e9),),
        probing=(probed(),),
    )
    assert decode(encode(state)) == state


def test_a_file_of_before_runs_were_kept_is_read() -> None:
    """What is new in it is empty."""
    state = LearnedState(devices=(DeviceMemory(DEVICE, 1e8, 1.6e9, 1.7e9),))
    raw = encode(state)
    assert b',"probing":[]' in raw
    assert decode(raw.replace(b',"probing":[]', b"")) == state


@pytest.mark.parametrize(
    ("capacity", "fruitless"),
    [
        (CapacityMemory(0.0, None, False, "fio", 1.6e9), 0),
        (CapacityMemory(1e99, None, False, "fio", 1.6e9), 0),
        (CapacityMemory(1e8, -0.1, False, "fio", 1.6e9), 0),
        (None, -1),
    ],
)
def test_a_measurement_or_a_count_that_cannot_be_is_damage(
    capacity: CapacityMemory | None, fruitless: int
) -> None:
    """It would be published."""
    entry = ProbingMemory(DEVICE, capacity, RunsMemory(fruitless=fruitless), 1.7e9)
    with pytest.raises(DamagedState, match="sda"):
        decode(encode(LearnedState(probing=(entry,))))


def test_a_moment_before_the_clock_was_set_back_has_no_age() -> None:
    """Also where it lies before the moment itself."""
    entry = probed()
    assert entry.age_seconds(1.6e9, 1.7e9 + 60.0) == 1e8 + 60.0
    assert entry.age_seconds(1.6e9, 1.7e9 - 1.0) is None
    assert entry.age_seconds(1.8e9, 1.75e9) is None


@given(st.binary(max_size=300))
def test_anything_else_is_damaged(raw: bytes) -> None:
    """And never another error."""
    with pytest.raises(DamagedState):
        decode(raw)


@given(st.integers(0, 400))
def test_a_file_cut_short_is_damaged(length: int) -> None:
    """The crash of another program, or a full disk."""
    whole = encode(LearnedState(databases=(database(),)))
    if length < len(whole) - 1:
        with pytest.raises(DamagedState):
            decode(whole[:length])


def test_another_version_is_told_from_damage() -> None:
    """It says which."""
    with pytest.raises(DamagedState, match="version 2"):
        decode(b'{"version":2,"something":"else"}')


def test_a_field_of_a_later_program_is_ignored() -> None:
    """Fields are only added within a version."""
    raw = encode(LearnedState())
    assert decode(raw[:-2] + b',"new":1}') == LearnedState()


@pytest.mark.parametrize("rate", ["0", "-5"])
def test_a_rate_that_cannot_be_is_damage(rate: str) -> None:
    """It would enter a logarithm."""
    label = Label(1.0, 2.0, "stop", 77.0, 0.05, True, "o", "d", ())
    raw = encode(LearnedState(databases=(database("/db", 1.7e9, label),)))
    with pytest.raises(DamagedState, match="positive"):
        decode(raw.replace(b"77.0", rate.encode()))


def test_an_interval_that_is_none_is_damage() -> None:
    """Lower above upper."""
    p = PredictionBefore("v4", 1.0, None, 1.0, 3.0, 2.0, False)
    label = Label(1.0, 2.0, "stop", 77.0, 0.05, True, "o", "d", (p,))
    with pytest.raises(DamagedState, match="interval"):
        decode(encode(LearnedState(databases=(database("/db", 1.7e9, label),))))


def test_a_device_is_known_by_model_and_size() -> None:
    """Kernels hand out names anew at every boot."""
    assert DEVICE.key == DeviceIdentity("sdb", DEVICE.size_bytes, DEVICE.model).key
    assert DEVICE.key != DeviceIdentity("sda", DEVICE.size_bytes * 2, DEVICE.model).key
    assert DeviceIdentity("vda", 1).key != DeviceIdentity("vdb", 1).key


def test_what_was_not_seen_for_long_is_forgotten() -> None:
    """Half a year."""
    now = 2e9
    state = LearnedState(
        databases=(database("/old", now - KEPT_SECONDS - 1), database("/new", now - 60)),
        devices=(DeviceMemory(DEVICE, 1e8, 1e9, now - KEPT_SECONDS - 1),),
        probing=(probed(now - KEPT_SECONDS - 1), probed(now - 60)),
    )
    kept = pruned(state, now)
    assert [entry.path for entry in kept.databases] == ["/new"]
    assert (kept.devices, kept.probing) == ((), (probed(now - 60),))


def test_the_number_of_databases_is_bounded() -> None:
    """The oldest go first."""
    many = tuple(database(f"/{n}", 1.7e9 + n) for n in range(MAX_ENTRIES + 5))
    kept = pruned(LearnedState(databases=many), 1.7e9 + 1000)
    assert len(kept.databases) == MAX_ENTRIES
    assert kept.databases[0].path == "/5"


def test_not_a_number_does_not_come_back() -> None:
    """JSON has none: msgspec writes null, which is no rate."""
    label = Label(1.0, 2.0, "stop", math.nan, 0.05, True, "o", "d", ())
    with pytest.raises(DamagedState):
        decode(encode(LearnedState(databases=(database("/db", 1.7e9, label),))))
    assert msgspec.json.encode(math.nan) == b"null"


@pytest.mark.parametrize("value", ["1e308", "1e-308"])
def test_a_rate_that_was_never_measured_is_damage(value: str) -> None:
    """The quotient of two such leaves the numbers, in every tick."""
    label = Label(1.0, 2.0, "stop", 77.0, 0.05, True, "o", "d", ())
    raw = encode(LearnedState(databases=(database("/db", 1.7e9, label),)))
    with pytest.raises(DamagedState, match="can be"):
        decode(raw.replace(b"77.0", value.encode()))
    with pytest.raises(DamagedState, match="uncertainty"):
        decode(raw.replace(b"0.05", value.encode()))


def test_a_file_nested_without_end_is_damaged() -> None:
    """Not a RecursionError, which would end the daemon's start."""
    with pytest.raises(DamagedState):
        decode(b'{"version":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_a_path_that_is_no_utf8_costs_its_own_entry_only() -> None:
    """JSON cannot hold it; the others are kept."""
    state = LearnedState(databases=(database("/\udcff"), database("/db")))
    assert [entry.path for entry in decode(encode(state)).databases] == ["/db"]
