"""``smaxd calibrate`` up to the point where it would write, and what it refuses."""

import json
import os
import sys
from pathlib import Path

import click
import pytest

from agent.calibrate.guard import StallGuard
from agent.calibrate.load import Progress
from agent.commands import calibrate as command
from agent.commands import calibrate_checks as checks
from agent.commands.calibrate_progress import progress_line
from agent.wear.account_clock import AccountClock
from agent.wear.boot_time import system_boot_time
from agent.wear.record import WearRecord, encode
from probes.errors import NoData
from probes.rocksdb.discover import DiscoveryResult
from probes.rocksdb.samples import DiscoveredDatabase
from probes.samples import BlockDeviceSample
from tests.unit.agent_samples import a_device
from tests.unit.command_line import Call, Ended

GIB = 2**30


@pytest.fixture
def calibrate(
    smaxd: Call, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Call:
    """``smaxd calibrate`` on a host without databases and with one disk; nothing may be loaded.
    No daemon ever kept an account there: that of this machine is not charged."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setattr(command, "discover_databases", lambda: DiscoveryResult((), 0))
    use_device(monkeypatch, a_device(filesystem_free_bytes=100 * GIB, size_bytes=1000 * GIB))

    def load(*_: object) -> None:
        raise AssertionError("the load was started")

    def call(*words: str) -> Ended:
        return smaxd("calibrate", *words)

    monkeypatch.setattr(command, "_run", load)
    return call


def use_device(monkeypatch: pytest.MonkeyPatch, device: BlockDeviceSample | NoData) -> None:
    class Probe:
        def __init__(self, *_: object) -> None: ...

        def read(self) -> BlockDeviceSample:
            if isinstance(device, NoData):
                raise device
            return device

    monkeypatch.setattr(checks, "BlockDeviceProbe", Probe)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--scratch"),
        (["--scratch", "/nonexistent"], "No such file"),
        (["--scratch", "/etc/passwd"], "is not a directory"),
        (["--scratch", "{tmp}", "--minutes", "0.2"], "--minutes must be"),
        (["--scratch", "{tmp}", "--minutes", "nan"], "--minutes must be"),
        (["--scratch", "{tmp}", "--minutes", "inf"], "--minutes must be"),
        (["--scratch", "{tmp}", "--max-gib", "0"], "--max-gib must be"),
        (["--scratch", "{tmp}", "--max-gib", "nan"], "--max-gib must be"),
        (["--scratch", "{tmp}", "--value-size", "0"], "value-size"),
        (["--scratch", "{tmp}", "--key-order", "odd"], "key-order"),
        (["--scratch", "{tmp}", "--db", "/nonexistent"], "check the database's path"),
        (["--scratch", "{tmp}", "--db", "{tmp}/empty"], "not_rocksdb"),
        (["--scratch", "{tmp}/db"], "lies in the database"),
        (["--scratch", "{tmp}", "--max-gib", "0.01"], "too little for a measurement"),
        (["--scratch", "{tmp}"], "pass --yes"),
    ],
)
def test_refusals_exit_2_with_one_line_that_says_why(
    calibrate: Call, tmp_path: Path, words: list[str], says: str
) -> None:
    """What, where, what to do; nothing was made."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "CURRENT").touch()
    ended = calibrate(*(word.replace("{tmp}", str(tmp_path)) for word in words))
    assert (ended.code, ended.out) == (2, "")
    last = ended.err.splitlines()[-1]
    assert last.startswith("smaxd: ")
    assert says in last
    assert sorted(os.listdir(tmp_path)) == ["db", "empty"]


def test_it_says_beforehand_how_much_it_writes(calibrate: Call, tmp_path: Path) -> None:
    """Also when it is then refused."""
    ended = calibrate("--scratch", str(tmp_path), "--max-gib", "20")
    assert "at most 20.0 GiB" in ended.err
    assert "20 times this drive's wear budget" in ended.err


def test_without_room_it_is_refused(
    calibrate: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before anything is written."""
    use_device(monkeypatch, a_device(filesystem_free_bytes=GIB))
    ended = calibrate("--scratch", str(tmp_path), "--yes")
    assert ended.code == 2
    assert "must stay free" in ended.err


def test_without_a_block_device_it_is_refused(
    calibrate: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Memory is no disk."""
    use_device(monkeypatch, NoData("no_block_device", "no block device behind it"))
    ended = calibrate("--scratch", str(tmp_path), "--yes")
    assert (ended.code, ended.err) == (2, "smaxd: no block device behind it (no_block_device)\n")


def test_another_file_system_is_refused_unless_asked_for(calibrate: Call, tmp_path: Path) -> None:
    """It would measure another device."""
    ended = calibrate("--scratch", str(tmp_path), "--db", "/proc", "--yes")
    assert ended.code == 2
    assert "pass --other-device" in ended.err
    ended = calibrate("--scratch", str(tmp_path), "--db", "/proc", "--yes", "--other-device")
    assert "not_rocksdb" in ended.err


def test_a_database_that_stalls_is_not_disturbed(
    calibrate: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Named, with the reason."""
    monkeypatch.setattr(StallGuard, "stalled", lambda self, **_: "/db is stopped by l0_files")
    ended = calibrate("--scratch", str(tmp_path), "--yes")
    assert ended.code == 2
    assert "/db is stopped by l0_files; calibrate when" in ended.err


def test_a_known_database_is_never_entered(
    calibrate: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whether or not its files can be seen."""
    found = DiscoveredDatabase(str(tmp_path), 1, None, None, None, None)
    monkeypatch.setattr(command, "discover_databases", lambda: DiscoveryResult((found,), 0))
    assert calibrate("--scratch", str(tmp_path), "--yes").code == 2


class Terminal:
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("confirmed", [True, False])
def test_on_a_terminal_it_asks(
    calibrate: Call,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    confirmed: bool,
) -> None:
    """And takes no for an answer."""
    started = []

    def run(*_: object) -> int:
        started.append(True)
        return 0

    monkeypatch.setattr(command, "_run", run)
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(click, "confirm", lambda *_, **__: confirmed)
    ended = calibrate("--scratch", str(tmp_path), "--max-gib", "20")
    assert (ended.code, len(started)) == ((0, 1) if confirmed else (1, 0))


def test_within_the_budget_it_does_not_ask(
    calibrate: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A gibibyte a day of this drive, a quarter of it kept for the agent's own files."""
    monkeypatch.setattr(command, "_run", lambda *_: 0)
    assert calibrate("--scratch", str(tmp_path), "--max-gib", "0.7").code == 0
    assert calibrate("--scratch", str(tmp_path), "--max-gib", "0.8").code == 2


def test_a_run_is_on_record_before_it_writes_and_the_next_is_asked_about_what_it_left(
    calibrate: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A run that is killed has been charged; one that wrote nothing is not."""
    scratch, state = tmp_path / "scratch", tmp_path / "state"
    scratch.mkdir()
    state.mkdir()
    (state / "wear.json").write_bytes(encode(WearRecord(AccountClock(0.0, system_boot_time()))))
    words = ("--scratch", str(scratch), "--state", str(state), "--max-gib", "0.7")
    seen: list[tuple[int, Ended]] = []

    def run(*_: object) -> int:
        seen.append((receipt(), calibrate(*words)))
        return 0

    def receipt() -> int:
        (path,) = state.glob("written-*.json")
        return int(json.loads(path.read_text())["written_bytes"])

    monkeypatch.setattr(command, "_run", run)
    assert calibrate(*words).code == 0
    ((before, beside),) = seen
    assert before == int(0.7 * GIB)
    assert beside.code == 2
    assert "still write within the wear budget is written only when confirmed" in beside.err
    assert receipt() == 0


def test_a_budget_that_is_not_known_is_said_to_be_so(calibrate: Call, tmp_path: Path) -> None:
    """Less with --max-gib would not help."""
    (tmp_path / "wear.json").write_text("{}")
    words = ("--scratch", str(tmp_path), "--state", str(tmp_path), "--max-gib", "0.5")
    ended = calibrate(*words)
    assert ended.code == 2
    assert str(tmp_path / "wear.json") in ended.err
    assert "(wear_history_lost); pass --yes" in ended.err
    assert "--max-gib" not in ended.err


def test_leftovers_of_a_killed_run_are_removed_and_told(
    calibrate: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """At the next run, whatever becomes of it."""
    left = tmp_path / "smaxd-calibrate-999999999-1-abcd"
    left.mkdir()
    ended = calibrate("--scratch", str(tmp_path))
    assert f"removed {left}" in ended.err
    assert not left.exists()


def test_progress_is_one_line() -> None:
    """Phase, rate, bytes, time left."""
    progress = Progress("fill", 10.0, 60.0, 12345.6, 5 * 2**20, 7)
    assert progress_line(progress) == (
        "fill: 12,346 puts/s, level 0 7 files, 5 MiB written, 50 s left"
    )
