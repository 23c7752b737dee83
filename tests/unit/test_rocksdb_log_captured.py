"""LOGs of real databases of many versions, against what those databases said of themselves."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from probes.clock import SystemClock
from probes.rocksdb.log import parse_log
from probes.rocksdb.log_state import LogState
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
    if path.name not in ("multi_cf", "reopened", "recovery", "attempted", "during")
    and "wal_large" not in str(path)
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


OPENED = [path for path in captures() if path.name != "attempted"]


@pytest.mark.parametrize("capture", OPENED, ids=names(OPENED))
def test_every_opening_is_seen_to_its_end(capture: Path) -> None:
    """By all versions from 5 to 11, with WALs to replay or without."""
    recovery = sample_of(capture).recovery
    assert recovery is not None
    assert recovery.ended_wall_seconds is not None
    assert 0.0 < recovery.ended_wall_seconds - recovery.began_wall_seconds < 10.0


def prefixes(log: Path) -> Iterator[tuple[str, LogSample]]:
    """Each line of the opening, and what the LOG tells up to it."""
    state = LogState()
    for line in log.read_bytes().splitlines(keepends=True):
        state.feed(line)
        yield line.decode(), state.sample(0.0, str(log), 0.0)


def test_a_recovery_is_under_way_from_the_manifest_to_the_last_wal() -> None:
    """At every line of a real one that took four seconds."""
    lines = list(prefixes(CAPTURED / "recovery" / "LOG"))
    under_way = [
        number
        for number, (_, sample) in enumerate(lines)
        if sample.recovery is not None and sample.recovery.ended_wall_seconds is None
    ]
    begin, end = under_way[0], under_way[-1] + 1
    assert under_way == list(range(begin, end))
    assert "Recovering from manifest file" in lines[begin][0]
    assert "recovery_finished" in lines[end][0]
    told = lines[-1][1].recovery
    opening = truth_of(CAPTURED / "recovery")["opening_micros"]
    assert told is not None
    assert told.ended_wall_seconds is not None
    assert opening[0] / 1e6 <= told.began_wall_seconds
    assert told.ended_wall_seconds <= opening[1] / 1e6
    assert told.ended_wall_seconds - told.began_wall_seconds > 4.0


def test_an_opening_that_was_killed_in_its_recovery_is_never_told_to_be_over() -> None:
    """Who has the database open must be known as well."""
    *_, killed = sorted((CAPTURED / "recovery").glob("LOG.old.*"))
    recovery = parse_log(str(killed), SystemClock()).recovery
    began, ended = truth_of(CAPTURED / "recovery")["killed_opening_micros"]
    assert recovery is not None
    assert recovery.ended_wall_seconds is None
    assert began / 1e6 <= recovery.began_wall_seconds <= ended / 1e6


def test_who_tried_to_open_it_in_vain_recovers_nothing() -> None:
    """The lock was another's."""
    assert sample_of(CAPTURED / "attempted").recovery is None


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
