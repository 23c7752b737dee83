"""The secondary probe against what the other probes read from the same live database."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from probes.rocksdb.manifest import ManifestProbe
from probes.rocksdb.samples import ManifestSample
from probes.rocksdb.secondary import SecondaryProbe
from probes.rocksdb.wal import WalProbe

pytestmark = pytest.mark.skipif(
    shutil.which("db_bench") is None, reason="db_bench (rocksdb-tools) is not installed"
)


@contextmanager
def db_bench(database: Path, options: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Write about 8 MB/s into small memtables until the end of the block."""
    argv = [
        "db_bench",
        f"--db={database}",
        "--benchmarks=fillrandom",
        "--num=1000000000",
        "--duration=60",
        "--value_size=400",
        "--write_buffer_size=1048576",
        "--benchmark_write_rate_limit=8388608",
        *options,
    ]
    with subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as writer:
        try:
            give_up = time.monotonic() + 30
            while len(list(database.glob("*.sst"))) < 4:
                assert writer.poll() is None, "db_bench ended"
                assert time.monotonic() < give_up, "db_bench writes no tables"
                time.sleep(0.05)
            yield writer
        finally:
            os.killpg(writer.pid, signal.SIGKILL)


def file_counts(sample: ManifestSample) -> dict[str, tuple[int, ...]]:
    """Files by level, without the empty levels at the end, which the two sources count apart."""
    return {
        family.name: trimmed([level.files for level in family.levels])
        for family in sample.column_families
    }


def trimmed(counts: Sequence[int]) -> tuple[int, ...]:
    last = max((level for level, count in enumerate(counts) if count), default=-1)
    return tuple(counts[: last + 1])


@pytest.mark.parametrize("families", [1, 3])
def test_a_paused_database_looks_the_same_to_every_source(tmp_path: Path, families: int) -> None:
    """Sequence number as in the WAL; files and bytes as in the MANIFEST."""
    database = tmp_path / "db"
    clock = SystemClock()
    state = tmp_path / "state"
    state.mkdir()
    secondary = SecondaryProbe(str(database), clock, ProcessGroupRunner(), str(state))
    with db_bench(database, [f"--num_column_families={families}"]) as writer:
        writer.send_signal(signal.SIGSTOP)
        sample = secondary.read()
        wal = WalProbe(str(database), clock).read()
        manifest = ManifestProbe(str(database), clock).read()
        assert sample.latest_sequence == wal.last_sequence
        files = {name: trimmed(counts) for name, counts in sample.level_files.items()}
        assert files == file_counts(manifest)
        assert len(files) == families
        assert sample.total_sst_bytes == manifest.total_bytes
        assert set(sample.pending_compaction_bytes) == set(files)


def test_a_live_database_is_between_two_readings_of_its_wal(tmp_path: Path) -> None:
    """The secondary is as fresh as the moment of its opening."""
    database = tmp_path / "db"
    clock = SystemClock()
    state = tmp_path / "state"
    state.mkdir()
    secondary = SecondaryProbe(str(database), clock, ProcessGroupRunner(), str(state))
    wal = WalProbe(str(database), clock)
    with db_bench(database):
        for _ in range(5):
            before = wal.read().last_sequence
            sample = secondary.read()
            after = wal.read().last_sequence
            assert before <= sample.latest_sequence <= after


def test_a_separate_wal_directory_is_replayed(tmp_path: Path) -> None:
    """The tables and the logs lie apart."""
    database, wal_dir = tmp_path / "db", tmp_path / "wal"
    clock = SystemClock()
    state = tmp_path / "state"
    state.mkdir()
    runner = ProcessGroupRunner()
    secondary = SecondaryProbe(str(database), clock, runner, str(state), wal_dir=str(wal_dir))
    with db_bench(database, [f"--wal_dir={wal_dir}"]) as writer:
        writer.send_signal(signal.SIGSTOP)
        sample = secondary.read()
        wal = WalProbe(str(database), clock, str(wal_dir)).read()
    assert sample.latest_sequence == wal.last_sequence
