"""Saturation episodes out of observations: what is a label, which kind, and what is none."""

import csv
import itertools
import pickle
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.learning.debt_trend import debt_share
from agent.learning.episodes import Episode, EpisodeDetector
from agent.learning.observation import EpisodeObservation, disturbances, options_key
from probes.rocksdb.options_samples import ColumnFamilyOptions, OptionsSample
from probes.rocksdb.samples import CompactionEvent, StallCondition

TICK = 10.0
WALL = 1.7e9


class Database:
    """Ticks of a made-up database: each call of ``tick`` adds one observation."""

    def __init__(self) -> None:
        self.seen: list[EpisodeObservation] = []
        self.at = 1000.0
        self.sequence = 5_000_000
        self.stall_seconds = {"delayed": 0.0, "stopped": 0.0}
        self.flushes = 100
        self.compacted = 0.0
        self.detector = EpisodeDetector()
        self.reports: list[Episode] = []
        self.tick(0.0, level0=4)

    def tick(
        self,
        rate: float,
        *,
        level0: int,
        delayed: float = 0.0,
        stopped: float = 0.0,
        seconds: float = TICK,
        delayed_rate: float | None = None,
        change: Callable[[EpisodeObservation], EpisodeObservation] = lambda seen: seen,
    ) -> tuple[Episode, ...]:
        """``delayed`` and ``stopped`` are shares of the tick; one flush per 60,000 puts."""
        self.at += seconds
        self.sequence += round(rate * seconds)
        self.stall_seconds["delayed"] += delayed * seconds
        self.stall_seconds["stopped"] += stopped * seconds
        self.compacted += rate * seconds * 4000
        state = "stopped" if stopped > 0.5 else "delayed"
        stall = StallCondition("default", state, "l0_files", WALL + self.at, delayed_rate)
        seen = EpisodeObservation(
            at=self.at,
            wall_seconds=WALL + self.at,
            sequence=self.sequence,
            sequence_source="wal",
            stalls=(stall,) if delayed or stopped else (),
            stall_seconds=dict(self.stall_seconds),
            level0_files=level0,
            flushes=self.sequence // 60_000,
            compaction_written_bytes=self.compacted,
            bytes_per_put=1040.0,
            host_cpu_busy_ratio=0.5,
            host_cpu_cores=4.0,
            owner_cpu_cores=1.5,
            foreign_bytes_per_second=5e6,
            device_write_bytes_per_second=1e8,
        )
        reports = self.detector.update(change(seen))
        self.reports += reports
        return reports

    def load(self, seconds: float, rate: float, *, level0: int = 6) -> None:
        """A load well below saturation; level 0 breathes."""
        for n in range(round(seconds / TICK)):
            self.tick(rate, level0=level0 + n % 3)

    def saturate(self, seconds: float, rate: float) -> None:
        """Writers in a closed loop as RocksDB has them: delayed for ever, level 0 near 20."""
        for n in range(round(seconds / TICK)):
            wave = (1.1, 0.95, 0.95)[n % 3]
            self.tick(rate * wave, level0=20 + n % 3, delayed=0.9)

    @property
    def labels(self) -> list[Episode]:
        """The latest report of every saturation episode that was not withdrawn."""
        latest = {report.started_wall_seconds: report for report in self.reports}
        return [r for r in latest.values() if r.status != "withdrawn" and r.kind != "floor"]


def test_a_sustained_delay_without_growing_debt_is_an_exact_label() -> None:
    """RocksDB keeps writers in a closed loop delayed for ever; their mean rate is S_max."""
    database = Database()
    database.load(120, 6000)
    database.saturate(300, 20_000)
    (label,) = database.labels
    assert label.kind == "delay"
    assert label.puts_per_second == pytest.approx(20_000, rel=0.01)
    assert label.status == "open"
    assert label.cause == "l0_files"


def saturated_at(tick_seconds: float, seconds: float) -> Database:
    """A steady saturation looked at so often."""
    database = Database()
    for n in range(round(seconds / tick_seconds)):
        level0 = 20 + int(n * tick_seconds / 10) % 3
        database.tick(20_000, level0=level0, delayed=0.9, seconds=tick_seconds)
    return database


def test_a_tick_of_a_fifth_of_a_second_finds_the_same_rate() -> None:
    """Ticks that follow closely are one interval, and none of their puts is lost."""
    (often,), (rarely,) = saturated_at(0.2, 300).labels, saturated_at(10.0, 300).labels
    assert often.kind == rarely.kind
    assert often.puts_per_second == pytest.approx(rarely.puts_per_second, rel=1e-3)
    assert often.measured_seconds == pytest.approx(rarely.measured_seconds, abs=2 * TICK)


def test_looking_more_often_takes_no_more_memory() -> None:
    """What a long run keeps is bounded by its time, not by the number of ticks; and it is not all
    that every tick saw."""
    kept = {tick: len(pickle.dumps(saturated_at(tick, 1800).detector)) for tick in (0.5, 1.0, 5.0)}
    assert kept[0.5] < 1.5 * kept[5.0]
    assert kept[1.0] < 1.5 * kept[5.0]
    assert kept[5.0] < 1800 / 5 * 150


def test_stop_and_go_is_averaged_over_whole_cycles() -> None:
    """40 s stopped and 60 s at full speed: neither part is the rate, and no half cycle counts."""
    database = Database()
    database.load(120, 6000)
    for _ in range(5):
        for _ in range(4):
            database.tick(0, level0=36, stopped=1.0)
        for n in range(6):
            database.tick(30_000, level0=30 + n)
    for _ in range(4):
        database.tick(0, level0=36, stopped=1.0)
    (label,) = database.labels
    assert label.kind == "stop"
    assert label.puts_per_second == pytest.approx(18_000, rel=1e-6)


def test_the_time_in_which_the_debt_still_grows_does_not_count() -> None:
    """The buffers take a rate at first that nothing clears."""
    database = Database()
    database.load(120, 6000)
    for n in range(12):
        database.tick(60_000, level0=4 + n * 7, delayed=0.9)
    assert database.labels == []
    for n in range(60):
        database.tick(20_000, level0=80 + n % 3, delayed=0.9)
    (label,) = database.labels
    assert label.puts_per_second == pytest.approx(20_000, rel=0.01)


def test_a_burst_with_a_stall_and_a_pause_is_no_label() -> None:
    """Its client offers little on average: what it got in the stall says nothing."""
    database = Database()
    for _ in range(20):
        for n in range(4):
            database.tick(40_000, level0=8 + 4 * n, delayed=0.5 * (n > 1))
        for n in range(6):
            database.tick(200, level0=18 - 2 * n)
    assert database.labels == []


def test_debt_that_keeps_growing_is_no_label() -> None:
    """The rate is above S_max by an unknown amount then."""
    database = Database()
    database.load(120, 6000)
    for n in range(60):
        database.tick(20_000, level0=20 + n, delayed=0.9)
    assert database.labels == []


def test_debt_that_shrinks_is_no_label() -> None:
    """The rate is below S_max: a part of the work went into old debt."""
    database = Database()
    for n in range(60):
        database.tick(6_000, level0=90 - n, delayed=0.9)
    assert database.labels == []


def test_pending_bytes_that_grow_speak_against_a_level_0_that_does_not() -> None:
    """Deeper levels fall behind while level 0 stands."""
    database = Database()
    pending = itertools.count()

    def owed(seen: EpisodeObservation) -> EpisodeObservation:
        n = next(pending)
        minute = n // 6  # the secondary looks once a minute
        return replace(
            seen, pending_compaction_bytes=minute * 60 * 2e7, pending_at=1000.0 + minute * 60
        )

    for n in range(60):
        database.tick(20_000, level0=20 + n % 3, delayed=0.9, change=owed)
        if n == 12:
            assert database.labels != []  # one or two readings say nothing yet
    assert database.labels == []
    assert database.reports[-1].status == "withdrawn"


def test_delay_now_and_then_is_a_ceiling() -> None:
    """S_max by definition allows delay for 1 % of the time: this rate has 4 %."""
    database = Database()
    database.load(120, 6000)
    for n in range(60):
        database.tick(18_000, level0=16 + n % 4, delayed=0.12 if n % 3 == 0 else 0.0)
    (label,) = database.labels
    assert label.kind == "ceiling"
    assert label.puts_per_second == pytest.approx(18_000, rel=0.01)


def test_a_delay_that_nobody_feels_limits_nobody() -> None:
    """The delayed write rate is 16 MiB/s and the client writes 2 MB/s."""
    database = Database()
    for n in range(60):
        database.tick(2_000, level0=20 + n % 2, delayed=1.0, delayed_rate=16 * 1048576.0)
    assert database.labels == []


def test_busy_cores_without_a_stall_are_a_less_certain_label() -> None:
    """The owner's threads keep the host busy and no debt grows."""
    database = Database()
    database.load(120, 6000)

    def busy(seen: EpisodeObservation) -> EpisodeObservation:
        return replace(seen, host_cpu_busy_ratio=0.99, owner_cpu_cores=3.7)

    for n in range(30):
        database.tick(90_000, level0=6 + n % 3, change=busy)
    (label,) = database.labels
    assert (label.kind, label.cause) == ("cpu", "cpu")
    assert label.puts_per_second == pytest.approx(90_000)
    assert label.log_uncertainty >= 0.15


def test_a_lone_writer_that_never_sleeps_is_a_less_certain_label() -> None:
    """Half of the host is idle, nothing stalls, and the put rate is what one thread can do."""
    database = Database()
    database.load(120, 6000)

    def busy(seen: EpisodeObservation) -> EpisodeObservation:
        return replace(seen, lone_writer_ratio=0.98, put_cpu_prior_seconds=3e-6)

    for n in range(30):
        database.tick(150_000, level0=6 + n % 3, change=busy)
    (label,) = database.labels
    assert (label.kind, label.cause) == ("cpu", "writer")
    assert label.puts_per_second == pytest.approx(150_000)
    assert label.log_uncertainty >= 0.15


@pytest.mark.parametrize(
    ("ratio", "rate"),
    [
        (0.93, 150_000.0),  # sleeps now and then: its client has no more to write
        (1.0, 20_000.0),  # 50 us a put: it computes something else, or spins
    ],
)
def test_a_lone_thread_that_does_not_only_write_is_no_label(ratio: float, rate: float) -> None:
    """Its rate says nothing about what the database sustains."""
    database = Database()

    def change(seen: EpisodeObservation) -> EpisodeObservation:
        return replace(seen, lone_writer_ratio=ratio, put_cpu_prior_seconds=3e-6)

    for n in range(40):
        database.tick(rate, level0=6 + n % 3, change=change)
    assert database.labels == []


def test_cores_that_are_busy_for_somebody_else_are_no_label() -> None:
    """A low-priority job takes all idle cores of any host."""
    database = Database()

    def busy(seen: EpisodeObservation) -> EpisodeObservation:
        return replace(seen, host_cpu_busy_ratio=1.0, owner_cpu_cores=0.4)

    for n in range(40):
        database.tick(6_000, level0=6 + n % 3, change=busy)
    assert database.labels == []


def test_a_quota_that_is_used_up_is_busy_cores() -> None:
    """The host may be idle while the control group's quota is gone."""
    database = Database()

    def throttled(seen: EpisodeObservation) -> EpisodeObservation:
        return replace(seen, owner_cpu_cores=1.96, owner_cpu_limit_cores=2.0)

    for n in range(30):
        database.tick(50_000, level0=6 + n % 3, change=throttled)
    assert [label.kind for label in database.labels] == ["cpu"]


def test_gaps_under_ten_minutes_merge_into_one_label() -> None:
    """Five minutes of saturation, five of rest, five of saturation: one episode."""
    database = Database()
    database.load(120, 6000)
    database.saturate(300, 20_000)
    database.load(300, 3_000)
    database.saturate(300, 20_000)
    database.load(900, 3_000)
    (label,) = database.labels
    assert label.status == "closed"
    assert label.measured_seconds == pytest.approx(600, abs=TICK)


def test_gaps_over_ten_minutes_make_two_labels() -> None:
    """A second episode begins."""
    database = Database()
    for _ in range(2):
        database.load(1200, 3_000)
        database.saturate(300, 20_000)
    assert [label.status for label in database.labels] == ["closed", "open"]


def test_a_minute_is_reported_as_soon_as_it_is_measured() -> None:
    """An operator does not wait for the end of saturation."""
    database = Database()
    database.load(120, 6000)
    database.saturate(100, 20_000)
    assert len(database.labels) == 1


def test_less_than_a_minute_is_no_label() -> None:
    """DESIGN: at least 60 s."""
    database = Database()
    database.load(120, 6000)
    database.saturate(50, 20_000)
    database.load(1200, 3_000)
    assert database.labels == []


def test_a_manual_compaction_takes_back_what_was_measured_while_it_ran() -> None:
    """It becomes known only when it ends."""
    database = Database()
    database.load(120, 6000)
    begun = database.at
    database.saturate(300, 20_000)
    assert len(database.labels) == 1
    span = (begun, database.at + TICK)
    database.tick(
        20_000, level0=20, delayed=0.9, change=lambda seen: replace(seen, disturbances=(span,))
    )
    assert database.labels == []
    assert database.reports[-1].status == "withdrawn"


def test_what_a_manual_compaction_did_not_touch_stays_measured() -> None:
    """The event is still among the recent ones long after the compaction."""
    database = Database()
    span = (database.at, database.at + 60)
    for n in range(40):
        database.tick(
            20_000,
            level0=20 + n % 3,
            delayed=0.9,
            change=lambda seen: replace(seen, disturbances=(span,)),
        )
    (label,) = database.labels
    assert label.measured_seconds <= 340


@pytest.mark.parametrize(
    "change",
    [
        lambda seen: replace(seen, background_error=True),
        lambda seen: replace(seen, options_key="other"),
    ],
    ids=["background error", "changed options"],
)
def test_an_error_or_other_options_end_an_episode(
    change: Callable[[EpisodeObservation], EpisodeObservation],
) -> None:
    """What was measured before stays; nothing is added to it."""
    database = Database()
    database.load(120, 6000)
    database.saturate(300, 20_000)
    reports = database.tick(0, level0=20, delayed=1.0, change=change)
    assert [(r.status, r.kind) for r in reports] == [("closed", "delay")]
    assert reports[0].puts_per_second == pytest.approx(20_000, rel=0.01)


def test_a_foreign_load_that_comes_in_mid_episode_begins_another() -> None:
    """The other load's S_max is another number."""
    database = Database()
    database.load(300, 6000)
    database.saturate(300, 20_000)

    def foreign(seen: EpisodeObservation) -> EpisodeObservation:
        return replace(seen, foreign_bytes_per_second=5e7)

    for n in range(30):
        database.tick(10_000, level0=20 + n % 3, delayed=0.9, change=foreign)
    first, second = database.labels
    assert first.puts_per_second == pytest.approx(20_000, rel=0.05)
    assert second.puts_per_second == pytest.approx(10_000, rel=0.05)


def test_ten_quiet_minutes_prove_a_floor() -> None:
    """A load that is held without stalls and debt is at most S_max."""
    database = Database()
    database.load(1300, 6000)
    floors = [r for r in database.reports if r.kind == "floor"]
    assert [round(r.puts_per_second) for r in floors] == [6000, 6000]
    assert all(r.status == "closed" for r in floors)


def test_a_load_under_which_level_0_grows_proves_no_floor() -> None:
    """It is not known to be sustainable."""
    database = Database()
    for n in range(120):
        database.tick(18_000, level0=4 + n // 2)
    assert database.reports == []


def test_predictions_made_in_saturation_are_told_apart() -> None:
    """They have seen the answer."""
    database = Database()
    told = []
    for load, rate in ((database.load, 6e3), (database.saturate, 2e4), (database.load, 6e3)):
        load(120, rate)
        told.append(database.detector.saturated)
    assert told == [False, True, False]


def test_one_stall_in_an_hour_is_not_saturation() -> None:
    """Predictions go on being noted."""
    database = Database()
    database.load(120, 6000)
    database.tick(6_000, level0=20, delayed=0.3)
    database.load(10, 6000)
    assert not database.detector.saturated


def test_an_episode_of_many_hours_is_one_label_of_an_hour() -> None:
    """The LSM grows meanwhile, so a later hour has another S_max."""
    database = Database()
    database.load(120, 6000)
    database.saturate(3 * 3600, 20_000)
    (label,) = database.labels
    assert label.measured_seconds <= 3700
    assert database.detector.saturated


def test_a_hole_in_the_observations_ends_what_was_under_way() -> None:
    """A suspended daemon has not seen what happened."""
    database = Database()
    database.load(120, 6000)
    database.saturate(40, 20_000)
    database.tick(20_000, level0=20, delayed=0.9, seconds=4000)
    database.saturate(40, 20_000)
    assert database.labels == []


def test_the_shape_tells_of_stalls_where_the_log_does_not() -> None:
    """Conditions by level-0 files, without seconds."""
    database = Database()

    def silent(seen: EpisodeObservation) -> EpisodeObservation:
        return replace(seen, stall_seconds=None, flushes=None)

    for n in range(30):
        database.tick(20_000, level0=20 + n % 3, delayed=0.9, change=silent)
    assert [label.kind for label in database.labels] == ["delay"]


@pytest.mark.parametrize(
    "blind",
    [
        lambda seen: replace(seen, sequence=None),
        lambda seen: replace(seen, stalls=None, stall_seconds=None),
        lambda seen: replace(seen, level0_files=None),
    ],
    ids=["no sequence number", "stalls unknown", "no debt known"],
)
def test_what_is_unknown_makes_no_label(
    blind: Callable[[EpisodeObservation], EpisodeObservation],
) -> None:
    """Neither a stall nor its absence is made up."""
    database = Database()
    for n in range(100):
        database.tick(20_000, level0=20 + n % 3, delayed=0.9, change=blind)
    assert database.reports == []


def test_a_sequence_number_that_goes_back_ends_the_run() -> None:
    """Another database stands there."""
    database = Database()
    database.saturate(50, 20_000)
    database.sequence = 0
    database.saturate(50, 20_000)
    assert database.labels == []


def options(families: Iterable[ColumnFamilyOptions] = (), **changes: object) -> OptionsSample:
    sample = OptionsSample(
        at=1.0,
        file_name="OPTIONS-000007",
        rocksdb_version="7.8.3",
        wal_dir=None,
        db_log_dir=None,
        max_background_jobs=2,
        max_subcompactions=1,
        delayed_write_rate=16777216,
        max_total_wal_bytes=0,
        column_families=tuple(families),
    )
    return replace(sample, **changes)  # type: ignore[arg-type]


def test_the_options_key_tells_what_matters_from_what_does_not() -> None:
    """Every opening of a database writes another file with the same content."""
    reopened = options(at=2.0, file_name="OPTIONS-000012", rocksdb_version="8.0.0")
    assert options_key(options()) == options_key(reopened)
    assert options_key(options()) != options_key(options(max_background_jobs=4))


def compaction(reason: str | None) -> CompactionEvent:
    return CompactionEvent(
        wall_seconds=WALL + 500,
        job=1,
        column_family=None,
        input_level=0,
        output_level=1,
        input_bytes=1,
        output_bytes=1,
        input_records=1,
        output_records=1,
        duration_seconds=40.0,
        cpu_seconds=None,
        subcompactions=1,
        reason=reason,
    )


def test_only_work_that_somebody_asked_for_is_a_disturbance() -> None:
    """Its span ends when the event was written, on the monotonic clock."""
    events = [compaction("LevelL0FilesNum"), compaction(None), compaction("ManualCompaction")]
    assert disturbances(events, 2000.0, WALL + 1000.0) == ((1460.0, 1500.0),)


def test_debt_without_known_work_is_measured_against_itself() -> None:
    """Ten per cent of twenty files."""
    assert debt_share([(0.0, 19.0), (30.0, 20.0), (60.0, 21.0)], None) == pytest.approx(0.1)


def test_a_saw_tooth_has_no_trend() -> None:
    """Level 0 from 4 to 20 and back, six times, with 200 flushes."""
    points = [(n * 10.0, float(4 + n % 16)) for n in range(96)]
    share = debt_share(points, 200.0)
    assert share is not None
    assert abs(share) < 0.03


CAPTURED = Path(__file__).parents[1] / "data" / "saturation" / "closed_loop.csv"
TRUTH = 26_737
"""By the load driver, over the second half of the closed loop."""


def captured_reports() -> list[tuple[float, Episode]]:
    """Reports, with the second at which they were made, on what the probes saw of db_bench."""
    with CAPTURED.open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    detector, reports = EpisodeDetector(), []
    for row in rows:
        at = float(row["seconds"])
        seen = EpisodeObservation(
            at=at,
            wall_seconds=WALL + at,
            sequence=int(row["sequence"]),
            sequence_source="wal",
            stalls=(),
            stall_seconds={
                "stopped": float(row["stopped_seconds"]),
                "delayed": float(row["delayed_seconds"]),
            },
            level0_files=int(row["level0_files"]),
            flushes=int(row["flushes"]),
            pending_compaction_bytes=float(row["pending_bytes"]) if row["pending_bytes"] else None,
            pending_at=float(row["pending_seconds"]) if row["pending_seconds"] else None,
            compaction_written_bytes=float(row["compacted_bytes"]),
        )
        reports += [(at, report) for report in detector.update(seen)]
    return reports


def test_a_real_closed_loop_is_labelled_with_what_its_driver_measured() -> None:
    """Stops by memtables while level 0 fills, then cycles of half a minute; nothing was tuned."""
    reports = captured_reports()
    assert {report.started_at for _, report in reports} == {reports[0][1].started_at}
    assert 115 <= reports[0][1].started_at <= 125
    for at, report in reports:
        assert at >= 200  # the first half minute took what nothing cleared
        assert report.kind == "stop"
        assert report.puts_per_second == pytest.approx(TRUTH, rel=2 * report.log_uncertainty)
    assert reports[-1][1].puts_per_second == pytest.approx(TRUTH, rel=0.02)
