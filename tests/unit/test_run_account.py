"""A command's view of the daemon's wear account, and what it leaves there."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from agent.commands import run_account
from agent.commands.run_account import RunAccount
from agent.readings import Known, Missing
from agent.state_directory import StateDirectory
from agent.wear import receipts as receipts_module
from agent.wear.account_lock import account_lock
from agent.wear.budget import Refused, Reservation, files_share_bytes
from agent.wear.ledger import WearLedger
from agent.wear.own_files import Carrier
from agent.wear.receipts import Receipt, leave_receipt
from tests.unit.agent_samples import MIB

KEY = "a drive/1000000000000"
DEVICE = Carrier(KEY, "sda", 10**12)
RUN = int(128 * MIB)
FOR_PROBES = DEVICE.size_bytes // 1000 - files_share_bytes(DEVICE.size_bytes // 1000)
OTHER_USER = 12345

COMMAND = """
import sys
from agent.commands.run_account import RunAccount
from agent.wear.own_files import Carrier
print("ready", flush=True)
sys.stdin.readline()
refused, size_bytes = 0, int(sys.argv[3])
while refused < 3:
    account = RunAccount(sys.argv[1], Carrier(sys.argv[2], "sda", 10**12))
    why = account.reserve("fio", size_bytes)
    print("granted" if why is None else why, flush=True)
    refused += why is not None
"""


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


@pytest.mark.parametrize("wrote", [1000, 0, RUN, RUN + 1])
def test_a_run_is_charged_with_what_it_wrote(tmp_path: Path, wrote: int) -> None:
    """Less than was reserved, nothing, all of it, or more."""
    daemon_in(tmp_path)
    one = RunAccount(str(tmp_path), DEVICE)
    assert one.reserve("fio", RUN) is None
    one.settle(wrote)
    assert receipts(tmp_path) == [wrote]


def test_a_run_under_way_is_left_alone_by_the_daemon_and_counts_against_its_own(
    tmp_path: Path,
) -> None:
    """In full; once it has ended, with what it wrote, once."""
    daemon = Daemon(tmp_path)
    one = RunAccount(str(tmp_path), DEVICE)
    one.reserve("fio", FOR_PROBES - 2000)
    daemon.ledger._take_receipts()
    refused = daemon.ledger.reserve(KEY, "fio", 1001)
    assert receipts(tmp_path) == [FOR_PROBES - 2000]
    assert written(daemon.ledger) == 1000
    one.settle(5000)
    granted = daemon.ledger.reserve(KEY, "fio", FOR_PROBES - 6000)
    daemon.ledger._take_receipts()
    daemon.end()
    assert isinstance(refused, Refused)
    assert "1000 left of" in refused.detail
    assert isinstance(granted, Reservation)
    assert written(daemon.ledger) == 6000
    assert receipts(tmp_path) == []


@pytest.mark.parametrize("commands", [1], indirect=True)
def test_a_command_that_is_killed_is_charged_with_all_it_might_have_written(
    tmp_path: Path, commands: list["subprocess.Popen[str]"]
) -> None:
    """By the kernel's word that it is gone."""
    daemon = Daemon(tmp_path)
    (command,) = commands
    assert command.stdin is not None
    assert command.stdout is not None
    command.stdin.write("go\n")
    command.stdin.flush()
    assert command.stdout.readline() == "granted\n"
    command.kill()
    command.wait()
    daemon.ledger._take_receipts()
    daemon.end()
    assert (written(daemon.ledger) - 1000) % (RUN // 8) == 0
    assert written(daemon.ledger) > 1000


def test_what_a_command_left_that_was_killed_while_it_wrote_its_receipt_goes_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not granted yet."""

    class Killed(BaseException):
        pass

    def killed(_: int) -> None:
        raise Killed

    before = written(daemon_in(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killed)
        with pytest.raises(Killed):
            RunAccount(str(tmp_path), DEVICE).reserve("fio", RUN)
    assert len(list(tmp_path.glob(".written-*"))) == 1
    assert written(daemon_in(tmp_path)) == before + 1000  # which each daemon here charges
    assert {path.name for path in tmp_path.iterdir()} == {"wear.json", "wear.lock"}


def test_more_than_is_left_for_probes_is_refused_by_what_is_on_record_now(tmp_path: Path) -> None:
    """What the gates saw a second ago does not count; whoever overdraws is charged all the same."""
    daemon_in(tmp_path)
    late = RunAccount(str(tmp_path), DEVICE)
    assert left(late) > FOR_PROBES
    RunAccount(str(tmp_path), DEVICE).reserve("fio", FOR_PROBES - 2000)
    why = late.reserve("fio", RUN)
    assert why is not None
    assert "1000 left of" in why
    assert "(wear_budget_used)" in why
    assert late.reserve("fio", RUN, overdraw=True) is None
    assert sorted(receipts(tmp_path)) == [RUN, FOR_PROBES - 2000]


def test_while_the_daemon_reserves_a_command_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits a while, then says so; a run that ends just then stays charged in full."""
    daemon_in(tmp_path)
    monkeypatch.setattr(run_account, "LOCK_PATIENCE_SECONDS", 0.1)
    ending = RunAccount(str(tmp_path), DEVICE)
    ending.reserve("fio", RUN)
    with account_lock(str(tmp_path)):
        why = RunAccount(str(tmp_path), DEVICE).reserve("fio", RUN)
        with pytest.raises(OSError, match="another process is reserving"):
            ending.settle(1000)
    assert why is not None
    assert "(wear_account_busy)" in why
    assert receipts(tmp_path) == [RUN]


@pytest.fixture
def commands(
    tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[list["subprocess.Popen[str]"]]:
    """Processes that reserve again and again as soon as they are told to."""
    argv = [sys.executable, "-c", COMMAND, str(tmp_path), KEY, str(RUN // 8)]
    pipe, number = subprocess.PIPE, request.param
    started = [subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) for _ in range(number)]
    try:
        for one in started:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        yield started
    finally:
        for one in started:
            one.kill()
            one.communicate()


@pytest.mark.parametrize("commands", [3], indirect=True)
def test_a_daemon_and_commands_that_reserve_at_once_share_one_budget(
    tmp_path: Path, commands: list["subprocess.Popen[str]"]
) -> None:
    """No two of them get the same bytes, and together they get all there are."""
    daemon = Daemon(tmp_path)
    for one in commands:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    granted = 0
    answer: Reservation | Refused | None = None
    while not isinstance(answer, Refused) or answer.reason == "wear_account_busy":
        answer = daemon.ledger.reserve(KEY, "fio", RUN // 8)
        granted += isinstance(answer, Reservation)
    for one in commands:
        granted += one.communicate()[0].splitlines().count("granted")
    daemon.ledger._take_receipts()
    (account,) = daemon.ledger.view().accounts
    daemon.end()
    assert granted == (FOR_PROBES - 1000) // (RUN // 8)
    assert dict(account.written_bytes)["fio"] + account.reserved_bytes == (
        1000 + granted * (RUN // 8)
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_root_counts_what_other_commands_of_root_left_for_the_daemons_user(tmp_path: Path) -> None:
    """The daemon is a user of its own; what root writes there is given to it."""
    daemon_in(tmp_path)
    for path in (tmp_path, *tmp_path.iterdir()):
        os.chown(path, OTHER_USER, OTHER_USER)
    before = left(RunAccount(str(tmp_path), DEVICE))
    assert RunAccount(str(tmp_path), DEVICE).reserve("fio", RUN) is None
    assert left(RunAccount(str(tmp_path), DEVICE)) == before - RUN
    assert {path.stat().st_uid for path in tmp_path.iterdir()} == {OTHER_USER}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_root_killed_while_it_makes_the_lock_does_not_lock_the_daemon_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock has its name only once it is the daemon's."""

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    daemon_in(tmp_path)
    os.chown(tmp_path, OTHER_USER, OTHER_USER)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fchown", killed)
        with pytest.raises(Killed):
            RunAccount(str(tmp_path), DEVICE).reserve("fio", RUN)
    assert not (tmp_path / "wear.lock").exists()
    assert RunAccount(str(tmp_path), DEVICE).reserve("fio", RUN) is None
    assert (tmp_path / "wear.lock").stat().st_uid == OTHER_USER
    assert list(tmp_path.glob("wear.lock?*")) == []


def test_a_look_at_the_budget_disturbs_no_command_that_reserves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock tried at that moment would keep the other from holding its receipt."""
    daemon_in(tmp_path)
    one = RunAccount(str(tmp_path), DEVICE)
    assert one.reserve("fio", RUN) is None

    def tried(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(fcntl, "flock", tried)
    assert RunAccount(str(tmp_path), DEVICE).free_bytes == FOR_PROBES - 1000 - RUN


def test_however_many_receipts_lie_there_a_command_counts_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others' files of weeks without a daemon hide no run."""
    daemon_in(tmp_path)
    monkeypatch.setattr(receipts_module, "MAX_RECEIPTS", 2)
    for _ in range(5):
        leave_receipt(str(tmp_path), Receipt(KEY, DEVICE.size_bytes, "fio", 1000))
    assert RunAccount(str(tmp_path), DEVICE).free_bytes == FOR_PROBES - 6000


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


def test_an_account_that_was_set_aside_and_not_begun_anew_allows_nothing(tmp_path: Path) -> None:
    """The daemon found it damaged, and its disk full."""
    (tmp_path / "wear.json.damaged").write_bytes(b"{")
    one = RunAccount(str(tmp_path), DEVICE)
    why = one.reserve("fio", RUN)
    assert why is not None
    assert "(wear_history_lost)" in why
    assert isinstance(one.budget(0.0), Missing)
