"""A directory whose disk does not answer."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def hanging(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Who opens anything at ``directory`` waits until the end of the block."""
    disk_answers = threading.Event()
    really_open = os.open

    def waiting_open(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if str(path).startswith(str(directory)):
            disk_answers.wait()
        return really_open(path, flags, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", waiting_open)
        try:
            yield
        finally:
            disk_answers.set()
