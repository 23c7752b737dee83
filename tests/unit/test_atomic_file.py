"""The small private files of the state directory, whatever lies in their place."""

import errno
import os
from pathlib import Path

import pytest

from agent.atomic_file import AtomicFile, UnusableFile, give_to_owner

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")

DAEMON, STRANGER = 12345, 23456


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """By nobody else, and nothing is left beside it."""
    file = AtomicFile(str(tmp_path), "a.json")
    file.write(b"one")
    file.write(b"two")

    assert file.read(3) == b"two"
    assert [(entry.name, entry.stat().st_mode & 0o777) for entry in tmp_path.iterdir()] == [
        ("a.json", 0o600)
    ]


def test_what_is_no_file_is_refused_and_leaves_no_descriptor(tmp_path: Path) -> None:
    """A directory, a pipe, a file that is too large: a daemon may try for months."""
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"12345")
    before = open_descriptors()
    for name in ("directory", "pipe", "large"):
        with pytest.raises(UnusableFile):
            AtomicFile(str(tmp_path), name).read(4)

    assert open_descriptors() == before


def test_a_write_that_fails_says_why_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went wrong first, not that the rest could not be removed either."""
    file = AtomicFile(str(tmp_path), "a.json")
    file.write(b"old")

    def full(_: int) -> None:
        (tmp_path / ".a.json.new").unlink()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            file.write(b"new")

    assert file.read(10) == b"old"


@only_root
def test_a_command_of_roots_reads_what_belongs_to_the_directorys_owner(tmp_path: Path) -> None:
    """A daemon with a user of its own; nobody else's, and only where that is asked for."""
    file = AtomicFile(str(tmp_path), "a.json")
    file.write(b"content")
    os.chown(tmp_path, DAEMON, DAEMON)
    os.chown(file.path, DAEMON, DAEMON)
    assert file.read(10, of_owner=True) == b"content"
    with pytest.raises(UnusableFile, match="another user"):
        file.read(10)

    os.chown(file.path, STRANGER, STRANGER)
    with pytest.raises(UnusableFile, match="another user"):
        file.read(10, of_owner=True)


@only_root
def test_root_writes_for_the_directorys_owner(tmp_path: Path) -> None:
    """Only where that is asked for: a daemon's own files are its own."""
    os.chown(tmp_path, DAEMON, DAEMON)
    AtomicFile(str(tmp_path), "given").write(b"", to_owner=True)
    AtomicFile(str(tmp_path), "kept").write(b"")

    assert {entry.name: entry.stat().st_uid for entry in tmp_path.iterdir()} == {
        "given": DAEMON,
        "kept": 0,
    }


@only_root
def test_a_file_with_a_second_name_is_not_given_away(tmp_path: Path) -> None:
    """The owner of the directory may have linked one of root's into it."""
    (tmp_path / "roots").write_bytes(b"")
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", DAEMON, DAEMON)
    os.link(tmp_path / "roots", tmp_path / "theirs" / "lock")
    descriptor = os.open(tmp_path / "theirs" / "lock", os.O_RDWR)
    give_to_owner(descriptor, str(tmp_path / "theirs"))
    os.close(descriptor)

    assert (tmp_path / "roots").stat().st_uid == 0
