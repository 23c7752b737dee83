"""The history is written beside the tick, and whatever goes wrong with it costs only itself."""

import dataclasses
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from agent.config import HistorySettings
from agent.history import recorder as recorder_module
from agent.history.past import Past, PastAlert
from agent.history.reader import HistoryFile
from agent.history.recorder import CHECKPOINT_BYTES, COMMIT_BYTES, HistoryRecorder
from agent.history.sample import Sample
from agent.history.status import HistoryStatus
from agent.history.store import Store
from agent.snapshot import Snapshot
from agent.state_directory import StateDirectory
from agent.wear.own_files import carrier_of
from probes.clock import SystemClock
from tests.unit.budgets import Budget
from tests.unit.snapshots import AT, WALL, snapshot

PATIENCE_SECONDS = 20.0


def tick(second: float) -> Snapshot:
    return dataclasses.replace(snapshot(), at=AT + second, wall_seconds=WALL + second)


def eventually(true: Callable[[], Any]) -> bool:
    end = time.monotonic() + PATIENCE_SECONDS
    while not true() and time.monotonic() < end:
        time.sleep(0.005)
    return bool(true())


class Recording:
    """A recorder on a directory, its log and its budget."""

    def __init__(self, directory: Path, settings: HistorySettings = HistorySettings()) -> None:  # noqa: B008 - frozen
        self.path = directory / "history.db"
        self.budget = Budget()
        self._capture = structlog.testing.LogCapture()
        log = structlog.wrap_logger(None, processors=[self._capture])
        self.state_directory = StateDirectory(str(directory))
        self.recorder = HistoryRecorder(self.state_directory, log, self.budget, settings)

    def events(self, name: str) -> list[Any]:
        return [entry for entry in self._capture.entries if entry["event"] == name]

    @property
    def status(self) -> HistoryStatus:
        status = self.recorder.status()
        assert status is not None
        return status

    def minutes(self, begin: int, end: int, *, alerting: bool = True) -> None:
        """Ticks of ten seconds; each minute is written, or refused, before the next begins."""
        for second in range(60 * begin, 60 * end, 10):
            now = tick(second)
            self.recorder.after_tick(now if alerting else dataclasses.replace(now, alerts=()))
            assert eventually(self.recorder._idle.is_set)

    def close(self) -> None:
        self.recorder.close(PATIENCE_SECONDS)
        self.state_directory.close()

    def past(self) -> Past:
        with HistoryFile(str(self.path)) as file:
            return file.read(int(WALL) - 10, int(WALL) + 86400, 10)

    def samples(self) -> int:
        databases = self.past().databases
        return len(databases[0].line.times) if databases else 0

    def alerts(self) -> list[PastAlert]:
        return list(self.past().alerts)


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    one = Recording(tmp_path)
    yield one
    one.close()


def commits(recording: Recording) -> int:
    """So often something was written: the size of the log grows with every commit."""
    return recording.status.rows_total


def test_it_is_written_once_a_minute_and_at_the_end(recording: Recording) -> None:
    """The first tick's at once: then it is known that it can be."""
    written = []
    for second in range(0, 120, 10):
        recording.recorder.after_tick(tick(second))
        assert eventually(recording.recorder._idle.is_set)
        written.append(commits(recording))
    recording.close()

    assert len(set(written)) == 2
    assert written[0] == written[5] < written[6] == written[11] < commits(recording)
    assert recording.samples() == 12


def test_it_tells_how_it_is_doing(recording: Recording) -> None:
    """For the metrics."""
    assert recording.status == HistoryStatus(0, None, None, {}, None)
    recording.minutes(0, 2)

    status = recording.status
    assert status.rows_total > 0
    assert status.size_bytes is not None
    assert status.size_bytes >= recording.path.stat().st_size
    assert status.last_commit_wall_seconds == pytest.approx(time.time(), abs=PATIENCE_SECONDS)
    assert (status.dropped, status.waiting) == ({}, None)


def test_without_a_budget_it_waits_and_goes_on(recording: Recording) -> None:
    """What waited is written; one line tells of it, and one of its end."""
    recording.minutes(0, 1)
    recording.budget.refusal = "all of it is used"
    recording.minutes(1, 4)
    waiting, rows = recording.status.waiting, recording.status.rows_total
    recording.budget.refusal = None
    recording.minutes(4, 5)
    recording.close()

    assert waiting == "wear_budget_used"
    assert rows < recording.status.rows_total
    assert (recording.status.waiting, recording.status.dropped) == (None, {})
    assert recording.samples() == 30
    assert [entry["detail"] for entry in recording.events("history_waits")] == ["all of it is used"]
    assert len(recording.events("history_goes_on")) == 1


def test_what_waits_at_the_end_is_written_if_nothing_is_in_the_way_any_more(
    recording: Recording,
) -> None:
    """Also where no further sample came that would have tried it."""
    recording.budget.refusal = "all of it is used"
    recording.recorder.after_tick(tick(0))
    assert eventually(lambda: recording.status.waiting)
    recording.budget.refusal = None
    recording.close()

    assert recording.samples() == 1


def test_what_waits_for_too_long_is_left_out_and_counted(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest first: memory is bounded."""
    monkeypatch.setattr(recorder_module, "WAITING_ROWS", 100)
    recording.budget.refusal = "all of it is used"
    recording.minutes(0, 20)
    (dropped,) = recording.status.dropped.items()
    waiting = sum(sample.weight for sample in recording.recorder._waiting)
    recording.budget.refusal = None
    recording.minutes(20, 21)
    recording.close()

    assert dropped[0] == "wear_budget_used"
    assert dropped[1] > 300
    assert waiting <= 100
    assert 12 <= recording.samples() < 60


def test_an_alert_whose_end_was_left_out_is_not_open_for_ever(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended, at the latest, when that was noticed."""
    monkeypatch.setattr(recorder_module, "WAITING_ROWS", 50)
    recording.minutes(0, 1)
    assert {alert.ended for alert in recording.alerts()} == {None}
    recording.budget.refusal = "all of it is used"
    recording.minutes(1, 20, alerting=False)
    recording.budget.refusal = None
    recording.minutes(20, 22, alerting=False)
    recording.close()

    assert recording.alerts() != []
    assert None not in {alert.ended for alert in recording.alerts()}


def test_a_tick_does_not_wait_for_a_writer_that_hangs(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it leaves meanwhile is bounded, too."""
    monkeypatch.setattr(recorder_module, "WAITING_ROWS", 50)
    hangs = threading.Event()
    monkeypatch.setattr(recording.recorder, "_commit", lambda _: hangs.wait(PATIENCE_SECONDS))
    for second in range(0, 3600, 10):
        recording.recorder.after_tick(tick(second))
    waiting = sum(sample.weight for sample in recording.recorder._batch)
    dropped = recording.status.dropped
    hangs.set()

    assert waiting <= 12 * 20
    assert dropped["slow_device"] > 0


def test_a_damaged_file_is_set_aside_at_the_start(tmp_path: Path) -> None:
    """And another one begun."""
    (tmp_path / "history.db").write_bytes(b"SQLite format 3\0" + b"\x5a" * 9000)
    recording = Recording(tmp_path)
    recording.minutes(0, 2)
    recording.close()

    assert recording.samples() == 12
    assert (tmp_path / "history.db.damaged").stat().st_size == 9016
    (told,) = recording.events("history_unusable")
    assert "history.db.damaged" in told["detail"]
    assert told["log_level"] == "warning"


def test_damage_while_it_runs_is_noticed_and_loses_nothing_new(recording: Recording) -> None:
    """The commit that met it is made again, into a new file."""
    recording.minutes(0, 2)
    checkpoint(recording)
    with recording.path.open("r+b") as file:
        file.seek(1024)
        file.write(b"\xa5" * (recording.path.stat().st_size - 1024))
    recording.minutes(2, 4)
    recording.close()

    assert len(recording.events("history_unusable")) == 1
    assert recording.path.with_name("history.db.damaged").exists()
    assert recording.samples() == 17  # from the commit on that met the damage
    assert recording.status.waiting is None


def checkpoint(recording: Recording) -> None:
    """All that was written is in the file itself, and read from there again."""
    connection = sqlite3.connect(recording.path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def test_a_file_of_a_later_version_is_set_aside_as_such(tmp_path: Path) -> None:
    """After a downgrade: an upgrade can go on with it."""
    recording = Recording(tmp_path)
    recording.minutes(0, 1)
    recording.close()
    connection = sqlite3.connect(recording.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    older = Recording(tmp_path)
    older.minutes(1, 2)
    older.close()

    assert (tmp_path / "history.db.newer").exists()
    assert "version 99" in older.events("history_unusable")[0]["reason"]
    assert older.samples() == 6


def test_a_file_that_was_removed_is_made_anew(recording: Recording) -> None:
    """It would be written to without a name otherwise."""
    recording.minutes(0, 2)
    recording.path.unlink()
    recording.minutes(2, 4)
    recording.close()

    assert len(recording.events("history_gone")) == 1
    assert recording.samples() > 0


def test_a_link_in_its_place_is_put_away_and_not_followed(tmp_path: Path) -> None:
    """The agent may run as root."""
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "history.db").symlink_to(target)
    recording = Recording(tmp_path)
    recording.minutes(0, 1)
    recording.close()

    assert target.read_text() == "precious"
    assert not recording.path.is_symlink()
    assert recording.samples() == 6


def test_a_directory_in_its_place_is_set_aside_too(tmp_path: Path) -> None:
    """Whatever it is, it is kept."""
    (tmp_path / "history.db").mkdir()
    recording = Recording(tmp_path)
    recording.minutes(0, 1)
    recording.close()

    assert (tmp_path / "history.db.damaged").is_dir()
    assert recording.samples() == 6


def test_somebody_who_locks_the_file_delays_it_only(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator with sqlite3 open."""
    monkeypatch.setattr("agent.history.store.BUSY_SECONDS", 0.05)
    recording.minutes(0, 1)
    other = sqlite3.connect(recording.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    recording.recorder._close_store()  # so that the short patience is in force
    recording.minutes(1, 3)
    waiting = recording.status.waiting
    other.execute("ROLLBACK")
    other.close()
    recording.minutes(3, 4)
    recording.close()

    assert waiting == "write_failed"
    assert recording.samples() == 24


def test_a_full_file_system_ends_nothing(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What little is free is the database's."""
    recording.minutes(0, 1)
    real = os.statvfs(recording.path.parent)
    full = os.statvfs_result([*real[:3], 0, 0, *real[5:]])
    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", lambda _: full)
        recording.minutes(1, 3)
        waiting = recording.status.waiting
    recording.minutes(3, 4)
    recording.close()

    assert waiting == "disk_full"
    assert recording.samples() == 24


def test_a_directory_that_another_agent_uses_is_left_to_it(tmp_path: Path) -> None:
    """Two writers of one history would tell two stories."""
    other = StateDirectory(str(tmp_path))
    other.take()
    recording = Recording(tmp_path)
    recording.minutes(0, 1)
    waiting = recording.status.waiting
    other.close()
    recording.minutes(1, 2)
    recording.close()

    assert waiting == "state_in_use"
    assert recording.samples() == 12


def test_a_defect_is_told_once_and_tried_again(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must cost the history only."""
    with monkeypatch.context() as patch:
        patch.setattr(recorder_module, "Store", lambda *_: 1 / 0)
        recording.minutes(0, 3)
    assert recording.status.waiting == "defect"
    assert len(recording.events("history_failed")) == 1
    recording.minutes(3, 4)
    recording.close()

    assert recording.samples() == 24


def test_switched_off_it_writes_nothing_and_says_nothing(tmp_path: Path) -> None:
    """Not even an empty file."""
    recording = Recording(tmp_path, HistorySettings(enabled=False))
    recording.minutes(0, 2)
    status = recording.recorder.status()
    recording.close()

    assert status is None
    assert not recording.path.exists()


def test_a_reload_switches_it_off_and_on(recording: Recording) -> None:
    """What was gathered until then is kept; the time in between is a gap."""
    recording.minutes(0, 2)
    recording.recorder.configure(HistorySettings(enabled=False))
    recording.minutes(2, 4)
    assert recording.recorder.status() is None
    recording.recorder.configure(HistorySettings())
    recording.minutes(4, 6)
    recording.close()

    assert recording.samples() == 24


def test_another_limit_is_in_force_after_a_reload(recording: Recording) -> None:
    """Without a restart."""
    recording.minutes(0, 2)
    recording.recorder.configure(HistorySettings(size_limit_mib=32.0))
    recording.minutes(2, 3)
    store = recording.recorder._store

    assert store is not None
    assert store._upkeep._limit_bytes == 32 << 20


def test_every_commit_is_asked_for_before_and_told_afterwards(recording: Recording) -> None:
    """The end of the file, too; none wrote more than was asked for."""
    recording.minutes(0, 4)
    recording.close()

    assert set(recording.budget.asked[:-1]) == {COMMIT_BYTES}
    assert recording.budget.asked[-1] == COMMIT_BYTES + CHECKPOINT_BYTES
    assert len(recording.budget.asked) == len(recording.budget.written) >= 5
    assert all(0 <= written <= COMMIT_BYTES for written in recording.budget.written)
    if in_memory(recording.path):
        return  # the kernel counts nothing there
    assert sum(recording.budget.written) >= recording.path.stat().st_size


def test_a_commit_that_may_copy_the_log_asks_for_that(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it has been copied."""
    written = iter([0, 300_000, 600_000, 900_000, 2_000_000, 2_100_000])
    monkeypatch.setattr(recorder_module, "COMMIT_BYTES", 400_000)
    used = [0]

    def so_far() -> int:
        return used[0]

    monkeypatch.setattr(recorder_module, "written_by_this_thread", so_far)
    real = Store.write

    def write(store: Store, samples: list[Sample]) -> int:
        used[0] = next(written)
        return real(store, samples)

    monkeypatch.setattr(Store, "write", write)
    recording.minutes(0, 6)

    both = 400_000 + CHECKPOINT_BYTES
    assert recording.budget.asked == [400_000] * 4 + [both, 400_000]
    assert recording.budget.written == [0, 300_000, 300_000, 300_000, 1_100_000, 100_000]


def in_memory(path: Path) -> bool:
    return carrier_of(str(path), SystemClock()) is None
