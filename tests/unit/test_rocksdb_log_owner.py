"""Somebody tries to open a database that is open: he takes the LOG's name, the owner goes on."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.clock import SystemClock
from probes.rocksdb.log import LogProbe, parse_log
from probes.rocksdb.log_state import LogState

CAPTURED = Path(__file__).parents[1] / "data" / "rocksdb" / "attempted"
(OWNERS,) = CAPTURED.glob("LOG.old.*")
ATTEMPT = (CAPTURED / "LOG").read_bytes()
AT_THE_ATTEMPT = OWNERS.read_bytes().index(b"2026/11/21-18:17:07.67")
"""Its next line came five milliseconds later."""


class Database:
    """A directory in which the owner writes its LOG, and others try."""

    def __init__(self, directory: Path) -> None:
        self.path = directory
        self._owners = directory / "LOG"
        self._owners.write_bytes(OWNERS.read_bytes()[:AT_THE_ATTEMPT])
        self._attempts = 0

    def is_attempted(self) -> None:
        """As by DB::Open: the LOG is renamed, and a new one begun, before the lock is asked for."""
        old = self.path / f"LOG.old.{1_795_285_027_664_244 + self._attempts}"
        (self.path / "LOG").rename(old)
        if not self._attempts:
            self._owners = old
        self._attempts += 1
        (self.path / "LOG").write_bytes(ATTEMPT)
        self._stamp(self.path / "LOG", 0)

    def is_read(self) -> None:
        """As up to RocksDB 6.19 by who opens it to read: all lines of an opening but the last."""
        (self.path / "LOG").rename(self.path / "LOG.old.1795285027664244")
        self._owners = self.path / "LOG.old.1795285027664244"
        (*_, reader) = sorted((CAPTURED.parent / "recovery").glob("LOG.old.*"))
        shutil.copyfile(reader, self.path / "LOG")

    def goes_on(self) -> Path:
        """The owner writes what it wrote after the attempt; the file in which it does."""
        with self._owners.open("ab") as file:
            file.write(OWNERS.read_bytes()[AT_THE_ATTEMPT:])
        self._stamp(self._owners, 1)
        return self._owners

    def is_opened_anew(self) -> None:
        """By another owner."""
        (self.path / "LOG").rename(self.path / "LOG.old.1795285040000000")
        shutil.copyfile(OWNERS, self.path / "LOG")

    def _stamp(self, file: Path, later: int) -> None:
        """File times are coarser than these tests are fast."""
        at = (self.path / "LOG").stat().st_mtime_ns + later * 10_000_000
        os.utime(file, ns=(at, at))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path)


@pytest.fixture
def probe(tmp_path: Path) -> Iterator[LogProbe]:
    made = LogProbe(str(tmp_path), SystemClock())
    yield made
    made.close()


def told() -> int:
    """Flushes in all of the owner's LOG."""
    return parse_log(str(OWNERS), SystemClock()).flushes


def test_the_owner_is_followed_into_the_file_that_lost_its_name(
    database: Database, probe: LogProbe
) -> None:
    """What it does after the attempt is told, and where."""
    before = probe.read()
    database.is_attempted()
    attempted = probe.read()
    owners = database.goes_on()
    after = probe.read()
    assert 0 < before.flushes == attempted.flushes < after.flushes == told()
    assert after.log_path == str(owners)
    assert after.damaged_lines == 0


def test_a_start_after_the_attempt_finds_the_owners_file(
    database: Database, probe: LogProbe
) -> None:
    """Also its header, and also where it was silent for long."""
    database.is_attempted()
    owners = database.goes_on()
    hour_ago = owners.stat().st_mtime - 3600.0
    os.utime(database.path / "LOG", (hour_ago - 1.0, hour_ago - 1.0))
    os.utime(owners, (hour_ago, hour_ago))
    sample = probe.read()
    assert (sample.flushes, sample.log_path) == (told(), str(owners))
    assert sample.recovery is not None
    assert sample.opened_wall_seconds == sample.first_wall_seconds


def test_of_an_owner_that_wrote_much_before_the_attempt_the_header_is_known(
    database: Database,
) -> None:
    """The rest of its LOG is left out, as of any large one."""
    database.is_attempted()
    database.goes_on()
    probe = LogProbe(str(database.path), SystemClock(), history_bytes=len(ATTEMPT) + 15_000)
    sample = probe.read()
    probe.close()
    whole = parse_log(str(OWNERS), SystemClock())
    assert 0 < sample.flushes < whole.flushes
    assert sample.opened_wall_seconds == whole.opened_wall_seconds
    assert sample.recovery == whole.recovery


def test_a_start_among_many_attempts_finds_the_file_of_an_owner_that_is_silent(
    database: Database, probe: LogProbe
) -> None:
    """All of them wrote after it did."""
    database.is_attempted()
    owners = database.goes_on()
    for _ in range(5):
        database.is_attempted()
    os.utime(owners, (database.path.stat().st_mtime - 300.0,) * 2)
    sample = probe.read()
    assert (sample.flushes, sample.log_path) == (told(), str(owners))


def test_who_tries_in_vain_changes_neither_version_nor_options(
    database: Database, probe: LogProbe
) -> None:
    """A tool of another release, with options of its own; also for a start afterwards."""
    before = probe.read()
    database.is_attempted()
    tried = ATTEMPT.replace(b"RocksDB version: 7.8.3", b"RocksDB version: 9.9.9")
    tried = tried.replace(b"Options.rate_limiter: (nil)", b"Options.rate_limiter: 0x7f0012345678")
    assert tried.count(b"9.9.9") == tried.count(b"0x7f0012345678") == 1
    (database.path / "LOG").write_bytes(tried)
    database.goes_on()
    started = LogProbe(str(database.path), SystemClock())
    for sample in (probe.read(), started.read()):
        assert (sample.rocksdb_version, sample.rate_limiter) == ("7.8.3", before.rate_limiter)
        assert sample.table_directories == before.table_directories
    started.close()


def test_a_service_that_is_restarted_in_vain_again_and_again_hides_nothing(
    database: Database, probe: LogProbe
) -> None:
    """The owner may be silent between two attempts."""
    probe.read()
    for _ in range(5):
        database.is_attempted()
        probe.read()
    database.goes_on()
    assert probe.read().flushes == told()


def test_a_file_between_two_readings_is_not_the_owners_for_being_the_newest(
    database: Database, probe: LogProbe
) -> None:
    """Several attempts between two ticks."""
    probe.read()
    for _ in range(5):
        database.is_attempted()
    database.goes_on()
    assert probe.read().flushes == told()


def test_a_line_that_was_half_written_at_the_attempt_is_completed(
    database: Database, probe: LogProbe
) -> None:
    """The owner's buffer is flushed anywhere."""
    log = database.path / "LOG"
    whole = log.read_bytes()
    log.write_bytes(whole[:-40])
    probe.read()
    database.is_attempted()
    probe.read()
    (owners,) = database.path.glob("LOG.old.*")
    with owners.open("ab") as file:
        file.write(whole[-40:])
    database.goes_on()
    sample = probe.read()
    assert (sample.flushes, sample.damaged_lines) == (told(), 0)


def test_what_was_closed_meanwhile_goes_on_in_both_files(
    database: Database, probe: LogProbe
) -> None:
    """A database whose owner is not seen is given its descriptors back after each reading."""
    probe.read()
    database.is_attempted()
    probe.read()
    probe.close()
    database.goes_on()
    assert probe.read().flushes == told()


def test_who_opens_it_to_read_is_no_owner(database: Database, probe: LogProbe) -> None:
    """The owner goes on in its file."""
    probe.read()
    database.is_read()
    probe.read()
    owners = database.goes_on()
    sample = probe.read()
    assert (sample.flushes, sample.log_path) == (told(), str(owners))


def test_an_attempt_ends_no_stall(database: Database, probe: LogProbe) -> None:
    """It "shuts down", too; the owner's writers still wait."""
    with (database.path / "LOG").open("ab") as file:
        file.write(
            b"2026/11/21-18:17:07.600000 1 [WARN] [db/column_family.cc:991] [default] Stopping "
            b"writes because we have 9 level-0 files\n"
        )
    stalled = probe.read()
    database.is_attempted()
    assert len(stalled.stalls) == len(probe.read().stalls) == 1


def test_nor_does_an_attempt_that_is_read_in_two_parts(database: Database, probe: LogProbe) -> None:
    """Between them comes what the owner wrote meanwhile."""
    probe.read()
    database.is_attempted()
    end = ATTEMPT.index(b"Shutdown complete") - 60
    (database.path / "LOG").write_bytes(ATTEMPT[: ATTEMPT.rindex(b"\n", 0, end) + 1])
    probe.read()
    with database.goes_on().open("ab") as file:
        file.write(
            b"2026/11/21-18:17:27.600000 1 [WARN] [db/column_family.cc:991] [default] Stopping "
            b"writes because we have 9 level-0 files\n"
        )
    assert len(probe.read().stalls) == 1
    (database.path / "LOG").write_bytes(ATTEMPT)
    assert len(probe.read().stalls) == 1


def test_statistics_are_of_a_database_that_is_open() -> None:
    """The LOG may have lost the end of the opening, and an idle owner writes nothing else."""
    recovering = (CAPTURED.parent / "recovery" / "LOG").read_bytes()
    state = LogState()
    state.feed(recovering[: recovering.index(b'"recovery_started"')].rpartition(b"\n")[0])
    began = state.sample(0.0, "LOG", 0.0).recovery
    assert began is not None
    assert began.ended_wall_seconds is None
    state.feed(b"2026/11/21-19:00:00.000000 1 [db/db_impl.cc:1] ------- DUMPING STATS -------\n")
    ended = state.sample(0.0, "LOG", 0.0).recovery
    assert ended is not None
    assert ended.ended_wall_seconds is not None


def test_a_new_owner_is_followed_once_the_old_one_is_gone(
    database: Database, probe: LogProbe
) -> None:
    """Its LOG is the one that has the name again."""
    probe.read()
    database.is_attempted()
    probe.read()
    database.is_opened_anew()
    sample = probe.read()
    assert sample.log_path == f"{database.path}/LOG"
    assert sample.flushes > told()


def test_a_deleted_file_is_not_kept_from_being_freed(database: Database, probe: LogProbe) -> None:
    """Whoever makes room on a full disk deletes old LOGs first."""
    probe.read()
    database.is_opened_anew()
    probe.read()
    for old in database.path.glob("LOG.old.*"):
        old.unlink()
    probe.read()
    held = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    ours = [path for path in held if path.startswith(str(database.path))]
    assert ours == [f"{database.path}/LOG"]
