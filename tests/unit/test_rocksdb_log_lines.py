"""Cutting the LOG into lines and reading the plain-text ones, on lines RocksDB really wrote."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.rocksdb import log_lines
from probes.rocksdb.log_lines import MAX_LINE_BYTES, LineSplitter, StallLine
from tests.fuzz.contract import require_bounded, require_sound

STALLING = (
    b"2026/11/21-02:47:22.970972 10029 [WARN] [db/column_family.cc:1001] [default] "
    b"Stalling writes because we have 6 level-0 files rate 8388608"
)
STOPPING_ODD_FAMILY = (
    b"2026/11/21-03:12:03.805551 140074958190272 [WARN] [db/column_family.cc:987] "
    b'[we[i]rd \xc3\xbc "q] Stopping writes because we have 3 immutable memtables '
    b"(waiting for flush), max_write_buffer_number is set to 3"
)
STOPPING_PENDING_5_18 = (
    b"2019/01/02-03:04:05.000006 7f01c6f5d700 [WARN] [db/column_family.cc:743] [a] "
    b"Stopping writes because of estimated pending compaction bytes 274877906944"
)
BUFFERED = (
    b"2026/11/21-02:47:22.971028 10029 (Original Log Time 2026/11/21-02:47:22.970964) "
    b'EVENT_LOG_v1 {"time_micros": 1795229242970961, "job": 13, "event": "flush_finished"}'
)
TIKV = (
    b"[2022/04/30 07:16:11.145 +08:00][2][WARN] [db/column_family.cc:812] [default] "
    b"Stalling writes because of estimated pending compaction bytes 206158430209 rate 13421772"
)


def test_a_delay_line_gives_family_cause_rate_and_local_time() -> None:
    """The normal form of the WARN line."""
    expected = StallLine(1795229242970972, "default", "delayed", "l0_files", 8388608.0)
    assert expected == log_lines.parse_stall(STALLING)


def test_a_stop_line_of_a_family_with_brackets_quotes_and_umlauts_is_read() -> None:
    """The family is everything up to the last bracket before the text."""
    stall = log_lines.parse_stall(STOPPING_ODD_FAMILY)
    assert stall is not None
    assert (
        stall.column_family,
        stall.state,
        stall.cause,
        stall.delayed_write_rate,
    ) == ('we[i]rd ü "q', "stopped", "memtables", None)


def test_a_stop_line_with_a_hexadecimal_thread_id_is_read() -> None:
    """Thread ids are hexadecimal up to 6.26."""
    stall = log_lines.parse_stall(STOPPING_PENDING_5_18)
    assert stall is not None
    assert (stall.state, stall.cause) == ("stopped", "pending_compaction_bytes")


def test_a_family_name_that_is_not_utf8_keeps_its_bytes_visible() -> None:
    """Two such families must stay two."""
    stall = log_lines.parse_stall(STALLING.replace(b"[default]", b"[caf\xe9]"))
    assert stall is not None
    assert stall.column_family == "caf\\xe9"


@pytest.mark.parametrize("cut", [20, 60, 90, 110, 130, len(STALLING) - 8])
def test_a_cut_stall_line_is_not_read(cut: int) -> None:
    """Half a line must not become a stall."""
    assert None is log_lines.parse_stall(STALLING[:cut])


def test_tikv_lines_are_read_with_their_milliseconds() -> None:
    """TiKV's logger writes its own prefix."""
    stall = log_lines.parse_stall(TIKV)
    assert stall is not None
    assert (
        stall.column_family,
        stall.state,
        stall.delayed_write_rate,
    ) == ("default", "delayed", 13421772.0)
    assert stall.local_micros % 1_000_000 == 145_000
    assert log_lines.is_coarse(TIKV)


def test_the_original_time_of_a_buffered_line_counts_as_its_making() -> None:
    """Lines of the log buffer are written later than they were made."""
    assert (
        log_lines.line_micros(BUFFERED),
        log_lines.made_micros(BUFFERED),
    ) == (1795229242971028, 1795229242970964)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            b"2026/11/21-02:47:22.914786 10028 [db/compaction/compaction_job.cc:1995] [default] "
            b"[JOB 6] Compacting 4@0 files to L1, score 1.00",
            (6, "default"),
        ),
        (
            b"2026/11/21-03:12:03.872999 140074949797568 [db/flush_job.cc:901] "
            b'[we[i]rd \xc3\xbc "q] [JOB 344] Flushing memtable with next log file: 1061',
            (344, 'we[i]rd ü "q'),
        ),
        (
            b"2026/01/01-00:00:00.000000 1 [db/flush_job.cc:905] [cf] [JOB 7] "
            b"Flushing memtable id 12 with next log file: 9",
            (7, "cf"),
        ),
        (
            b"2026/11/21-02:47:22.908202 10029 [db/flush_job.cc:890] [default] [JOB 7] "
            b"Level-0 flush table #19: started",
            None,
        ),
    ],
)
def test_the_lines_that_announce_a_job_name_its_family(
    line: bytes, expected: tuple[int, str] | None
) -> None:
    """flush events carry no family, compaction events only since 10.4."""
    assert expected == log_lines.parse_job(line)


def test_a_trivial_move_is_told_from_the_files_it_moves() -> None:
    """11.x logs each file as moved before the version is installed; only the last line counts."""
    prefix = b"2026/11/21-02:47:22.914786 10028 [db/db_impl/db_impl_compaction_flush.cc:3342] "
    begun = log_lines.parse_move(prefix + b"[default] Moving #42 to level-2 1007944 bytes")
    each = log_lines.parse_move(prefix + b"[default] Moved #42 to level-2 1007944 bytes")
    done = log_lines.parse_move(
        prefix + b"[default] Moved #1 files to level-2 1007944 bytes OK: base level 1"
    )
    assert (begun and begun.done, each, done and done.done) == (False, None, True)


def test_a_trivial_moves_last_line_tells_the_levels() -> None:
    """Its event does not."""
    move = log_lines.parse_move(
        b"2026/11/21-03:13:41.024001 22259 (Original Log Time 2026/11/21-03:13:41.023676) "
        b"[db/db_impl/db_impl_compaction_flush.cc:3378] [wide] Moved #4 files to level-2 307912 "
        b"bytes OK: files[0 5 4 0] max score 0.59"
    )
    assert move is not None
    assert (move.column_family, move.done, move.level_files) == ("wide", True, (0, 5, 4, 0))


def test_a_partial_line_is_held_back_until_its_newline() -> None:
    """A writer may be in the middle of a line."""
    splitter = LineSplitter()
    assert [
        splitter.split(b"on"),
        splitter.split(b""),
        splitter.split(b"e\ntw"),
        splitter.split(b"o\nthr"),
        splitter.finish(),
    ] == [b"", b"", b"one\n", b"two\n", b"thr\n"]


def test_nul_bytes_are_removed_and_their_lines_counted() -> None:
    """A crash leaves blocks of NUL; the text after them is whole."""
    splitter = LineSplitter()
    assert splitter.split(b"one\n\0\0\0\0two\n") == b"one\ntwo\n"
    assert splitter.damaged == 1


@pytest.mark.parametrize("pieces", [1, 7])
def test_a_line_beyond_the_limit_is_dropped_and_the_next_one_read(pieces: int) -> None:
    """Memory is bounded whether the line comes at once or little by little."""
    text = b"before\n" + b"x" * (MAX_LINE_BYTES + 10) + b"\nafter\n"
    step = len(text) // pieces + 1
    splitter = LineSplitter()
    blocks = [splitter.split(text[at : at + step]) for at in range(0, len(text), step)]
    assert b"".join(blocks) == b"before\nafter\n"
    assert splitter.damaged == 1


@given(st.lists(st.binary(max_size=60), max_size=12))
def test_no_cutting_of_the_input_changes_the_lines(chunks: list[bytes]) -> None:
    """What comes out depends on the bytes, not on where reading happened to stop."""
    splitter = LineSplitter()
    out = b"".join(splitter.split(chunk) for chunk in chunks) + splitter.finish()
    whole = b"".join(chunks).replace(b"\0", b"")
    assert out == whole if whole.endswith(b"\n") or not whole else out == whole + b"\n"


PARSERS: tuple[Callable[[bytes], object], ...] = (
    log_lines.parse_stall,
    log_lines.parse_job,
    log_lines.parse_move,
    log_lines.parse_family,
    log_lines.made_micros,
    log_lines.message_text,
)


@given(st.binary(max_size=300))
def test_no_line_makes_a_parser_raise(noise: bytes) -> None:
    """Whatever stands in a file, each parser answers or says None; no answer outgrows its line."""
    for line in (noise, STALLING[:80] + noise, noise + STALLING[60:], b"[" + noise):
        for parse in PARSERS:
            answer = parse(line)
            require_sound(answer)
            require_bounded(answer, len(line), base=256)


@pytest.mark.parametrize("rest", [b"", b"97", b"\n97072 1 more", b" 97072", b"97_072", b"+97072"])
def test_a_time_that_was_cut_is_none_whatever_follows(rest: bytes) -> None:
    """The next line is not what was cut off."""
    assert log_lines.line_micros(b"2026/11/21-02:47:22." + rest) is None
