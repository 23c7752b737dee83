"""How far the models' S_max is from what a RocksDB really sustains; see ``--help``."""

import argparse
import signal
import sys
import time
from pathlib import Path

from tests.bench.truth.lanes import Lanes
from tests.bench.truth.load_driver import build
from tests.bench.truth.scenarios import SCENARIOS, Scenario

ROOT = Path(__file__).parents[3]
DEFAULT_OUT = ROOT / ".cache" / "accuracy"


def main() -> None:
    """``list``, ``run`` or ``report``."""
    parser = argparse.ArgumentParser(prog="tests/bench/accuracy", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the grid")
    run = commands.add_parser("run", help="measure scenarios (all, or those named)")
    run.add_argument("names", nargs="*", metavar="NAME")
    run.add_argument("--repeat", type=int, default=1, help="runs of each (%(default)s)")
    run.add_argument("--out", type=Path, default=DEFAULT_OUT, help="results (%(default)s)")
    run.add_argument("--missing", action="store_true", help="only what has no result in --out yet")
    run.add_argument(
        "--ramp", action="store_true", help="add a rising rate at the end, to see a stall coming"
    )
    run.add_argument(
        "--work",
        type=Path,
        default=Path("/var/tmp"),  # noqa: S108 - a private directory is made in it
        help="where the slow device's image goes: a fast disk with room (%(default)s)",
    )
    run.add_argument(
        "--lanes",
        type=int,
        default=1,
        choices=(1, 2),
        help="scenarios at a time: the throttle keeps their devices apart, nothing their CPU",
    )
    report = commands.add_parser("report", help="docs/accuracy.md out of results")
    report.add_argument("directory", nargs="?", type=Path, default=DEFAULT_OUT)
    report.add_argument(
        "--to", type=Path, default=ROOT / "docs" / "accuracy.md", help="the page (%(default)s)"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if arguments.command == "list":
            show_grid()
        elif arguments.command == "run":
            run_all(_chosen(parser, arguments.names), arguments)
        else:
            from tests.bench.truth.report import document

            text = document(arguments.directory)
            arguments.to.write_text(text)
    except BrokenPipeError:
        sys.stderr.close()  # list | head: nobody reads on, nothing to say
    except (RuntimeError, OSError) as error:
        sys.exit(f"accuracy: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _chosen(parser: argparse.ArgumentParser, names: list[str]) -> list[Scenario]:
    known = {scenario.name: scenario for scenario in SCENARIOS}
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}; see the list command")
    return [known[name] for name in names] if names else list(SCENARIOS)


def show_grid() -> None:
    """Names, what differs from the common case, and which are held out."""
    base = SCENARIOS[0]
    for scenario in SCENARIOS:
        aside = "held out" if scenario.held_out else ""
        print(f"{scenario.name:32} {aside:9} {scenario.differences(base)}")


def run_all(scenarios: list[Scenario], arguments: argparse.Namespace) -> None:
    """Run them; RuntimeError names those that failed."""

    def say(scenario: str, what: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {scenario}: {what}", file=sys.stderr, flush=True)

    lanes = Lanes(
        build(ROOT / ".cache" / "accuracy-driver"),
        arguments.work,
        arguments.out,
        say,
        only_missing=arguments.missing,
        with_ramp=arguments.ramp,
    )
    lanes.run(scenarios * arguments.repeat, arguments.lanes)
    if lanes.failed:
        raise RuntimeError(f"failed: {', '.join(lanes.failed)}")


if __name__ == "__main__":
    main()
