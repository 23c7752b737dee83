"""Lead times and false alarms of the stall forecast, on the LSM simulator instead of a device.

    python -m tests.bench.forecast_simulated ramps   # about a minute
    python -m tests.bench.forecast_simulated days    # about a minute per simulated day

Ramps go from 50 % to 110, 130 and 150 % of what the simulator sustains in a closed loop, in 4 and 6
minutes. Days are a sine up to 85 % with 24 bursts of 20 to 60 s at 1.3 times the load. The forecast
gets an S_max that is 20 % too low, right, or 25 % too high, and sees one tick every 10 s.
"""

import math
import random
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace

from agent.forecast.capacity_plan import SMaxInterval
from agent.forecast.forecast import ForecastObservation, StallForecast
from agent.forecast.score import ForecastScore, ScoreSummary
from agent.models.lsm import HostShare, ModelInputs, TreeCosts, TreeOptions, TreeShape
from agent.models.lsm_jobs import Job
from agent.models.lsm_simulator import _Simulation, simulate
from agent.readings import Known
from probes.rocksdb.samples import (
    ColumnFamilyShape,
    FlushEvent,
    LevelShape,
    ManifestSample,
    StallCondition,
    WalSample,
)
from tests.unit.test_forecast import EMPTY_LOG, FAMILY, OPTIONS

MIB = 1048576.0
TICK_SECONDS = 10
NOISE = 0.1  # standard deviation of the log of each second's put rate
LOG_SPREAD = 0.2
ERRORS = (0.8, 1.0, 1.25)

Rate = Callable[[float], float]


class Observed(_Simulation):
    """The simulator, stepped by the clock, with what a LOG would tell."""

    def __init__(self, inputs: ModelInputs, offered: float) -> None:
        super().__init__(inputs, offered)
        self.flushes: list[FlushEvent] = []
        self.stalls = 0
        self._begun: dict[int, tuple[float, int]] = {}

    def run_until(self, seconds: float, offered: float) -> None:
        self._offered = max(1.0, offered)
        while self._totals.seconds < seconds - 1e-9:
            self._start_jobs()
            for job in self._jobs:
                if job.is_flush:
                    self._begun.setdefault(id(job), (self._totals.seconds, job.memtables))
            self._advance(seconds)

    def _finish(self, job: Job) -> None:
        if id(job) in self._begun:
            begun, memtables = self._begun.pop(id(job))
            now, entries = self._totals.seconds, int(memtables * self._memtable_puts)
            self.flushes.append(FlushEvent(now, 0, "default", entries, None, None, 0, now - begun))
        super()._finish(job)

    def _install(self) -> None:
        before = self._control.cause
        super()._install()
        self.stalls += before is None and self._control.cause is not None

    def observe(self, at: float, s_max: float) -> ForecastObservation:
        options, tree, control = self._inputs.options, self._tree, self._control
        sizes: list[list[float]] = [[] for _ in range(options.num_levels)]
        for run in tree.level0:
            sizes[run.level].append(run.size)
        levels = [LevelShape(len(level), int(sum(level))) for level in sizes]
        for level in range(1, options.num_levels):
            if not tree.universal:
                held = tree.level_bytes[level]
                files = math.ceil(held / options.target_file_size_base)
                levels[level] = LevelShape(files, int(held))
        shape = ColumnFamilyShape("default", tuple(levels))
        state = "stopped" if control.stopped else "delayed"
        stalls = (
            (StallCondition("default", state, control.cause, at, None),) if control.cause else ()
        )
        log = replace(
            EMPTY_LOG, recent_flushes=tuple(self.flushes), stall_count={"stopped": self.stalls}
        )
        self.flushes = []
        family = replace(
            FAMILY,
            compaction_style=options.style,
            max_write_buffer_number=options.max_write_buffer_number,
            max_bytes_for_level_base=int(options.max_bytes_for_level_base),
            level_compaction_dynamic_level_bytes=options.level_compaction_dynamic_level_bytes,
        )
        interval = SMaxInterval(s_max, s_max * math.exp(-LOG_SPREAD), s_max * math.exp(LOG_SPREAD))
        return ForecastObservation(
            at=at,
            wall_seconds=at,
            wal=Known(WalSample(at, int(self._totals.puts), 1, 0, None), "simulated", at),
            manifest=Known(ManifestSample(at, "", 0, None, (shape,), 0, 0, 0.0), "simulated", at),
            options=Known(replace(OPTIONS, column_families=(family,)), "simulated", 0.0),
            log=Known(log, "simulated", at),
            stalls=Known(stalls, "simulated", at),
            s_max=Known(interval, "given", at),
        )


def scored(inputs: ModelInputs, rate: Rate, seconds: int, s_max: float) -> ScoreSummary:
    noise = random.Random(1)  # noqa: S311 - noise, not a secret
    simulation = Observed(inputs, max(1.0, rate(0.0)))
    forecast, score = StallForecast(), ForecastScore()
    for at in range(1, seconds + 1):
        simulation.run_until(float(at), rate(at - 1.0) * math.exp(noise.gauss(0.0, NOISE)))
        if at % TICK_SECONDS == 0:
            outlook = forecast.update(simulation.observe(float(at), s_max))
            score.update(float(at), outlook.time_to_stall_seconds, stalled=outlook.stalled)
    return score.summary()


def scenario(
    options: TreeOptions, device: float, record: float, shape: dict[int, float]
) -> ModelInputs:
    levels = tuple(shape.get(level, 0.0) for level in range(options.num_levels))
    files = tuple(math.ceil(size / options.target_file_size_base) for size in levels)
    return ModelInputs(
        database="simulated",
        column_family="default",
        options=options,
        shape=TreeShape(levels, files),
        costs=TreeCosts(
            record_bytes=record,
            wal_bytes_per_put=record + 25.0,
            memtable_bytes_per_put=record + 50.0,
            flush_user_bytes=0.95 * options.write_buffer_bytes,
        ),
        host=HostShare(device),
        log_spread=0.1,
        missing=(),
        sources={},
        at=0.0,
    )


SCENARIOS = {
    "leveled": scenario(
        TreeOptions(max_background_compactions=3),
        100e6,
        1040.0,
        {1: 256 * MIB, 2: 2560 * MIB, 3: 1e9},
    ),
    "small memtables": scenario(
        TreeOptions(
            max_background_compactions=3,
            write_buffer_bytes=16 * MIB,
            max_bytes_for_level_base=64 * MIB,
            level_compaction_dynamic_level_bytes=True,
        ),
        60e6,
        416.0,
        {5: 2e8, 6: 2e9},
    ),
    "fast device": scenario(
        TreeOptions(max_background_compactions=3, max_write_buffer_number=4),
        500e6,
        300.0,
        {1: 256 * MIB, 2: 2560 * MIB, 3: 17e9},
    ),
    "universal": scenario(
        TreeOptions(max_background_compactions=3, max_write_buffer_number=4, style="universal"),
        100e6,
        1040.0,
        {5: 4e8, 6: 4e9},
    ),
}


def ramp(sustained: float, end: float, seconds: float) -> Rate:
    return lambda at: sustained * (0.5 + (end - 0.5) * min(1.0, max(0.0, at - 600.0) / seconds))


def day(sustained: float) -> Rate:
    source = random.Random(7)  # noqa: S311 - noise, not a secret
    bursts = [(source.uniform(0, 86400), source.uniform(20, 60)) for _ in range(24)]

    def rate(at: float) -> float:
        load = 0.85 * (0.55 - 0.45 * math.cos(2 * math.pi * at / 86400))
        burst = any(begin <= at < begin + length for begin, length in bursts)
        return sustained * load * (1.3 if burst else 1.0)

    return rate


def main() -> int:
    """Print one line per scenario and error of S_max."""
    what = sys.argv[1] if len(sys.argv) > 1 else "ramps"
    for name, inputs in SCENARIOS.items():
        sustained = simulate(inputs, seconds=7200.0, max_events=20_000).puts_per_second
        for error in ERRORS:
            given = error * sustained
            if what == "days":
                score = scored(inputs, day(sustained), 86400, given)
                line = f"{score.false_alarms} false alarms, {score.stalls} stalls"
                print(f"{name}, S_max x {error}: {line} in a day", flush=True)
                continue
            leads: list[float] = []
            for end in (1.1, 1.3, 1.5):
                for seconds in (240, 360):
                    score = scored(inputs, ramp(sustained, end, seconds), 1000 + seconds, given)
                    leads += score.lead_seconds
            useful = sum(1 for lead in leads if lead >= 30.0)
            print(
                f"{name}, S_max x {error}: {useful} of {len(leads)} stalls 30 s ahead, median "
                f"{statistics.median(leads):.0f} s, least {min(leads):.0f} s",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
