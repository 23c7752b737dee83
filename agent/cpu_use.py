"""CPU use of the host, of the process that owns a database, and of everybody else."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.rates import CounterWindow, IntervalWindow
from agent.readings import Known, Missing, Quantity, derive
from probes.samples import HostCpuSample, ProcessSample, ThreadCpuSample

WINDOW_SECONDS = 60.0

OTHERS_WINDOW_SECONDS = 300.0
"""Over how long the cores that others use are averaged, as their writes are: what is left for a
database at saturation is what they take on the mean, not in a busy minute."""

SHORTEST_INTERVAL_SECONDS = 2.0
"""CPU is counted in ticks of 10 ms: in a shorter time they would be more than half a per cent."""

LONE_THREAD_SHARE = 0.8
"""A thread with this share of the foreground's CPU does its work; the rest is housekeeping."""

_NEEDS_TWO = Missing("not_yet_measured", "a mean needs two readings of the CPU times")


@dataclass(frozen=True, slots=True)
class HostCpu:
    """The host's cores (None: unknown) and the busy share of all of them, 60 s mean; ``sample`` is
    the reading that it ends with."""

    cores: int | None
    busy_ratio: Quantity
    sample: Known[HostCpuSample] | Missing


class CpuUse:
    """How busy the host's cores are together."""

    def __init__(self) -> None:
        self._before: HostCpuSample | None = None
        self._busy = IntervalWindow(WINDOW_SECONDS)

    def busy_ratio(self, cpu: Known[HostCpuSample] | Missing) -> Quantity:
        """Busy share of all cores, 0..1."""
        if isinstance(cpu, Missing):
            return cpu
        before, sample = self._before, cpu.value
        if before is None or sample.at > before.at:
            self._before = sample
            if before is not None:
                elapsed = sample.at - before.at
                ratio = busy_cores(before, sample) / sample.cores
                self._busy.add(sample.at, elapsed, ratio * elapsed)
        mean = self._busy.mean()
        return _NEEDS_TWO if mean is None else Known(mean.per_second, cpu.source, mean.at)


def busy_cores(before: HostCpuSample, after: HostCpuSample) -> float:
    """Mean number of busy cores between two readings: those that did not idle.

    Idle time is measured and busy time counted in ticks: what works between two ticks and sleeps at
    them is never seen busy. On one host half of a core of such work showed as 0.01, and the parts
    added up to 1.4 seconds per second of two cores.
    """
    idle = (after.total_seconds - after.busy_seconds) - (before.total_seconds - before.busy_seconds)
    return min(after.cores, max(0.0, after.cores - idle / (after.at - before.at)))


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


class OthersCpuUse:
    """How many cores everybody but one process keeps busy."""

    def __init__(self) -> None:
        self._before: tuple[HostCpuSample, ProcessSample] | None = None
        self._used = IntervalWindow(OTHERS_WINDOW_SECONDS)

    def cores(
        self, host: Known[HostCpuSample] | Missing, process: Known[ProcessSample] | Missing
    ) -> Quantity:
        """Mean number of busy cores over `OTHERS_WINDOW_SECONDS`, less while younger.

        Host and process are read some milliseconds apart and counted in clock ticks, so a single
        interval may come out negative: only the mean is kept from that.
        """
        if isinstance(host, Missing):
            return host
        if isinstance(process, Missing):
            return process
        now = host.value, process.value
        before = self._before
        if before is None or (now[0].at > before[0].at and now[1].at > before[1].at):
            self._before = now
            if before is not None:
                self._add(before, now)
        mean = self._used.mean()
        if mean is None:
            return _NEEDS_TWO
        return Known(max(0.0, mean.per_second), f"{host.source} - {process.source}", mean.at)

    def _add(
        self, before: tuple[HostCpuSample, ProcessSample], now: tuple[HostCpuSample, ProcessSample]
    ) -> None:
        (old_host, old_process), (host, process) = before, now
        own = process.cpu_seconds - old_process.cpu_seconds
        if (old_process.pid, old_process.start_ticks) != (process.pid, process.start_ticks):
            return
        elapsed = host.at - old_host.at
        others = busy_cores(old_host, host) - own / (process.at - old_process.at)
        self._used.add(host.at, elapsed, others * elapsed)


class LoneWriterUse:
    """How busy the one thread is that does all of a process's foreground work."""

    def __init__(self) -> None:
        self._before: ProcessSample | None = None
        self._ratio: Quantity = _NEEDS_TWO

    def ratio(self, process: Known[ProcessSample] | Missing) -> Quantity:
        """Share of the last interval in which that thread ran or waited for a core.

        1 is a thread that never sleeps. Missing where several share the work: which of them write
        cannot be told from outside.
        """
        if isinstance(process, Missing):
            return process
        before, now = self._before, process.value
        if before is not None and now.at - before.at < SHORTEST_INTERVAL_SECONDS:
            return self._ratio
        self._before = now
        self._ratio = _NEEDS_TWO if before is None else _lone_thread(before, process)
        return self._ratio


def _lone_thread(before: ProcessSample, process: Known[ProcessSample]) -> Quantity:
    after = process.value
    pairs = thread_pairs(before, after)
    if before.foreground_cpu_seconds is None or after.foreground_cpu_seconds is None or not pairs:
        return Missing("not_permitted_or_idle", "no foreground thread's CPU use is known")
    old, new = max(pairs, key=lambda pair: pair[1].cpu_seconds - pair[0].cpu_seconds)
    used = new.cpu_seconds - old.cpu_seconds
    if used < LONE_THREAD_SHARE * (after.foreground_cpu_seconds - before.foreground_cpu_seconds):
        return Missing("several_threads", "several foreground threads share the work")
    waited = 0.0
    if old.waited_seconds is not None and new.waited_seconds is not None:
        waited = max(0.0, new.waited_seconds - old.waited_seconds)
    ratio = (used + waited) / (after.at - before.at)
    return Known(min(1.0, ratio), "owner's threads", after.at)


def thread_pairs(
    before: ProcessSample, after: ProcessSample
) -> list[tuple[ThreadCpuSample, ThreadCpuSample]]:
    """The foreground threads that both samples have, as they were and are."""
    old = {(t.thread_id, t.start_ticks): t for t in before.busiest_foreground_threads}
    return [
        (old[key], thread)
        for thread in after.busiest_foreground_threads
        if (key := (thread.thread_id, thread.start_ticks)) in old
    ]


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
