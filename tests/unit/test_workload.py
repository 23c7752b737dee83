"""What the database does, out of its own records: captured LOGs and MANIFESTs, and made ones."""

import pytest

from agent import workload
from agent.readings import Known, Missing, Quantity
from probes.rocksdb.samples import ColumnFamilyShape, LevelShape, StatsDump
from tests.unit.agent_samples import (
    ABSENT,
    WALL,
    a_compaction,
    a_flush,
    a_log,
    a_manifest,
    a_secondary,
    a_wal,
    captured_log,
    captured_manifest,
    known,
    truth,
)

MODERN = ["v6.17.3", "v7.8.3", "v9.8.4", "v11.8.1"]


def value(quantity: Quantity) -> float:
    assert isinstance(quantity, Known)
    return quantity.value


def reason(quantity: object) -> str:
    assert isinstance(quantity, Missing)
    return quantity.reason


def true_record_size(name: str) -> float:
    """Mean of key and value over all that was written; a delete is a key only."""
    told = truth(name)
    key = told["key_size"]
    total = count = 0
    for family, operations in told["operations"].items():
        for size, puts in told["value_sizes"][family].items():
            total += puts * (key + int(size))
            count += puts
        total += operations["deletes"] * key
        count += operations["deletes"]
    return float(total) / float(count)


@pytest.mark.parametrize("name", [*MODERN, "universal", "wal_disabled", "fifo"])
def test_the_record_size_of_real_flushes_is_that_of_what_was_written(name: str) -> None:
    """Within 1 % of key and value, memtable overhead taken off."""
    size = workload.record_size(known(captured_log(name)), ABSENT)
    assert true_record_size(name) == pytest.approx(value(size), rel=0.01)
    assert isinstance(size, Known)
    assert size.source == "log flush events"


def test_rocksdb_5_leaves_the_record_size_to_the_wal() -> None:
    """Its flush events carry no bytes: without a WAL the reason is that of the best source."""
    log = known(captured_log("v5.3.0"))
    assert reason(workload.record_size(log, ABSENT)) == "no_recent_flush"
    size = workload.record_size(log, a_wal(3.0, 1, mean_record_bytes=420.0))
    assert size == Known(416.0, "wal tail", 3.0)


def test_recent_flushes_come_before_the_wal_and_the_wal_before_old_flushes() -> None:
    """The newest source that says it."""
    wal = a_wal(3.0, 1, mean_record_bytes=204.0)
    recent = known(a_log(recent_flushes=(a_flush(WALL),), puts=10, user_bytes=5110), at=2.0)
    old = known(a_log(puts=10, user_bytes=5110), at=2.0)
    assert workload.record_size(recent, wal) == Known(100.0, "log flush events", 2.0)
    assert workload.record_size(old, wal) == Known(200.0, "wal tail", 3.0)
    assert workload.record_size(old, a_wal(3.0, 1)) == Known(500.0, "log flush totals", 2.0)
    assert workload.record_size(old, ABSENT) == Known(500.0, "log flush totals", 2.0)


def test_flushes_of_different_sizes_are_weighed_by_their_entries() -> None:
    """A mean per put, not per flush; a flush without the figures does not count."""
    flushes = (
        a_flush(WALL, entries=900, user_bytes=900 * 111),
        a_flush(WALL, entries=100, user_bytes=100 * 1011),
        a_flush(WALL, entries=None, user_bytes=10**9),
        a_flush(WALL, entries=10**9, user_bytes=None),
    )
    size = workload.record_size(known(a_log(recent_flushes=flushes)), ABSENT)
    assert pytest.approx(190.0) == value(size)


def test_a_record_is_never_smaller_than_a_byte() -> None:
    """Tiny entries must not come out negative after the overhead is taken off."""
    tiny = known(a_log(recent_flushes=(a_flush(WALL, entries=1000, user_bytes=5000),)))
    assert value(workload.record_size(tiny, ABSENT)) == 1.0
    wal = a_wal(0.0, 1, mean_record_bytes=2.0)
    assert value(workload.record_size(ABSENT, wal)) == 1.0


def test_nothing_known_gives_the_reason_of_the_best_source() -> None:
    """An unreadable LOG is named before a short WAL."""
    assert workload.record_size(ABSENT, a_wal(0.0, 1)) is ABSENT
    assert reason(workload.record_size(known(a_log()), ABSENT)) == "no_recent_flush"


@pytest.mark.parametrize("name", MODERN)
def test_write_amplification_of_a_real_log_is_output_over_user_bytes(name: str) -> None:
    """Added up from the events here; RocksDB's own figure divides by flush output instead."""
    log = captured_log(name)
    flushed = sum(flush.output_bytes for flush in log.recent_flushes)
    compacted = sum(compaction.output_bytes for compaction in log.recent_compactions)
    user = sum(flush.user_bytes or 0 for flush in log.recent_flushes)
    expected = (flushed + compacted) / user
    assert expected == pytest.approx(value(workload.write_amplification(known(log))))
    assert 1.5 < expected < 4.0


def test_write_amplification_needs_user_bytes_and_a_compaction() -> None:
    """A LOG of one flush would say 1."""
    assert workload.write_amplification(ABSENT) is ABSENT
    assert reason(workload.write_amplification(known(a_log()))) == "no_flush_seen"
    flushed = a_log(user_bytes=1000, flush_output_bytes=900)
    assert reason(workload.write_amplification(known(flushed))) == "no_compaction_seen"
    both = a_log(
        user_bytes=1000, flush_output_bytes=900, compactions=1, compaction_output_bytes=2100
    )
    assert workload.write_amplification(known(both, at=4.0)) == Known(3.0, "log events", 4.0)


def test_compaction_share_is_its_part_of_all_output() -> None:
    """Unknown while nothing was written."""
    assert workload.compaction_share(ABSENT) is None
    assert workload.compaction_share(known(a_log())) is None
    log = a_log(flush_output_bytes=100, compaction_output_bytes=300)
    assert workload.compaction_share(known(log)) == 0.75


@pytest.mark.parametrize("name", ["v7.8.3", "v9.8.4", "universal", "fifo", "multi_cf"])
def test_levels_in_use_are_those_below_level_0_that_hold_files(name: str) -> None:
    """As RocksDB itself listed its live files when they were captured."""
    levels = {
        (file["cf"] if name == "multi_cf" else "", file["level"])
        for file in truth(name)["live_files"]
        if file["level"] > 0
    }
    by_family = [sum(1 for cf, _ in levels if cf == family) for family, _ in levels]
    actual = workload.levels_in_use(known(captured_manifest(name)))
    assert max(by_family, default=0) == actual


def test_a_young_tree_at_the_last_level_has_one_level_in_use() -> None:
    """Dynamic level sizes begin at the bottom."""
    levels = tuple(LevelShape(files, files * 10) for files in (3, 0, 0, 0, 0, 0, 1))
    manifest = a_manifest(column_families=(ColumnFamilyShape("default", levels),))
    assert workload.levels_in_use(known(manifest)) == 1
    assert workload.levels_in_use(known(a_manifest())) == 0
    assert workload.levels_in_use(ABSENT) is None


def test_compaction_writes_are_averaged_over_five_minutes() -> None:
    """Two compactions of 0.9 MB in 300 s."""
    log = a_log(recent_compactions=(a_compaction(WALL - 200.0), a_compaction(WALL - 10.0)))
    rate = workload.compaction_write_rate(known(log, at=5.0), WALL)
    assert rate == Known(6000.0, "log events", 5.0)


def test_the_part_of_a_compaction_before_the_window_does_not_count() -> None:
    """Its output is spread over the time it took."""
    half = a_log(recent_compactions=(a_compaction(WALL - 295.0),))  # ran from -305 to -295
    assert value(workload.compaction_write_rate(known(half), WALL)) == pytest.approx(1500.0)
    old = a_log(recent_compactions=(a_compaction(WALL - 300.0),))
    assert value(workload.compaction_write_rate(known(old), WALL)) == 0.0


def test_an_idle_database_compacts_nothing_and_that_is_known() -> None:
    """A LOG with events and no recent one says 0."""
    assert value(workload.compaction_write_rate(known(a_log()), WALL)) == 0.0
    assert value(workload.flush_write_rate(known(a_log()), WALL)) == 0.0


def test_a_log_without_events_does_not_say_idle() -> None:
    """Kafka Streams logs at ERROR: silence is no measurement."""
    silent = known(a_log(has_events=False))
    for rate in (
        workload.compaction_write_rate(silent, WALL),
        workload.flush_write_rate(silent, WALL),
        workload.compaction_read_total(silent),
    ):
        assert reason(rate) == "log_has_no_events"


def test_a_log_younger_than_the_window_is_averaged_over_its_age() -> None:
    """But over 10 s at least, and not while its time is not known."""
    flush = a_flush(WALL - 1.0, output_bytes=6000)
    minute = a_log(first_wall_seconds=WALL - 60.0, recent_flushes=(flush,))
    assert value(workload.flush_write_rate(known(minute), WALL)) == pytest.approx(100.0)
    second = a_log(first_wall_seconds=WALL - 2.0, recent_flushes=(flush,))
    assert value(workload.flush_write_rate(known(second), WALL)) == pytest.approx(600.0)
    unknown = known(a_log(first_wall_seconds=None))
    assert reason(workload.flush_write_rate(unknown, WALL)) == "log_too_short"
    future = known(a_log(first_wall_seconds=WALL + 5.0))
    assert reason(workload.flush_write_rate(future, WALL)) == "log_too_short"


def test_an_event_without_a_duration_counts_whole() -> None:
    """Old versions do not tell how long a flush took."""
    log = a_log(recent_flushes=(a_flush(WALL - 5.0, output_bytes=3000, duration_seconds=None),))
    assert value(workload.flush_write_rate(known(log), WALL)) == pytest.approx(10.0, rel=1e-3)


def test_a_real_log_accounts_for_all_it_wrote_when_it_lies_within_the_window() -> None:
    """Rate times window is what the events add up to."""
    log = captured_log("v9.8.4")
    assert log.first_wall_seconds is not None
    assert log.last_wall_seconds is not None
    now = log.last_wall_seconds + 60.0
    span = now - log.first_wall_seconds
    flushed = value(workload.flush_write_rate(known(log), now)) * span
    compacted = value(workload.compaction_write_rate(known(log), now)) * span
    assert log.flush_output_bytes == pytest.approx(flushed, rel=1e-3)
    assert log.compaction_output_bytes == pytest.approx(compacted, rel=1e-3)


def test_the_manifest_gives_the_work_of_a_silent_database() -> None:
    """Mean of its totals between readings, at most 5 minutes."""
    work = workload.ManifestWork()
    assert reason(work.flush_rate()) == "not_yet_measured"
    work.add(known(a_manifest(0.0, flushed_bytes=0, compacted_bytes=100)))
    assert reason(work.compaction_rate()) == "not_yet_measured"
    work.add(known(a_manifest(10.0, flushed_bytes=500, compacted_bytes=2100)))
    assert work.flush_rate() == Known(50.0, "manifest", 10.0)
    assert work.compaction_rate() == Known(200.0, "manifest", 10.0)


def test_a_manifest_that_cannot_be_read_ends_its_rates() -> None:
    """With its reason, and the next rate needs two new readings."""
    work = workload.ManifestWork()
    work.add(known(a_manifest(0.0)))
    work.add(known(a_manifest(10.0, flushed_bytes=500)))
    work.add(ABSENT)
    assert work.flush_rate() is ABSENT
    work.add(known(a_manifest(20.0, flushed_bytes=10)))
    assert isinstance(work.flush_rate(), Missing)
    work.add(known(a_manifest(30.0, flushed_bytes=30)))
    assert value(work.flush_rate()) == 2.0


@pytest.mark.parametrize(("size", "rate"), [(97.0, 1000.0), (996.0, 10000.0), (19995.0, 2e5)])
def test_the_wal_takes_each_put_with_a_few_bytes_of_its_own(size: float, rate: float) -> None:
    """A type and two lengths, which grow; missing when either figure is."""
    assert workload.wal_write_rate(Known(10.0, "wal", 1.0), known(size)) == Known(rate, "wal", 1)
    assert workload.wal_write_rate(ABSENT, known(96.0)) is ABSENT
    assert workload.wal_write_rate(known(1.0), ABSENT) is ABSENT


def test_totals_come_from_the_log_and_without_events_from_the_manifest() -> None:
    """A silent LOG's zeros are not totals."""
    manifest = known(a_manifest(flushed_bytes=7, compacted_bytes=8), source="manifest")
    log = known(
        a_log(flush_output_bytes=1, compaction_output_bytes=2, compaction_input_bytes=3),
        source="log",
    )
    silent = known(a_log(has_events=False))
    assert workload.flushed_total(log, manifest) == Known(1.0, "log", 0.0)
    assert workload.compacted_total(log, manifest) == Known(2.0, "log", 0.0)
    assert workload.compaction_read_total(log) == Known(3.0, "log", 0.0)
    assert workload.flushed_total(silent, manifest) == Known(7.0, "manifest", 0.0)
    assert workload.compacted_total(silent, manifest) == Known(8.0, "manifest", 0.0)
    assert reason(workload.flushed_total(silent, ABSENT)) == "log_has_no_events"


@pytest.mark.parametrize("name", ["v5.3.0", "v9.8.4", "universal"])
def test_stored_bytes_are_those_of_the_live_files(name: str) -> None:
    """As RocksDB itself listed them."""
    expected = sum(file["size"] for file in truth(name)["live_files"])
    assert expected == value(workload.stored_bytes(known(captured_manifest(name)), ABSENT))


def test_stored_bytes_fall_back_to_the_secondary() -> None:
    """And are missing for the MANIFEST's reason when that does not say either."""
    assert workload.stored_bytes(ABSENT, known(a_secondary())) == Known(5000.0, "secondary", 0.0)
    assert workload.stored_bytes(ABSENT, known(a_secondary(total_sst_bytes=None))) is ABSENT
    assert workload.stored_bytes(ABSENT, ABSENT) is ABSENT


def test_a_secondary_that_sees_no_files_where_there_are_some_is_not_trusted() -> None:
    """It opens without an error and reports nothing at all."""
    blind = known(a_secondary(level_files={"default": (0, 0)}))
    real = known(captured_manifest("universal"))
    assert reason(workload.trusted_secondary(blind, real)) == "tables_not_seen"
    assert reason(workload.estimated_keys(blind, real)) == "tables_not_seen"
    assert workload.trusted_secondary(blind, known(a_manifest())) is blind
    assert workload.trusted_secondary(blind, ABSENT) is blind
    seeing = known(a_secondary())
    assert workload.trusted_secondary(seeing, real) is seeing


def test_every_column_family_with_files_must_be_seen_by_the_secondary() -> None:
    """One unreadable table hides one family only; its pending bytes would be a false 0."""
    real = known(captured_manifest("v9.8.4"))
    assert {family.name for family in real.value.column_families} == {"default", "second"}
    half = known(a_secondary(level_files={"default": (1, 2)}))
    assert reason(workload.trusted_secondary(half, real)) == "tables_not_seen"
    whole = known(a_secondary(level_files={"default": (1, 2), "second": (3,)}))
    assert workload.trusted_secondary(whole, real) is whole


def dump(age_seconds: float, **pending: float) -> StatsDump:
    return StatsDump(WALL - age_seconds, None, None, None, None, {}, pending)


def test_pending_compaction_bytes_are_added_over_column_families() -> None:
    """The secondary's come first, and its keys add up likewise."""
    log = known(a_log(stats_dump=dump(10.0, default=5.0)))
    pending = workload.pending_compaction(known(a_secondary()), ABSENT, log, 100.0, WALL)
    assert pending == Known(330.0, "test", 0.0)
    assert value(workload.estimated_keys(known(a_secondary()), ABSENT)) == 44.0


def test_the_stats_dump_stands_in_with_its_own_age() -> None:
    """1800 s is three dumps; an older one is history."""
    log = known(a_log(stats_dump=dump(1800.0, default=5.0, second=7.0)))
    pending = workload.pending_compaction(ABSENT, ABSENT, log, 2000.0, WALL)
    assert pending == Known(12.0, "log stats dump", 200.0)
    old = known(a_log(stats_dump=dump(1800.1, default=5.0)))
    assert workload.pending_compaction(ABSENT, ABSENT, old, 2000.0, WALL) is ABSENT


def test_without_any_source_pending_bytes_are_missing_for_the_secondarys_reason() -> None:
    """RocksDB before 9.0 does not dump them."""
    for log in (ABSENT, known(a_log()), known(a_log(stats_dump=dump(1.0)))):
        assert workload.pending_compaction(ABSENT, ABSENT, log, 0.0, WALL) is ABSENT
