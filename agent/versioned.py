"""What is kept between runs, as text: a JSON document that says of which version it is. Pure."""

from typing import TypeVar

import msgspec

T = TypeVar("T")


class DamagedState(ValueError):
    """The text is not what this version writes; the message says why."""


class _Header(msgspec.Struct):
    version: int


def decode_versioned(raw: bytes, version: int, kind: type[T]) -> T:
    """The document of this version. DamagedState for anything else: of another version nothing
    but its number is read."""
    try:
        written = msgspec.json.decode(raw, type=_Header).version
        if written != version:
            raise DamagedState(f"version {written}, this program writes {version}")
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedState(str(error)) from error
