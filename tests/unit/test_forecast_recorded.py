"""Forecasts replayed on what was recorded of real databases, at both cadences."""

import gzip
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from agent.forecast.capacity_plan import SMaxInterval
from agent.forecast.forecast import ForecastObservation, StallForecast, StallOutlook
from agent.forecast.score import ForecastScore, ScoreSummary
from agent.readings import Known, Missing
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

RECORDED = Path(__file__).parents[1] / "data" / "forecast"
LOG_SPREAD = 0.2
"""Half width of the intervals given to the forecast: the 20 % that a model may be wrong by."""


@cache
def recording(name: str) -> Any:
    return json.loads(gzip.decompress((RECORDED / f"{name}.json.gz").read_bytes()))


def options_of(name: str) -> Known[OptionsSample]:
    families = tuple(ColumnFamilyOptions(**family) for family in recording(name)["options"])
    return Known(
        OptionsSample(0.0, "OPTIONS-000007", "7.8.3", None, None, 4, 1, None, None, families),
        "options",
        0.0,
    )


def log_of(row: Any, flushes: list[Any]) -> LogSample:
    return LogSample(
        at=row["at"],
        log_path="LOG",
        rocksdb_version="7.8.3",
        table_directories=(),
        first_wall_seconds=None,
        last_wall_seconds=row["wall_seconds"],
        opened_wall_seconds=None,
        flushes=0,
        compactions=0,
        puts=None,
        user_bytes=None,
        flush_output_bytes=0,
        compaction_input_bytes=0,
        compaction_output_bytes=0,
        recent_flushes=tuple(
            FlushEvent(wall, 0, family, entries, None, None, size, seconds)
            for wall, family, entries, seconds, size in flushes
        ),
        recent_compactions=(),
        stalls=tuple(
            StallCondition(family, state, cause, since, None)
            for family, state, cause, since in row["stalls"]
        ),
        stall_seconds={},
        stall_count=row["stall_count"],
        background_error=None,
        level_files={},
        stats_dump=None,
        has_events=True,
        damaged_lines=0,
    )


def observation_of(
    row: Any, flushes: list[Any], options: Known[OptionsSample], s_max: float | None
) -> ForecastObservation:
    at = row["at"]
    log = log_of(row, flushes)
    shapes = tuple(
        ColumnFamilyShape(family, tuple(LevelShape(*level) for level in levels))
        for family, levels in row["levels"].items()
    )
    return ForecastObservation(
        at=at,
        wall_seconds=row["wall_seconds"],
        wal=Known(WalSample(row["wal_at"], row["last_sequence"], 1, 0, None), "wal", at),
        manifest=Known(
            ManifestSample(at, "MANIFEST-000005", 0, None, shapes, 0, 0, 0.0), "manifest", at
        ),
        options=options,
        log=Known(log, "log", at),
        stalls=Known(log.stalls, "log", at),
        s_max=Missing("no_s_max", "the test leaves S_max out")
        if s_max is None
        else Known(
            SMaxInterval(s_max, s_max * math.exp(-LOG_SPREAD), s_max * math.exp(LOG_SPREAD)),
            "test",
            at,
        ),
    )


def replayed(
    name: str, s_max: float | None, every: int = 2
) -> tuple[list[tuple[float, StallOutlook]], ScoreSummary]:
    """Forecast at every ``every``-th row; one episode per ramp, for they are minutes apart."""
    forecast, score = StallForecast(), ForecastScore(episode_gap_seconds=180.0)
    outlooks, flushes, options = [], [], options_of(name)
    for number, row in enumerate(recording(name)["rows"]):
        flushes += row["flushes"]
        if number % every or row["wal_at"] is None:
            continue
        outlook = forecast.update(observation_of(row, flushes, options, s_max))
        flushes = []
        score.update(row["at"], outlook.time_to_stall_seconds, stalled=outlook.stalled)
        outlooks.append((row["at"], outlook))
    return outlooks, score.summary()


def announcements(outlooks: list[tuple[float, StallOutlook]]) -> list[float]:
    return [
        at
        for at, outlook in outlooks
        if isinstance(outlook.time_to_stall_seconds, Known)
        and math.isfinite(outlook.time_to_stall_seconds.value)
    ]


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("s_max", [17_000.0, 19_500.0, 24_000.0, None])
def test_a_steady_load_is_left_alone(s_max: float | None, every: int) -> None:
    """L0 climbs from 4 to 10 files within minutes after a settled start, and stays there."""
    outlooks, _ = replayed("steady_82_percent", s_max, every)
    assert announcements(outlooks) == []


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("s_max", [16_000.0, 19_500.0, 22_000.0])
def test_a_ramp_is_announced_although_the_device_slows_the_writer(s_max: float, every: int) -> None:
    """The put rate falls before RocksDB stops writes; what is owed does not."""
    _, score = replayed("ramp_to_stall", s_max, every)
    assert score.stalls == 1
    assert score.lead_seconds[0] >= 120.0


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("s_max", [13_000.0, 16_000.0, 19_000.0])
def test_both_ramps_of_small_memtables_are_announced(s_max: float, every: int) -> None:
    """Within 20 % of what it sustains, the first far ahead, the steeper one in time."""
    _, score = replayed("small_memtables", s_max, every)
    assert score.stalls == 2
    assert min(score.lead_seconds) >= 30.0
    assert score.false_alarms == 0


def test_an_overload_that_ends_before_the_stall_is_announced_and_withdrawn() -> None:
    """With 19,500 for S_max, 25,350 is announced once, and is over a minute after the load is."""
    outlooks, _ = replayed("six_memtables", 19_500.0)
    times = announcements(outlooks)
    assert 100.0 <= times[0] <= 187.0  # 187 s: the rate crosses 19,500
    assert times[-1] <= 560.0
