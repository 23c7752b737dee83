"""What commands wrote reaches the daemon's account, where there is one."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from agent.commands.accounting import account_for_file, account_of_run, settle_run
from agent.learning.memory import DeviceIdentity
from agent.wear.own_files import carrier_of
from probes.clock import SystemClock
from tests.unit.agent_samples import a_device


def receipts(state: Path) -> list[str]:
    return [path.read_text() for path in state.glob("written-*.json")]


def test_a_run_is_on_record_beside_the_daemons_account_before_it_and_after_it(
    tmp_path: Path,
) -> None:
    """With the account's key, which survives a reboot; also of a budget that is not known."""
    (tmp_path / "wear.json").write_text("{}")
    device = a_device()
    account = account_of_run(device, {"STATE_DIRECTORY": str(tmp_path)})
    account.reserve("calibrate", 1 << 30, overdraw=True)
    (before,) = receipts(tmp_path)
    settle_run(account, 4096)
    settle_run(account, 0)
    (after,) = receipts(tmp_path)
    key = DeviceIdentity(device.device.name, device.size_bytes, device.model).key
    assert f'"device":"{key}"' in before
    assert '"purpose":"calibrate","written_bytes":1073741824' in before
    assert after == before.replace("1073741824", "4096")


def test_a_run_that_cannot_be_charged_says_which_file_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk got full during the run: all that was reserved stays charged."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "wear.json").write_text("{}")
    account = account_of_run(a_device(), {"STATE_DIRECTORY": str(tmp_path)})
    account.reserve("calibrate", 1 << 30, overdraw=True)
    monkeypatch.setattr(os, "fsync", full)
    settle_run(account, 4096)
    (path,) = tmp_path.glob("written-*.json")
    assert '"written_bytes":1073741824' in path.read_text()
    assert f"smaxd: {path}: No space left on device: " in capsys.readouterr().err


def test_nothing_is_left_behind_where_no_daemon_keeps_an_account(tmp_path: Path) -> None:
    """Neither a file nor a directory."""
    state = tmp_path / "state" / "smaxd"
    environ = {"XDG_STATE_HOME": str(tmp_path / "state"), "STATE_DIRECTORY": str(tmp_path)}
    account = account_of_run(a_device(), environ)
    assert account.reserve("calibrate", 4096) is None
    settle_run(account, 4096)
    assert list(tmp_path.iterdir()) == []
    assert not state.exists()


def test_a_state_directory_that_is_none_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command goes on: its measurement is not worth less."""
    account = account_of_run(a_device(), {}, state=str(tmp_path / "missing"))
    settle_run(account, 4096)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "not on the wear account" in said
    assert str(tmp_path / "missing") in said


def test_a_file_that_a_command_wrote_is_on_the_account_of_its_device() -> None:
    """Its pages and one of its directory; nothing where no daemon keeps an account."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        state, report = Path(place), Path(place) / "report.html"
        report.write_bytes(b"x" * 5000)
        account_for_file(str(report), {}, state=str(state))
        before = receipts(state)
        (state / "wear.json").write_text("{}")
        account_for_file(str(report), {}, state=str(state))
        (receipt,) = receipts(state)
        carrier = carrier_of(place, SystemClock())

    assert before == []
    assert carrier is not None
    assert f'"device":"{carrier.key}"' in receipt
    assert '"purpose":"command","written_bytes":12288' in receipt


def test_a_file_in_memory_or_nowhere_is_on_no_account(tmp_path: Path) -> None:
    """Nothing wears out there."""
    (tmp_path / "wear.json").write_text("{}")
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        account_for_file(file.name, {}, state=str(tmp_path))
    account_for_file(str(tmp_path / "missing"), {}, state=str(tmp_path))
    assert receipts(tmp_path) == []
