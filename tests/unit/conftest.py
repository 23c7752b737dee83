"""Fixtures that several tests of the command line share."""

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from agent import cli
from tests.unit.command_line import Call, Ended


@pytest.fixture
def smaxd(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Call the entry point as the console script does, without a process of its own."""
    for name in [*os.environ]:
        if name.startswith("SMAXD_") or name == "CREDENTIALS_DIRECTORY":
            monkeypatch.delenv(name)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def call(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["smaxd", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        return Ended(int(ended.value.code or 0), output.out, output.err)

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)
