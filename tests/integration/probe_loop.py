"""Reads one database with every RocksDB probe many times; a program, so that it can be traced.

Arguments: database, state directory, ticks, seconds between ticks, ticks between secondaries.
Prints one JSON object: by probe, how many readings succeeded and the reasons of the others.
"""

import json
import sys
import time
from collections import Counter
from typing import Protocol

from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from probes.errors import ProbeError
from probes.rocksdb.fingerprint import FingerprintProbe
from probes.rocksdb.log import LogProbe
from probes.rocksdb.manifest import ManifestProbe
from probes.rocksdb.options import OptionsProbe
from probes.rocksdb.secondary import SecondaryProbe
from probes.rocksdb.wal import WalProbe


class Probe(Protocol):
    """What all probes have in common."""

    def read(self) -> object:
        """Return a sample or raise ProbeError."""
        ...


def main() -> None:
    """Read, count, print."""
    database, state = sys.argv[1:3]
    ticks, pause_seconds, secondary_every = int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
    clock = SystemClock()
    every_tick: dict[str, Probe] = {
        "wal": WalProbe(database, clock),
        "manifest": ManifestProbe(database, clock),
        "log": LogProbe(database, clock),
        "options": OptionsProbe(database, clock),
        "fingerprint": FingerprintProbe(database, clock),
    }
    runner = ProcessGroupRunner()
    seldom: dict[str, Probe] = {
        "secondary": SecondaryProbe(database, clock, runner, state),
        "secondary_without_wal": SecondaryProbe(database, clock, runner, state, replay_wal=False),
    }
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in [*every_tick, *seldom]}
    for tick in range(ticks):
        due = every_tick | seldom if tick % secondary_every == 0 else every_tick
        for name, probe in due.items():
            try:
                probe.read()
            except ProbeError as error:
                outcomes[name][error.reason] += 1
            else:
                outcomes[name]["ok"] += 1
        time.sleep(pause_seconds)
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main()
