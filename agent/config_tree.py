"""Decoding a YAML tree into typed settings: every problem is collected, none stops the reading."""

import difflib
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Kind = Any
"""A setting's annotation: a Struct class, tuple[X, ...], X | None, Literal or a plain type."""


class TreeDecoder:
    """Decodes one tree; ``problems`` are sentences that begin with a key path.

    ``ranges`` gives the lowest and highest allowed value of numbers by key path, where "[]" stands
    for any element of a list and "*" for any key.
    """

    def __init__(self, ranges: Mapping[str, tuple[float, float]]) -> None:
        self.problems: list[str] = []
        self._ranges = {
            re.compile(re.escape(pattern).replace(r"\*", r"\w+")): bounds
            for pattern, bounds in ranges.items()
        }

    def decode(self, kind: Kind, value: object, path: str = "", default: object = None) -> object:
        """Decode ``value`` as ``kind``; keys left out of a mapping keep those of ``default``."""
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._struct(kind, value, path, default)
        origin: Any = typing.get_origin(kind)
        if origin is tuple:
            return self._list(typing.get_args(kind)[0], value, path)
        if origin in (types.UnionType, typing.Union):
            members = [member for member in typing.get_args(kind) if member is not type(None)]
            return None if value is None else self.decode(members[0], value, path)
        return self._leaf(kind, value, path)

    def _struct(
        self, kind: type[msgspec.Struct], value: object, path: str, default: object
    ) -> object:
        if value is None:
            value = {}  # "alerts:" with everything under it commented out
        if not isinstance(value, Mapping):
            self.problems.append(f"{path or 'the file'}: must be a mapping, is {_shown(value)}")
            return default
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        hints = typing.get_type_hints(kind)
        decoded: dict[str, object] = {}
        before = len(self.problems)
        for key, entry in value.items():
            where = f"{path}.{key}" if path else str(key)
            if not isinstance(key, str) or key not in fields:
                near = difflib.get_close_matches(str(key), fields, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(fields)}"
                self.problems.append(f"{where}: unknown key; {hint}")
                continue
            base = fields[key].default if default is None else getattr(default, key)
            decoded[key] = self.decode(hints[key], entry, where, base)
        if default is None:
            self.problems += [
                f"{path}.{name}: is required"
                for name, field in fields.items()
                if field.required and name not in value
            ]
        if len(self.problems) > before:
            return default
        if isinstance(default, msgspec.Struct):
            return msgspec.structs.replace(default, **decoded)
        return kind(**decoded)

    def _list(self, kind: Kind, value: object, path: str) -> object:
        if value is None:
            return ()
        if not isinstance(value, list):
            self.problems.append(f"{path}: must be a list, is {_shown(value)}")
            return ()
        return tuple(self.decode(kind, entry, f"{path}[{i}]") for i, entry in enumerate(value))

    def _leaf(self, kind: Kind, value: object, path: str) -> object:
        if value is False and "off" in typing.get_args(kind):
            value = "off"  # which YAML 1.1 reads as a truth value
        try:
            decoded = msgspec.convert(value, kind, strict=True)
        except msgspec.ValidationError:
            allowed = [str(choice) for choice in typing.get_args(kind)]
            # Only of a scalar: a list that aliases have nested would take for ever to print.
            text = "" if isinstance(value, (Mapping, list)) else str(value)
            near = difflib.get_close_matches(text, allowed, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            self.problems.append(f"{path}: must be {_wanted(kind)}, is {_shown(value)}{hint}")
            return None
        self._check_range(path, decoded)
        return decoded

    def _check_range(self, path: str, decoded: object) -> None:
        anywhere = re.sub(r"\[\d+\]", "[]", path)
        for pattern, (lowest, highest) in self._ranges.items():
            # "not within" is also true of NaN, which YAML can spell
            if pattern.fullmatch(anywhere) and not lowest <= decoded <= highest:  # type: ignore[operator]
                self.problems.append(
                    f"{path}: must be from {lowest:.10g} to {highest:.10g}, is {_shown(decoded)}"
                )


def _wanted(kind: Kind) -> str:
    origin: Any = typing.get_origin(kind)
    if origin is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(kind)))
    if origin is dict:
        return "a mapping of names to strings"
    return {float: "a number", int: "a whole number", bool: "true or false", str: "a string"}.get(
        kind, str(kind)
    )


def _shown(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return repr(value)[:60]
