"""A database that is being opened, as its LOG tells: with the LOG of one that was really killed."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.findings import DatabaseFindings
from agent.probing.database_opening import LONGEST_RECOVERY_SECONDS, DatabaseOpening
from agent.readings import Missing
from agent.stalls import CLOSED_AFTER_SECONDS
from probes.rocksdb.log_state import LogState
from probes.rocksdb.samples import LogSample
from tests.unit.agent_samples import a_fingerprint, a_wal, database_findings, known

CAPTURED = Path(__file__).parents[1] / "data" / "rocksdb" / "recovery"
*_, KILLED = sorted(CAPTURED.glob("LOG.old.*"))
OPENED = CAPTURED / "LOG"
BEGAN = 1795285035.657543
"""When OPENED says "Recovering from manifest file"; it takes four seconds."""

BEFORE, AFTER = ("MANIFEST-000005", 4), ("MANIFEST-000082", 81)
"""The files that RocksDB has while it replays, and those that it begins afterwards."""


def up_to(words: str, path: Path = OPENED) -> LogSample:
    """What the LOG had told when these words came."""
    text = path.read_bytes()
    state = LogState()
    state.feed(text[: text.index(b"\n", text.index(words.encode())) + 1])
    return state.sample(0.0, str(path), 0.0)


STARTED = up_to('"recovery_started"')
FINISHED = up_to('"recovery_finished"')


def read(
    log: LogSample | None,
    *,
    owner: int | None = 42,
    files: tuple[str, int] = BEFORE,
    last_sequence: int = 20_000,
    owner_gone: bool = False,
    identity: int | None = 2,
) -> DatabaseFindings:
    """One tick's findings of a database that was created the day before."""
    fingerprint = a_fingerprint(BEGAN - 86400.0).value
    return database_findings(
        log=Missing("no_log", "it has none") if log is None else known(log),
        fingerprint=known(
            replace(fingerprint, owner_pid=owner, manifest_name=files[0], identity_inode=identity)
        ),
        wal=a_wal(0.0, last_sequence, wal_number=files[1]),
        owner_gone=owner_gone,
    )


class Watch:
    """Ticks by the seconds since the recovery began."""

    def __init__(self) -> None:
        self.opening = DatabaseOpening()

    def tick(self, since: float, log: LogSample | None, *, incarnation: int = 1, **of: Any) -> bool:
        self.opening.follow(incarnation, read(log, **of), 5000.0 + since, BEGAN + since)
        return self.opening.recovering

    @property
    def opened_since(self) -> float | None:
        at = self.opening.opened_at
        return None if at is None else round(at - 5000.0, 3)


def test_a_start_beside_a_recovery_sees_it_and_its_end() -> None:
    """Whatever the WAL is, and however it goes on with the files."""
    watch = Watch()
    assert [watch.tick(at, STARTED) for at in (1.0, 2.0, 3.0)] == [True, True, True]
    assert not watch.tick(5.0, FINISHED)
    assert watch.opened_since == 4.019


def test_an_owner_that_comes_while_we_watch_recovers_until_the_log_says_it_is_done() -> None:
    """Also where no number of a file changes."""
    watch = Watch()
    watch.tick(-10.0, None, owner=None)
    assert watch.tick(1.0, STARTED, incarnation=2)
    assert not watch.tick(5.0, FINISHED, incarnation=2)
    assert watch.opened_since == 4.019


def test_the_end_of_an_earlier_recovery_is_not_the_end_of_this_one() -> None:
    """The new owner has the lock, and the first lines of its LOG are still in its buffer."""
    watch = Watch()
    watch.tick(100.0, FINISHED, owner=41)
    assert watch.tick(110.0, FINISHED, owner=43, incarnation=2)
    assert watch.tick(111.0, FINISHED, owner=43, incarnation=2)


def test_a_recovery_of_which_nobody_tells_but_the_files_is_over_with_them() -> None:
    """The LOG lost its end: to a full disk, or to us."""
    watch = Watch()
    assert watch.tick(1.0, STARTED)
    assert not watch.tick(5.0, STARTED, files=AFTER)
    assert not watch.tick(10.0, STARTED, files=AFTER)


def test_a_recovery_is_over_when_the_database_takes_a_put() -> None:
    """Whatever its LOG has lost."""
    watch = Watch()
    assert watch.tick(1.0, STARTED)
    assert not watch.tick(5.0, STARTED, last_sequence=20_001)
    assert not watch.tick(6.0, STARTED, last_sequence=20_001)


def test_setting_the_clock_begins_no_recovery_that_was_over() -> None:
    """Its LOG's times move with the clock."""
    watch = Watch()
    watch.tick(1.0, STARTED)
    assert not watch.tick(5.0, STARTED, files=AFTER)
    began = replace(STARTED.recovery, began_wall_seconds=BEGAN + 3600.0)  # type: ignore[type-var]
    shifted = replace(STARTED, clock_shift_seconds=3600.0, recovery=began)
    assert not watch.tick(10.0, shifted, files=AFTER)


def test_a_long_recovery_goes_on_as_long_as_its_log_does() -> None:
    """It tells of every table that it writes."""
    watch = Watch()
    for at in (1.0, 2 * LONGEST_RECOVERY_SECONDS):
        assert watch.tick(at, replace(STARTED, last_wall_seconds=BEGAN + at - 60.0))
    silent = replace(STARTED, last_wall_seconds=BEGAN + 2 * LONGEST_RECOVERY_SECONDS - 60.0)
    assert watch.tick(3 * LONGEST_RECOVERY_SECONDS - 61.0, silent)
    assert not watch.tick(3 * LONGEST_RECOVERY_SECONDS - 60.0, silent)


CRASHED: Mapping[str, tuple[float, dict[str, Any]]] = {
    "its process is gone": (1.0, {"owner": None, "owner_gone": True}),
    "its process was gone before the start": (CLOSED_AFTER_SECONDS + 1.0, {"owner": None}),
}


@pytest.mark.parametrize("how", CRASHED)
def test_a_recovery_in_which_the_database_was_killed_holds_nothing_back(how: str) -> None:
    """Its LOG will never tell of an end."""
    killed = up_to('"recovery_started"', KILLED)
    at, seen = CRASHED[how]
    assert not Watch().tick(at, killed, **seen)


def test_a_recovery_in_another_pid_namespace_is_seen() -> None:
    """Its owner is not; its LOG is fresh."""
    watch = Watch()
    assert watch.tick(1.0, STARTED, owner=None)
    assert not watch.tick(5.0, FINISHED, owner=None)


def test_a_process_killed_in_its_recovery_while_we_watch_holds_nothing_back() -> None:
    """And the next one is seen again."""
    watch = Watch()
    killed = up_to('"recovery_started"', KILLED)
    assert watch.tick(0.0, killed)
    assert not watch.tick(0.1, killed, owner=None, owner_gone=True)
    assert watch.tick(1.0, STARTED, owner=43, incarnation=2)
    assert not watch.tick(5.0, FINISHED, owner=43, incarnation=2)


@pytest.mark.parametrize("reason", ["database_missing", "not_rocksdb"])
def test_a_database_that_is_removed_in_its_recovery_holds_nothing_back(reason: str) -> None:
    """Of that recovery no end will ever be seen."""
    watch = Watch()
    assert watch.tick(1.0, STARTED)
    hangs = replace(read(STARTED), fingerprint=Missing("timeout", "it has hung for 5 s"))
    watch.opening.follow(1, hangs, 5002.0, BEGAN + 2.0)
    assert watch.opening.recovering
    removed = replace(read(None), fingerprint=Missing(reason, "there is none"))
    watch.opening.follow(1, removed, 5003.0, BEGAN + 3.0)
    assert not watch.opening.recovering


def test_a_backup_that_was_restored_recovers_although_its_files_are_others() -> None:
    """There was none for a moment; the next process finds it all in place."""
    watch = Watch()
    watch.tick(-60.0, None, owner=41)
    removed = replace(read(None), fingerprint=Missing("database_missing", "there is none"))
    watch.opening.follow(1, removed, 4970.0, BEGAN - 30.0)
    assert watch.tick(1.0, STARTED, owner=43, incarnation=2, files=("MANIFEST-000070", 66))
    assert not watch.tick(5.0, FINISHED, owner=43, incarnation=2, files=AFTER)
    assert watch.opened_since == 4.019


@pytest.mark.parametrize("began", [STARTED, None], ids=["its LOG tells", "it has no LOG"])
def test_a_backup_restored_and_started_within_a_tick_recovers(began: LogSample | None) -> None:
    """Its files are other ones than the last tick saw, of before the restoring."""
    restored: dict[str, Any] = {
        "owner": 43,
        "incarnation": 2,
        "identity": 3,
        "files": ("MANIFEST-000070", 66),
    }
    watch = Watch()
    watch.tick(-10.0, None, owner=41)
    assert [watch.tick(at, began, **restored) for at in (1.0, 2.0)] == [True, True]
    assert not watch.tick(5.0, began, **restored | {"files": AFTER})


def test_a_backup_without_an_identity_is_given_one_before_it_is_recovered() -> None:
    """RocksDB's own backups leave that file out."""
    watch = Watch()
    watch.tick(-10.0, None, owner=None, identity=None)
    assert watch.tick(1.0, None, incarnation=2, identity=None)
    assert watch.tick(2.0, None, incarnation=3, identity=3)
    assert not watch.tick(5.0, None, incarnation=4, identity=3, files=AFTER)


def test_a_recovery_is_not_waited_for_without_limit_where_nothing_can_be_read() -> None:
    """But seen again where it goes on, once it can."""
    watch = Watch()
    assert watch.tick(1.0, STARTED)
    unreadable = replace(read(None), fingerprint=Missing("database_read_error", "I/O error"))
    told = BEGAN - (STARTED.last_wall_seconds or 0.0)
    recovering = []
    for since in (LONGEST_RECOVERY_SECONDS - told - 1.0, LONGEST_RECOVERY_SECONDS - told):
        watch.opening.follow(1, unreadable, 5000.0 + since, BEGAN + since)
        recovering.append(watch.opening.recovering)
    assert recovering == [True, False]
    later = 2 * LONGEST_RECOVERY_SECONDS
    assert watch.tick(later, replace(STARTED, last_wall_seconds=BEGAN + later))


def test_a_start_soon_after_a_long_recovery_leaves_the_database_to_itself() -> None:
    """From its end on, not from its beginning."""
    watch = Watch()
    assert not watch.tick(10.0, FINISHED)
    assert watch.opened_since == 4.019
