"""Exports: each by itself, told of in log and metrics, and gone when no longer wanted."""

import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from agent.config import OtlpSettings, TextfileSettings
from agent.export_control import ExportControl
from agent.export_metrics import ExportStatus
from agent.export_pace import MAX_BACKOFF_SECONDS, next_delay_seconds
from agent.exports import Arrived, ExportFailed, ExportThread
from agent.loop import Published
from agent.textfile import TextfileExporter
from tests.unit import snapshots
from tests.unit.budgets import Budget

PATIENCE_SECONDS = 15.0


def holds(condition: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.01)
    return True


HERE = Arrived()
NOT_YET = None


class Scripted:
    """An exporter that does what it is told, one answer after the other."""

    name = "scripted"

    def __init__(self, *answers: Arrived | Exception | None) -> None:
        self._answers = list(answers)
        self.calls = 0
        self.closed = threading.Event()

    def export(self) -> Arrived | None:
        answer = self._answers[min(self.calls, len(self._answers) - 1)]
        self.calls += 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    def abort(self) -> None:
        pass

    def close(self) -> None:
        self.closed.set()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pace has tests of its own."""
    monkeypatch.setattr("agent.exports.next_delay_seconds", lambda *_: 0.01)
    monkeypatch.setattr("agent.exports.NOTHING_YET_SECONDS", 0.01)


def logged_until(
    exporter: Scripted, calls: int
) -> tuple[ExportThread, list[MutableMapping[str, Any]]]:
    """The thread after so many exports, and what it logged."""
    with capture_logs() as entries:
        log = structlog.get_logger()
        thread = ExportThread(exporter, 1.0, log, snapshots.FixedClock())
        assert holds(lambda: exporter.calls >= calls)
        thread.stop()
        thread.join(PATIENCE_SECONDS)
    return thread, entries


def run_until(exporter: Scripted, calls: int) -> tuple[ExportThread, list[str]]:
    """The thread after so many exports, and the events it logged."""
    thread, entries = logged_until(exporter, calls)
    return thread, [entry["event"] for entry in entries]


def test_a_failure_is_logged_once_and_its_end_too() -> None:
    """And counted each time."""
    failing = ExportFailed("the receiver is away")
    thread, events = run_until(Scripted(HERE, failing, failing, failing, HERE), 6)

    assert events == ["export_failed", "export_recovered"]
    assert thread.status() == ExportStatus("scripted", 3, 0, snapshots.FixedClock().wall())


def test_another_reason_is_logged_again() -> None:
    _, events = run_until(Scripted(ExportFailed("one"), ExportFailed("two"), HERE), 4)
    assert events == ["export_failed", "export_failed", "export_recovered"]


def test_a_defect_costs_this_export_only() -> None:
    """The thread goes on, and one that stays is logged once."""
    defect = ValueError("defect")
    thread, events = run_until(Scripted(defect, defect, defect, HERE), 5)

    assert events == ["export_failed", "export_recovered"]
    assert thread.status() == ExportStatus("scripted", 3, 0, snapshots.FixedClock().wall())


def test_what_a_receiver_does_not_take_is_counted_and_logged_once() -> None:
    """Until it takes everything again; the export itself is a success."""
    partial = Arrived(3, "duplicate labels")
    thread, entries = logged_until(Scripted(HERE, partial, Arrived(4, "others"), HERE), 4)

    assert [entry["event"] for entry in entries] == ["export_partial", "export_recovered"]
    assert (entries[0]["rejected_points"], entries[0]["reason"]) == (3, "duplicate labels")
    assert thread.status() == ExportStatus("scripted", 0, 7, snapshots.FixedClock().wall())


def test_a_receiver_that_only_warns_is_heard() -> None:
    """It may take everything and still have something to say."""
    thread, events = run_until(Scripted(Arrived(0, "old names"), HERE), 3)
    assert events == ["export_partial", "export_recovered"]
    assert thread.status().rejected_points_total == 0


def test_nothing_yet_is_no_failure() -> None:
    thread, events = run_until(Scripted(NOT_YET), 3)
    assert (events, thread.status()) == ([], ExportStatus("scripted", 0, 0, None))


def test_an_exporter_that_is_stopped_cleans_up() -> None:
    exporter = Scripted(HERE)
    run_until(exporter, 1)
    assert exporter.closed.is_set()


def test_failures_make_exports_rarer_up_to_a_bound() -> None:
    """Without the spread: twice as long each time."""
    delays = [next_delay_seconds(30.0, failures, 0.0, 0.5) for failures in range(7)]
    assert delays == pytest.approx([30.0, 60.0, 120.0, 240.0, 300.0, 300.0, 300.0])


def test_a_long_interval_is_not_made_shorter_by_failing() -> None:
    assert next_delay_seconds(3600.0, 5, 0.0, 0.5) == 3600.0
    assert next_delay_seconds(3600.0, 10**6, 0.0, 0.5) == 3600.0


def test_a_fleet_does_not_come_back_in_step() -> None:
    """A fifth earlier or later."""
    assert next_delay_seconds(30.0, 1, 0.0, 0.0) == pytest.approx(48.0)
    assert next_delay_seconds(30.0, 1, 0.0, 1.0) == pytest.approx(72.0)


def test_a_receiver_that_asks_for_patience_gets_it_within_bounds() -> None:
    assert next_delay_seconds(10.0, 1, 120.0, 0.5) == 120.0
    assert next_delay_seconds(10.0, 1, 1e9, 0.5) == MAX_BACKOFF_SECONDS


Control = tuple[ExportControl, list[str]]


@pytest.fixture
def control() -> Iterator[Control]:
    """What runs exports, and the textfiles that a budget was asked for."""
    textfiles: list[str] = []

    def budget_of(path: str) -> Budget:
        textfiles.append(path)
        return Budget()

    control = ExportControl(
        snapshots.published(),
        snapshots.FixedClock(),
        structlog.get_logger(),
        {},
        "127.0.0.1:10390",
        budget_of,
    )
    yield control, textfiles
    control.stop(PATIENCE_SECONDS)


NO_OTLP, NO_TEXTFILE = OtlpSettings(), TextfileSettings()


def test_a_reload_moves_the_textfile(control: Control, tmp_path: Path) -> None:
    """The old one goes, and an interval alone moves nothing."""
    exports, textfiles = control
    first, second = tmp_path / "a.prom", tmp_path / "b.prom"
    exports.configure(TextfileSettings(str(first), 60.0), NO_OTLP)
    assert holds(first.exists)
    exports.configure(TextfileSettings(str(first), 30.0), NO_OTLP)
    before = exports.status()
    exports.configure(TextfileSettings(str(second), 30.0), NO_OTLP)

    assert holds(lambda: second.exists() and not first.exists())
    assert textfiles == [str(first), str(second)]
    assert [one.exporter for one in (*before, *exports.status())] == ["textfile", "textfile"]
    exports.configure(NO_TEXTFILE, NO_OTLP)
    assert holds(lambda: not second.exists())
    assert exports.status() == ()


def test_the_end_waits_for_the_file_to_go(control: Control, tmp_path: Path) -> None:
    exports, _ = control
    file = tmp_path / "smaxd.prom"
    exports.configure(TextfileSettings(str(file)), NO_OTLP)
    assert holds(file.exists)
    exports.stop(PATIENCE_SECONDS)
    assert list(tmp_path.iterdir()) == []


def exporter_for(
    path: Path, published: Published | None = None, budget: Budget | None = None
) -> TextfileExporter:
    return TextfileExporter(
        str(path), published or snapshots.published(), snapshots.FixedClock(), budget or Budget()
    )


def test_the_textfile_is_the_page_without_the_process(tmp_path: Path) -> None:
    """With the time at which it was written; readable by everyone, whatever the umask."""
    file = tmp_path / "smaxd.prom"
    budget = Budget()
    exporter = exporter_for(file, budget=budget)
    assert exporter.export()

    names = {family.name for family in text_string_to_metric_families(file.read_text())}
    assert {"smax_observed_puts_per_second", "smaxd_textfile_timestamp_seconds"} <= names
    assert {name for name in names if not name.startswith(("smax_", "smaxd_"))} == set()
    assert file.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [file]
    size = file.stat().st_size
    assert budget.asked == budget.written == [-(-size // 4096) * 4096 + 4096]
    exporter.close()
    assert budget.closed
    assert not file.exists()


def test_a_textfile_that_the_budget_does_not_allow_is_not_written(tmp_path: Path) -> None:
    """An export that failed, with the reason; nor is what could not be opened on the account."""
    budget, file = Budget(), tmp_path / "smaxd.prom"
    budget.refusal = "all of it is used"
    with pytest.raises(ExportFailed, match="all of it is used"):
        exporter_for(file, budget=budget).export()
    assert list(tmp_path.iterdir()) == []
    budget.refusal = None
    with pytest.raises(ExportFailed, match="No such file"):
        exporter_for(tmp_path / "missing" / "smaxd.prom", budget=budget).export()
    assert budget.written == [0]


def test_before_the_first_tick_there_is_no_textfile(tmp_path: Path) -> None:
    """And what another program has there stays."""
    file = tmp_path / "smaxd.prom"
    file.write_text("old\n")
    exporter = exporter_for(file, Published())
    assert not exporter.export()
    exporter.close()
    assert file.read_text() == "old\n"


def test_a_link_in_its_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """Neither the file's nor that of the one beside it."""
    target, file = tmp_path / "target", tmp_path / "smaxd.prom"
    target.write_text("precious\n")
    file.symlink_to(target)
    (tmp_path / ".smaxd.prom.new").symlink_to(target)
    exporter_for(file).export()

    assert target.read_text() == "precious\n"
    assert not file.is_symlink()


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    file = tmp_path / "missing" / "smaxd.prom"
    with pytest.raises(ExportFailed, match=f"{file} cannot be written: No such file"):
        exporter_for(file).export()


def test_nothing_is_left_where_the_file_cannot_be_replaced(tmp_path: Path) -> None:
    """A directory stands in its place."""
    file = tmp_path / "smaxd.prom"
    (file / "full").mkdir(parents=True)
    exporter = exporter_for(file)
    with pytest.raises(ExportFailed):
        exporter.export()
    exporter.close()

    assert list(tmp_path.iterdir()) == [file]


def test_a_textfile_in_a_database_is_refused(tmp_path: Path) -> None:
    """Nothing is ever written there."""
    (tmp_path / "CURRENT").write_text("MANIFEST-000001\n")
    (tmp_path / "MANIFEST-000001").write_text("")
    (tmp_path / "IDENTITY").write_text("x")
    with pytest.raises(ExportFailed, match="lies in the database"):
        exporter_for(tmp_path / "smaxd.prom").export()
