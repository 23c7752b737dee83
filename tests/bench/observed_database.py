"""The two databases under observation, each brought back to the same tree before every run.

Compactions that fall into one window and not into the next would be most of the difference between
two windows. So each run begins with the same table files, hard-linked as RocksDB's own checkpoints
are, and the same writes follow at the same rate.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import Program, need
from tests.bench.truth.load_driver import LoadDriver
from tests.bench.truth.scenarios import KEY_BYTES, MIB, Scenario

VALUE_BYTES = 1024
WRITERS = 4
FILL_GIVE_UP_SECONDS = 1800.0
SETTLE_SECONDS = 240.0

SCENARIO = Scenario(name="observer", value_bytes=VALUE_BYTES, writers=WRITERS)
"""RocksDB's options of the accuracy bench's common case."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A database as it is before each run, and where it runs."""

    kept: Path
    live: Path
    keys: int

    def restore(self) -> Path:
        """Make the live database anew; nothing may have it open."""
        shutil.rmtree(self.live, ignore_errors=True)
        self.live.mkdir()
        for path in self.kept.iterdir():
            if path.suffix == ".sst":
                os.link(path, self.live / path.name)  # never changed after it is written
            elif not path.name.startswith("LOG"):
                shutil.copyfile(path, self.live / path.name)
        return self.live


def keys_for(data_mib: float) -> int:
    """How many keys make so much data."""
    return int(data_mib * MIB / (KEY_BYTES + VALUE_BYTES))


def db_bench_argv(database: Path, keys: int) -> list[str]:
    """db_bench with the load driver's options, without a benchmark."""
    options = dict(pair.split("=", 1) for pair in SCENARIO.rocksdb_options().split(";"))
    return [
        need("db_bench", "rocksdb-tools"),
        f"--db={database}",
        f"--num={keys}",
        f"--key_size={KEY_BYTES}",
        f"--value_size={VALUE_BYTES}",
        f"--write_buffer_size={options['write_buffer_size']}",
        f"--max_background_jobs={options['max_background_jobs']}",
        "--compression_type=none",
        "--level_compaction_dynamic_level_bytes=false",
        "--use_direct_io_for_flush_and_compaction=true",
        f"--wal_bytes_per_sync={options['wal_bytes_per_sync']}",
        f"--bytes_per_sync={options['bytes_per_sync']}",
        "--seed=1",
    ]


def driver_argv(program: Path, database: Path, keys: int, latencies: Path) -> list[str]:
    """The load driver's command line."""
    flags = SCENARIO.driver_flags()
    flags[flags.index("--keys") + 1] = str(keys)
    return [str(program), "--db", str(database), *flags, "--latencies", str(latencies)]


def fill_with_db_bench(program: Program) -> None:
    """Wait for the end of a db_bench that fills."""
    if program.wait(FILL_GIVE_UP_SECONDS) != 0:
        raise RuntimeError(f"db_bench: {program.output.read_text(errors='replace')[-500:]}")


def fill_with_driver(driver: LoadDriver, keys: int) -> None:
    """Fill and let the compactions end."""
    driver.ask(f"fill {keys}", FILL_GIVE_UP_SECONDS)
    driver.ask(f"settle {SETTLE_SECONDS:g}", SETTLE_SECONDS)
