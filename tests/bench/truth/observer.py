"""Notes, with every progress line of the driver, what the device, the CPU and the agent say."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.truth.agent_process import Agent
from tests.bench.truth.answers import of_document
from tests.bench.truth.load_driver import Line
from tests.bench.truth.slow_device import SlowDevice
from tests.bench.truth.trend import Sample
from tests.bench.truth.writer_group import disk_written_bytes

CLOCK_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Moment:
    """Counters at one moment; None where the host does not count."""

    at: float
    written_bytes: int
    limit_bytes_per_second: float
    cpu_seconds: float | None
    host_busy_seconds: float
    foreign_bytes: int
    disk_written_bytes: int  # everyone's, to the fast disk behind


class Observer:
    """Collects the moments and samples of the load under way, and the agent's answers of all."""

    def __init__(self, device: SlowDevice, directory: Path) -> None:
        self._device = device
        self._timeline = (directory / "answers.jsonl").open("a")
        device.on_leaving(self._timeline.close)
        self.agent: Agent | None = None
        self.foreign_pid: int | None = None
        self.moments: list[Moment] = []
        self.samples: list[Sample] = []
        self.lines: list[Line] = []
        self.first_estimate_seconds: dict[str, float] = {}

    def begin(self) -> None:
        """A new load begins."""
        self.moments = [self._moment()]
        self.samples, self.lines = [], []

    def progress(self, line: Line) -> None:
        """Take one progress line into account."""
        self.moments.append(self._moment())
        self.lines.append(line)
        self.samples.append(
            Sample(
                line["at_seconds"],
                line["seconds"],
                line["puts"],
                line["level0_files"],
                line["pending_bytes"],
            )
        )
        self.poll(line["command"])

    def poll(self, phase: str) -> None:
        """Ask the agent and keep its numbers."""
        if self.agent is None:
            return
        at = self.agent.seconds()
        document = self.agent.database()
        found = of_document(document)
        for model in found:
            self.first_estimate_seconds.setdefault(model, round(at, 1))
        entry = {
            "agent_seconds": round(at, 2),
            "wall_seconds": round(time.time(), 3),
            "phase": phase,
            "models": {
                name: [one.puts_per_second, one.lower, one.upper] for name, one in found.items()
            },
            "time_to_stall": _quantity(document, "time_to_stall_seconds"),
        }
        self._timeline.write(json.dumps(entry) + "\n")
        self._timeline.flush()

    def _moment(self) -> Moment:
        return Moment(
            time.monotonic(),
            self._device.group.written_bytes(),
            self._device.write_bytes_per_second,
            self._device.group.cpu_seconds(),
            _host_busy_seconds(),
            _written_by(self.foreign_pid),
            disk_written_bytes(self._device.disk),
        )


def _quantity(document: "dict[str, object] | None", name: str) -> object:
    quantities = (document or {}).get("quantities")
    entry = quantities.get(name) if isinstance(quantities, dict) else None
    return entry.get("value") if isinstance(entry, dict) else None


def _host_busy_seconds() -> float:
    """Of all cores, everyone's; proc_stat(5): user nice system idle iowait irq softirq steal."""
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / CLOCK_TICKS_PER_SECOND


def _written_by(pid: int | None) -> int:
    if pid is None:
        return 0
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        name, _, value = line.partition(": ")
        if name == "write_bytes":
            return int(value)
    return 0
