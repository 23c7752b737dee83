"""The numbers that the alert rules watch, out of real snapshots."""

import dataclasses
import math
from typing import Any

import pytest

from agent.alerts.observe import observations
from agent.alerts.rules import SEVERITY, AlertSettings, Observation
from agent.device_state import DeviceState
from agent.probe_state import ProbeState
from agent.rates import MeanRate
from agent.readings import Known, Missing, Quantity
from agent.snapshot import DatabaseSnapshot, DeviceSnapshot
from probes.rocksdb.samples import BackgroundError, StallCondition
from tests.unit.agent_samples import (
    ABSENT,
    DAY,
    MIB,
    NO_CPU,
    WALL,
    a_database_state,
    a_fingerprint,
    a_fio,
    a_log,
    a_wal,
    database_findings,
    device_findings,
    known,
    on_device,
    probe_state,
)


def a_snapshot(puts_per_second: int | None = 1000, **log: Any) -> DatabaseSnapshot:
    """A database with a LOG, on a device of 1000 MiB/s without other traffic."""
    state = a_database_state(300.0)
    on = DeviceState(DAY).update(
        device_findings(fio=known(a_fio(0.0, 1000 * MIB))), ABSENT, (), 0.0
    )
    for at in (-10.0, 0.0):
        wal = ABSENT if puts_per_second is None else a_wal(at, int(puts_per_second * (at + 10)))
        findings = database_findings(
            wal=wal, log=known(a_log(**log)), fingerprint=a_fingerprint(WALL - 3600.0)
        )
        snapshot = state.update(findings, on, MeanRate(0.0, 300.0, at), NO_CPU, at, WALL + at)
    return snapshot


def unknown_database() -> DatabaseSnapshot:
    return a_database_state(300.0).update(database_findings(), None, None, NO_CPU, 0.0, WALL)


def a_device_snapshot(*rates_mib: float) -> DeviceSnapshot:
    state = DeviceState(DAY)
    snapshot = state.update(device_findings(), ABSENT, (), 0.0)
    for at, rate in enumerate(rates_mib):
        fio = known(a_fio(float(at), rate * MIB))
        snapshot = state.update(device_findings(fio=fio), ABSENT, (), 0.0)
    return snapshot


def of_database(snapshot: DatabaseSnapshot) -> dict[str, Observation]:
    return {found.rule: found for found in observations([snapshot], [], [])}


def of_probes(*probes: ProbeState) -> list[Observation]:
    """On a host that watches the database "orders" on the device "sda"."""
    found = observations([unknown_database()], [a_device_snapshot()], probes)
    return [observation for observation in found if observation.rule == "probe_failing"]


def test_every_rule_observes_something_and_has_a_severity() -> None:
    """A rule that is never observed would be configured in vain."""
    found = observations(
        [a_snapshot()], [a_device_snapshot(100.0)], [probe_state("wal", "orders", True)]
    )
    rules = set(AlertSettings().by_name())
    assert rules == {observation.rule for observation in found}
    assert rules == set(SEVERITY)
    assert set(SEVERITY.values()) == {"warning", "critical"}


def test_a_database_is_named_with_the_device_of_its_data() -> None:
    """Both are labels of the alert."""
    for observation in of_database(a_snapshot()).values():
        assert (observation.database, observation.device) == ("orders", "sda")


def test_the_device_of_the_wal_does_not_name_the_alert() -> None:
    """Whatever the order of the directories."""
    paths = (on_device("wal", "sdb", "8:16"), on_device("data", "sda", "8:0"))
    snapshot = a_database_state(300.0).update(
        database_findings(paths=paths), None, None, NO_CPU, 0.0, WALL
    )
    assert {observation.device for observation in of_database(snapshot).values()} == {"sda"}


def test_both_headroom_rules_see_the_headroom() -> None:
    """With a sentence that names put rate and S_max."""
    snapshot = a_snapshot()
    found = of_database(snapshot)
    assert isinstance(snapshot.headroom_ratio, Known)
    for rule in ("headroom_low_warning", "headroom_low_critical"):
        assert snapshot.headroom_ratio.value == found[rule].value
        assert "orders takes 1,000 puts/s of a sustainable " in found[rule].summary
    assert (found["headroom_low_warning"].severity, found["headroom_low_critical"].severity) == (
        "warning",
        "critical",
    )


def test_a_drop_is_seen_once_there_is_a_median() -> None:
    """Before that it is not known, which is not "no drop"."""
    found = of_database(a_snapshot())["s_max_dropped"]
    assert found.value is None
    assert "an unknown share" in found.summary


@pytest.mark.parametrize(
    ("states", "stopped", "delayed"),
    [
        ((), 0.0, 0.0),
        (("delayed",), 0.0, 1.0),
        (("stopped",), 1.0, 0.0),
        (("delayed", "stopped"), 1, 1),
    ],
)
def test_stop_and_delay_are_told_apart(
    states: tuple[str, ...], stopped: float, delayed: float
) -> None:
    """Each has a rule of its own, and names the causes of its own state only."""
    stalls = tuple(StallCondition("default", state, "l0_files", WALL, None) for state in states)
    found = of_database(a_snapshot(stalls=stalls))
    assert (stopped, delayed) == (found["write_stopped"].value, found["write_delayed"].value)
    for rule, value in (("write_stopped", stopped), ("write_delayed", delayed)):
        assert ("l0_files" in found[rule].summary) == bool(value)


def test_a_stall_ends_with_the_process_that_was_held_back() -> None:
    """That nobody has the database open is a fact, not missing data."""
    gone = Missing("not_open", "the process is gone")
    found = of_database(dataclasses.replace(a_snapshot(), stalls=gone, background_error=gone))

    assert [found[r].value for r in ("write_stopped", "write_delayed", "background_error")] == [
        0.0,
        0.0,
        0.0,
    ]


def test_a_background_error_is_seen_with_its_message() -> None:
    """1 with one, 0 without."""
    assert of_database(a_snapshot())["background_error"].value == 0.0
    error = BackgroundError("IO error: No space left on device", WALL)
    found = of_database(a_snapshot(background_error=error))["background_error"]
    assert found.value == 1.0
    assert "No space left on device" in found.summary


def test_data_is_stale_while_s_max_or_the_put_rate_is_missing() -> None:
    """Both are needed for a headroom."""
    assert of_database(a_snapshot())["data_stale"].value == 0.0
    assert of_database(a_snapshot(puts_per_second=None))["data_stale"].value == 1.0
    assert of_database(a_snapshot(first_wall_seconds=None))["data_stale"].value == 1.0


def test_what_is_not_known_is_not_observed_as_healthy() -> None:
    """Everything but the staleness itself is None."""
    found = of_database(unknown_database())
    values = {rule: observation.value for rule, observation in found.items()}
    assert values.pop("data_stale") == 1.0
    assert set(values.values()) == {None}


def test_a_device_is_measured_against_its_baseline() -> None:
    """None before the first measurement."""
    (found,) = observations([], [a_device_snapshot(100.0, 70.0)], [])
    assert (found.rule, found.database, found.device) == ("device_bandwidth_declined", "", "sda")
    assert found.value == pytest.approx(0.7)
    assert "70 %" in found.summary
    (found,) = observations([], [a_device_snapshot()], [])
    assert found.value is None


def test_failing_probes_are_one_observation_per_target() -> None:
    """A database whose disk died is one alert, and its sentence names all of them."""
    (found,) = of_probes(
        probe_state("wal", "orders", False, detail="cannot be read"),
        probe_state("manifest", "orders", False, detail="is damaged"),
        probe_state("log", "orders", True),
    )
    assert (found.database, found.device, found.value) == ("orders", "", 1.0)
    assert "probe wal on orders: cannot be read" in found.summary
    assert "probe manifest on orders: is damaged" in found.summary
    assert "probe log" not in found.summary


def test_each_target_is_an_observation_under_its_own_label() -> None:
    """A database, a device, or the host as a whole."""
    found = of_probes(
        probe_state("wal", "orders", False),
        probe_state("fio", "sda", True),
        probe_state("diskstats", "host", False),
    )
    assert [(o.database, o.device, o.value) for o in found] == [
        ("orders", "", 1.0),
        ("", "sda", 0.0),
        ("", "", 1.0),
    ]


def test_a_normal_absence_is_not_a_failure() -> None:
    """No WAL, no pressure files: nothing is broken."""
    (found,) = of_probes(probe_state("wal", "orders", False, absent=True))
    assert found.value == 0.0


def test_a_target_that_has_not_answered_at_all_is_not_known_to_be_healthy() -> None:
    """One answer is enough to know something."""
    (found,) = of_probes(probe_state("wal", "orders", None))
    assert found.value is None
    (found,) = of_probes(probe_state("wal", "orders", None), probe_state("log", "orders", True))
    assert found.value == 0.0


def test_lower_is_worse_for_shares_and_the_time_to_a_stall() -> None:
    """Headroom, S_max, device bandwidth and time left fall; conditions rise."""
    falling = {
        observation.rule
        for observation in observations(
            [a_snapshot()], [a_device_snapshot(1.0)], [probe_state("wal", "orders", True)]
        )
        if observation.worse_is_lower
    }
    assert falling == {
        "headroom_low_warning",
        "headroom_low_critical",
        "s_max_dropped",
        "device_bandwidth_declined",
        "stall_ahead",
        "model_miscalibrated",
    }
    assert isinstance(unknown_database().observed_puts_per_second, Missing)


GIB = float(2**30)
SHUT = Missing("not_open", "test")


@pytest.mark.parametrize(
    ("debt", "clear", "value"),
    [
        (Known(2 * GIB, "test", 0.0), Known(900.0, "test", 0.0), 900.0),
        (Known(2 * GIB, "test", 0.0), Known(math.inf, "test", 0.0), math.inf),
        (Known(GIB - 1, "test", 0.0), Known(math.inf, "test", 0.0), 0.0),
        (Known(2 * GIB, "test", 0.0), SHUT, None),
        (SHUT, SHUT, None),
    ],
)
def test_the_compaction_debt_is_watched_by_the_time_it_takes(
    debt: Quantity, clear: Quantity, value: float | None
) -> None:
    """What is less than seconds of work is no debt, though it may grow for a moment."""
    database = dataclasses.replace(a_snapshot(), debt_bytes=debt, debt_clear_seconds=clear)
    found = of_database(database)["compaction_debt_growing"]
    assert (found.value, found.alert) == (value, "RocksdbCompactionDebtGrowing")
    if value == math.inf:
        assert found.summary == "the compaction debt of orders is 2.0 GiB and grows"


def test_a_database_that_nobody_has_open_owes_nothing() -> None:
    """A fact, not missing data."""
    database = dataclasses.replace(a_snapshot(), stalls=SHUT, debt_bytes=SHUT)
    assert of_database(database)["compaction_debt_growing"].value == 0.0


@pytest.mark.parametrize(("judged", "value"), [(10, 0.5), (9, None), (0, None)])
def test_the_coverage_counts_once_enough_episodes_judge_it(
    judged: int, value: float | None
) -> None:
    """Of those that it is a share of, of which fewer may still correct the model."""
    database = a_snapshot()
    assert isinstance(database.recommended, Known)
    estimate = dataclasses.replace(
        database.recommended.value, labels=2, judged=judged, coverage_ratio=0.5
    )
    known = dataclasses.replace(database, recommended=Known(estimate, "test", 0.0))
    found = of_database(known)["model_miscalibrated"]
    assert (found.value, found.alert) == (value, "SmaxModelMiscalibrated")


@pytest.mark.parametrize(
    ("quantity", "value"),
    [
        (Known(90.0, "forecast", 0.0), 90.0),
        (Known(math.inf, "forecast", 0.0), math.inf),
        (Missing("not_yet_measured", "test"), None),
        (Missing("not_open", "test"), math.inf),
    ],
)
def test_the_time_to_a_stall_is_watched(quantity: Quantity, value: float | None) -> None:
    """Unknown is unknown, but a closed database heads for no stall."""
    database = dataclasses.replace(a_snapshot(), time_to_stall_seconds=quantity)
    (found,) = [o for o in observations([database], [], []) if o.rule == "stall_ahead"]
    assert found.value == value
