"""Forecasts on made loads: what is announced, when, why, and what is left alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from agent.forecast.capacity_plan import SMaxInterval
from agent.forecast.forecast import (
    HOLD_SECONDS,
    ForecastObservation,
    StallForecast,
    StallOutlook,
)
from agent.forecast.series import Flushes
from agent.readings import Known, Missing, value_of
from probes.rocksdb.options_samples import ColumnFamilyOptions, OptionsSample
from probes.rocksdb.samples import (
    ColumnFamilyShape,
    FlushEvent,
    LevelShape,
    LogSample,
    ManifestSample,
    StallCondition,
    WalSample,
)

TICK = 10.0
MIB = 1048576
PUTS_PER_FILE = 60_000
ABSENT = Missing("left_out", "the test leaves this reading out")
FAMILY = ColumnFamilyOptions(
    name="default",
    write_buffer_bytes=64 * MIB,
    max_write_buffer_number=2,
    level0_file_num_compaction_trigger=4,
    level0_slowdown_writes_trigger=20,
    level0_stop_writes_trigger=36,
    soft_pending_compaction_bytes_limit=64 * 1024 * MIB,
    hard_pending_compaction_bytes_limit=256 * 1024 * MIB,
    compaction_style="level",
    compression="none",
    num_levels=7,
    max_bytes_for_level_base=256 * MIB,
    max_bytes_for_level_multiplier=10.0,
    target_file_size_base=64 * MIB,
)
SHAPE = ColumnFamilyShape("default", (LevelShape(2, 2 * MIB),))
OPTIONS = OptionsSample(
    at=0.0,
    file_name="OPTIONS-000007",
    rocksdb_version="7.8.3",
    wal_dir=None,
    db_log_dir=None,
    max_background_jobs=4,
    max_subcompactions=1,
    delayed_write_rate=None,
    max_total_wal_bytes=None,
    column_families=(FAMILY,),
)
EMPTY_LOG = LogSample(
    at=0.0,
    log_path="LOG",
    rocksdb_version="7.8.3",
    table_directories=(),
    first_wall_seconds=0.0,
    last_wall_seconds=0.0,
    opened_wall_seconds=0.0,
    flushes=0,
    compactions=0,
    puts=None,
    user_bytes=None,
    flush_output_bytes=0,
    compaction_input_bytes=0,
    compaction_output_bytes=0,
    recent_flushes=(),
    recent_compactions=(),
    stalls=(),
    stall_seconds={},
    stall_count={"delayed": 0, "stopped": 0},
    background_error=None,
    level_files={},
    stats_dump=None,
    has_events=True,
    damaged_lines=0,
)


def s_max_of(rate: float) -> Known[SMaxInterval] | Missing:
    return Known(SMaxInterval(rate, 0.8 * rate, 1.25 * rate), "test", 0.0)


@dataclass
class Database:
    """A database whose put rate and L0 files are functions of time."""

    rate: Callable[[float], float]
    files: Callable[[float], int]
    s_max: Known[SMaxInterval] | Missing = field(default_factory=lambda: s_max_of(20_000.0))
    flush_seconds: float = 1.0
    has_wal: bool = True
    options: OptionsSample = OPTIONS
    stopped: Callable[[float], bool] = lambda at: False
    stops: Callable[[float], int] = lambda at: 0

    def run(self, seconds: float) -> list[tuple[float, StallOutlook]]:
        forecast, outlooks, puts, flushed = StallForecast(), [], 0.0, 0
        for tick in range(int(seconds / TICK)):
            at = tick * TICK
            puts += self.rate(at) * TICK if tick else 0.0
            flushes = []
            while (flushed + 1) * PUTS_PER_FILE <= puts:
                flushed += 1
                flushes.append(
                    FlushEvent(
                        at + flushed * 1e-6,
                        flushed,
                        "default",
                        PUTS_PER_FILE,
                        0,
                        64 * MIB,
                        62 * MIB,
                        self.flush_seconds,
                    )
                )
            files = self.files(at)
            shape = ColumnFamilyShape(
                "default", (LevelShape(files, files * 62 * MIB), LevelShape(4, 256 * MIB))
            )
            stalls: tuple[StallCondition, ...] = ()
            if self.stopped(at):
                stalls = (StallCondition("default", "stopped", "l0_files", at, None),)
            log = replace(EMPTY_LOG, recent_flushes=tuple(flushes))
            log = replace(log, stall_count={"delayed": 0, "stopped": self.stops(at)})
            observation = ForecastObservation(
                at=at,
                wall_seconds=at,
                wal=Known(WalSample(at, int(puts), 1, 0, None), "wal", at)
                if self.has_wal
                else ABSENT,
                manifest=Known(
                    ManifestSample(
                        at, "MANIFEST-000001", flushed * PUTS_PER_FILE, None, (shape,), 0, 0, 0.0
                    ),
                    "manifest",
                    at,
                ),
                options=Known(self.options, "options", 0.0),
                log=Known(log, "log", at),
                stalls=Known(stalls, "log", at),
                s_max=self.s_max,
            )
            outlooks.append((at, forecast.update(observation)))
        return outlooks


def saw(top: int, period_seconds: float = 60.0) -> Callable[[float], int]:
    return lambda at: 2 + int((top - 2) * (at % period_seconds) / (period_seconds - TICK))


def growing_saw(per_minute: float) -> Callable[[float], int]:
    return lambda at: saw(6 + int(per_minute * (at // 60.0)))(at)


def steady(rate: float) -> Callable[[float], float]:
    return lambda at: rate


def ramp(start: float, end: float, begin: float, duration: float) -> Callable[[float], float]:
    return lambda at: start + (end - start) * min(1.0, max(0.0, (at - begin) / duration))


def announced(outlooks: list[tuple[float, StallOutlook]]) -> list[tuple[float, StallOutlook]]:
    return [
        (at, outlook)
        for at, outlook in outlooks
        if isinstance(outlook.time_to_stall_seconds, Known)
        and math.isfinite(outlook.time_to_stall_seconds.value)
    ]


def test_a_load_below_s_max_is_left_alone() -> None:
    """Fifteen files in every sawtooth are the ordinary life of L0 at 85 %."""
    assert announced(Database(steady(17_000.0), saw(15)).run(3600.0)) == []


def test_a_start_is_no_trend() -> None:
    """A load that begins at once, and the peaks that rise until L0 has found its level."""
    database = Database(
        rate=lambda at: 0.0 if at < 120.0 else 16_000.0,
        files=lambda at: 0 if at < 120.0 else saw(min(11, 4 + int((at - 120.0) // 60)))(at),
    )
    assert announced(database.run(1800.0)) == []


def test_a_ramp_through_s_max_is_announced_a_minute_before_it_is_crossed() -> None:
    """At 0.27 % of S_max a second, 60 s ahead is 84 %; the time told is crossing and room."""
    outlooks = announced(Database(ramp(10_000.0, 26_000.0, 300.0, 300.0), saw(9)).run(600.0))
    at, first = outlooks[0]
    assert 420.0 <= at <= 450.0
    assert (first.cause, first.column_family) == ("put_rate_above_s_max", None)
    # 11 files of 60,000 puts: crossing in 60 s, then sqrt(2 * 660,000 / 53.3) s.
    assert value_of(first.time_to_stall_seconds) == pytest.approx(60.0 + 157.0, abs=25.0)


def test_a_ramp_that_ends_at_85_percent_is_left_alone() -> None:
    """It is steep, but ends before it comes near S_max."""
    assert announced(Database(ramp(8_000.0, 17_000.0, 300.0, 240.0), saw(9)).run(1200.0)) == []


def test_a_burst_of_half_a_minute_is_no_ramp() -> None:
    """Even when it goes above S_max."""
    database = Database(rate=lambda at: 26_000.0 if 600.0 <= at < 630.0 else 16_000.0, files=saw(9))
    assert announced(database.run(1200.0)) == []


def test_a_rate_above_the_interval_speaks_for_itself() -> None:
    """30,000 against at most 25,000: 11 files of room at an excess of 10,000 last 66 s.

    A little more by the mean of the last minute, which still holds some of the time before.
    """
    database = Database(ramp(16_000.0, 30_000.0, 300.0, 1.0), saw(9))
    at, first = announced(database.run(600.0))[0]
    assert at <= 370.0
    assert first.cause == "put_rate_above_s_max"
    assert value_of(first.time_to_stall_seconds) == pytest.approx(66.0, rel=0.35)


def test_a_steady_rate_within_the_interval_needs_growth_beside_it() -> None:
    """5 % above S_max is within its error, unless L0 grows."""
    rate = steady(21_000.0)
    assert announced(Database(rate, saw(9)).run(900.0)) == []
    outlooks = announced(Database(rate, growing_saw(1.0)).run(900.0))
    assert outlooks
    assert {outlook.cause for _, outlook in outlooks} >= {"put_rate_above_s_max"}


def test_what_was_held_for_minutes_is_sustainable() -> None:
    """A model that says 12,000 is proved wrong by five minutes at 17,000 without growing debt."""
    database = Database(steady(17_000.0), saw(9), s_max=s_max_of(12_000.0))
    outlooks = database.run(1800.0)
    assert announced(outlooks)
    assert announced([entry for entry in outlooks if entry[0] > 700.0]) == []


def test_growth_at_a_steady_rate_is_debt_where_s_max_is_not_known() -> None:
    """Peaks that rise by two a minute reach 20 from 8 within the time they have risen."""
    database = Database(steady(16_000.0), growing_saw(2.0), s_max=ABSENT)
    at, first = announced(database.run(600.0))[0]
    assert 180.0 <= at <= 300.0
    assert first.cause == "l0_files"
    assert first.confidence == "medium"
    assert "peaks of L0 files" in first.detail


def test_growth_far_below_s_max_is_left_alone() -> None:
    """L0 rises with the load at a third of S_max, too."""
    assert announced(Database(steady(7_000.0), growing_saw(2.0)).run(480.0)) == []


def test_flushes_as_slow_as_filling_stop_writes() -> None:
    """Flushes of 2.6 s: at 60,000 puts a memtable it stops at 23,000 puts/s."""
    database = Database(
        ramp(12_000.0, 30_000.0, 300.0, 300.0), saw(6), s_max=ABSENT, flush_seconds=2.6
    )
    at, first = announced(database.run(600.0))[0]
    assert first.cause == "memtables"
    crossing = 300.0 + 300.0 * (PUTS_PER_FILE / 2.6 - 12_000.0) / 18_000.0
    assert 30.0 <= crossing - at <= 60.0


def test_more_memtables_leave_more_time_for_a_flush() -> None:
    """With six, four memtables may fill meanwhile: the same load is left alone."""
    options = replace(OPTIONS, column_families=(replace(FAMILY, max_write_buffer_number=6),))
    database = Database(
        ramp(12_000.0, 30_000.0, 300.0, 300.0),
        saw(6),
        s_max=ABSENT,
        flush_seconds=2.6,
        options=options,
    )
    assert announced(database.run(600.0)) == []


def test_no_automatic_compactions_no_limit_on_level_0() -> None:
    """RocksDB does not look at L0 then."""
    options = replace(OPTIONS, column_families=(replace(FAMILY, disable_auto_compactions=True),))
    database = Database(steady(16_000.0), growing_saw(2.0), s_max=ABSENT, options=options)
    assert announced(database.run(900.0)) == []


def test_a_stall_in_force_is_zero_and_for_a_minute_after() -> None:
    """Stop-and-go is one state, and then all is clear."""
    database = Database(steady(16_000.0), saw(9), stopped=lambda at: at == 300.0)
    outlooks = dict(database.run(600.0))
    assert (outlooks[300.0].stalled, outlooks[300.0].cause) == (True, "l0_files")
    assert [value_of(outlooks[at].time_to_stall_seconds) for at in (300.0, 350.0)] == [0.0, 0.0]
    assert outlooks[350.0].stalled is False
    assert value_of(outlooks[300.0 + HOLD_SECONDS].time_to_stall_seconds) == math.inf


def test_a_stall_between_two_ticks_is_noticed() -> None:
    """Most stops last less than a second: only their count grows."""
    database = Database(steady(16_000.0), saw(9), stops=lambda at: int(at >= 300.0))
    outlooks = dict(database.run(400.0))
    assert [outlooks[at].stalled for at in (290.0, 300.0, 310.0)] == [False, True, False]


def test_an_announcement_is_withdrawn_when_the_load_is_gone() -> None:
    """A minute after nothing points to a stall any more, not at the first calm tick."""
    outlooks = Database(
        rate=lambda at: ramp(10_000.0, 26_000.0, 300.0, 300.0)(at) if at < 500.0 else 5_000.0,
        files=saw(9),
    ).run(900.0)
    times = [at for at, _ in announced(outlooks)]
    assert 540.0 <= times[-1] <= 640.0
    assert times == [times[0] + TICK * number for number in range(len(times))]


@pytest.mark.parametrize("lost", ["manifest", "options"])
def test_what_is_missing_is_the_reason(lost: str) -> None:
    """Without one of its inputs the forecast is unknown, not infinite."""
    gone = Missing(lost, "the test leaves this reading out")
    manifest = ManifestSample(0.0, "MANIFEST-000001", 0, None, (SHAPE,), 0, 0, 0.0)
    observation = ForecastObservation(
        at=0.0,
        wall_seconds=0.0,
        wal=Known(WalSample(0.0, 1, 1, 0, None), "wal", 0.0),
        manifest=gone if lost == "manifest" else Known(manifest, "manifest", 0.0),
        options=gone if lost == "options" else Known(OPTIONS, "options", 0.0),
        log=ABSENT,
        stalls=ABSENT,
        s_max=ABSENT,
    )
    outlook = StallForecast().update(observation)
    assert (outlook.time_to_stall_seconds, outlook.stalled) == (gone, None)


def test_without_a_wal_the_flushes_tell_the_put_rate() -> None:
    """A ramp is announced all the same, and a steady load left alone."""
    load = ramp(10_000.0, 26_000.0, 300.0, 300.0)
    times = [at for at, _ in announced(Database(load, saw(9), has_wal=False).run(600.0))]
    assert 400.0 <= times[0] <= 490.0
    assert announced(Database(steady(17_000.0), saw(9), has_wal=False).run(1800.0)) == []


def test_a_database_without_wal_that_flushes_no_more_is_unknown() -> None:
    """Whether it is idle or fills its memtables cannot be told."""
    database = Database(lambda at: 16_000.0 if at < 300.0 else 0.0, saw(9), has_wal=False)
    quantity = database.run(600.0)[-1][1].time_to_stall_seconds
    assert isinstance(quantity, Missing)
    assert quantity.reason == "not_yet_measured"


def test_a_column_family_fills_its_memtables_with_its_share_of_the_puts() -> None:
    """Three flushes of one family and one of the other: four times 60,000 puts for each of it."""
    flushes = Flushes()
    events = tuple(
        FlushEvent(float(number), number, family, PUTS_PER_FILE, 0, None, 0, 1.0)
        for number, family in enumerate(["default", "default", "rare", "default"])
    )
    flushes.add(replace(EMPTY_LOG, recent_flushes=events))
    assert flushes.puts_per_file("rare") == 4 * PUTS_PER_FILE
    assert flushes.puts_per_file("default") == 4 * PUTS_PER_FILE / 3
    assert flushes.puts_per_file("silent") is None


def test_a_closed_database_has_no_forecast() -> None:
    """Nobody writes, nobody stalls."""
    closed = Missing("not_open", "no process has the database open")
    observation = ForecastObservation(
        0.0, 0.0, ABSENT, ABSENT, ABSENT, ABSENT, closed, s_max_of(1.0)
    )
    assert StallForecast().update(observation).time_to_stall_seconds == closed


def test_the_first_minute_is_unknown() -> None:
    """A trend needs readings."""
    outlook = Database(steady(16_000.0), saw(9)).run(40.0)[-1][1]
    quantity = outlook.time_to_stall_seconds
    assert isinstance(quantity, Missing)
    assert quantity.reason == "not_yet_measured"
