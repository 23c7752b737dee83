"""The processes that the daemon starts: the secondary, the simulator and fio."""

import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from agent.config import Config, SecondarySettings
from agent.watch_tools import MIB
from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from probes.errors import ProbeError
from probes.rocksdb.samples import SecondarySample
from probes.rocksdb.secondary import SecondaryProbe
from tests.bench.figures import Figure, series
from tests.bench.processes import Program

TICK_SECONDS = Config().tick_seconds
POLL_SECONDS = 0.02
SECONDARY_RUNS = 3


class Children(threading.Thread):
    """Notes the CPU of every child a process reaps, under the name of the child's program."""

    def __init__(self, parent: Program) -> None:
        super().__init__(name="children", daemon=True)
        self._parent = parent
        self._over = threading.Event()
        self.used: list[tuple[float, str, float]] = []  # monotonic time, name, CPU seconds
        self._peaks: dict[str, dict[str, int]] = {}  # bytes, by name and process id

    def run(self) -> None:
        """Poll until ``stop`` or the parent's end."""
        alive: dict[str, str] = {}
        gone: list[str] = []
        counted = 0.0
        while not self._over.wait(POLL_SECONDS):
            try:
                now = self._named_children(alive)
                total = self._parent.stat_cpu_seconds()[1]
            except OSError:
                return
            # A child leaves the list when it is reaped, which is also when its CPU is counted.
            gone += [name for pid, name in alive.items() if pid not in now]
            if total > counted:
                self.used.append(
                    (time.monotonic(), "+".join(gone) or "too short to be named", total - counted)
                )
                counted, gone = total, []
            alive = now

    def stop(self) -> None:
        """End polling."""
        self._over.set()
        self.join()

    def figures(self) -> Iterator[Figure]:
        """What the daemon's own children used up to now."""
        section = "children of the daemon during the whole run"
        elapsed = time.monotonic() - self._parent.started
        but_fio = sum(cpu for _, name, cpu in self.used if name != "fio")
        yield Figure(
            section,
            f"all but fio, amortised over {TICK_SECONDS:g} s",
            "ms",
            series([but_fio / elapsed * TICK_SECONDS], 1e3),
        )
        names = sorted({name for _, name, _ in self.used})
        for name in names:
            used = [cpu for _, each, cpu in self.used if each == name]
            yield Figure(section, f"{name}, CPU of each", "ms", series(used, 1e3))
        for name, peaks in sorted(self._peaks.items()):
            values = [float(peak) for peak in peaks.values()]
            yield Figure(section, f"{name}, peak RSS of each", "MiB", series(values, 1 / MIB))

    def _named_children(self, known: Mapping[str, str]) -> dict[str, str]:
        pids: list[str] = []
        task = f"/proc/{self._parent.pid}/task"
        for thread in os.listdir(task):
            try:
                pids += Path(f"{task}/{thread}/children").read_text().split()
            except OSError:
                continue  # the thread has ended; its children go to another
        named = {pid: name for pid in pids if (name := known.get(pid) or _child_name(pid))}
        for pid, name in named.items():
            peak = _peak_resident_bytes(pid)
            if peak is not None:
                self._peaks.setdefault(name, {})[pid] = peak
        return named


def _peak_resident_bytes(pid: str) -> int | None:
    """VmHWM, the highest so far; None when the process has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


def _child_name(pid: str) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    for name in ("secondary", "simulator"):
        if any(f"{name}_child".encode() in word for word in words):
            return name
    # Before its exec a child still has its parent's command line: look again next time.
    return "fio" if os.path.basename(words[0]) == b"fio" else ""


def secondary_figures(database: Path, directory: Path) -> Iterator[Figure]:
    """What one secondary costs, and what that is per tick at the cadence its cost gives it."""
    settings = Config().secondary
    samples = list(_run_secondaries(database, directory, settings))
    amortised = [
        sample.cpu_seconds
        / max(settings.interval_seconds, sample.cpu_seconds / settings.cpu_share_ratio)
        * TICK_SECONDS
        for sample in samples
    ]
    section = "the secondary's child (a process of its own)"
    yield Figure(section, "CPU of one", "ms", series([s.cpu_seconds for s in samples], 1e3))
    yield Figure(
        section,
        f"amortised over {TICK_SECONDS:g} s at its default cadence",
        "ms",
        series(amortised, 1e3),
    )
    yield Figure(
        section,
        "wall time of one",
        "ms",
        series([s.wall_seconds for s in samples], 1e3),
    )
    yield Figure(
        section,
        "peak RSS of one",
        "MiB",
        series([float(s.peak_resident_bytes) for s in samples if s.peak_resident_bytes], 1 / MIB),
    )


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
        memory_limit_bytes=int(settings.memory_mib * MIB),
    )
    for _ in range(SECONDARY_RUNS):
        try:
            yield probe.read()
        except ProbeError:
            continue  # the figure's count tells
