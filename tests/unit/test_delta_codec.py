"""Trees and differences of frozen dataclasses: exact, compact, and readable by later versions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass, replace
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.readings import Known, Missing
from agent.recording.codec import Codec, Malformed
from tests.unit.arbitrary import values_of

NOT_RECORDED = Missing("not_recorded", "made before this was read")


@dataclass(frozen=True, slots=True)
class Event:
    number: int
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    at: float
    name: str
    mode: Literal["fast", "slow"]
    events: tuple[Event, ...]
    span: tuple[int, float]
    sizes: tuple[int, ...] | None
    by_place: Mapping[tuple[str, str], Event]
    latest: Event | None
    reading: Known[tuple[Event, ...]] | Missing
    quantity: Known[float] | Missing


class Setting(msgspec.Struct, frozen=True):
    limit: float
    names: tuple[str, ...] = ()


def through_json(tree: Any) -> Any:
    return json.loads(json.dumps(tree))


def a_reading(**changes: Any) -> Reading:
    reading = Reading(
        at=1.0,
        name="wal",
        mode="fast",
        events=(Event(1), Event(2, 0.5)),
        span=(1, 2.0),
        sizes=None,
        by_place={("a", "b"): Event(3)},
        latest=None,
        reading=Known((Event(4),), "log", 0.5),
        quantity=NOT_RECORDED,
    )
    return replace(reading, **changes)


@given(values_of(Reading))
def test_a_whole_value_comes_back_from_its_tree(reading: Reading) -> None:
    """Whatever the fields hold, names that are no UTF-8 and infinities included."""
    codec = Codec(Reading)

    assert reading == codec.load(through_json(codec.full(reading)))


@given(values_of(Reading), values_of(Reading), st.sets(st.sampled_from(Reading.__slots__)))
def test_a_difference_makes_the_new_value_out_of_the_old(
    old: Reading, other: Reading, changed: set[str]
) -> None:
    """Any fields may change, to anything, also to a value of another kind."""
    codec = Codec(Reading)
    new = replace(old, **{name: getattr(other, name) for name in changed})

    assert new == codec.apply(old, through_json(codec.change(old, new)))


@given(st.lists(st.integers(0, 3)).map(tuple), st.lists(st.integers(0, 3)).map(tuple))
def test_any_tuple_becomes_any_other(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    """Dropped, edited and added entries are told apart also where entries repeat."""
    codec = Codec(Reading)
    before, after = a_reading(sizes=old), a_reading(sizes=new)

    assert after == codec.apply(before, through_json(codec.change(before, after)))


def test_nothing_changed_is_an_empty_object() -> None:
    """Equal values cost nothing, whether they are the same object or not."""
    codec = Codec(Reading)

    assert codec.change(a_reading(), a_reading()) == {}


def test_only_the_changed_fields_are_in_a_difference() -> None:
    """Of a reading that was repeated, only its time."""
    before = a_reading()
    after = a_reading(at=2.0, reading=Known((Event(4),), "log", 1.5))

    assert Codec(Reading).change(before, after) == {"at": 2.0, "reading": [{"at": 1.5}]}


def test_a_sliding_window_costs_its_new_events_only() -> None:
    """Events are immutable: those that stay are not written again."""
    old = a_reading(events=tuple(map(Event, range(100))))
    new = replace(old, events=(*old.events[2:], Event(100)))

    assert Codec(Reading).change(old, new) == {"events": {"drop": 2, "add": [{"number": 100}]}}


def test_entries_that_change_in_place_cost_their_own_difference() -> None:
    """As the counters of disks do from tick to tick."""
    old = a_reading()
    new = replace(old, events=(old.events[0], replace(old.events[1], seconds=0.75)))

    assert Codec(Reading).change(old, new) == {"events": {"edit": [[1, {"seconds": 0.75}]]}}


def test_a_mapping_keeps_the_order_of_its_keys() -> None:
    """Decisions that go through a mapping must meet the same order in a replay."""
    codec = Codec(Reading)
    old = a_reading(by_place={("a", "b"): Event(1), ("c", "d"): Event(2)})
    new = a_reading(by_place={("c", "d"): Event(2), ("a", "b"): Event(1)})

    assert list(new.by_place) == list(codec.apply(old, codec.change(old, new)).by_place)


def test_a_struct_is_a_record_like_any_other() -> None:
    """The configuration is one."""
    codec = Codec(Setting)

    assert Setting(0.5, ("a",)) == codec.load({"limit": 0.5, "names": ["a"], "gone": 1})
    assert Setting(0.5) == codec.load({"limit": 0.5})


def test_fields_that_a_tree_lacks_take_default_stand_in_or_none() -> None:
    """In this order; fields that are not known any more are left out."""
    later: Any = make_dataclass(
        "later",
        [
            ("at", float),
            ("reading", "Known[float] | Missing"),
            ("ratio", "float | None"),
            ("count", int, 7),
            ("names", "tuple[str, ...]", field(default_factory=lambda: ("a",))),
        ],
        frozen=True,
        namespace={"__module__": __name__},
    )

    loaded = Codec(later, stand_ins=(NOT_RECORDED,)).load({"at": 1.0, "gone": [1]})

    assert later(1.0, NOT_RECORDED, None, 7, ("a",)) == loaded


def test_a_field_that_must_not_be_none_must_not_be_lacking() -> None:
    """It is refused with its place, unless its reader would rather go on without it."""
    tree = {"value": [{"seconds": 0.5}], "source": "log", "at": 1.0}

    with pytest.raises(Malformed, match=r"^value\[0\]\.number: is missing$"):
        Codec(Known[tuple[Event, ...]]).load(tree)

    event: Any = Codec(Known[tuple[Event, ...]], lenient=True).load(tree).value[0]
    assert (event.number, event.seconds) == (None, 0.5)


def test_a_difference_of_an_older_writer_keeps_what_it_does_not_know() -> None:
    """A recording of before is a whole tree and then differences, none with the new field."""
    codec = Codec(Event)
    loaded = codec.load({"number": 1})

    assert Event(2, None) == codec.apply(loaded, {"number": 2, "gone": True})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"at": "soon"}, "at: a string where a number belongs"),
        ({"name": None}, "name: null where a string belongs"),
        ({"events": {"drop": 3}}, "events: drops 3 of 2"),
        ({"events": {"drop": -1}}, "events: drops -1 of 2"),
        ({"events": {"edit": [[2, {}]]}}, "events: an edit of entry 2 of 2"),
        ({"events": {"edit": [[0, {"number": "x"}]]}}, "events[0].number: a string where a number"),
        ({"events": {"edit": [[0]]}}, "events: an edit that is no index with its difference"),
        ({"span": [1]}, "span: 1 values where 2 belong"),
        ({"reading": ["Unheard", {}]}, "reading: a 'Unheard', which this version does not know"),
        ({"reading": 3}, "reading: a number where Known or Missing belongs"),
        (
            {"reading": [{"value": {"edit": [[0, 5]]}}]},
            "reading.value[0]: a number where an object",
        ),
        ({"latest": [{"number": 1}]}, "latest: a difference to a value that is not there"),
        ({"by_place": {"keys": [], "values": [1]}}, "by_place: 0 keys and 1 values"),
        ([], "a list where an object belongs"),
    ],
)
def test_a_tree_that_does_not_fit_is_refused_with_its_place(change: Any, message: str) -> None:
    """A damaged recording says where, and never becomes a wrong number."""
    with pytest.raises(Malformed) as refused:
        Codec(Reading).apply(a_reading(), change)

    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("hint", [set[int], object, "Event | set[int]"])
def test_a_type_without_a_tree_is_refused_before_anything_is_recorded(hint: Any) -> None:
    """So a sample that gains such a field is found by the first test, not by an operator."""
    odd = make_dataclass("odd", [("value", hint)], namespace={"__module__": __name__})

    with pytest.raises(TypeError, match="no tree is known"):
        Codec(odd)
