"""Frozen dataclasses to JSON trees and back, whole or as the difference to an earlier value.

Driven by the type hints alone: ``Codec(Findings)`` knows every sample that findings can hold, and
a field that a sample gains tomorrow without being told. Understood are scalars, Literal,
``tuple[X, ...]``, ``tuple[X, Y]``, Mapping, dataclasses (generic ones too, such as ``Known[T]``),
msgspec Structs, and unions of these.

As trees: a scalar is itself, a dataclass an object by field name, a tuple a list, a mapping
``{"keys": [...], "values": [...]}``; in a union, what is no scalar is ``[class name, tree]``.
As differences, where nothing changed there is no tree, else: an object holds only the fields that
changed; a tuple is ``{"drop": n, "edit": [[index, difference], ...], "add": [...]}`` in this order,
so that a sliding window of events costs its new events only, each as the difference to the one
before it; a mapping with the same keys ``[[position, difference], ...]``; a union that kept its
member ``[difference]``. Where no difference pays, the tree itself stands: it is one to any value.

A field that a tree lacks was not known to its writer: it takes its default, else the stand-in of
its type, else None, where it may be None or the codec is ``lenient``; else the tree is malformed. A
field that is not known here is left out.
"""

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, cast

import msgspec

from agent.recording._collections import FixedTupleNode, MappingNode, SequenceNode
from agent.recording._nodes import SCALARS, Field, RecordNode, ScalarNode, UnionNode
from agent.recording._trees import NOTHING, Malformed, Node, Tree

__all__ = ["Codec", "Malformed", "Tree"]

_Hint = Any
_UNIONS = (types.UnionType, typing.Union)
T = TypeVar("T")


class Codec(typing.Generic[T]):
    """Trees of one type. TypeError for a hint that no tree is known for.

    ``stand_ins`` are taken for fields that a tree lacks and that have no default, where the
    field's union has a member of their class. ``lenient`` makes all others None, whatever their
    type: for readers who would rather miss what a later version added than the whole tree.
    """

    def __init__(
        self, kind: type[T], stand_ins: tuple[object, ...] = (), *, lenient: bool = False
    ) -> None:
        self._node = _node(kind, {}, _Absences(stand_ins, lenient))

    def full(self, value: T) -> Tree:
        """The whole value."""
        return self._node.full(value)

    def change(self, old: T, new: T) -> Tree:
        """The difference; an empty object when there is none."""
        tree = self._node.change(old, new)
        return {} if tree is NOTHING else tree

    def load(self, tree: Tree) -> T:
        """The value of a whole tree; Malformed."""
        return cast(T, self._node.load(tree))

    def apply(self, old: T, tree: Tree) -> T:
        """``old`` with a difference applied; Malformed."""
        return cast(T, self._node.apply(old, tree))


@dataclasses.dataclass(frozen=True, slots=True)
class _Absences:
    """What is taken for fields that a tree lacks and that have no default."""

    stand_ins: tuple[object, ...]
    lenient: bool

    def of(self, hint: _Hint) -> object:
        """For a field of this type; NOTHING where a tree must not lack it."""
        members = _members(hint)
        absent = None if self.lenient or type(None) in members else NOTHING
        return next((value for value in self.stand_ins if type(value) in members), absent)


def _node(hint: _Hint, substituted: dict[Any, _Hint], absences: _Absences) -> Node:
    """The node of a type hint; ``substituted`` gives the type variables their types."""
    if isinstance(hint, TypeVar):
        return _node(substituted[hint], {}, absences)
    origin, arguments = _parts(hint)
    if hint in SCALARS:
        return ScalarNode([hint])
    if origin is Literal:
        return ScalarNode(map(type, arguments))
    if origin in _UNIONS:
        return _union(arguments, substituted, absences)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return SequenceNode(_node(arguments[0], substituted, absences))
        return FixedTupleNode(tuple(_node(entry, substituted, absences) for entry in arguments))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key, value = (_node(entry, substituted, absences) for entry in arguments)
        return MappingNode(key, value)
    kind = hint if origin is None else origin
    if isinstance(kind, type) and (
        dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct)
    ):
        given = dict(zip(getattr(kind, "__parameters__", ()), arguments, strict=False))
        inner = {name: substituted.get(hint, hint) for name, hint in given.items()}
        return RecordNode(kind, _fields(kind, inner, absences))
    raise TypeError(f"no tree is known for {hint!r}")


def _union(
    arguments: tuple[_Hint, ...], substituted: dict[Any, _Hint], absences: _Absences
) -> Node:
    scalars: list[type] = []
    members: dict[type, Node] = {}
    for argument in arguments:
        origin, inner = _parts(argument)
        if argument in SCALARS:
            scalars.append(argument)
        elif origin is Literal:
            scalars += map(type, inner)
        else:
            kind = _class_of(argument)
            if kind in members:
                raise TypeError(f"two members of a union are both {kind.__name__}")
            members[kind] = _node(argument, substituted, absences)
    if not members:
        return ScalarNode(scalars)
    return UnionNode(ScalarNode(scalars) if scalars else None, members)


def _members(hint: _Hint) -> tuple[_Hint, ...]:
    origin, arguments = _parts(hint)
    return arguments if origin in _UNIONS else (hint,)


def _parts(hint: _Hint) -> tuple[Any, tuple[_Hint, ...]]:
    return typing.get_origin(hint), typing.get_args(hint)


def _class_of(hint: _Hint) -> type:
    kind = _parts(hint)[0] or hint
    if not isinstance(kind, type):
        raise TypeError(f"no tree is known for {hint!r} in a union")
    return kind


def _fields(kind: type, substituted: dict[Any, _Hint], absences: _Absences) -> tuple[Field, ...]:
    hints = typing.get_type_hints(kind)
    return tuple(
        Field(
            name,
            _node(hints[name], substituted, absences),
            absences.of(substituted.get(hints[name], hints[name]))
            if default is NOTHING
            else default,
            factory,
        )
        for name, default, factory in _defaults(kind)
    )


def _defaults(kind: Any) -> Iterable[tuple[str, object, Any]]:  # noqa: ANN401 - of two families
    """Name, default (or NOTHING) and factory (or None) of every field."""
    if dataclasses.is_dataclass(kind):
        for field in dataclasses.fields(kind):
            missing = field.default is dataclasses.MISSING
            factory = field.default_factory
            yield (
                field.name,
                NOTHING if missing else field.default,
                None if factory is dataclasses.MISSING else factory,
            )
        return
    for entry in msgspec.structs.fields(kind):
        missing = entry.default is msgspec.NODEFAULT
        factory = entry.default_factory
        yield (
            entry.name,
            NOTHING if missing else entry.default,
            None if factory is msgspec.NODEFAULT else factory,
        )
