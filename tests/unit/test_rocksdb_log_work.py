"""What the LOG tells of the work itself: inputs by level, moves, CPU, memory, the rate limiter."""

# ruff: noqa: E501  -- lines as RocksDB writes them

import pytest

from probes.rocksdb.log_events import EVENT_MARK, input_files
from probes.rocksdb.log_lines import parse_flush_cpu, parse_rate_limiter
from probes.rocksdb.log_state import LogState
from probes.rocksdb.samples import LevelInput
from tests.unit.agent_samples import ROCKSDB, captured_log

VERSIONS = (
    "v5.3.0",
    "v6.17.3",
    "v6.29.5",
    "v7.4.4",
    "v7.8.3",
    "v8.8.1",
    "v9.0.0",
    "v9.8.4",
    "v10.7.5",
    "v11.8.1",
)


@pytest.mark.parametrize("name", [*VERSIONS, "universal"])
def test_a_compactions_input_is_split_by_level(name: str) -> None:
    """The parts add up to RocksDB's own input_data_size, in every version."""
    compactions = captured_log(name).recent_compactions
    assert compactions
    for compaction in compactions:
        assert compaction.inputs
        assert compaction.inputs[0].level == compaction.input_level
        told = sum(part.bytes or 0.0 for part in compaction.inputs)
        assert told == pytest.approx(compaction.input_bytes, abs=1.0)
        assert all(part.files > 0 for part in compaction.inputs)


def test_table_sizes_of_the_input_are_those_of_their_creation() -> None:
    """Level 0's tables of a captured merge, against the sizes that their creation told."""
    compaction = next(c for c in captured_log("v7.8.3").recent_compactions if len(c.inputs) == 2)
    # [JOB 8] Compacting 3@0 + 1@1: files 20, 18, 16 and 14 of the captured LOG.
    text = (ROCKSDB / "v7.8.3" / "LOG").read_text(errors="replace")
    sizes = {
        number: int(text.split(f'"file_number": {number}, "file_size": ')[1].split(",")[0])
        for number in (20, 18, 16, 14)
    }
    assert compaction.job == 8
    assert compaction.inputs == (
        LevelInput(0, 3, float(sizes[20] + sizes[18] + sizes[16])),
        LevelInput(1, 1, float(sizes[14])),
    )


@pytest.mark.parametrize("name", VERSIONS)
def test_moves_are_told_with_their_bytes_and_what_was_there(name: str) -> None:
    """Every trivial_move event of a real LOG, none of them counted as a compaction."""
    log = captured_log(name)
    lines = (ROCKSDB / name / "LOG").read_bytes().splitlines()
    assert len(log.recent_moves) == sum(b'"trivial_move"' in line for line in lines)
    for move in log.recent_moves:
        assert move.column_family in ("default", "second")
        assert move.bytes > 0
        assert move.destination_files_before is not None


@pytest.mark.parametrize("name", [name for name in VERSIONS if name not in ("v5.3.0", "v6.17.3")])
def test_a_flush_tells_its_cpu_where_the_version_does(name: str) -> None:
    """Since 6.28, in a text line; never more than the flush lasted."""
    for flush in captured_log(name).recent_flushes:
        assert flush.cpu_seconds is not None
        assert flush.duration_seconds is not None
        assert 0.0 < flush.cpu_seconds <= flush.duration_seconds


def test_older_versions_tell_no_flush_cpu() -> None:
    """Unknown is not zero."""
    assert {None} == {flush.cpu_seconds for flush in captured_log("v6.17.3").recent_flushes}


def test_a_flush_tells_memory_reason_keys_and_values() -> None:
    """Memtables of 128 KiB; keys of 16 bytes; the reason in RocksDB's words."""
    flush = captured_log("v11.8.1").recent_flushes[0]
    assert flush.reason == "Write Buffer Full"
    assert flush.memory_usage_bytes == pytest.approx(131072, rel=0.02)
    assert flush.table_entries is not None
    assert flush.key_bytes == 16 * flush.table_entries
    assert flush.value_bytes is not None
    assert flush.value_bytes % 400 == 0


@pytest.mark.parametrize(
    ("name", "expected"), [("v5.3.0", True), ("v11.8.1", True), ("universal", False)]
)
def test_the_header_tells_whether_there_is_a_rate_limiter(name: str, expected: bool) -> None:
    """By the pointer that it prints; the general load was written with one."""
    assert captured_log(name).rate_limiter is expected


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        (b"(nil)", False),
        (b"0x0", False),
        (b"0000000000000000", False),
        (b"", False),
        (b"0x55b6ae79e960", True),
        (b"000001F2A3B4C5D0", True),
    ],
)
def test_a_null_pointer_is_no_limiter(pointer: bytes, expected: bool) -> None:
    """However the platform prints it."""
    line = b"2026/11/21-03:17:20.377382 30766                            Options.rate_limiter: "
    assert parse_rate_limiter(line + pointer) is expected


def test_a_cut_line_tells_no_cpu() -> None:
    """A message cut in the middle of its numbers is not half a number."""
    line = b"2026/11/21-03:23:50.667470 11892 [db/flush_job.cc:1025] [a] b] [JOB 2] Flush lasted 1743 microseconds, and 1118 cpu microseconds."
    assert parse_flush_cpu(line) == (2, 1118)
    assert parse_flush_cpu(line[: line.index(b" cpu")]) is None


def test_levels_without_files_are_left_out_of_the_input() -> None:
    """Universal compaction lists every level it passes."""
    event = (
        EVENT_MARK
        + b' {"event": "compaction_started", "files_L0": [15, 13], "files_L1": [], "files_L3": [9]}'
    )
    assert input_files(event, 0) == {0: (15, 13), 3: (9,)}


def test_without_the_sizes_of_tables_their_number_divides_the_input() -> None:
    """The LOG was joined after the tables' creation: 3 of 4 files are of level 0."""
    state = LogState()
    state.feed(
        b'2026/11/21-03:17:20.697760 30807 EVENT_LOG_v1 {"time_micros": 1795231040697754, "job": 8, "event": "compaction_started", "compaction_reason": "LevelL0FilesNum", "files_L0": [20, 18, 16], "files_L1": [14], "score": 1.5, "input_data_size": 4000}\n'
        b'2026/11/21-03:17:20.797760 30807 EVENT_LOG_v1 {"time_micros": 1795231040797754, "job": 8, "event": "compaction_finished", "compaction_time_micros": 99391, "output_level": 1, "total_output_size": 3900, "num_subcompactions": 1, "lsm_state": [0, 1]}\n'
    )
    (compaction,) = state.sample(0.0, "LOG", 1795231041.0).recent_compactions
    assert compaction.inputs == (LevelInput(0, 3, 3000.0), LevelInput(1, 1, 1000.0))
    assert compaction.level_files == (0, 1)
