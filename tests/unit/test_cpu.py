"""The host's CPU times against the kernel's own file."""

import os
import time

from probes.clock import SystemClock
from probes.cpu import HostCpuProbe


def jiffies() -> list[int]:
    """user, nice, system, idle, iowait, irq, softirq, steal of /proc/stat, in clock ticks."""
    with open("/proc/stat", encoding="ascii") as file:
        return [int(word) for word in file.readline().split()[1:9]]


def test_the_times_are_those_of_the_kernel() -> None:
    """Between two readings of the file, and each part where it belongs."""
    tick = os.sysconf("SC_CLK_TCK")
    before = jiffies()
    sample = HostCpuProbe(SystemClock()).read()
    after = jiffies()

    assert sum(before) / tick <= sample.total_seconds + 1e-6
    assert sample.total_seconds <= sum(after) / tick + 1e-6
    # Idle time may be corrected downwards by the kernel, hence the slack of a few ticks.
    assert sample.total_seconds - sample.busy_seconds >= (before[3] + before[4]) / tick - 0.1
    assert sample.busy_seconds >= sum(before[:3] + before[5:]) / tick - 0.1
    assert sample.cores == os.cpu_count()


def test_work_is_busy_time() -> None:
    """A loop that computes shows as busy."""
    probe = HostCpuProbe(SystemClock())
    before = probe.read()
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    after = probe.read()

    assert after.busy_seconds - before.busy_seconds >= 0.1
