"""Decoding EVENT_LOG_v1 lines, whole, cut and glued."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.rocksdb.log_events import (
    EVENT_MARK,
    decode_event,
    input_files,
    input_level,
    is_interesting,
)
from tests.fuzz.contract import require_sound

CREATION = (
    b'2026/11/21-02:47:22.970539 10029 EVENT_LOG_v1 {"time_micros": 1795229242970523, '
    b'"cf_name": "default", "job": 13, "event": "table_file_creation", "file_number": 32, '
    b'"file_size": 516639, "file_checksum": "", "file_checksum_func_name": "Unknown", '
    b'"smallest_seqno": 19710, "largest_seqno": 21899, "table_properties": {"data_size": 513, '
    b'"column_family_name": "default", "column_family_id": 0}, "oldest_blob_file_number": 0}'
)
FINISHED = (
    b"2026/11/21-02:47:22.975999 10028 (Original Log Time 2026/11/21-02:47:22.975946) "
    b'EVENT_LOG_v1 {"time_micros": 1795229242975941, "job": 11, "event": "compaction_finished", '
    b'"compaction_time_micros": 31375, "compaction_time_cpu_micros": 22538, "output_level": 1, '
    b'"num_output_files": 4, "total_output_size": 3977637, "num_input_records": 17456, '
    b'"num_output_records": 17200, "num_subcompactions": 1, "output_compression": "Snappy", '
    b'"num_single_delete_mismatches": 0, "num_single_delete_fallthrough": 0, '
    b'"lsm_state": [2, 4, 0, 0, 0, 0, 0]}'
)


def test_an_event_gives_its_fields() -> None:
    """The normal case."""
    event, damaged, glued = decode_event(CREATION, CREATION.index(EVENT_MARK))
    assert event is not None
    assert (
        event.event,
        event.job,
        event.cf_name,
        event.file_size,
        damaged,
        glued,
    ) == ("table_file_creation", 13, "default", 516639, False, b"")


@pytest.mark.parametrize("name", [b'we[i]rd \xc3\xbc "q', b"back\\slash", b"caf\xe9", b"a, b: {"])
def test_a_raw_family_name_is_no_damage(name: bytes) -> None:
    """RocksDB writes names without escaping, also inside the table properties."""
    line = CREATION.replace(b"default", name)
    event, damaged, _ = decode_event(line, line.index(EVENT_MARK))
    assert event is not None
    assert (name.decode("utf-8", "backslashreplace"), 516639, False) == (
        event.cf_name,
        event.file_size,
        damaged,
    )


@pytest.mark.parametrize("length", range(200, 400, 37))
def test_a_cut_event_keeps_what_stands_before_the_cut(length: int) -> None:
    """Old versions cut events at 512 bytes."""
    line = CREATION[:length]
    event, damaged, _ = decode_event(line, line.index(EVENT_MARK))
    assert event is not None
    assert (event.file_size, event.job, damaged) == (516639, 13, True)


def test_a_cut_number_is_not_taken_for_a_whole_one() -> None:
    """ "file_size": 5166 would be ten times less flush output."""
    line = CREATION[: CREATION.index(b"39, " + b'"file_checksum"')]
    event, damaged, _ = decode_event(line, line.index(EVENT_MARK))
    assert event is not None
    assert (event.file_size, damaged) == (None, True)


def test_a_line_glued_to_a_cut_event_is_handed_back() -> None:
    """A full disk swallows newlines too."""
    line = CREATION[:300] + FINISHED
    event, damaged, glued = decode_event(line, line.index(EVENT_MARK))
    assert event is not None
    assert (damaged, glued) == (True, FINISHED)


def test_the_input_level_is_the_first_level_listed() -> None:
    """compaction_started has one field for each level."""
    line = b'EVENT_LOG_v1 {"job": 1, "files_L4": [1049], "files_L5": [981], "score": 1.0}'
    assert (input_level(line, 0), input_level(CREATION, 0)) == (4, None)


def test_a_damaged_list_of_input_files_is_no_error() -> None:
    """A lost comma makes the event no JSON, but what stands before is read all the same."""
    line = b'EVENT_LOG_v1 {"job": 1, "files_L0": [52, 49 44,], "files_L1": [], "files_L2": [7]}'
    assert input_files(line, 0) == {0: (52, 49, 44), 2: (7,)}


def test_deletions_are_not_worth_decoding() -> None:
    """They are the commonest event and carry nothing."""
    deletion = CREATION.replace(b'"table_file_creation"', b'"table_file_deletion"')
    assert (
        is_interesting(CREATION, CREATION.index(EVENT_MARK)),
        is_interesting(deletion, deletion.index(EVENT_MARK)),
    ) == (True, False)


@given(st.integers(0, len(FINISHED)), st.integers(0, len(FINISHED)), st.binary(max_size=40))
def test_no_damage_makes_decoding_raise(start: int, length: int, noise: bytes) -> None:
    """Bytes overwritten anywhere give an event or none, and what is left of the line is its end."""
    line = FINISHED[:start] + noise + FINISHED[start + length :]
    event, damaged, glued = decode_event(line, max(0, line.find(EVENT_MARK)))
    assert event is not None or damaged
    assert line.endswith(glued)
    require_sound(event)
