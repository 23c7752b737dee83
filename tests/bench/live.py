"""The live measurement: db_benches write, smaxd watches them, node_exporter stands beside."""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from probes.rocksdb.discover import discover_databases
from tests.bench.children import Children, secondary_figures
from tests.bench.figures import Figure, series
from tests.bench.processes import Program, free_port, need, smaxd_command
from tests.bench.scrapes import HttpTarget, Side, latency_figures
from tests.bench.writer import start_writer

WINDOW_SECONDS = 10.0
"""The default tick; every window holds one tick and one scrape."""

WARM_UP_SECONDS = 25.0
"""The early ticks, the first fio run and the first secondary are over by then.

Ticks come at whole cadences after the start, so the windows begin half way between two.
"""

STARTS = 3
RATE_WINDOW_SECONDS = 60.0
START_GIVE_UP_SECONDS = 20.0
POLL_SECONDS = 0.002
MILLISECONDS = 1e3
MEBIBYTES = 1 / 1048576
DATABASE_GAUGE = re.compile(r'^smax_\w+\{(?:[^}]*,)?db="', re.MULTILINE)


class Live:
    """Starts everything inside ``stack``, so that leaving that ends everything."""

    def __init__(
        self,
        directory: Path,
        rate: float,
        seconds: float,
        databases: int,
        stack: ExitStack,
        say: Callable[[str], None],
    ) -> None:
        """``rate`` is all databases' together, in puts/s."""
        self._databases = [directory / f"{number}" / "db" for number in range(databases)]
        self.notes: list[str] = []
        self._directory = directory
        self._rate = rate
        self._seconds = seconds
        self._stack = stack
        self._say = say
        self._differences: list[float] = []
        self._observed: list[float] = []
        self._offered: list[float] = []

    def figures(self, while_live: Callable[[Path], Iterator[Figure]] | None) -> Iterator[Figure]:
        """All live figures; ``while_live`` adds those that need the database too.

        None: only what the daemon and its children use.
        """
        exporter = need("prometheus-node-exporter", "prometheus-node-exporter")
        self._say("filling the databases")
        # Its own end, should we be killed: everything but the ticks takes less than 3 minutes.
        writers = []
        for database in self._databases:
            database.parent.mkdir()
            rate = self._rate / len(self._databases)
            writers.append(
                start_writer(database, database.parent, rate, self._seconds + 200.0, self._stack)
            )
        self._ops = writers[0][1]
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
        first = self._smaxd.page()
        start, before = time.monotonic(), self._smaxd.program.stat_cpu_seconds()
        for number in range(windows):
            self._window(self._smaxd.program.started + WARM_UP_SECONDS + number * WINDOW_SECONDS)
        elapsed, after = time.monotonic() - start, self._smaxd.program.stat_cpu_seconds()
        self._judge_conditions(first, self._smaxd.page())
        yield Figure(
            "CPU of the daemon and of all its children, one scrape per window included",
            "share of one core",
            "%",
            series([(sum(after) - sum(before)) / elapsed], 100.0),
            aim="< 0.5",
        )
        yield from self._window_figures()
        yield from children.figures()
        if while_live is not None:
            self._say("scrape latencies")
            yield from latency_figures(self._smaxd, self._beside)
            self._say("secondaries")
            yield from secondary_figures(self._databases[0], self._directory)
            self._say("the parts of a tick")
            yield from while_live(self._databases[0])
        for writer, _ in writers:
            writer.check()

    # -- starting

    def _smaxd_argv(self) -> list[str]:
        ours = {str(database) for database in self._databases}
        others = [d.path for d in discover_databases().databases if d.path not in ours]
        argv = [*smaxd_command(), "run", "--scratch", str(self._directory)]
        argv += ["--state", str(self._directory)]
        if others:
            self.notes.append(
                f"other databases are open on this host ({', '.join(others)}): smaxd was given "
                "--db instead of discovering them all"
            )
            for database in self._databases:
                argv += ["--db", str(database)]
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
        words = side.program.output.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"no complete page from port {side.port}; its log ends:\n{words}")

    # -- ticks

    def _window(self, start: float) -> None:
        """One tick with one scrape: which of the CPU is whose is told by reading it in between."""
        for side in (self._smaxd, self._beside):
            side.program.check()
        self._sleep_until(start)
        before = {id(side): side.program.cpu_seconds() for side in (self._smaxd, self._beside)}
        self._note_rate(self._smaxd.page())
        self._beside.page()
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
        label = f'db="{self._databases[0]}"'
        observed = _value(page, "smax_observed_puts_per_second", label)
        age = _value(
            page,
            "smax_estimate_age_seconds",
            f'{label}[^}}]*quantity="observed_puts_per_second"',
        )
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
        if databases != len(self._databases):
            self.notes.append(f"smaxd watched {databases} databases, not {len(self._databases)}")
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

    def _sleep_until(self, moment: float) -> None:
        time.sleep(max(0.0, moment - time.monotonic()))


def _daemon_environment(directory: Path) -> Mapping[str, str]:
    environ = {**os.environ, "RUNTIME_DIRECTORY": str(directory)}
    # As on any host: without this each start would compile every module anew.
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return environ


def _value(page: str, metric: str, label: str = "") -> float | None:
    found = re.search(rf"^{metric}(?:\{{[^}}]*{label}[^}}]*\}})? (\S+)$", page, re.MULTILINE)
    return None if found is None else float(found[1])
