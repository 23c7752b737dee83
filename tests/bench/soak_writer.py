"""A small RocksDB under light load, in a process of its own; see ``main``."""

import random
import sys
import time

from rocksdict import Options, Rdict

KEYS = 20_000
VALUE_BYTES = 400
PUTS_PER_STEP = 25
STEP_SECONDS = 0.05
FLUSH_SECONDS = 20.0
MEMTABLE_BYTES = 4 << 20
LOG_BYTES = 64 << 10
"""So small that the LOG is rotated while the database is open, too."""

LOGS_KEPT = 5


def main(path: str, seconds: float) -> None:
    """Write about 500 puts/s and flush now and then, until the time is up."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(MEMTABLE_BYTES)
    options.set_max_log_file_size(LOG_BYTES)
    options.set_keep_log_file_num(LOGS_KEPT)
    database = Rdict(path, options)
    chosen = random.Random(1)  # noqa: S311 - keys, no secrets
    start = time.monotonic()
    flushed = 0.0
    while (elapsed := time.monotonic() - start) < seconds:
        for _ in range(PUTS_PER_STEP):
            key = chosen.randrange(KEYS).to_bytes(8, "big")
            database.put(key, chosen.randbytes(VALUE_BYTES))
        if elapsed - flushed > FLUSH_SECONDS:
            database.flush()
            flushed = elapsed
        time.sleep(STEP_SECONDS)
    database.close()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
