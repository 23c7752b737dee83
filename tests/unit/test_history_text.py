"""What ``smaxd history`` shows: plots, figures, tables, CSV, JSON; times as people write them."""

import csv
import io
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.history.buckets import cut, cut_words, mean, round_up
from agent.history.export import UnknownMetric, check_metrics, to_csv, to_json
from agent.history.past import (
    InvalidPeriod,
    Line,
    Past,
    PastAlert,
    PastDatabase,
    PastEpisode,
    resolution_for,
    resolution_named,
)
from agent.history.period import moment, period
from agent.history.plot import Plot, highest, number_text, plot
from agent.history.reader import HistoryFile
from agent.history.store import Store
from agent.history.summary import SHORT_HEADROOM, quantile, suggestion, summarize
from agent.history.text import WIDTH, history_lines, plain
from tests.unit import pasts
from tests.unit.pasts import DAY, START

HOUR = 3600


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times are told in the host's zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("week") / "history.db")
    store = Store(path, 1 << 30)
    samples = pasts.reviewed_week()
    for first in range(0, len(samples), 60):
        store.write(samples[first : first + 60])
    store.close()
    return path


def read(path: str, begin: int, end: int, resolution: int = 60, **only: Any) -> Past:
    with HistoryFile(path) as file:
        return file.read(START + begin, START + end, resolution, **only)


def drawn(what: Plot, *, unicode: bool = True) -> list[str]:
    return plain(plot(what, unicode=unicode)).splitlines()


def small(bars: Sequence[float | None], **more: Any) -> Plot:
    return Plot(START, START + HOUR, bars, height=4, **more)


def test_bars_stand_on_the_ground_and_reach_their_value() -> None:
    """Eighths of a line; what is not known has no ground under it."""
    assert drawn(small([100.0, 50.0, 0.0, None, 12.5]))[:5] == [
        "    100 │█",
        "        │█",
        "     50 │██",
        "        │██  ▄",
        "      0 └───┄─",
    ]


def test_the_level_is_drawn_over_the_bars_and_within_its_interval() -> None:
    """So that it is seen on which side of it the rate is."""
    what = small([20.0, 100.0], level=[60.0, 60.0], lower=[30.0, 30.0], upper=[80.0, 80.0])

    assert drawn(what)[:4] == ["    100 │░█", "        │━━", "     50 │░█", "        │▇█"]


def test_a_terminal_without_unicode_gets_ascii() -> None:
    """And the same picture."""
    what = small([20.0, 100.0], level=[60.0, 60.0], lower=[30.0, 30.0], upper=[80.0, 80.0])
    lines = drawn(what, unicode=False)

    assert lines[:5] == ["    100 |~#", "        |==", "     50 |~#", "        |##", "      0 +--"]
    assert all(line.isascii() for line in lines)


def test_an_interval_of_a_factor_of_ten_does_not_press_the_rest_to_the_ground() -> None:
    """A prior's may be as wide."""
    assert highest(small([50.0], level=[100.0], lower=[10.0], upper=[1000.0])) == 200.0


numbers = st.none() | st.floats(0.0, 1e12)


@given(st.lists(numbers, min_size=1, max_size=71), st.lists(numbers, max_size=71), st.booleans())
def test_no_line_is_wider_than_its_columns(
    bars: list[float | None], level: list[float | None], unicode: bool
) -> None:
    """Whatever is drawn; and each row is there."""
    level = (level + [None] * len(bars))[: len(bars)]
    lines = drawn(small(bars, level=level, lower=level, upper=level), unicode=unicode)

    assert len(lines) == 6
    assert max(len(line) for line in lines[:5]) <= 9 + len(bars)


@given(st.floats(1e-9, 1e15))
def test_an_axis_ends_at_a_round_number_above(value: float) -> None:
    """Not more than 2.5 times of it."""
    assert value <= round_up(value) <= 2.5 * value * (1 + 1e-9)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (12.34, "12.3"), (131_670.0, "131.7k"), (2.5e9, "2.5G")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    """They stand beside an axis."""
    assert number_text(value) == text


def line_of(times: list[int], **columns: list[Any]) -> Line:
    return Line(times, columns, 10)


def test_a_row_stands_for_the_time_until_the_next_but_not_for_a_gap() -> None:
    """Nor for all time if it is the last."""
    assert list(line_of([0, 10, 20, 100]).spans()) == [
        (0, 10.0),
        (10, 10.0),
        (20, 10.0),
        (100, 10.0),
    ]


def test_rows_of_a_slow_agent_are_no_gaps() -> None:
    """It ticks once in five minutes: its rows stand for that."""
    assert [span for _, span in line_of([0, 300, 600]).spans()] == [300.0, 300.0, 300.0]


def test_a_plot_has_gaps_where_nothing_was_recorded() -> None:
    """And means where several rows share a column."""
    line = line_of([0, 10, 20, 90])

    assert cut(line, [1.0, 3.0, None, 9.0], 0, 100, 5, mean) == [2.0, None, None, None, 9.0]


def test_of_words_the_one_that_lasted_longest_is_drawn() -> None:
    """Not the latest, nor the first."""
    line = line_of([0, 10, 20, 30])

    assert cut_words(line, ["a", "b", "b", None], 0, 60, 2) == ["b", None]


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=30), st.floats(0.01, 1.0))
def test_a_quantile_is_one_of_the_values(values: list[float], share: float) -> None:
    """With at least its share of the time at or below it."""
    found = quantile([(value, 1.0) for value in values], share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def database(**columns: list[Any]) -> PastDatabase:
    length = len(next(iter(columns.values())))
    return PastDatabase("orders", line_of([10 * n for n in range(length)], **columns), {}, {}, [])


def test_the_figures_of_a_review() -> None:
    """By time, with the finest samples for the extremes."""
    summary = summarize(
        database(
            observed_puts_per_second=[10.0, 20.0, 30.0, 40.0],
            observed_puts_per_second_max=[15.0, 20.0, 30.0, 99.0],
            headroom_ratio_min=[0.5, 0.4, -0.1, None],
            headroom_lower_ratio=[0.45, 0.35, 0.1, None],
            stopped_seconds=[None, 1.0, 2.5, 0.0],
            bottleneck=["cpu", "cpu", "device_write", "cpu"],
        )
    )

    assert (summary.put_median, summary.put_p95, summary.put_max) == (20.0, 40.0, 99.0)
    assert (summary.headroom_min, summary.headroom_min_at) == (-0.1, 20)
    assert (summary.short_seconds, summary.recorded_seconds) == (10.0, 40.0)
    assert (summary.stopped_seconds, summary.delayed_seconds) == (3.5, None)
    assert summary.limit == "device_write"  # of the time that was short


def test_who_has_room_is_told_so() -> None:
    """No advice without need."""
    summary = summarize(
        database(
            headroom_ratio_min=[0.6, 0.5], headroom_lower_ratio=[0.6, 0.5], bottleneck=["cpu"] * 2
        )
    )

    assert suggestion(summary) == "At the least 50 % of S_max was left. There is room."


def test_who_is_short_is_told_what_lifts_the_limit() -> None:
    """For how long, by what, and what helps."""
    told = suggestion(
        summarize(
            database(
                headroom_ratio_min=[0.6, -0.02],
                headroom_lower_ratio=[0.6, SHORT_HEADROOM - 0.01],
                bottleneck=["compaction_threads"] * 2,
                stopped_seconds=[0.0, 4.0],
            )
        )
    )

    assert told.startswith(
        "At the least -2 % of S_max was left, and writes were held back for 4 s."
    )
    assert "For 10 s less than 20 % was left for sure" in told
    assert "bound by RocksDB's compaction threads" in told
    assert "max_background_jobs" in told


def test_nothing_on_record_is_not_room() -> None:
    """Absent is absent."""
    assert "No headroom is on record" in suggestion(summarize(database(headroom_ratio_min=[None])))


def test_the_answer_has_plot_figures_episodes_and_alerts(week: str) -> None:
    """Of a day with all of it, in at most 80 columns."""
    text = plain(history_lines(read(week, 4 * DAY, 5 * DAY, database="orders"), []))

    assert "orders\nputs/s: █ accepted  ━ S_max  ░ its 90 % interval\n" in text
    assert "12:00" in text
    assert "puts/s median / 95 % / max  " in text
    assert "2026-09-25 11:30          15 min           61,500    delay, l0_files" in text
    assert "2026-09-25 11:50          10 min   critical  RocksdbWriteStopped orders" in text
    assert max(map(len, text.splitlines())) <= WIDTH


def test_a_night_without_the_agent_is_a_hole_in_the_plot(week: str) -> None:
    """And the ground is broken there."""
    text = plain(history_lines(read(week, 2 * DAY, 3 * DAY, database="orders"), []))
    (ground,) = [line for line in text.splitlines() if line.startswith("      0 └")]

    hole = ground[9:].strip("─")
    assert set(hole) == {"┄"}
    assert 0.2 < len(hole) / 71 < 0.4


def test_metrics_are_plotted_by_name(week: str) -> None:
    """Those of the device and of models, too; of words, how long each was the one."""
    metrics = ["device_write_bytes_per_second", "model_v4", "phase"]
    text = plain(history_lines(read(week, 0, 7 * DAY, database="orders"), metrics))

    assert "device_write_bytes_per_second\n" in text
    assert "model_v4\n" in text
    assert "  final" in text
    assert "  middle" in text
    assert "least / mean / most  " in text


def test_the_answer_is_the_same_each_time(week: str) -> None:
    """It can be compared, and pasted."""
    past = read(week, 0, 7 * DAY)

    assert plain(history_lines(past, [])) == plain(history_lines(past, []))


def test_csv_has_a_row_for_each_moment_and_nothing_for_unknown(week: str) -> None:
    """With the names of the columns, times in UTC."""
    text = to_csv(read(week, 4 * DAY, 4 * DAY + 120, database="orders"), [])
    rows = list(csv.DictReader(io.StringIO(text)))

    assert [row["time"] for row in rows] == ["2026-09-25T00:00:00Z", "2026-09-25T00:01:00Z"]
    assert float(rows[0]["observed_puts_per_second"]) > 10_000
    assert rows[0]["time_to_stall_seconds"] == "+Inf"
    assert rows[0]["device_capacity_ratio"] == "0.97"
    assert rows[0]["model_v4"] != ""
    assert rows[0]["db"] == "orders"


def test_json_is_json(week: str) -> None:
    """With everything that the table leaves out."""
    past = read(week, 4 * DAY, 5 * DAY)
    document = json.loads(to_json(past, ["phase", "time_to_stall_seconds"]))
    first = document["databases"][0]

    assert first["rows"][0] == {
        "time": START + 4 * DAY,
        "phase": "final",
        "time_to_stall_seconds": "+Inf",
    }
    assert first["episodes"][0]["kind"] == "delay"
    assert document["alerts"][0]["alert"] == "RocksdbWriteHeadroomLow"


def test_a_name_that_a_spreadsheet_would_compute_is_quoted() -> None:
    """A database may be called anything."""
    line = Line([START], {"model": ["=1+1"]}, 10)
    past = Past(START, START + 10, 10, [PastDatabase("@db", line, {}, {}, [])], {}, [])

    assert "'=1+1" in to_csv(past, ["model"])
    assert "'@db" in to_csv(past, ["model"])


def test_an_unknown_metric_is_told_with_those_there_are(week: str) -> None:
    """There is no silent empty column."""
    with pytest.raises(UnknownMetric, match="observed_puts_per_second"):
        check_metrics(read(week, 0, HOUR), ["observed"])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90m", START - 5400),
        ("24h", START - 86400),
        ("2w", START - 14 * 86400),
        ("now", START),
        ("2026-09-20", START - 86400),
        ("2026-09-20T12:00:00+02:00", START - 86400 + 10 * 3600),
        ("2026-09-20 12:00Z", START - 43200),
    ],
)
def test_a_time_is_so_long_ago_or_a_date(text: str, seconds: int) -> None:
    """Local, where no zone is given."""
    assert moment(text, START) == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "1.5h", "-3h", "24", "99999999999-01-01", "٣h"])
def test_anything_else_is_no_time(text: str) -> None:
    """It says what would be."""
    with pytest.raises(InvalidPeriod, match="24h, 7d"):
        moment(text, START)


def test_a_period_has_a_length() -> None:
    """--since must come first."""
    with pytest.raises(InvalidPeriod, match="not before"):
        period("1h", "2h", START)
    with pytest.raises(InvalidPeriod, match="not before now"):
        period("2030-01-01", "2031-01-01", START)


def test_a_period_ends_now_at_the_latest() -> None:
    """There is nothing to draw in the year 9999."""
    assert period("1h", "9999-12-31", START) == (START - HOUR, START)


@pytest.mark.parametrize(
    ("since", "until", "resolution"),
    [
        (HOUR, 0, 10),
        (24 * HOUR, 0, 60),
        (7 * DAY, 0, 60),
        (8 * DAY, 0, 600),
        (5 * DAY, 5 * DAY - HOUR, 60),
        (60 * DAY, 60 * DAY - HOUR, 600),
        (730 * DAY, 0, 21600),
    ],
)
def test_the_resolution_is_one_that_the_period_is_kept_at(
    since: int, until: int, resolution: int
) -> None:
    """And that does not give more rows than can be seen."""
    assert resolution_for(START - since, START - until, START) == resolution


def test_a_resolution_is_named_as_it_is_kept() -> None:
    """No others are on record."""
    assert [resolution_named(text) for text in ("10s", "1m", "10m", "6h")] == [10, 60, 600, 21600]
    with pytest.raises(InvalidPeriod, match="10s, 1m, 10m, 6h"):
        resolution_named("5m")


HOSTILE = "x\x1b[2J\n<b>&'\"" + "y" * 200


def hostile_past() -> Past:
    """Names that others chose."""
    line = Line(
        [START],
        {"observed_puts_per_second": [1.0], "bottleneck": [HOSTILE], "device": [HOSTILE]},
        10,
    )
    episode = PastEpisode(START, START + 60, HOSTILE, True, 5.0, 60, 0.1, 0.2, HOSTILE)
    alert = PastAlert(HOSTILE, HOSTILE, HOSTILE, "", START, None, HOSTILE)
    one = PastDatabase(HOSTILE, line, {HOSTILE: replace(line)}, {}, [episode])
    return Past(START, START + 60, 10, [one], {HOSTILE: line}, [alert])


def test_names_cannot_move_the_cursor_or_break_the_table() -> None:
    """What cannot be printed is a question mark; what is too long is cut."""
    text = plain(history_lines(hostile_past(), []))

    assert "\x1b" not in text
    assert all(len(line) <= WIDTH for line in text.splitlines())


def test_the_plot_of_nothing_says_so() -> None:
    """A database with an episode, and no rows."""
    past = Past(START, START + 60, 10, [PastDatabase("orders", Line(), {}, {}, [])], {}, [])

    assert "no rates on record" in plain(history_lines(past, []))
    assert "no alerts" in plain(history_lines(past, []))


def test_this_week_is_as_the_tests_expect_it(week: str) -> None:
    """A hole of 0.3 days, two databases."""
    assert Path(week).stat().st_size > 100_000
    assert [d.name for d in read(week, 0, 7 * DAY).databases] == ["orders", "sessions"]
