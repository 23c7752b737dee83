"""CPU use as 60 s means: of the host, and of the process that owns a database."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.rates import CounterWindow
from agent.readings import Known, Missing, Quantity, derive
from probes.samples import HostCpuSample, ProcessSample

WINDOW_SECONDS = 60.0

_NEEDS_TWO = Missing("not_yet_measured", "a mean needs two readings of the CPU times")


@dataclass(frozen=True, slots=True)
class HostCpu:
    """The host's cores (None: unknown) and the busy share of all of them."""

    cores: int | None
    busy_ratio: Quantity


class CpuUse:
    """How busy the host's cores are together."""

    def __init__(self) -> None:
        self._busy = CounterWindow(WINDOW_SECONDS)
        self._total = CounterWindow(WINDOW_SECONDS)

    def busy_ratio(self, cpu: Known[HostCpuSample] | Missing) -> Quantity:
        """Busy share of all cores, 0..1."""
        if isinstance(cpu, Missing):
            return cpu
        sample = cpu.value
        self._busy.add(sample.at, sample.busy_seconds)
        self._total.add(sample.at, sample.total_seconds)
        busy, total = self._busy.mean(WINDOW_SECONDS), self._total.mean(WINDOW_SECONDS)
        if busy is None or total is None or total.per_second <= 0:
            return _NEEDS_TWO
        return Known(min(1.0, busy.per_second / total.per_second), cpu.source, busy.at)


class ProcessCpuUse:
    """How many cores one process keeps busy."""

    def __init__(self) -> None:
        self._seconds = CounterWindow(WINDOW_SECONDS)

    def cores(self, process: Known[ProcessSample] | Missing) -> Quantity:
        """Mean number of busy cores."""
        if isinstance(process, Missing):
            return process
        self._seconds.add(process.value.at, process.value.cpu_seconds)
        mean = self._seconds.mean(WINDOW_SECONDS)
        return _NEEDS_TWO if mean is None else Known(mean.per_second, process.source, mean.at)


def cpu_seconds(process: Known[ProcessSample] | Missing) -> Known[Mapping[str, float]] | Missing:
    """CPU seconds of the owner process by what its threads are for, where they can be told."""

    def by_group(sample: ProcessSample) -> Mapping[str, float]:
        groups = {
            "compaction": sample.compaction_cpu_seconds,
            "flush": sample.flush_cpu_seconds,
            "foreground": sample.foreground_cpu_seconds,
        }
        known = {name: seconds for name, seconds in groups.items() if seconds is not None}
        return known or {"all": sample.cpu_seconds}

    return derive(process, by_group)
