"""What every parser owes for any input: typed, finite, not negative, not larger than its input."""

import dataclasses
import math
from collections.abc import Mapping

import msgspec

UNSIGNED_ENDINGS = (
    "_bytes",
    "bytes",
    "_ratio",
    "_seconds",
    "_milliseconds",
    "_per_second",
    "_percent",
    "_completed",
    "_files",
    "files",
    "entries",
    "records",
    "puts",
    "sequence",
    "amplification",
    "rate",
)
"""Names of what is counted or measured: never below zero."""

SIGNED = ("wall_seconds", "compression_size_percent")
"""Moments, by a clock that may stand before 1970, and where RocksDB writes -1 for "off"."""


def require_sound(value: object, name: str = "sample") -> None:
    """Every number in a sample is finite; counts, sizes, rates and durations are not negative."""
    if isinstance(value, float):
        assert math.isfinite(value), f"{name} is {value}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        field = name.rpartition(".")[2].partition("[")[0]
        if field.endswith(UNSIGNED_ENDINGS) and not field.endswith(SIGNED):
            assert value >= 0, f"{name} is {value}"
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            require_sound(entry, f"{name}[{key!r}]")
    elif isinstance(value, tuple | list):
        for index, entry in enumerate(value):
            require_sound(entry, f"{name}[{index}]")
    elif dataclasses.is_dataclass(value):
        for field_ in dataclasses.fields(value):
            require_sound(getattr(value, field_.name), f"{name}.{field_.name}")
    elif isinstance(value, msgspec.Struct):
        for name_ in value.__struct_fields__:
            require_sound(getattr(value, name_), f"{name}.{name_}")


def size_of(value: object) -> int:
    """About the memory a sample stands for: characters, and eight bytes for every other leaf."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Mapping):
        return sum(size_of(key) + size_of(entry) for key, entry in value.items())
    if isinstance(value, tuple | list):
        return sum(map(size_of, value))
    if dataclasses.is_dataclass(value):
        return sum(size_of(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, msgspec.Struct):
        return sum(size_of(getattr(value, name)) for name in value.__struct_fields__)
    return 8


def require_bounded(value: object, input_bytes: int, factor: int = 8, base: int = 16384) -> None:
    """A sample is not larger than ``factor`` times its input, and the fixed part of its type."""
    size = size_of(value)
    assert size <= factor * input_bytes + base, f"{size} bytes out of {input_bytes}"
