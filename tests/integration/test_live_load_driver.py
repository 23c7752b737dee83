"""The load driver of tests/bench/accuracy on a real RocksDB."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.truth.load_driver import Line, LoadDriver, build

pytestmark = [
    pytest.mark.slow,  # it is compiled first
    pytest.mark.skipif(
        shutil.which("g++") is None or not Path("/usr/include/rocksdb/db.h").exists(),
        reason="needs g++ and librocksdb-dev",
    ),
]

KEYS = 20_000


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("driver"))


def start(program: Path, directory: Path, *flags: str) -> LoadDriver:
    argv = [str(program), "--db", str(directory / "db"), "--keys", str(KEYS), *flags]
    argv += ["--options", "write_buffer_size=1048576;compression=kNoCompression"]
    return LoadDriver(argv, directory / "lines", directory / "errors")


@pytest.fixture
def driver(program: Path, tmp_path: Path) -> Iterator[LoadDriver]:
    started = start(program, tmp_path, "--value-bytes", "100")
    yield started
    started.end()


def test_a_fill_writes_every_key_once(driver: LoadDriver) -> None:
    """After the merges nothing has vanished as a duplicate."""
    filled = driver.ask("fill 20000", 10.0)
    settled = driver.ask("settle 30", 30.0)
    assert filled["puts"] == KEYS
    assert settled["settled"]
    # 116 bytes of key and value, and the table format's own.
    assert filled["wal_bytes"] > KEYS * 116


def test_an_open_loop_offers_what_was_asked_for(driver: LoadDriver) -> None:
    """At a rate that any database takes, all is accepted."""
    seen: list[Line] = []
    driver.ask("fill 20000", 10.0)
    result = driver.ask("open 1000 2", 2.0, seen.append)
    assert result["offered"] == 2000
    assert result["accepted"] + result["backlog"] == 2000
    assert result["p50_seconds"] <= result["p99_seconds"] <= result["max_seconds"]


def test_what_waits_behind_a_slow_write_has_that_wait_in_its_latency(
    program: Path, tmp_path: Path
) -> None:
    """Far above what synced writes can do, latency grows to the order of the window."""
    driver = start(program, tmp_path, "--wal", "sync", "--writers", "1")
    try:
        result = driver.ask("open 2000000 1", 1.0)
    finally:
        driver.end()
    assert result["accepted"] < result["offered"]
    assert result["max_seconds"] > 0.5


def test_a_ramp_offers_the_mean_of_its_ends(driver: LoadDriver) -> None:
    """N(t) is the integral of the rate."""
    assert driver.ask("ramp 100 1900 2", 2.0)["offered"] == 2000


def test_deletes_leave_half_of_the_keys(program: Path, tmp_path: Path) -> None:
    """The share alive when puts and deletes are in balance."""
    driver = start(program, tmp_path, "--pattern", "deletes")
    try:
        assert driver.ask("fill 20000", 10.0)["puts"] == KEYS / 2
    finally:
        driver.end()


def test_a_wrong_command_ends_the_driver_with_a_message(driver: LoadDriver) -> None:
    """What is wrong is in the error, not only that it ended."""
    with pytest.raises(RuntimeError, match="not a command: jump"):
        driver.ask("jump", 1.0)
