"""What was measured of a device, and how fio fared on it, outlives the daemon, and grows old."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from agent.findings import DeviceBudget, DeviceFindings, Findings, FioEnded
from agent.host_state import HostState
from agent.learning.learning import Learning
from agent.learning.memory import LearnedState, decode, encode
from agent.readings import Known, Missing
from agent.snapshot import DeviceSnapshot, ProbingSnapshot
from probes.fio import FioMode
from tests.unit.agent_samples import (
    DAY,
    MIB,
    WALL,
    a_device,
    a_fio,
    device_findings,
    findings_of,
    known,
)
from tests.unit.test_host_state import database_on, settings

MODEL = "a drive 0123456789"
BUDGET = known(DeviceBudget(10**12, 10**12))
NEVER = Missing("not_yet_measured", "fio has not answered yet")
HOUR = 3600.0


def sda(model: str | None = MODEL, **changes: Any) -> DeviceFindings:
    sample = a_device(model=model, size_bytes=changes.pop("size_bytes", 10**12))
    return device_findings(**{"sample": sample, "fio": NEVER, "budget": BUDGET, **changes})


def measured(at: float, rate_mib: float = 100.0) -> dict[str, Any]:
    return {
        "fio": known(a_fio(at, rate_mib * MIB), at=at),
        "fio_ended": FioEnded(at, "measured"),
    }


def said(device: DeviceSnapshot) -> ProbingSnapshot:
    """About the next run."""
    assert device.probing is not None
    return device.probing


class Agent:
    """A daemon's decisions, from its start to its end; what it learned goes through the file."""

    def __init__(self, raw: bytes | None = None) -> None:
        self.learning = Learning(LearnedState() if raw is None else decode(raw))
        self.state = HostState(version="0.1.0", settings=settings(), learning=self.learning)
        self.wall = WALL

    def tick(self, at: float, device: DeviceFindings, wall: float) -> DeviceSnapshot:
        """One tick, at whose end the runs that are due are started."""
        (snapshot,) = self.tick_with((device,), at, wall)
        return snapshot

    def tick_with(
        self, devices: tuple[DeviceFindings, ...], at: float, wall: float
    ) -> tuple[DeviceSnapshot, ...]:
        """The same with any number of devices."""
        self.wall = wall
        snapshot = self.state.advance(self.findings(at, devices, wall))
        self.due = dict(self.state.probes_due())
        return snapshot.devices

    @staticmethod
    def findings(at: float, devices: tuple[DeviceFindings, ...], wall: float) -> Findings:
        """A tick beside an idle database that is open since long."""
        name = devices[0].name if devices else "sda"
        database = database_on("one", name, "8:0")
        return findings_of(
            at,
            databases=(database,),
            devices=devices,
            wall_seconds=wall,
            pause=Missing("not_paused", "the operator has not paused the probes"),
        )

    def ended(self) -> bytes:
        """What it leaves."""
        return encode(self.learning.memory(self.wall))


def after_a_restart(
    device: DeviceFindings, *, away_seconds: float = HOUR, before: DeviceFindings | None = None
) -> tuple[Agent, DeviceSnapshot]:
    """A daemon that measured 100 MiB/s 500 s before its end, and the first tick of the next."""
    first = Agent()
    for at in (1000.0, 1500.0):
        first.tick(at, before or sda(**measured(1000.0)), WALL + at)
    second = Agent(first.ended())
    snapshot = second.tick(5.0, device, WALL + 1500.0 + away_seconds)
    return second, snapshot


def test_a_restart_keeps_the_capacity_with_its_true_age() -> None:
    """By a monotonic clock that began anew; of the runs only the longer one is left to do."""
    second, device = after_a_restart(sda())
    assert isinstance(device.capacity, Known)
    assert device.capacity.value.bytes_per_second == 100 * MIB
    assert device.capacity.value.spread_ratio == 0.05
    assert device.capacity.source == "fio"
    assert device.capacity.age_seconds(5.0) == pytest.approx(HOUR + 500.0)
    assert said(device).reason == "first_long_run"
    assert [run.mode for run in second.due.values()] == [FioMode.BALANCED]


def test_it_becomes_stale_by_the_same_rule_as_any_other() -> None:
    """The time that the daemon was away counts."""
    _, device = after_a_restart(sda(), away_seconds=DAY)
    assert device.capacity == Missing("stale", "the capacity was last measured 24 h ago")
    assert said(device).reason == "estimate_old"


def test_a_clock_that_was_set_back_makes_it_old_never_fresh() -> None:
    """Its age cannot be told any more; nor when the clock passes that moment again."""
    second, device = after_a_restart(sda(), away_seconds=-1.0)
    later = second.tick(HOUR, sda(), WALL + 2 * HOUR)
    for seen in (device, later):
        assert seen.capacity == Missing(
            "stale", "the clock was set back since the capacity was measured"
        )
    assert said(device).reason == "estimate_old"


def test_a_clock_that_was_slow_at_the_start_makes_it_older_once_it_is_right() -> None:
    """A machine without a clock of its own begins where it was switched off."""
    second, _ = after_a_restart(sda(), away_seconds=0.0)
    right = second.tick(65.0, sda(), WALL + 1000.0 + 11 * HOUR)
    back = second.tick(75.0, sda(), WALL + 1570.0)
    for seen, now in ((right, 65.0), (back, 75.0)):
        assert isinstance(seen.capacity, Known)
        assert seen.capacity.age_seconds(now) == pytest.approx(11 * HOUR, abs=10.1)


def test_a_new_measurement_takes_the_place_of_what_was_kept() -> None:
    """With its own age."""
    second, _ = after_a_restart(sda())
    device = second.tick(15.0, sda(**measured(15.0, 90.0)), WALL + 1510.0 + HOUR)
    assert isinstance(device.capacity, Known)
    assert (device.capacity.value.bytes_per_second, device.capacity.at) == (90 * MIB, 15.0)


@pytest.mark.parametrize(
    "other",
    [sda("another drive 42"), sda(size_bytes=2 * 10**12)],
    ids=["model", "size"],
)
def test_another_device_of_the_same_name_inherits_nothing(other: DeviceFindings) -> None:
    """It was never measured."""
    _, device = after_a_restart(other)
    assert isinstance(device.capacity, Missing)
    assert said(device).reason == "first_measurement"


def test_the_same_drive_is_found_under_another_name() -> None:
    """Kernels hand names out anew at every boot."""
    first = Agent()
    first.tick(0.0, sda(**measured(0.0)), WALL)
    moved = a_device("sdz", "65:144", model=MODEL)
    device = Agent(first.ended()).tick(0.0, sda(name="sdz", sample=moved), WALL + 60.0)
    assert isinstance(device.capacity, Known)


def test_without_a_model_the_name_alone_vouches_for_no_measurement() -> None:
    """Another device of this size may have it by now; the run made so far is no reason to hurry."""
    _, device = after_a_restart(sda(None), before=sda(None, **measured(1000.0)))
    assert isinstance(device.capacity, Missing)
    assert said(device).reason == "first_measurement"  # the last run was more than 5 min ago
    first = Agent()
    first.tick(0.0, sda(None, **measured(0.0)), WALL)
    device = Agent(first.ended()).tick(0.0, sda(None), WALL + 60.0)
    assert said(device).detail == (
        "what the last run measured was not kept over the restart; the next one not for 240 s"
    )


BOOT = "5d1b0f0c-7c2b-4f6e-9a55-2f0d5c0d9c11"


def vda(instance: str | None, **changes: Any) -> DeviceFindings:
    """A virtual disk that says nothing about itself."""
    sample = a_device("vda", "254:0", size_bytes=10**12, instance=instance)
    given = {"name": "vda", "sample": sample, "fio": NEVER, "budget": BUDGET, **changes}
    return device_findings(**given)


def test_without_a_model_the_capacity_is_kept_while_it_is_certainly_the_same_disk() -> None:
    """A restart of the agent neither hides S_max nor costs another run of fio."""
    before = vda(f"{BOOT} 9", **measured(1000.0))
    second, device = after_a_restart(vda(f"{BOOT} 9"), before=before)
    assert isinstance(device.capacity, Known)
    assert device.capacity.age_seconds(5.0) == pytest.approx(HOUR + 500.0)
    assert said(device).reason == "first_long_run"
    third = Agent(second.ended())
    assert isinstance(third.tick(5.0, vda(f"{BOOT} 9"), second.wall + 60.0).capacity, Known)


@pytest.mark.parametrize("instance", [f"{BOOT} 12", f"{BOOT[::-1]} 9", None])
def test_without_a_model_another_disk_or_another_boot_begins_anew(instance: str | None) -> None:
    """It may be another disk of this size under this name."""
    _, device = after_a_restart(vda(instance), before=vda(f"{BOOT} 9", **measured(1000.0)))
    assert isinstance(device.capacity, Missing)
    assert said(device).reason == "first_measurement"


def test_a_disk_without_a_model_that_is_exchanged_under_the_daemon_starts_anew() -> None:
    """Only its sequence number tells."""
    agent = Agent()
    agent.tick(0.0, vda(f"{BOOT} 9", **measured(0.0)), WALL)
    device = agent.tick(10.0, vda(f"{BOOT} 12", **measured(0.0)), WALL + 10.0)
    assert isinstance(device.capacity, Missing)
    back = agent.tick(20.0, vda(f"{BOOT} 12", **measured(0.0)), WALL + 20.0)
    assert isinstance(back.capacity, Missing)


@pytest.mark.parametrize(
    ("before", "unread", "after"),
    [
        (vda(f"{BOOT} 9"), vda(None), vda(f"{BOOT} 12")),
        (sda("a drive"), sda(None), sda("another drive")),
    ],
    ids=["its sequence number", "its model"],
)
def test_a_disk_is_exchanged_also_where_it_could_not_be_read_in_between(
    before: DeviceFindings, unread: DeviceFindings, after: DeviceFindings
) -> None:
    """No descriptor was left, or it was about to go."""
    agent, told = Agent(), measured(0.0)
    for at, device in ((0.0, before), (5.0, unread)):
        kept = agent.tick(at, replace(device, **told), WALL + at)
        assert isinstance(kept.capacity, Known)
    exchanged = agent.tick(10.0, replace(after, **told), WALL + 10.0)
    assert isinstance(exchanged.capacity, Missing)


@pytest.mark.parametrize(
    ("device", "unread"),
    [(vda(f"{BOOT} 9"), vda(None)), (sda(), sda(None))],
    ids=["its sequence number", "its model"],
)
def test_what_could_not_be_read_of_a_disk_in_the_last_tick_costs_it_nothing(
    device: DeviceFindings, unread: DeviceFindings
) -> None:
    """A kill may come then."""
    first = Agent()
    for at, seen in ((1000.0, device), (1500.0, unread)):
        first.tick(at, replace(seen, **measured(1000.0)), WALL + at)
    again = Agent(first.ended()).tick(5.0, device, WALL + HOUR)
    assert isinstance(again.capacity, Known)


def test_a_disk_in_the_place_of_one_that_told_no_model_is_another_one() -> None:
    """Its sequence number says so."""
    agent = Agent()
    agent.tick(0.0, vda(f"{BOOT} 9", **measured(0.0)), WALL)
    told = a_device("vda", "254:0", size_bytes=10**12, instance=f"{BOOT} 12", model=MODEL)
    device = agent.tick(10.0, vda(None, sample=told, **measured(0.0)), WALL + 10.0)
    assert isinstance(device.capacity, Missing)


def test_disks_that_cannot_be_told_apart_inherit_nothing_from_each_other() -> None:
    """Two of one model and size that tell no serial number."""
    agent = Agent()
    sdb = a_device("sdb", "8:16", model=MODEL, size_bytes=10**12)
    other = device_findings(name="sdb", sample=sdb, budget=BUDGET, **measured(0.0, 500.0))
    agent.tick_with((sda(**measured(0.0)), other), 0.0, WALL)
    device = Agent(agent.ended()).tick(0.0, sda(), WALL + HOUR)
    assert isinstance(device.capacity, Missing)


def its_twin(**changes: Any) -> DeviceFindings:
    sample = a_device("sdb", "8:16", model=MODEL, size_bytes=10**12)
    given = {"name": "sdb", "sample": sample, "fio": NEVER, "budget": BUDGET, **changes}
    return device_findings(**given)


def test_disks_that_cannot_be_told_apart_are_no_news_with_every_tick() -> None:
    """Their runs ended at different times; each save waits for an fsync."""
    agent = Agent()
    agent.tick_with((sda(**measured(0.0)), its_twin()), 0.0, WALL)
    revisions = []
    for at in range(200, 500, 10):
        both = (sda(**measured(0.0)), its_twin(**measured(200.0)))
        agent.tick_with(both, float(at), WALL + at)
        revisions.append(agent.learning.revision)
    assert revisions[-1] == revisions[1]


def test_a_disk_that_comes_beside_one_like_it_does_not_take_over_its_capacity() -> None:
    """The other was alone when it was measured; nor is it held against the other's best."""
    agent = Agent()
    agent.tick(0.0, sda(**measured(0.0, 500.0)), WALL)
    new = agent.tick_with((sda(**measured(0.0, 500.0)), its_twin()), 10.0, WALL + 10.0)[1]
    assert isinstance(new.capacity, Missing)
    slower = its_twin(**measured(400.0, 100.0))
    new = agent.tick_with((sda(**measured(0.0, 500.0)), slower), 410.0, WALL + 410.0)[1]
    assert isinstance(new.capacity_ratio, Known)
    assert new.capacity_ratio.value == 1.0


def test_another_device_that_takes_a_name_over_starts_anew() -> None:
    """While the daemon runs; what fio says is still about the former one."""
    agent = Agent()
    agent.tick(0.0, sda(**measured(0.0)), WALL)
    agent.tick_with((), 10.0, WALL + 10.0)
    old_answer: dict[str, Any] = {
        "fio": known(a_fio(0.0, 100 * MIB), at=0.0),
        "fio_ended": FioEnded(15.0, "failed"),
    }
    for at in (20.0, 30.0):
        device = agent.tick(at, sda("another drive 42", **old_answer), WALL + at)
        assert isinstance(device.capacity, Missing)
        assert isinstance(device.fio, Missing)
    assert said(device).reason == "first_measurement"


def test_a_device_that_was_away_returns_with_its_capacity() -> None:
    """Though its probe has forgotten what it answered."""
    agent = Agent()
    agent.tick(0.0, sda(**measured(0.0)), WALL)
    agent.tick_with((), 10.0, WALL + 10.0)
    device = agent.tick(20.0, sda(), WALL + 20.0)
    assert isinstance(device.capacity, Known)
    assert device.capacity.at == 0.0


def test_a_device_that_was_away_returns_with_what_was_measured_last() -> None:
    """Its probe still answers with the run of fio before that."""
    first = Agent()
    first.tick(0.0, sda(**measured(0.0, 100.0)), WALL)
    first.tick(500.0, sda(**measured(500.0, 80.0)), WALL + 500.0)
    first.tick_with((), 510.0, WALL + 510.0)
    device = first.tick(520.0, sda(**measured(0.0, 100.0)), WALL + 520.0)
    assert isinstance(device.capacity, Known)
    assert (device.capacity.value.bytes_per_second, device.capacity.at) == (80 * MIB, 500.0)


def test_a_daemon_killed_while_fio_runs_waits_after_its_start() -> None:
    """The start of the run is worth saving in the same tick."""
    agent = Agent()
    before = agent.learning.urgent_revision
    agent.tick(0.0, sda(), WALL)
    assert list(agent.due) == ["sda"]
    assert agent.learning.urgent_revision > before
    device = Agent(agent.ended()).tick(0.0, sda(), WALL + 30.0)
    assert (said(device).reason, said(device).detail) == (
        "backing_off",
        "the last run was interrupted; the next one not for 270 s",
    )


def test_a_file_of_before_this_was_kept_is_read_and_counts_as_measured_once() -> None:
    """Its device had its longer run."""
    first = Agent()
    first.tick(0.0, sda(**measured(0.0)), WALL)
    state = msgspec.structs.replace(decode(first.ended()), probing=())
    old = encode(state).replace(b',"probing":[]', b"")
    second = Agent(old)
    second.tick(0.0, sda(), WALL + 60.0)
    assert [run.mode for run in second.due.values()] == [FioMode.FAST]
    measured_again = sda(**measured(10.0))
    device = second.tick(HOUR, measured_again, WALL + HOUR)
    assert said(device).reason == "measured_recently"


def test_a_measurement_that_goes_on_is_not_saved_again_and_again() -> None:
    """Each save waits for an fsync; the hour that it may lag behind is in the age that is shown."""
    agent = Agent()
    revisions = []
    for minute in range(180):
        at = 60.0 * minute
        rate = 100.0 + minute % 3  # natural traffic measures a little differently each time
        agent.tick(at, sda(fio=known(a_fio(at, rate * MIB), at=at)), WALL + at)
        revisions.append(agent.learning.revision)
    assert revisions[-1] - revisions[1] <= 6
