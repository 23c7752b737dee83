"""The times of a LOG's lines: local times, whose offset the first event tells, by a clock that is
set, on a machine that sleeps."""

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from probes.rocksdb.log import CLOCK_JUMP_SECONDS, LogProbe
from probes.rocksdb.log_clock import LogClock
from probes.rocksdb.log_state import LogState
from probes.rocksdb.samples import LogSample
from probes.suspension import suspended_seconds
from tests.unit.test_rocksdb_log_state import BASE, STALLING, event, flush, line, opening

HOUR = 3600.0
HEARD = 10_000_000  # microseconds from BASE to the first event
NOW = (BASE + 15_000_000) / 1e6


def told_with(offset_seconds: float, *blocks: bytes) -> LogSample:
    """What is told where the agent's own zone is so far from UTC; the database's is an hour."""
    state = LogState(offset_seconds=offset_seconds)
    for block in blocks:
        state.feed(block)
    return state.sample(0.0, "LOG", NOW)


LINES_BEFORE_AN_EVENT = {
    "a stall": line(3_000_000, STALLING % b"default"),
    "an error": line(
        3_000_000, b"[ERROR] [db/x.cc:1] Waiting after background flush error: IO error: x"
    ),
    "an opening after a stall": line(1_000_000, STALLING % b"default") + opening(3_000_000),
    "a move": line(1_000_000, STALLING % b"default")
    + line(2_000_000, b"[db/c.cc:1] [default] Moving #7 to level-2 100 bytes")
    + line(
        3_000_000,
        b"[db/c.cc:2] [default] Moved #1 files to level-2 100 bytes OK: level files[0 0 1]",
    ),
    "a dump": line(2_000_000, b"[db/db_impl.cc:1105] ------- DUMPING STATS -------")
    + line(2_000_050, b"[db/db_impl.cc:1107] ")
    + b"** DB Stats **\nUptime(secs): 3.0 total, 2.0 interval\n",
}


@pytest.mark.parametrize("what", LINES_BEFORE_AN_EVENT)
@pytest.mark.parametrize("offset_seconds", [-8 * HOUR, 0.0, 5.5 * HOUR])
@pytest.mark.parametrize("together", [True, False])
def test_all_that_was_told_before_the_first_event_is_told_by_its_clock(
    what: str, offset_seconds: float, *, together: bool
) -> None:
    """As where the offset was right from the start, and all read at once or not."""
    lines = opening(0) + LINES_BEFORE_AN_EVENT[what]
    heard = event(HEARD, b'"job": 1, "event": "compaction_started", "files_L0": [9]')
    blocks = [lines + heard] if together else [lines, heard]
    assert told_with(offset_seconds, *blocks) == told_with(HOUR, lines + heard)


def test_the_newest_line_is_told_right_when_it_came_before_the_first_event() -> None:
    """The next header says the database was closed by then: not hours later, nor before."""
    stalled = line(1_000_000, STALLING % b"default") + line(3_000_000, b"the last words")
    again = opening(9_000_000) + flush(HEARD, 1)
    sample = told_with(-8 * HOUR, stalled, again)
    assert sample.stall_seconds["delayed"] == 2.0


def test_the_first_event_moves_all_times_that_were_told() -> None:
    """Also what the clock keeps for itself."""
    clock = LogClock(-8 * HOUR)
    lines = line(0, b"first") + line(2_000_000, b"last")
    header = line(5_000_000, b"RocksDB version: 7.8.3")
    clock.begin(lines)
    clock.end()
    clock.header(header)
    clock.opened(header)
    heard = event(HEARD, b'"job": 1, "event": "flush_started"')
    assert clock.learn_offset(heard, BASE + HEARD) == -9 * HOUR * 1e6
    assert (clock.first_micros, clock.last_micros) == (BASE, BASE + 2_000_000)
    assert clock.logged_before_header == BASE + 2_000_000
    assert clock.opened_micros == clock.header_micros == BASE + 5_000_000


def test_a_dump_is_dated_right_when_the_first_event_comes_before_its_body() -> None:
    """Another thread's."""
    announced = line(2_000_000, b"[db/db_impl.cc:1105] ------- DUMPING STATS -------")
    heard = event(HEARD, b'"job": 1, "event": "flush_started"')
    body = line(HEARD + 1, b"[db/db_impl.cc:1107] ") + b"** DB Stats **\nUptime(secs): 3.0 total\n"
    sample = told_with(-8 * HOUR, announced + heard + body + line(HEARD + 2, b"done"))
    assert sample.stats_dump is not None
    assert sample.stats_dump.wall_seconds == (BASE + 2_000_000) / 1e6


def test_an_opening_in_winter_is_told_by_winters_clock_in_summer() -> None:
    """The middle of a large LOG is left out, and the season with it."""
    state = LogState(offset_seconds=2 * HOUR)
    state.learn_header(opening(0) + flush(HEARD, 1))
    half_a_year_later = line(0, STALLING % b"default") + event(HEARD, b'"job": 2, "event": "x"')
    state.feed(half_a_year_later.replace(b"-03:", b"-04:"))
    sample = state.sample(0.0, "LOG", NOW)
    assert sample.stalls[0].since_wall_seconds == BASE / 1e6
    assert sample.opened_wall_seconds == BASE / 1e6
    assert sample.recovery is not None
    assert sample.recovery.began_wall_seconds == (BASE + 500) / 1e6


@dataclass
class Machine:
    """Its clocks; a test sets the wall clock, or lets it sleep."""

    now: float = 5000.0
    slept: float = 0.0
    set_by: float = 0.0
    stopped_seconds: float = 0.0
    """For so long this process is stopped when it looks at the wall clock next."""

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        self.now, self.stopped_seconds = self.now + self.stopped_seconds, 0.0
        return BASE / 1e6 + self.now - 5000.0 + self.slept + self.set_by

    def suspended(self) -> float:
        return self.slept


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def probe(tmp_path: Path, machine: Machine) -> LogProbe:
    log = opening(0) + line(1, STALLING % b"default") + flush(2, 1)[:-1]
    (tmp_path / "LOG").write_bytes(log)
    return LogProbe(str(tmp_path), machine, suspended=machine.suspended)


def test_a_machine_that_slept_has_not_had_its_clock_set(probe: LogProbe, machine: Machine) -> None:
    """What happened before it slept happened then, by every clock that shows the day."""
    machine.now += 10.0
    before = probe.read()
    machine.now, machine.slept = machine.now + 10.0, 600.0
    after = probe.read()
    assert after.clock_shift_seconds == 0.0
    assert after.opened_wall_seconds == before.opened_wall_seconds == BASE / 1e6
    assert after.stalls == before.stalls


def test_nobody_waits_while_the_machine_sleeps(probe: LogProbe, machine: Machine) -> None:
    """The stall is as long as it was awake."""
    machine.now += 10.0
    before = probe.read().stall_seconds["delayed"]
    machine.now, machine.slept = machine.now + 10.0, 600.0
    after = probe.read().stall_seconds["delayed"]
    assert (round(before, 3), round(after - before, 3)) == (10.0, 10.0)


def test_a_clock_that_was_set_while_the_machine_slept_was_set(
    probe: LogProbe, machine: Machine
) -> None:
    """By the difference."""
    probe.read()
    machine.now, machine.slept, machine.set_by = machine.now + 10.0, 600.0, HOUR
    after = probe.read()
    assert after.clock_shift_seconds == HOUR
    assert after.opened_wall_seconds == BASE / 1e6 + HOUR


@pytest.mark.parametrize("stopped_seconds", [CLOCK_JUMP_SECONDS + 1.0, 600.0])
def test_a_process_that_is_stopped_between_two_clocks_sees_none_that_was_set(
    probe: LogProbe, machine: Machine, stopped_seconds: float
) -> None:
    """Neither then nor afterwards."""
    probe.read()
    machine.stopped_seconds = stopped_seconds
    shifts = []
    for _ in range(2):
        machine.now += 10.0
        shifts.append(probe.read().clock_shift_seconds)
    assert shifts == [0.0, 0.0]


def test_this_machine_tells_how_long_it_has_slept() -> None:
    """Not by jumps."""
    first, second = suspended_seconds(), suspended_seconds()
    assert first > -0.1
    assert abs(second - first) < CLOCK_JUMP_SECONDS


def test_lines_without_a_time_cost_no_more_the_more_of_them_there_are() -> None:
    """Each asks when the last line before it was written; a LOG may hold anything."""
    state = LogState()
    began = time.process_time()
    state.feed(line(0, b"opened") + b"DB pointer\n" * 10_000)
    assert time.process_time() - began < 1.0
    assert state.sample(0.0, "LOG", NOW).last_wall_seconds == BASE / 1e6 + 3600.0
