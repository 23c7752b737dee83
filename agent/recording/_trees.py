"""What the nodes of the delta codec share: trees, what does not fit them, and the place of that."""

from collections.abc import Callable
from typing import Any, Final, Protocol

Tree = Any
"""What JSON can hold; the nodes check what they meet."""

Value = Any
"""A value of the node's type, which is known at run time only."""

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


def at(where: str, step: Callable[..., Value], *arguments: object) -> Value:
    """Call ``step``; a Malformed from it gets ``where`` in front of its path."""
    try:
        return step(*arguments)
    except Malformed as error:
        raise Malformed(error.what, where + error.path) from None


def as_object(tree: Tree) -> dict[str, Tree]:
    if not isinstance(tree, dict):
        raise Malformed(f"{kind_of(tree)} where an object belongs")
    return tree


def as_list(tree: Tree) -> list[Tree]:
    if not isinstance(tree, list):
        raise Malformed(f"{kind_of(tree)} where a list belongs")
    return tree


WORDS: Final[dict[type, str]] = {
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
    list: "a list",
    dict: "an object",
}


def kind_of(tree: Tree) -> str:
    return WORDS[type(tree)]
