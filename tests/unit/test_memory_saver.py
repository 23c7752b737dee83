"""What was learned is saved beside the tick, and again after a failure."""

import errno
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import structlog

from agent.learning.learning import Learning
from agent.learning.memory import DeviceIdentity, LearnedState
from agent.learning.memory_file import SAVE_SECONDS, Logger, MemoryFile
from agent.learning.memory_saver import MemorySaver
from agent.snapshot import Snapshot
from agent.state_directory import StateDirectory
from tests.unit.snapshots import snapshot

PATIENCE_SECONDS = 10.0


def saver_in(directory: Path) -> tuple[Learning, MemoryFile, MemorySaver]:
    learning = Learning(LearnedState())
    logger = structlog.wrap_logger(None, processors=[structlog.testing.LogCapture()])
    file = MemoryFile(StateDirectory(str(directory)), cast(Logger, logger))
    return learning, file, MemorySaver(learning, file)


def tick(at: float) -> Snapshot:
    return replace(snapshot(), at=at)


def learn(learning: Learning, bytes_per_second: float) -> None:
    learning.baseline(DeviceIdentity("sda", 1 << 40), bytes_per_second, 1.7e9)


def eventually(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_SECONDS
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def test_it_is_saved_at_most_once_a_minute_and_at_the_end(tmp_path: Path) -> None:
    """Each fsync forces a journal commit."""
    learning, file, saver = saver_in(tmp_path)
    saver.after_tick(tick(0.0))
    assert file.saved_revision == 0
    learn(learning, 1e8)
    saver.after_tick(tick(5.0))
    assert eventually(lambda: file.saved_revision == 1)
    learn(learning, 2e8)
    saver.after_tick(tick(5.0 + SAVE_SECONDS / 2))
    assert file.saved_revision == 1
    saver.close(1.7e9, PATIENCE_SECONDS)
    assert file.saved_revision == 2


def test_what_failed_is_tried_again_without_anything_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is emptied in the end."""
    learning, file, saver = saver_in(tmp_path)
    learn(learning, 1e8)
    failed: list[int] = []

    def full(descriptor: int) -> None:
        failed.append(descriptor)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        saver.after_tick(tick(0.0))
        assert eventually(lambda: bool(failed))
    saver.after_tick(tick(SAVE_SECONDS))
    assert eventually(lambda: file.saved_revision == 1)
    saver.close(1.7e9, PATIENCE_SECONDS)
