"""One run of fio as the daemon makes it, without what would keep it from running or end it.

    python -m tests.bench.unguarded_fio DIR

Prints the sample as JSON. For measuring what a run costs a database that the daemon would spare.
"""

import argparse

import msgspec

from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from probes.fio import DEFAULT_LIMITS, FioMode, FioProbe
from probes.scratch import choose_scratch_directory, remove_scratch_directory


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="unguarded_fio", description=__doc__)
    parser.add_argument("directory")
    path = parser.parse_args().directory
    mode = FioMode.FAST
    scratch = choose_scratch_directory(path, path, (), ())
    try:
        probe = FioProbe(scratch, SystemClock(), ProcessGroupRunner(), mode, DEFAULT_LIMITS[mode])
        print(msgspec.json.encode(probe.read()).decode())
    finally:
        remove_scratch_directory(scratch)


if __name__ == "__main__":
    main()
