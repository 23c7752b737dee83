"""What a call of the command line looks like to a test: the fixture ``smaxd`` makes them."""

from collections.abc import Callable
from dataclasses import dataclass

NOWHERE = "http://127.0.0.1:1"
"""Where no agent listens."""


@dataclass(frozen=True)
class Ended:
    """How a call ended."""

    code: int
    out: str
    err: str


Call = Callable[..., Ended]
