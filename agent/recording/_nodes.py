"""The nodes of the delta codec: one per kind of type, each with a tree and a difference.

See ``agent.recording.codec`` for the trees. A node is asked only for values of its own type.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

Tree = Any
"""What JSON can hold; the nodes check what they meet."""

Value = Any
"""A value of the node's type, which is known at run time only."""

SCALARS: Final = (str, int, float, bool, type(None))

NOTHING: Final = object()
"""Returned instead of a tree when nothing changed: None is a tree."""


class Malformed(ValueError):
    """A tree that does not fit its type; ``path`` leads to the field."""

    def __init__(self, what: str, path: str = "") -> None:
        super().__init__(f"{path.removeprefix('.')}: {what}" if path else what)
        self.what = what
        self.path = path


class Node(Protocol):
    """One type's way into a tree and back."""

    def full(self, value: Value) -> Tree:
        """The whole value as a tree."""

    def change(self, old: Value, new: Value) -> Tree:
        """What makes ``new`` out of ``old``; NOTHING when they are equal."""

    def load(self, tree: Tree) -> Value:
        """The inverse of ``full``; Malformed."""

    def apply(self, old: Value, tree: Tree) -> Value:
        """The inverse of ``change``; Malformed."""


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
            raise Malformed(f"{_kind(tree)} where {_names(self._kinds)} belongs")
        return tree

    def apply(self, old: Value, tree: Tree) -> Value:
        del old
        return self.load(tree)


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One field of a record, and what stands for it in a tree of before its time."""

    name: str
    node: Node
    default: object
    default_factory: Callable[[], object] | None

    def absent(self) -> object:
        """The value of a field that the tree lacks."""
        return self.default if self.default_factory is None else self.default_factory()


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
        tree = _object(tree)
        return self._kind(
            **{
                field.name: (
                    _at("." + field.name, field.node.load, tree[field.name])
                    if field.name in tree
                    else field.absent()
                )
                for field in self._fields
            }
        )

    def apply(self, old: Value, tree: Tree) -> Value:
        tree = _object(tree)
        return self._kind(
            **{
                field.name: (
                    _at(
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


class SequenceNode:
    """``tuple[X, ...]``."""

    def __init__(self, element: Node) -> None:
        self._element = element

    def full(self, value: Value) -> Tree:
        return [self._element.full(entry) for entry in value]

    def change(self, old: Value, new: Value) -> Tree:
        if old == new:
            return NOTHING
        dropped = _slid_by(old, new)
        if dropped is None and len(new) < len(old):
            return self.full(new)
        kept = len(old) - (dropped or 0)
        edits = []
        if dropped is None:
            for index, (before, after) in enumerate(zip(old, new, strict=False)):
                change = self._element.change(before, after)
                if change is not NOTHING:
                    edits.append([index, change])
        parts = {"drop": dropped or 0, "edit": edits, "add": self._added(new, kept)}
        return {name: part for name, part in parts.items() if part}

    def _added(self, entries: Value, start: int) -> list[Tree]:
        """The entries from ``start`` on, each as the difference to the one before it."""
        trees = []
        for index in range(start, len(entries)):
            change = self._element.change(entries[index - 1], entries[index]) if index else NOTHING
            # A whole tree is a difference, too: one to any other value.
            trees.append(self._element.full(entries[index]) if change is NOTHING else change)
        return trees

    def load(self, tree: Tree) -> Value:
        return tuple(
            _at(f"[{index}]", self._element.load, entry) for index, entry in enumerate(_list(tree))
        )

    def apply(self, old: Value, tree: Tree) -> Value:
        if isinstance(tree, list):
            return self.load(tree)
        tree = _object(tree)
        dropped = tree.get("drop", 0)
        if not isinstance(dropped, int) or not 0 <= dropped <= len(old):
            raise Malformed(f"drops {dropped!r} of {len(old)}")
        entries = list(old[dropped:])
        _edit(entries, tree.get("edit", []), self._element)
        for added in _list(tree.get("add", [])):
            where = f"[{len(entries)}]"
            if entries:
                entries.append(_at(where, self._element.apply, entries[-1], added))
            else:
                entries.append(_at(where, self._element.load, added))
        return tuple(entries)


class FixedTupleNode:
    """``tuple[X, Y]``: short, so it has no differences."""

    def __init__(self, elements: tuple[Node, ...]) -> None:
        self._elements = elements

    def full(self, value: Value) -> Tree:
        return [node.full(entry) for node, entry in zip(self._elements, value, strict=True)]

    def change(self, old: Value, new: Value) -> Tree:
        return NOTHING if old == new else self.full(new)

    def load(self, tree: Tree) -> Value:
        entries = _list(tree)
        if len(entries) != len(self._elements):
            raise Malformed(f"{len(entries)} values where {len(self._elements)} belong")
        return tuple(node.load(entry) for node, entry in zip(self._elements, entries, strict=True))

    def apply(self, old: Value, tree: Tree) -> Value:
        del old
        return self.load(tree)


class MappingNode:
    """Keys keep their order; new or other keys give the whole mapping anew."""

    def __init__(self, key: Node, value: Node) -> None:
        self._key = key
        self._value = value

    def full(self, value: Value) -> Tree:
        return {
            "keys": [self._key.full(key) for key in value],
            "values": [self._value.full(entry) for entry in value.values()],
        }

    def change(self, old: Value, new: Value) -> Tree:
        if list(old) != list(new):
            return self.full(new)
        edits = []
        for index, (before, after) in enumerate(zip(old.values(), new.values(), strict=True)):
            change = self._value.change(before, after)
            if change is not NOTHING:
                edits.append([index, change])
        return edits or NOTHING

    def load(self, tree: Tree) -> Value:
        tree = _object(tree)
        keys, values = _list(tree.get("keys")), _list(tree.get("values"))
        if len(keys) != len(values):
            raise Malformed(f"{len(keys)} keys and {len(values)} values")
        loaded = [self._key.load(key) for key in keys]
        return {
            key: _at(f"[{key!r}]", self._value.load, value)
            for key, value in zip(loaded, values, strict=True)
        }

    def apply(self, old: Value, tree: Tree) -> Value:
        if isinstance(tree, dict):
            return self.load(tree)
        values = list(old.values())
        _edit(values, tree, self._value)
        return dict(zip(old, values, strict=True))


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
                raise Malformed(f"{_kind(tree)} where {' or '.join(self._by_name)} belongs")
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


def _slid_by(old: Value, new: Value) -> int | None:
    """How many entries ``new`` lost at its front while all others stayed; None if it is other."""
    if not old or not new:
        return None
    first = new[0]
    for dropped, entry in enumerate(old):
        if entry is first or entry == first:
            kept = len(old) - dropped
            return dropped if old[dropped:] == new[:kept] else None
    return None


def _edit(values: list[Value], edits: Tree, node: Node) -> None:
    for edit in _list(edits):
        if not isinstance(edit, list) or len(edit) != 2 or type(edit[0]) is not int:
            raise Malformed("an edit that is no index with its difference")
        index = edit[0]
        if not 0 <= index < len(values):
            raise Malformed(f"an edit of entry {index} of {len(values)}")
        values[index] = _at(f"[{index}]", node.apply, values[index], edit[1])


def _at(where: str, step: Callable[..., Value], *arguments: object) -> Value:
    """Call ``step``; a Malformed from it gets ``where`` in front of its path."""
    try:
        return step(*arguments)
    except Malformed as error:
        raise Malformed(error.what, where + error.path) from None


def _object(tree: Tree) -> dict[str, Tree]:
    if not isinstance(tree, dict):
        raise Malformed(f"{_kind(tree)} where an object belongs")
    return tree


def _list(tree: Tree) -> list[Tree]:
    if not isinstance(tree, list):
        raise Malformed(f"{_kind(tree)} where a list belongs")
    return tree


_WORDS: Final = {
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
    list: "a list",
    dict: "an object",
}


def _kind(tree: Tree) -> str:
    return _WORDS[type(tree)]


def _names(kinds: Iterable[type]) -> str:
    return " or ".join(sorted({_WORDS[kind] for kind in kinds}))
