"""The WAL and MANIFEST probes beside a live db_bench, against what db_bench and ldb say."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.clock import SystemClock
from probes.errors import NoData
from probes.rocksdb.discover import discover_databases
from probes.rocksdb.fingerprint import FingerprintProbe
from probes.rocksdb.manifest import ManifestProbe
from probes.rocksdb.options import OptionsProbe
from probes.rocksdb.samples import ManifestSample, WalSample
from probes.rocksdb.wal import WalProbe

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("db_bench") is None or shutil.which("ldb") is None,
        reason="db_bench and ldb are missing: install rocksdb-tools",
    ),
]

VALUE_BYTES = 200
KEY_BYTES = 16
RATE_PUTS_PER_SECOND = 8_000
SECONDS = 12


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "db"


def bench(database: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            "db_bench",
            f"--db={database}",
            f"--value_size={VALUE_BYTES}",
            f"--key_size={KEY_BYTES}",
            "--write_buffer_size=2097152",
            "--compression_type=none",
            "--max_background_jobs=2",
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def writer(database: Path) -> Iterator[subprocess.Popen[str]]:
    """A db_bench that overwrites random keys at a steady rate."""
    process = bench(
        database,
        "--benchmarks=overwrite",
        "--use_existing_db=0",
        "--num=60000",
        f"--duration={SECONDS}",
        f"--benchmark_write_rate_limit={RATE_PUTS_PER_SECOND * (VALUE_BYTES + KEY_BYTES)}",
    )
    yield process
    if process.poll() is None:
        process.kill()
        process.communicate()


def first_sample(probe: WalProbe, database: Path) -> WalSample:
    """Return the first reading, once db_bench has begun to write."""
    for _ in range(100):
        if (database / "CURRENT").exists():
            try:
                return probe.read()
            except NoData:
                pass  # opened, nothing written yet
        time.sleep(0.05)
    raise AssertionError("db_bench did not begin to write")


def benched(output: str) -> tuple[float, int]:
    """Return operations per second and operations, as db_bench counted them."""
    match = re.search(r"([0-9]+) ops/sec [0-9.]+ seconds ([0-9]+) operations", output)
    assert match, output
    return float(match[1]), int(match[2])


def dumped_levels(database: Path, manifest_name: str) -> list[tuple[int, int]]:
    """Return files and bytes by level as ldb reads the MANIFEST."""
    output = subprocess.run(
        ["ldb", "manifest_dump", f"--path={database / manifest_name}"],
        check=True,
        capture_output=True,
    ).stdout.decode("utf-8", "replace")
    levels = []
    for part in re.split(r"^--- level [0-9]+ ", output, flags=re.MULTILINE)[1:]:
        sizes = re.findall(r"^ [0-9]+:([0-9]+)\[", part, flags=re.MULTILINE)
        levels.append((len(sizes), sum(map(int, sizes))))
    return levels


def shape(sample: ManifestSample) -> list[tuple[int, int]]:
    (family,) = sample.column_families
    return [(level.files, level.bytes) for level in family.levels]


def test_a_live_db_bench_is_followed(database: Path, writer: subprocess.Popen[str]) -> None:
    """Its put rate within 1 %, and once it has ended, sequence number and shape exactly."""
    wal = WalProbe(str(database), SystemClock())
    first = last = first_sample(wal, database)
    manifest = ManifestProbe(str(database), SystemClock())
    started = manifest.read()
    owners = {found.path: found.pid for found in discover_databases().databases}
    assert writer.pid == owners[str(database)]
    assert writer.pid == FingerprintProbe(str(database), SystemClock()).read().owner_pid
    shapes = 0
    while writer.poll() is None:
        time.sleep(0.05)
        sample, lsm = wal.read(), manifest.read()
        assert last.last_sequence <= sample.last_sequence
        assert lsm.last_sequence <= sample.last_sequence
        if writer.poll() is None:
            last = sample
        shapes += 1
    rate, operations = benched(writer.communicate()[0])
    observed = (last.last_sequence - first.last_sequence) / (last.at - first.at)
    assert observed == pytest.approx(rate, rel=0.01)
    assert shapes > 20

    closed, lsm = wal.read(), manifest.read()
    assert operations == closed.last_sequence
    # A batch of one put: tag, lengths of key and value (1 + 1 + 2 bytes), key, value.
    assert closed.mean_record_bytes == 4 + KEY_BYTES + VALUE_BYTES
    assert sum(path.stat().st_size for path in database.glob("*.log")) == closed.live_wal_bytes
    dumped = dumped_levels(database, lsm.manifest_name)
    assert dumped[: len(shape(lsm))] == shape(lsm)
    assert sum(path.stat().st_size for path in database.glob("*.sst")) == lsm.total_bytes
    assert lsm.since == started.since
    assert lsm.flushed_bytes > 0
    assert lsm.compacted_bytes > 0
    options = OptionsProbe(str(database), SystemClock()).read()
    assert (
        options.max_background_jobs,
        options.wal_dir,
        options.column_families[0].write_buffer_bytes,
    ) == (2, None, 2097152)
    # A new probe, which reads the whole file at once, agrees with the one that followed it.
    assert shape(lsm) == shape(ManifestProbe(str(database), SystemClock()).read())


def test_a_full_speed_load_of_batches_ends_exactly(database: Path) -> None:
    """Through many rotations every reading lies between two batches, the last at the count."""
    process = bench(
        database, "--benchmarks=fillrandom", "--num=300000", "--batch_size=10", "--seed=7"
    )
    try:
        probe = WalProbe(str(database), SystemClock())
        last = first_sample(probe, database)
        numbers = set()
        while process.poll() is None:
            sample = probe.read()
            assert last.last_sequence <= sample.last_sequence
            assert sample.last_sequence % 10 == 0
            numbers.add(sample.wal_number)
            last = sample
            time.sleep(0.01)
        _, operations = benched(process.communicate()[0])
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert operations == probe.read().last_sequence
    assert len(numbers) > 3


@pytest.mark.skipif(os.geteuid() != 0, reason="making a mount namespace needs root")
def test_a_database_in_another_mount_namespace_is_reached(tmp_path: Path) -> None:
    """As in a container: the owner's path leads nowhere here, its root does."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    command = (
        f"mount -t tmpfs none {hidden} && exec db_bench --db={hidden}/db --benchmarks=fillrandom "
        "--num=1000000 --benchmark_write_rate_limit=200000 --duration=60"
    )
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        path = f"/proc/{process.pid}/root{hidden}/db"
        sequence = 0
        for _ in range(200):
            if process.poll() is not None:
                pytest.skip("mounting a tmpfs in a namespace of its own is not permitted here")
            if path in {found.path for found in discover_databases().databases}:
                try:
                    sequence = WalProbe(path, SystemClock()).read().last_sequence
                    break
                except NoData:
                    pass  # opened, nothing written yet
            time.sleep(0.05)
        assert sequence > 0
        assert not (hidden / "db").exists()
        assert OptionsProbe(path, SystemClock()).read().wal_dir is None
        assert process.pid == FingerprintProbe(path, SystemClock()).read().owner_pid
    finally:
        process.kill()
        process.wait()
