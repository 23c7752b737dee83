"""Which device is probed, by what its databases do."""

import dataclasses
from typing import Any

import pytest

from agent.bandwidth import CapacityEstimate
from agent.config import FioSettings
from agent.findings import DeviceBudget, DeviceFindings, FioEnded
from agent.probing.host_probing import OPENING_SECONDS, HostProbing
from agent.probing.scheduler import STALL_QUIET_SECONDS
from agent.probing.settings import probing_settings
from agent.readings import Known, Missing
from agent.snapshot import DatabaseSnapshot, ProbingSnapshot
from probes.fio import DEFAULT_LIMITS, FioMode
from probes.rocksdb.samples import StallCondition
from tests.unit.agent_samples import a_device, device_findings, findings_of, known
from tests.unit.snapshots import busy_database

BUDGET = known(DeviceBudget(4_000_000_000, 4_000_000_000))
CALM: dict[str, Any] = {"stalls": Known((), "log", 0.0), "stall_seconds": known({"stopped": 0.0})}


def a_database(**changes: Any) -> DatabaseSnapshot:
    return dataclasses.replace(busy_database(), **{"incarnations": 1, **CALM, **changes})


def sda(**changes: Any) -> DeviceFindings:
    return device_findings(**{"name": "sda", "sample": a_device(), "budget": BUDGET, **changes})


class Host:
    """One device and its scheduler, with capacity never measured."""

    def __init__(self, fio: FioSettings | None = None, *, known_before: bool = False) -> None:
        self.probing = HostProbing(probing_settings(fio or FioSettings()))
        self._known_before = known_before

    def tick(
        self,
        at: float,
        *databases: DatabaseSnapshot,
        device: DeviceFindings | None = None,
        **findings: Any,
    ) -> ProbingSnapshot:
        device = device or sda()
        self.probing.follow(databases, ["sda"], at)
        return self.probing.decide(
            device,
            findings_of(at, **findings),
            CapacityEstimate(86400.0),
            [database.name for database in databases],
            known_before=self._known_before,
        )


def test_a_run_is_due_once() -> None:
    """Asking for it counts as its start."""
    host = Host()
    assert host.tick(0.0, a_database()).reason == "first_measurement"
    due = host.probing.due()
    assert {name: run.mode for name, run in due.items()} == {"sda": FioMode.FAST}
    assert host.probing.due() == {}


def test_a_run_that_is_not_allowed_any_more_is_not_due() -> None:
    """The gate closed between the decision and the start."""
    host = Host()
    host.tick(0.0, a_database())
    host.tick(10.0, a_database(), pause=known(600.0))
    assert host.probing.due() == {}


def test_a_stall_in_force_closes_the_gate_until_a_minute_after_it() -> None:
    """By the conditions of the LOG."""
    stall = StallCondition("default", "stopped", "l0_files", 1.0, None)
    host = Host()
    stalled = host.tick(0.0, a_database(stalls=Known((stall,), "log", 0.0)))
    soon = host.tick(STALL_QUIET_SECONDS, a_database())
    later = host.tick(STALL_QUIET_SECONDS + 1.0, a_database())
    assert [one.reason for one in (stalled, soon, later)] == [
        "stalled_recently",
        "stalled_recently",
        "first_measurement",
    ]


def test_a_stall_between_two_ticks_closes_the_gate() -> None:
    """Nothing is in force, but the seconds have grown."""
    host = Host()
    host.tick(0.0, a_database())
    after = host.tick(10.0, a_database(stall_seconds=known({"stopped": 0.4})))
    assert after.closed == ("stalled_recently",)


def test_stall_seconds_of_before_the_start_close_nothing() -> None:
    """They are what the LOG tells of its whole life."""
    assert Host().tick(0.0, a_database(stall_seconds=known({"stopped": 99.0}))).closed == ()


def test_a_database_that_is_opened_anew_is_left_to_itself() -> None:
    """For a while; one that is only watched anew is not being opened."""
    host = Host()
    assert host.tick(0.0, a_database(incarnations=0)).closed == ()
    assert host.tick(1.0, a_database(incarnations=1)).closed == ()
    assert host.tick(50.0, a_database(incarnations=2)).closed == ("database_opening",)
    assert host.tick(50.0 + OPENING_SECONDS, a_database(incarnations=2)).closed == ()


def test_without_a_budget_the_reason_is_that_of_the_account() -> None:
    """Not that the budget is spent."""
    lost = Missing("state_in_use", "another smaxd keeps its budget there")
    said = Host().tick(0.0, a_database(), device=sda(budget=lost))
    assert (said.reason, said.detail) == ("state_in_use", "another smaxd keeps its budget there")


@pytest.mark.parametrize("outcome", ["aborted", "failed", "refused"])
def test_a_run_that_measured_nothing_is_counted_and_followed_by_a_rest(outcome: str) -> None:
    """Once, however long it stays the last one."""
    host = Host()
    host.tick(0.0, a_database())
    host.probing.due()
    ended = sda(fio_ended=FioEnded(5.0, outcome))
    host.tick(10.0, a_database(), device=ended)
    said = host.tick(20.0, a_database(), device=ended)
    assert (said.reason, said.runs) == ("backing_off", {outcome: 1})


def test_who_sets_the_size_of_a_run_gets_no_other() -> None:
    """Neither a longer nor a cheaper one."""
    settings = probing_settings(FioSettings(size_mib=64.0))
    assert list(settings.limits) == [FioMode.FAST]
    assert settings.limits[FioMode.FAST].size_bytes == 64 * 1048576
    assert dict(probing_settings(FioSettings()).limits) == dict(DEFAULT_LIMITS)
