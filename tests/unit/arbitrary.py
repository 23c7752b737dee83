"""Arbitrary values of a type, out of its hints alone: every sample that findings can hold."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st

ODD_TEXT = st.text(st.characters(), max_size=8)
"""Also what no valid UTF-8 is: a path can be any bytes."""


def values_of(hint: Any, substituted: Mapping[Any, Any] | None = None) -> st.SearchStrategy[Any]:
    """A strategy for the type ``hint``; tuples and mappings are short."""
    given = substituted or {}
    origin: Any = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if isinstance(hint, TypeVar):
        return values_of(given[hint])
    if hint is float:
        return st.floats(allow_nan=False)
    if hint is str:
        return ODD_TEXT
    if hint in (int, bool, type(None)):
        return {int: st.integers(), bool: st.booleans(), type(None): st.none()}[hint]
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*(values_of(member, given) for member in arguments))
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values_of(arguments[0], given), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(values_of(member, given) for member in arguments))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key, value = (values_of(argument, given) for argument in arguments)
        return st.dictionaries(key, value, max_size=2)
    kind = origin or hint
    assert isinstance(kind, type), hint
    inner = dict(zip(getattr(kind, "__parameters__", ()), arguments, strict=False))
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{name: values_of(hints[name], inner) for name in _fields(kind)})


def _fields(kind: type) -> tuple[str, ...]:
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_fields__
    assert dataclasses.is_dataclass(kind), kind
    return tuple(field.name for field in dataclasses.fields(kind))
