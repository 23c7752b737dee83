"""The speed of single parts, in this process: models, LOG parser, a tick's decisions, the page."""

import dataclasses
import itertools
import os
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from prometheus_client import generate_latest

from agent.config import Config, DatabaseSettings, FioSettings, SecondarySettings
from agent.findings import Findings
from agent.host_state import HostState
from agent.host_watch import HostWatch
from agent.loop import Published
from agent.main import host_state_for
from agent.metrics import registry_for
from agent.models import arrays, v4, v41
from agent.watch_tools import WatchTools
from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from probes.rocksdb.discover import discover_databases
from probes.rocksdb.log import parse_log
from tests.bench.figures import Figure, Series

REPEATS = 7
MILLION = 1_000_000
LOG_BYTES = 200_000_000
LOG_REPEATS = 3
CAPTURED_LOG = Path(__file__).parents[1] / "data/rocksdb/v7.8.3/LOG"
EVENT = b"EVENT_LOG_v1"
TICKS_COLLECTED = 4


def model_figures() -> Iterator[Figure]:
    """One prediction, and a million at once."""
    section = "models"
    yield Figure(
        section,
        "one V4 prediction, phase given",
        "us",
        _timed(lambda: v4.predict(1074.8, phase="middle"), 1e6),
        aim="< 10",
    )
    yield Figure(
        section,
        "one V4 prediction, with votes",
        "us",
        _timed(lambda: v4.predict(1074.8, runtime_minutes=60.0, database_size_gb=12.0), 1e6),
        aim="< 10",
    )
    yield Figure(
        section,
        "one V4.1 prediction, with votes",
        "us",
        _timed(lambda: v41.predict(1074.8, runtime_minutes=60.0, write_amplification=3.0), 1e6),
    )
    generator = np.random.default_rng(1)
    bandwidth = generator.uniform(50.0, 5000.0, MILLION)
    phase = generator.integers(0, 3, MILLION)
    minutes = generator.uniform(0.0, 120.0, MILLION)
    size = generator.uniform(0.0, 100.0, MILLION)
    for name, predict, aims in (
        ("V4", arrays.predict_v4, ("< 50", "< 200")),
        ("V4.1", arrays.predict_v41, ("", "")),
    ):
        given = partial(predict, bandwidth, phase=phase)
        voted = partial(predict, bandwidth, runtime_minutes=minutes, database_size_gb=size)
        for how, call, aim in zip(
            ("phases given", "with votes"), (given, voted), aims, strict=True
        ):
            yield Figure(section, f"a million {name}, {how}", "ms", _timed(call, 1e3), aim=aim)


def log_figures(directory: Path) -> Iterator[Figure]:
    """The LOG parser on a captured LOG, and on parts of it, each repeated to 200 MB.

    A LOG begins with all options, which in one of a few hundred kilobytes is a large part of it
    and in a long-lived one is nothing: the LOG without them is what a busy database writes.
    """
    whole = CAPTURED_LOG.read_bytes()
    lines = whole.splitlines(keepends=True)
    begin = next(number for number, line in enumerate(lines) if EVENT in line)
    for name, text, aim in (
        ("LOG as captured", whole, ""),
        ("from its first event on", b"".join(lines[begin:]), "> 100"),
        ("its events alone", b"".join(line for line in lines if EVENT in line), ""),
    ):
        path = directory / "LOG.repeated"
        path.write_bytes(text * (LOG_BYTES // len(text)))
        size = path.stat().st_size
        try:
            speeds = []
            for _ in range(LOG_REPEATS):
                start = time.perf_counter()
                parse_log(str(path), SystemClock())
                speeds.append(size / 1e6 / (time.perf_counter() - start))
        finally:
            path.unlink()
        events = sum(len(line) for line in text.splitlines(keepends=True) if EVENT in line)
        yield Figure(
            "LOG parser",
            f"{name} ({events / len(text):.0%} events)",
            "MB/s",
            Series(tuple(speeds)),
            aim=aim,
        )


def tick_figures(database: Path) -> Iterator[Figure]:
    """One tick's parts on the live database: reading, deciding, rendering."""
    section = "a tick's parts, in a loop (caches warm)"
    with _watch(database) as watch:
        findings = []
        cpu = []
        for _ in range(TICKS_COLLECTED):
            time.sleep(1.0)
            start = time.process_time()
            findings.append(watch.collect())
            cpu.append((time.process_time() - start) * 1e3)
        yield Figure(section, "HostWatch.collect, all probes, CPU", "ms", Series(tuple(cpu[1:])))
    state = _state()
    for each in findings:
        snapshot = state.advance(each)
    ticks = itertools.count(1)
    yield Figure(
        section,
        "HostState.advance, pure",
        "ms",
        _timed(lambda: state.advance(_later(findings[-1], 10.0 * next(ticks))), 1e3),
    )
    published = Published()
    published.put(snapshot, 0.01)
    registry = registry_for(published, SystemClock())
    page = generate_latest(registry)
    yield Figure(
        section,
        f"rendering /metrics ({len(page) / 1000:.0f} kB)",
        "ms",
        _timed(lambda: generate_latest(registry), 1e3),
    )
    yield Figure(
        section, "discover_databases, once a minute", "ms", _timed(discover_databases, 1e3)
    )


@contextmanager
def _watch(database: Path) -> Iterator[HostWatch]:
    """The daemon's own watch, without the programs it starts."""
    config = Config(
        databases=(DatabaseSettings(path=str(database)),),
        fio=FioSettings(enabled=False),
        secondary=SecondarySettings(enabled=False),
    )
    watch = HostWatch(
        WatchTools(config, SystemClock(), ProcessGroupRunner(), tempfile.gettempdir(), os.environ)
    )
    yield watch
    watch.close(1.0)


def _state() -> HostState:
    return host_state_for(Config())


def _later(findings: Findings, seconds: float) -> Findings:
    return dataclasses.replace(
        findings, at=findings.at + seconds, wall_seconds=findings.wall_seconds + seconds
    )


def _timed(call: Callable[[], object], scale: float) -> Series:
    """Seconds of one call times ``scale``: each value is the mean over at least 0.1 s."""
    timer = timeit.Timer(call)
    number = 1
    while number < MILLION and timer.timeit(number) < 0.1:
        number *= 2
    return Series(tuple(value / number * scale for value in timer.repeat(REPEATS, number)))
