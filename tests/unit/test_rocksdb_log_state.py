"""Adding up a LOG: joins, totals, stalls, openings, damage."""

# ruff: noqa: E501  -- lines as RocksDB writes them

from hypothesis import given
from hypothesis import strategies as st

from probes.rocksdb.log_state import LogState
from probes.rocksdb.samples import LogSample

OFFSET = 3600.0  # the database's local time is one hour ahead of UTC in these lines
HOUR = 3_600_000_000
BASE = 1_795_229_242_000_000  # 2026/11/21-02:47:22 UTC, in microseconds


def stamp(micros: int) -> bytes:
    """The local time, from 03:47:22 on, of Unix time ``BASE + micros``."""
    seconds, rest = divmod(micros, 1_000_000)
    return b"2026/11/21-03:%02d:%02d.%06d" % (47 + (22 + seconds) // 60, (22 + seconds) % 60, rest)


def line(micros: int, text: bytes) -> bytes:
    return stamp(micros) + b" 10029 " + text + b"\n"


def event(micros: int, fields: bytes, *, buffered: bool = False) -> bytes:
    json = b'EVENT_LOG_v1 {"time_micros": %d, %s}' % (BASE + micros, fields)
    if buffered:
        json = b"(Original Log Time " + stamp(micros + 3) + b") " + json
        micros += 100
    return line(micros, json)


def opening(micros: int) -> bytes:
    return line(micros, b"RocksDB version: 7.8.3") + line(
        micros + 500, b"[db/version_set.cc:5536] Recovering from manifest file: /db/MANIFEST-000001"
    )


def flush(micros: int, job: int, entries: int = 1000, family: bytes = b"default") -> bytes:
    """A flush of one second as 7.8 logs it."""
    return (
        line(
            micros,
            b"[db/flush_job.cc:861] [%s] [JOB %d] Flushing memtable with next log file: 3"
            % (family, job),
        )
        + event(
            micros,
            b'"job": %d, "event": "flush_started", "num_memtables": 1, "num_entries": %d, '
            b'"num_deletes": 5, "total_data_size": %d' % (job, entries, entries * 100),
        )
        + event(
            micros + 900_000,
            b'"cf_name": "%s", "job": %d, "event": "table_file_creation", "file_number": 9, '
            b'"file_size": %d, "table_properties": {}' % (family, job, entries * 60),
        )
        + event(
            micros + 1_000_000,
            b'"job": %d, "event": "flush_finished", "lsm_state": [1, 0], '
            b'"immutable_memtables": 0' % job,
            buffered=True,
        )
    )


STALLING = b"[WARN] [db/column_family.cc:1001] [%s] Stalling writes because we have 6 level-0 files rate 8388608"


def sample_of(*blocks: bytes, now: float = BASE / 1e6, state: LogState | None = None) -> LogSample:
    state = state or LogState(offset_seconds=OFFSET)
    for block in blocks:
        state.feed(block)
    return state.sample(0.0, "LOG", now)


def test_a_flush_joins_its_three_events_by_job() -> None:
    """Input in the first, output in the second, end in the third."""
    sample = sample_of(opening(0), flush(10, 7))
    (joined,) = sample.recent_flushes
    assert (
        joined.job,
        joined.column_family,
        joined.entries,
        joined.deletes,
        joined.user_bytes,
        joined.output_bytes,
        joined.duration_seconds,
    ) == (7, "default", 1000, 5, 100_000, 60_000, 1.0)
    assert (sample.flushes, sample.puts, sample.user_bytes, sample.flush_output_bytes) == (
        1,
        1000,
        100_000,
        60_000,
    )
    assert sample.level_files == {"default": (1, 0)}


def test_the_entries_of_10_3_and_later_are_found_under_their_new_name() -> None:
    """num_entries became total_num_input_entries."""
    block = flush(10, 7).replace(b'"num_entries"', b'"total_num_input_entries"')
    assert sample_of(block).puts == 1000


def test_an_atomic_flush_of_two_families_is_two_flushes() -> None:
    """They share a job id, and their ends are logged after all of them."""
    one = flush(10, 7, 1000, b"a").splitlines(keepends=True)
    two = flush(20, 7, 300, b"b").splitlines(keepends=True)
    sample = sample_of(b"".join(one[:3] + two[:3] + one[3:] + two[3:]))
    assert [(f.column_family, f.entries, f.output_bytes) for f in sample.recent_flushes] == [
        ("a", 1000, 60_000),
        ("b", 300, 18_000),
    ]


def test_a_flush_whose_beginning_was_not_read_is_not_counted() -> None:
    """Its end alone says neither input nor output."""
    end = flush(10, 7).splitlines(keepends=True)[-1]
    assert sample_of(end).flushes == 0


def test_a_failed_flush_is_not_counted_and_ends_no_stall() -> None:
    """Its finished event looks like any other; the memtable is flushed again later."""
    result = line(
        4_900_000,
        b"[db/flush_job.cc:1046] [default] [JOB 7] Level-0 flush table #22: 0 bytes IO error: No "
        b"space left on device: While appending to file: /db/000022.sst: No space left on device",
    )
    parts = flush(4_000_000, 7).splitlines(keepends=True)
    sample = sample_of(
        line(0, STALLING % b"default"),
        b"".join([*parts[:2], result, parts[-1]]),
        flush(9_000_000, 8),
    )
    assert (sample.flushes, sample.puts, sample.stall_seconds["delayed"]) == (1, 1000, 10.0)


def test_a_failed_compaction_ends_no_stall() -> None:
    """It installs no version."""
    end = event(
        2_000_000,
        b'"job": 8, "event": "compaction_finished", "total_output_size": 0, "lsm_state": [9, 3]',
        buffered=True,
    )
    summary = line(
        2_000_000,
        b"[db/c.cc:929] [default] compacted to: files[9 3] max score 0.50, MB/sec: 139.4 rd, "
        b"135.7 wr, level 1, files in(4, 0) out(2 +0 blob) MB in(2.0, 0.0 +0.0 blob) out(1.9 +0.0 "
        b"blob), read-write-amplify(2.0) write-amplify(1.0) %s, records in: 8736, records "
        b"dropped: 80 output_compression: Snappy",
    )
    begun = line(0, STALLING % b"default") + line(
        1, b"[db/c.cc:1995] [default] [JOB 8] Compacting 4@0 files to L1, score 1.00"
    )
    failed = sample_of(begun + summary.replace(b"%s", b"IO error: No space left") + end)
    succeeded = sample_of(begun + summary.replace(b"%s", b"OK") + end)
    assert (len(failed.stalls), len(succeeded.stalls)) == (1, 0)


def test_a_compaction_joins_start_and_end() -> None:
    """The family stands only in the text line before 10.4."""
    sample = sample_of(
        line(0, b"[db/c.cc:1995] [we[i]rd] [JOB 8] Compacting 4@0 + 2@1 files to L1, score 1.00"),
        event(
            1,
            b'"job": 8, "event": "compaction_started", "compaction_reason": "LevelL0FilesNum", '
            b'"files_L0": [9, 8], "files_L1": [3], "score": 1, "input_data_size": 5000',
        ),
        event(
            2_000_000,
            b'"job": 8, "event": "compaction_finished", "compaction_time_micros": 1500000, '
            b'"compaction_time_cpu_micros": 700000, "output_level": 1, "total_output_size": 4000, '
            b'"num_input_records": 50, "num_output_records": 40, "num_subcompactions": 2, '
            b'"lsm_state": [0, 3]',
            buffered=True,
        ),
    )
    (compaction,) = sample.recent_compactions
    assert (
        compaction.column_family,
        compaction.input_level,
        compaction.output_level,
        compaction.input_bytes,
        compaction.output_bytes,
        compaction.input_records,
        compaction.output_records,
        compaction.duration_seconds,
        compaction.cpu_seconds,
        compaction.subcompactions,
        compaction.reason,
    ) == ("we[i]rd", 0, 1, 5000, 4000, 50, 40, 1.5, 0.7, 2, "LevelL0FilesNum")
    assert (sample.compaction_input_bytes, sample.compaction_output_bytes) == (5000, 4000)


def test_local_times_are_converted_by_what_an_event_tells() -> None:
    """The watching host's own zone is only a first guess."""
    state = LogState(offset_seconds=-5 * 3600.0)
    sample = sample_of(opening(0), flush(1_000_000, 1), state=state)
    assert (sample.first_wall_seconds, sample.opened_wall_seconds) == (BASE / 1e6, BASE / 1e6)
    assert sample.last_wall_seconds == (BASE + 2_000_100) / 1e6


def test_a_stall_ends_with_the_flush_that_is_followed_by_no_warning() -> None:
    """The whole chain, from lines."""
    sample = sample_of(line(0, STALLING % b"default"), flush(4_000_000, 7))
    assert (sample.stalls, sample.stall_seconds["delayed"]) == ((), 5.0)


def test_a_stall_goes_on_when_the_warning_is_written_before_its_flush_event() -> None:
    """The event went through the log buffer."""
    parts = flush(4_000_000, 7).splitlines(keepends=True)
    warning = line(5_000_020, STALLING % b"default")
    sample = sample_of(
        line(0, STALLING % b"default"),
        b"".join(parts[:-1]) + warning + parts[-1],
        now=(BASE + 9_000_000) / 1e6,
    )
    (stall,) = sample.stalls
    assert (stall.state, stall.cause, stall.since_wall_seconds, stall.delayed_write_rate) == (
        "delayed",
        "l0_files",
        BASE / 1e6,
        8388608.0,
    )
    assert (sample.stall_seconds["delayed"], sample.stall_count["delayed"]) == (9.0, 1)


def test_opening_the_database_clears_stalls_errors_and_jobs() -> None:
    """It died in a stall; nobody logged an end. What it logged last is the end."""
    error = line(
        2_000_000, b"[ERROR] [db/x.cc:1] Waiting after background flush error: IO error: x"
    )
    died = line(0, STALLING % b"default") + error
    before = sample_of(died)
    assert (len(before.stalls), before.background_error is not None) == (1, True)
    after = sample_of(died, opening(50_000_000), flush(60_000_000, 1))
    assert (after.stalls, after.background_error, after.flushes) == ((), None, 1)
    assert (after.stall_seconds["delayed"], after.opened_wall_seconds) == (
        2.0,
        (BASE + 50_000_000) / 1e6,
    )


def test_a_job_id_used_again_after_an_opening_is_another_job() -> None:
    """Ids begin again at each opening; the flush that was running is gone."""
    lost = b"".join(flush(0, 7, entries=9).splitlines(keepends=True)[:2])
    sample = sample_of(lost, opening(5_000_000), flush(6_000_000, 7, entries=1000))
    assert [(f.entries, f.output_bytes) for f in sample.recent_flushes] == [(1000, 60_000)]


def test_a_log_rolled_by_size_is_no_opening() -> None:
    """The header is repeated, the recovery is not."""
    header = line(5_000_000, b"RocksDB version: 7.8.3")
    sample = sample_of(opening(0), line(1_000_000, STALLING % b"default"), header)
    assert (len(sample.stalls), sample.opened_wall_seconds) == (1, BASE / 1e6)


def test_a_dropped_familys_stall_is_gone() -> None:
    """Dropping names only the id."""
    sample = sample_of(
        line(0, b"[db/db_impl.cc:1] Created column family [gone] (ID 3)"),
        line(1, STALLING % b"gone"),
        line(9, b"[db/db_impl.cc:2] Dropped column family with id 3"),
    )
    assert sample.stalls == ()


def test_only_the_last_minutes_of_events_are_kept_but_totals_stay() -> None:
    """Memory is bounded by time, counted from the newest line."""
    state = LogState(keep_seconds=60.0, offset_seconds=OFFSET)
    sample = sample_of(flush(0, 1), flush(100_000_000, 2), state=state)
    assert ([f.job for f in sample.recent_flushes], sample.flushes) == ([2], 2)


def test_a_log_without_events_says_so() -> None:
    """No events is not idle: the level may hide them."""
    sample = sample_of(line(0, b"RocksDB version: 6.4.6"))
    assert (sample.has_events, sample.puts, sample.rocksdb_version) == (False, None, "6.4.6")
    assert sample.opened_wall_seconds == BASE / 1e6


def test_a_stats_dump_is_read_across_blocks_and_dated_by_its_announcement() -> None:
    """Its lines have no time of their own."""
    announced = line(1_000_000, b"[db/db_impl.cc:1105] ------- DUMPING STATS -------")
    body = line(1_000_050, b"[db/db_impl.cc:1107] ") + b"** DB Stats **\nUptime(secs): 3.0 total,"
    sample = sample_of(announced + body + b" 2.0 interval\n", b"\n", line(1_100_000, b"done"))
    assert sample.stats_dump is not None
    assert (sample.stats_dump.wall_seconds, sample.stats_dump.uptime_seconds) == (
        (BASE + 1_000_000) / 1e6,
        3.0,
    )


def test_a_cut_event_is_counted_and_the_rest_is_right() -> None:
    """Damage costs its own line only."""
    broken = event(5, b'"job": 3, "event": "compaction_finished", "total_output_si')[:-3] + b"\n"
    sample = sample_of(flush(0, 1), broken, flush(9_000_000, 2))
    assert (sample.damaged_lines, sample.flushes, sample.puts) == (1, 2, 2000)


_WHOLE = opening(0) + line(1, STALLING % b"default") + flush(10, 1) + flush(2_000_000, 2)


@given(st.integers(0, len(_WHOLE)), st.integers(0, 300), st.binary(max_size=300))
def test_no_damage_makes_reading_raise(at: int, length: int, noise: bytes) -> None:
    """Whatever bytes stand in the LOG, there is a sample."""
    sample = sample_of(_WHOLE[:at] + noise + _WHOLE[at + length :] + b"\n")
    assert sample.flushes <= 2 + noise.count(b"flush_finished")


@given(st.lists(st.integers(1, len(_WHOLE) - 1), max_size=6))
def test_the_sample_does_not_depend_on_how_lines_are_grouped(cuts: list[int]) -> None:
    """Reading in any portions of whole lines gives the same answer."""
    ends = sorted({_WHOLE.find(b"\n", cut) + 1 for cut in cuts} | {len(_WHOLE)})
    blocks = [_WHOLE[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert sample_of(*blocks) == sample_of(_WHOLE)
