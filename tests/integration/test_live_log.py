"""The LOG probe beside a real database that writes, stalls and is opened again."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from probes.clock import SystemClock
from probes.rocksdb.log import LogProbe, parse_log
from probes.rocksdb.samples import LogSample

DB_BENCH = shutil.which("db_bench")
pytestmark = pytest.mark.skipif(DB_BENCH is None, reason="db_bench (rocksdb-tools) is missing")

PUTS = 200_000
WRITER = """
import os, sys
from rocksdict import Options, Rdict
options = Options(raw_mode=True)
options.create_if_missing(True)
options.create_missing_column_families(True)
options.set_write_buffer_size(200_000)
names = ["default", 'we[i]rd \\u00fc "q']
db = Rdict(sys.argv[1], options, column_families={name: options for name in names})
families = [db.get_column_family(name) for name in names]
for number in range(4000):
    families[number % 2][os.urandom(8)] = os.urandom(200)
"""


def bench(database: Path, *, existing: bool = False) -> subprocess.Popen[bytes]:
    assert DB_BENCH is not None
    return subprocess.Popen(
        [
            DB_BENCH,
            f"--db={database}",
            "--benchmarks=fillrandom",
            f"--use_existing_db={int(existing)}",
            f"--num={PUTS}",
            "--value_size=100",
            "--write_buffer_size=500000",
            "--max_write_buffer_number=2",
            "--level0_file_num_compaction_trigger=2",
            "--level0_slowdown_writes_trigger=3",
            "--level0_stop_writes_trigger=5",
            "--max_bytes_for_level_base=2000000",
            "--target_file_size_base=500000",
            "--stats_dump_period_sec=1",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def follow(probe: LogProbe, writer: subprocess.Popen[bytes], log: Path) -> list[LogSample]:
    samples = []
    deadline = time.monotonic() + 60
    while writer.poll() is None and time.monotonic() < deadline:
        if log.exists():
            samples.append(probe.read())
        time.sleep(0.02)
    writer.wait(10)
    samples.append(probe.read())
    return samples


def test_following_a_writing_database_ends_with_what_the_whole_file_says(tmp_path: Path) -> None:
    """In many small steps or in one: the same totals, events and stalls."""
    database = tmp_path / "db"
    probe = LogProbe(str(database), SystemClock())
    samples = follow(probe, bench(database), database / "LOG")
    probe.close()
    followed, parsed = samples[-1], parse_log(f"{database}/LOG", SystemClock())
    assert followed.recent_flushes == parsed.recent_flushes
    assert followed.recent_compactions == parsed.recent_compactions
    assert followed.stall_count == parsed.stall_count
    assert (followed.puts, followed.damaged_lines) == (parsed.puts, 0)
    assert 0.97 * PUTS <= (followed.puts or 0) <= PUTS
    assert any(sample.stalls for sample in samples)
    assert parsed.stall_seconds["delayed"] + parsed.stall_seconds["stopped"] > 0
    for state in ("delayed", "stopped"):
        seconds = [sample.stall_seconds[state] for sample in samples]
        assert seconds == sorted(seconds)


def test_totals_go_on_when_the_database_is_opened_again(tmp_path: Path) -> None:
    """Each opening rolls the LOG and restarts the job ids."""
    database = tmp_path / "db"
    probe = LogProbe(str(database), SystemClock())
    first = follow(probe, bench(database), database / "LOG")[-1]
    second = follow(probe, bench(database, existing=True), database / "LOG")[-1]
    probe.close()
    parsed = parse_log(f"{database}/LOG", SystemClock())
    assert second.flushes == first.flushes + parsed.flushes
    assert second.opened_wall_seconds == parsed.opened_wall_seconds
    assert second.stalls == parsed.stalls


def test_an_attempt_to_open_it_too_hides_nothing_of_what_the_owner_does(tmp_path: Path) -> None:
    """The owner goes on in a file that has another name now."""
    database = tmp_path / "db"
    probe = LogProbe(str(database), SystemClock())
    owner = bench(database)
    until = time.monotonic() + 30
    while not (database / "LOG").exists() or not probe.read().flushes:
        assert time.monotonic() < until
    assert bench(database, existing=True).wait(30) != 0, "the lock is another's"
    sample = follow(probe, owner, database / "LOG")[-1]
    probe.close()
    (owners,) = database.glob("LOG.old.*")
    parsed = parse_log(str(owners), SystemClock())
    assert (sample.flushes, sample.puts) == (parsed.flushes, parsed.puts)
    assert sample.recent_compactions == parsed.recent_compactions
    assert (sample.log_path, sample.damaged_lines) == (str(owners), 0)


def test_families_with_quotes_brackets_and_umlauts_keep_their_names(tmp_path: Path) -> None:
    """Written by another RocksDB, the one inside rocksdict."""
    subprocess.run([sys.executable, "-c", WRITER, str(tmp_path / "db")], check=True, timeout=60)
    sample = parse_log(str(tmp_path / "db" / "LOG"), SystemClock())
    families = {flush.column_family for flush in sample.recent_flushes}
    assert families == {"default", 'we[i]rd ü "q'}
    assert (sample.damaged_lines, set(sample.level_files)) == (0, families)
