"""What a tick leaves for the history."""

import dataclasses
import math
from collections.abc import Mapping

import pytest

from agent.alerts.engine import AlertState
from agent.history.columns import TABLES, Table
from agent.history.sample import Sample, Sampler, SampleRow
from agent.readings import Known, Missing
from agent.snapshot import DatabaseSnapshot, Snapshot
from tests.unit import pasts, snapshots
from tests.unit.snapshots import AT, WALL


def tick(second: float, base: Snapshot | None = None) -> Snapshot:
    return dataclasses.replace(
        base or snapshots.snapshot(), at=AT + second, wall_seconds=WALL + second
    )


def with_database(**changes: object) -> Snapshot:
    database = dataclasses.replace(snapshots.busy_database(), **changes)  # type: ignore[arg-type]
    return dataclasses.replace(snapshots.snapshot(), databases=(database,))


def stalled_for(stopped: float, **changes: object) -> Snapshot:
    return with_database(
        stall_seconds=Known({"stopped": stopped, "delayed": 1.0}, "log", AT), **changes
    )


def taken(sampler: Sampler, snapshot: Snapshot) -> Sample:
    sample = sampler.take(snapshot)
    assert sample is not None
    return sample


def value(sample: Sample, name: str, series: str = "orders", part: str = "") -> object:
    for row in sample.rows:
        names = [column.name for column in row.table.columns]
        if row.series == (series, part) and name in names:
            return row.values[names.index(name)]
    raise AssertionError(f"{name} of {series} {part} is not in {sample.rows}")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_row_has_a_value_for_every_column(table: Table) -> None:
    """The two are written down apart."""
    rows = [r for r in taken(Sampler(), tick(0.0)).rows if r.table is table]

    assert rows != []
    assert {len(row.values) for row in rows} == {len(table.columns)}


def test_everything_that_matters_is_taken_from_the_snapshot() -> None:
    """By name, in the units of the snapshot."""
    sample = taken(Sampler(), tick(0.0))

    assert value(sample, "observed_puts_per_second") == 57_000.0
    assert value(sample, "s_max_puts_per_second") == 131_670.0
    assert value(sample, "s_max_lower_puts_per_second") == 110_000.0
    assert value(sample, "phase") == "middle"
    assert value(sample, "bottleneck") == "device_write"
    assert value(sample, "model") == "bottleneck"
    assert value(sample, "device") == "nvme0n1"
    assert value(sample, "pending_compaction_bytes") == 2.0e9
    assert value(sample, "background_error") == 1.0
    assert value(sample, "endurance_used_ratio", "nvme0n1") == 0.07
    assert value(sample, "capacity_bytes_per_second", "nvme0n1") == 2800 * snapshots.MIB
    assert value(sample, "puts_per_second", part="v4") == 114_000.0
    assert value(sample, "calibrated_puts_per_second", part="v4") is None
    assert value(sample, "puts_per_second", part="bottleneck") == 125_000.0
    assert value(sample, "calibrated_puts_per_second", part="bottleneck") == 131_670.0


def test_a_database_of_which_nothing_is_known_leaves_a_gap() -> None:
    """Not a row of unknowns, every ten seconds for two years."""
    sample = taken(Sampler(), tick(0.0))

    assert [row for row in sample.rows if row.series[0] == "/srv/idle"] == []


def test_it_samples_every_ten_seconds_however_fast_the_ticks() -> None:
    """A tick that comes a little early counts: else every second one would be left out."""
    sampler = Sampler()
    quiet = dataclasses.replace(snapshots.snapshot(), alerts=())
    seconds = (0.0, 1.0, 3.0, 9.4, 9.9, 12.0, 19.8, 60.0)

    found = [second for second in seconds if sampler.take(tick(second, quiet)) is not None]

    assert found == [0.0, 9.9, 19.8, 60.0]


def test_stalls_are_what_was_added_since_the_sample_before() -> None:
    """The first sample cannot tell; two ticks in between are not lost."""
    sampler = Sampler()
    first = taken(sampler, tick(0.0, stalled_for(100.0)))
    sampler.take(tick(5.0, stalled_for(102.0)))
    second = taken(sampler, tick(10.0, stalled_for(104.5)))

    assert value(first, "stopped_seconds") is None
    assert value(second, "stopped_seconds") == 4.5
    assert value(second, "delayed_seconds") == 0.0


@pytest.mark.parametrize(
    ("later", "second"),
    [
        (stalled_for(104.0, incarnations=3), 10.0),
        (stalled_for(7.0), 10.0),
        (stalled_for(104.0), 3600.0),
        (with_database(stall_seconds=Missing("log_missing", "no LOG")), 10.0),
    ],
    ids=["another incarnation", "a total that fell", "an hour later", "no LOG"],
)
def test_stalls_that_cannot_be_told_are_unknown(later: Snapshot, second: float) -> None:
    """Absent rather than wrong."""
    sampler = Sampler()
    sampler.take(tick(0.0, stalled_for(100.0)))

    assert value(taken(sampler, tick(second, later)), "stopped_seconds") is None


def test_stalls_behind_a_moment_without_a_log_are_not_lost() -> None:
    """They are added up when the LOG is back."""
    sampler = Sampler()
    sampler.take(tick(0.0, stalled_for(100.0)))
    gone = with_database(stall_seconds=Missing("log_missing", "no LOG"))
    sampler.take(tick(10.0, gone))

    assert value(taken(sampler, tick(20.0, stalled_for(103.0))), "stopped_seconds") == 3.0


def test_a_headroom_beyond_all_measure_does_not_bend_a_mean() -> None:
    """S_max may be next to nothing for a moment."""
    sample = taken(Sampler(), tick(0.0, with_database(headroom_ratio=Known(-1e9, "wal", AT))))

    assert value(sample, "headroom_ratio") == -1000.0


def test_no_stall_ahead_is_kept_as_such() -> None:
    """Infinite is an answer."""
    far = with_database(time_to_stall_seconds=Known(math.inf, "forecast", AT))

    assert value(taken(Sampler(), tick(0.0, far)), "time_to_stall_seconds") == math.inf


def firing(
    alert: str = "RocksdbWriteStopped", since: float = WALL, **changes: object
) -> AlertState:
    state = next(a for a in snapshots.alerts() if a.active)
    return dataclasses.replace(state, since_wall_seconds=since, **changes)  # type: ignore[arg-type]


def with_alerts(*states: AlertState) -> Snapshot:
    return dataclasses.replace(snapshots.snapshot(), alerts=states)


def test_an_alert_is_told_when_it_begins_and_when_it_ends() -> None:
    """At once, not only every ten seconds; and not in between."""
    sampler = Sampler()
    sampler.take(tick(0.0, with_alerts()))

    began = taken(sampler, tick(1.0, with_alerts(firing()))).alerts
    assert sampler.take(tick(2.0, with_alerts(firing()))) is None
    ended = taken(sampler, tick(3.0, with_alerts(firing(active=False)))).alerts

    assert [(a.alert, a.database, a.ended_wall_seconds) for a in began] == [
        ("RocksdbWriteStopped", "orders", None)
    ]
    assert [(a.key == began[0].key, a.ended_wall_seconds) for a in ended] == [(True, WALL + 3.0)]


def test_an_alert_that_began_anew_between_two_ticks_is_two() -> None:
    """Its beginning tells them apart."""
    sampler = Sampler()
    sampler.take(tick(0.0, with_alerts(firing(since=WALL - 9.0))))

    changed = taken(sampler, tick(1.0, with_alerts(firing(since=WALL + 1.0)))).alerts

    assert [alert.ended_wall_seconds is None for alert in changed] == [False, True]


def test_only_the_first_sample_says_that_it_is_the_first() -> None:
    """By it alerts are closed that ended while no agent ran."""
    sampler = Sampler()

    assert [taken(sampler, tick(10.0 * number)).first for number in range(2)] == [True, False]


def test_after_a_loss_all_that_stands_is_told_again() -> None:
    """What was lost may have been the end of an alert, or a score."""
    sampler = Sampler()
    sampler.take(tick(0.0, with_alerts(firing())))
    sampler.tell_all()
    again = taken(sampler, tick(10.0, with_alerts(firing())))

    assert again.first
    assert [alert.ended_wall_seconds for alert in again.alerts] == [None]
    assert [score.model for score in again.scores] == ["bottleneck"]


def test_episodes_are_taken_from_any_tick_but_floors_are_none() -> None:
    """A load that was carried without a stall is a label, and no saturation."""
    sampler = Sampler()
    sampler.take(tick(0.0, dataclasses.replace(snapshots.snapshot(), alerts=())))
    stop = pasts.episode("orders", int(WALL)).episode
    floor = dataclasses.replace(stop, kind="floor")
    quiet = dataclasses.replace(with_database(episodes=(stop, floor)), alerts=())

    assert [event.episode for event in taken(sampler, tick(1.0, quiet)).episodes] == [stop]


def test_a_score_is_written_when_it_changes() -> None:
    """It stands until the next episode."""
    sampler = Sampler()
    first = taken(sampler, tick(0.0)).scores
    second = taken(sampler, tick(10.0)).scores
    better = dataclasses.replace(snapshots.CALIBRATED, labels=4, accuracy_ratio=0.95)
    third = taken(sampler, tick(20.0, with_database(calibrated=Known((better,), "fio", AT)))).scores

    assert [(s.model, s.labels, s.accuracy_ratio) for s in first] == [("bottleneck", 3, 0.93)]
    assert second == ()
    assert [(s.labels, s.accuracy_ratio) for s in third] == [(4, 0.95)]


def test_names_that_are_no_text_can_be_written() -> None:
    """A path may be no valid UTF-8."""
    sample = taken(Sampler(), tick(0.0, with_database(name="/srv/\udcff")))

    names = {row.series[0] for row in sample.rows}
    assert "/srv/\\xff" in names
    assert all(name.encode() for name in names)


def by_table(rows: tuple[SampleRow, ...]) -> Mapping[str, int]:
    return {table.name: sum(row.table is table for row in rows) for table in TABLES}


def test_a_sample_knows_how_much_it_is() -> None:
    """What waits is bounded by it."""
    sample = taken(Sampler(), tick(0.0))

    assert by_table(sample.rows) == {"databases": 1, "devices": 1, "models": 3}
    assert sample.weight == len(sample.rows) + len(sample.alerts) + len(sample.scores)


def test_databases_come_and_go() -> None:
    """What is gone leaves nothing behind in the sampler."""
    sampler = Sampler()
    sampler.take(tick(0.0))
    nobody: tuple[DatabaseSnapshot, ...] = ()
    empty = dataclasses.replace(snapshots.snapshot(), databases=nobody, alerts=(), devices=())

    assert taken(sampler, tick(10.0, empty)).rows == ()
