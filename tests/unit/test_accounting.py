"""What commands wrote reaches the daemon's account, where there is one."""

from pathlib import Path

import pytest

from agent.commands.accounting import account_for
from tests.unit.agent_samples import a_device


def receipts(state: Path) -> list[str]:
    return [path.read_text() for path in state.glob("written-*.json")]


def test_a_receipt_is_left_beside_the_daemons_account(tmp_path: Path) -> None:
    """With the account's key, which survives a reboot."""
    (tmp_path / "wear.json").write_text("{}")
    account_for(4096, "fio", a_device(), {"STATE_DIRECTORY": str(tmp_path)})
    (receipt,) = receipts(tmp_path)
    assert '"purpose":"fio"' in receipt
    assert '"written_bytes":4096' in receipt


def test_nothing_is_left_behind_where_no_daemon_keeps_an_account(tmp_path: Path) -> None:
    """Neither a file nor a directory."""
    state = tmp_path / "state" / "smaxd"
    environ = {"XDG_STATE_HOME": str(tmp_path / "state"), "STATE_DIRECTORY": str(tmp_path)}
    account_for(4096, "fio", a_device(), environ)
    assert list(tmp_path.iterdir()) == []
    assert not state.exists()


def test_a_state_directory_that_is_none_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command goes on: its measurement is not worth less."""
    account_for(4096, "calibrate", a_device(), {}, state=str(tmp_path / "missing"))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "not on the wear account" in said
    assert str(tmp_path / "missing") in said
