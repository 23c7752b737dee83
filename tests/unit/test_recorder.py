"""Writing a recording: beside the tick, within its limit, never into a database."""

import os
import resource
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import structlog
from structlog.testing import LogCapture

from agent.commands.run import record_to
from agent.findings import Findings
from agent.host_state import HostState
from agent.host_watch import HostWatch
from agent.loop import Logger, Loop, Published
from agent.main import RecordTo
from agent.recording.recorder import (
    BETWEEN_FLUSHES_BYTES,
    MEBIBYTE,
    QUEUED_TICKS,
    Recorder,
    RecordError,
    host_facts,
)
from agent.recording.recording import as_recorded, open_recording
from agent.simulator import InlineSimulator
from probes.clock import SystemClock
from tests.unit.agent_samples import database_findings, findings_of, on_device
from tests.unit.budgets import Budget
from tests.unit.dead_disk import hanging
from tests.unit.patience import eventually
from tests.unit.recordings import HEADER, captured_ticks

SOON = 20.0
"""Seconds that nothing here takes, unless it hangs."""


@pytest.fixture
def lines() -> LogCapture:
    return LogCapture()


def recorder_of(
    path: Path,
    lines: LogCapture,
    limit_bytes: int = MEBIBYTE,
    databases: tuple[str, ...] = (),
    budget: Budget | None = None,
) -> Recorder:
    log = cast(Logger, structlog.wrap_logger(None, processors=[lines]))
    return Recorder(
        str(path),
        HEADER,
        log,
        budget or Budget(),
        limit_bytes=limit_bytes,
        database_paths=databases,
    )


def recorded(recorder: Recorder, ticks: tuple[Findings, ...]) -> None:
    """Record these ticks, one after the other."""
    recorder.start(SOON)
    for tick in ticks:
        recorder.take(tick)
    recorder.close(SOON)


def ending(lines: LogCapture) -> list[object]:
    """What the log says after its first line, without the number of bytes."""
    return [(line["event"], line.get("reason")) for line in lines.entries[1:]]


def test_a_recording_can_be_read_back(tmp_path: Path, lines: LogCapture) -> None:
    """Header, every tick, and a proper end."""
    path, ticks = tmp_path / "x.rec", captured_ticks("v9.8.4")
    recorded(recorder_of(path, lines), ticks)
    recording = open_recording(str(path))

    assert list(map(as_recorded, ticks)) == list(recording)
    assert recording.header == HEADER
    assert recording.end == "stopped"
    assert [line["event"] for line in lines.entries] == ["recording"]


def test_what_is_recorded_is_asked_for_before_and_told_afterwards(
    tmp_path: Path, lines: LogCapture
) -> None:
    """To the byte."""
    budget, path = Budget(), tmp_path / "x.rec"
    recorded(recorder_of(path, lines, budget=budget), captured_ticks("v9.8.4"))

    assert len(budget.asked) >= 2
    assert set(budget.asked) == {BETWEEN_FLUSHES_BYTES}
    assert sum(budget.written) == path.stat().st_size


def test_a_recording_ends_where_the_budget_does(tmp_path: Path, lines: LogCapture) -> None:
    """In the open, and as a file that can be read."""

    class UsedUp(Budget):
        def ask(self, size_bytes: int) -> str | None:
            return super().ask(size_bytes) if len(self.asked) < 2 else "all of it is used"

    path = tmp_path / "x.rec"
    recorded(recorder_of(path, lines, budget=UsedUp()), captured_ticks("v9.8.4"))
    recording = open_recording(str(path))

    assert 0 < len(list(recording)) < len(captured_ticks("v9.8.4"))
    assert recording.end == "wear_budget_used"
    assert ending(lines) == [("recording_stopped", "all of it is used")]


def test_only_the_owner_may_read_it(tmp_path: Path, lines: LogCapture) -> None:
    """Paths, names and loads of a database are nobody else's business."""
    before = os.umask(0)
    try:
        recorded(recorder_of(tmp_path / "x.rec", lines), ())
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "x.rec").stat().st_mode) == 0o600


def test_an_existing_file_is_not_touched(tmp_path: Path, lines: LogCapture) -> None:
    """A recording cannot be made again; nor may a link lead elsewhere."""
    (tmp_path / "x.rec").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    for name in ("x.rec", "link"):
        with pytest.raises(RecordError, match="exists already; choose another name or remove it"):
            recorder_of(tmp_path / name, lines).start(SOON)
    assert (tmp_path / "x.rec").read_text() == "precious"
    assert not (tmp_path / "elsewhere").exists()


def test_a_place_that_does_not_exist_is_named(tmp_path: Path, lines: LogCapture) -> None:
    """With the reason of the system."""
    with pytest.raises(RecordError, match="cannot be made: No such file or directory"):
        recorder_of(tmp_path / "nowhere" / "x.rec", lines).start(SOON)


@pytest.mark.parametrize("place", ["db", "db/sub", "link", "tables"])
def test_nothing_is_recorded_into_a_database(tmp_path: Path, lines: LogCapture, place: str) -> None:
    """Neither into one that is named, nor one that has a CURRENT, directly or through a link."""
    (tmp_path / "db" / "sub").mkdir(parents=True)
    (tmp_path / "db" / "CURRENT").write_text("MANIFEST-000005\n")
    (tmp_path / "link").symlink_to(tmp_path / "db" / "sub")
    (tmp_path / "tables").mkdir()

    with pytest.raises(RecordError, match="lies in the database"):
        recorder_of(tmp_path / place / "x.rec", lines, databases=(str(tmp_path / "tables"),)).start(
            SOON
        )
    assert not list(tmp_path.rglob("x.rec"))


def test_a_wal_directory_that_is_found_later_is_left_clean(
    tmp_path: Path, lines: LogCapture
) -> None:
    """OPTIONS tells where it is; by then the file is there, and goes."""
    place = replace(on_device("wal", "sda", "8:0"), path=str(tmp_path))
    recorder = recorder_of(tmp_path / "x.rec", lines)
    recorded(recorder, (findings_of(1.0, databases=(database_findings(paths=(place,)),)),))

    assert list(tmp_path.iterdir()) == []
    assert ending(lines) == [
        (
            "recording_stopped",
            f"it lies in {tmp_path}, which belongs to a watched database; removed",
        )
    ]


def test_the_limit_holds_and_is_told_once(tmp_path: Path, lines: LogCapture) -> None:
    """The file stays below it and can be read; later ticks change nothing."""
    path, ticks = tmp_path / "x.rec", 5 * captured_ticks("v9.8.4")
    recorded(recorder_of(path, lines, limit_bytes=10 * 1024), ticks)
    recording = open_recording(str(path))
    got = list(recording)

    assert path.stat().st_size <= 10 * 1024
    assert 0 < len(got) < len(ticks)
    assert list(map(as_recorded, ticks[: len(got)])) == got
    assert (recording.end, recording.cut) == ("limit", None)
    assert ending(lines) == [("recording_stopped", "the size limit is reached")]


def test_ticks_that_find_no_room_are_counted(tmp_path: Path, lines: LogCapture) -> None:
    """A disk that hangs delays no tick: what it does not take in time is left out."""
    path, tick = tmp_path / "x.rec", captured_ticks("v9.8.4")[1]
    recorder = recorder_of(path, lines)
    for number in range(QUEUED_TICKS + 3):
        recorder.take(replace(tick, at=float(number)))
    recorder.start(SOON)
    recorder.close(SOON)
    recording = open_recording(str(path))

    assert [float(number) for number in range(QUEUED_TICKS)] == [f.at for f in recording]
    assert recording.skipped == 3


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """No file may grow beyond this, as on a full disk. Not for long: a test's report is one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_ends_the_recording_only(tmp_path: Path, lines: LogCapture) -> None:
    """One line in the log; what was written can be read, and ticks go on."""
    path = tmp_path / "x.rec"
    recorder = recorder_of(path, lines)
    with files_of_at_most(3000):
        recorded(recorder, captured_ticks("v9.8.4"))
        recorder.take(captured_ticks("v9.8.4")[0])

    assert path.stat().st_size == 3000
    assert len(list(open_recording(str(path)))) > 0
    assert ending(lines) == [("recording_stopped", "File too large")]


def test_findings_that_cannot_be_recorded_end_the_recording_only(
    tmp_path: Path, lines: LogCapture
) -> None:
    """A defect costs the recording, told once with its traceback, and no tick."""
    recorder = recorder_of(tmp_path / "x.rec", lines)
    recorded(recorder, (findings_of(0.0, cpu=object()), findings_of(1.0)))

    assert [line["event"] for line in lines.entries[1:]] == ["recording_failed"]


def test_a_recording_on_a_dead_disk_begins_once_that_answers(
    tmp_path: Path, lines: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it; the first ticks are in it."""
    path, ticks = tmp_path / "x.rec", captured_ticks("v9.8.4")
    recorder = recorder_of(path, lines)
    with hanging(tmp_path, monkeypatch):
        recorder.start(0.01)
        for tick in ticks[:3]:
            recorder.take(tick)
    for tick in ticks[3:5]:
        recorder.take(tick)
    recorder.close(SOON)

    assert list(map(as_recorded, ticks[:5])) == list(open_recording(str(path)))
    assert [line["event"] for line in lines.entries] == ["recording_silent", "recording"]


def test_a_mistake_that_a_dead_disk_has_hidden_is_told_later(
    tmp_path: Path, lines: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then the daemon runs, and goes on."""
    path = tmp_path / "x.rec"
    path.write_text("precious")
    recorder = recorder_of(path, lines)
    with hanging(tmp_path, monkeypatch):
        recorder.start(0.01)
        recorder.take(findings_of(0.0))

    assert eventually(lambda: len(lines.entries) == 2)
    assert ending(lines) == [
        (
            "recording_stopped",
            f"--record {path}: exists already; choose another name or remove it",
        )
    ]
    recorder.take(findings_of(1.0))
    recorder.close(SOON)
    assert path.read_text() == "precious"


def test_closing_does_not_wait_for_a_disk_that_hangs(
    tmp_path: Path, lines: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon ends in time, without what was not written."""
    recorder = recorder_of(tmp_path / "x.rec", lines)
    with hanging(tmp_path, monkeypatch):
        recorder.start(0.01)
        for _ in range(QUEUED_TICKS + 1):
            recorder.take(findings_of(0.0))
        recorder.close(0.01)

        assert list(tmp_path.iterdir()) == []


def test_the_facts_of_this_host_are_known() -> None:
    """What a model may need besides the findings."""
    facts = host_facts()

    assert facts.cores == os.cpu_count()
    assert facts.memory_bytes is not None
    assert facts.memory_bytes > 2**24
    assert facts.kernel == os.uname().release


class OneTick:
    """A watch that collects one tick."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings

    def collect(self) -> Findings:
        return self._findings


class Failing:
    """Decisions with a defect."""

    def __init__(self, reached: threading.Event) -> None:
        self._reached = reached

    def advance(self, findings: Findings) -> None:
        del findings
        self._reached.set()
        raise ValueError("odd")


def test_a_tick_is_recorded_before_it_is_decided_on(tmp_path: Path, lines: LogCapture) -> None:
    """What made the decisions fail is what one wants to replay."""
    path, reached = tmp_path / "x.rec", threading.Event()
    recorder = recorder_of(path, lines)
    recorder.start(SOON)
    loop = Loop(
        cast(HostWatch, OneTick(findings_of(7.0))),
        cast(HostState, Failing(reached)),
        Published(),
        SystemClock(),
        cast(Logger, structlog.wrap_logger(None, processors=[lines])),
        3600.0,
        InlineSimulator(),
        recorder,
    )
    ticking = threading.Thread(target=loop.run, daemon=True)
    ticking.start()
    assert reached.wait(SOON)
    loop.stop()
    ticking.join(SOON)
    recorder.close(SOON)

    assert [findings_of(7.0)] == list(open_recording(str(path)))


@pytest.mark.parametrize(
    ("limit_mib", "limit_bytes"),
    [(64.0, 64 * MEBIBYTE), (0.0, MEBIBYTE // 10), (float("nan"), MEBIBYTE // 10)],
)
def test_the_limit_is_given_in_mebibytes(limit_mib: float, limit_bytes: int) -> None:
    """A senseless one becomes the smallest that records anything."""
    assert record_to("/x.rec", limit_mib) == RecordTo("/x.rec", limit_bytes)


def test_without_a_file_nothing_is_recorded() -> None:
    """Recording is asked for."""
    assert record_to(None, 64.0) is None
