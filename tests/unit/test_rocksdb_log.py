"""Following a LOG that grows, rotates, shrinks, vanishes and is damaged."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes.errors import NoData, ProbeError, ProbeFailed
from probes.rocksdb import log
from probes.rocksdb.log import LogProbe, parse_log

START = 1_795_229_242  # 2026/11/21-02:47:22 UTC


class SetClock:
    """A clock the test sets."""

    def __init__(self, wall: float = START + 60.0) -> None:
        self.now = wall

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


def stamp(second: int) -> bytes:
    return b"2026/11/21-%02d:%02d:%02d.000000 1 " % (
        (2 * 3600 + 47 * 60 + 22 + second) // 3600,
        (47 * 60 + 22 + second) // 60 % 60,
        (22 + second) % 60,
    )


def opening(second: int, version: bytes = b"7.8.3") -> bytes:
    return (
        stamp(second)
        + b"RocksDB version: %s\n" % version
        + stamp(second)
        + b"[db/version_set.cc:5536] Recovering from manifest file: /db/MANIFEST-000001\n"
    )


def flush(second: int, job: int, entries: int = 100) -> bytes:
    micros = (START + second) * 1_000_000
    head = stamp(second) + b'EVENT_LOG_v1 {"time_micros": %d, ' % micros
    return (
        head
        + b'"job": %d, "event": "flush_started", "num_entries": %d, "total_data_size": %d}\n'
        % (job, entries, entries * 100)
        + head
        + b'"cf_name": "default", "job": %d, "event": "table_file_creation", "file_size": %d}\n'
        % (job, entries * 50)
        + head
        + b'"job": %d, "event": "flush_finished", "lsm_state": [1, 0]}\n' % job
    )


def filler(second: int, size: int) -> bytes:
    one = stamp(second) + b"[db/x.cc:1] nothing of interest " + b"." * 200 + b"\n"
    return one * (size // len(one))


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def probe(tmp_path: Path, clock: SetClock) -> Iterator[LogProbe]:
    made = LogProbe(str(tmp_path), clock)
    yield made
    made.close()


def append(path: Path, text: bytes) -> None:
    with path.open("ab") as file:
        file.write(text)


def test_what_is_added_is_read_once(tmp_path: Path, probe: LogProbe) -> None:
    """Totals grow by what is new."""
    path = tmp_path / "LOG"
    append(path, opening(0) + flush(1, 1))
    first = probe.read()
    again = probe.read()
    append(path, flush(2, 2))
    assert (first.flushes, again.flushes, probe.read().flushes) == (1, 1, 2)


def test_half_a_line_is_read_when_its_end_has_come(tmp_path: Path, probe: LogProbe) -> None:
    """RocksDB's writer flushes its buffer anywhere."""
    path = tmp_path / "LOG"
    text = flush(1, 1)
    append(path, text[:-20])
    before = probe.read()
    append(path, text[-20:])
    after = probe.read()
    assert (before.flushes, after.flushes, after.damaged_lines) == (0, 1, 0)


def test_a_large_log_starts_with_its_head_and_its_end(tmp_path: Path, clock: SetClock) -> None:
    """Version and opening from the beginning, the rest from the last bytes only."""
    append(tmp_path / "LOG", opening(0) + flush(1, 1) + filler(2, 1_000_000) + flush(30, 9))
    probe = LogProbe(str(tmp_path), clock, history_bytes=100_000)
    sample = probe.read()
    probe.close()
    assert (sample.rocksdb_version, sample.opened_wall_seconds) == ("7.8.3", START)
    assert ([f.job for f in sample.recent_flushes], sample.first_wall_seconds) == ([9], START + 2)
    assert sample.damaged_lines == 0


def test_a_young_log_is_completed_from_its_predecessor(tmp_path: Path, probe: LogProbe) -> None:
    """A reopening must not make the agent forget the minutes before."""
    old = tmp_path / "LOG.old.1795229250000000"
    append(old, opening(0) + flush(1, 1))
    os.utime(old, (START + 8, START + 8))
    append(tmp_path / "LOG", opening(9) + flush(10, 1))
    sample = probe.read()
    assert (sample.flushes, sample.first_wall_seconds, sample.opened_wall_seconds) == (
        2,
        START,
        START + 9,
    )


def test_a_predecessor_of_last_week_is_left_alone(tmp_path: Path, probe: LogProbe) -> None:
    """History means recent history."""
    old = tmp_path / "LOG.old.1"
    append(old, opening(0) + flush(1, 1))
    os.utime(old, (START - 7 * 86400, START - 7 * 86400))
    append(tmp_path / "LOG", opening(9) + flush(10, 1))
    assert probe.read().flushes == 1


def test_a_rotation_loses_no_line(tmp_path: Path, probe: LogProbe) -> None:
    """The old file is read to its end through the open descriptor."""
    path = tmp_path / "LOG"
    append(path, opening(0) + flush(1, 1))
    probe.read()
    append(path, flush(2, 2))
    path.rename(tmp_path / "LOG.old.5")
    append(path, opening(3) + flush(4, 1))
    sample = probe.read()
    assert (sample.flushes, sample.opened_wall_seconds) == (3, START + 3)


def test_a_rotation_that_also_deletes_the_old_file_loses_no_line(
    tmp_path: Path, probe: LogProbe
) -> None:
    """keep_log_file_num = 1."""
    path = tmp_path / "LOG"
    append(path, opening(0))
    probe.read()
    append(path, flush(2, 2))
    path.unlink()
    append(path, opening(3) + flush(4, 1))
    assert probe.read().flushes == 2


def test_an_unfinished_last_line_of_a_rotated_file_does_not_reach_into_the_next(
    tmp_path: Path, probe: LogProbe
) -> None:
    """A database was killed in the middle of a line."""
    path = tmp_path / "LOG"
    append(path, flush(1, 1) + stamp(2) + b'EVENT_LOG_v1 {"time_mic')
    probe.read()
    path.rename(tmp_path / "LOG.old.5")
    append(path, opening(3) + flush(4, 1))
    sample = probe.read()
    assert (sample.flushes, sample.rocksdb_version) == (2, "7.8.3")


def test_truncation_to_zero_starts_again_at_the_beginning(tmp_path: Path, probe: LogProbe) -> None:
    """copytruncate."""
    path = tmp_path / "LOG"
    append(path, flush(1, 1) + flush(2, 2))
    probe.read()
    os.truncate(path, 0)
    empty = probe.read()
    append(path, flush(3, 3))
    assert (empty.flushes, probe.read().flushes) == (2, 3)


def test_the_hole_a_truncation_leaves_under_a_stubborn_writer_is_skipped(
    tmp_path: Path, probe: LogProbe
) -> None:
    """The writer keeps its offset: gigabytes of nothing come before its next line."""
    path = tmp_path / "LOG"
    append(path, flush(1, 1) + flush(2, 2))
    probe.read()
    os.truncate(path, 0)
    probe.read()
    os.truncate(path, 8 * 2**30)
    append(path, b"\n" + flush(3, 3))
    probe.read()
    assert probe.read().flushes == 3


def test_a_file_that_is_missing_for_a_moment_is_waited_for(tmp_path: Path, probe: LogProbe) -> None:
    """A rotation renames first and creates afterwards."""
    path = tmp_path / "LOG"
    append(path, flush(1, 1))
    probe.read()
    path.rename(tmp_path / "LOG.old.5")
    assert probe.read().flushes == 1
    with pytest.raises(NoData) as caught:
        probe.read()
    assert caught.value.reason == "no_log"
    append(path, flush(2, 1))
    assert probe.read().flushes == 2


def test_a_file_that_was_moved_away_and_back_is_not_read_twice(
    tmp_path: Path, probe: LogProbe
) -> None:
    """It goes on where it was left."""
    path = tmp_path / "LOG"
    append(path, flush(1, 1))
    probe.read()
    path.rename(tmp_path / "away")
    probe.read()
    with pytest.raises(NoData):
        probe.read()
    (tmp_path / "away").rename(path)
    append(path, flush(2, 2))
    assert probe.read().flushes == 2


def test_one_call_reads_no_more_than_its_share(
    tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A LOG that grew by gigabytes costs several ticks, not one long one."""
    monkeypatch.setattr(log, "MAX_BYTES_PER_READ", 100_000)
    path = tmp_path / "LOG"
    append(path, opening(0))
    probe = LogProbe(str(tmp_path), clock)
    probe.read()
    append(path, filler(1, 150_000) + flush(2, 1))
    counts = [probe.read().flushes, probe.read().flushes]
    probe.close()
    assert counts == [0, 1]


@pytest.mark.parametrize(
    ("make", "error", "reason"),
    [
        (lambda path: None, NoData, "no_log"),
        (lambda path: path.mkdir(), ProbeFailed, "log_not_a_file"),
        (os.mkfifo, ProbeFailed, "log_not_a_file"),
    ],
)
def test_what_is_no_log_is_named(
    tmp_path: Path, clock: SetClock, make: object, error: type[ProbeError], reason: str
) -> None:
    """And a named pipe does not hang the agent."""
    assert callable(make)
    make(tmp_path / "LOG")
    for read in (LogProbe(str(tmp_path), clock).read, lambda: parse_log(f"{tmp_path}/LOG", clock)):
        with pytest.raises(error) as caught:
            read()
        assert caught.value.reason == reason


def test_a_log_in_a_log_directory_is_followed(tmp_path: Path, clock: SetClock) -> None:
    """db_log_dir."""
    (tmp_path / "logs").mkdir()
    append(tmp_path / "logs" / "srv_db_LOG", flush(1, 1))
    probe = LogProbe("/srv/db", clock, db_log_dir=str(tmp_path / "logs"))
    sample = probe.read()
    probe.close()
    assert (sample.flushes, sample.log_path) == (1, f"{tmp_path}/logs/srv_db_LOG")


def test_a_whole_file_is_parsed_with_its_last_line_unfinished(
    tmp_path: Path, clock: SetClock
) -> None:
    """`smaxd probe log` reads files of databases that still run."""
    path = tmp_path / "any name"
    append(path, opening(0) + flush(1, 1) + flush(2, 2)[:-1])
    sample = parse_log(str(path), clock)
    assert (sample.flushes, sample.damaged_lines) == (2, 0)


def test_an_unfinished_stall_of_a_parsed_file_lasts_to_its_last_line(
    tmp_path: Path, clock: SetClock
) -> None:
    """Not to today: the file may be years old."""
    path = tmp_path / "LOG"
    stall = b"[WARN] [db/column_family.cc:9] [a] Stopping writes because we have 9 level-0 files\n"
    append(path, flush(1, 1) + stamp(5) + stall + filler(9, 1000))
    sample = parse_log(str(path), clock)
    assert (sample.stall_seconds["stopped"], len(sample.stalls)) == (4.0, 1)


@pytest.mark.parametrize("size", [0, 1, 70_000, 2_000_000])
def test_binary_garbage_gives_a_sample_that_says_nothing(
    tmp_path: Path, clock: SetClock, size: int
) -> None:
    """An encrypted or overwritten file."""
    path = tmp_path / "LOG"
    path.write_bytes(bytes((n * n + n // 7) % 251 for n in range(size)))
    sample = parse_log(str(path), clock)
    assert (sample.flushes, sample.has_events, sample.puts) == (0, False, None)


_ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 400)),
        st.tuples(st.sampled_from(["rotate", "truncate", "remove", "read"]), st.just(0)),
    ),
    max_size=25,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(actions=_ACTIONS)
def test_no_history_of_a_file_makes_following_raise_anything_else(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, int]]
) -> None:
    """Only NoData and ProbeFailed, and totals never fall."""
    directory = tmp_path_factory.mktemp("db")
    path = directory / "LOG"
    probe = LogProbe(str(directory), SetClock())
    written = flushes = 0
    for kind, size in actions:
        if kind == "append":
            written += 1
            append(path, flush(written % 60, written)[:size])
        elif kind == "rotate" and path.exists():
            path.rename(directory / f"LOG.old.{written}")
        elif kind == "truncate" and path.exists():
            os.truncate(path, 0)
        elif kind == "remove":
            path.unlink(missing_ok=True)
        try:
            sample = probe.read()
        except ProbeError:
            continue
        assert flushes <= sample.flushes <= written
        flushes = sample.flushes
    probe.close()


def rotate(path: Path, micros: int) -> None:
    """As RocksDB does: the name of the old file tells when the new one was begun."""
    path.rename(path.with_name(f"{path.name}.old.{micros}"))
    path.touch()


def test_a_log_rotated_ten_times_between_two_readings_loses_nothing(
    tmp_path: Path, probe: LogProbe
) -> None:
    """Also what was added to the first file after it was read last."""
    path = tmp_path / "LOG"
    append(path, opening(0) + flush(1, 1))
    assert probe.read().flushes == 1
    ahead = (path.stat().st_mtime_ns // 1000) + 1_000_000
    for number in range(10):
        append(path, flush(2 + number, 2 + number))
        rotate(path, ahead + number)
    append(path, flush(12, 12))
    sample = probe.read()
    assert [event.job for event in sample.recent_flushes] == list(range(1, 13))
    assert sample.damaged_lines == 0


def test_files_that_a_rotation_has_deleted_are_passed_over(tmp_path: Path, probe: LogProbe) -> None:
    """keep_log_file_num removes the oldest, among them the one that is open here."""
    path = tmp_path / "LOG"
    append(path, opening(0) + flush(1, 1))
    assert probe.read().flushes == 1
    ahead = (path.stat().st_mtime_ns // 1000) + 1_000_000
    for number in range(4):
        append(path, flush(2 + number, 2 + number))
        rotate(path, ahead + number)
    append(path, flush(6, 6))
    for number in range(2):
        (tmp_path / f"LOG.old.{ahead + number}").unlink()
    assert [event.job for event in probe.read().recent_flushes] == [1, 2, 4, 5, 6]


def test_a_log_rotated_while_it_could_not_be_seen_is_read_on_where_it_was_left(
    tmp_path: Path, probe: LogProbe
) -> None:
    """The directory was away for a while: neither the rest of the file nor the next one is lost."""
    path = tmp_path / "LOG"
    away = tmp_path / "away"
    append(path, opening(0) + flush(1, 1))
    assert probe.read().flushes == 1
    path.rename(away)
    assert probe.read().flushes == 1
    with pytest.raises(NoData, match="no_log"):
        probe.read()
    append(away, flush(2, 2))
    away.rename(path)
    ahead = (path.stat().st_mtime_ns // 1000) + 1_000_000
    rotate(path, ahead)
    append(path, flush(3, 3))
    rotate(path, ahead + 1)
    append(path, flush(4, 4))
    assert [event.job for event in probe.read().recent_flushes] == [1, 2, 3, 4]
