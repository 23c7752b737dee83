"""What is watched on a host: databases that come and go, and the devices under them."""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from agent.config import Config, DatabaseSettings, SecondarySettings
from agent.findings import Findings
from agent.host_watch import HostWatch
from agent.readings import Known, Missing
from agent.watch_tools import WatchTools
from probes.blockdev import BlockDeviceProbe
from probes.clock import SystemClock
from probes.command import CompletedCommand
from probes.errors import ProbeError
from tests.unit.snapshots import FixedClock

DATA = Path(__file__).parents[1] / "data"
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
    ) -> CompletedCommand:
        del timeout_seconds, cwd, env
        self.runs.append(argv)
        return CompletedCommand(0, (DATA / "fio" / "fast.stdout").read_bytes(), b"")


@dataclasses.dataclass
class Host:
    """A watched host whose clock is moved by hand."""

    watch: HostWatch
    fio: RecordedFio
    clock: FixedClock
    database: Path

    def tick(self, after_seconds: float = 10.0) -> Findings:
        """One tick, with everything in the background at its end."""
        self.clock.now += after_seconds
        self.watch.collect()
        self.watch.close(10.0)
        self.clock.now += 0.01
        return self.watch.collect()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    try:
        BlockDeviceProbe(str(tmp_path), SystemClock()).read()
    except ProbeError as error:
        pytest.skip(f"the temporary directory lies on no block device here: {error.detail}")
    database = tmp_path / "db"
    shutil.copytree(DATA / "rocksdb" / "v9.8.4", database)
    (tmp_path / "state" / "smaxd").mkdir(parents=True)
    config = Config(
        databases=(DatabaseSettings(path=str(database)),),
        secondary=SecondarySettings(enabled=False),
    )
    clock, fio = FixedClock(), RecordedFio()
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    tools = WatchTools(config, clock, fio, str(tmp_path), environ)
    return Host(HostWatch(tools), fio, clock, database)


def test_a_device_is_measured_once_and_its_bytes_are_counted(host: Host) -> None:
    """Not again until its interval has passed, however often ticks come."""
    findings = host.tick()
    name = findings.devices[0].name
    again = host.tick()

    assert len(host.fio.runs) == 1
    assert isinstance(again.devices[0].fio, Known)
    assert again.written_bytes == findings.written_bytes
    assert again.written_bytes[name, "fio"] > 0


def test_a_database_that_is_away_for_a_while_costs_no_second_measurement(host: Host) -> None:
    """Its device is not reported meanwhile, what was written stays counted, and fio rests."""
    present = host.tick()
    host.database.rename(host.database.with_name("away"))
    away = host.tick(A_WHILE_SECONDS)
    host.database.with_name("away").rename(host.database)
    back = host.tick(A_WHILE_SECONDS)

    assert away.devices == ()
    assert away.written_bytes == back.written_bytes == present.written_bytes
    assert [device.name for device in back.devices] == [d.name for d in present.devices]
    assert len(host.fio.runs) == 1


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
