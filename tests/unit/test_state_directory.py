"""Which directory keeps the state, and that one daemon at a time has it."""

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from agent.state_directory import (
    Ownership,
    StateDirectory,
    StateDirectoryError,
    choose_state_directory,
)


def test_the_configured_directory_comes_first_and_is_made_private(tmp_path: Path) -> None:
    """Whatever the environment says."""
    wanted = tmp_path / "a" / "b"
    chosen = choose_state_directory(str(wanted), {"STATE_DIRECTORY": str(tmp_path)}, ())
    assert chosen == str(wanted)
    assert stat.S_IMODE(wanted.stat().st_mode) == 0o700


def test_a_configured_directory_in_a_database_is_refused(tmp_path: Path) -> None:
    """Known by its path or by its CURRENT."""
    with pytest.raises(StateDirectoryError, match="lies in the database"):
        choose_state_directory(str(tmp_path / "state"), {}, [str(tmp_path)])
    (tmp_path / "CURRENT").write_bytes(b"")
    with pytest.raises(StateDirectoryError, match="lies in the database"):
        choose_state_directory(str(tmp_path / "state"), {}, ())
    assert not (tmp_path / "state").exists()


def test_a_configured_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """One line, with what to do."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateDirectoryError, match="choose a writable directory"):
        choose_state_directory(str(tmp_path / "file"), {}, ())


def test_systemd_then_the_system_then_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """$STATE_DIRECTORY, /var/lib/smaxd for root, $XDG_STATE_HOME/smaxd."""
    system, user = str(tmp_path / "system"), {"XDG_STATE_HOME": str(tmp_path / "xdg")}
    service = {**user, "STATE_DIRECTORY": f"{tmp_path}/service:{tmp_path}/second"}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert choose_state_directory(None, service, (), system) == str(tmp_path / "service")
    assert choose_state_directory(None, user, (), system) == system
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert choose_state_directory(None, user, (), system) == str(tmp_path / "xdg" / "smaxd")
    home = {"HOME": str(tmp_path)}
    assert choose_state_directory(None, home, (), system) == str(tmp_path / ".local/state/smaxd")


def test_no_usable_directory_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller says so, once."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert choose_state_directory(None, {"HOME": "/proc/nonexistent"}, ()) is None


def test_one_at_a_time_holds_a_directory_until_it_leaves(tmp_path: Path) -> None:
    """And may ask again without losing it."""
    first, second = StateDirectory(str(tmp_path)), StateDirectory(str(tmp_path))
    assert first.take() is first.take() is Ownership.HELD
    assert second.take() is Ownership.IN_USE
    first.close()
    assert second.take() is Ownership.HELD


def test_a_file_system_without_locks_is_told_from_a_directory_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS without its lock daemon: what depends on being alone must not go on."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert StateDirectory(str(tmp_path)).take() is Ownership.NOT_LOCKABLE


def test_its_files_are_the_same_for_all_who_ask(tmp_path: Path) -> None:
    """So that a budget given to one is that of every writer; nothing is made by asking."""
    directory = StateDirectory(str(tmp_path))
    file = directory.file("learned.json")
    assert file is not None
    assert directory.file("learned.json") is file
    assert directory.files == {"learned.json": file}
    assert list(tmp_path.iterdir()) == []
    assert StateDirectory(None).file("learned.json") is None


def test_no_directory_is_held_by_nobody(tmp_path: Path) -> None:
    """None was chosen, or it is gone."""
    assert StateDirectory(None).take() is Ownership.NONE
    assert StateDirectory(str(tmp_path / "gone")).take() is Ownership.NONE
