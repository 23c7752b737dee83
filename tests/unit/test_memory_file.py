"""The file of learned state: atomic, private, seldom written, and never the daemon's end."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from agent.learning.memory import DeviceIdentity, DeviceMemory, LearnedState, decode
from agent.learning.memory_file import MemoryFile
from agent.state_directory import StateDirectory

STATE = LearnedState(
    devices=(DeviceMemory(DeviceIdentity("sda", 100, "m"), 1e8, 1.0, 2.0),),
)


@pytest.fixture(autouse=True)
def log() -> Iterator[list[dict[str, object]]]:
    """What was logged."""
    with structlog.testing.capture_logs() as entries:
        yield entries  # type: ignore[misc]


def file_in(directory: Path | str | None) -> MemoryFile:
    path = None if directory is None else str(directory)
    return MemoryFile(StateDirectory(path), structlog.get_logger())


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """By another run of the daemon."""
    assert file_in(tmp_path).save(1, STATE) is True
    assert file_in(tmp_path).load() == STATE


def test_without_a_file_the_start_is_fresh_and_silent(
    tmp_path: Path, log: list[dict[str, object]]
) -> None:
    """The first run is nothing to warn of."""
    assert file_in(tmp_path).load() == LearnedState()
    assert log == []


def test_the_file_is_private(tmp_path: Path) -> None:
    """Mode 0600, whatever the umask."""
    before = os.umask(0)
    try:
        file_in(tmp_path).save(1, STATE)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "learned.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b'{"version":99}', b'\xff\xfe{"version":1}'])
def test_a_file_that_cannot_be_understood_is_kept_aside_with_one_message(
    tmp_path: Path, log: list[dict[str, object]], content: bytes
) -> None:
    """Damaged, or of another version."""
    (tmp_path / "learned.json").write_bytes(content)
    directory = StateDirectory(str(tmp_path))
    assert MemoryFile(directory, structlog.get_logger()).load() == LearnedState()
    assert (tmp_path / "learned.json.damaged").read_bytes() == content
    assert [entry["event"] for entry in log] == ["state_unusable"]
    assert MemoryFile(directory, structlog.get_logger()).load() == LearnedState()
    assert len(log) == 1


def test_a_link_or_a_pipe_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Neither read nor waited for."""
    target = tmp_path / "target"
    target.write_bytes(b"secret")
    for make in (lambda path: path.symlink_to(target), os.mkfifo):
        make(tmp_path / "learned.json")
        assert file_in(tmp_path).load() == LearnedState()
        (tmp_path / "learned.json.damaged").unlink()
    assert target.read_bytes() == b"secret"


def test_nothing_is_written_while_nothing_changes(tmp_path: Path) -> None:
    """The revision says so."""
    file = file_in(tmp_path)
    assert file.save(0, STATE) is False
    assert file.written_bytes == 0
    assert list(tmp_path.iterdir()) == []


def test_bytes_written_are_counted_in_pages(tmp_path: Path) -> None:
    """One for the content, one for the directory."""
    file = file_in(tmp_path)
    file.save(1, STATE)
    assert file.written_bytes == 8192


def test_a_full_disk_is_told_once_and_leaves_the_old_file(
    tmp_path: Path, log: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSPC may show only at fsync; the daemon goes on and recovers."""
    file = file_in(tmp_path)
    file.save(1, STATE)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for _ in range(3):
            assert file.save(2, LearnedState()) is False
    assert [entry["event"] for entry in log] == ["state_not_saved"]
    assert [path.name for path in tmp_path.iterdir()] == ["learned.json"]
    assert decode((tmp_path / "learned.json").read_bytes()) == STATE
    assert file.save(2, LearnedState()) is True
    assert [entry["event"] for entry in log] == ["state_not_saved", "state_saved_again"]


def test_a_run_that_died_while_writing_does_not_block_the_next(tmp_path: Path) -> None:
    """Its half-written file is replaced."""
    (tmp_path / ".learned.json.new").write_bytes(b"half")
    assert file_in(tmp_path).save(1, STATE) is True
    assert sorted(path.name for path in tmp_path.iterdir()) == ["learned.json"]


def test_without_a_directory_nothing_is_kept_and_that_is_said_once(
    log: list[dict[str, object]],
) -> None:
    """The daemon runs all the same."""
    file = file_in(None)
    assert file.load() == LearnedState()
    assert file.save(3, STATE) is False
    assert [entry["event"] for entry in log] == ["state_not_kept"]


def test_a_directory_that_became_a_database_is_not_written_to(
    tmp_path: Path, log: list[dict[str, object]]
) -> None:
    """Harmless comes first."""
    (tmp_path / "CURRENT").write_bytes(b"MANIFEST-000001\n")
    assert file_in(tmp_path).save(1, STATE) is False
    assert [path.name for path in tmp_path.iterdir()] == ["CURRENT"]
    assert [entry["event"] for entry in log] == ["state_not_saved"]


def test_a_second_daemon_reads_the_state_and_saves_nothing(
    tmp_path: Path, log: list[dict[str, object]]
) -> None:
    """Two that write one file would each undo what the other learned."""
    file_in(tmp_path).save(1, STATE)
    directory = StateDirectory(str(tmp_path))
    first, second = MemoryFile(directory, structlog.get_logger()), file_in(tmp_path)
    assert first.load() == second.load() == STATE
    assert second.save(2, LearnedState()) is False
    assert [entry["event"] for entry in log if entry["log_level"] == "warning"] == ["state_in_use"]

    directory.close()
    third = file_in(tmp_path)
    third.load()
    assert third.save(2, LearnedState()) is True
