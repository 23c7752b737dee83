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
    Damaged,
    DatabaseMemory,
    DeviceIdentity,
    DeviceMemory,
    LearnedState,
    UnknownVersion,
    decode,
    encode,
    pruned,
)

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


@given(st.lists(LABELS, max_size=5))
def test_what_is_written_is_read_again(labels: list[Label]) -> None:
    """Every field, exactly."""
    state = LearnedState(
        saved_wall_seconds=1.7e9,
        databases=(database("/db", 1.7e9, *labels),),
        devices=(DeviceMemory(DEVICE, 1e8, 1.6e9, 1.7e9),),
    )
    assert decode(encode(state)) == state


@given(st.binary(max_size=300))
def test_anything_else_is_damaged(raw: bytes) -> None:
    """And never another error."""
    with pytest.raises(Damaged):
        decode(raw)


@given(st.integers(0, 400))
def test_a_file_cut_short_is_damaged(length: int) -> None:
    """The crash of another program, or a full disk."""
    whole = encode(LearnedState(databases=(database(),)))
    if length < len(whole) - 1:
        with pytest.raises(Damaged):
            decode(whole[:length])


def test_another_version_is_told_from_damage() -> None:
    """It says which."""
    with pytest.raises(UnknownVersion, match="version 2"):
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
    with pytest.raises(Damaged, match="positive"):
        decode(raw.replace(b"77.0", rate.encode()))


def test_an_interval_that_is_none_is_damage() -> None:
    """Lower above upper."""
    p = PredictionBefore("v4", 1.0, None, 1.0, 3.0, 2.0, False)
    label = Label(1.0, 2.0, "stop", 77.0, 0.05, True, "o", "d", (p,))
    with pytest.raises(Damaged, match="interval"):
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
    )
    kept = pruned(state, now)
    assert [entry.path for entry in kept.databases] == ["/new"]
    assert kept.devices == ()


def test_the_number_of_databases_is_bounded() -> None:
    """The oldest go first."""
    many = tuple(database(f"/{n}", 1.7e9 + n) for n in range(MAX_ENTRIES + 5))
    kept = pruned(LearnedState(databases=many), 1.7e9 + 1000)
    assert len(kept.databases) == MAX_ENTRIES
    assert kept.databases[0].path == "/5"


def test_not_a_number_does_not_come_back() -> None:
    """JSON has none: msgspec writes null, which is no rate."""
    label = Label(1.0, 2.0, "stop", math.nan, 0.05, True, "o", "d", ())
    with pytest.raises(Damaged):
        decode(encode(LearnedState(databases=(database("/db", 1.7e9, label),))))
    assert msgspec.json.encode(math.nan) == b"null"


@pytest.mark.parametrize("value", ["1e308", "1e-308"])
def test_a_rate_that_was_never_measured_is_damage(value: str) -> None:
    """The quotient of two such leaves the numbers, in every tick."""
    label = Label(1.0, 2.0, "stop", 77.0, 0.05, True, "o", "d", ())
    raw = encode(LearnedState(databases=(database("/db", 1.7e9, label),)))
    with pytest.raises(Damaged, match="can be"):
        decode(raw.replace(b"77.0", value.encode()))
    with pytest.raises(Damaged, match="uncertainty"):
        decode(raw.replace(b"0.05", value.encode()))


def test_a_file_nested_without_end_is_damaged() -> None:
    """Not a RecursionError, which would end the daemon's start."""
    with pytest.raises(Damaged):
        decode(b'{"version":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_a_path_that_is_no_utf8_costs_its_own_entry_only() -> None:
    """JSON cannot hold it; the others are kept."""
    state = LearnedState(databases=(database("/\udcff"), database("/db")))
    assert [entry.path for entry in decode(encode(state)).databases] == ["/db"]
