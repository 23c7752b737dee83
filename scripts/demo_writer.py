"""A real RocksDB under a load that comes and goes; a process of its own, as a database is.

Usage: demo_writer.py DIRECTORY. Ends with the process that started it.
"""

import os
import random
import sys
import time

from rocksdict import Options, Rdict, WriteBatch

KEYS = 400_000
"""A bounded key space bounds the disk space: about 400 MB with compaction's temporary files."""

BATCH = 50
CYCLE_SECONDS = 60.0
SATURATED_FROM_SECONDS = 40.0
LIGHT_PUTS_PER_SECOND = 2_000.0
PEAK_PUTS_PER_SECOND = 15_000.0


def wanted_rate(seconds: float) -> float:
    """Puts/s at a moment: a rise from light load to a peak, then as fast as it goes."""
    moment = seconds % CYCLE_SECONDS
    if moment >= SATURATED_FROM_SECONDS:
        return float("inf")
    rise = moment / SATURATED_FROM_SECONDS
    return LIGHT_PUTS_PER_SECOND + (PEAK_PUTS_PER_SECOND - LIGHT_PUTS_PER_SECOND) * rise


def record(source: random.Random) -> tuple[bytes, bytes]:
    """A user profile as services store them: structured, half of it compressible."""
    number = source.randrange(KEYS)
    value = (
        f'{{"id":{number},"name":"user-{number:08d}"'
        f',"country":"{source.choice(("de", "fr", "jp"))}"'
        f',"balance":{source.random() * 1e4:.2f},"tags":["a","b"],"token":"'
    ).encode() + source.randbytes(120).hex().encode()
    return f"profile:{number:012d}".encode(), value + b'"}'


def main() -> None:
    """Write until the parent process is gone."""
    parent = os.getppid()
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    # Small memtables and levels show within a minute what takes hours with the defaults.
    options.set_write_buffer_size(16 << 20)
    options.set_max_bytes_for_level_base(64 << 20)
    options.set_target_file_size_base(16 << 20)
    options.set_bytes_per_sync(1 << 20)
    options.set_wal_bytes_per_sync(1 << 20)
    options.set_stats_dump_period_sec(60)
    database = Rdict(sys.argv[1], options)
    source = random.Random(7)  # noqa: S311 - data, not secrets
    started = time.monotonic()
    due = started
    while os.getppid() == parent:
        batch = WriteBatch(raw_mode=True)
        for _ in range(BATCH):
            batch.put(*record(source))
        database.write(batch)
        now = time.monotonic()
        due = max(due + BATCH / wanted_rate(now - started), now - 1.0)
        if due > now:
            time.sleep(due - now)
    database.close()


if __name__ == "__main__":
    main()
