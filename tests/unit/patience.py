"""Waiting for what another thread is going to bring about, however busy the machine is."""

import time
from collections.abc import Callable
from typing import Final

PATIENCE_SECONDS: Final = 20.0


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it comes to hold while somebody patient waits."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not holds() and time.monotonic() < give_up:
        time.sleep(0.01)
    return holds()
