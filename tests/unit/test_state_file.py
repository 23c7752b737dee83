"""State between runs: atomic, private, seldom written, and never the daemon's end."""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from agent.alerts.book import AlertBook
from agent.alerts.book_file import BOOK
from agent.delivery.record import DeliveryRecord
from agent.delivery.record_file import RECORD
from agent.learning.learning import Learning
from agent.learning.memory import DeviceIdentity, DeviceMemory, LearnedState
from agent.learning.memory_file import LEARNED, MemorySaver
from agent.state_directory import StateDirectory
from agent.state_file import SAVE_SECONDS, StateFile, StateKind, StateSaver
from agent.versioned import DamagedState
from tests.unit.patience import PATIENCE_SECONDS, eventually
from tests.unit.snapshots import WALL, snapshot

Log = list[dict[str, object]]
Of = tuple[StateKind[Any], object]
"""A kind of state, and an example of it."""

MEMORY = LearnedState(devices=(DeviceMemory(DeviceIdentity("sda", 100, "m"), 1e8, 1.0, 2.0),))
EVERY_KIND: list[Of] = [
    (LEARNED, MEMORY),
    (BOOK, AlertBook(epoch_wall_seconds=1.0, forgotten=7, revision=3)),
    (RECORD, DeliveryRecord(settled={"hook": ("a",)})),
]


@pytest.fixture(autouse=True)
def log() -> Iterator[Log]:
    """What was logged."""
    with structlog.testing.capture_logs() as entries:
        yield entries  # type: ignore[misc]


@pytest.fixture(params=EVERY_KIND, ids=[kind.file_name for kind, _ in EVERY_KIND])
def of(request: pytest.FixtureRequest) -> Of:
    """Each kind of state that there is."""
    found: Of = request.param
    return found


def file_in(
    directory: Path | StateDirectory | None, kind: StateKind[Any] = LEARNED
) -> StateFile[Any]:
    if not isinstance(directory, StateDirectory):
        directory = StateDirectory(None if directory is None else str(directory))
    return StateFile(kind, directory, structlog.get_logger())


def events(log: Log) -> list[object]:
    return [entry["event"] for entry in log]


def full(_: int) -> None:
    """ENOSPC may show only at fsync."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_was_saved_is_loaded(tmp_path: Path, of: Of, log: Log) -> None:
    """By another run of the daemon."""
    kind, state = of
    assert file_in(tmp_path, kind).save(state) is True
    assert file_in(tmp_path, kind).load() == state
    assert events(log) == ["state_loaded"]


def test_without_a_file_the_start_is_fresh_and_silent(tmp_path: Path, of: Of, log: Log) -> None:
    """The first run is nothing to warn of."""
    kind, _ = of
    assert file_in(tmp_path, kind).load() == kind.fresh()
    assert log == []


def test_the_file_is_private_and_its_pages_are_counted(tmp_path: Path, of: Of) -> None:
    """Mode 0600, whatever the umask; one page for the content, one for the directory."""
    kind, state = of
    file = file_in(tmp_path, kind)
    before = os.umask(0)
    try:
        file.save(state)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / kind.file_name).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"version":99}',
        b'\xff\xfe{"version":1}',
        b'{"version":1,"databases":[{}],"states":[{}],"gate":7}',
    ],
)
def test_a_file_that_cannot_be_understood_is_kept_aside_with_one_message(
    tmp_path: Path, of: Of, log: Log, content: bytes
) -> None:
    """Damaged, or of another version."""
    kind, _ = of
    (tmp_path / kind.file_name).write_bytes(content)
    directory = StateDirectory(str(tmp_path))
    assert file_in(directory, kind).load() == kind.fresh()
    assert (tmp_path / f"{kind.file_name}.damaged").read_bytes() == content
    assert events(log) == ["state_unusable"]
    assert str(log[0]["detail"]).endswith(kind.when_unusable)
    assert file_in(directory, kind).load() == kind.fresh()
    assert len(log) == 1


def test_of_another_version_only_its_number_is_read(of: Of) -> None:
    """What else it says may mean anything."""
    with pytest.raises(DamagedState, match=r"^version 99, this program writes \d+$"):
        of[0].decode(b'{"version":99,"databases":0,"states":0,"gate":0}')


def test_a_link_or_a_pipe_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Neither read nor waited for."""
    target = tmp_path / "target"
    target.write_bytes(b"secret")
    directory = StateDirectory(str(tmp_path))
    for make in (lambda path: path.symlink_to(target), os.mkfifo):
        make(tmp_path / "learned.json")
        assert file_in(directory).load() == LearnedState()
        (tmp_path / "learned.json.damaged").unlink()
    assert target.read_bytes() == b"secret"


def test_a_full_disk_is_told_once_and_leaves_the_old_file(
    tmp_path: Path, of: Of, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon goes on and recovers."""
    kind, state = of
    file = file_in(tmp_path, kind)
    file.save(state)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for _ in range(3):
            assert file.save(kind.fresh()) is False
    assert events(log) == ["state_not_saved"]
    assert log[0]["detail"] == kind.when_unsaved
    assert [path.name for path in tmp_path.iterdir()] == [kind.file_name]
    assert kind.decode((tmp_path / kind.file_name).read_bytes()) == state
    assert file.save(kind.fresh()) is True
    assert events(log) == ["state_not_saved", "state_saved_again"]


def test_a_run_that_died_while_writing_does_not_block_the_next(tmp_path: Path) -> None:
    """Its half-written file is replaced."""
    (tmp_path / ".learned.json.new").write_bytes(b"half")
    assert file_in(tmp_path).save(MEMORY) is True
    assert sorted(path.name for path in tmp_path.iterdir()) == ["learned.json"]


def test_a_directory_that_became_a_database_is_not_written_to(tmp_path: Path, log: Log) -> None:
    """Harmless comes first."""
    (tmp_path / "CURRENT").write_bytes(b"MANIFEST-000001\n")
    assert file_in(tmp_path).save(MEMORY) is False
    assert [path.name for path in tmp_path.iterdir()] == ["CURRENT"]
    assert events(log) == ["state_not_saved"]


def test_without_a_directory_nothing_is_kept(of: Of, log: Log) -> None:
    """The daemon runs all the same."""
    kind, state = of
    file = file_in(None, kind)
    assert file.load() == kind.fresh()
    assert file.save(state) is True
    assert log == []


def test_a_second_agent_in_a_directory_saves_nothing(tmp_path: Path, of: Of) -> None:
    """Two that write one file would each undo what the other keeps; what was learned is read."""
    kind, state = of
    directory = StateDirectory(str(tmp_path))
    first, second = file_in(directory, kind), file_in(tmp_path, kind)
    first.load()
    first.save(state)
    assert second.load() == (state if kind is LEARNED else kind.fresh())
    assert second.save(kind.fresh()) is True
    assert first.load() == state

    directory.close()
    third = file_in(tmp_path, kind)
    third.load()
    assert third.save(kind.fresh()) is True
    assert kind.decode((tmp_path / kind.file_name).read_bytes()) == kind.fresh()


def test_a_second_agent_leaves_also_what_it_cannot_read_to_the_first(
    tmp_path: Path, of: Of
) -> None:
    """It may be of a later version, and good."""
    kind, _ = of
    owner = StateDirectory(str(tmp_path))
    owner.take()
    (tmp_path / kind.file_name).write_bytes(b'{"version":99}')
    assert file_in(tmp_path, kind).load() == kind.fresh()
    assert [path.name for path in tmp_path.iterdir()] == [kind.file_name]
    owner.close()


def learn(learning: Learning, bytes_per_second: float) -> None:
    learning.baseline(DeviceIdentity("sda", 1 << 40), bytes_per_second, WALL)


def baseline(directory: Path) -> float | None:
    """What lies there now, without taking the directory."""
    path = directory / LEARNED.file_name
    if not path.exists():
        return None
    (device,) = LEARNED.decode(path.read_bytes()).devices
    return device.baseline_bytes_per_second


def test_news_are_saved_with_their_tick_and_the_rest_once_a_minute(tmp_path: Path) -> None:
    """A kill costs no measurement, and each fsync forces a journal commit."""
    learning = Learning(LearnedState())
    saver = MemorySaver(learning, file_in(tmp_path))
    saver.after_tick(replace(snapshot(), at=0.0))
    assert baseline(tmp_path) is None
    learn(learning, 1e8)
    saver.after_tick(replace(snapshot(), at=5.0))
    assert eventually(lambda: baseline(tmp_path) == 1e8)
    learn(learning, 2e8)
    saver.after_tick(replace(snapshot(), at=15.0))
    assert eventually(lambda: baseline(tmp_path) == 2e8)
    before = (tmp_path / LEARNED.file_name).stat().st_ino
    learning.revision += 1  # an episode goes on
    saver.after_tick(replace(snapshot(), at=14.0 + SAVE_SECONDS))
    assert saver._saver._offered_at == 15.0
    saver.after_tick(replace(snapshot(), at=15.0 + SAVE_SECONDS))
    assert eventually(lambda: (tmp_path / LEARNED.file_name).stat().st_ino != before)
    learn(learning, 3e8)
    saver.close(WALL, PATIENCE_SECONDS)
    assert baseline(tmp_path) == 3e8


def test_what_failed_is_tried_again_after_a_minute_without_anything_new(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is emptied in the end."""
    saver = StateSaver(file_in(tmp_path), "test")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        saver.offer(1, lambda: MEMORY, 0.0)
        assert eventually(lambda: events(log) == ["state_not_saved"])
    saver.offer(1, lambda: MEMORY, SAVE_SECONDS - 1.0)
    assert baseline(tmp_path) is None
    saver.offer(1, lambda: MEMORY, SAVE_SECONDS)
    assert eventually(lambda: baseline(tmp_path) == 1e8)
    saver.close(1, lambda: MEMORY, PATIENCE_SECONDS)


def test_nothing_is_written_while_nothing_changes(tmp_path: Path) -> None:
    """The revision says so."""
    saver = StateSaver(file_in(tmp_path), "test", saved_revision=5)
    saver.offer(5, lambda: MEMORY, 0.0, urgent_revision=5)
    saver.close(5, lambda: MEMORY, PATIENCE_SECONDS)
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_hangs_delays_the_end_by_no_more_than_was_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old file stays in force."""
    file = file_in(tmp_path)
    file.save(LearnedState())
    saver = StateSaver(file, "test")
    released: list[bool] = []

    def hang(_: int) -> None:
        assert eventually(lambda: bool(released))
        full(0)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", hang)
        saver.close(1, lambda: MEMORY, 0.05)
        assert LEARNED.decode((tmp_path / LEARNED.file_name).read_bytes()) == LearnedState()
        released.append(True)
        assert eventually(lambda: not list(tmp_path.glob(".*")))
