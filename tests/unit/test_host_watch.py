"""What is watched on a host: databases that come and go, and the devices under them."""

import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from agent.config import (
    Config,
    DatabaseSettings,
    DiscoverySettings,
    FioSettings,
    SecondarySettings,
)
from agent.findings import Findings
from agent.host_watch import HostWatch
from agent.probing.scheduler import ProbeRun
from agent.readings import Known, Missing
from agent.state_directory import StateDirectory
from agent.watch_tools import WatchTools
from agent.wear.ledger import WearLedger
from probes.blockdev import BlockDeviceProbe
from probes.clock import SystemClock
from probes.command import CompletedCommand, Guard
from probes.errors import ProbeError
from probes.fio import DEFAULT_LIMITS, FioMode, run_cost_bytes
from probes.rocksdb.discover import DatabaseSearch, DiscoveryResult
from probes.rocksdb.samples import DiscoveredDatabase
from probes.samples import BlockLayer
from probes.scratch import choose_scratch_directory, create_scratch_file
from tests.unit.agent_samples import a_device
from tests.unit.dead_disk import hanging
from tests.unit.snapshots import FixedClock

DATA = Path(__file__).parents[1] / "data"
_LIMITS = DEFAULT_LIMITS[FioMode.FAST]
A_RUN = ProbeRun(FioMode.FAST, _LIMITS, run_cost_bytes(_LIMITS))

A_WHILE_SECONDS = 61.0
"""The device behind a database is looked at once a minute."""


class RecordedFio:
    """A runner that answers each fio run with a captured one."""

    def __init__(self) -> None:
        self.runs: list[Sequence[str]] = []

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_seconds: float,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        guard: Guard | None = None,
    ) -> CompletedCommand:
        del timeout_seconds, cwd, env, guard
        self.runs.append(argv)
        return CompletedCommand(0, (DATA / "fio" / "fast.stdout").read_bytes(), b"")


@dataclasses.dataclass
class Host:
    """A watched host whose clock is moved by hand."""

    watch: HostWatch
    fio: RecordedFio
    clock: FixedClock
    database: Path

    def tick(self, after_seconds: float = 10.0, probe: Sequence[str] = ()) -> Findings:
        """One tick, with everything in the background at its end; fio runs on ``probe``."""
        self.clock.now += after_seconds
        self.watch.collect()
        self.watch.start_probes(dict.fromkeys(probe, A_RUN))
        self.watch.close(10.0)
        self.clock.now += 0.01
        return self.watch.collect()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    try:
        BlockDeviceProbe(str(tmp_path), SystemClock()).read()
    except ProbeError as error:
        pytest.skip(f"the temporary directory lies on no block device here: {error.detail}")
    # This clock stands still: a guard that learns for a second would learn for ever.
    monkeypatch.setattr("probes.fio_guard.SETTLE_SECONDS", 0.0)
    database = tmp_path / "db"
    shutil.copytree(DATA / "rocksdb" / "v9.8.4", database)
    (tmp_path / "state" / "smaxd").mkdir(parents=True)
    config = Config(
        databases=(DatabaseSettings(path=str(database)),),
        secondary=SecondarySettings(enabled=False),
    )
    clock, fio = FixedClock(), RecordedFio()
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    ledger = WearLedger(StateDirectory(str(tmp_path / "state")), structlog.get_logger())
    ledger.load()
    tools = WatchTools(config, clock, fio, str(tmp_path), environ, ledger=ledger)
    return Host(HostWatch(tools), fio, clock, database)


def test_fio_runs_when_it_is_told_to_and_its_bytes_are_counted(host: Host) -> None:
    """And never by itself, however often ticks come."""
    quiet = host.tick()
    name = quiet.devices[0].name
    assert not host.fio.runs
    findings = host.tick(probe=[name])
    again = host.tick()

    assert len(host.fio.runs) == 1
    assert isinstance(again.devices[0].fio, Known)
    assert again.devices[0].fio_ended == findings.devices[0].fio_ended
    assert again.devices[0].fio_ended is not None
    assert again.devices[0].fio_ended.outcome == "measured"
    assert again.written_bytes == findings.written_bytes
    assert again.written_bytes[name, "fio"] > 0


def test_what_fio_writes_is_taken_off_the_budget(host: Host) -> None:
    """By what it wrote, not by what it might have written."""
    before = host.tick().devices[0]
    findings = host.tick(probe=[before.name])
    after = findings.devices[0]

    assert isinstance(before.budget, Known)
    assert isinstance(after.budget, Known)
    written = findings.written_bytes[after.name, "fio"]
    assert before.budget.value.remaining_bytes - after.budget.value.remaining_bytes == written
    assert 0 < written <= A_RUN.cost_bytes


def test_a_run_beyond_the_budget_does_not_start(host: Host) -> None:
    """It is refused before the first byte, with the account's reason."""
    device = host.tick().devices[0]
    assert isinstance(device.budget, Known)
    costly = dataclasses.replace(A_RUN, cost_bytes=device.budget.value.remaining_bytes + 1)
    host.watch.start_probes({device.name: costly})
    after = host.tick().devices[0]

    assert not host.fio.runs
    assert isinstance(after.fio, Missing)
    assert after.fio.reason in {"wear_budget_used", "over_daily_limit"}
    assert after.fio_ended is not None
    assert after.fio_ended.outcome == "refused"


@contextmanager
def without_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A limit on processes or memory is reached."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refuse)
        yield


def test_a_run_for_which_there_is_no_thread_is_refused(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would count as under way for ever: nothing else tells of its end."""
    name = host.tick().devices[0].name
    with without_threads(monkeypatch):
        host.watch.start_probes({name: A_RUN})
    findings = host.tick()
    (device,) = findings.devices
    (fio,) = (probe for probe in findings.probes if probe.probe == "fio")

    assert device.fio_ended is not None
    assert device.fio_ended.outcome == "refused"
    assert fio.reason == "no_thread"
    assert not host.fio.runs
    again = host.tick(probe=[name]).devices[0].fio_ended
    assert again is not None
    assert again.outcome == "measured"


def test_a_run_that_ends_while_it_is_looked_at_is_over_once_its_answer_is_there(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over and not measured, another one would be wanted at once."""
    name = host.tick().devices[0].name
    device = host.watch._devices[name]
    slot = device.fio
    assert slot is not None
    running = threading.Event()
    answer, run = slot.answer, slot._read

    def held_up() -> Any:
        assert running.wait(20.0)
        return run()

    def ending(now: float) -> Any:
        before = answer(now)
        running.set()
        assert slot.wait(20.0)
        return before

    monkeypatch.setattr(slot, "_read", held_up)
    device.start_fio(A_RUN, host.clock.now)
    with monkeypatch.context() as looking:
        looking.setattr(slot, "answer", ending)
        during = device.findings(host.clock.now, None)
    after = device.findings(host.clock.now, None)

    assert (during.fio_active, during.fio_ended) == (True, None)
    assert not after.fio_active
    assert after.fio_ended is not None
    assert isinstance(after.fio, Known)


@pytest.mark.parametrize("name", ["elsewhere", "link"])
@pytest.mark.parametrize("option", ["db_paths", "wal_dir", "db_log_dir"])
def test_fio_never_runs_among_the_files_that_a_database_keeps_elsewhere(
    host: Host, monkeypatch: pytest.MonkeyPatch, option: str, name: str
) -> None:
    """Even where nothing in that directory shows whose it is, no other is on its device, and the
    database knows it by another name."""
    directory = host.database.parent / "elsewhere"
    directory.mkdir()
    (host.database.parent / "link").symlink_to(directory)
    known_as = host.database.parent / name
    if option == "db_paths":
        settings = DatabaseSettings(path=str(host.database), db_paths=(str(known_as),))
        reconfigured(host, settings)
    else:
        (options,) = host.database.glob("OPTIONS-*")
        named = f"[DBOptions]\n  {option}={known_as}\n"
        options.write_text(options.read_text().replace("[DBOptions]\n", named))
    monkeypatch.setattr("agent.device_watch.default_candidates", lambda *_: (str(directory),))
    disk = host.tick().devices[0].name
    device = host.tick(probe=[disk]).devices[0]

    assert not host.fio.runs
    assert isinstance(device.fio, Missing)
    assert device.fio.reason == "no_scratch_directory"
    assert list(directory.iterdir()) == []


def test_a_relative_directory_in_the_options_forbids_nothing_of_ours(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is relative to the database's working directory, whatever ours is."""
    monkeypatch.chdir("/")
    (options,) = host.database.glob("OPTIONS-*")
    named = "[DBOptions]\n  db_log_dir=.\n  wal_dir=.\n"
    options.write_text(options.read_text().replace("[DBOptions]\n", named))
    name = host.tick().devices[0].name
    host.tick(probe=[name])

    assert len(host.fio.runs) == 1


def test_the_guard_watches_every_database_that_shares_a_disk(host: Host) -> None:
    """One on an array over the device, or on a loop device, is not accounted under its name."""
    host.tick()
    sample = host.tick().devices[0].sample  # now all that its LOG names was looked for, too
    array = BlockLayer("md0", "9:0", "md")
    over_it = dataclasses.replace(sample, device=array, layers=(array, *sample.layers))

    assert len(host.watch._guarded(over_it)) == 1
    assert host.watch._guarded(a_device("none", "259:999")) == []


def test_a_database_whose_disk_is_unknown_is_guarded(host: Host) -> None:
    """In doubt its device is the one that fio is to load."""
    missing = str(host.database.parent / "missing")
    reconfigured(host, DatabaseSettings(path="/sys/kernel"), DatabaseSettings(path=missing))

    (guarded,) = host.watch._guarded(a_device("none", "259:999"))
    assert guarded.wal_directory == "/sys/kernel"


def test_a_database_that_hangs_is_guarded_on_the_disk_where_it_was_seen(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on others: the guard's looks at it would end every run there."""
    host.tick()
    sample = host.tick().devices[0].sample
    impatient = Config(databases=host.watch._tools.config.databases, probe_timeout_seconds=0.1)
    host.watch.configure(impatient)
    with hanging(host.database, monkeypatch):
        host.clock.now += A_WHILE_SECONDS
        host.watch.collect()
        host.clock.now += A_WHILE_SECONDS
        on_its_disk = host.watch._guarded(sample)
        on_another = host.watch._guarded(a_device("none", "259:999"))

    assert len(on_its_disk) == 1
    assert on_another == []


def test_a_database_that_never_answered_is_guarded_nowhere(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk is dead: it is none that fio runs on."""
    dead = host.database.parent / "dead"
    with hanging(dead, monkeypatch):
        settings = DatabaseSettings(path=str(dead))
        host.watch.configure(Config(databases=(settings,), probe_timeout_seconds=0.1))
        host.watch.collect()
        host.clock.now += A_WHILE_SECONDS

        assert host.watch._guarded(a_device("none", "259:999")) == []


def test_a_scratch_directory_that_hangs_delays_no_end(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays behind."""
    name = host.tick().devices[0].name
    host.watch.start_probes({name: A_RUN})
    host.watch.close(30.0)
    host.tick()
    disk_answers = threading.Event()
    left: list[str] = []

    def remove(directory: str) -> None:
        left.append(directory)
        disk_answers.wait()

    monkeypatch.setattr("agent.device_watch.remove_scratch_directory", remove)
    host.watch.close(0.0)
    disk_answers.set()

    assert len(left) == 1


def test_a_defect_before_fio_starts_gives_the_reserved_bytes_back(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was written, so the budget is what it was."""

    def defect(*_: object) -> None:
        raise RuntimeError("a defect")

    before = host.tick().devices[0]
    monkeypatch.setattr("agent.device_watch.FioGuard", defect)
    after = host.tick(probe=[before.name]).devices[0]

    assert isinstance(after.fio, Missing)
    assert after.fio.reason == "defect"
    assert isinstance(before.budget, Known)
    assert isinstance(after.budget, Known)
    assert after.budget.value.remaining_bytes == before.budget.value.remaining_bytes


def open_files() -> list[str]:
    return [os.path.realpath(entry) for entry in os.scandir("/proc/self/fd")]


@pytest.mark.parametrize(
    ("step", "waits"),
    [
        ("agent.device_watch.choose_scratch_directory", choose_scratch_directory),
        ("probes.fio.create_scratch_file", create_scratch_file),
    ],
    ids=["a dead disk", "a file system frozen for a snapshot"],
)
@pytest.mark.parametrize(("held_up_seconds", "runs"), [(15.0, 1), (16.0, 0)])
def test_a_run_that_a_disk_has_held_up_does_not_start_late(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    waits: Callable[..., str],
    held_up_seconds: float,
    runs: int,
) -> None:
    """What the gates said when it was decided says nothing of now."""

    def slow(*looked_for: Any) -> str:
        host.clock.now += held_up_seconds
        return waits(*looked_for)

    monkeypatch.setattr(step, slow)
    before = host.tick().devices[0]
    after = host.tick(probe=[before.name]).devices[0]

    assert len(host.fio.runs) == runs
    assert str(host.database / "LOG") not in open_files()
    assert after.scratch_directory is not None
    assert not os.path.exists(after.scratch_directory)  # nothing was left in it
    assert after.fio_ended is not None
    assert after.fio_ended.outcome == ("measured" if runs else "refused")
    if not runs:
        assert isinstance(after.fio, Missing)
        assert after.fio.reason == "timeout"
        assert isinstance(after.budget, Known)
        assert isinstance(before.budget, Known)
        assert after.budget.value.remaining_bytes == before.budget.value.remaining_bytes


def eventually(condition: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + 30.0
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.01)
    return True


def test_what_a_killed_run_left_at_the_mount_goes_once_its_device_is_followed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knew of the mount when the agent started: its database was found later."""
    monkeypatch.setattr("agent.device_watch.mount_point", lambda _: str(host.database.parent))
    left = host.database.parent / f".smaxd-scratch-{os.geteuid()}"
    left.mkdir(mode=0o700)
    (left / "smaxd-scratch-1-0-0badcafe").touch()
    host.tick()

    assert eventually(lambda: not left.exists())


def test_what_a_killed_run_left_goes_once_there_is_a_thread_to_remove_it(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not taken to be gone because nobody could look."""
    name = host.tick().devices[0].name
    device = host.watch._devices[name]
    cleared: list[str] = []
    monkeypatch.setattr("agent.device_watch.mount_point", lambda path: path)
    monkeypatch.setattr("agent.device_watch.remove_scratch_leftovers", cleared.extend)
    newly_mounted = dataclasses.replace(device.sample, path="/new/db", mount_point="/new")
    with without_threads(monkeypatch):
        device.clear_up([newly_mounted], host.clock.now)
    assert not cleared
    device.clear_up([newly_mounted], host.clock.now)

    assert eventually(lambda: cleared == ["/new/db"])


def test_fio_waits_until_what_earlier_runs_left_is_removed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its directory could be taken for one that nobody uses."""
    answers = threading.Event()
    cleared: list[str] = []

    def slowly(parents: Sequence[str]) -> int:
        answers.wait(30.0)
        cleared.extend(parents)
        return 0

    monkeypatch.setattr("agent.device_watch.remove_scratch_leftovers", slowly)
    name = host.tick().devices[0].name
    host.watch.start_probes({name: A_RUN})
    host.watch.close(0.5)  # a run that did not wait would end meanwhile
    before = (len(cleared), len(host.fio.runs))
    answers.set()
    host.watch.close(30.0)
    host.tick()

    assert before == (0, 0)
    assert len(host.fio.runs) == 1
    assert len(cleared) == 1  # and not again with each tick


def test_a_database_that_is_away_for_a_while_costs_no_second_measurement(host: Host) -> None:
    """Its device is not reported meanwhile, what was written stays counted, and fio rests."""
    name = host.tick().devices[0].name
    present = host.tick(probe=[name])
    host.database.rename(host.database.with_name("away"))
    away = host.tick(A_WHILE_SECONDS)
    host.database.with_name("away").rename(host.database)
    back = host.tick(A_WHILE_SECONDS)

    assert away.devices == ()
    assert away.written_bytes == back.written_bytes == present.written_bytes
    assert [device.name for device in back.devices] == [d.name for d in present.devices]
    assert len(host.fio.runs) == 1


def test_another_drive_of_the_same_name_is_asked_for_its_wear_anew(host: Host) -> None:
    """Nothing is told of the former one; another partition of the same drive changes nothing."""
    host.tick()
    (device,) = host.watch._devices.values()
    drive = device.sample
    asked = device.smart
    device.follow(dataclasses.replace(drive, filesystem_devnum="259:998"), ())
    assert device.smart is asked
    device.follow(dataclasses.replace(drive, model="another drive 42"), ())
    answer = device.smart.answer(host.clock.now)
    assert isinstance(answer, Missing)
    assert answer.reason == "not_yet_measured"


def test_a_device_that_was_missing_is_looked_for_on_each_tick(host: Host) -> None:
    """Not only once a minute."""
    host.database.rename(host.database.with_name("away"))
    host.tick()
    host.database.with_name("away").rename(host.database)
    host.tick()

    places = {place.role: place.device for place in host.tick().databases[0].paths}

    assert isinstance(places["data"], Known)


def test_a_database_that_returns_is_the_same_incarnation(host: Host) -> None:
    """And one that was replaced is another."""
    host.tick()
    host.database.rename(host.database.with_name("away"))
    missing = host.tick().databases[0]
    host.database.with_name("away").rename(host.database)
    same = host.tick().databases[0]
    (host.database / "CURRENT").write_bytes(b"MANIFEST-000099\n")
    other = host.tick().databases[0]

    assert not isinstance(missing.fingerprint, Known)
    assert not isinstance(missing.wal, Known)
    assert (missing.incarnation, same.incarnation, other.incarnation) == (1, 1, 2)
    assert isinstance(same.wal, Known)


def test_options_that_cannot_be_read_for_a_moment_change_nothing(host: Host) -> None:
    """The directories it named last stay in force: no baseline is lost."""
    (options,) = host.database.glob("OPTIONS-*")
    text = options.read_text()
    named = f"[DBOptions]\n  wal_dir={host.database.parent}/wal\n"
    options.write_text(text.replace("[DBOptions]\n", named))
    host.tick()
    before = host.tick().databases[0]
    options.rename(host.database / "hidden")
    without = host.tick().databases[0]

    assert [place.path for place in before.paths if place.role == "wal"] == [
        f"{host.database.parent}/wal"
    ]
    assert isinstance(without.options, Missing)
    assert without.incarnation == before.incarnation


def reconfigured(host: Host, *databases: DatabaseSettings, **changes: Any) -> Findings:
    """The second tick after a reload: every probe has answered."""
    host.watch.configure(
        Config(databases=databases, secondary=SecondarySettings(enabled=False), **changes)
    )
    return host.tick()


def test_a_reload_keeps_what_stays_and_adds_what_is_new(host: Host) -> None:
    """The one that stays is the same incarnation; all keep the new time."""
    before = host.tick()
    settings = DatabaseSettings(path=str(host.database), record_size_bytes=512.0)
    other = shutil.copytree(host.database, host.database.with_name("other"))
    cadence_before = {slot.cadence_seconds for slot in host.watch._slots() if slot.each_tick}
    after = reconfigured(host, settings, DatabaseSettings(path=str(other)), tick_seconds=2.0)

    assert [database.path for database in after.databases] == [str(host.database), str(other)]
    assert after.databases[0].incarnation == before.databases[0].incarnation == 1
    assert after.databases[0].pinned_record_size_bytes == 512.0
    assert cadence_before == {10.0}
    assert {slot.cadence_seconds for slot in host.watch._slots() if slot.each_tick} == {2.0}


def test_the_probes_of_a_database_that_stays_are_the_same_ones(host: Host) -> None:
    """A new one would have no baseline: its first rate would be missing."""
    host.tick()
    before = [slot for slot in host.watch._slots() if slot.target != "host"]
    reconfigured(host, DatabaseSettings(path=str(host.database)), probe_timeout_seconds=3.0)

    assert [slot for slot in host.watch._slots() if slot.target != "host"] == before


def test_a_database_under_another_name_is_watched_anew(host: Host) -> None:
    """Its probes bear its name."""
    host.tick()
    after = reconfigured(host, DatabaseSettings(path=str(host.database), name="orders"))

    assert [database.name for database in after.databases] == ["orders"]
    assert "orders" in {probe.target for probe in after.probes}
    assert str(host.database) not in {probe.target for probe in after.probes}


def test_a_reload_takes_away_what_is_named_no_more(host: Host) -> None:
    """With its device; what was written there stays counted."""
    before = host.tick()
    other = shutil.copytree(host.database, host.database.with_name("other"))
    (other / "CURRENT").unlink()
    after = reconfigured(host, DatabaseSettings(path="/nowhere/at/all"))

    assert [database.path for database in after.databases] == ["/nowhere/at/all"]
    assert after.devices == ()
    assert after.written_bytes == before.written_bytes


def test_a_directory_of_tables_comes_and_goes_with_a_reload(host: Host) -> None:
    """Without a new incarnation."""
    host.tick()
    path, tables = str(host.database), str(host.database.parent)
    with_tables = reconfigured(host, DatabaseSettings(path=path, db_paths=(tables,)))
    without = reconfigured(host, DatabaseSettings(path=path))

    assert tables in {place.path for place in with_tables.databases[0].paths}
    assert tables not in {place.path for place in without.databases[0].paths}
    assert without.databases[0].incarnation == 1


def test_fio_can_be_switched_off_and_on(host: Host) -> None:
    """Off, there is no measurement, and the reason is that one."""
    host.tick()
    settings = DatabaseSettings(path=str(host.database))
    off = reconfigured(host, settings, fio=FioSettings(enabled=False))
    on = reconfigured(host, settings)

    assert isinstance(off.devices[0].fio, Missing)
    assert off.devices[0].fio.reason == "disabled"
    assert "fio" not in {probe.probe for probe in off.probes}
    assert "fio" in {probe.probe for probe in on.probes}


def test_without_a_named_database_the_search_goes_on_with_those_that_run(host: Host) -> None:
    """The captured one has no owner: the search would not find it, and it goes."""
    host.tick()
    host.watch.configure(Config(discovery=DiscoverySettings(interval_seconds=600.0)))
    slots = {slot.probe for slot in host.watch._slots()}

    assert "discovery" in slots
    assert "wal" not in slots


class Searching:
    """A host on which databases are searched for; ``result`` is what the next search finds."""

    def __init__(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        self.result = DiscoveryResult((), 0)
        monkeypatch.setattr(DatabaseSearch, "read", lambda _: self.result)
        config = Config(
            probe_timeout_seconds=0.5,
            discovery=DiscoverySettings(interval_seconds=1.0),
            secondary=SecondarySettings(enabled=False),
        )
        self._host = host
        self._watch = HostWatch(dataclasses.replace(host.watch._tools, config=config))

    def watched(self, after_seconds: float = A_WHILE_SECONDS) -> list[str]:
        self._host.clock.now += after_seconds
        return [database.path for database in self._watch.collect().databases]


def a_running(database: Path) -> tuple[DiscoveredDatabase, ...]:
    return (DiscoveredDatabase(str(database), 41, "writer", 0, None, None),)


def test_a_found_database_is_forgotten_when_it_is_gone_and_not_while_it_hangs(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks at the page must see that a disk is dead."""
    searching = Searching(host, monkeypatch)
    searching.result = DiscoveryResult(a_running(host.database), 0)
    found = searching.watched()
    searching.result = DiscoveryResult((), 0)
    with hanging(host.database, monkeypatch):
        while_it_hangs = [searching.watched() for _ in range(3)]
    host.database.rename(host.database.with_name("away"))

    assert found == [str(host.database)]
    assert while_it_hangs == [found] * 3
    assert eventually(lambda: searching.watched() == [])


def test_what_is_silent_is_watched_until_it_turns_out_to_be_no_database(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other programs hold such locks, too. A database stays, also when its owner ends."""
    searching = Searching(host, monkeypatch)
    other = host.database.with_name("other")
    searching.result = DiscoveryResult((), 0, a_running(host.database) + a_running(other))
    silent = searching.watched()
    searching.result = DiscoveryResult(a_running(host.database), 0)
    answered = searching.watched()
    searching.result = DiscoveryResult((), 0)
    ended = searching.watched()

    assert silent == [str(host.database), str(other)]
    assert answered == ended == [str(host.database)]


def test_a_file_system_with_little_space_is_looked_at_with_every_tick(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a probe neither starts on what was free a minute ago, nor waits once it is again."""
    really = os.statvfs(host.database)
    free = {"ratio": 0.05}

    def space(_: BlockDeviceProbe) -> os.statvfs_result:
        fields = list(really)
        fields[4] = int(fields[2] * free["ratio"])  # f_bavail, of f_blocks
        return os.statvfs_result(fields)

    def seen_free() -> float:
        sample = host.tick().devices[0].sample
        return sample.filesystem_free_bytes / sample.filesystem_size_bytes

    monkeypatch.setattr(BlockDeviceProbe, "_space", space)
    seen_free()
    free["ratio"] = 0.5
    again = seen_free()
    free["ratio"] = 0.4
    rarely = seen_free()

    assert again == pytest.approx(0.5, rel=1e-3)
    assert rarely == pytest.approx(0.5, rel=1e-3)
