"""The runs of the observer bench: a restored database under load, with the agent and without."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from tests.bench.latencies import Latencies, Values
from tests.bench.observed_database import (
    WRITERS,
    Tree,
    db_bench_argv,
    driver_argv,
    fill_with_db_bench,
    fill_with_driver,
    keys_for,
)
from tests.bench.observer_activity import ActivityWatch, WorkTimes, work_times
from tests.bench.observer_place import Place
from tests.bench.observing_agent import AgentUse, ObservingAgent
from tests.bench.paired import alternating
from tests.bench.processes import Program
from tests.bench.truth.load_driver import LoadDriver
from tests.bench.writer import OpsReport

LATENCY_UNIT = 1e-7
"""kLatencyUnit of the driver."""

QUIET_SECONDS = 15.0
"""Before a probe on its own: what its window is compared with."""

RECOVERY_SECONDS = 10.0
"""After a probe: whatever it has held up is through by then."""

ROUND_WINDOW_SECONDS = 15.0
"""A round is four of these: with, without, without, with the agent, or the other way round."""

ROUND_WINDOWS = 4
SCRAPE_AFTER_SECONDS = 5.0
"""In each window with the agent it is scraped once: every 15 s, Prometheus's usual interval."""

SETTLING_SECONDS = 1.0
"""Of each window of a round, left out: what is under way when the agent is stopped or goes on."""

REPORT_SPARE_SECONDS = 3.0
"""db_bench runs so much longer than it is looked at, so that the last second is reported."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of load before the window, and of the window."""

    warm_up: float
    window: float


@dataclass(frozen=True, slots=True)
class SaturatedRun:
    """db_bench's puts/s in the window, and what the agent used in it."""

    puts_per_second: float
    agent: tuple[AgentUse, AgentUse] | None


@dataclass(frozen=True, slots=True)
class Round:
    """The latencies of the puts that were due while the agent was stopped and while it could go on,
    and of the latter those that were due when it slept; what it used meanwhile."""

    latencies: dict[bool, Latencies]
    asleep: Latencies
    work_ratio: float  # of the puts while it could go on, those due during its work
    backlog: int
    agent: tuple[AgentUse, AgentUse]


@dataclass(frozen=True, slots=True)
class ProbedSaturation:
    """puts/s before a probe of fio and while it ran."""

    before: float
    during: float
    probe_seconds: float


@dataclass(frozen=True, slots=True)
class ProbedLoad:
    """Latencies of the puts that were due before a probe, while it ran, until it was recovered."""

    before: Latencies
    during: Latencies
    until_recovered: Latencies
    window_seconds: float  # from the probe's start until it was recovered


class _ProbeOutput(msgspec.Struct):
    at: float
    runtime_seconds: float


class ObserverRuns:
    """Makes both trees once, then any number of runs; files of its own go to ``out``."""

    def __init__(self, place: Place, out: Path, driver: Path, data_mib: float) -> None:
        self._place = place
        self._out = out
        self._driver_program = driver
        keys = keys_for(data_mib)
        live = place.directory / "db"
        self._bench_tree = Tree(place.directory / "kept-db_bench", live, keys)
        self._driver_tree = Tree(place.directory / "kept-driver", live, keys)

    def make_trees(self, closed_seconds: float) -> float:
        """Fill both; the put rate of the driver's closed loop over ``closed_seconds``."""
        tree = self._bench_tree
        argv = db_bench_argv(tree.kept, tree.keys)
        fill = Program(
            self._place.inside([*argv, "--benchmarks=filluniquerandom,waitforcompaction"]),
            self._out / "fill.out",
        )
        self._place.on_leaving(fill.end)
        fill_with_db_bench(fill)
        tree = self._driver_tree
        with self._driving(tree.kept) as driver:
            fill_with_driver(driver, tree.keys)
        with self._driving(tree.restore()) as driver:
            result = driver.ask(f"closed {closed_seconds:g}", closed_seconds)
        return float(result["puts"]) / float(result["seconds"])

    def saturated(self, timing: Timing, *, with_agent: bool) -> SaturatedRun:
        """As fast as db_bench can."""
        with self._saturating(timing.warm_up + timing.window) as (ops, began):
            agent = self._agent(with_agent)
            try:
                start = began + timing.warm_up
                _sleep_until(start)
                first = None if agent is None else agent.use()
                _sleep_until(start + timing.window)
                last = None if agent is None else agent.use()
                rate = _rate(ops, start, start + timing.window)
            finally:
                _end(agent)
        return SaturatedRun(rate, None if first is None or last is None else (first, last))

    def rounds(self, timing: Timing, rate: float, number: int) -> Iterator[Round]:
        """Puts that arrive at ``rate``, whatever the database does, in one long run: compactions
        go on from window to window, and the agent is stopped and continued."""
        with self._driving(self._driver_tree.restore()) as driver:
            agent = ObservingAgent(self._place, self._bench_tree.live, self._out / "smaxd.log")
            try:
                driver.ask(f"open {rate:.3f} {timing.warm_up:g}", timing.warm_up)
                for _, first in alternating((number + 1) // 2):
                    if number > 0:
                        yield self._round(driver, agent, rate, first=first)
                        number -= 1
            finally:
                agent.resume()
                agent.program.end()

    def _round(
        self, driver: LoadDriver, agent: ObservingAgent, rate: float, *, first: bool
    ) -> Round:
        """``first``: the agent goes on in the first window and in the last."""
        goes_on = [first, not first, not first, first]
        before = agent.use()
        switching = threading.Thread(target=_switch, args=(agent, goes_on), name="switching")
        watch = ActivityWatch(agent.program.pid)
        switching.start()
        seconds = ROUND_WINDOWS * ROUND_WINDOW_SECONDS
        line = driver.ask(f"open {rate:.3f} {seconds:g}", seconds)
        switching.join()
        work = work_times(watch.end())
        agent.resume()
        after = agent.use()
        arrivals, latencies = in_order(self._writers_latencies(), rate)
        started = float(line["started_monotonic_seconds"])
        worked = replace(after, at=before.at + goes_on.count(True) * ROUND_WINDOW_SECONDS)
        return round_of(
            goes_on,
            arrivals,
            latencies,
            WorkTimes(work.begins - started, work.ends - started),
            int(line["backlog"]),
            (before, worked),
        )

    def probed_saturation(self, warm_up: float) -> ProbedSaturation:
        """One probe of fio, as the daemon's, while db_bench writes as fast as it can."""
        seconds = warm_up + QUIET_SECONDS + RECOVERY_SECONDS
        with self._saturating(seconds) as (ops, began):
            _sleep_until(began + warm_up + QUIET_SECONDS)
            start, end = self._probe()
            during = _rate(ops, start, end)
            return ProbedSaturation(_rate(ops, start - QUIET_SECONDS, start), during, end - start)

    def probed_load(self, warm_up: float, rate: float) -> ProbedLoad:
        """The same while puts arrive at ``rate``."""
        seconds = QUIET_SECONDS + 2 * RECOVERY_SECONDS
        found: list[tuple[float, float]] = []
        failed: list[RuntimeError] = []

        def probe() -> None:
            time.sleep(QUIET_SECONDS)
            try:
                found.append(self._probe())
            except RuntimeError as error:
                failed.append(error)

        with self._driving(self._driver_tree.restore()) as driver:
            driver.ask(f"open {rate:.3f} {warm_up:g}", warm_up)
            thread = threading.Thread(target=probe, name="probe")
            began = time.monotonic()
            thread.start()
            driver.ask(f"open {rate:.3f} {seconds:g}", seconds)
            thread.join()
        if failed:
            raise failed[0]
        start, end = (moment - began for moment in found[0])
        arrivals, latencies = in_order(self._writers_latencies(), rate)
        recovered = end + RECOVERY_SECONDS
        return ProbedLoad(
            before=Latencies.of(latencies[arrivals < start]),
            during=Latencies.of(latencies[(arrivals >= start) & (arrivals < end)]),
            until_recovered=Latencies.of(latencies[(arrivals >= start) & (arrivals < recovered)]),
            window_seconds=recovered - start,
        )

    # -- parts

    @property
    def _latency_file(self) -> Path:
        return self._out / "latencies"

    def _agent(self, wanted: bool) -> ObservingAgent | None:
        if not wanted:
            return None
        return ObservingAgent(self._place, self._bench_tree.live, self._out / "smaxd.log")

    @contextmanager
    def _driving(self, database: Path) -> Iterator[LoadDriver]:
        keys = self._driver_tree.keys
        argv = driver_argv(self._driver_program, database, keys, self._latency_file)
        driver = LoadDriver(
            self._place.inside(argv), self._out / "driver.jsonl", self._out / "driver.err"
        )
        try:
            yield driver
        finally:
            driver.end()

    @contextmanager
    def _saturating(self, seconds: float) -> Iterator[tuple[OpsReport, float]]:
        """db_bench for so long, its report, and when its first second was over."""
        database = self._bench_tree.restore()
        report = self._out / "report.csv"
        report.unlink(missing_ok=True)
        argv = [
            *db_bench_argv(database, self._bench_tree.keys),
            "--benchmarks=overwrite",
            "--use_existing_db=1",
            f"--threads={WRITERS}",
            f"--duration={int(seconds + REPORT_SPARE_SECONDS) + 1}",
            "--report_interval_seconds=1",
            f"--report_file={report}",
        ]
        bench = Program(self._place.inside(argv), self._out / "db_bench.out")
        ops = OpsReport(report)
        ops.start()
        try:
            while len(ops) < 1:
                bench.check()
                time.sleep(0.05)
            yield ops, time.monotonic()
        finally:
            ops.stop()
            bench.end()

    def _probe(self) -> tuple[float, float]:
        """Run the daemon's kind of probe, whatever it does to the database; when fio began and
        ended, in monotonic seconds."""
        scratch = self._place.directory / "scratch"
        scratch.mkdir(mode=0o700, exist_ok=True)
        output = self._out / "probe.json"
        argv = [sys.executable, "-m", "tests.bench.unguarded_fio", str(scratch)]
        program = Program(self._place.inside(argv), output)
        try:
            code = program.wait(60.0)
        finally:
            program.end()
        if code != 0:
            raise RuntimeError(f"fio: {output.read_text(errors='replace')[-500:]}")
        sample = msgspec.json.decode(output.read_bytes(), type=_ProbeOutput)
        return sample.at - sample.runtime_seconds, sample.at

    def _writers_latencies(self) -> list[Values]:
        return parse_latencies(self._latency_file.read_bytes())


def parse_latencies(raw: bytes) -> list[Values]:
    """The driver's file of raw latencies: seconds of each writer's puts, in order of arrival."""
    found: list[Values] = []
    offset = 0
    while offset < len(raw):
        count = int.from_bytes(raw[offset : offset + 8], "little")
        offset += 8
        if offset + 4 * count > len(raw):
            raise ValueError("the file of latencies is cut off")
        found.append(np.frombuffer(raw, np.uint32, count, offset).astype(np.float64) * LATENCY_UNIT)
        offset += 4 * count
    return found


def in_order(writers: list[Values], rate: float) -> tuple[Values, Values]:
    """Intended arrivals in seconds from the start, and latencies, writers one after the other.

    Put k of writer w of n is put w + k n of the load, and these arrive ``rate`` per second.
    """
    step = len(writers)
    arrivals = [(w + step * np.arange(len(each))) / rate for w, each in enumerate(writers)]
    return np.concatenate(arrivals), np.concatenate(writers)


def round_of(
    goes_on: list[bool],
    arrivals: Values,
    latencies: Values,
    work: WorkTimes,
    backlog: int,
    agent: tuple[AgentUse, AgentUse],
) -> Round:
    """Sort the puts of a round by what the agent did when they were due; seconds from its start."""
    window, into = np.divmod(arrivals, ROUND_WINDOW_SECONDS)
    counts = (into >= SETTLING_SECONDS) & (window < ROUND_WINDOWS)
    going_on = counts & np.asarray(goes_on)[np.minimum(window, ROUND_WINDOWS - 1).astype(int)]
    asleep = going_on & ~work.contain(arrivals)
    return Round(
        {
            True: Latencies.of(latencies[going_on]),
            False: Latencies.of(latencies[counts & ~going_on]),
        },
        Latencies.of(latencies[asleep]),
        1.0 - float(asleep.sum()) / float(going_on.sum()),
        backlog,
        agent,
    )


def _rate(ops: OpsReport, start: float, end: float) -> float:
    """Waits until db_bench has reported the window's last second."""
    give_up = end + REPORT_SPARE_SECONDS
    while (rate := ops.rate(start, end)) is None:
        if time.monotonic() > give_up:
            raise RuntimeError("db_bench's report does not cover the window")
        time.sleep(0.05)
    return rate


def _switch(agent: ObservingAgent, goes_on: list[bool]) -> None:
    """Let the agent go on in these windows, from now on, and stand still in the others."""
    began = time.monotonic()
    for number, goes in enumerate(goes_on):
        start = began + number * ROUND_WINDOW_SECONDS
        _sleep_until(start)
        (agent.resume if goes else agent.pause)()
        if goes:
            _sleep_until(start + SCRAPE_AFTER_SECONDS)
            agent.use()
    _sleep_until(began + len(goes_on) * ROUND_WINDOW_SECONDS)


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _end(agent: ObservingAgent | None) -> None:
    if agent is not None:
        agent.program.end()
