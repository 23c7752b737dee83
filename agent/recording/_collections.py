"""The nodes of what holds many values of one kind: tuples and mappings."""

from agent.recording._trees import (
    NOTHING,
    Malformed,
    Node,
    Tree,
    Value,
    as_list,
    as_object,
    at,
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
            at(f"[{index}]", self._element.load, entry) for index, entry in enumerate(as_list(tree))
        )

    def apply(self, old: Value, tree: Tree) -> Value:
        if isinstance(tree, list):
            return self.load(tree)
        tree = as_object(tree)
        dropped = tree.get("drop", 0)
        if not isinstance(dropped, int) or not 0 <= dropped <= len(old):
            raise Malformed(f"drops {dropped!r} of {len(old)}")
        entries = list(old[dropped:])
        _edit(entries, tree.get("edit", []), self._element)
        for added in as_list(tree.get("add", [])):
            where = f"[{len(entries)}]"
            if entries:
                entries.append(at(where, self._element.apply, entries[-1], added))
            else:
                entries.append(at(where, self._element.load, added))
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
        entries = as_list(tree)
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
        tree = as_object(tree)
        keys, values = as_list(tree.get("keys")), as_list(tree.get("values"))
        if len(keys) != len(values):
            raise Malformed(f"{len(keys)} keys and {len(values)} values")
        loaded = [self._key.load(key) for key in keys]
        return {
            key: at(f"[{key!r}]", self._value.load, value)
            for key, value in zip(loaded, values, strict=True)
        }

    def apply(self, old: Value, tree: Tree) -> Value:
        if isinstance(tree, dict):
            return self.load(tree)
        values = list(old.values())
        _edit(values, tree, self._value)
        return dict(zip(old, values, strict=True))


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
    for edit in as_list(edits):
        if not isinstance(edit, list) or len(edit) != 2 or type(edit[0]) is not int:
            raise Malformed("an edit that is no index with its difference")
        index = edit[0]
        if not 0 <= index < len(values):
            raise Malformed(f"an edit of entry {index} of {len(values)}")
        values[index] = at(f"[{index}]", node.apply, values[index], edit[1])
