"""CPU, I/O and memory of the process that owns a database."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.clock import SystemClock
from probes.errors import NoData, ProbeFailed
from probes.process import RECHECKED_THREADS, ProcessProbe, parse_schedstat, parse_stat

DATA = Path(__file__).parents[1] / "data" / "proc"
TICK = 1 / os.sysconf("SC_CLK_TCK")


class FixedClock:
    def monotonic(self) -> float:
        return 42.0

    def wall(self) -> float:
        return 0.0


def stat_line(
    name: str, ticks: int, *, start: int = 500, state: str = "S", threads: int = 9
) -> str:
    """Return a line as the kernel prints it: ``ticks`` of user time, 100 resident pages."""
    fields = [state, *["0"] * 49]
    fields[11], fields[17], fields[19], fields[21] = str(ticks), str(threads), str(start), "100"
    return f"77 ({name}) {' '.join(fields)}\n"


def write_process(root: Path, total: int, threads: dict[int, tuple[str, int]]) -> None:
    task = root / "77" / "task"
    task.mkdir(parents=True, exist_ok=True)
    (root / "77" / "stat").write_text(stat_line("db", total))
    for directory in task.iterdir():
        if int(directory.name) not in threads:
            (directory / "stat").unlink()
            directory.rmdir()
    for identity, (name, ticks) in threads.items():
        (task / str(identity)).mkdir(exist_ok=True)
        (task / str(identity) / "stat").write_text(stat_line(name, ticks))


def test_cpu_is_split_by_rocksdbs_thread_names(tmp_path: Path) -> None:
    """Low and bottom compact, high flushes, what is left of the total is foreground."""
    threads = {
        77: ("db", 1000),
        78: ("rocksdb:low", 300),
        79: ("rocksdb:bottom", 50),
        80: ("rocksdb:high", 20),
        81: ("rocksdb:low12", 7),
    }
    write_process(tmp_path, 2000, threads)
    sample = ProcessProbe(77, FixedClock(), str(tmp_path)).read()
    assert pytest.approx(
        (
            sample.cpu_seconds,
            sample.compaction_cpu_seconds,
            sample.flush_cpu_seconds,
            sample.foreground_cpu_seconds,
        )
    ) == (2000 * TICK, 357 * TICK, 20 * TICK, 1623 * TICK)
    assert (500, 100 * os.sysconf("SC_PAGE_SIZE"), 42.0) == (
        sample.start_ticks,
        sample.resident_bytes,
        sample.at,
    )


@pytest.mark.parametrize("name", ["a b c", "x) S 1 (y", "((", "rocksdb:low) R 9", ")", ""])
def test_a_name_with_spaces_and_parentheses_does_not_shift_the_fields(name: str) -> None:
    """A process may call itself anything."""
    stat = parse_stat(stat_line(name, 123).encode())
    assert stat is not None
    assert (name.encode(), 123, 500) == (stat.name, stat.cpu_ticks, stat.start_ticks)


def test_an_ended_compaction_thread_keeps_its_cpu_in_its_group(tmp_path: Path) -> None:
    """A counter that went backwards would give no rate."""
    write_process(tmp_path, 400, {77: ("db", 10), 78: ("rocksdb:low", 300)})
    probe = ProcessProbe(77, FixedClock(), str(tmp_path))
    before = probe.read()
    write_process(tmp_path, 410, {77: ("db", 20)})
    assert before.compaction_cpu_seconds == probe.read().compaction_cpu_seconds
    assert probe.read().foreground_cpu_seconds == pytest.approx(110 * TICK)


def test_a_thread_that_gets_its_name_late_is_found_in_turn(tmp_path: Path) -> None:
    """Names come just after creation; other threads are read again a few at a time."""
    threads = {100 + number: ("worker", 1) for number in range(3 * RECHECKED_THREADS)}
    write_process(tmp_path, 900, threads)
    probe = ProcessProbe(77, FixedClock(), str(tmp_path))
    assert probe.read().compaction_cpu_seconds == 0
    threads[150] = ("rocksdb:low", 5)
    write_process(tmp_path, 900, threads)
    seen = [probe.read().compaction_cpu_seconds for _ in range(5)]
    assert seen[-1] == pytest.approx(5 * TICK)


def test_a_recycled_pid_starts_from_nothing(tmp_path: Path) -> None:
    """Another process's compaction must not be carried over."""
    write_process(tmp_path, 400, {78: ("rocksdb:low", 300)})
    probe = ProcessProbe(77, FixedClock(), str(tmp_path))
    probe.read()
    write_process(tmp_path, 10, {90: ("db", 10)})
    (tmp_path / "77" / "stat").write_text(stat_line("other", 10, start=999))
    sample = probe.read()
    assert (sample.start_ticks, sample.compaction_cpu_seconds) == (999, 0.0)


def test_a_process_that_ended_is_no_data(tmp_path: Path) -> None:
    """It is normal for a database to be closed."""
    with pytest.raises(NoData) as caught:
        ProcessProbe(77, FixedClock(), str(tmp_path)).read()
    assert caught.value.reason == "process_gone"


def test_a_zombie_is_gone_and_a_leader_without_its_threads_is_not(tmp_path: Path) -> None:
    """The leader may exit while the threads it started go on."""
    write_process(tmp_path, 10, {77: ("db", 10)})
    stat = tmp_path / "77" / "stat"
    stat.write_text(stat_line("db", 10, state="Z", threads=3))
    assert ProcessProbe(77, FixedClock(), str(tmp_path)).read().cpu_seconds == 10 * TICK
    stat.write_text(stat_line("db", 10, state="Z", threads=1))
    with pytest.raises(NoData) as caught:
        ProcessProbe(77, FixedClock(), str(tmp_path)).read()
    assert caught.value.reason == "process_gone"


def test_what_may_not_be_read_is_unknown_and_the_rest_is_there(tmp_path: Path) -> None:
    """Another user's process shows its stat only."""
    (tmp_path / "77").mkdir()
    (tmp_path / "77" / "stat").write_text(stat_line("db", 10))
    sample = ProcessProbe(77, FixedClock(), str(tmp_path)).read()
    assert (
        sample.cpu_seconds,
        sample.compaction_cpu_seconds,
        sample.flush_cpu_seconds,
        sample.foreground_cpu_seconds,
        sample.written_bytes,
        sample.read_bytes,
    ) == (10 * TICK, None, None, None, None, None)


@pytest.mark.parametrize("text", ["", "77", "77 (db", "77 (db) S 1 2", stat_line("db", 1)[:40]])
def test_a_damaged_stat_is_a_failure(tmp_path: Path, text: str) -> None:
    """Never zero CPU."""
    (tmp_path / "77").mkdir()
    (tmp_path / "77" / "stat").write_text(text)
    with pytest.raises(ProbeFailed) as caught:
        ProcessProbe(77, FixedClock(), str(tmp_path)).read()
    assert caught.value.reason == "process_unreadable"


def test_a_captured_database_has_busy_compaction_and_flush_threads() -> None:
    """db_bench of RocksDB 7.8.3 while it filled a database, with the sums worked out by hand."""
    root = DATA / "db_bench"
    pid = int(next(path.name for path in root.iterdir() if path.name.isdigit()))
    sample = ProcessProbe(pid, FixedClock(), str(root)).read()
    ticks = {b"rocksdb:low": 0, b"rocksdb:high": 0}
    for path in (root / str(pid) / "task").iterdir():
        text = (path / "stat").read_bytes()
        fields = text.rpartition(b") ")[2].split()
        for name in ticks:
            if b"(" + name + b")" in text:
                ticks[name] += int(fields[11]) + int(fields[12])
    assert ticks[b"rocksdb:low"] > 0
    assert ticks[b"rocksdb:high"] > 0
    assert (ticks[b"rocksdb:low"] * TICK, ticks[b"rocksdb:high"] * TICK) == pytest.approx(
        (sample.compaction_cpu_seconds, sample.flush_cpu_seconds)
    )
    lines = (root / str(pid) / "io").read_text().splitlines()
    io = {name: int(value) for name, value in (line.split(": ") for line in lines)}
    assert io["cancelled_write_bytes"] > 0  # WALs deleted before they reached the device
    assert sample.written_bytes == io["write_bytes"] - io["cancelled_write_bytes"]


def test_the_live_process_agrees_with_the_kernels_other_accounts() -> None:
    """Our own CPU time by getrusage brackets what the probe reads."""
    before = time.process_time()
    sample = ProcessProbe(os.getpid(), SystemClock()).read()
    after = time.process_time()
    assert before - 2 * TICK <= sample.cpu_seconds <= after + 2 * TICK
    assert sample.foreground_cpu_seconds == pytest.approx(sample.cpu_seconds)
    assert sample.resident_bytes is not None
    assert sample.resident_bytes > 1_000_000


def test_a_live_thread_named_as_rocksdb_names_it_counts_as_compaction() -> None:
    """With real threads, names set through the kernel."""
    program = (
        "import threading, sys, pathlib\n"
        "def work():\n"
        "    pathlib.Path(f'/proc/self/task/{threading.get_native_id()}/comm')"
        ".write_text('rocksdb:low')\n"
        "    n = 0\n"
        "    for i in range(4_000_000): n += i\n"
        "    print('done', flush=True)\n"
        "    sys.stdin.read()\n"
        "threading.Thread(target=work).start()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        sample = ProcessProbe(child.pid, SystemClock()).read()
        assert child.stdin is not None
        child.stdin.close()
    assert sample.compaction_cpu_seconds is not None
    assert sample.compaction_cpu_seconds >= 5 * TICK
    assert sample.cpu_seconds > sample.compaction_cpu_seconds
    assert sample.flush_cpu_seconds == 0


def test_of_five_hundred_threads_only_a_few_are_opened_again() -> None:
    """Counted by what the probe read: the kernel's own count of our read calls."""
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(500)]
    for thread in threads:
        thread.start()
    try:
        probe = ProcessProbe(os.getpid(), SystemClock())
        probe.read()
        before = read_calls()
        probe.read()
        calls = read_calls() - before
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    # Two read calls per file: the content and the end; the counting itself adds a few.
    assert calls <= 2 * (RECHECKED_THREADS + 8)


def read_calls() -> int:
    text = Path("/proc/self/io").read_text()
    return int(text.split("syscr:")[1].split()[0])


@settings(deadline=None)
@given(st.binary(max_size=40), st.integers(0, 80), st.integers(0, 80))
def test_any_stat_is_parsed_or_refused(noise: bytes, start: int, length: int) -> None:
    """No input raises, and nothing is below zero."""
    line = stat_line("db", 123).encode()
    found = parse_stat(line[:start] + noise + line[start + length :])
    assert found is None or min(found.cpu_ticks, found.threads, found.resident_pages) >= 0


def test_the_busiest_foreground_threads_are_told_with_their_runs(tmp_path: Path) -> None:
    """Those that used CPU since the last look; RocksDB's own pools are not among them."""
    threads = {77: ("db", 100), 78: ("writer", 500), 79: ("rocksdb:low", 900), 80: ("idle", 5)}
    write_process(tmp_path, 2000, threads)
    probe = ProcessProbe(77, FixedClock(), str(tmp_path))
    assert probe.read().busiest_foreground_threads == ()
    threads |= {77: ("db", 110), 78: ("writer", 700), 79: ("rocksdb:low", 1900)}
    write_process(tmp_path, 3000, threads)
    (tmp_path / "77" / "task" / "78" / "schedstat").write_text("7000000000 55 4321\n")
    sample = probe.read()
    assert sample.foreground_thread_count == 3
    assert [(t.thread_id, t.run_count) for t in sample.busiest_foreground_threads] == [
        (78, 4321),
        (77, None),
    ]
    assert sample.busiest_foreground_threads[0].cpu_seconds == pytest.approx(700 * TICK)


def test_busy_threads_among_very_many_are_read_at_every_call(tmp_path: Path) -> None:
    """A writer among hundreds of connections is not looked at once in a while only."""
    many = {77: ("db", 0)} | dict.fromkeys(range(100, 400), ("conn", 0))
    write_process(tmp_path, 1000, many)
    probe = ProcessProbe(77, FixedClock(), str(tmp_path))
    probe.read()
    for turn in range(1, 400 // RECHECKED_THREADS):
        write_process(tmp_path, 1000 + turn, many | {250: ("conn", turn)})
        if [t.thread_id for t in probe.read().busiest_foreground_threads] == [250]:
            break
    else:
        pytest.fail("the busy thread was never found")
    for later in range(turn + 1, turn + 6):
        write_process(tmp_path, 1000 + later, many | {250: ("conn", later)})
        (found,) = probe.read().busiest_foreground_threads
        assert found.cpu_seconds == pytest.approx(later * TICK)


@pytest.mark.parametrize(
    ("text", "waited", "runs"),
    [
        (b"1 2 3\n", 2, 3),
        (b"", None, None),
        (b"1 2\n", None, None),
        (b"1 2 x\n", 2, None),
        (b"1 2 -3", 2, None),
        (b"1 x 3", None, 3),
    ],
)
def test_schedstat_tells_the_wait_for_a_core_and_how_often_one_was_got(
    text: bytes, waited: int | None, runs: int | None
) -> None:
    """A kernel without the counters writes nothing, or other fields."""
    assert parse_schedstat(text) == (waited, runs)
