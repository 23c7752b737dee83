"""``smaxd probe fio``: refused as the daemon would, watched and charged as its runs are."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent.learning.memory import DeviceIdentity
from agent.probing.pause import Pause
from agent.probing.pause_file import write_pause
from agent.wear.account_clock import AccountClock
from agent.wear.boot_time import system_boot_time
from agent.wear.budget import Bucket, WearAccount
from agent.wear.record import WearRecord, encode
from probes.blockdev import BlockDeviceProbe
from probes.clock import SystemClock
from probes.errors import ProbeError
from probes.fio import DEFAULT_LIMITS, FioMode
from probes.rocksdb.discover import DiscoveryResult, discover_databases
from tests.unit.command_line import Call

FAST_BYTES = DEFAULT_LIMITS[FioMode.FAST].size_bytes
PATIENCE_SECONDS = 30.0

OWNER = """
import sys
from rocksdict import Rdict
database = Rdict(sys.argv[1])
database["key"] = "value"
database.flush()  # or its LOG would have no events, and tell of no stalls
print("open", flush=True)
sys.stdin.read()
database.close()
"""

STALL = (
    "[WARN] [db/column_family.cc:991] [default] Stopping writes because we have 36 level-0 files\n"
)


class Place:
    """A directory to measure, a state directory with an account, and a fio of the test's own."""

    def __init__(self, path: Path) -> None:
        self.measured, self.state = path / "measured", path / "state"
        self._programs = path / "programs"
        for directory in (self.measured, self.state, self._programs):
            directory.mkdir()
        device = BlockDeviceProbe(str(path), SystemClock()).read()
        self._key = DeviceIdentity(device.device.name, device.size_bytes, device.model).key
        self.account()

    def account(self, written_bytes: int = 0, limit_bytes: int = 1 << 40) -> None:
        """What the daemon has on record for the device under the directory."""
        account = WearAccount(self._key, limit_bytes)
        if written_bytes:
            account = msgspec.structs.replace(
                account, totals={"fio": written_bytes}, buckets=(Bucket(0, written_bytes),)
            )
        clock = AccountClock(60.0, system_boot_time())
        (self.state / "wear.json").write_bytes(encode(WearRecord(clock, 0.0, (account,))))

    def receipts(self) -> list[int]:
        """What the daemon is told that commands wrote."""
        files = self.state.glob("written-*.json")
        return [json.loads(file.read_text())["written_bytes"] for file in files]

    def fio(self, script: str) -> None:
        """What runs in fio's place."""
        program = self._programs / "fio"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    @property
    def path(self) -> str:
        """PATH with that fio."""
        return f"{self._programs}:{os.environ['PATH']}"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    try:
        found = Place(tmp_path)
    except ProbeError as error:
        pytest.skip(f"the tests lie on no block device: {error.detail}")
    found.fio("exit 1")

    def below() -> DiscoveryResult:
        """Other databases of this host may stall whenever they like."""
        databases = discover_databases().databases
        return DiscoveryResult(
            tuple(one for one in databases if one.path.startswith(str(tmp_path))), 0
        )

    monkeypatch.setattr("agent.commands.probe_fio.discover_databases", below)
    monkeypatch.setenv("STATE_DIRECTORY", str(found.state))
    monkeypatch.setenv("PATH", found.path)
    return found


@pytest.fixture
def live_log(tmp_path: Path) -> Iterator[Path]:
    """The LOG of a database that a process has open, on the device that is measured."""
    path = tmp_path / "live" / "db"
    path.parent.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"open\n"
        yield path / "LOG"
        owner.communicate()


def stall(log: Path) -> None:
    """Write down that the database has stopped writes now."""
    with log.open("a") as file:
        file.write(f"{time.strftime('%Y/%m/%d-%H:%M:%S')}.000000 140000000000000 {STALL}\n")


def test_what_the_operator_has_paused_is_refused(smaxd: Call, place: Place) -> None:
    """The gate is named, and what to do; nothing was started, nothing is charged."""
    now = time.time()
    write_pause(str(place.state), Pause(now, now + 3600.0, os.getuid()))
    ended = smaxd("probe", "fio", "--path", str(place.measured))
    assert ended.code == 2
    assert ended.err.startswith("smaxd: fio is not started: ")
    assert "paused by the operator for another 60 min (paused" in ended.err
    assert "--force" in ended.err
    assert ended.err.count("\n") == 1
    assert (list(place.measured.iterdir()), place.receipts()) == ([], [])


def test_a_stalled_database_on_the_device_is_not_disturbed(
    smaxd: Call, place: Place, live_log: Path
) -> None:
    """By its LOG, as the daemon reads it."""
    stall(live_log)
    ended = smaxd("probe", "fio", "--path", str(place.measured))
    assert ended.code == 2
    assert "writes were stopped or delayed" in ended.err
    assert place.receipts() == []


def test_a_spent_budget_is_not_overdrawn(smaxd: Call, place: Place) -> None:
    """By the account of the daemon, with what other commands have left there."""
    place.account(written_bytes=3 * FAST_BYTES, limit_bytes=5 * FAST_BYTES)
    ended = smaxd("probe", "fio", "--path", str(place.measured))
    assert ended.code == 2
    assert "budget_spent" in ended.err


@pytest.mark.parametrize("content", [b"{}", b"half a fi"])
def test_an_account_that_cannot_be_read_allows_nothing(
    smaxd: Call, place: Place, content: bytes
) -> None:
    """As the daemon itself, for a day."""
    (place.state / "wear.json").write_bytes(content)
    ended = smaxd("probe", "fio", "--path", str(place.measured))
    assert ended.code == 2
    assert "wear_history_lost" in ended.err


def test_another_run_is_not_measured(smaxd: Call, place: Place) -> None:
    """Two at once would measure each other."""
    code = "import time; print('runs', flush=True); time.sleep(600)"
    argv = ["fio", "-c", code, "--name=smaxd"]
    with subprocess.Popen(argv, executable=sys.executable, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"runs\n"
            ended = smaxd("probe", "fio", "--path", str(place.measured))
        finally:
            other.kill()
    assert ended.code == 2
    assert f"process {other.pid} measures a device already (another_probe)" in ended.err


def test_force_runs_it_all_the_same_and_says_against_what(smaxd: Call, place: Place) -> None:
    """The bytes are charged as any others."""
    now = time.time()
    write_pause(str(place.state), Pause(now, now + 3600.0, os.getuid()))
    place.fio('touch "$STATE_DIRECTORY/started"; exit 1')
    ended = smaxd("probe", "fio", "--path", str(place.measured), "--force")
    assert (place.state / "started").exists()
    assert ended.code == 1
    assert ended.err.startswith("smaxd: fio is started all the same: ")
    assert "(paused" in ended.err
    assert place.receipts() == [FAST_BYTES]


def test_what_a_run_may_write_is_on_record_before_it_writes(smaxd: Call, place: Place) -> None:
    """A command that is killed has been charged."""
    place.fio('cp "$STATE_DIRECTORY"/written-*.json "$STATE_DIRECTORY/seen"; exit 1')
    smaxd("probe", "fio", "--path", str(place.measured), "--force")
    seen = json.loads((place.state / "seen").read_text())
    assert (seen["purpose"], seen["written_bytes"]) == ("fio", FAST_BYTES)
    assert place.receipts() == [FAST_BYTES]


def test_the_state_directory_can_be_named(
    smaxd: Call, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For a daemon whose directory this user would not find."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "nowhere"))
    argv = ("probe", "fio", "--path", str(place.measured), "--force")
    smaxd(*argv, "--state", str(place.state))
    assert place.receipts() == [FAST_BYTES]
    assert smaxd(*argv, "--state", "/nonexistent").code == 2


def test_the_guard_ends_a_run_that_stalls_a_database(
    smaxd: Call, place: Place, live_log: Path
) -> None:
    """Within the run, by what the LOG of the database says then."""
    place.fio('touch "$STATE_DIRECTORY/started"; exec sleep 600')
    started = place.state / "started"

    def disturb() -> None:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not started.exists() and time.monotonic() < give_up:
            time.sleep(0.02)
        stall(live_log)

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    ended = smaxd("probe", "fio", "--path", str(place.measured), "--force")
    disturbing.join()
    assert started.exists()
    assert ended.code == 1
    assert "fio was ended: " in ended.err
    assert "Stopping writes (aborted)" in ended.err
    assert list(place.measured.iterdir()) == []
