"""What a put costs each resource."""

from dataclasses import fields, replace
from typing import Any

import pytest

from agent.demands.demands import DemandEstimator, Demands, Measured
from agent.findings import DatabaseFindings
from agent.readings import Known, Missing
from probes.rocksdb.samples import ColumnFamilyShape, LevelInput, LevelShape
from tests.unit.agent_samples import (
    ABSENT,
    a_compaction,
    a_flush,
    a_log,
    a_manifest,
    a_process,
    a_wal,
    captured_log,
    captured_manifest,
    captured_options,
    database_findings,
    known,
    truth,
)

CAPTURED = ("v6.17.3", "v6.29.5", "v7.8.3", "v8.8.1", "v9.8.4", "v10.7.5", "v11.8.1")


def captured(name: str, **changes: Any) -> DatabaseFindings:
    findings = database_findings(
        log=known(captured_log(name)),
        manifest=known(captured_manifest(name)),
        options=known(captured_options(name)),
    )
    return replace(findings, **changes)


def measured(demands: Demands | Missing, name: str) -> Measured:
    assert isinstance(demands, Demands)
    value = getattr(demands, name)
    assert isinstance(value, Measured), (name, value)
    return value


@pytest.mark.parametrize("name", CAPTURED)
def test_a_first_answer_comes_from_the_logs_history(name: str) -> None:
    """One look at a real LOG, of any version, is enough for bytes and CPU of every kind."""
    demands = DemandEstimator().update(captured(name), known(1000.0))
    written = truth(name)["operations"].values()
    puts = sum(w["puts"] for w in written)
    operations = puts + sum(w["deletes"] for w in written)
    record = measured(demands, "record_bytes").value
    assert record == pytest.approx(16.0 + 400.0 * puts / operations, rel=0.03)
    # Random bytes do not compress: a flush writes what it took in, give or take the blocks' frame.
    assert measured(demands, "flush_written_bytes").value == pytest.approx(record, rel=0.05)
    assert measured(demands, "compaction_written_bytes").value > 0.5 * record
    assert 0.9 < measured(demands, "compaction_output_ratio").value < 1.05
    assert 1e-9 < measured(demands, "compaction_cpu_seconds_per_byte").value < 1e-7


def test_a_version_without_user_bytes_is_told_by_its_tables() -> None:
    """5.3 logs no total_data_size; the properties of the tables have keys and values."""
    demands = DemandEstimator().update(captured("v5.3.0"), known(1000.0))
    record = measured(demands, "record_bytes")
    assert record.source == "log table properties"
    assert record.value == pytest.approx(372.0, rel=0.03)


def test_a_database_that_is_idle_and_has_flushed_nothing_says_so() -> None:
    """There are no puts to divide by."""
    demands = DemandEstimator().update(database_findings(log=known(a_log())), known(0.0))
    assert isinstance(demands, Missing)
    assert demands.reason == "idle"


def test_without_a_log_each_demand_says_why_it_is_missing() -> None:
    """The record's size and its WAL still come from the WAL's tail."""
    findings = database_findings(wal=a_wal(0.0, 100, mean_record_bytes=110.0))
    demands = DemandEstimator().update(findings, known(1000.0))
    assert isinstance(demands, Demands)
    assert measured(demands, "record_bytes").source == "wal tail"
    assert demands.compaction_written_bytes == ABSENT
    assert demands.flush_written_bytes == ABSENT


def test_a_shared_process_tells_no_database_s_cpu() -> None:
    """Two databases in one process: whose CPU is it?"""
    findings = database_findings(shares_process=True, process=a_process(0.0, 0))
    demands = DemandEstimator().update(findings, known(1000.0))
    assert isinstance(demands, Demands)
    assert isinstance(demands.foreground_cpu_seconds, Missing)
    assert demands.foreground_cpu_seconds.reason == "process_shared"


def test_cpu_per_put_joins_process_and_sequence_number() -> None:
    """Read twice, ten seconds apart."""
    estimator = DemandEstimator()
    for at, cpu, sequence in ((0.0, 1.0, 5000), (10.0, 1.2, 25_000)):
        process = replace(a_process(at, 0).value, foreground_cpu_seconds=cpu)
        demands = estimator.update(
            database_findings(process=Known(process, "process", at), wal=a_wal(at, sequence)),
            known(2000.0, at),
        )
    assert measured(demands, "foreground_cpu_seconds").value == pytest.approx(10e-6)


def test_the_wal_is_known_to_be_off_when_flushes_run_ahead_of_it() -> None:
    """disableWAL is a write option: only sequence numbers that the WAL never saw tell of it."""
    ahead = database_findings(
        wal=a_wal(0.0, 100, mean_record_bytes=110.0),
        manifest=known(a_manifest(last_sequence=50_000)),
    )
    demands = DemandEstimator().update(ahead, known(1000.0))
    assert isinstance(demands, Demands)
    assert demands.wal_enabled is False
    assert measured(demands, "wal_bytes").value == 0.0


@pytest.mark.parametrize(
    ("wal", "expected"),
    [
        (Missing("wal_empty", ""), False),
        (Missing("no_wal", ""), False),
        (Missing("wal_compressed", ""), True),
        (Missing("not_readable", ""), None),
    ],
)
def test_whether_an_unreadable_wal_is_used(wal: Missing, expected: bool | None) -> None:
    """An empty WAL beside flushed tables is not used; a compressed one is; else nobody knows."""
    findings = database_findings(wal=wal, log=known(a_log(recent_flushes=(a_flush(1.0),))))
    demands = DemandEstimator().update(findings, known(1000.0))
    assert isinstance(demands, Demands)
    assert demands.wal_enabled is expected


def two_merges(files_after: tuple[tuple[int, ...], tuple[int, ...]]) -> DatabaseFindings:
    """Two merges of level 0, each 1 MB in and 0.9 MB out, 4000 entries between their starts."""
    inputs = (LevelInput(0, 4, 400_000.0), LevelInput(1, 3, 600_000.0))
    log = a_log(
        recent_flushes=tuple(a_flush(10.0 * index) for index in range(9)),
        recent_compactions=tuple(
            a_compaction(at, duration_seconds=1.0, inputs=inputs, level_files=files)
            for at, files in zip((41.0, 81.0), files_after, strict=True)
        ),
    )
    shape = ColumnFamilyShape(
        "default", (LevelShape(2, 200_000), LevelShape(4, 1_000_000), LevelShape(1, 1_000_000))
    )
    return database_findings(
        log=known(log),
        manifest=known(a_manifest(column_families=(shape,))),
        options=known(captured_options("v7.8.3")),
    )


def test_debt_that_grew_in_the_window_is_part_of_the_steady_demand() -> None:
    """Puts taken on credit cost what is owed for them; a debt paid back was others' puts."""
    even, grown, paid = (
        measured(
            DemandEstimator().update(two_merges(files), known(1000.0)), "compaction_written_bytes"
        )
        for files in (
            ((0, 2, 1), (0, 2, 1)),
            ((0, 2, 1), (6, 4, 1)),
            ((6, 4, 1), (0, 2, 1)),
        )
    )
    assert even.value == pytest.approx(900_000 / 4000)
    assert grown.value > 1.1 * even.value
    assert paid.value < 0.9 * even.value
    assert even.source == "log compaction events and debt"


def test_totals_stand_in_while_the_recent_events_do_not_suffice() -> None:
    """A merge every twenty minutes is not in the recent history; the totals still tell."""
    log = a_log(
        puts=100_000, user_bytes=11_100_000, compactions=16, compaction_output_bytes=5_000_000
    )
    demands = DemandEstimator().update(database_findings(log=known(log)), known(1000.0))
    written = measured(demands, "compaction_written_bytes")
    assert (written.value, written.source) == (50.0, "log totals")
    assert written.spread_ratio == pytest.approx(0.25)


def test_debt_and_its_clearing_come_from_the_manifest() -> None:
    """A tree within its targets owes nothing."""
    demands = DemandEstimator().update(captured("v9.8.4"), known(1000.0))
    assert isinstance(demands, Demands)
    assert isinstance(demands.debt_bytes, Known)
    assert demands.debt_bytes.value >= 0.0


def test_the_same_findings_give_the_same_demands_again() -> None:
    """What is kept between ticks changes nothing but the time it takes."""
    estimator = DemandEstimator()
    first = estimator.update(captured("v9.8.4"), known(1000.0))
    second = estimator.update(captured("v9.8.4"), known(1000.0))
    assert isinstance(first, Demands)
    assert isinstance(second, Demands)
    for field in fields(Demands):
        assert getattr(first, field.name) == getattr(second, field.name), field.name
