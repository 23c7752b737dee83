"""The file of the alert book, and what happens to it after each tick."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
import structlog
from msgspec.structs import replace

from agent.alerts.book import AlertBook, decode_book, encode_book
from agent.alerts.book_file import BOOK, BookSaver
from agent.alerts.handover import AlertHandover, Logger
from agent.alerts.notice import AlertNotice, Notification
from agent.alerts.rules import AlertingSettings
from agent.host_state import HostState
from agent.snapshot import Snapshot
from agent.state_directory import StateDirectory
from agent.state_file import SAVE_SECONDS, StateFile
from tests.unit.agent_samples import probe_state
from tests.unit.alert_life import Host, delayed, stale, stopped
from tests.unit.patience import PATIENCE_SECONDS, eventually
from tests.unit.test_host_state import host, two_of_each


@pytest.fixture(autouse=True)
def log() -> Iterator[list[dict[str, object]]]:
    """What was logged."""
    with structlog.testing.capture_logs() as entries:
        yield entries  # type: ignore[misc]


def file_in(directory: Path) -> StateFile[AlertBook]:
    return StateFile(BOOK, StateDirectory(str(directory)), structlog.get_logger())


def a_book() -> AlertBook:
    """With an alert that fires and was told, one that is quiet, and an outbox."""
    lived = Host(settles=False)
    lived.ticks(40.0, stopped(), delayed(0.0))
    return lived.book


def on_disk(directory: Path) -> AlertBook:
    """What lies there now, without taking the directory."""
    path = directory / BOOK.file_name
    return decode_book(path.read_bytes()) if path.exists() else AlertBook()


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """By another run of the agent, to which the monotonic clock says nothing; what is quiet is not
    kept."""
    book = a_book()
    assert file_in(tmp_path).save(book) is True
    loaded = file_in(tmp_path).load()
    assert loaded.outbox == book.outbox != ()
    assert loaded.followed == book.followed
    assert [state.alert for state in loaded.states] == ["RocksdbWriteStopped"]
    assert loaded.monotonic_seconds is None


def test_alerts_of_another_version_are_left_out(tmp_path: Path) -> None:
    """The rest is as good as before."""
    book = a_book()
    other = replace(book.followed[0], alert="RocksdbSomethingElse")
    (tmp_path / BOOK.file_name).write_bytes(
        encode_book(replace(book, followed=(other, *book.followed)))
    )
    assert file_in(tmp_path).load().followed == book.followed


def test_a_message_that_is_no_text_is_kept_escaped(tmp_path: Path) -> None:
    """An error out of a LOG may hold any byte."""
    book = a_book()
    odd = replace(book.followed[0], summary="stopped: \udcff")
    file_in(tmp_path).save(replace(book, followed=(odd,)))
    assert file_in(tmp_path).load().followed[0].summary == "stopped: \\xff"


def test_a_value_without_end_is_kept_as_one_not_seen() -> None:
    """JSON has no infinity."""
    book = a_book()
    endless = replace(book.followed[0], value=float("inf"))
    assert decode_book(encode_book(replace(book, followed=(endless,)))).followed[0].value is None


def test_what_is_urgent_is_saved_at_once_and_the_rest_once_a_minute(tmp_path: Path) -> None:
    """Each fsync forces a journal commit."""
    file = file_in(tmp_path)
    saver = BookSaver(file)
    saver.after_tick(AlertBook(), 0.0)
    assert list(tmp_path.iterdir()) == []

    def saved(revision: int) -> Callable[[], bool]:
        return lambda: on_disk(tmp_path).revision == revision

    saver.after_tick(AlertBook(revision=1), 10.0)
    assert eventually(saved(1))
    saver.after_tick(AlertBook(revision=2), 20.0)
    saver.after_tick(AlertBook(revision=2), 10.0 + SAVE_SECONDS - 1.0)
    assert saved(1)()
    saver.after_tick(AlertBook(revision=3, urgent_revision=3), 10.0 + SAVE_SECONDS - 1.0)
    assert eventually(saved(3))
    saver.close(AlertBook(revision=4), PATIENCE_SECONDS)
    assert saved(4)()


def test_what_was_loaded_is_not_written_again(tmp_path: Path) -> None:
    """Only its first change is."""
    file = file_in(tmp_path)
    saver = BookSaver(file, saved_revision=5)
    saver.after_tick(AlertBook(revision=5, urgent_revision=5), 0.0)
    saver.close(AlertBook(revision=5, urgent_revision=5), PATIENCE_SECONDS)
    assert list(tmp_path.iterdir()) == []


def test_what_is_pending_at_the_end_is_saved(tmp_path: Path) -> None:
    """It is on its way, and goes on after the restart."""
    host = Host()
    host.tick(stale())
    BookSaver(file_in(tmp_path), saved_revision=host.book.revision).close(
        host.book, PATIENCE_SECONDS
    )
    (state,) = on_disk(tmp_path).states
    assert (state.alert, state.pending_since) == ("SmaxPredictionStale", host.book.seconds)


class Sink:
    """Remembers what it was offered; settles it, or breaks, as it is told."""

    def __init__(self) -> None:
        self.offered: list[Notification] = []
        self.active: tuple[AlertNotice, ...] = ()
        self.settles = False
        self.breaks = False

    def offer(
        self, notifications: tuple[Notification, ...], active: tuple[AlertNotice, ...]
    ) -> None:
        if self.breaks:
            raise RuntimeError("a bug")
        self.offered += notifications
        self.active = active

    def settled(self) -> frozenset[str]:
        return frozenset(told.identity for told in self.offered if self.settles)


class Tick:
    """A host whose two databases' data has been stale for long."""

    def __init__(self, directory: Path, sink: Sink | None) -> None:
        self.state: HostState = host(alerting=AlertingSettings(group_wait_seconds=0.0))
        self.saver = BookSaver(file_in(directory))
        logger = cast(Logger, structlog.get_logger())
        self.handover = AlertHandover(self.state, self.saver, logger, sink)
        self.at = -130.0

    def __call__(self, seconds: float = 130.0) -> Snapshot:
        self.at += seconds
        findings = two_of_each(self.at, probes=(probe_state("wal", "one", True),))
        snapshot = self.state.advance(findings)
        self.handover.after_tick(snapshot)
        return snapshot


def test_what_is_told_is_offered_once_and_kept_until_it_is_settled(tmp_path: Path) -> None:
    """With every alert that fires, every tick."""
    sink = Sink()
    tick = Tick(tmp_path, sink)
    tick()
    tick()
    tick(10.0)
    assert [told.kind for told in sink.offered] == ["firing", "firing"]
    assert {notice.labels["db"] for notice in sink.active} == {"one", "two"}
    assert list(tick.state.book.outbox) == sink.offered
    sink.settles = True
    tick(10.0)
    assert tick.state.book.outbox == ()
    tick.handover.close(PATIENCE_SECONDS)
    assert on_disk(tmp_path).followed == tick.state.book.followed


def test_without_a_sink_nothing_waits(tmp_path: Path) -> None:
    """Nobody wants to be told, and nobody shall be later."""
    tick = Tick(tmp_path, None)
    tick()
    assert len(tick().alerting.notifications) == 2
    assert tick.state.book.outbox == ()
    tick.handover.close(PATIENCE_SECONDS)


def test_a_sink_that_breaks_costs_delivery_only_and_is_logged_once(
    tmp_path: Path, log: list[dict[str, object]]
) -> None:
    """Its notifications stay in the book, and the book is saved."""
    sink = Sink()
    sink.breaks = True
    tick = Tick(tmp_path, sink)
    for _ in range(3):
        tick()
    assert [entry["event"] for entry in log] == ["alert_delivery_failed"]
    tick.handover.close(PATIENCE_SECONDS)
    assert len(on_disk(tmp_path).outbox) == 2
