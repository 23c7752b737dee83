"""Which device is probed, by what its databases do."""

import dataclasses
from typing import Any

import pytest

from agent.bandwidth import CapacityEstimate
from agent.config import FioSettings
from agent.findings import (
    DatabaseFindings,
    DeviceBudget,
    DeviceFindings,
    FioEnded,
    PathFindings,
)
from agent.probing.database_opening import LONGEST_RECOVERY_SECONDS
from agent.probing.host_probing import HANGS_AFTER_SECONDS, OPENING_SECONDS, HostProbing
from agent.probing.past_runs import PastRuns
from agent.probing.scheduler import STALL_QUIET_SECONDS
from agent.probing.settings import probing_settings
from agent.readings import Known, Missing
from agent.snapshot import DatabaseSnapshot, ProbingSnapshot
from probes.fio import DEFAULT_LIMITS, FioMode
from probes.rocksdb.samples import StallCondition
from probes.samples import BlockLayer
from tests.unit.agent_samples import (
    WALL,
    a_device,
    a_fingerprint,
    a_log,
    a_wal,
    database_findings,
    device_findings,
    findings_of,
    known,
    on_device,
    probe_state,
)
from tests.unit.snapshots import busy_database

BUDGET = known(DeviceBudget(4_000_000_000, 4_000_000_000))
CALM: dict[str, Any] = {"stalls": Known((), "log", 0.0), "stall_seconds": known({"stopped": 0.0})}


def a_database(**changes: Any) -> DatabaseSnapshot:
    return dataclasses.replace(busy_database(), **{"incarnations": 1, **CALM, **changes})


NOT_PAUSED = Missing("not_paused", "the operator has not paused the probes")


def sda(**changes: Any) -> DeviceFindings:
    return device_findings(**{"name": "sda", "sample": a_device(), "budget": BUDGET, **changes})


class Host:
    """Devices and their schedulers, with capacity never measured."""

    def __init__(self, fio: FioSettings | None = None) -> None:
        self.probing = HostProbing(probing_settings(fio or FioSettings()))
        for name in ("sda", "sdb"):
            self.probing.begin(name, PastRuns())

    def tick(
        self,
        at: float,
        *databases: DatabaseSnapshot,
        device: DeviceFindings | None = None,
        read: DatabaseFindings | None = None,
        **changes: Any,
    ) -> ProbingSnapshot:
        """``read`` is what was read of the databases; their LOGs tell of nothing by default."""
        device = device or sda()
        read = read or a_reading()
        findings = findings_of(
            at,
            databases=tuple(dataclasses.replace(read, name=one.name) for one in databases),
            **{"devices": (device,), "pause": NOT_PAUSED, **changes},
        )
        self.probing.follow(databases, [one.name for one in findings.devices], findings)
        return self.probing.decide(
            device,
            findings,
            CapacityEstimate(86400.0),
        )


def a_reading(**changes: Any) -> DatabaseFindings:
    """Of a database that was opened an hour ago, and created long before."""
    fingerprint = a_fingerprint(WALL - 86400.0)
    return database_findings(**{"log": known(a_log()), "fingerprint": fingerprint, **changes})


def owned(pid: int | None, manifest: str) -> Known[Any]:
    """The fingerprint of a database that ``pid`` has open."""
    fingerprint = a_fingerprint(WALL - 86400.0).value
    return known(dataclasses.replace(fingerprint, owner_pid=pid, manifest_name=manifest))


def test_a_run_is_due_once() -> None:
    """Asking for it counts as its start."""
    host = Host()
    assert host.tick(0.0, a_database()).reason == "first_measurement"
    due = host.probing.due(0.0)
    assert {name: run.mode for name, run in due.items()} == {"sda": FioMode.FAST}
    assert host.probing.due(0.0) == {}


def test_a_run_that_is_not_allowed_any_more_is_not_due() -> None:
    """The gate closed between the decision and the start."""
    host = Host()
    host.tick(0.0, a_database())
    host.tick(10.0, a_database(), pause=known(600.0))
    assert host.probing.due(0.0) == {}


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


def test_a_stall_on_another_device_closes_the_gate_where_both_share_a_disk() -> None:
    """An array's database waits for what fio writes to one of its disks; others do not."""
    stall = StallCondition("default", "stopped", "l0_files", 1.0, None)
    stalled = a_database(stalls=Known((stall,), "log", 0.0))
    array = BlockLayer("dm-0", "253:0", "dm")
    disks = (BlockLayer("sda", "8:0", "disk"), BlockLayer("sdb", "8:16", "disk"))
    striped = known(a_device(device=array, layers=(array, *disks)))
    on_array = a_reading(paths=(PathFindings("data", "/db", striped),))
    elsewhere = a_reading(paths=(on_device("data", "sdc", "8:32"),))
    assert Host().tick(0.0, stalled, read=on_array).closed == ("stalled_recently",)
    assert Host().tick(0.0, stalled, read=elsewhere).closed == ()


@pytest.mark.parametrize(
    ("why", "closed"),
    [
        ("timeout", ("stalls_unknown",)),
        ("path_unreadable", ("stalls_unknown",)),
        ("path_missing", ()),
    ],
)
def test_a_database_that_hangs_closes_the_gate_of_the_disk_where_it_was_seen(
    why: str, closed: tuple[str, ...]
) -> None:
    """Another one on that disk still answers; what is gone from there waits for it no more."""
    host = Host()
    host.tick(0.0, a_database())
    hangs = a_database(stalls=Missing("timeout", "log has hung for 6 s"))
    nowhere = PathFindings("data", "/data", Missing(why, "there is no answer"))
    assert host.tick(10.0, hangs, read=a_reading(paths=(nowhere,))).closed == closed


def test_a_stall_between_two_ticks_closes_the_gate() -> None:
    """Nothing is in force, but the seconds have grown."""
    host = Host()
    host.tick(0.0, a_database())
    after = host.tick(10.0, a_database(stall_seconds=known({"stopped": 0.4})))
    assert after.closed == ("stalled_recently",)


@pytest.mark.parametrize(("newest_ago", "closes"), [(5.0, True), (61.0, False)])
def test_a_stall_of_before_the_start_closes_the_gate_while_it_may_be_a_minute_ago(
    newest_ago: float, closes: bool
) -> None:
    """It ended no later than the newest line of the LOG, which does not tell when."""
    stalled = a_database(stall_seconds=known({"stopped": 99.0}))
    read = a_reading(log=known(a_log(last_wall_seconds=WALL - newest_ago)))
    host = Host()
    before = host.tick(-1.0, a_database(stall_seconds=Missing("timeout", "log has hung for 5 s")))
    first = host.tick(0.0, stalled, read=read)
    until = max(0.0, STALL_QUIET_SECONDS - newest_ago)
    last = host.tick(until, stalled, read=read)
    after = host.tick(until + 1.0, stalled, read=read)
    assert before.closed == after.closed == ()
    assert first.closed == last.closed == (("stalled_recently",) if closes else ())


def test_a_stall_that_ended_long_before_the_start_closes_no_gate() -> None:
    """However lively the LOG is: else a command, which looks but once, would refuse for ever."""
    stalled = a_database(stall_seconds=known({"stopped": 99.0}))
    log = a_log(last_wall_seconds=WALL, stalled_until_wall_seconds=WALL - 61.0)
    assert Host().tick(0.0, stalled, read=a_reading(log=known(log))).closed == ()
    recently = a_log(last_wall_seconds=WALL, stalled_until_wall_seconds=WALL - 30.0)
    closed = Host().tick(0.0, stalled, read=a_reading(log=known(recently)))
    assert (closed.detail, closed.closed) == (
        "writes were stopped or delayed 30 s ago",
        ("stalled_recently",),
    )


def test_warnings_of_a_log_that_hides_events_close_the_gate_until_a_minute_after_the_last() -> None:
    """They do not tell when a stall ends, but it goes on no longer than they come."""
    unknown = Missing("log_has_no_events", "its level hides them")
    quiet = a_database(stalls=unknown, stall_seconds=unknown)
    stall = StallCondition("default", "stopped", "l0_files", WALL - 9.0, None)
    warned = a_log(has_events=False, stalls=(stall,), last_wall_seconds=WALL - 5.0)
    host = Host()
    ticks = [0.0, STALL_QUIET_SECONDS - 5.0, STALL_QUIET_SECONDS - 4.0]
    closed = [host.tick(at, quiet, read=a_reading(log=known(warned))).closed for at in ticks]
    assert closed == [("stalled_recently",), ("stalled_recently",), ()]


def test_a_start_beside_a_log_without_stalls_waits_for_nothing() -> None:
    """The first measurement comes with the first tick."""
    assert Host().tick(0.0, a_database()).reason == "first_measurement"


@pytest.mark.parametrize(
    ("reason", "closed"),
    [
        ("log_not_permitted", ("stalls_unknown",)),
        ("log_unreadable", ("stalls_unknown",)),
        ("timeout", ("stalls_unknown",)),
        ("not_readable", ("stalls_unknown",)),
        ("no_log", ()),
        ("log_has_no_events", ()),
        ("not_open", ()),
        ("database_missing", ()),
    ],
)
def test_a_database_whose_stalls_cannot_be_told_is_taken_to_be_stalled(
    reason: str, closed: tuple[str, ...]
) -> None:
    """But not one that nobody has open, or whose LOG never tells of any."""
    unknown = Missing(reason, "/db/LOG may not be read; run as its owner or as root")
    said = Host().tick(0.0, a_database(stalls=unknown, stall_seconds=unknown))
    assert said.closed == closed
    if closed:
        assert said.reason == "stalls_unknown"
        assert "run as its owner or as root" in said.detail
        assert a_database().name in said.detail


def test_the_gate_opens_once_the_log_can_be_read() -> None:
    """Without a restart."""
    host = Host()
    unknown = Missing("log_not_permitted", "/db/LOG may not be read")
    assert host.tick(0.0, a_database(stalls=unknown, stall_seconds=unknown)).closed
    assert host.tick(1.0, a_database()).closed == ()


@pytest.mark.parametrize(
    ("pause", "closed", "advice"),
    [
        (NOT_PAUSED, (), ""),
        (known(600.0), ("paused",), "by the operator"),
        (
            Missing("pause_unusable", "/s/pause.json: damaged; remove it, or pause again"),
            ("pause_unknown",),
            "/s/pause.json: damaged; remove it",
        ),
        (
            Missing("timeout", "pause has hung for 6 s"),
            ("pause_unknown",),
            "check the state directory",
        ),
    ],
)
def test_a_pause_that_cannot_be_read_is_one(
    pause: Known[float] | Missing, closed: tuple[str, ...], advice: str
) -> None:
    """The operator who asked for it may not look again."""
    said = Host().tick(0.0, a_database(), pause=pause)
    assert said.closed == closed
    assert advice in said.detail


def test_a_database_that_is_opened_anew_is_left_to_itself() -> None:
    """For a while; one that is only watched anew is not being opened."""
    host = Host()
    assert host.tick(0.0, a_database(incarnations=0)).closed == ()
    assert host.tick(1.0, a_database(incarnations=1)).closed == ()
    assert host.tick(50.0, a_database(incarnations=2)).closed == ("database_opening",)
    assert host.tick(50.0 + OPENING_SECONDS, a_database(incarnations=2)).closed == ()


@pytest.mark.parametrize(
    ("created_ago", "opened_ago", "closes"),
    [(86400.0, 5.0, True), (86400.0, OPENING_SECONDS + 1.0, False), (5.0, 5.0, False)],
    ids=["reopened", "reopened long ago", "created"],
)
def test_a_database_reopened_just_before_the_start_is_left_to_itself(
    created_ago: float, opened_ago: float, closes: bool
) -> None:
    """As long as one that is seen to be reopened; a new one has nothing to recover."""
    read = a_reading(
        log=known(a_log(opened_wall_seconds=WALL - opened_ago)),
        fingerprint=a_fingerprint(WALL - created_ago),
    )
    host = Host()
    first = host.tick(0.0, a_database(), read=read)
    after = host.tick(OPENING_SECONDS - opened_ago, a_database(), read=read)
    assert first.closed == (("database_opening",) if closes else ())
    assert after.closed == ()


RECOVERED = {
    "another MANIFEST": ("MANIFEST-000012", 7),
    "another WAL": ("MANIFEST-000005", 11),
}


@pytest.mark.parametrize("sign", RECOVERED)
def test_a_recovery_keeps_the_gate_closed_however_long_it_takes(sign: str) -> None:
    """From a new owner until RocksDB begins new files, and a while more."""
    host = Host()

    def tick(at: float, incarnation: int, pid: int | None, files: tuple[str, int]) -> Any:
        manifest, wal_number = files
        read = a_reading(fingerprint=owned(pid, manifest), wal=a_wal(at, 1, wal_number=wal_number))
        return host.tick(at, a_database(incarnations=incarnation), read=read).closed

    before, after = ("MANIFEST-000005", 7), RECOVERED[sign]
    assert tick(0.0, 1, None, before) == ()
    for at in (10.0, 10.0 + OPENING_SECONDS, 600.0):
        assert tick(at, 2, 42, before) == ("database_opening",)
    assert tick(610.0, 2, 42, after) == ("database_opening",)
    assert tick(610.0 + OPENING_SECONDS, 2, 42, after) == ()


UNDER_WAY = {"last_sequence": 500, "wal_number": 7}


@pytest.mark.parametrize(
    ("wal", "levels", "closes"),
    [
        (UNDER_WAY, {}, True),
        (UNDER_WAY | {"last_sequence": 501}, {}, False),
        (UNDER_WAY, {"default": (1,)}, False),
        (None, {}, False),
    ],
    ids=["not a put", "it takes puts", "it has flushed", "its WAL is empty"],
)
def test_a_recovery_that_was_under_way_at_the_start_keeps_the_gate_closed(
    wal: dict[str, int] | None, levels: dict[str, tuple[int, ...]], closes: bool
) -> None:
    """However long ago it began, unless the database shows that it is over."""
    log = known(a_log(opened_wall_seconds=WALL - 300.0, level_files=levels))
    empty = Missing("wal_empty", "nothing was written yet")

    def tick(at: float, seen: dict[str, int] | None) -> tuple[str, ...]:
        reading = empty if seen is None else a_wal(at, **seen)
        return host.tick(at, a_database(), read=a_reading(log=log, wal=reading)).closed

    host = Host()
    tick(0.0, None if wal is None else UNDER_WAY)
    assert tick(1.0, wal) == (("database_opening",) if closes else ())
    if closes:
        assert tick(200.0, wal) == ("database_opening",)
        assert tick(210.0, UNDER_WAY | {"wal_number": 11}) == ("database_opening",)
        assert tick(210.0 + OPENING_SECONDS, UNDER_WAY | {"wal_number": 11}) == ()


def test_a_recovery_whose_end_is_not_seen_does_not_close_the_gate_for_ever() -> None:
    """Whatever a version of RocksDB does without new files."""
    host = Host()
    for at, pid in ((0.0, 41), (10.0, 42)):
        read = a_reading(fingerprint=owned(pid, "MANIFEST-000005"))
        host.tick(at, a_database(), read=read)
    ends = 10.0 + LONGEST_RECOVERY_SECONDS
    assert host.tick(ends - 1.0, a_database(), read=read).closed == ("database_opening",)
    assert host.tick(ends, a_database(), read=read).closed == ()


@pytest.mark.parametrize("owner", [None, 42], ids=["closed again", "not seen for a moment"])
def test_an_owner_that_vanishes_or_returns_recovers_nothing(owner: int | None) -> None:
    """A process that died in its recovery holds the gate no longer than an opening."""
    host = Host()
    pids = [41, 42, None, None] if owner is None else [42, None, 42, 42]
    for at, pid in zip((0.0, 1.0, 2.0, 3.0), pids, strict=True):
        read = a_reading(fingerprint=owned(pid, "MANIFEST-000005"))
        closed = host.tick(at, a_database(), read=read).closed
    assert closed == ()


def two_devices(host: Host, at: float, *, sda_active: bool = False) -> dict[str, str]:
    """Why fio is to run, or not, on each of two devices that were never measured."""
    devices = (sda(fio_active=sda_active), sda(name="sdb"))
    return {
        one.name: host.tick(at, a_database(), device=one, devices=devices).reason for one in devices
    }


def test_one_device_is_measured_after_the_other() -> None:
    """They may share a disk, and would measure each other."""
    host = Host()
    assert two_devices(host, 0.0) == {"sda": "first_measurement", "sdb": "another_probe"}
    assert list(host.probing.due(0.0)) == ["sda"]
    assert two_devices(host, 1.0, sda_active=True) == {"sda": "running", "sdb": "another_probe"}
    assert host.probing.due(0.0) == {}


def test_a_run_that_hangs_keeps_no_other_device_waiting() -> None:
    """On a disk that is gone it may hang for good."""
    host = Host()
    two_devices(host, 0.0, sda_active=True)
    late = two_devices(host, HANGS_AFTER_SECONDS, sda_active=True)
    assert late == {"sda": "running", "sdb": "first_measurement"}
    assert list(host.probing.due(0.0)) == ["sdb"]


def test_a_run_on_a_device_that_is_out_of_sight_keeps_the_others_waiting() -> None:
    """Its database is away, and fio still writes; until its end is seen, or it hangs."""
    host = Host()
    two_devices(host, 0.0)
    assert list(host.probing.due(0.0)) == ["sda"]
    other = sda(name="sdb")

    def of_the_other(at: float) -> str:
        return host.tick(at, a_database(), device=other, devices=(other,)).reason

    assert of_the_other(1.0) == "another_probe"
    assert two_devices(host, 2.0, sda_active=True)["sdb"] == "another_probe"
    assert of_the_other(HANGS_AFTER_SECONDS - 1.0) == "another_probe"
    assert of_the_other(HANGS_AFTER_SECONDS) == "first_measurement"


def test_a_run_that_ended_out_of_sight_is_over_once_its_device_is_back() -> None:
    """Nobody waits for it any longer."""
    host = Host()
    two_devices(host, 0.0)
    host.probing.due(0.0)
    host.probing.follow((), (), findings_of(1.0))
    back = (sda(fio_ended=FioEnded(2.0, "failed")), sda(name="sdb"))
    said = [host.tick(3.0, a_database(), device=one, devices=back).reason for one in back]
    assert said == ["backing_off", "first_measurement"]


def test_a_database_that_cannot_be_read_closes_the_gate_for_that_and_no_recovery() -> None:
    """It was being recovered when its disk began to fail: nobody can tell how that goes on."""
    host = Host()
    for at, pid in ((0.0, 41), (10.0, 42)):
        read = a_reading(fingerprint=owned(pid, "MANIFEST-000005"))
        host.tick(at, a_database(), read=read)
    why = Missing("database_read_error", "/db/CURRENT: Input/output error")
    failing = a_reading(fingerprint=why, wal=why, log=why)
    unknown = a_database(stalls=why, stall_seconds=why)
    soon = host.tick(20.0, unknown, read=failing)
    late = host.tick(10.0 + LONGEST_RECOVERY_SECONDS, unknown, read=failing)
    assert soon.closed == ("database_opening", "stalls_unknown")
    assert (late.reason, late.closed) == ("stalls_unknown", ("stalls_unknown",))
    assert "Input/output error" in late.detail


def test_what_is_kept_for_the_agents_own_files_is_not_spent() -> None:
    """However much of the day's budget is left."""
    mib = 1048576
    for kept, reason in ((72 * mib, "first_measurement"), (73 * mib, "budget_spent")):
        budget = known(DeviceBudget(256 * mib, 200 * mib, kept))
        assert Host().tick(0.0, a_database(), device=sda(budget=budget)).reason == reason


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
    host.probing.due(0.0)
    ended = sda(fio_ended=FioEnded(5.0, outcome))
    host.tick(10.0, a_database(), device=ended)
    said = host.tick(20.0, a_database(), device=ended)
    assert (said.reason, said.runs) == ("backing_off", {outcome: 1})


@pytest.mark.parametrize("mode", ["fast", "balanced"])
def test_a_reload_keeps_the_rest_after_a_run_that_failed(mode: Any) -> None:
    """Whether it changes anything about fio or not."""
    host = Host()
    host.tick(0.0, a_database())
    host.probing.due(0.0)
    host.tick(10.0, a_database(), device=sda(fio_ended=FioEnded(5.0, "failed")))
    host.probing.configure(probing_settings(FioSettings(mode=mode)))
    said = host.tick(20.0, a_database(), device=sda(fio_ended=FioEnded(5.0, "failed")))
    assert said.reason == "backing_off"


def test_a_reload_tries_again_what_was_refused() -> None:
    """The directory for its file may be another one now; nothing was written."""
    host = Host()
    host.tick(0.0, a_database())
    host.probing.due(0.0)
    refused = sda(fio_ended=FioEnded(5.0, "refused"))
    assert host.tick(10.0, a_database(), device=refused).reason == "backing_off"
    host.probing.configure(probing_settings(FioSettings()))
    assert host.tick(20.0, a_database(), device=refused).reason == "first_measurement"


def test_a_device_that_was_away_keeps_its_rest() -> None:
    """Its database was moved away and back."""
    host = Host()
    ended = sda(fio_ended=FioEnded(5.0, "failed"))
    host.tick(10.0, a_database(), device=ended)
    host.probing.follow((), (), findings_of(20.0))
    assert host.tick(30.0, a_database(), device=ended).reason == "backing_off"


def test_what_made_fio_fail_is_told() -> None:
    """By what its probe says."""
    host = Host()
    failing = probe_state("fio", "sda", success=False, detail="fio not found")
    said = host.tick(
        10.0, a_database(), device=sda(fio_ended=FioEnded(5.0, "failed")), probes=(failing,)
    )
    assert said.closed == ("backing_off",)
    assert said.detail.startswith("the last run failed (fio not found); the next one not for")


def test_who_sets_the_size_of_a_run_gets_no_other() -> None:
    """Neither a longer nor a cheaper one."""
    settings = probing_settings(FioSettings(size_mib=64.0))
    assert list(settings.limits) == [FioMode.FAST]
    assert settings.limits[FioMode.FAST].size_bytes == 64 * 1048576
    assert dict(probing_settings(FioSettings()).limits) == dict(DEFAULT_LIMITS)
