import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.calibrate.scratch_directory import (
    UnusableDirectory,
    check_directory,
    hold,
    make_scratch_directory,
    remove_leftovers,
    remove_scratch_directory,
)
from probes.scratch import SCRATCH_DATABASE_PREFIX, enclosing_database

DEAD = f"{SCRATCH_DATABASE_PREFIX}999999999-1-abcd"


def leftover(parent: Path, name: str = DEAD) -> Path:
    """What a killed run leaves."""
    (parent / name / "db").mkdir(parents=True)
    (parent / name / "db" / "000004.log").write_bytes(b"x")
    return parent / name


@pytest.mark.parametrize("mark", ["CURRENT", "IDENTITY"])
@pytest.mark.parametrize("below", [".", "a", "a/b"])
def test_nothing_is_made_in_a_database(tmp_path: Path, mark: str, below: str) -> None:
    """Nor anywhere below one."""
    (tmp_path / mark).touch()
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    with pytest.raises(UnusableDirectory, match="lies in the database"):
        check_directory(str(tmp_path / below), ())


def test_a_link_into_a_database_is_seen_through(tmp_path: Path) -> None:
    """What counts is where the files would be."""
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "CURRENT").touch()
    (tmp_path / "link").symlink_to("db")
    with pytest.raises(UnusableDirectory, match="lies in the database"):
        check_directory(str(tmp_path / "link"), ())


def test_a_known_database_needs_no_mark(tmp_path: Path) -> None:
    """It may be unreadable, or about to be made."""
    assert enclosing_database(str(tmp_path / "db" / "x"), [str(tmp_path / "db")]) == str(
        tmp_path / "db"
    )


def test_beside_a_database_is_allowed(tmp_path: Path) -> None:
    """That is where the same file system is."""
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "CURRENT").touch()
    assert check_directory(str(tmp_path), [str(tmp_path / "db")]) == str(tmp_path)


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    """By name, before anything is made."""
    (tmp_path / "file").touch()
    with pytest.raises(UnusableDirectory, match="is not a directory"):
        check_directory(str(tmp_path / "file"), ())
    with pytest.raises(UnusableDirectory, match="No such file"):
        check_directory(str(tmp_path / "missing"), ())


def test_a_directory_open_to_all_is_refused(tmp_path: Path) -> None:
    """Without the sticky bit anyone could exchange ours."""
    tmp_path.chmod(0o777)
    with pytest.raises(UnusableDirectory, match="sticky"):
        check_directory(str(tmp_path), ())
    tmp_path.chmod(0o1777)
    assert check_directory(str(tmp_path), ()) == str(tmp_path)


def test_our_directory_is_private_and_goes_with_all_in_it(tmp_path: Path) -> None:
    """Links in it are removed, not followed."""
    kept = tmp_path / "kept"
    kept.touch()
    made = Path(make_scratch_directory(str(tmp_path)))
    assert made.stat().st_mode & 0o777 == 0o700
    (made / "db").mkdir()
    (made / "db" / "link").symlink_to(kept)
    assert remove_scratch_directory(str(made))
    assert os.listdir(tmp_path) == ["kept"]


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    """Found by the name of a process that is no more."""
    left = leftover(tmp_path)
    assert remove_leftovers(str(tmp_path)) == (str(left),)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["smaxd-calibrate-", "smaxd-calibrate-1", "smaxd-scratch-999999999-1-abcd", "other"]
)
def test_what_is_not_named_like_ours_stays(tmp_path: Path, name: str) -> None:
    """Somebody else's files are none of our business."""
    leftover(tmp_path, name)
    assert remove_leftovers(str(tmp_path)) == ()
    assert os.listdir(tmp_path) == [name]


def test_a_link_named_like_a_leftover_stays(tmp_path: Path) -> None:
    """It could lead anywhere."""
    (tmp_path / "target").mkdir()
    (tmp_path / DEAD).symlink_to("target")
    assert remove_leftovers(str(tmp_path)) == ()


def test_a_living_run_keeps_its_directory(tmp_path: Path) -> None:
    """Its process is there to be seen."""
    made = make_scratch_directory(str(tmp_path))
    assert remove_leftovers(str(tmp_path)) == ()
    assert os.listdir(tmp_path) == [os.path.basename(made)]


def test_a_run_in_another_container_keeps_its_directory(tmp_path: Path) -> None:
    """Its process cannot be seen from here, but its lock can."""
    left = leftover(tmp_path)
    program = (
        "import fcntl,os,sys; fcntl.flock(os.open(sys.argv[1], 0), fcntl.LOCK_EX);"
        "print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(left)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert remove_leftovers(str(tmp_path)) == ()
        holder.communicate(b"\n")
    assert remove_leftovers(str(tmp_path)) == (str(left),)


def test_a_held_directory_can_still_be_removed_by_its_holder(tmp_path: Path) -> None:
    """The lock is for others."""
    made = make_scratch_directory(str(tmp_path))
    descriptor = hold(made)
    try:
        assert remove_scratch_directory(made)
    finally:
        os.close(descriptor)
