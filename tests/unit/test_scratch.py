"""The choice of a scratch directory and the life of scratch files, on real directories."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from probes.errors import NoData, ProbeError, ProbeFailed
from probes.scratch import (
    check_scratch_directory,
    choose_scratch_directory,
    create_scratch_file,
    default_candidates,
    enclosing_database,
    mount_point,
    process_tag,
    remove_leftovers,
    remove_scratch_directory,
    remove_scratch_leftovers,
    tag_is_alive,
)

OWN_NAME = f"smaxd-scratch-{os.geteuid()}"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  not written to
SHARED = ("/var/tmp", "/tmp")  # noqa: S108  names only
needs_two_file_systems = pytest.mark.skipif(
    not SHARED_MEMORY.is_dir() or SHARED_MEMORY.stat().st_dev == os.stat(SHARED[1]).st_dev,
    reason="shared memory is not a file system of its own",
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A directory that looks like a database."""
    path = tmp_path / "database"
    path.mkdir()
    (path / "CURRENT").touch()
    return path


def choose(database: Path, configured: Path | None = None, *candidates: Path) -> str:
    return choose_scratch_directory(
        str(database),
        None if configured is None else str(configured),
        [str(candidate) for candidate in candidates],
        [str(database)],
    )


def test_the_first_usable_candidate_gets_a_private_subdirectory(
    tmp_path: Path, database: Path
) -> None:
    """Missing ones, files and databases are passed over."""
    file = tmp_path / "file"
    file.touch()
    good = tmp_path / "good"
    good.mkdir()
    inside = database / "inside"
    inside.mkdir()
    chosen = choose(database, None, tmp_path / "missing", file, database, inside, good, tmp_path)
    assert chosen == str(good / OWN_NAME)
    assert stat.S_IMODE(os.stat(chosen).st_mode) == 0o700
    assert os.listdir(inside) == []


def test_choosing_twice_gives_the_same_directory(tmp_path: Path, database: Path) -> None:
    """The leftovers of an earlier run are found there."""
    assert choose(database, None, tmp_path) == choose(database, None, tmp_path)


def test_a_configured_directory_wins(tmp_path: Path, database: Path) -> None:
    """The operator knows best, within the rules."""
    configured = tmp_path / "configured"
    configured.mkdir()
    assert choose(database, configured, tmp_path) == str(configured / OWN_NAME)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ("missing", "No such file"),
        ("file", "is not a directory"),
        ("database", "lies in the database"),
        ("database/inside", "lies in the database"),
        ("link", "lies in the database"),
        ("other_database/inside", "lies in the database"),
        ("shared", "no sticky bit"),
    ],
)
def test_a_configured_directory_that_breaks_a_rule_is_refused(
    tmp_path: Path, database: Path, make: str, words: str
) -> None:
    """No silent fallback to another directory."""
    (tmp_path / "file").touch()
    (database / "inside").mkdir()
    (tmp_path / "link").symlink_to(database / "inside")
    (tmp_path / "other_database" / "inside").mkdir(parents=True)
    (tmp_path / "other_database" / "CURRENT").touch()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    with pytest.raises(ProbeFailed) as caught:
        choose(database, tmp_path / make, tmp_path)
    assert caught.value.reason == "scratch_invalid"
    assert words in caught.value.detail


@needs_two_file_systems
def test_another_file_system_is_never_chosen(database: Path) -> None:
    """It would measure another device."""
    shm = SHARED_MEMORY
    with pytest.raises(NoData) as absent:
        choose(database, None, shm)
    assert absent.value.reason == "no_scratch_directory"
    assert "--scratch DIR" in absent.value.detail
    with pytest.raises(ProbeFailed) as refused:
        choose(database, shm)
    assert "another file system" in refused.value.detail
    assert not (shm / OWN_NAME).exists()


def test_a_missing_database_is_no_data(tmp_path: Path) -> None:
    """Without it there is no file system to measure."""
    with pytest.raises(NoData) as caught:
        choose(tmp_path / "missing", None, tmp_path)
    assert caught.value.reason == "database_missing"


def test_a_planted_link_is_not_followed(tmp_path: Path, database: Path) -> None:
    """Anybody may create names in a shared directory."""
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / OWN_NAME).symlink_to(victim)
    with pytest.raises(NoData):
        choose(database, None, shared)
    assert os.listdir(victim) == []


def test_a_subdirectory_open_to_others_is_not_used(tmp_path: Path, database: Path) -> None:
    """Its files could be exchanged."""
    (tmp_path / OWN_NAME).mkdir()
    (tmp_path / OWN_NAME).chmod(0o777)
    with pytest.raises(NoData):
        choose(database, None, tmp_path)


@needs_root
def test_a_subdirectory_of_somebody_else_is_not_used(tmp_path: Path, database: Path) -> None:
    """Its owner could exchange our files."""
    (tmp_path / OWN_NAME).mkdir(mode=0o700)
    os.chown(tmp_path / OWN_NAME, 65534, 65534)
    with pytest.raises(NoData):
        choose(database, None, tmp_path)


def test_candidates_are_ours_first_then_shared_then_the_mount() -> None:
    """systemd may name several state directories; the first is the main one."""
    environ = {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/x", "HOME": "/h"}
    candidates = default_candidates("/", environ)
    assert candidates == ("/var/lib/a", "/x/smaxd", "/var/lib/smaxd", *SHARED, "/")
    at_home = default_candidates("/", {"HOME": "/h"})
    assert at_home[0] == "/h/.local/state/smaxd"


def test_relative_directories_from_the_environment_are_ignored() -> None:
    """They would depend on where the agent was started."""
    candidates = default_candidates("/", {"STATE_DIRECTORY": "state", "XDG_STATE_HOME": "x"})
    assert all(os.path.isabs(candidate) for candidate in candidates)


def test_the_mount_point_is_the_top_of_the_file_system(tmp_path: Path) -> None:
    """It is on the same device as the path."""
    found = mount_point(str(tmp_path))
    assert os.path.ismount(found)
    assert os.stat(found).st_dev == os.stat(tmp_path).st_dev


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        ("database", True),
        ("database/a/b", True),
        (".", False),
        ("database-2", False),
    ],
)
def test_containment_is_by_path_component(
    tmp_path: Path, database: Path, directory: str, expected: bool
) -> None:
    """A common prefix of two names is not containment."""
    (database / "CURRENT").unlink()
    found = enclosing_database(str(tmp_path / directory), [str(database)])
    assert found == (str(database) if expected else None)


def test_a_living_tag_is_this_process_and_a_dead_one_is_not() -> None:
    """The start time tells a recycled process id from the old process."""
    pid, ticks = process_tag().split("-")
    assert tag_is_alive(process_tag())
    assert not tag_is_alive(f"{pid}-{int(ticks) + 1}")
    for malformed in ("", "-", "x-1", f"{pid}-", f"{pid}-x", "²-1", f"{'9' * 30}-1"):
        assert not tag_is_alive(malformed)


def test_only_scratch_files_of_dead_runs_are_removed(tmp_path: Path) -> None:
    """Another instance's file, and whatever is not named like ours, stays."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        stat_fields = Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()
        alive = f"smaxd-scratch-{other.pid}-{stat_fields[19]}-00000000"
        own = create_scratch_file(str(tmp_path), process_tag(), 1)
        strangers = ["data", "smaxd-scratch-0", "smaxd-scratch-1-2", "smaxd-scratch--1-2-3"]
        for name in [alive, *strangers, "smaxd-scratch-1-1-abc", "smaxd-scratch-999999999-5-x"]:
            (tmp_path / name).touch()
        assert remove_leftovers(str(tmp_path)) == 2
        assert set(os.listdir(tmp_path)) == {alive, own, *strangers}
        other.communicate(b"\n")
    assert remove_leftovers(str(tmp_path)) == 1


def test_a_start_clears_up_after_a_killed_run_wherever_that_was(tmp_path: Path) -> None:
    """The next probe may be hours away; what is not ours, and what links elsewhere, stays."""
    state, mount, other = tmp_path / "state", tmp_path / "mount", tmp_path / "other"
    plain, hidden = state / OWN_NAME, mount / f".{OWN_NAME}"
    for directory in (plain, hidden, other):
        directory.mkdir(parents=True)
        (directory / "smaxd-scratch-1-0-0badcafe").touch()
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / OWN_NAME).symlink_to(other)
    parents = [str(path) for path in (state, mount, trap, tmp_path / "missing")]

    assert remove_scratch_leftovers(parents) == 2
    assert not plain.exists()
    assert not hidden.exists()
    assert os.listdir(other) == ["smaxd-scratch-1-0-0badcafe"]


def test_leftovers_of_a_missing_directory_are_none(tmp_path: Path) -> None:
    """Using the directory will say what is wrong with it."""
    assert remove_leftovers(str(tmp_path / "missing")) == 0


def test_scratch_files_are_private_and_never_share_a_name(tmp_path: Path) -> None:
    """Nobody can prepare a link under a name that cannot be foreseen."""
    names = {create_scratch_file(str(tmp_path), process_tag(), 4096) for _ in range(20)}
    assert len(names) == 20
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names}
    assert modes == {0o600}
    assert {(tmp_path / name).stat().st_size for name in names} == {4096}


def test_a_file_that_cannot_be_allocated_is_not_left_behind(tmp_path: Path) -> None:
    """More than any file system has."""
    with pytest.raises(ProbeFailed):
        create_scratch_file(str(tmp_path), "1-1", 2**62)
    assert os.listdir(tmp_path) == []


def test_a_name_that_exists_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a guessed name leads to an error and not into somebody's file."""
    monkeypatch.setattr("secrets.token_hex", lambda _count: "same")
    victim = tmp_path / "victim"
    (tmp_path / "smaxd-scratch-1-1-same").symlink_to(victim)
    with pytest.raises(ProbeFailed) as caught:
        create_scratch_file(str(tmp_path), "1-1", 1)
    assert caught.value.reason == "scratch_not_writable"
    assert not victim.exists()


def test_the_check_before_use_raises_only_probe_errors(tmp_path: Path) -> None:
    """Our subdirectory under a parent that vanished cannot be made anew."""
    with pytest.raises(ProbeError) as caught:
        check_scratch_directory(str(tmp_path / "gone" / OWN_NAME), [])
    assert caught.value.reason == "scratch_not_writable"


def test_at_the_end_only_our_own_empty_directory_is_removed(tmp_path: Path, database: Path) -> None:
    """An operator's directory stays, and one still in use, too."""
    chosen = choose(database, None, tmp_path)
    create_scratch_file(chosen, "1-1", 1)
    remove_scratch_directory(chosen)
    assert os.path.isdir(chosen)
    remove_leftovers(chosen)
    remove_scratch_directory(chosen)
    assert not os.path.exists(chosen)
    (tmp_path / "mine").mkdir()
    remove_scratch_directory(str(tmp_path / "mine"))
    assert (tmp_path / "mine").is_dir()
