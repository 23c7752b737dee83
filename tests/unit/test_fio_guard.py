"""The guard beside fio: what counts as harm, and that a harmful run is ended."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from probes.errors import NoData
from probes.fio import FioLimits, FioMode, FioProbe
from probes.fio_guard import FioGuard, GuardedDatabase, own_pressure_path
from probes.samples import FioSample
from tests.unit.test_fio import CAPTURED, MIB, fake_fio

DATA = Path(__file__).parents[1] / "data" / "proc"
STALL = (
    "2026/11/21-09:00:00 7f00 [WARN] [/column_family.cc:991] [default] Stopping writes because\n"
)
LIMITS = FioLimits(256 * MIB, 30.0, None)


class Steps:
    """A clock that passes only while the guard sleeps, and what happens meanwhile."""

    def __init__(self, step: Callable[[], None] = lambda: None) -> None:
        self.now = 0.0
        self.step = step

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.step()


class Host:
    """One database's directory, LOG and pressure file, written to step by step."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "LOG"
        self.log.write_text(STALL + "an old stall is no harm now\n")
        self.wal = directory / "000010.log"
        self.wal.write_bytes(b"x" * 1000)
        self.pressure = directory / "io.pressure"
        self.bytes_per_step = 50_000
        self.stalled_seconds = 5.0
        self.stalled_per_step = 0.005
        self.steps = Steps(self.happen)
        self.happen()
        self.guard = FioGuard(
            [GuardedDatabase(str(self.log), str(directory), str(self.pressure))],
            self.steps,
            sleep=self.steps.sleep,
        )

    def happen(self) -> None:
        with self.wal.open("ab") as file:
            file.write(b"x" * self.bytes_per_step)
        self.stalled_seconds += self.stalled_per_step
        micros = round(self.stalled_seconds * 1e6)
        line = f"avg10=0.00 avg60=0.00 avg300=0.00 total={micros}\n"
        self.pressure.write_text(f"some {line}full {line}")

    def add_to_log(self, text: str) -> None:
        with self.log.open("a") as log:
            log.write(text)

    def looks(self, count: int = 20) -> str | None:
        for _ in range(count):
            harm = self.guard.look()
            if harm is not None:
                return harm
            self.steps.sleep(0.05)
        return None


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    one = Host(tmp_path)
    yield one
    one.guard.close()


def test_a_database_that_goes_on_as_before_is_not_harmed(host: Host) -> None:
    """Nor by what its LOG said before."""
    assert host.guard.settle() is None
    assert host.looks() is None


@pytest.mark.parametrize("words", ["Stopping writes", "Stalling writes"])
def test_a_new_stall_line_is_harm(host: Host, words: str) -> None:
    """Also when it is cut by the end of what was written so far."""
    assert host.guard.settle() is None
    host.add_to_log(f"[WARN] [default] {words[:6]}")
    assert host.guard.look() is None
    host.add_to_log(f"{words[6:]} because\n")
    harm = host.guard.look()
    assert harm is not None
    assert words in harm


def test_a_stall_before_fio_starts_is_seen_while_settling(host: Host) -> None:
    """Then fio need not be started at all."""
    host.steps.step = lambda: host.add_to_log(STALL)
    assert host.guard.settle() is not None


def test_a_rotated_log_is_followed(host: Host) -> None:
    """The old one to its end, and the new one from its beginning."""
    assert host.guard.settle() is None
    host.log.rename(host.directory / "LOG.old.1")
    assert host.guard.look() is None
    host.log.write_text("RocksDB version: 8\n")
    assert host.guard.look() is None
    host.add_to_log(STALL)
    assert host.guard.look() is not None


@pytest.mark.parametrize("place", ["LOG", "000010.log", "io.pressure"])
def test_a_pipe_in_a_files_place_is_no_evidence_and_no_hang(tmp_path: Path, place: str) -> None:
    """Whoever put it there."""
    host = Host(tmp_path)
    host.guard.close()
    (tmp_path / place).unlink()
    os.mkfifo(tmp_path / place)
    host.steps.step = lambda: None
    guard = FioGuard(
        [GuardedDatabase(str(host.log), str(tmp_path), None)], host.steps, sleep=host.steps.sleep
    )
    assert guard.settle() is None
    assert guard.look() is None


def test_a_wal_that_stops_growing_is_harm(host: Host) -> None:
    """Where it grew steadily before."""
    assert host.guard.settle() is None
    host.bytes_per_step = 5_000
    harm = host.looks()
    assert harm is not None
    assert "WAL" in harm


def test_a_new_wal_is_growth_of_the_old_one(host: Host) -> None:
    """A memtable switch is no collapse."""
    assert host.guard.settle() is None
    host.wal = host.directory / "000012.log"
    host.wal.write_bytes(b"")
    assert host.looks() is None


@pytest.mark.parametrize("before", ["idle", "unsteady"])
def test_without_a_steady_growth_before_nothing_is_concluded(host: Host, before: str) -> None:
    """A database that writes in bursts pauses by itself."""
    if before == "idle":
        host.bytes_per_step = 100
    else:
        happen = host.happen
        steps = iter(range(1000))

        def in_bursts() -> None:
            host.bytes_per_step = 500_000 if next(steps) % 8 == 0 else 0
            happen()

        host.steps.step = in_bursts
    assert host.guard.settle() is None
    host.steps.step = host.happen
    host.bytes_per_step = 0
    assert host.looks() is None


@pytest.mark.parametrize(
    ("before", "during", "harmful"),
    [(0.005, 0.049, True), (0.005, 0.03, False), (0.04, 0.05, False)],
)
def test_pressure_far_above_what_it_was_is_harm(
    host: Host, before: float, during: float, *, harmful: bool
) -> None:
    """Not pressure as such: a busy database always waits."""
    host.stalled_per_step = before
    assert host.guard.settle() is None
    host.stalled_per_step = during
    assert (host.looks() is not None) is harmful


def test_what_is_absent_or_vanishes_is_no_evidence(host: Host) -> None:
    """A database may be closed while fio runs."""
    assert host.guard.settle() is None
    host.steps.step = lambda: None
    for path in list(host.directory.iterdir()):
        path.unlink()
    host.looks()
    absent = str(host.directory / "absent")
    guard = FioGuard([GuardedDatabase(absent, absent, absent)], host.steps, sleep=host.steps.sleep)
    assert guard.settle() is None
    assert guard.look() is None


def test_a_directory_that_changes_all_the_time_is_not_listed_all_the_time(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compactions make and remove files beside a WAL that stands still."""
    listed: list[float] = []
    listdir = os.listdir

    def count(path: str) -> list[str]:
        listed.append(host.steps.now)
        return listdir(path)

    def change() -> None:
        os.utime(host.directory, ns=(0, round(host.steps.now * 1e9)))

    monkeypatch.setattr("probes.guard_meters.os.listdir", count)
    host.steps.step = change
    assert host.guard.settle() is None
    assert host.looks(180) is None
    assert host.steps.now >= 10
    assert 45 <= len(listed) <= 60


def test_a_new_wal_right_after_another_change_is_followed(host: Host) -> None:
    """A look without growth listed the directory for nothing just before."""
    assert host.guard.settle() is None
    (host.directory / "000011.sst").touch()
    assert host.guard.look() is None
    assert host.guard.look() is None
    host.wal = host.directory / "000012.log"
    host.wal.write_bytes(b"")
    host.steps.sleep(0.05)
    assert host.looks() is None


@pytest.mark.parametrize("looks_per_wal", [1, 2, 9])
def test_wals_that_follow_each_other_fast_are_no_collapse(host: Host, looks_per_wal: int) -> None:
    """A memtable of 1 MiB at megabytes a second; what cannot be followed is no evidence."""
    assert host.guard.settle() is None
    write, looks = host.steps.step, 0

    def switch() -> None:
        nonlocal looks
        looks += 1
        if looks % looks_per_wal == 0:
            host.wal = host.directory / f"{100 + looks:06}.log"
            host.wal.write_bytes(b"")
        os.utime(host.directory, ns=(0, round(host.steps.now * 1e9)))
        write()

    host.steps.step = switch
    assert host.looks(200) is None


def test_closing_waits_for_no_look_and_leaves_no_descriptor(host: Host) -> None:
    """A look that hangs on a device gives the descriptors back when it ends."""
    begun, go_on = threading.Event(), threading.Event()

    def hang(path: str, limit: int) -> bytes:
        begun.set()
        go_on.wait(60)
        raise FileNotFoundError(path, limit)

    before = len(os.listdir("/proc/self/fd"))
    guarded = GuardedDatabase(str(host.log), None, str(host.pressure))
    guard = FioGuard([guarded], host.steps, read_file=hang)
    looking = threading.Thread(target=guard.look, daemon=True)
    looking.start()
    try:
        assert begun.wait(20)
        guard.close()
        assert len(os.listdir("/proc/self/fd")) == before + 1
    finally:
        go_on.set()
    looking.join(20)
    assert len(os.listdir("/proc/self/fd")) == before
    assert guard.look() is None
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_descriptor_stays_open(host: Host) -> None:
    """A guard is made for every run."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        guard = FioGuard([GuardedDatabase(str(host.log), None, None)], host.steps)
        guard.close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("name", "mount_point"),
    [("cgroup-v2-systemd", "/sys/fs/cgroup"), ("cgroup-v2-container", "/host/sys/fs/cgroup")],
)
def test_a_database_of_another_group_tells_by_its_own_pressure(name: str, mount_point: str) -> None:
    """Of a service in two slices, from another service and from a container."""
    root = DATA / name
    pid = next(int(found.name) for found in (root / "proc").iterdir() if found.name.isdigit())
    found = own_pressure_path(pid, str(root / "proc"), str(root))
    group = "db.slice/db-orders.slice/orders.service"
    assert found == f"{root}{mount_point}/{group}/io.pressure"


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        ("/system.slice/smaxd", "/db", True),
        ("/db", "/db", False),
        ("/db/agent", "/db", False),
        ("/db", "/db/orders", True),
        ("/dbs", "/db", True),
        ("/db", "/no-pressure", False),
        ("/db", "/nowhere", False),
        ("/", "/..", False),
        ("/../x", "/..", False),
        ("/agent", "/", False),
    ],
)
def test_only_a_group_without_the_agent_tells_of_the_database(
    tmp_path: Path, ours: str, theirs: str, told: bool
) -> None:
    """In a common group fio's own waiting would count."""
    proc = tmp_path / "proc"
    for process, group in (("self", ours), ("7", theirs)):
        (proc / process).mkdir(parents=True)
        (proc / process / "cgroup").write_text(f"4:memory:/m\n0::{group}\n")
    root, top = ("/..", "/..") if ".." in theirs else ("/", "")
    (proc / "self" / "mountinfo").write_text(f"31 23 0:26 {root} /tree rw - cgroup2 cgroup2 rw\n")
    below = tmp_path / "tree" / theirs.removeprefix(top).lstrip("/")
    if theirs != "/nowhere":
        below.mkdir(parents=True)
    if theirs not in {"/nowhere", "/no-pressure"}:
        (below / "io.pressure").touch()
    found = own_pressure_path(7, str(proc), str(tmp_path))
    assert found == (f"{below}/io.pressure" if told else None)


def test_a_process_that_ended_has_no_pressure(tmp_path: Path) -> None:
    """Nor has one where there are no control groups."""
    (tmp_path / "self").mkdir()
    assert own_pressure_path(7, str(tmp_path), str(tmp_path)) is None
    for process in ("7", "self"):
        (tmp_path / process).mkdir(exist_ok=True)
        (tmp_path / process / "cgroup").write_text("")
    assert own_pressure_path(7, str(tmp_path), str(tmp_path)) is None


def aborted_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> tuple[FioProbe, Callable[[], FioSample]]:
    """A fio that writes ``ready`` when it runs; a stall line appears then."""
    monkeypatch.setattr("probes.fio_guard.SETTLE_SECONDS", 0.0)
    fake_fio(tmp_path, f"touch {tmp_path}/ready; {script}", monkeypatch)
    scratch = tmp_path / "scratch"
    scratch.mkdir(mode=0o700)
    log = tmp_path / "LOG"
    log.touch()
    probe = FioProbe(
        str(scratch),
        SystemClock(),
        ProcessGroupRunner(),
        FioMode.FAST,
        LIMITS,
        guard=FioGuard([GuardedDatabase(str(log), None, None)], SystemClock()),
    )

    def stall() -> None:
        give_up = time.monotonic() + 20
        while not (tmp_path / "ready").exists() and time.monotonic() < give_up:
            time.sleep(0.01)
        with log.open("a") as file:
            file.write(STALL)

    def read() -> FioSample:
        thread = threading.Thread(target=stall)
        thread.start()
        try:
            return probe.read()
        finally:
            thread.join(20)

    return probe, read


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "])
def test_a_harmful_fio_is_ended_and_measures_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    """Also one that ignores SIGTERM; it counts as having written all that it might have."""
    probe, read = aborted_run(
        tmp_path, monkeypatch, f"{trap}for i in 1 2 3 4 5 6 7 8 9; do sleep 30; done"
    )
    with pytest.raises(NoData) as caught:
        read()
    assert caught.value.reason == "aborted"
    assert "Stopping writes" in caught.value.detail
    assert probe.written_bytes_total == LIMITS.size_bytes
    assert os.listdir(tmp_path / "scratch") == []


@pytest.mark.parametrize(("least", "bound"), [(MIB, True), (1024 * MIB, False)])
def test_a_report_of_enough_bytes_gives_a_labelled_lower_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int, *, bound: bool
) -> None:
    """fio reports what it did when SIGTERM comes; a little of it bounds nothing."""
    monkeypatch.setattr("probes.fio.LEAST_ABORTED_BYTES", least)
    monkeypatch.setattr("probes.fio.LEAST_ABORTED_SECONDS", 0.1)
    report = CAPTURED / "terminated.stdout"
    script = f"trap 'cat {report}; exit 128' TERM; while :; do sleep 0.02; done"
    probe, read = aborted_run(tmp_path, monkeypatch, script)
    if not bound:
        with pytest.raises(NoData, match="aborted"):
            read()
        return
    sample = read()
    assert sample.aborted is not None
    assert sample.lower_bound
    assert probe.written_bytes_total == sample.written_bytes


def test_a_database_that_stalls_beforehand_keeps_fio_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written, not even a scratch file."""
    probe, _ = aborted_run(tmp_path, monkeypatch, "true")
    with (tmp_path / "LOG").open("a") as file:
        file.write(STALL)
    with pytest.raises(NoData, match="not started"):
        probe.read()
    assert not (tmp_path / "ready").exists()
    assert probe.written_bytes_total == 0
