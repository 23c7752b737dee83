"""What smaxd does to the database it watches; see ``--help``. Prints ratios, asserts nothing."""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench.observer_place import Place, PlainPlace, SlowPlace
from tests.bench.observer_report import Measured, document, text
from tests.bench.observer_runs import ObserverRuns, Timing
from tests.bench.paired import alternating
from tests.bench.truth.load_driver import build
from tests.bench.truth.scenarios import GIB, MIB

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Measure, print, and leave nothing behind, also on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="tests/bench/observer", description=__doc__)
    parser.add_argument(
        "--pairs", type=int, default=10, help="of runs at saturation, for throughput (%(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=40, help="of a minute under load, for latency (%(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="measured in each run (%(default)g)"
    )
    parser.add_argument(
        "--warm-up", type=float, default=30.0, help="of load before that (%(default)g)"
    )
    parser.add_argument(
        "--probes", type=int, default=5, help="probes of fio looked at, of each kind (%(default)s)"
    )
    parser.add_argument(
        "--load-ratio",
        type=float,
        default=0.5,
        help="of the sustained rate, where latencies are measured (%(default)g)",
    )
    parser.add_argument(
        "--data-mib", type=float, default=1024.0, help="in each database (%(default)g)"
    )
    parser.add_argument(
        "--device-mb", type=float, default=100.0, help="MB/s of the slow device (%(default)g)"
    )
    parser.add_argument(
        "--plain", action="store_true", help="on the disk as it is, not on a slow device"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured here")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("/var/tmp"),  # noqa: S108 - a private directory is made in it
        help="a fast disk with room (%(default)s)",
    )
    arguments = parser.parse_args()
    if arguments.pairs + arguments.rounds < 1 or arguments.seconds < 1 or arguments.probes < 0:
        parser.error("there must be a pair or a round, --seconds at least 1, --probes 0")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        measured = observe(arguments)
    except (RuntimeError, OSError) as error:
        sys.exit(f"observer: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    print(text(measured))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(document(measured), indent=1) + "\n")


def observe(arguments: argparse.Namespace) -> Measured:
    """All runs; RuntimeError or OSError when one fails."""
    driver = build(ROOT / ".cache" / "accuracy-driver")
    timing = Timing(arguments.warm_up, arguments.seconds)
    with ExitStack() as stack:
        out = Path(tempfile.mkdtemp(prefix="smaxd-observer-out-", dir=arguments.work))
        stack.callback(shutil.rmtree, out, ignore_errors=True)
        # Both kept trees, the live one with what its compactions write, and the WALs.
        size = int(8 * arguments.data_mib * MIB) + 4 * GIB
        place: Place = (
            PlainPlace(arguments.work)
            if arguments.plain
            else SlowPlace(arguments.work, size, arguments.device_mb)
        )
        stack.enter_context(place)
        runs = ObserverRuns(place, out, driver, arguments.data_mib)
        say("filling two databases")
        sustained = runs.make_trees(arguments.seconds)
        rate = sustained * arguments.load_ratio
        say(f"closed loop {sustained:.0f} puts/s; the load is {rate:.0f}")
        measured = Measured(place.described, timing, arguments.load_ratio, rate)
        for number in range(arguments.probes):
            say(f"probe {number + 1} of {arguments.probes}")
            measured.probed_saturations.append(runs.probed_saturation(timing.warm_up))
            measured.probed_loads.append(runs.probed_load(timing.warm_up, rate))
        for pair, with_agent in alternating(arguments.pairs):
            say(f"pair {pair + 1} of {arguments.pairs}, {'with' if with_agent else 'without'}")
            saturated = runs.saturated(timing, with_agent=with_agent)
            measured.saturated[with_agent][pair] = saturated
        for found in runs.rounds(timing, rate, arguments.rounds):
            measured.rounds.append(found)
            say(f"round {len(measured.rounds)} of {arguments.rounds}")
    return measured


def say(what: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} observer: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
