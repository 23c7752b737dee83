"""Does smaxd grow over days of ticks? See ``--help``. Exits 1 only when the daemon has ended."""

import argparse
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from agent.config import Config
from tests.bench.figures import machine, series
from tests.bench.processes import Program, free_port, smaxd_command
from tests.bench.scrapes import HttpTarget
from tests.bench.slopes import slope

ROOT = Path(__file__).parents[2]

TICK_SECONDS = 0.2
COMPRESSION = Config().tick_seconds / TICK_SECONDS
"""Everything that has a cadence is so many times faster than by default."""

TICKS_PER_DAY = 86_400.0 / Config().tick_seconds
SAMPLE_SECONDS = 1.0
RESTART_SECONDS = 60.0
"""How long the database stays open; every second time its process is killed instead of closing."""

WARM_UP_SECONDS = 1200.0
WARM_UP_RATIO = 0.5
"""Left out at the start, but at most this share: windows that are kept in seconds, of up to 15
minutes, hold fifty times as many ticks as by default once they are full."""

FIO_MIB = 16
QUANTITIES = {
    "resident_bytes": "resident memory, bytes",
    "descriptors": "open files",
    "threads": "threads",
    "children": "child processes",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """The daemon at one moment; ``ticks`` as it counts them itself."""

    at_seconds: float
    ticks: float
    resident_bytes: float
    descriptors: float
    threads: float
    children: float


def main() -> None:
    """Measure, print, and leave nothing behind, also on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="tests/bench/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=45.0, help="(%(default)g)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all readings here")
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path("/var/tmp"),  # noqa: S108  a private directory is made in it
        help="where to put the database (%(default)s)",
    )
    arguments = parser.parse_args()
    if not 0.2 <= arguments.minutes <= 1440.0:
        parser.error("--minutes must be 0.2..1440")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    readings: list[Reading] = []
    crash: str | None = None
    try:
        with ExitStack() as stack:
            directory = Path(tempfile.mkdtemp(prefix="smaxd-soak-", dir=arguments.directory))
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            Soak(directory, stack).run(arguments.minutes * 60.0, readings)
    except RuntimeError as error:
        crash = str(error)
    except KeyboardInterrupt:
        print("interrupted; what there is:", file=sys.stderr)
    print(text(readings))
    if arguments.json is not None:
        found = {"machine": machine(), "readings": [asdict(reading) for reading in readings]}
        arguments.json.write_text(json.dumps(found) + "\n")
    if crash is not None:
        sys.exit(f"soak: {crash}")


class Soak:
    """The daemon and its database; everything ends with ``stack``."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._database = directory / "db"
        self._stack = stack
        self._writers = count()
        self._writer: Program | None = None
        self._port = free_port()
        for name in ("scratch", "state"):
            (directory / name).mkdir(mode=0o700)
        config = directory / "smaxd.yaml"
        config.write_text(config_text(self._database, directory))
        argv = [*smaxd_command(), "run", "--config", str(config)]
        argv += ["--web.listen-address", f"127.0.0.1:{self._port}"]
        environ = {**os.environ, "RUNTIME_DIRECTORY": str(directory / "state")}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        self._restart_database()
        self._daemon = Program(argv, directory / "smaxd.log", environ)
        stack.callback(self._daemon.end)
        stack.callback(self._end_writer)

    def run(self, seconds: float, readings: list[Reading]) -> None:
        """Add a reading each second; RuntimeError when the daemon has ended."""
        start = time.monotonic()
        restart_at = start + RESTART_SECONDS
        while (now := time.monotonic()) < start + seconds:
            self._daemon.check()
            if now >= restart_at:
                self._restart_database()
                restart_at += RESTART_SECONDS
            ticks = self._ticks()
            if ticks is not None:
                readings.append(read(self._daemon.pid, now - start, ticks))
            time.sleep(max(0.0, now + SAMPLE_SECONDS - time.monotonic()))

    def _restart_database(self) -> None:
        """The former writer has closed it by then, or is killed now."""
        number = next(self._writers)
        self._end_writer()
        seconds = RESTART_SECONDS * (2.0 if number % 2 else 0.95)
        argv = [sys.executable, "-m", "tests.bench.soak_writer", str(self._database), str(seconds)]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._writer = Program(argv, self._directory / "writer.out", environ)

    def _end_writer(self) -> None:
        if self._writer is not None:
            self._writer.kill()

    def _ticks(self) -> float | None:
        """As a scrape shows them: scrapes are part of the life that is watched."""
        target = HttpTarget(self._port)
        try:
            page = target.scrape()[1]
        except OSError:
            return None  # it is starting
        finally:
            target.close()
        found = re.search(r"^smaxd_ticks_total (\S+)$", page, re.MULTILINE)
        return None if found is None else float(found[1])


def config_text(database: Path, directory: Path) -> str:
    """The default cadences, compressed; JSON is YAML."""
    default = Config()
    return json.dumps(
        {
            "tick_seconds": TICK_SECONDS,
            "scratch": str(directory / "scratch"),
            "state": str(directory / "state"),
            "databases": [{"path": str(database)}],
            "fio": {
                "interval_seconds": default.fio.interval_seconds / COMPRESSION,
                "size_mib": FIO_MIB,
            },
            "secondary": {
                "interval_seconds": default.secondary.interval_seconds / COMPRESSION,
                "cpu_share_ratio": default.secondary.cpu_share_ratio * COMPRESSION,
            },
        }
    )


def read(pid: int, at_seconds: float, ticks: float) -> Reading:
    """Read /proc of the daemon; RuntimeError when it is gone."""
    process = Path(f"/proc/{pid}")
    try:
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        return Reading(
            at_seconds=at_seconds,
            ticks=ticks,
            resident_bytes=float(status["VmRSS"].split()[0]) * 1024,
            descriptors=float(len(os.listdir(process / "fd"))),
            threads=float(status["Threads"]),
            children=float(_children(process)),
        )
    except (OSError, KeyError) as error:
        raise RuntimeError(f"the daemon is gone: {error}") from error


def _children(process: Path) -> int:
    """Zombies included: one that is never reaped is a leak too."""
    found = 0
    for thread in os.listdir(process / "task"):
        try:
            found += len((process / "task" / thread / "children").read_text().split())
        except OSError:
            continue  # the thread has ended
    return found


def text(readings: Sequence[Reading]) -> str:
    """Each quantity after the warm-up: its range, its slope per day of ticks, the verdict."""
    if not readings:
        return "no readings"
    warm = min(WARM_UP_SECONDS, WARM_UP_RATIO * readings[-1].at_seconds)
    kept = [reading for reading in readings if reading.at_seconds >= warm]
    days = [reading.ticks / TICKS_PER_DAY for reading in kept]
    facts = machine()
    lines = [
        f"{facts['processor']}, {facts['cores']} cores, Python {facts['python']}; "
        f"{readings[-1].ticks:.0f} ticks of {TICK_SECONDS:g} s, as many as in "
        f"{readings[-1].ticks / TICKS_PER_DAY:.2f} days by default; the first "
        f"{warm / 60.0:.0f} minutes left out",
        f"{'':26}{'median (lowest..highest)':44}slope per day of ticks (95 %)",
    ]
    for name, words in QUANTITIES.items():
        values = [getattr(reading, name) for reading in kept]
        found = slope(days, values)
        if found is None:
            trend = "too few readings"
        else:
            verdict = "zero within noise" if found.zero_within_noise else "NOT zero"
            trend = f"{found.point:+.4g} ({found.lower:+.4g}..{found.upper:+.4g})  {verdict}"
        lines.append(f"{words:26}{series(values).shown():44}{trend}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
