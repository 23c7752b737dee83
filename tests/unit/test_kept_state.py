"""What one run of the daemon keeps, and the next one finds."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from agent.alerts.book import AlertBook
from agent.config import HistorySettings
from agent.kept_state import KeptState, keep_state
from agent.learning.memory import DeviceIdentity
from agent.state_directory import Ownership, StateDirectory
from agent.wear.own_files import FileBudget
from probes.clock import SystemClock
from tests.unit.patience import PATIENCE_SECONDS

DISK = DeviceIdentity("sda", 1 << 40, "m")


@pytest.fixture(autouse=True)
def log() -> Iterator[list[dict[str, object]]]:
    """What was logged."""
    with structlog.testing.capture_logs() as entries:
        yield entries  # type: ignore[misc]


@contextlib.contextmanager
def run(directory: Path | None) -> Iterator[KeptState]:
    """One run of the daemon, which ends in order."""
    path = None if directory is None else str(directory)
    clock = SystemClock()
    kept = keep_state(path, HistorySettings(), clock, structlog.get_logger())
    try:
        yield kept
    finally:
        if kept.history is not None:
            kept.history.close(PATIENCE_SECONDS)
        kept.memory_saver.close(clock.wall(), PATIENCE_SECONDS)
        kept.book_saver.close(kept.book, PATIENCE_SECONDS)
        kept.own_files.close()
        kept.ledger.close(PATIENCE_SECONDS)
        kept.directory.close()


def test_what_was_learned_in_one_run_is_known_in_the_next(tmp_path: Path) -> None:
    """The wear accounts go on, too."""
    with run(tmp_path) as first:
        first.learning.baseline(DISK, 1e8, SystemClock().wall())
        first.ledger.charge("disk", "fio", 12345)
    with run(tmp_path) as second:
        (device,) = second.learning.memory(SystemClock().wall()).devices
        assert device.baseline_bytes_per_second == 1e8
        written = {one.device: dict(one.written_bytes) for one in second.ledger.view().accounts}
        assert written["disk"] == {"fio": 12345}
        assert second.directory.take() is Ownership.HELD


def test_every_file_that_is_kept_has_a_budget(tmp_path: Path) -> None:
    """Nothing is written to the database's device without being counted."""
    with run(tmp_path) as kept:
        files = kept.directory.files
        assert {*files} == {"learned.json", "alerts.json", "delivery.json"}
        assert all(isinstance(file.budget, FileBudget) for file in files.values())


def test_without_a_directory_nothing_is_kept(log: list[dict[str, object]]) -> None:
    """The daemon runs all the same. Whoever chose none has said so; here is what follows."""
    with run(None) as kept:
        assert (kept.book, kept.history) == (AlertBook(), None)
    assert [entry["event"] for entry in log] == ["wear_budget_not_kept"]


def test_a_second_agent_in_a_directory_is_told_to_take_another(
    tmp_path: Path, log: list[dict[str, object]]
) -> None:
    """The first goes on as it was."""
    owner = StateDirectory(str(tmp_path))
    owner.take()
    with run(tmp_path) as second:
        second.learning.baseline(DISK, 1e8, SystemClock().wall())
    owner.close()
    assert [path.name for path in tmp_path.iterdir()] == []
    assert [entry["event"] for entry in log].count("state_in_use") == 1
