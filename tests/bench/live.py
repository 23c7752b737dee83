"""The live measurement: db_bench writes, smaxd watches it, node_exporter stands beside."""

import os
import re
import statistics
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from agent.config import Config, SecondarySettings
from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from probes.errors import ProbeError
from probes.rocksdb.discover import discover_databases
from probes.rocksdb.samples import SecondarySample
from probes.rocksdb.secondary import SecondaryProbe
from tests.bench.figures import Figure, percentile, series
from tests.bench.processes import Children, HttpTarget, Program, free_port, need, smaxd_command

KEYS = 2_000_000
KEY_BYTES = 16
VALUE_BYTES = (100, 400)
WINDOW_SECONDS = 10.0
"""The default tick; every window holds one tick and one scrape."""

WARM_UP_SECONDS = 25.0
"""The early ticks, the first fio run and the first secondary are over by then.

Ticks come at whole cadences after the start, so the windows begin half way between two.
"""

STARTS = 3
CONNECTIONS = 4
SCRAPES_PER_CONNECTION = 75
LATENCY_ROUNDS = 3
PACE_SECONDS = 0.1
SECONDARY_RUNS = 3
RATE_WINDOW_SECONDS = 60.0
START_GIVE_UP_SECONDS = 20.0
POLL_SECONDS = 0.002
MILLISECONDS = 1e3
MEBIBYTES = 1 / 1048576
DATABASE_GAUGE = re.compile(r'^smax_\w+\{(?:[^}]*,)?db="', re.MULTILINE)


class OpsReport(threading.Thread):
    """Follows db_bench's report of operations done, one line a second, as it is written."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="ops-report", daemon=True)
        self._path = path
        self._over = threading.Event()
        self._times: list[float] = []
        self._done: list[int] = []

    def run(self) -> None:
        """Note when each line arrives, until ``stop``."""
        lines = 1  # the header
        while not self._over.wait(0.02):
            try:
                text = self._path.read_text()
            except FileNotFoundError:
                continue
            whole = text[: text.rfind("\n") + 1].splitlines()
            for line in whole[lines:]:
                self._times.append(time.monotonic())
                self._done.append((self._done or [0])[-1] + int(line.split(",")[1]))
            lines = max(lines, len(whole))

    def stop(self) -> None:
        """End following."""
        self._over.set()
        self.join()

    def __len__(self) -> int:
        return len(self._times)

    def rate(self, start: float, end: float) -> float | None:
        """Mean operations per second between two monotonic times; None outside the report."""
        first, last = self._at(start), self._at(end)
        return None if first is None or last is None else (last - first) / (end - start)

    def _at(self, moment: float) -> float | None:
        after = bisect_left(self._times, moment)
        if after == 0 or after == len(self._times):
            return None
        t0, t1 = self._times[after - 1], self._times[after]
        n0, n1 = self._done[after - 1], self._done[after]
        return n0 + (n1 - n0) * (moment - t0) / (t1 - t0)


@dataclass
class Side:
    """What was measured of one of the two exporters; seconds and bytes."""

    program: Program
    port: int
    tick_cpu: list[float] = field(default_factory=list)  # a window without its scrape
    scrape_cpu: list[float] = field(default_factory=list)
    window_cpu: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    pss: list[float] = field(default_factory=list)


class Live:
    """Starts everything inside ``stack``, so that leaving that ends everything."""

    def __init__(
        self,
        directory: Path,
        rate: float,
        seconds: float,
        stack: ExitStack,
        say: Callable[[str], None],
    ) -> None:
        self.database = directory / "db"
        self.notes: list[str] = []
        self._directory = directory
        self._rate = rate
        self._seconds = seconds
        self._stack = stack
        self._say = say
        self._differences: list[float] = []
        self._observed: list[float] = []
        self._offered: list[float] = []

    def figures(self, while_live: Callable[[Path], Iterator[Figure]]) -> Iterator[Figure]:
        """All live figures; ``while_live`` adds those that need the database too."""
        exporter = need("prometheus-node-exporter", "prometheus-node-exporter")
        self._say("filling a database")
        self._writer = self._start_writer(need("db_bench", "rocksdb-tools"))
        command = self._smaxd_argv()
        self._say("starting smaxd and node_exporter")
        yield from self._starts(command, exporter)
        children = Children(self._smaxd.program)
        children.start()
        self._stack.callback(children.stop)
        self._say(f"warming up, {WARM_UP_SECONDS:g} s")
        self._sleep_until(self._smaxd.program.started + WARM_UP_SECONDS)
        windows = max(1, round(self._seconds / WINDOW_SECONDS))
        self._say(f"{windows} ticks of {WINDOW_SECONDS:g} s")
        first = self._page(self._smaxd)
        for number in range(windows):
            self._window(self._smaxd.program.started + WARM_UP_SECONDS + number * WINDOW_SECONDS)
        self._judge_conditions(first, self._page(self._smaxd))
        yield from self._window_figures()
        self._say("scrape latencies")
        yield from self._latencies()
        self._say("secondaries")
        yield from self._secondaries(children)
        self._say("the parts of a tick")
        yield from while_live(self.database)
        self._writer.check()

    # -- starting

    def _start_writer(self, db_bench: str) -> Program:
        report = self._directory / "report.csv"
        mean_bytes = KEY_BYTES + sum(VALUE_BYTES) / 2
        # Its own end, should we be killed: everything here takes well under two more minutes.
        duration = int(self._seconds + WARM_UP_SECONDS) + 180
        writer = Program(
            [
                db_bench,
                f"--db={self.database}",
                "--benchmarks=fillrandom",
                f"--num={KEYS}",
                "--writes=1000000000000",
                f"--duration={duration}",
                "--value_size_distribution_type=uniform",
                f"--value_size_min={VALUE_BYTES[0]}",
                f"--value_size_max={VALUE_BYTES[1]}",
                # A little above: the limiter gives whole refills only.
                f"--benchmark_write_rate_limit={int(self._rate * mean_bytes * 1.02)}",
                "--report_interval_seconds=1",
                f"--report_file={report}",
            ],
            self._directory / "db_bench.out",
        )
        self._stack.callback(writer.end)
        self._ops = OpsReport(report)
        self._ops.start()
        self._stack.callback(self._ops.stop)
        while len(self._ops) < 3:
            writer.check()
            time.sleep(0.1)
        return writer

    def _smaxd_argv(self) -> list[str]:
        others = [d.path for d in discover_databases().databases if d.path != str(self.database)]
        argv = [*smaxd_command(), "run", "--scratch", str(self._directory)]
        if others:
            self.notes.append(
                f"other databases are open on this host ({', '.join(others)}): smaxd was given "
                "--db instead of discovering them all"
            )
            argv += ["--db", str(self.database)]
        return argv

    def _starts(self, smaxd_argv: Sequence[str], exporter: str) -> Iterator[Figure]:
        ours: list[float] = []
        gauges: list[float] = []
        theirs: list[float] = []
        for number in range(STARTS):
            smaxd = self._start([*smaxd_argv, "--web.listen-address"], "", "smaxd.log")
            ours.append(self._until_page(smaxd, lambda _: True))
            gauges.append(self._until_page(smaxd, lambda page: bool(DATABASE_GAUGE.search(page))))
            beside = self._start([exporter], "--web.listen-address=", "node_exporter.log")
            theirs.append(self._until_page(beside, lambda _: True))
            if number < STARTS - 1:
                smaxd.program.end()
                beside.program.end()
        self._smaxd, self._beside = smaxd, beside
        section = "start, a process until its /metrics"
        yield Figure(section, "answers 200", "s", series(ours), series(theirs), "< 2")
        yield Figure(section, "has a database's gauge", "s", series(gauges), None, "< 2")

    def _start(self, argv: Sequence[str], flag: str, output: str) -> Side:
        port = free_port()
        environ = _daemon_environment(self._directory)
        program = Program([*argv, f"{flag}127.0.0.1:{port}"], self._directory / output, environ)
        self._stack.callback(program.end)
        return Side(program, port)

    def _until_page(self, side: Side, complete: Callable[[str], bool]) -> float:
        target = HttpTarget(side.port)
        try:
            while time.monotonic() < side.program.started + START_GIVE_UP_SECONDS:
                side.program.check()
                try:
                    _, page = target.scrape()
                except OSError:
                    page = None
                if page is not None and complete(page):
                    return time.monotonic() - side.program.started
                time.sleep(POLL_SECONDS)
        finally:
            target.close()
        raise RuntimeError(
            f"{side.program.output.name}: no complete page; see {side.program.output}"
        )

    # -- ticks

    def _window(self, start: float) -> None:
        """One tick with one scrape: which of the CPU is whose is told by reading it in between."""
        for side in (self._smaxd, self._beside):
            side.program.check()
        self._sleep_until(start)
        before = {id(side): side.program.cpu_seconds() for side in (self._smaxd, self._beside)}
        self._note_rate(self._page(self._smaxd))
        self._page(self._beside)
        time.sleep(0.2)  # what the answering threads do after the last byte is the scrape's too
        scraped = {id(side): side.program.cpu_seconds() for side in (self._smaxd, self._beside)}
        self._sleep_until(start + WINDOW_SECONDS)
        for side in (self._smaxd, self._beside):
            after = side.program.cpu_seconds()
            side.window_cpu.append(after - before[id(side)])
            side.scrape_cpu.append(scraped[id(side)] - before[id(side)])
            side.tick_cpu.append(after - scraped[id(side)])
            memory = side.program.memory_bytes()
            side.rss.append(float(memory["Rss"]))
            side.pss.append(float(memory["Pss"]))

    def _note_rate(self, page: str) -> None:
        """Compare the observed put rate with db_bench's over the same minute."""
        observed = _value(page, "smax_observed_puts_per_second")
        age = _value(page, "smax_estimate_age_seconds", 'quantity="observed_puts_per_second"')
        if observed is None or age is None:
            return
        end = time.monotonic() - age
        if end - RATE_WINDOW_SECONDS < self._smaxd.program.started + 2.0:
            return  # its window is not full yet
        offered = self._ops.rate(end - RATE_WINDOW_SECONDS, end)
        if offered:
            self._observed.append(observed)
            self._offered.append(offered)
            self._differences.append((observed / offered - 1.0) * 100.0)

    def _judge_conditions(self, first: str, last: str) -> None:
        """Notes on what would make the figures mean something else."""
        ticks = [_value(page, "smaxd_ticks_total") or 0.0 for page in (first, last)]
        windows = len(self._smaxd.window_cpu)
        if abs(ticks[1] - ticks[0] - windows) > 1:
            self.notes.append(f"{ticks[1] - ticks[0]:.0f} ticks in {windows} windows")
        databases = len(
            set(re.findall(r'^smax_database_info\{[^}]*?db="([^"]*)"', last, re.MULTILINE))
        )
        if databases != 1:
            self.notes.append(f"smaxd watched {databases} databases, not one")
        failing = re.findall(r'^smax_probe_success\{probe="([^"]*)"[^}]*\} 0', last, re.MULTILINE)
        if failing:
            self.notes.append(f"probes without data: {', '.join(failing)}")

    def _window_figures(self) -> Iterator[Figure]:
        ours, theirs = self._smaxd, self._beside
        section = f"CPU per {WINDOW_SECONDS:g} s"
        for name, pick, aim in (
            ("tick, without fio, secondary, scrape", "tick_cpu", "< 20"),
            ("one scrape (connection included)", "scrape_cpu", ""),
            ("both together", "window_cpu", ""),
        ):
            yield Figure(
                section,
                name,
                "ms",
                series(getattr(ours, pick), MILLISECONDS),
                series(getattr(theirs, pick), MILLISECONDS),
                aim,
            )
        section = "resident memory"
        for name, pick, aim in (("RSS", "rss", "< 80"), ("PSS", "pss", "")):
            yield Figure(
                section,
                name,
                "MiB",
                series(getattr(ours, pick), MEBIBYTES),
                series(getattr(theirs, pick), MEBIBYTES),
                aim,
            )
        yield Figure(
            section,
            "highest RSS so far",
            "MiB",
            series([ours.program.memory_bytes()["VmHWM"]], MEBIBYTES),
            series([theirs.program.memory_bytes()["VmHWM"]], MEBIBYTES),
        )
        section = "put rate over the same minutes"
        yield Figure(section, "db_bench's own report", "puts/s", series(self._offered))
        yield Figure(section, "observed by smaxd", "puts/s", series(self._observed))
        yield Figure(section, "difference", "%", series(self._differences), aim="-1..1")

    # -- scrapes

    def _page(self, side: Side) -> str:
        target = HttpTarget(side.port)
        try:
            return target.scrape()[1]
        finally:
            target.close()

    def _latencies(self) -> Iterator[Figure]:
        for name, pause, aim in (
            ("each 10 times a second", PACE_SECONDS, "< 10"),
            ("each as fast as it can", 0.0, ""),
        ):
            results: dict[str, tuple[list[float], list[float], list[float]]] = {}
            for _ in range(LATENCY_ROUNDS):
                for label, side in (("ours", self._smaxd), ("theirs", self._beside)):
                    before = side.program.cpu_seconds()
                    elapsed = _scrape_at_once(side.port, pause)
                    used = side.program.cpu_seconds() - before
                    p50s, p99s, cpu = results.setdefault(label, ([], [], []))
                    p50s.append(statistics.median(elapsed))
                    p99s.append(percentile(elapsed, 0.99))
                    cpu.append(used / len(elapsed))
            section = (
                f"scrapes, {CONNECTIONS} keep-alive connections, {name} "
                f"({CONNECTIONS * SCRAPES_PER_CONNECTION} per round)"
            )
            ours, theirs = results["ours"], results["theirs"]
            for index, (figure, limit) in enumerate(
                (("latency p50", ""), ("latency p99", aim), ("CPU per scrape", ""))
            ):
                yield Figure(
                    section,
                    figure,
                    "ms",
                    series(ours[index], MILLISECONDS),
                    series(theirs[index], MILLISECONDS),
                    limit,
                )

    # -- children

    def _secondaries(self, children: Children) -> Iterator[Figure]:
        settings = Config().secondary
        samples = list(_run_secondaries(self.database, self._directory, settings))
        amortised = [
            sample.cpu_seconds
            / max(settings.interval_seconds, sample.cpu_seconds / settings.cpu_share_ratio)
            * WINDOW_SECONDS
            for sample in samples
        ]
        section = "the secondary's child (a process of its own)"
        yield Figure(
            section, "CPU of one", "ms", series([s.cpu_seconds for s in samples], MILLISECONDS)
        )
        yield Figure(
            section,
            f"amortised over {WINDOW_SECONDS:g} s at its default cadence",
            "ms",
            series(amortised, MILLISECONDS),
        )
        yield Figure(
            section,
            "wall time of one",
            "ms",
            series([s.wall_seconds for s in samples], MILLISECONDS),
        )
        yield Figure(
            section,
            "peak RSS of one",
            "MiB",
            series(
                [float(s.peak_resident_bytes) for s in samples if s.peak_resident_bytes], MEBIBYTES
            ),
        )
        section = "children of the daemon during the whole run"
        elapsed = time.monotonic() - self._smaxd.program.started
        but_fio = sum(cpu for _, name, cpu in children.used if name != "fio")
        yield Figure(
            section,
            f"all but fio, amortised over {WINDOW_SECONDS:g} s",
            "ms",
            series([but_fio / elapsed * WINDOW_SECONDS], MILLISECONDS),
        )
        names = sorted({name for _, name, _ in children.used})
        for name in names:
            used = [cpu for _, each, cpu in children.used if each == name]
            yield Figure(section, f"{name}, CPU of each", "ms", series(used, MILLISECONDS))

    def _sleep_until(self, moment: float) -> None:
        time.sleep(max(0.0, moment - time.monotonic()))


def _daemon_environment(directory: Path) -> Mapping[str, str]:
    environ = {**os.environ, "RUNTIME_DIRECTORY": str(directory)}
    # As on any host: without this each start would compile every module anew.
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return environ


def _scrape_at_once(port: int, pause_seconds: float) -> list[float]:
    """Latencies in seconds of all connections' scrapes, the first of each left out."""

    def scrape_in_turn(number: int) -> list[float]:
        target = HttpTarget(port)
        elapsed = []
        try:
            target.scrape()
            time.sleep(pause_seconds * number / CONNECTIONS)
            for _ in range(SCRAPES_PER_CONNECTION):
                elapsed.append(target.scrape()[0])
                time.sleep(pause_seconds)
        finally:
            target.close()
        return elapsed

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return [each for result in pool.map(scrape_in_turn, range(CONNECTIONS)) for each in result]


def _run_secondaries(
    database: Path, directory: Path, settings: SecondarySettings
) -> Iterator[SecondarySample]:
    """The daemon's own probe, run more often than it would."""
    probe = SecondaryProbe(
        str(database),
        SystemClock(),
        ProcessGroupRunner(),
        str(directory),
        replay_wal=False,
        timeout_seconds=settings.timeout_seconds,
        memory_limit_bytes=int(settings.memory_mib * 1048576),
    )
    for _ in range(SECONDARY_RUNS):
        try:
            yield probe.read()
        except ProbeError:
            continue  # the figure's count tells


def _value(page: str, metric: str, label: str = "") -> float | None:
    found = re.search(rf"^{metric}(?:\{{[^}}]*{label}[^}}]*\}})? (\S+)$", page, re.MULTILINE)
    return None if found is None else float(found[1])
