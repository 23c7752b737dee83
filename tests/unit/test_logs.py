"""The agent's own log: it is told of what it can be told, and never in the way."""

import errno
import io
import sys
from collections.abc import Iterator

import pytest
import structlog

from agent.config import LogSettings
from agent.logs import logger_for


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    """The log of other tests is not this one."""
    yield
    structlog.reset_defaults()


class FullDisk(io.StringIO):
    """A log file on a disk that is full, now and then."""

    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)

    def flush(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_line_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """As logfmt where that is no terminal."""
    logger_for(LogSettings()).info("event", db="orders")
    line = capsys.readouterr().err
    assert " level=info event=event db=orders" in line
    assert line.endswith("\n")


def test_a_log_that_cannot_be_written_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is lost; the next ones are not, once there is room."""
    disk = FullDisk()
    monkeypatch.setattr(sys, "stderr", disk)
    log = logger_for(LogSettings(format="logfmt"))
    log.error("lost")
    disk.full = False
    log.error("written")

    assert "event=written" in disk.getvalue()
    assert "lost" not in disk.getvalue()


def test_a_log_that_is_closed_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever read it has gone."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    log = logger_for(LogSettings(format="logfmt"))
    stream.close()
    log.error("lost")

    assert stream.closed
