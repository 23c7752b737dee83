"""What the soak bench concludes from its readings, and that its configuration is one."""

import os
import subprocess
from pathlib import Path

import pytest

from agent.config import parse_config
from tests.bench.soak import Reading, config_text, read, text


def readings(growth_per_tick: float) -> list[Reading]:
    return [
        Reading(float(n), 5.0 * n, 60e6 + growth_per_tick * 5.0 * n, 10.0, 6.0, float(n % 7 == 0))
        for n in range(600)
    ]


def line(report: str, beginning: str) -> str:
    return next(each for each in report.splitlines() if each.startswith(beginning))


def test_a_flat_daemon_is_flat() -> None:
    """Children that come and go are no growth."""
    report = text(readings(0.0))
    for quantity in ("resident memory", "open files", "threads", "child processes"):
        assert line(report, quantity).endswith("zero within noise")


def test_a_leak_is_named_by_its_size_per_day() -> None:
    """A hundred bytes per tick are 864 kB in a day of 8640 ticks."""
    found = line(text(readings(100.0)), "resident memory")
    assert "+8.64e+05" in found
    assert found.endswith("NOT zero")


def test_a_daemon_that_never_answered_has_no_readings() -> None:
    """Nothing is made up."""
    assert text([]) == "no readings"


def test_all_cadences_are_compressed_alike(tmp_path: Path) -> None:
    """Fifty times as many ticks bring fifty times as many secondaries and probes."""
    config = parse_config(config_text(tmp_path / "db", tmp_path).encode())
    assert config.tick_seconds == pytest.approx(10.0 / 50)
    assert config.secondary.interval_seconds == pytest.approx(60.0 / 50)
    assert config.fio.interval_seconds == pytest.approx(21600.0 / 50)
    assert [database.path for database in config.databases] == [str(tmp_path / "db")]


def test_a_reading_counts_files_threads_and_children() -> None:
    """Of this very process, which has a child for a moment."""
    child = subprocess.Popen(["sleep", "60"])
    try:
        before = read(os.getpid(), 1.0, 2.0)
    finally:
        child.kill()
        child.wait()
    after = read(os.getpid(), 1.0, 2.0)
    assert before.children == after.children + 1
    assert before.descriptors > 2
    assert before.threads >= 1
    assert before.resident_bytes > 1e6


def test_a_process_that_is_gone_is_a_crash() -> None:
    """The bench then ends with 1."""
    child = subprocess.Popen(["true"])
    child.wait()
    with pytest.raises(RuntimeError, match="gone"):
        read(child.pid, 1.0, 2.0)
