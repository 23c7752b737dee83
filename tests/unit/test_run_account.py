"""A command's view of the daemon's wear account, and what it leaves there."""

import json
from pathlib import Path

import structlog

from agent.commands.run_account import RunAccount
from agent.readings import Known, Missing
from agent.state_directory import StateDirectory
from agent.wear.ledger import WearLedger
from agent.wear.own_files import Carrier
from tests.unit.agent_samples import MIB

KEY = "a drive/1000000000000"
DEVICE = Carrier(KEY, "sda", 10**12)
RUN = int(128 * MIB)


class Daemon:
    """What of one keeps the account of the device."""

    def __init__(self, path: Path) -> None:
        self.directory = StateDirectory(str(path))
        self.ledger = WearLedger(self.directory, structlog.get_logger())
        self.ledger.start()
        self.ledger.open_account(KEY, DEVICE.size_bytes)
        self.ledger.charge(KEY, "fio", 1000)
        assert self.ledger.save()

    def end(self) -> None:
        """As it ends by a signal."""
        self.ledger.close(10.0)
        self.directory.close()


def daemon_in(path: Path) -> WearLedger:
    """The account that a daemon has left."""
    daemon = Daemon(path)
    daemon.end()
    return daemon.ledger


def written(ledger: WearLedger) -> int:
    (account,) = ledger.view().accounts
    return dict(account.written_bytes)["fio"]


def left(account: RunAccount) -> int:
    budget = account.budget(0.0)
    assert isinstance(budget, Known), budget
    return budget.value.remaining_bytes


def receipts(directory: Path) -> list[int]:
    files = directory.glob("written-*.json")
    return [json.loads(file.read_text())["written_bytes"] for file in files]


def test_it_is_the_same_account(tmp_path: Path) -> None:
    """What the daemon wrote counts, what it may write is the limit."""
    (account,) = daemon_in(tmp_path).view().accounts
    budget = RunAccount(str(tmp_path), DEVICE).budget(0.0)
    assert isinstance(budget, Known)
    assert budget.value.limit_bytes == account.limit_bytes == 10**9
    assert budget.value.remaining_bytes == account.remaining_bytes
    assert budget.value.kept_for_files_bytes == account.kept_for_files_bytes


def test_what_is_reserved_counts_for_the_next_command_and_for_the_daemon(tmp_path: Path) -> None:
    """In full, until it is settled."""
    daemon_in(tmp_path)
    one = RunAccount(str(tmp_path), DEVICE)
    before = left(one)
    one.reserve("fio", RUN)
    assert left(RunAccount(str(tmp_path), DEVICE)) == before - RUN
    one.settle(RUN)
    assert receipts(tmp_path) == [RUN]


def test_a_run_that_wrote_less_is_charged_with_less(tmp_path: Path) -> None:
    """Where it wrote nothing, with nothing."""
    daemon_in(tmp_path)
    for wrote, expected in ((1000, [1000]), (0, [1000])):
        one = RunAccount(str(tmp_path), DEVICE)
        one.reserve("fio", RUN)
        one.settle(wrote)
        assert receipts(tmp_path) == expected


def test_what_the_daemon_has_taken_meanwhile_stays_charged_in_full(tmp_path: Path) -> None:
    """Once."""
    daemon_in(tmp_path)
    one = RunAccount(str(tmp_path), DEVICE)
    one.reserve("fio", RUN)
    ledger = daemon_in(tmp_path)  # it takes what lies there at its start
    assert receipts(tmp_path) == []
    one.settle(1000)
    assert receipts(tmp_path) == []
    assert written(ledger) == 1000 + RUN + 1000  # each daemon of the test charges 1000


def test_without_a_daemon_there_is_nothing_to_be_charged_to(tmp_path: Path) -> None:
    """And the limit of a day is what a daemon would begin with."""
    one = RunAccount(str(tmp_path), DEVICE)
    one.reserve("fio", RUN)
    one.settle(RUN)
    assert list(tmp_path.iterdir()) == []
    assert left(one) == 10**9
    assert left(RunAccount(None, DEVICE)) == 10**9


def test_a_damaged_account_allows_nothing(tmp_path: Path) -> None:
    """As it is for the daemon."""
    (tmp_path / "wear.json").write_bytes(b"{}")
    budget = RunAccount(str(tmp_path), DEVICE).budget(0.0)
    assert isinstance(budget, Missing)
    assert budget.reason == "wear_history_lost"
