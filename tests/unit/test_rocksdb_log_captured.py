"""LOGs of real databases of many versions, against what those databases said of themselves."""

import json
from pathlib import Path
from typing import Any

import pytest

from probes.clock import SystemClock
from probes.rocksdb.log import parse_log
from probes.rocksdb.samples import LogSample

CAPTURED = Path(__file__).parents[1] / "data" / "rocksdb"


def captures() -> list[Path]:
    return sorted(path.parent for path in CAPTURED.rglob("truth.json"))


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(CAPTURED)) for path in paths]


def truth_of(capture: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((capture / "truth.json").read_text())
    return loaded


def sample_of(capture: Path) -> LogSample:
    (path,) = (path for path in capture.iterdir() if path.name.endswith("LOG"))
    return parse_log(str(path), SystemClock())


# What a LOG cannot tell: entries of a family dropped before it was flushed, of openings whose LOG
# has rolled away, and of a memtable that a full disk keeps from being flushed.
COMPLETE = [
    path
    for path in captures()
    if path.name not in ("multi_cf", "reopened", "during") and "wal_large" not in str(path)
]


@pytest.mark.parametrize("capture", captures(), ids=names(captures()))
def test_version_and_soundness_of_every_capture(capture: Path) -> None:
    """No line RocksDB wrote is taken for a damaged one."""
    sample = sample_of(capture)
    assert (sample.rocksdb_version, sample.damaged_lines) == (
        truth_of(capture)["rocksdb_version"],
        0,
    )
    assert sample.opened_wall_seconds == sample.first_wall_seconds


@pytest.mark.parametrize("capture", COMPLETE, ids=names(COMPLETE))
def test_puts_are_all_operations_but_those_still_in_memory(capture: Path) -> None:
    """To the last one, in every version, failed flushes not counted twice."""
    truth = truth_of(capture)
    in_memory = sum(
        int(family["rocksdb.num-entries-active-mem-table"])
        for family in truth["properties"].values()
    )
    assert (sample_of(capture).puts or 0) + in_memory == truth["operations_total"]


@pytest.mark.parametrize("capture", captures(), ids=names(captures()))
def test_a_background_error_is_seen_while_it_lasts(capture: Path) -> None:
    """File systems that ran full under a database; most recovered by themselves."""
    error = sample_of(capture).background_error
    expected = capture.name in ("during", "not_recovered")
    assert (error is not None) == expected
    if error is not None and "error" in truth_of(capture):
        assert error.message == truth_of(capture)["error"]


def levels_told(truth: dict[str, Any]) -> dict[str, dict[int, int]]:
    return {
        family: {int(level): shape["files"] for level, shape in levels.items()}
        for family, levels in truth["levels"].items()
        if levels
    }


@pytest.mark.parametrize("capture", COMPLETE, ids=names(COMPLETE))
def test_the_newest_levels_are_the_databases_own(capture: Path) -> None:
    """After flushes, compactions and trivial moves; FIFO drops files without telling the rest."""
    expected = levels_told(truth_of(capture))
    if capture.name == "fifo" or "?" in expected or not expected:
        pytest.skip("this LOG or this truth does not tell levels by family")
    told = {
        family: {level: files for level, files in enumerate(levels) if files}
        for family, levels in sample_of(capture).level_files.items()
    }
    assert told == expected
