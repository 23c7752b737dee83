"""One run of one scenario: fill, load, answer, saturation, proof, load, answer."""

import gzip
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tests.bench.figures import machine
from tests.bench.processes import Program
from tests.bench.truth import verdict
from tests.bench.truth.agent_process import Agent
from tests.bench.truth.load_driver import Line, LoadDriver
from tests.bench.truth.observer import Observer
from tests.bench.truth.results import (
    UNDER_WAY_FILE,
    AnswerRecord,
    HoldingRecord,
    LoadRecord,
    RampRecord,
    RunRecord,
    SaturationRecord,
    TruthRecord,
    write_run,
)
from tests.bench.truth.saturation import Observed, judge, own_bytes
from tests.bench.truth.scenarios import Scenario
from tests.bench.truth.slow_device import SlowDevice
from tests.bench.truth.trend import put_rate
from tests.bench.truth.verdict import VERIFY_RATIOS, Holding, Saturation

LOAD_SECONDS = 120.0
"""Load before the answer; the goal is a usable answer within two minutes of the start."""

SETTLE_SECONDS = 240.0
SATURATION_SECONDS = 150.0
SATURATION_STEP_SECONDS = 60.0
SATURATION_MOST_SECONDS = 330.0
VERIFY_SECONDS = 75.0
PAUSE_SECONDS = 12.0
"""Before each proof: writes that have queued behind the saturation get through."""

LATER_LOAD_SECONDS = 60.0
RAMP_SECONDS = 240.0
RAMP_RATIOS = (0.5, 1.5)
"""Of the truth, from the ramp's start to its end."""

TAIL_RATIO = 1 / 3
OVERWRITE_RATIO = 0.8
"""The provisional rate is this much of the rate over the last third of the fill: a tree that has
just been filled takes more than one that is overwritten. It only sets the load before the answer;
which share of the truth that load was is reported.
"""


class ScenarioRun:
    """Runs once and writes its directory; ``say`` gets a line now and then."""

    def __init__(
        self,
        scenario: Scenario,
        program: Path,
        work: Path,
        directory: Path,
        say: Callable[[str], None],
        *,
        with_ramp: bool = False,
    ) -> None:
        self._with_ramp = with_ramp
        self._scenario = scenario
        self._program = program
        self._work = work
        self._directory = directory
        self._say = say
        self._notes: list[str] = []
        self._began: dict[str, float] = {}
        self._driver: LoadDriver | None = None
        self._aborted = False

    def run(self) -> RunRecord:
        """RuntimeError or OSError when something fails; the device is gone in any case."""
        directory, scenario = self._directory, self._scenario
        directory.mkdir(parents=True)
        under_way = directory / UNDER_WAY_FILE
        under_way.write_text(str(os.getpid()))
        read = scenario.device_read_mb_per_second
        started = time.time()
        with SlowDevice(
            self._work,
            scenario.image_bytes,
            scenario.device_mb_per_second * 1e6,
            None if read is None else read * 1e6,
        ) as device:
            self._device = device
            self._database = device.mount / "db"
            try:
                self._driver = LoadDriver(
                    device.group.inside(
                        [str(self._program), "--db", str(self._database), *scenario.driver_flags()]
                    ),
                    directory / "driver.jsonl",
                    directory / "driver.err",
                )
                device.on_leaving(self._driver.end)
                self._observer = Observer(device, directory)
                record = self._phases(started)
            finally:
                self._keep_files()
        write_run(directory, record)
        under_way.unlink()
        return record

    def abort(self) -> None:
        """Make ``run`` fail at its next step, from another thread; it cleans up as always."""
        self._aborted = True
        if self._driver is not None:
            self._driver.kill()

    def _phases(self, started: float) -> RunRecord:
        scenario = self._scenario
        fill, provisional = self._fill()
        settle = self._ask("settle", f"settle {SETTLE_SECONDS:g}", SETTLE_SECONDS)
        if not settle["settled"]:
            self._notes.append("compaction debt was left when the load began")
        self._start_foreign()
        agent = Agent(
            self._device,
            self._database,
            self._directory,
            limit_visible=scenario.limit_visible,
        )
        self._observer.agent = agent
        load = self._load(provisional)
        answers = [self._answer("before", agent)]
        truth = self._truth()
        rate = load.offered_puts_per_second
        self._ask("later load", f"open {rate:.3f} {LATER_LOAD_SECONDS:g}", LATER_LOAD_SECONDS)
        answers.append(self._answer("after", agent))
        ramp = self._ramp(truth.puts_per_second) if self._with_ramp else None
        agent.program.end()
        return RunRecord(
            scenario=scenario.name,
            parameters=asdict(scenario),
            started_wall_seconds=started,
            machine=machine(),
            cpu_priority=self._device.group.has_cpu_priority,
            fill_seconds=fill["seconds"],
            fill_puts=fill["puts"],
            settle_seconds=settle["seconds"],
            settled=settle["settled"],
            load=load,
            truth=truth,
            answers=answers,
            first_estimate_seconds=self._observer.first_estimate_seconds,
            wall_seconds=self._began,
            notes=self._notes,
            recording=None if agent.recording is None else agent.recording.name,
            ramp=ramp,
        )

    def _ask(self, phase: str, command: str, seconds: float) -> Line:
        self._say(f"{phase}: {command}")
        self._began[phase] = time.time()
        self._observer.begin()
        return self._command(command, seconds, self._observer.progress)

    def _command(self, command: str, seconds: float, progress: Callable[[Line], None]) -> Line:
        if self._aborted or self._driver is None:
            raise RuntimeError("interrupted")
        return self._driver.ask(command, seconds, progress)

    # -- before the answer

    def _fill(self) -> tuple[Line, float]:
        result = self._ask("fill", f"fill {self._scenario.keys}", 600.0)
        samples = self._observer.samples
        tail = [s for s in samples if s.at_seconds >= result["seconds"] * (1 - TAIL_RATIO)]
        rate = put_rate(tail) if tail else result["puts"] / result["seconds"]
        return result, rate * OVERWRITE_RATIO

    def _start_foreign(self) -> None:
        rate = self._scenario.foreign_mb_per_second
        if not rate:
            return
        argv = ["fio", "--name=foreign", f"--filename={self._device.mount}/foreign", "--rw=write"]
        argv += ["--bs=256k", "--direct=1", "--size=1g", "--time_based", "--runtime=7200"]
        argv += ["--ioengine=libaio", "--iodepth=8", "--thread", f"--rate={int(rate * 1e6)}"]
        program = Program(self._device.group.inside(argv), self._directory / "fio.log")
        self._device.on_leaving(program.end)
        self._observer.foreign_pid = program.pid

    def _load(self, provisional: float) -> LoadRecord:
        scenario = self._scenario
        rate = provisional * scenario.load_ratio
        if scenario.halves:
            half = LOAD_SECONDS / 2.0
            self._ask("load", f"open {rate:.3f} {half:g}", half)
            self._device.limit(self._device.write_bytes_per_second / 2.0)
            self._notes.append("the device halved in the middle of the load")
            line = self._ask("load on half a device", f"open {rate:.3f} {half:g}", half)
        else:
            line = self._ask("load", f"open {rate:.3f} {LOAD_SECONDS:g}", LOAD_SECONDS)
        first, last = self._observer.moments[0], self._observer.moments[-1]
        puts = sum(sample.puts for sample in self._observer.samples)
        own = own_bytes(first, last)
        return LoadRecord(
            provisional_puts_per_second=provisional,
            offered_puts_per_second=rate,
            accepted_puts_per_second=line["accepted"] / line["seconds"],
            seconds=line["seconds"],
            bytes_per_put=own / puts if puts else None,
            stopped_ratio=line["stopped_ratio"],
            delayed_ratio=line["delayed_ratio"],
            p99_seconds=line["p99_seconds"],
        )

    def _answer(self, moment: str, agent: Agent) -> AnswerRecord:
        return AnswerRecord(moment, time.time(), agent.seconds(), agent.database())

    # -- the truth

    def _truth(self) -> TruthRecord:
        closed, record, busy = self._saturate()
        tried: list[HoldingRecord] = []
        holdings: list[Holding] = []
        for ratio in VERIFY_RATIOS:
            time.sleep(PAUSE_SECONDS)
            rate = closed * ratio
            line = self._ask(
                f"proof at {ratio:.0%}", f"open {rate:.3f} {VERIFY_SECONDS:g}", VERIFY_SECONDS
            )
            holding = Holding(
                ratio,
                line["offered"] / VERIFY_SECONDS,
                line["accepted"] / VERIFY_SECONDS,
                line["stopped_ratio"],
                line["delayed_ratio"],
            )
            holdings.append(holding)
            tried.append(
                HoldingRecord(
                    **asdict(holding),
                    stall_seconds=line["stall_seconds"],
                    p50_seconds=line["p50_seconds"],
                    p99_seconds=line["p99_seconds"],
                    p999_seconds=line["p999_seconds"],
                    max_seconds=line["max_seconds"],
                    holds=holding.holds,
                )
            )
            if holding.holds:
                break
        return TruthRecord(
            puts_per_second=verdict.corrected(closed, holdings),
            closed_loop_puts_per_second=closed,
            tried=tried,
            held=holdings[-1].holds,
            saturation=record,
            bottleneck=verdict.bottleneck(busy, self._scenario.wal),
        )

    def _saturate(self) -> tuple[float, SaturationRecord, Saturation]:
        """Closed loop until the second half shows no trend, or the time is up.

        One command after the other: the writers' threads end and begin anew in between, which
        takes the database no more than a few milliseconds.
        """
        self._say("saturation")
        self._began["saturation"] = time.time()
        self._observer.begin()
        seconds, step = 0.0, SATURATION_SECONDS
        while True:
            before = seconds

            def progress(line: Line, before: float = before) -> None:
                self._observer.progress({**line, "at_seconds": line["at_seconds"] + before})

            line = self._command(f"closed {step:g}", step, progress)
            seconds += step
            seen = Observed(
                seconds,
                self._observer.samples,
                self._observer.lines,
                self._observer.moments,
                line["busiest_writer_cpu_seconds"] / line["seconds"],
            )
            judged = judge(seen, self._scenario)
            if judged[1].steady:
                return judged
            step = SATURATION_STEP_SECONDS
            if seconds + step > SATURATION_MOST_SECONDS:
                self._notes.append("the saturation still had a trend when its time was up")
                return judged

    def _ramp(self, truth: float) -> RampRecord:
        """From well below the truth to well above it: when does the stall begin?"""
        self._ask("settling for the ramp", f"settle {SETTLE_SECONDS:g}", SETTLE_SECONDS)
        low, high = truth * RAMP_RATIOS[0], truth * RAMP_RATIOS[1]
        line = self._ask("ramp", f"ramp {low:.3f} {high:.3f} {RAMP_SECONDS:g}", RAMP_SECONDS)
        delayed, stopped = line["first_delayed_seconds"], line["first_stopped_seconds"]
        return RampRecord(
            start_wall_seconds=self._began["ramp"],
            seconds=RAMP_SECONDS,
            from_puts_per_second=low,
            to_puts_per_second=high,
            first_delayed_seconds=delayed if delayed >= 0 else None,
            first_stopped_seconds=stopped if stopped >= 0 else None,
        )

    def _keep_files(self) -> None:
        """RocksDB's LOG, its OPTIONS and the driver's lines, compressed."""
        for path in [*self._database.glob("LOG*"), *self._database.glob("OPTIONS-*")]:
            with (
                path.open("rb") as source,
                gzip.open(self._directory / f"{path.name}.gz", "wb") as kept,
            ):
                shutil.copyfileobj(source, kept)
