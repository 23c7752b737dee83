"""``smaxd history`` and ``smaxd report``: where they look, what they print, how they fail."""

import json
import os
import stat
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from agent.cli import cli
from agent.history.store import Store
from tests.unit import pasts
from tests.unit.pasts import START
from tests.unit.test_history_report import Checker

NOBODY = "http://127.0.0.1:1"
"""A port on which nothing listens."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with the last half hour of two databases."""
    now = int(time.time()) // 10 * 10
    directory = tmp_path / "state"
    directory.mkdir()
    store = Store(str(directory / "history.db"), 1 << 30)
    samples = list(pasts.samples(1800, 2, start=now - 1800))
    for first in range(0, len(samples), 6):
        store.write(samples[first : first + 6])
    store.write(
        [pasts.events(now, pasts.alert("RocksdbWriteStopped", now - 60, database="orders"))]
    )
    store.close()
    return directory


def smaxd(*words: str, **environ: str) -> Result:
    return CliRunner().invoke(
        cli, [*words, "--url", NOBODY], env={"HOME": "/nonexistent", **environ}
    )


def test_it_plots_what_is_on_record(state: Path) -> None:
    """Without a terminal: plain text."""
    result = smaxd("history", "--since", "1h", "--state", str(state))

    assert result.exit_code == 0, result.output
    assert "puts/s median / 95 % / max" in result.output
    assert "orders" in result.output
    assert "sessions" in result.output
    assert "RocksdbWriteStopped orders" in result.output
    assert "\x1b" not in result.output


def test_what_was_written_in_this_second_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that has just begun has no more than that."""
    store = Store(str(tmp_path / "history.db"), 1 << 30)
    store.write(list(pasts.samples(10, 1)))
    store.close()
    monkeypatch.setattr("agent.commands.history.time", SimpleNamespace(time=lambda: START + 0.3))

    assert "orders" in smaxd("history", "--since", "5m", "--state", str(tmp_path), "--json").output


def test_one_database_is_enough(state: Path) -> None:
    """--db."""
    result = smaxd("history", "--since", "1h", "--state", str(state), "--db", "sessions")

    assert result.exit_code == 0
    assert "orders" not in result.output


def test_json_and_csv_are_for_programs(state: Path) -> None:
    """All of it, or the metrics that were asked for."""
    words = ["history", "--since", "1h", "--state", str(state), "--metric", "phase"]
    document = json.loads(smaxd(*words, "--json").output)
    table = smaxd(*words, "--csv", "--resolution", "10m").output.splitlines()

    assert set(document["databases"][0]["rows"][0]) == {"time", "phase"}
    assert len(document["databases"][0]["rows"]) == 180
    assert table[0] == "time,db,phase"
    assert 2 * 3 <= len(table) - 1 <= 2 * 4


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--since", "yesterday"), "24h, 7d"),
        (("--since", "1h", "--until", "2h"), "not before"),
        (("--resolution", "5m"), "10s, 1m, 10m"),
        (("--db", "nobody"), "known: orders, sessions"),
        (("--metric", "puts"), "observed_puts_per_second"),
        (("--csv", "--json"), "exclude each other"),
    ],
)
def test_bad_use_is_one_line_and_exit_2(state: Path, words: tuple[str, ...], told: str) -> None:
    """That says what would do."""
    result = smaxd("history", "--state", str(state), *words)

    assert result.exit_code == 2
    assert told in result.output
    assert len(result.output.splitlines()) == 1


def test_a_directory_without_a_history_is_told_of(tmp_path: Path) -> None:
    """With what to do."""
    result = smaxd("history", "--state", str(tmp_path))

    assert result.exit_code == 1
    assert "history.enabled" in result.output


def test_without_a_daemon_the_usual_places_are_looked_into(state: Path, tmp_path: Path) -> None:
    """A daemon that has ended is just what one may want the history of."""
    places = tmp_path / "xdg" / "smaxd"
    places.parent.mkdir()
    state.rename(places)
    found = smaxd("history", "--since", "1h", XDG_STATE_HOME=str(places.parent))
    if os.path.exists("/var/lib/smaxd/history.db"):
        pytest.skip("this host has a history of its own")
    missed = smaxd("history", "--since", "1h", XDG_STATE_HOME=str(tmp_path))

    assert found.exit_code == 0
    assert "no daemon answers" in found.output
    assert missed.exit_code == 1
    assert "--state" in missed.output


def test_a_time_without_records_is_told_of(state: Path) -> None:
    """It is no failure."""
    result = smaxd("history", "--since", "40d", "--until", "39d", "--state", str(state))

    assert result.exit_code == 0
    assert "nothing is on record" in result.output


def test_the_report_is_written_whole(state: Path, tmp_path: Path) -> None:
    """Readable by whom the umask lets."""
    file = tmp_path / "report.html"
    before = os.umask(0o027)
    try:
        result = smaxd("report", "--state", str(state), "--since", "1h", "-o", str(file))
    finally:
        os.umask(before)
    checker = Checker()
    checker.feed(file.read_text())

    assert result.exit_code == 0, result.output
    assert checker.open == []
    assert "sessions" in checker.text
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["report.html", "state"]


def test_the_report_can_go_into_a_pipe(state: Path) -> None:
    """-o -."""
    result = smaxd("report", "--state", str(state), "--since", "1h", "-o", "-")

    assert result.exit_code == 0
    assert result.output.startswith("<!DOCTYPE html>")
    assert result.output.endswith("</html>\n")


def test_a_report_that_cannot_be_written_is_told_of(state: Path, tmp_path: Path) -> None:
    """Where, and why."""
    where = str(tmp_path / "nowhere" / "report.html")
    result = smaxd("report", "--state", str(state), "-o", where)

    assert result.exit_code == 1
    assert f"{where} cannot be written: No such file or directory" in result.output
