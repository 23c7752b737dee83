"""The nodes of the delta codec: one per kind of type, each with a tree and a difference.

See ``agent.recording.codec`` for the trees, and ``_collections`` for tuples and mappings. A node is
asked only for values of its own type.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Final

from agent.recording._trees import (
    NOTHING,
    WORDS,
    Malformed,
    Node,
    Tree,
    Value,
    as_object,
    at,
    kind_of,
)

SCALARS: Final = (str, int, float, bool, type(None))


class ScalarNode:
    """What JSON holds as it is."""

    def __init__(self, kinds: Iterable[type]) -> None:
        accepted = set(kinds)
        if accepted & {int, float}:
            accepted |= {int, float}  # JSON knows one kind of number
        self._kinds = frozenset(accepted)

    def full(self, value: Value) -> Tree:
        return value

    def change(self, old: Value, new: Value) -> Tree:
        return NOTHING if old == new else new

    def load(self, tree: Tree) -> Value:
        if type(tree) not in self._kinds:
            raise Malformed(f"{kind_of(tree)} where {_names(self._kinds)} belongs")
        return tree

    def apply(self, old: Value, tree: Tree) -> Value:
        del old
        return self.load(tree)


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One field of a record, and what stands for it in a tree of before its time, if anything."""

    name: str
    node: Node
    default: object
    default_factory: Callable[[], object] | None

    def absent(self) -> object:
        """The value of a field that the tree lacks; Malformed where it must not lack it."""
        if self.default_factory is not None:
            return self.default_factory()
        if self.default is NOTHING:
            raise Malformed("is missing")
        return self.default


class RecordNode:
    """A dataclass or a Struct."""

    def __init__(self, kind: Callable[..., object], fields: tuple[Field, ...]) -> None:
        self._kind = kind
        self._fields = fields

    def full(self, value: Value) -> Tree:
        return {field.name: field.node.full(getattr(value, field.name)) for field in self._fields}

    def change(self, old: Value, new: Value) -> Tree:
        if old is new:
            return NOTHING
        tree = {}
        for field in self._fields:
            before, after = getattr(old, field.name), getattr(new, field.name)
            if before is not after:
                change = field.node.change(before, after)
                if change is not NOTHING:
                    tree[field.name] = change
        return tree or NOTHING

    def load(self, tree: Tree) -> Value:
        tree = as_object(tree)
        return self._kind(
            **{
                field.name: (
                    at("." + field.name, field.node.load, tree[field.name])
                    if field.name in tree
                    else at("." + field.name, field.absent)
                )
                for field in self._fields
            }
        )

    def apply(self, old: Value, tree: Tree) -> Value:
        tree = as_object(tree)
        return self._kind(
            **{
                field.name: (
                    at(
                        "." + field.name,
                        field.node.apply,
                        getattr(old, field.name),
                        tree[field.name],
                    )
                    if field.name in tree
                    else getattr(old, field.name)
                )
                for field in self._fields
            }
        )


class UnionNode:
    """Scalars as they are; other members by the name of their class."""

    def __init__(self, scalar: ScalarNode | None, members: dict[type, Node]) -> None:
        self._scalar = scalar
        self._members = members
        self._by_name = {kind.__name__: kind for kind in members}

    def _member(self, value: object) -> type | None:
        if isinstance(value, SCALARS):
            return None
        kind = type(value)
        if kind in self._members:
            return kind
        for member in self._members:
            if isinstance(value, member):
                return member
        raise TypeError(f"a {kind.__name__} where {' or '.join(self._by_name)} belongs")

    def full(self, value: Value) -> Tree:
        member = self._member(value)
        return value if member is None else [member.__name__, self._members[member].full(value)]

    def change(self, old: Value, new: Value) -> Tree:
        if old is new:
            return NOTHING
        member = self._member(new)
        if member is None:
            return NOTHING if old == new and self._member(old) is None else new
        if member is not self._member(old):
            return self.full(new)
        change = self._members[member].change(old, new)
        return NOTHING if change is NOTHING else [change]

    def load(self, tree: Tree) -> Value:
        if not isinstance(tree, list):
            if self._scalar is None:
                raise Malformed(f"{kind_of(tree)} where {' or '.join(self._by_name)} belongs")
            return self._scalar.load(tree)
        if len(tree) != 2 or not isinstance(tree[0], str):
            raise Malformed("a list that is no class name with its value")
        if tree[0] not in self._by_name:
            raise Malformed(f"a {tree[0]!r}, which this version does not know")
        return self._members[self._by_name[tree[0]]].load(tree[1])

    def apply(self, old: Value, tree: Tree) -> Value:
        if not isinstance(tree, list) or len(tree) != 1:
            return self.load(tree)
        member = self._member(old)
        if member is None:
            raise Malformed("a difference to a value that is not there")
        return self._members[member].apply(old, tree[0])


def _names(kinds: Iterable[type]) -> str:
    return " or ".join(sorted({WORDS[kind] for kind in kinds}))
