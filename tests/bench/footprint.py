"""What smaxd costs the host it watches. Prints figures and asserts nothing; see ``--help``."""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.bench.figures import document, machine, table
from tests.bench.live import Live
from tests.bench.micro import log_figures, model_figures, tick_figures

NEEDED_BYTES = 8 << 30


def main() -> None:
    """Measure, print, and leave nothing behind, also on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="tests/bench/footprint", description=__doc__)
    parser.add_argument(
        "--seconds",
        type=float,
        default=120.0,
        help="time over which ticks are measured (%(default)g)",
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=100_000.0,
        help="puts/s offered to all databases together (%(default)g)",
    )
    parser.add_argument(
        "--databases", type=int, default=4, help="each with a db_bench of its own (%(default)s)"
    )
    parser.add_argument(
        "--brief", action="store_true", help="only what the daemon and its children use"
    )
    parser.add_argument("--json", action="store_true", help="print all values as JSON")
    parser.add_argument(
        "--directory",
        default="/var/tmp",  # noqa: S108  a private directory is made in it
        help="where to put the database (%(default)s)",
    )
    arguments = parser.parse_args()
    if not 10.0 <= arguments.seconds <= 3600.0 or not 100.0 <= arguments.rate <= 1e6:
        parser.error("--seconds must be 10..3600, --rate 100..1000000")
    if not 1 <= arguments.databases <= 50:
        parser.error("--databases must be 1..50")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if shutil.disk_usage(arguments.directory).free < NEEDED_BYTES:
        sys.exit(f"footprint: {arguments.directory} has less than 8 GiB free; choose --directory")

    def say(what: str) -> None:
        print(f"footprint: {what}", file=sys.stderr, flush=True)

    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="smaxd-footprint-", dir=arguments.directory))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        try:
            with ExitStack() as running:
                live = Live(
                    directory,
                    arguments.rate,
                    arguments.seconds,
                    arguments.databases,
                    running,
                    say,
                )
                figures = list(live.figures(None if arguments.brief else tick_figures))
            if not arguments.brief:
                say("models and LOG parser")
                figures += [*model_figures(), *log_figures(directory)]
        except (RuntimeError, OSError) as error:
            sys.exit(f"footprint: {error}")
        except KeyboardInterrupt:
            sys.exit(130)
    if arguments.json:
        json.dump(document(figures, live.notes), sys.stdout, indent=1)
        print()
        return
    facts = machine()
    print(
        f"{facts['processor']}, {facts['cores']} cores, Linux {facts['kernel']}, "
        f"Python {facts['python']}, load {facts['load']}"
    )
    print("median (lowest..highest, n values)\n")
    print(table(figures))
    for note in live.notes:
        print(f"note: {note}")


if __name__ == "__main__":
    main()
