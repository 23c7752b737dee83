"""The ledger: on the device before it is spent, whatever happens to the daemon, disk and clock."""

import errno
import os
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.state_directory import StateDirectory
from agent.wear import ledger as ledger_module
from agent.wear import receipts
from agent.wear.account_clock import BootTime
from agent.wear.account_lock import account_lock
from agent.wear.accounts import Advance
from agent.wear.boot_time import system_boot_time
from agent.wear.budget import (
    DAY_SECONDS,
    LEAST_DAILY_BYTES,
    VITAL_BYTES,
    Refused,
    Reservation,
    files_share_bytes,
    largest_spare_bytes,
)
from agent.wear.ledger import WearLedger
from agent.wear.receipts import Receipt, leave_receipt
from agent.wear.record import decode

LIMIT = LEAST_DAILY_BYTES
FOR_PROBES = LIMIT - files_share_bytes(LIMIT)
SPARE = largest_spare_bytes(LIMIT)
SMALL_DISK = 10**9
DISK = "model/1000000000"


@pytest.fixture(autouse=True)
def log() -> Iterator[list[dict[str, object]]]:
    """What was logged."""
    with structlog.testing.capture_logs() as entries:
        yield entries  # type: ignore[misc]


class Machine:
    """A clock that tests turn, and daemons that come and go in one directory."""

    def __init__(self, directory: Path | str | None) -> None:
        self.path = None if directory is None else str(directory)
        self.boot = 0
        self.uptime = 1000.0
        self.passed = 0.0
        self.directories: list[StateDirectory] = []

    def daemon(self) -> WearLedger:
        """One that has loaded what it finds."""
        directory = StateDirectory(self.path)
        self.directories.append(directory)
        ledger = WearLedger(directory, structlog.get_logger(), self.now)
        ledger.load()
        ledger.open_account(DISK, SMALL_DISK)
        return ledger

    def now(self) -> BootTime:
        return BootTime(f"boot-{self.boot}", self.uptime)

    def wait(self, seconds: float) -> None:
        self.uptime += seconds
        self.passed += seconds

    def reboot(self, off_seconds: float = 0.0) -> None:
        self.boot += 1
        self.uptime = 5.0
        self.passed += off_seconds + 5.0

    def kill(self) -> None:
        """The kernel gives back the lock of a daemon that died; nothing else is left of it."""
        for directory in self.directories:
            directory.close()


def granted(answer: Reservation | Refused) -> Reservation:
    assert isinstance(answer, Reservation), answer
    return answer


def reason(answer: Reservation | Refused) -> str:
    assert isinstance(answer, Refused), answer
    return answer.reason


def remaining(ledger: WearLedger) -> int:
    return next(account.remaining_bytes for account in ledger.view().accounts)


def written(ledger: WearLedger) -> dict[str, int]:
    return dict(next(account.written_bytes for account in ledger.view().accounts))


def test_a_reservation_is_on_the_device_before_it_is_granted(tmp_path: Path) -> None:
    """In a private file."""
    ledger = Machine(tmp_path).daemon()
    reservation = granted(ledger.reserve(DISK, "fio", 1000))
    (account,) = decode((tmp_path / "wear.json").read_bytes()).accounts
    assert account.reservations == (reservation,)
    assert stat.S_IMODE((tmp_path / "wear.json").stat().st_mode) == 0o600


def test_what_was_settled_outlives_the_daemon(tmp_path: Path) -> None:
    """With its totals, by purpose."""
    machine = Machine(tmp_path)
    ledger = machine.daemon()
    ledger.settle(granted(ledger.reserve(DISK, "fio", 5000)), 3000)
    machine.kill()
    again = machine.daemon()
    assert written(again) == {"fio": 3000}
    assert remaining(again) == LIMIT - 3000


def test_a_daemon_that_died_while_writing_is_charged_once(
    tmp_path: Path, log: list[dict[str, object]]
) -> None:
    """In full, also when the next one dies before it saves."""
    machine = Machine(tmp_path)
    granted(machine.daemon().reserve(DISK, "fio", 5000))
    for _ in range(3):
        machine.kill()
        ledger = machine.daemon()
        assert written(ledger) == {"fio": 5000}
        assert remaining(ledger) == LIMIT - 5000
    ledger.save()
    machine.kill()
    assert written(machine.daemon()) == {"fio": 5000}
    assert [e["event"] for e in log] == ["wear_reservation_unsettled"] * 3


def test_a_day_of_account_time_frees_the_budget_and_a_reboot_does_not(tmp_path: Path) -> None:
    """A week without power counts as the time since the boot."""
    machine = Machine(tmp_path)
    ledger = machine.daemon()
    ledger.settle(granted(ledger.reserve(DISK, "fio", FOR_PROBES)), FOR_PROBES)
    machine.kill()
    machine.reboot(off_seconds=7 * DAY_SECONDS)
    ledger = machine.daemon()
    assert reason(ledger.reserve(DISK, "fio", 1)) == "wear_budget_used"
    machine.wait(DAY_SECONDS + 3600)
    granted(ledger.reserve(DISK, "fio", FOR_PROBES))


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"version":9,"crc32":0,"ledger":{}}', b'{"version":1}', b"\xff" * 50]
)
def test_after_a_damaged_file_the_day_counts_as_used(
    tmp_path: Path, log: list[dict[str, object]], content: bytes
) -> None:
    """Also for the next daemon; the damaged file is kept, and it is said."""
    (tmp_path / "wear.json").write_bytes(content)
    machine = Machine(tmp_path)
    for _ in range(2):
        ledger = machine.daemon()
        assert reason(ledger.reserve(DISK, "fio", 1)) == "wear_history_lost"
        assert remaining(ledger) == 0
        machine.kill()
    assert (tmp_path / "wear.json.damaged").read_bytes() == content
    assert [e["event"] for e in log] == ["wear_history_lost"]
    ledger = machine.daemon()
    machine.wait(DAY_SECONDS - 1)
    assert reason(ledger.reserve(DISK, "fio", 1)) == "wear_history_lost"
    machine.wait(1)
    granted(ledger.reserve(DISK, "fio", FOR_PROBES))


def test_a_file_cut_at_any_byte_is_never_fatal_and_never_a_fresh_budget(tmp_path: Path) -> None:
    """All lengths but the whole."""
    machine = Machine(tmp_path)
    ledger = machine.daemon()
    ledger.settle(granted(ledger.reserve(DISK, "fio", 5000)), 3000)
    whole = (tmp_path / "wear.json").read_bytes()
    for length in range(0, len(whole) - 1, 3):
        machine.kill()
        (tmp_path / "wear.json").write_bytes(whole[:length])
        assert reason(machine.daemon().reserve(DISK, "fio", 1)) == "wear_history_lost"


def test_a_damaged_file_that_was_set_aside_but_not_replaced_is_remembered(tmp_path: Path) -> None:
    """The daemon died between the two."""
    (tmp_path / "wear.json.damaged").write_bytes(b"{")
    assert reason(Machine(tmp_path).daemon().reserve(DISK, "fio", 1)) == "wear_history_lost"


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """It counts as damage."""
    (tmp_path / "target").write_bytes(b"secret")
    (tmp_path / "wear.json").symlink_to(tmp_path / "target")
    assert reason(Machine(tmp_path).daemon().reserve(DISK, "fio", 1)) == "wear_history_lost"
    assert (tmp_path / "target").read_bytes() == b"secret"


def test_without_a_directory_nothing_is_spent_but_everything_counted() -> None:
    """The daemon runs all the same."""
    ledger = Machine(None).daemon()
    assert reason(ledger.reserve(DISK, "fio", 1)) == "budget_not_kept"
    ledger.charge(DISK, "history", 4096)
    assert written(ledger) == {"history": 4096}
    refused = ledger.view().refused
    assert refused is not None
    assert refused.reason == "budget_not_kept"


def test_a_full_disk_refuses_and_recovers_by_itself(
    tmp_path: Path, log: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing stays reserved, what was charged is not lost, and it is told once."""
    machine = Machine(tmp_path)
    ledger = machine.daemon()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for _ in range(3):
            assert reason(ledger.reserve(DISK, "fio", 1000)) == "budget_not_kept"
        ledger.charge(DISK, "history", 4096)
        assert ledger.save() is False
        assert [path.name for path in tmp_path.iterdir()] == ["wear.lock"]
    granted(ledger.reserve(DISK, "fio", FOR_PROBES))
    assert [e["event"] for e in log] == ["wear_budget_not_kept", "wear_budget_kept_again"]
    assert ledger.view().refused is None


def test_a_second_daemon_spends_nothing_until_the_first_has_ended(tmp_path: Path) -> None:
    """Then it goes on from the first one's account, with its own charges added."""
    machine = Machine(tmp_path)
    first = machine.daemon()
    second = machine.daemon()
    first.settle(granted(first.reserve(DISK, "fio", 5000)), 5000)
    second.charge(DISK, "history", 4096)
    assert reason(second.reserve(DISK, "fio", 1)) == "state_in_use"
    assert second.save() is False
    machine.directories[0].close()
    assert reason(second.reserve(DISK, "fio", FOR_PROBES - 4999)) == "wear_budget_used"
    granted(second.reserve(DISK, "fio", FOR_PROBES - 5000))
    assert written(second) == {"fio": 5000, "history": 4096}


def test_its_own_writes_are_charged_and_cause_no_more_writes(tmp_path: Path) -> None:
    """Two pages each: in memory at once, in the file with the write that they are."""
    machine = Machine(tmp_path)
    ledger = machine.daemon()
    ledger.settle(granted(ledger.reserve(DISK, "fio", 10)), 10)
    ledger.keeps_its_file_on(DISK)
    assert written(ledger)["state"] == 2 * 8192  # from before its device was known
    ledger.save()
    assert written(ledger)["state"] == 3 * 8192
    ledger.close(30)
    ledger.save()
    machine.kill()
    assert written(machine.daemon()) == {"fio": 10, "state": 4 * 8192}


@pytest.mark.parametrize("moment", ["open", "write", "fsync", "replace"])
def test_a_kill_within_its_own_write_counts_what_that_left_on_the_drive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """It was set aside with the write before."""

    class Killed(BaseException):
        pass

    machine = Machine(tmp_path)
    ledger = machine.daemon()
    ledger.keeps_its_file_on(DISK)
    assert ledger.save()
    counted = file_counts(tmp_path)["state"]
    before = written(ledger)["state"]

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(os, moment, killed)
    with pytest.raises(Killed):
        ledger.save()
    monkeypatch.undo()
    machine.kill()
    assert written(machine.daemon())["state"] == counted == before + 8192 + 4096


def test_a_tick_waits_for_no_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one hangs, charges are taken and the accounts can be seen; both arrive later."""
    machine = Machine(tmp_path)
    ledger = machine.daemon()
    hanging, go_on = threading.Event(), threading.Event()
    real = os.fsync

    def hang(descriptor: int) -> None:
        hanging.set()
        assert go_on.wait(30)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", hang)
    answers: list[Reservation | Refused] = []
    fio = threading.Thread(target=lambda: answers.append(ledger.reserve(DISK, "fio", 1000)))
    fio.start()
    assert hanging.wait(30)
    ledger.charge(DISK, "history", 4096)
    assert written(ledger) == {"history": 4096}
    assert answers == []
    go_on.set()
    fio.join(30)
    granted(answers[0])
    ledger.save()
    machine.kill()
    assert written(machine.daemon()) == {"fio": 1000, "history": 4096}


def test_what_was_charged_is_saved_at_the_end(tmp_path: Path) -> None:
    """By the thread that saves once a minute otherwise."""
    machine = Machine(tmp_path)
    directory = StateDirectory(machine.path)
    machine.directories.append(directory)
    ledger = WearLedger(directory, structlog.get_logger(), machine.now)
    ledger.start()
    ledger.charge(DISK, "history", 4096)
    ledger.close(30)
    machine.kill()
    assert written(machine.daemon()) == {"history": 4096}


def test_threads_that_reserve_at_once_share_one_budget(tmp_path: Path) -> None:
    """No two of them get the same bytes."""
    ledger = Machine(tmp_path).daemon()
    answers: list[Reservation | Refused] = []
    size_bytes = FOR_PROBES // 4
    threads = [
        threading.Thread(target=lambda: answers.append(ledger.reserve(DISK, "fio", size_bytes)))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    got = [answer for answer in answers if isinstance(answer, Reservation)]
    assert len(got) == 4
    assert len({reservation.id for reservation in got}) == 4


def test_the_machine_tells_its_boot_and_its_uptime() -> None:
    """CLOCK_BOOTTIME goes on."""
    first, second = system_boot_time(), system_boot_time()
    assert first.boot_id == second.boot_id
    assert first.boottime_seconds <= second.boottime_seconds


step = st.one_of(
    st.tuples(st.just("reserve"), st.integers(1, FOR_PROBES)),
    st.tuples(st.just("save a file"), st.integers(0, 4 * 1024 * 1024)),
    st.tuples(st.just("settle"), st.floats(0, 1)),
    st.tuples(st.just("wait"), st.floats(0, 40000)),
    st.tuples(st.just("kill"), st.floats(0, 0.999)),
    st.tuples(st.just("reboot"), st.floats(0, 1e6)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(step, max_size=40))
def test_no_day_sees_more_than_the_limit(steps: list[tuple[str, float]]) -> None:
    """Of true time, whatever comes; what a run wrote is counted at the moments it may have been."""
    writes: list[tuple[float, int]] = []
    open_now: list[Reservation] = []
    advance: Advance | None = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)  # many runs; what is synced is not the subject
        with tempfile.TemporaryDirectory() as directory, structlog.testing.capture_logs():
            machine = Machine(directory)
            ledger = machine.daemon()
            for action, value in steps:
                if action == "reserve":
                    answer = ledger.reserve(DISK, "fio", int(value))
                    if isinstance(answer, Reservation):
                        open_now.append(answer)
                elif action == "settle" and open_now:
                    reservation = open_now.pop(0)
                    size_bytes = int(reservation.size_bytes * value)
                    ledger.settle(reservation, size_bytes)
                    writes.append((machine.passed, size_bytes))
                elif action == "save a file":
                    got = ledger.top_up(DISK, "history", advance, int(value), SPARE)
                    if not isinstance(got, Refused):
                        advance = got
                        ledger.draw(DISK, "history", advance, int(value))
                        writes.append((machine.passed, int(value)))
                elif action == "wait":
                    machine.wait(value)
                else:  # a run that is killed has written anything up to all that it may
                    writes += [(machine.passed, int(r.size_bytes * (value % 1))) for r in open_now]
                    open_now.clear()
                    advance = None
                    machine.kill()
                    if action == "reboot":
                        machine.reboot(value)
                    ledger = machine.daemon()
                assert sum(written(ledger).values()) >= sum(size for _, size in writes)
            machine.kill()
    for at, _ in writes:
        in_a_day = sum(size for when, size in writes if at - DAY_SECONDS < when <= at)
        assert in_a_day <= LIMIT


def file_counts(directory: Path) -> dict[str, int]:
    """What a start would find: what was written, and what was set aside and may have been."""
    (account,) = decode((directory / "wear.json").read_bytes()).accounts
    counts = dict(account.totals)
    for one in account.reservations:
        counts[one.purpose] = counts.get(one.purpose, 0) + one.size_bytes
    return counts


def test_small_files_are_on_record_before_they_are_written_and_rarely_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day of them costs one saving for each advance, not one for each file."""
    ledger, number, written_bytes = Machine(tmp_path).daemon(), None, 0
    saved: list[str] = []
    real = os.replace

    def replace(old: str, new: str) -> None:
        saved.append(new)
        real(old, new)

    monkeypatch.setattr(os, "replace", replace)
    for _ in range(1000):
        answer = ledger.top_up(DISK, "history", number, 69632, SPARE)
        assert isinstance(answer, Advance)
        number = answer
        assert file_counts(tmp_path)["history"] >= written_bytes + 69632
        ledger.draw(DISK, "history", number, 69632)
        written_bytes += 69632
    assert written(ledger) == {"history": written_bytes}
    assert len(saved) <= 1 + written_bytes / SPARE


def test_a_kill_counts_what_was_set_aside_once_and_nothing_too_little(tmp_path: Path) -> None:
    """At any moment between two savings; the counter of what was written never goes back."""
    machine = Machine(tmp_path)
    counted = written_bytes = 0
    for life in range(5):
        ledger = machine.daemon()
        number = ledger.top_up(DISK, "history", None, 8192, SPARE)
        assert isinstance(number, Advance)
        for _ in range(life * 7):
            number = ledger.top_up(DISK, "history", number, 8192, SPARE)
            assert isinstance(number, Advance)
            ledger.draw(DISK, "history", number, 8192)
            written_bytes += 8192
        assert written(ledger).get("history", 0) >= counted
        machine.kill()
        counted = file_counts(tmp_path)["history"]
        assert written_bytes <= counted <= written_bytes + (life + 1) * (8192 + SPARE)
    assert written(machine.daemon())["history"] == counted


def test_what_is_set_aside_for_the_next_time_needs_no_waiting_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on record before it is asked for, also where something else had it saved."""
    machine = Machine(tmp_path)
    directory = StateDirectory(machine.path)
    machine.directories.append(directory)
    ledger = WearLedger(directory, structlog.get_logger(), machine.now)
    ledger.start()
    ledger.open_account(DISK, SMALL_DISK)
    first = ledger.top_up(DISK, "history", None, 8192, 0)
    assert isinstance(first, Advance)
    ledger.draw(DISK, "history", first, 8192)
    second = ledger.top_up(DISK, "history", first, 8192, 0, wait=False)
    assert isinstance(second, Advance)
    granted(ledger.reserve(DISK, "fio", 1000))

    def fail(_: int) -> None:
        raise AssertionError("nothing is saved any more")

    monkeypatch.setattr(os, "fsync", fail)
    assert ledger.top_up(DISK, "history", second, 8192, 0) == second
    monkeypatch.undo()
    assert file_counts(tmp_path)["history"] == 2 * 8192
    ledger.close(30)


def test_a_ledger_on_a_dead_disk_holds_up_no_file_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for a while, and goes on; its bytes are saved when the disk is back."""
    machine = Machine(tmp_path)
    directory = StateDirectory(machine.path)
    machine.directories.append(directory)
    ledger = WearLedger(directory, structlog.get_logger(), machine.now)
    ledger.start()
    ledger.open_account(DISK, SMALL_DISK)
    go_on, real = threading.Event(), os.fsync

    def hang(descriptor: int) -> None:
        assert go_on.wait(30)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", hang)
    monkeypatch.setattr(ledger_module, "ADVANCE_SECONDS", 0.1)
    for _ in range(3):
        number = ledger.top_up(DISK, "textfile", None, 8192, 0)
        assert isinstance(number, Advance)
        ledger.draw(DISK, "textfile", number, 8192)
    assert list(tmp_path.glob("wear.json")) == []
    go_on.set()
    ledger.close(30)
    assert file_counts(tmp_path)["textfile"] >= 3 * 8192


def test_a_clean_end_gives_back_what_was_not_written(tmp_path: Path) -> None:
    """To the byte."""
    machine = Machine(tmp_path)
    directory = StateDirectory(machine.path)
    machine.directories.append(directory)
    ledger = WearLedger(directory, structlog.get_logger(), machine.now)
    ledger.start()
    ledger.open_account(DISK, SMALL_DISK)
    number = ledger.top_up(DISK, "history", None, 8192, SPARE)
    assert isinstance(number, Advance)
    ledger.draw(DISK, "history", number, 4096)
    ledger.give_back(DISK, number)
    ledger.close(30)
    refused = ledger.top_up(DISK, "history", None, 1, 0)
    machine.kill()

    assert isinstance(refused, Refused)
    assert file_counts(tmp_path) == {"history": 4096}


def test_what_goes_beyond_an_advance_is_counted_and_saved_at_once(tmp_path: Path) -> None:
    """Not with the next minute."""
    machine = Machine(tmp_path)
    directory = StateDirectory(machine.path)
    machine.directories.append(directory)
    ledger = WearLedger(directory, structlog.get_logger(), machine.now)
    ledger.start()
    ledger.open_account(DISK, SMALL_DISK)
    number = ledger.top_up(DISK, "history", None, 8192, SPARE)
    assert isinstance(number, Advance)
    ledger.draw(DISK, "history", number, 10**7)

    give_up = time.monotonic() + 30
    while file_counts(tmp_path)["history"] < 10**7 and time.monotonic() < give_up:
        time.sleep(0.01)
    assert file_counts(tmp_path) == {"history": 10**7}
    ledger.close(30)


def test_fio_cannot_take_the_share_of_files_nor_they_what_is_never_refused(tmp_path: Path) -> None:
    """Files may take what fio leaves."""
    ledger = Machine(tmp_path).daemon()
    assert reason(ledger.reserve(DISK, "fio", FOR_PROBES + 1)) == "over_daily_limit"
    ledger.settle(granted(ledger.reserve(DISK, "fio", FOR_PROBES)), FOR_PROBES)
    assert reason(ledger.reserve(DISK, "fio", 1)) == "wear_budget_used"
    left = files_share_bytes(LIMIT) - VITAL_BYTES
    number = ledger.top_up(DISK, "history", None, left, 0)
    assert isinstance(number, Advance)
    ledger.draw(DISK, "history", number, left)
    refused = ledger.top_up(DISK, "history", None, 1, 0)
    assert isinstance(refused, Refused)
    assert refused.reason == "wear_budget_used"
    vital = ledger.top_up(DISK, "state", None, 2 * VITAL_BYTES, 0, vital=True)
    assert isinstance(vital, Advance)
    assert remaining(ledger) == 0


def test_files_go_on_where_the_account_was_lost_and_where_it_cannot_be_kept(
    tmp_path: Path,
) -> None:
    """Only probes wait."""
    (tmp_path / "wear.json").write_bytes(b"{")
    for ledger in (Machine(tmp_path).daemon(), Machine(None).daemon()):
        number = ledger.top_up(DISK, "history", None, 8192, SPARE)
        assert isinstance(number, Advance)
        ledger.draw(DISK, "history", number, 8192)
        assert written(ledger) == {"history": 8192}


def test_a_receipt_that_a_killed_daemon_charged_is_not_charged_again(tmp_path: Path) -> None:
    """It was killed after the saving, before the receipt was gone."""
    machine = Machine(tmp_path)
    first = machine.daemon()
    path = Path(leave_receipt(str(tmp_path), Receipt(DISK, SMALL_DISK, "calibrate", 5000)))
    content = path.read_bytes()
    first._take_receipts()
    path.write_bytes(content)
    path.chmod(0o600)
    machine.kill()
    second = machine.daemon()
    second._take_receipts()
    assert written(second)["calibrate"] == 5000
    assert second.save()
    assert list(tmp_path.glob("written-*")) == []


@pytest.mark.parametrize(("purpose", "times"), [("command", 1), ("fio", 2)])
def test_a_receipt_is_on_the_account_that_it_lies_on(
    tmp_path: Path, purpose: str, times: int
) -> None:
    """Two pages: its own and the directory's; a run's is written before it and after it."""
    ledger = Machine(tmp_path).daemon()
    ledger.keeps_its_file_on(DISK)
    leave_receipt(str(tmp_path), Receipt(DISK, SMALL_DISK, purpose, 5000))
    ledger._take_receipts()
    of_the_record = 8192
    assert written(ledger) == {purpose: 5000, "state": times * 8192 + of_the_record}


def test_what_a_command_wrote_is_charged_once_and_its_receipt_goes_when_it_is_kept(
    tmp_path: Path,
) -> None:
    """A disk that is full keeps both waiting; the next daemon counts it once, too."""
    machine = Machine(tmp_path)
    first = machine.daemon()
    first.save()
    leave_receipt(str(tmp_path), Receipt(DISK, SMALL_DISK, "calibrate", 5 * 10**6))
    before = remaining(first)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        first._take_receipts()
        first._take_receipts()
    assert written(first)["calibrate"] == 5 * 10**6
    assert len(list(tmp_path.glob("written-*"))) == 1
    first._take_receipts()
    assert before - remaining(first) == 5 * 10**6
    assert list(tmp_path.glob("written-*")) == []
    machine.kill()
    second = machine.daemon()
    second._take_receipts()
    assert written(second)["calibrate"] == 5 * 10**6


def test_what_a_command_has_reserved_counts_before_a_run_is_granted(tmp_path: Path) -> None:
    """Not only when the daemon next looks for receipts."""
    ledger = Machine(tmp_path).daemon()
    leave_receipt(str(tmp_path), Receipt(DISK, SMALL_DISK, "fio", FOR_PROBES - 999))
    assert reason(ledger.reserve(DISK, "fio", 1000)) == "wear_budget_used"
    granted(ledger.reserve(DISK, "fio", 999))
    ledger._take_receipts()
    assert written(ledger) == {"fio": FOR_PROBES - 999}
    assert list(tmp_path.glob("written-*")) == []


def test_while_a_command_reserves_no_run_is_granted_and_nobody_waits(tmp_path: Path) -> None:
    """Its receipts are not touched either, and everything else goes on."""
    ledger = Machine(tmp_path).daemon()
    leave_receipt(str(tmp_path), Receipt(DISK, SMALL_DISK, "fio", 5000))
    with account_lock(str(tmp_path)) as obstacle:
        assert obstacle is None
        assert reason(ledger.reserve(DISK, "fio", 1000)) == "wear_account_busy"
        ledger._take_receipts()
        ledger.charge(DISK, "history", 4096)
        assert ledger.save()
        assert written(ledger) == {"history": 4096}
        assert len(list(tmp_path.glob("written-*"))) == 1
    granted(ledger.reserve(DISK, "fio", 1000))
    assert written(ledger) == {"history": 4096, "fio": 5000}


def test_more_receipts_than_are_taken_at_once_count_all_and_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after weeks of commands without a daemon: no run is granted by those not looked at."""
    monkeypatch.setattr(receipts, "MAX_RECEIPTS", 2)
    ledger = Machine(tmp_path).daemon()
    for _ in range(7):
        leave_receipt(str(tmp_path), Receipt(DISK, SMALL_DISK, "fio", FOR_PROBES // 8))
    assert reason(ledger.reserve(DISK, "fio", FOR_PROBES // 8 + 8)) == "wear_budget_used"
    assert ledger.save()
    assert len(decode((tmp_path / "wear.json").read_bytes()).receipts) == 2
    for _ in range(4):
        ledger._take_receipts()
    assert written(ledger) == {"fio": 7 * (FOR_PROBES // 8)}
    assert list(tmp_path.glob("written-*")) == []


def test_a_child_that_inherited_the_lock_does_not_keep_it(tmp_path: Path) -> None:
    """Another thread's, which hangs on a dead disk before it becomes fio."""
    with account_lock(str(tmp_path)) as obstacle:
        assert obstacle is None
        (number,) = (
            int(entry.name)
            for entry in os.scandir("/proc/self/fd")
            if os.path.realpath(entry.path) == str(tmp_path / "wear.lock")
        )
        inherited = os.dup(number)
    with account_lock(str(tmp_path)) as obstacle:
        assert obstacle is None
    os.close(inherited)


@pytest.mark.parametrize("kind", ["link", "a database"])
def test_accounts_that_cannot_be_locked_allow_no_run(tmp_path: Path, kind: str) -> None:
    """What lies in the lock's place is neither followed nor written."""
    ledger = Machine(tmp_path).daemon()
    lock = tmp_path / "wear.lock"
    if kind == "link":
        lock.symlink_to(tmp_path / "elsewhere")
    else:
        (tmp_path / "CURRENT").write_text("MANIFEST-000001\n")
        (tmp_path / "MANIFEST-000001").touch()
        (tmp_path / "IDENTITY").touch()
    answer = ledger.reserve(DISK, "fio", 1000)
    assert isinstance(answer, Refused)
    assert answer.reason == "budget_not_kept"
    assert "wear.lock" in answer.detail
    assert not (tmp_path / "elsewhere").exists()
    assert kind == "link" or not lock.exists()


def test_a_pipe_in_the_place_of_the_lock_holds_up_nobody(tmp_path: Path) -> None:
    """It can be locked like any file."""
    os.mkfifo(tmp_path / "wear.lock")
    granted(Machine(tmp_path).daemon().reserve(DISK, "fio", 1000))


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"device":"d","device_size_bytes":1,"purpose":"fio","written_bytes":-5}'],
)
def test_a_receipt_that_is_none_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """Nothing is charged, least of all negative amounts, and other people's files stay."""
    ledger = Machine(tmp_path).daemon()
    (tmp_path / "written-0.json").write_bytes(content)
    before = remaining(ledger)
    ledger._take_receipts()
    assert ledger.save()
    assert remaining(ledger) == before
    assert (tmp_path / "written-0.json").exists()
