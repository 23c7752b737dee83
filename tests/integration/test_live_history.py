"""The history of a real daemon beside a real database: written, read meanwhile, after its end."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.config import HistorySettings
from agent.history.recorder import COMMIT_SECONDS, LEAST_FREE_RATIO
from agent.history.sample import SAMPLE_SECONDS
from tests.integration.daemon import (
    PATIENCE_SECONDS,
    Daemon,
    daemon,
    environment,
    write_config,
    writing,
)
from tests.unit.test_history_recorder import Recording

LAST_COMMIT = "smaxd_history_last_commit_timestamp_seconds"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def rows(page_value: float | None) -> float:
    return page_value or 0.0


def recorded(one: Daemon) -> int:
    """How many rows of its database are on record; a reader beside the writer finds them."""
    table = one.smaxd("history", "--since", "10m", "--csv", "--state", str(one.home / "state"))
    return max(0, len(table.stdout.splitlines()) - 1)


def wait_until_recorded(one: Daemon, count: int = 1) -> None:
    """A row of what the first tick knows is written at once, of all else within a minute: on a busy
    host the database may be of the latter."""
    give_up = time.monotonic() + COMMIT_SECONDS + PATIENCE_SECONDS
    while recorded(one) < count:
        assert one.process.poll() is None, f"the daemon ended: {one.log_file.read_text()}"
        assert time.monotonic() < give_up, f"never {count} rows: {one.log_file.read_text()}"
        time.sleep(0.5)


def wait_until_more_is_gathered(one: Daemon) -> None:
    """A tick that began ten seconds after the latest commit took a sample that is not written."""
    one.wait_until(
        lambda p: time.time() - rows(p.value(LAST_COMMIT)) > SAMPLE_SECONDS, "time after a commit"
    )
    before = rows(one.page().value("smaxd_ticks_total"))
    one.wait_until(lambda p: rows(p.value("smaxd_ticks_total")) >= before + 3, "more ticks")


def test_it_is_written_by_the_daemon_and_read_meanwhile_and_afterwards(place: Path) -> None:
    """By way of the daemon, which says where; killed, it loses nothing that was committed."""
    config = write_config(place)
    with writing(place / "db"), daemon(place, "--config", config, "--db", str(place / "db")) as one:
        wait_until_recorded(one)
        assert one.page().value(LAST_COMMIT) is not None
        meanwhile = one.smaxd("history", "--since", "5m", "--json")
        one.stop(signal.SIGKILL)
        killed = one.home / "state"
        after = one.smaxd("history", "--since", "5m", "--csv", "--state", str(killed))

    assert meanwhile.returncode == 0, meanwhile.stderr
    assert str(place / "db") in meanwhile.stdout
    assert after.returncode == 0, after.stderr
    assert len(after.stdout.splitlines()) >= 2


def test_a_restart_goes_on_and_a_clean_end_loses_nothing(place: Path) -> None:
    """What was gathered since the last commit is written at the end."""
    config = write_config(place)
    arguments = ("--config", config, "--db", str(place / "db"))
    counts = [0]
    with writing(place / "db"):
        for _ in range(2):
            with daemon(place, *arguments) as one:
                wait_until_recorded(one, counts[-1] + 1)
                wait_until_more_is_gathered(one)
                counts.append(recorded(one))
                assert one.events("history_unusable") == []
                assert one.stop() == 0
            counts.append(recorded(one))

    assert counts == sorted(set(counts))


def test_a_damaged_file_costs_the_daemon_nothing(place: Path) -> None:
    """It is put away, told of, and a new one is begun."""
    state = place / "home" / "state"
    state.mkdir(parents=True)
    (state / "history.db").write_bytes(b"no database" * 2000)
    config = write_config(place)
    with writing(place / "db"), daemon(place, "--config", config, "--db", str(place / "db")) as one:
        one.wait_until(
            lambda p: rows(p.value("smaxd_history_rows_total")) > 0, "a row of the history"
        )
        (told,) = one.events("history_unusable")

    assert "level=warning" in told
    assert (state / "history.db.damaged").stat().st_size == 22_000


def test_switched_off_there_is_none(place: Path) -> None:
    """Neither a file nor a metric."""
    config = write_config(place, "history: {enabled: false}\n")
    with writing(place / "db"), daemon(place, "--config", config, "--db", str(place / "db")) as one:
        page = one.wait_until(lambda p: p.value("smaxd_ticks_total"), "a tick")
        assert page.value("smaxd_history_rows_total") is None
        assert not list((one.home / "state").glob("history.db*"))
        shown = one.smaxd("history")

    assert shown.returncode == 1
    assert "history.enabled" in shown.stderr


def test_the_report_of_a_real_daemon_is_written(place: Path) -> None:
    """With the database in it."""
    config = write_config(place)
    with writing(place / "db"), daemon(place, "--config", config, "--db", str(place / "db")) as one:
        wait_until_recorded(one)
        done = one.smaxd("report", "--since", "1h", "-o", str(place / "report.html"))

    assert done.returncode == 0, done.stderr
    assert str(place / "db") in (place / "report.html").read_text()


@contextmanager
def small_file_system(place: Path) -> Iterator[Path]:
    target = place / "small"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(target)], check=True)
    try:
        yield target
    finally:
        subprocess.run(["umount", str(target)], check=True)


@needs_root
def test_a_disk_that_fills_up_ends_nothing_and_room_lets_it_go_on(place: Path) -> None:
    """The real thing: the file system says that it is full, in the middle of a commit."""
    with small_file_system(place) as directory:
        recording = Recording(directory, HistorySettings())
        recording.minutes(0, 2)
        ballast = directory / "ballast"
        left = shutil.disk_usage(directory).free
        with ballast.open("wb") as file:
            file.write(b"x" * int(left - LEAST_FREE_RATIO * (4 << 20) - 8192))
        recording.minutes(2, 40)
        waiting = recording.status.waiting
        ballast.unlink()
        recording.minutes(40, 42)
        recording.close()

        assert waiting == "disk_full"
        assert recording.status.waiting is None
        assert recording.samples() == 42 * 6
        assert recording.events("history_unusable") == []


AS_ANOTHER = """
import csv, json, os, sys
import agent.commands.history, agent.cli
from agent.history.store import Store
from tests.unit import pasts
user = int(sys.argv.pop(1))
os.setgroups([]); os.setgid(user); os.setuid(user)
if sys.argv[1] == "fill":
    store = Store(sys.argv[2], 1 << 30)
    store.write(list(pasts.samples(60, 1)))
    store.close()
else:
    agent.cli.main()
"""
"""The interpreter may lie where no other user may go: what it needs is imported first."""


@needs_root
def test_root_reads_what_belongs_to_the_daemons_user_and_nobody_else_does(place: Path) -> None:
    """And leaves no file of root's behind that the daemon could not write; a copy may be given to
    whom one likes, who need not be able to write beside it."""
    user = pwd.getpwnam("nobody").pw_uid
    directory = place / "state"
    directory.mkdir(mode=0o700)
    os.chown(directory, user, user)

    def run(uid: int, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-c", AS_ANOTHER, str(uid), *words]
        known = environment(place)
        return subprocess.run(argv, env=known, capture_output=True, text=True, check=False)

    def shown(uid: int, where: Path) -> subprocess.CompletedProcess[str]:
        return run(uid, "history", "--since", "2026-09-20", "--csv", "--state", str(where))

    filled = run(user, "fill", str(directory / "history.db"))
    root = shown(0, directory)
    directory.chmod(0o755)
    stranger = shown(user - 1, directory)
    copy = shutil.copytree(directory, place / "copy", ignore=shutil.ignore_patterns("*-*"))
    (copy / "history.db").chmod(0o644)
    of_copy = shown(user - 1, copy)

    assert filled.returncode == 0, filled.stderr
    assert root.returncode == 0, root.stderr
    assert len(root.stdout.splitlines()) == 2
    assert {entry.stat().st_uid for entry in directory.iterdir()} == {user}
    assert stranger.returncode == 1
    assert "as the daemon's user or as root" in stranger.stderr
    assert of_copy.stdout == root.stdout, of_copy.stderr
    assert [entry.name for entry in copy.iterdir()] == ["history.db"]
