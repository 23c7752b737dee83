"""The wall clock is set an hour forwards or backwards under a database that works and stalls.

The database is a LOG that a script writes, the way RocksDB does, by a clock that the test owns, and
that the real probe and the real decisions look at: so the moment within a tick can be chosen.
``test_faults_set_clock`` does it to real processes.
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.readings import Known, Missing, Quantity
from agent.snapshot import DatabaseSnapshot
from probes.rocksdb.log import LogProbe
from tests.unit.agent_samples import NO_CPU, a_database_state, database_findings

TICK_SECONDS = 10.0
HOUR = 3600.0
FLUSHED_BYTES = 1_000_000
COMPACTED_BYTES = 4_000_000
ENTRIES = 1000
STALL_AT_TICK = 30
STALL_TICKS = 20
JUMP_AT_TICK = 40
TICKS = 100
BEGIN_WALL = 1_795_229_242.0


@dataclass
class HostClock:
    """What the host's clocks show; the wall clock may be set."""

    now: float = 5000.0
    set_by: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return BEGIN_WALL + self.now - 5000.0 + self.set_by


@dataclass
class ScriptedDatabase:
    """Flushes and compacts once a tick, and says in its LOG what RocksDB would."""

    log: Path
    clock: HostClock
    job: int = 0
    lines: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        wall = self.clock.wall()
        stamp = time.strftime("%Y/%m/%d-%H:%M:%S", time.gmtime(wall))
        with self.log.open("a") as file:
            file.write(f"{stamp}.{int(wall % 1 * 1e6):06d} 7f00 {text}\n")

    def event(self, event: str, **values: object) -> None:
        micros = int(self.clock.wall() * 1e6)
        body = {"time_micros": micros, "job": self.job, "event": event, **values}
        self.say(f"EVENT_LOG_v1 {json.dumps(body)}")

    def work(self, *, delayed: bool) -> None:
        """A flush of a second and a compaction of two.

        While writes are delayed, RocksDB says so with every new version of its LSM, before it says
        what made that version.
        """
        self.job += 2
        self.say(f"[default] [JOB {self.job}] Flushing memtable with next log file: 9")
        self.event(
            "flush_started", num_entries=ENTRIES, num_deletes=0, total_data_size=FLUSHED_BYTES
        )
        self.clock.now += 1.0
        self.event("table_file_creation", cf_name="default", file_size=FLUSHED_BYTES, file_number=7)
        self.warn(delayed=delayed)
        self.event("flush_finished", lsm_state=[1, 0])
        self.job += 1
        self.say(f"[default] [JOB {self.job}] Compacting 4@0 files to L1")
        self.event(
            "compaction_started", compaction_reason="LevelL0FilesNum", input_data_size=4_000_000
        )
        self.clock.now += 2.0
        self.warn(delayed=delayed)
        self.event(
            "compaction_finished",
            compaction_time_micros=2_000_000,
            output_level=1,
            total_output_size=COMPACTED_BYTES,
            num_subcompactions=1,
            lsm_state=[0, 1],
        )

    def warn(self, *, delayed: bool) -> None:
        if delayed:
            self.say(
                "[WARN] [/column_family.cc:991] [default] Stalling writes because we have 20 "
                "level-0 files rate 16777216"
            )


def watch(
    directory: Path, jump_seconds: float, *, set_before_work: bool = False
) -> list[DatabaseSnapshot]:
    """A database that works all the time and is delayed for twenty ticks, as it is published.

    The clock is set in the middle of one of those ticks: before or after that tick's LOG lines.
    """
    directory.mkdir()
    clock = HostClock()
    database = ScriptedDatabase(directory / "LOG", clock)
    database.say("RocksDB version: 9.8.4")
    database.say("[db/version_set.cc:5536] Recovering from manifest file: /db/MANIFEST-000001")
    probe = LogProbe(str(directory), clock)
    state = a_database_state()
    published = []
    for number in range(TICKS):
        begin = clock.now
        if number == JUMP_AT_TICK and set_before_work:
            clock.set_by += jump_seconds
        database.work(delayed=STALL_AT_TICK <= number < STALL_AT_TICK + STALL_TICKS)
        if number == JUMP_AT_TICK and not set_before_work:
            clock.set_by += jump_seconds
        clock.now = begin + TICK_SECONDS
        findings = database_findings(log=Known(probe.read(), "log", clock.now))
        published.append(state.update(findings, None, None, NO_CPU, clock.now, clock.wall()))
    probe.close()
    return published


def told(snapshot: DatabaseSnapshot) -> dict[str, object]:
    """What was published that the LOG is the source of, without the times of day."""
    stalls, seconds = snapshot.stalls, snapshot.stall_seconds
    return {
        "compaction rate": number(snapshot.compaction_bytes_per_second),
        "put rate": number(snapshot.observed_puts_per_second),
        "age": number(snapshot.age_seconds),
        "flushed": number(snapshot.flush_bytes_total),
        "stalls": (
            stalls.reason
            if isinstance(stalls, Missing)
            else [(stall.column_family, stall.state, stall.cause) for stall in stalls.value]
        ),
        "stall seconds": (
            seconds.reason
            if isinstance(seconds, Missing)
            else {state: round(spent, 3) for state, spent in seconds.value.items()}
        ),
    }


def number(quantity: Quantity) -> float | str:
    return quantity.reason if isinstance(quantity, Missing) else round(quantity.value, 3)


@pytest.mark.parametrize("set_before_work", [False, True], ids=["late", "early"])
@pytest.mark.parametrize("jump_seconds", [HOUR, -HOUR, 86400.0, 120.0, -120.0])
def test_a_clock_that_is_set_changes_nothing_of_what_is_published(
    tmp_path: Path, jump_seconds: float, set_before_work: bool
) -> None:
    """Rates, ages, stalls and their seconds are those of a host whose clock was left alone."""
    left_alone = watch(tmp_path / "alone", 0.0)
    jumped = watch(tmp_path / "jumped", jump_seconds, set_before_work=set_before_work)

    assert [told(snapshot) for snapshot in jumped] == [told(snapshot) for snapshot in left_alone]
    last = told(left_alone[-1])
    assert last["stall seconds"] == {"delayed": 10.0 * STALL_TICKS, "stopped": 0.0}
    assert last["compaction rate"] == pytest.approx(COMPACTED_BYTES / TICK_SECONDS, rel=0.05)
    assert last["put rate"] == pytest.approx(ENTRIES / TICK_SECONDS, rel=0.05)


def test_a_clock_that_is_set_in_a_stall_tells_its_beginning_by_the_new_time(
    tmp_path: Path,
) -> None:
    """An operator compares it with a clock on the wall, which shows the new time, too."""
    jumped = watch(tmp_path / "jumped", HOUR)[JUMP_AT_TICK + 1]

    assert isinstance(jumped.stalls, Known)
    began = jumped.stalls.value[0].since_wall_seconds
    assert began == pytest.approx(BEGIN_WALL + HOUR + STALL_AT_TICK * TICK_SECONDS + 1.0, abs=0.01)
