"""One database over time: foreign and available bandwidth, phase, S_max, headroom."""

from dataclasses import replace
from typing import Any

import pytest

from agent.database_state import DatabaseState
from agent.device_state import DeviceState
from agent.findings import DatabaseFindings, PathFindings
from agent.models import v4, v41
from agent.models.prediction import Prediction
from agent.rates import MeanRate
from agent.readings import Known, Missing
from agent.snapshot import DatabaseSnapshot, DeviceSnapshot, PlacedFiles
from probes.rocksdb.samples import BackgroundError, ColumnFamilyShape, LevelShape, StallCondition
from tests.unit.agent_samples import (
    ABSENT,
    DAY,
    MIB,
    NO_CPU,
    WALL,
    a_compaction,
    a_database_state,
    a_fingerprint,
    a_fio,
    a_flush,
    a_log,
    a_manifest,
    a_process,
    a_secondary,
    a_wal,
    captured_log,
    captured_manifest,
    captured_options,
    database_findings,
    device_findings,
    known,
    on_device,
    truth,
)

LOG = known(
    a_log(
        recent_flushes=(a_flush(WALL - 100.0, output_bytes=int(300 * MIB)),),
        recent_compactions=(a_compaction(WALL - 50.0, output_bytes=int(600 * MIB)),),
    ),
    source="log",
)
"""1 MiB/s of flushes and 2 MiB/s of compactions, records of 100 bytes."""


def device(capacity_mib: float | None = 1000.0) -> DeviceSnapshot:
    fio = ABSENT if capacity_mib is None else known(a_fio(0.0, capacity_mib * MIB))
    return DeviceState(DAY).update(device_findings(fio=fio), ABSENT, (), 0.0)


def update(
    findings: DatabaseFindings,
    *,
    state: DatabaseState | None = None,
    on: DeviceSnapshot | None = None,
    device_writes_mib: float | None = 10.0,
    now: float = 0.0,
    hold_seconds: float = 300.0,
) -> DatabaseSnapshot:
    """One tick on a device that takes 1000 MiB/s and is written to at 10 MiB/s."""
    writes = None if device_writes_mib is None else MeanRate(device_writes_mib * MIB, 300.0, now)
    return (state or a_database_state(hold_seconds)).update(
        findings, on or device(), writes, NO_CPU, now, WALL + now
    )


def number(quantity: Any) -> float:
    assert isinstance(quantity, Known), quantity
    return float(quantity.value)


def reason(quantity: object) -> str:
    assert isinstance(quantity, Missing)
    return quantity.reason


def mib(quantity: Any) -> float:
    return number(quantity) / MIB


def with_process(written_mib: float, **changes: Any) -> DatabaseSnapshot:
    """The second of two ticks, 100 s apart, between which the owner wrote so much."""
    state = a_database_state(300.0)
    findings = database_findings(log=LOG, **changes)
    update(replace(findings, process=a_process(-100.0, 0)), state=state)
    return update(replace(findings, process=a_process(0.0, int(written_mib * MIB))), state=state)


def test_the_process_that_writes_alone_to_one_device_tells_our_own_writes() -> None:
    """10 MiB/s on the device, 4 by the owner: 6 are foreign."""
    snapshot = with_process(400.0)
    assert mib(snapshot.foreign_bytes_per_second) == pytest.approx(6.0)
    assert isinstance(snapshot.foreign_bytes_per_second, Known)
    assert snapshot.foreign_bytes_per_second.source == "diskstats - process"


def test_a_process_shared_by_databases_leaves_it_to_rocksdbs_own_records() -> None:
    """Flushes 1 and compactions 2 MiB/s: 7 of 10 are foreign."""
    snapshot = with_process(400.0, shares_process=True)
    assert mib(snapshot.foreign_bytes_per_second) == pytest.approx(7.0, rel=1e-4)
    assert isinstance(snapshot.foreign_bytes_per_second, Known)
    assert snapshot.foreign_bytes_per_second.source == "diskstats - log events"


@pytest.mark.parametrize("role", ["wal", "db_path 1"])
def test_a_process_that_writes_to_several_devices_leaves_it_to_the_records_too(role: str) -> None:
    """Its count does not say where the bytes went."""
    paths = (on_device("data", "sda", "8:0"), on_device(role, "sdb", "8:16"))
    snapshot = with_process(400.0, paths=paths)
    assert mib(snapshot.foreign_bytes_per_second) == pytest.approx(7.0, rel=1e-4)


def test_without_the_processs_count_the_records_tell() -> None:
    """Not permitted, or only read once so far."""
    findings = database_findings(log=LOG)
    for process in (ABSENT, a_process(0.0, None), a_process(0.0, 10**9)):
        snapshot = update(replace(findings, process=process))
        assert mib(snapshot.foreign_bytes_per_second) == pytest.approx(7.0, rel=1e-4)


def test_a_process_that_cannot_be_read_any_more_does_not_leave_its_old_rate() -> None:
    """Never the old value: the records tell at once."""
    state = a_database_state(300.0)
    findings = database_findings(log=LOG)
    for at in (-100.0, 0.0):
        update(replace(findings, process=a_process(at, int((at + 100) * 4 * MIB))), state=state)
    snapshot = update(findings, state=state)
    assert mib(snapshot.foreign_bytes_per_second) == pytest.approx(7.0, rel=1e-4)


def test_the_wal_on_the_data_device_is_part_of_our_own_writes() -> None:
    """1024 * 1024 puts/s of 100 + 4 bytes would be 104 MiB/s; here a thousandth of it."""
    state = a_database_state(300.0)
    findings = database_findings(log=LOG)
    update(replace(findings, wal=a_wal(-10.0, 0)), state=state, now=-10.0)
    snapshot = update(replace(findings, wal=a_wal(0.0, int(MIB / 100))), state=state)
    assert mib(snapshot.foreign_bytes_per_second) == pytest.approx(7.0 - 0.104, rel=1e-3)
    assert isinstance(snapshot.foreign_bytes_per_second, Known)
    assert snapshot.foreign_bytes_per_second.source == "diskstats - log events and wal"


def test_the_wal_on_another_device_is_not() -> None:
    """It burdens that device, not this one."""
    state = a_database_state(300.0)
    paths = (on_device("data", "sda", "8:0"), on_device("wal", "sdb", "8:16"))
    findings = database_findings(log=LOG, paths=paths)
    update(replace(findings, wal=a_wal(-10.0, 0)), state=state, now=-10.0)
    snapshot = update(replace(findings, wal=a_wal(0.0, int(MIB / 100))), state=state)
    assert mib(snapshot.foreign_bytes_per_second) == pytest.approx(7.0, rel=1e-4)


def test_the_manifest_tells_of_the_work_when_the_log_is_silent() -> None:
    """3 MiB/s of flushed and 1 of compacted tables, of 10 on the device."""
    state = a_database_state(300.0)
    silent = known(a_log(has_events=False))
    for at, times in ((-10.0, 0), (0.0, 10)):
        manifest = a_manifest(
            at, flushed_bytes=int(3 * MIB) * times, compacted_bytes=int(MIB) * times
        )
        findings = database_findings(log=silent, manifest=known(manifest, at=at))
        snapshot = update(findings, state=state, now=at)
    assert mib(snapshot.foreign_bytes_per_second) == pytest.approx(6.0)
    assert mib(snapshot.compaction_bytes_per_second) == pytest.approx(1.0)
    assert mib(snapshot.available_bytes_per_second) == pytest.approx(993.0)


def test_available_is_capacity_less_foreign_less_our_own_compaction() -> None:
    """1000 - 6 - 2; and the availability ratio is its share."""
    snapshot = with_process(400.0)
    assert mib(snapshot.available_bytes_per_second) == pytest.approx(992.0, rel=1e-4)
    assert number(snapshot.availability_ratio) == pytest.approx(0.992, rel=1e-4)


def test_nothing_left_is_an_availability_of_zero_and_no_prediction() -> None:
    """The ratio is known to be 0, S_max is not defined."""
    snapshot = update(database_findings(log=LOG), on=device(8.0))
    assert number(snapshot.availability_ratio) == 0.0
    for quantity in (
        snapshot.available_bytes_per_second,
        snapshot.phase,
        snapshot.predictions,
        snapshot.recommended,
        snapshot.headroom_ratio,
        snapshot.s_max_ratio,
    ):
        assert reason(quantity) == "no_bandwidth_left"


@pytest.mark.parametrize(
    ("findings", "on", "device_writes_mib", "expected"),
    [
        (database_findings(log=LOG), device(None), 10.0, "left_out"),
        (database_findings(log=LOG), None, None, "not_yet_measured"),
        (database_findings(), None, 10.0, "left_out"),
    ],
)
def test_a_missing_part_makes_s_max_missing_for_its_reason(
    findings: DatabaseFindings,
    on: DeviceSnapshot | None,
    device_writes_mib: float | None,
    expected: str,
) -> None:
    """Capacity, device traffic, or what the database does."""
    snapshot = update(findings, on=on, device_writes_mib=device_writes_mib)
    assert reason(snapshot.available_bytes_per_second) == expected
    assert reason(snapshot.recommended) == expected


def test_without_a_device_everything_about_bandwidth_has_the_devices_reason() -> None:
    """A database on tmpfs has a put rate, and no S_max."""
    no_device = Missing("no_block_device", "tmpfs")
    findings = database_findings(paths=(PathFindings("data", "/db", no_device),), log=LOG)
    snapshot = a_database_state(300.0).update(findings, None, None, NO_CPU, 0.0, WALL)
    assert snapshot.foreign_bytes_per_second is no_device
    assert snapshot.recommended is no_device
    assert snapshot.places == (PlacedFiles("data", "/db", None, "tmpfs"),)
    unknown = a_database_state(300.0).update(
        database_findings(log=LOG, paths=()), None, None, NO_CPU, 0.0, WALL
    )
    assert reason(unknown.recommended) == "not_yet_measured"


def predictions(snapshot: DatabaseSnapshot) -> dict[str, Prediction]:
    assert isinstance(snapshot.predictions, Known)
    return {prediction.model: prediction for prediction in snapshot.predictions.value}


def test_both_models_get_what_is_available_and_what_is_known() -> None:
    """The phase in force, the measured record size, age, size and write amplification."""
    log = known(
        replace(
            LOG.value,
            user_bytes=100,
            flush_output_bytes=100,
            compactions=1,
            compaction_output_bytes=500,
        )
    )
    findings = database_findings(
        log=log,
        fingerprint=a_fingerprint(WALL - 7200.0),
        manifest=known(captured_manifest("v9.8.4")),
    )
    snapshot = update(findings)
    bandwidth_mib = mib(snapshot.available_bytes_per_second)
    assert isinstance(snapshot.phase, Known)
    assert snapshot.phase.value.votes == {
        "bandwidth": "middle",
        "runtime": "final",
        "size": "initial",
    }
    assert snapshot.phase.value.name == "initial", "one vote each goes to the earliest"
    size_gb = truth_bytes("v9.8.4") / 1e9
    assert predictions(snapshot) == {
        "v4": v4.predict(bandwidth_mib, phase="initial", record_size_bytes=100.0),
        "v4.1": v41.predict(
            bandwidth_mib,
            phase="initial",
            runtime_minutes=120.0,
            database_size_gb=size_gb,
            record_size_bytes=100.0,
            write_amplification=6.0,
        ),
    }
    assert predictions(snapshot)["v4.1"].factor == pytest.approx(0.765), "known to be small"


def truth_bytes(name: str) -> float:
    return float(sum(file["size"] for file in truth(name)["live_files"]))


@pytest.mark.parametrize(
    ("stored", "vote"), [(4_999_999_999, "initial"), (5_000_000_000, "middle")]
)
def test_a_gigabyte_is_a_thousand_million_bytes(stored: int, vote: str) -> None:
    """As drives are sold; the size vote changes at 5."""
    shape = (ColumnFamilyShape("default", (LevelShape(1, stored),)),)
    manifest = known(a_manifest(column_families=shape))
    snapshot = update(database_findings(log=LOG, manifest=manifest))
    assert isinstance(snapshot.phase, Known)
    assert vote == snapshot.phase.value.votes["size"]


def test_the_age_reaches_the_ramp_of_the_middle_phase_in_minutes() -> None:
    """30 minutes: 1.10 * 1.05 * 1.05."""
    findings = database_findings(log=LOG, fingerprint=a_fingerprint(WALL - 1800.0))
    refined = predictions(update(findings))["v4.1"]
    assert refined.phase == "middle"
    assert refined.factor == pytest.approx(1.21275)


def test_the_write_amplification_reaches_the_final_phase() -> None:
    """4.1 + 0.8 is above 4: 0.95 more."""
    log = known(
        replace(
            LOG.value,
            user_bytes=1000,
            flush_output_bytes=1000,
            compactions=1,
            compaction_output_bytes=3100,
        )
    )
    findings = database_findings(log=log, fingerprint=a_fingerprint(WALL - 7200.0))
    refined = predictions(update(findings, on=device(500.0)))["v4.1"]
    assert refined.phase == "final"
    assert refined.factor == pytest.approx(0.8528625)


@pytest.mark.parametrize(
    ("capacity_mib", "age_seconds", "phase", "model"),
    [
        (5000.0, 60.0, "initial", "v4"),
        (1000.0, 3600.0, "middle", "v4.1"),
        (500.0, 7200.0, "final", "v4"),
    ],
)
def test_the_recommended_model_is_the_originals_auto(
    capacity_mib: float, age_seconds: float, phase: str, model: str
) -> None:
    """V4.1 in the middle phase, V4 otherwise, while the measured models have no input."""
    findings = database_findings(log=LOG, fingerprint=a_fingerprint(WALL - age_seconds))
    snapshot = update(findings, on=device(capacity_mib))
    assert isinstance(snapshot.recommended, Known)
    recommended, raw = snapshot.recommended.value, predictions(snapshot)[model]
    assert (recommended.model, recommended.puts_per_second) == (model, raw.puts_per_second)
    assert (recommended.confidence, raw.phase) == ("unverified", phase)


def test_the_record_size_is_pinned_measured_or_for_want_of_both_1040() -> None:
    """The default serves the models only; it is not shown as the record size."""
    pinned = update(database_findings(log=LOG, pinned_record_size_bytes=64.0), now=7.0)
    assert pinned.record_size_bytes == Known(64.0, "config", 7.0)
    assert predictions(pinned)["v4"].record_size == 64.0
    assert predictions(update(database_findings(log=LOG)))["v4"].record_size == 100.0
    unknown = update(database_findings(log=known(a_log())))
    assert reason(unknown.record_size_bytes) == "no_recent_flush"
    assert predictions(unknown)["v4"].record_size == 1040.0


def test_the_age_is_that_of_the_identity_file_else_of_the_log() -> None:
    """The database's own, not its process's; a clock set back gives 0."""
    log = known(a_log(first_wall_seconds=WALL - 50.0))
    by_identity = update(database_findings(log=log, fingerprint=a_fingerprint(WALL - 90.0)), now=5)
    assert by_identity.age_seconds == Known(95.0, "identity file", 5.0)
    by_log = update(database_findings(log=log, fingerprint=a_fingerprint(None)), now=5.0)
    assert by_log.age_seconds == Known(55.0, "log", 5.0)
    future = update(database_findings(fingerprint=a_fingerprint(WALL + 90.0)))
    assert number(future.age_seconds) == 0.0
    assert update(database_findings()).age_seconds is ABSENT
    neither = update(database_findings(fingerprint=a_fingerprint(None)))
    assert reason(neither.age_seconds) == "no_identity_file"


def test_the_lsm_votes_only_while_the_age_is_unknown() -> None:
    """A tree with two levels below L0 in place of the runtime."""
    manifest = known(captured_manifest("v9.8.4"))
    quiet = known(a_log(first_wall_seconds=None, has_events=False))
    state = a_database_state(300.0)
    for at in (-10.0, 0.0):
        findings = database_findings(
            log=quiet, manifest=known(replace(manifest.value, at=at)), process=a_process(at, 0)
        )
        snapshot = update(findings, state=state, now=at)
    assert isinstance(snapshot.phase, Known)
    assert snapshot.phase.value.votes == {
        "bandwidth": "middle",
        "lsm": "middle",
        "size": "initial",
    }
    aged = update(replace(findings, fingerprint=a_fingerprint(WALL)), state=state, now=1.0)
    assert isinstance(aged.phase, Known)
    assert "lsm" not in aged.phase.value.votes


def test_the_phase_holds_against_a_short_change_of_bandwidth() -> None:
    """The hysteresis lives in the state; an age of an hour votes for middle throughout."""
    state = a_database_state(60.0)
    findings = database_findings(log=LOG)
    names = []
    for now, capacity in ((0, 5000.0), (10, 500.0), (20, 5000.0), (30, 500.0), (90, 500.0)):
        snapshot = update(findings, state=state, on=device(capacity), now=float(now))
        assert isinstance(snapshot.phase, Known)
        names.append(snapshot.phase.value.name)
    assert names == ["initial", "initial", "initial", "initial", "middle"]


def two_ticks(puts_per_second: int) -> DatabaseSnapshot:
    state = a_database_state(300.0)
    findings = database_findings(log=LOG)
    update(replace(findings, wal=a_wal(-10.0, 0)), state=state, now=-10.0)
    return update(replace(findings, wal=a_wal(0.0, 10 * puts_per_second)), state=state)


def test_headroom_is_what_the_put_rate_leaves_of_s_max() -> None:
    """And it is negative when the database takes more than the model believes."""
    idle = two_ticks(0)
    assert idle.headroom_ratio == Known(1.0, "wal", 0.0)
    assert isinstance(idle.recommended, Known)
    s_max = idle.recommended.value.puts_per_second
    half = two_ticks(int(s_max / 2))
    assert number(half.headroom_ratio) == pytest.approx(0.5, abs=0.01)
    over = two_ticks(int(s_max * 2))
    assert number(over.headroom_ratio) < -0.9


def test_headroom_is_missing_with_either_of_its_parts() -> None:
    """S_max first."""
    assert update(database_findings(log=LOG)).headroom_ratio is ABSENT
    full = update(database_findings(log=LOG), on=device(8.0))
    assert reason(full.headroom_ratio) == "no_bandwidth_left"


def test_s_max_against_its_own_median_needs_twelve_values() -> None:
    """The current one is part of them."""
    state = a_database_state(300.0)
    findings = database_findings(log=LOG)
    for step in range(11):
        snapshot = update(findings, state=state, now=10.0 * step)
        assert reason(snapshot.s_max_ratio) == "not_yet_measured"
    assert number(update(findings, state=state, now=110.0).s_max_ratio) == pytest.approx(1, rel=0.1)


def test_a_drop_of_s_max_shows_against_the_median_of_an_hour() -> None:
    """Half the bandwidth is half of S_max, until the hour has forgotten the better days."""
    state = a_database_state(1e9)
    findings = database_findings(log=known(a_log()), process=ABSENT)
    for step in range(20):
        update(findings, state=state, device_writes_mib=0.0, now=10.0 * step)
    halved = update(findings, state=state, on=device(500.0), device_writes_mib=0.0, now=200.0)
    assert number(halved.s_max_ratio) == pytest.approx(0.5)
    for step in range(20):
        now = 3800.0 + 10.0 * step
        later = update(findings, state=state, on=device(500.0), device_writes_mib=0.0, now=now)
    assert number(later.s_max_ratio) == pytest.approx(1.0)


def test_stalls_and_errors_come_from_the_log() -> None:
    """Of a database that a process has open."""
    stall = StallCondition("default", "stopped", "memtables", WALL, None)
    error = BackgroundError("No space left on device", WALL)
    log = Known(a_log(stalls=(stall,), background_error=error), "log", 0.0)
    snapshot = update(database_findings(log=log, fingerprint=a_fingerprint(WALL)))
    assert snapshot.stalls == Known((stall,), "log", 0.0)
    assert snapshot.background_error == Known(error, "log", 0.0)
    assert snapshot.stall_seconds == Known({"delayed": 0.0, "stopped": 0.0}, "log", 0.0)
    assert snapshot.owner_pid == 42


def test_the_version_is_the_logs_else_that_of_the_options() -> None:
    """None when neither is there."""
    options = known(captured_options("v7.8.3"))
    log = known(captured_log("v9.8.4"))
    assert update(database_findings(log=log, options=options)).rocksdb_version == "9.8.4"
    nameless = known(a_log(rocksdb_version=None))
    assert update(database_findings(log=nameless, options=options)).rocksdb_version == "7.8.3"
    assert update(database_findings()).rocksdb_version is None


def test_one_unreadable_source_costs_only_its_own_fields() -> None:
    """A real database without its WAL, then without its LOG."""
    whole = {
        "log": known(captured_log("v9.8.4")),
        "manifest": known(captured_manifest("v9.8.4")),
        "options": known(captured_options("v9.8.4")),
        "wal": a_wal(0.0, 9380),
        "secondary": known(a_secondary(level_files={"default": (1,), "second": (1,)})),
        "fingerprint": a_fingerprint(WALL - 60.0),
    }
    snapshot = update(database_findings(**whole))
    assert snapshot.sequence_number == Known(9380, "wal", 0.0)
    assert number(snapshot.size_bytes) == truth_bytes("v9.8.4")
    assert number(snapshot.flush_bytes_total) > 0
    assert number(snapshot.pending_compaction_bytes) == 330.0
    assert number(snapshot.estimated_keys) == 44.0
    assert number(snapshot.live_wal_bytes) == 1000.0
    no_wal = update(database_findings(**whole | {"wal": ABSENT}))
    assert no_wal.live_wal_bytes is ABSENT
    assert no_wal.sequence_number == Known(
        captured_manifest("v9.8.4").last_sequence, "manifest", 0.0
    )
    assert no_wal.write_amplification_ratio == snapshot.write_amplification_ratio
    no_log = update(database_findings(**whole | {"log": ABSENT}))
    assert no_log.background_error is ABSENT
    assert no_log.compaction_read_bytes_total is ABSENT
    assert no_log.levels == snapshot.levels
    assert no_log.sequence_number == snapshot.sequence_number


def test_a_process_that_is_gone_holds_nothing_back() -> None:
    """Its last words in the LOG were of a stall; they end when it is seen to be gone."""
    stall = StallCondition("default", "stopped", "memtables", WALL, None)
    log = known(a_log(stalls=(stall,), has_events=True), source="log")
    state = a_database_state(0.0)

    snapshot = state.update(
        database_findings(log=log, owner_gone=True), None, None, NO_CPU, 0.0, WALL
    )

    assert isinstance(snapshot.stalls, Missing)
    assert isinstance(snapshot.stall_seconds, Missing)
    assert isinstance(snapshot.background_error, Missing)
    assert snapshot.stalls.reason == "not_open"


def test_totals_do_not_change_their_source() -> None:
    """Two sources count from two beginnings: a step between them would look like work."""
    state = a_database_state(0.0)
    manifest = known(a_manifest(flushed_bytes=7, compacted_bytes=8), source="manifest")
    log = known(a_log(has_events=True, flush_output_bytes=100), source="log")
    before = state.update(
        database_findings(log=log, manifest=manifest), None, None, NO_CPU, 0.0, WALL
    )
    after = state.update(database_findings(manifest=manifest), None, None, NO_CPU, 10.0, WALL)

    assert before.flush_bytes_total == Known(100.0, "log", 0.0)
    assert isinstance(after.flush_bytes_total, Missing)
    assert isinstance(after.compaction_written_bytes_total, Missing)
