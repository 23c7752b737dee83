"""The agent's own files: on record before they are written, on the device that they lie on."""

import errno
import os
import tempfile
from pathlib import Path
from typing import cast

import pytest
import structlog

from agent.atomic_file import AtomicFile
from agent.state_directory import StateDirectory
from agent.wear import own_files as own_files_module
from agent.wear.budget import LEAST_DAILY_BYTES, VITAL_BYTES, largest_spare_bytes
from agent.wear.ledger import Logger, WearLedger
from agent.wear.own_files import Carrier, OwnFiles, carrier_of
from agent.wear.record import decode
from probes.clock import SystemClock

DISK = Carrier("model/1000000000", "sda", 10**9)
OTHER = Carrier("other/1000000000", "sdb", 10**9)


class Host:
    """A ledger in a directory on a disk; the other directories lie where the test says."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.carriers: dict[str, Carrier | None] = {str(directory): DISK}
        monkeypatch.setattr(
            own_files_module, "carrier_of", lambda path, clock: self.carriers.get(path)
        )
        self.path = directory
        self.capture = structlog.testing.LogCapture()
        log = cast(Logger, structlog.wrap_logger(None, processors=[self.capture]))
        self.ledger = WearLedger(StateDirectory(str(directory)), log)
        self.ledger.load()
        self.files = OwnFiles(self.ledger, SystemClock(), log)

    def written(self, carrier: Carrier = DISK) -> dict[str, int]:
        accounts = {account.device: account for account in self.ledger.view().accounts}
        return dict(accounts[carrier.key].written_bytes) if carrier.key in accounts else {}

    def use_up(self, carrier: Carrier = DISK) -> None:
        """All that files may have, and what is never refused besides."""
        self.ledger.charge(carrier.key, "history", LEAST_DAILY_BYTES - VITAL_BYTES)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_a_file_is_on_record_before_its_first_byte(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As much of it as will be written, or more; afterwards what was."""
    file = AtomicFile(str(host.path), "learned.json")
    file.budget = host.files.budget(str(host.path), "state")
    on_record: list[int] = []
    real = os.write

    def write(descriptor: int, content: bytes) -> int:
        if bytes(content) == b"x" * 5000:
            (account,) = decode((host.path / "wear.json").read_bytes()).accounts
            on_record.append(account.reserved_bytes)
        return real(descriptor, content)

    monkeypatch.setattr(os, "write", write)
    file.write(b"x" * 5000)

    assert on_record == [3 * 4096]
    assert host.written() == {"state": 3 * 4096}
    assert host.files.names == {DISK.key: "sda"}


def test_what_is_set_aside_grows_with_what_was_written(host: Host) -> None:
    """A run that is killed in its first seconds wastes little, one of hours saves rarely."""
    budget = host.files.budget(str(host.path), "history")
    wasted, saved = [], 0
    for _ in range(1000):
        before = (host.path / "wear.json").stat().st_ino if saved else None
        assert budget.ask(8192) is None
        saved += (host.path / "wear.json").stat().st_ino != before
        budget.done(8192)
        (account,) = host.ledger.view().accounts
        wasted.append(account.reserved_bytes)

    assert wasted[:4] == [2 * 8192, 8192, 4 * 8192, 3 * 8192]
    assert max(wasted) <= 8192 + largest_spare_bytes(LEAST_DAILY_BYTES)
    assert saved <= 1000 * 8192 / largest_spare_bytes(LEAST_DAILY_BYTES) + 8


@pytest.mark.parametrize("drive_bytes", [10**9, 10**12])
def test_a_days_history_costs_the_account_little(
    host: Host, monkeypatch: pytest.MonkeyPatch, drive_bytes: int
) -> None:
    """As the recorder asks: 256 KiB for a commit a minute, and once in an hour 4 MiB besides."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # hundreds; what is synced is not the subject
    disk = Carrier("model/of this size", "sda", drive_bytes)
    host.carriers[str(host.path)] = disk
    host.ledger.keeps_its_file_on(disk.key)
    budget = host.files.budget(str(host.path), "history")
    for minute in range(1440):
        checkpoint_bytes = 4 * 1024**2 if minute % 60 == 59 else 0
        assert budget.ask(256 * 1024 + checkpoint_bytes) is None
        budget.done(99 * 10**6 // 1440)

    written = host.written(disk)
    assert written["history"] == pytest.approx(99e6, rel=0.001)
    assert written["state"] < 350_000


def test_a_file_that_the_budget_does_not_allow_stays_as_it_was(host: Host) -> None:
    """Until there is budget again; what is vital is written all the same, and counted."""
    file, vital = (AtomicFile(str(host.path), name) for name in ("learned.json", "alerts.json"))
    file.budget = host.files.budget(str(host.path), "state")
    vital.budget = host.files.budget(str(host.path), "state", vital=True)
    file.write(b"old")
    before = host.written()["state"]
    host.use_up()
    with pytest.raises(OSError, match="all it may within 24 hours") as caught:
        file.write(b"new" * 10**6)
    vital.write(b"an alert")

    assert caught.value.errno == errno.EDQUOT
    assert file.read(10) == b"old"
    assert vital.read(10) == b"an alert"
    assert host.written()["state"] == before + 8192


def test_what_failed_counts_as_far_as_it_came(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory's page and the file's, where it was the sync that failed."""
    file = AtomicFile(str(host.path), "learned.json")
    file.budget = host.files.budget(str(host.path), "state")
    file.write(b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        file.write(b"new")

    assert host.written() == {"state": 2 * 8192}


def test_a_textfile_that_moves_takes_its_account_with_it(host: Host, tmp_path: Path) -> None:
    """What the old place's device was told stays there, and grows no more."""
    host.carriers |= {"/old": DISK, "/new": OTHER}
    for place in ("/old", "/new", "/new"):
        budget = host.files.budget(place, "textfile")
        for _ in range(2):
            assert budget.ask(10_000) is None
            budget.done(10_000)
        budget.close()

    assert [account.reserved_bytes for account in host.ledger.view().accounts] == [0, 0]
    assert host.files._budgets == {}
    assert host.written() == {"textfile": 20_000}
    assert host.written(OTHER) == {"textfile": 40_000}
    assert host.files.names == {DISK.key: "sda", OTHER.key: "sdb"}


def test_the_end_gives_back_all_but_what_is_being_written(host: Host) -> None:
    """A thread that hangs on its device may still write what it was granted."""
    ended, hanging = (host.files.budget(str(host.path), "history") for _ in range(2))
    assert ended.ask(4096) is None
    ended.done(1000)
    assert hanging.ask(4096) is None
    host.files.close()

    (account,) = host.ledger.view().accounts
    assert account.reserved_bytes == 4096
    hanging.done(4096)
    assert host.written() == {"history": 5096}


def test_what_lies_in_memory_or_nowhere_is_free_and_told_once(host: Host) -> None:
    """A directory that is made later is found then."""
    budget = host.files.budget("/later", "textfile")
    for _ in range(3):
        assert budget.ask(4096) is None
        budget.done(4096)
    told = [entry["directory"] for entry in host.capture.entries]
    host.carriers["/later"] = DISK
    assert budget.ask(4096) is None
    budget.done(4096)

    assert told == ["/later"]
    assert host.written() == {"textfile": 4096}


def test_a_directory_lies_on_its_device_its_file_system_or_nothing() -> None:
    """This machine's own: a file system in memory wears nothing out, any other is counted."""
    clock = SystemClock()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        found = carrier_of(place, clock)
    assert found is not None
    assert found.name
    assert carrier_of("/dev/shm", clock) is None  # noqa: S108 - only looked at
    assert carrier_of("/nonexistent", clock) is None
    proc = carrier_of("/proc", clock)
    assert proc == Carrier("proc on /proc", "proc on /proc", 0)
