"""What the start asks of file systems that may be dead."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from agent.patience import Questions, state_directory_in_time
from agent.state_directory import StateDirectoryError
from probes.clock import SystemClock

Log = list[dict[str, object]]


@pytest.fixture(autouse=True)
def log() -> Iterator[Log]:
    """What was logged."""
    with structlog.testing.capture_logs() as entries:
        yield entries  # type: ignore[misc]


def chosen(configured: Path | None, patience_seconds: float = 20.0) -> str | None:
    """Where nothing else could be had: the only home there is can never be made."""
    return state_directory_in_time(
        None if configured is None else str(configured),
        {"XDG_STATE_HOME": "/proc/nowhere"},
        [],
        Questions(SystemClock(), patience_seconds),
        structlog.get_logger(),
    )


def test_a_directory_that_answers_is_taken_silently(tmp_path: Path, log: Log) -> None:
    """The usual case."""
    assert chosen(tmp_path) == str(tmp_path)
    assert log == []


def test_a_directory_that_is_unusable_ends_the_start(tmp_path: Path) -> None:
    """It was asked for."""
    (tmp_path / "file").touch()
    with pytest.raises(StateDirectoryError, match="choose a writable directory"):
        chosen(tmp_path / "file")


def test_where_there_is_none_that_is_said_with_what_to_do(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by root, who has one."""
    monkeypatch.setattr("os.geteuid", lambda: 65534)
    assert chosen(None) is None
    assert [(line["event"], line["detail"]) for line in log] == [
        ("state_not_kept", "no writable state directory; pass --state")
    ]


def test_one_that_hangs_is_told_once_and_as_that(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To pass another one would be the wrong advice."""
    answers = threading.Event()
    monkeypatch.setattr("os.makedirs", lambda *_, **__: answers.wait())
    assert chosen(tmp_path, patience_seconds=0.01) is None
    answers.set()
    assert [line["event"] for line in log] == ["state_directory_silent"]
