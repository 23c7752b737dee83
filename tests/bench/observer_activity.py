"""When the agent is at work, to some milliseconds, seen from outside: its CPU clock, its children.

A process that sleeps takes no CPU and asks for no I/O: what it does to a database it does while it
works, or through the queue that its work has left behind. That is far less noisy to measure than
minutes with it against minutes without it, for the database's own compactions fall on both sides
within the same second.
"""

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tests.bench.latencies import Values

SLOT_SECONDS = 0.02
LEAST_WORK_SECONDS = 0.001
"""Less CPU in a slot is a glance at the clock or at a socket, three times a second: a put that
waits for one waits for less than a millisecond, where p99 is several."""

AFTERMATH_RATIO = 10.0
"""At half load a queue is gone after as long as it took to arise; ten times that is counted."""

CHILD_AFTERMATH_SECONDS = 0.5
"""After a child's end, whose CPU and I/O within a slot are not seen."""


@dataclass(frozen=True, slots=True)
class ActivitySample:
    """Monotonic seconds, the CPU seconds of the agent so far, whether it had a child."""

    at: float
    cpu_seconds: float
    has_child: bool


@dataclass(frozen=True, slots=True)
class WorkTimes:
    """Begin and end of the times in which the agent's work can be felt; ascending, disjoint."""

    begins: Values
    ends: Values

    def contain(self, moments: Values) -> NDArray[np.bool_]:
        """Which moments lie in one of them."""
        index = np.searchsorted(self.begins, moments, side="right") - 1
        found: NDArray[np.bool_] = (index >= 0) & (moments < np.append(self.ends, 0.0)[index])
        return found


def work_times(samples: Sequence[ActivitySample]) -> WorkTimes:
    """Each slot with LEAST_WORK_SECONDS of CPU or a child, the slot before it, and the aftermath.

    The slot before: puts that are under way when the work begins have arrived there.
    """
    found: list[list[float]] = []
    for before, after in pairwise(samples):
        cpu = after.cpu_seconds - before.cpu_seconds
        child = before.has_child or after.has_child
        if cpu < LEAST_WORK_SECONDS and not child:
            continue
        aftermath = CHILD_AFTERMATH_SECONDS if child else AFTERMATH_RATIO * cpu
        begin, end = before.at - SLOT_SECONDS, after.at + aftermath
        if found and begin <= found[-1][1]:
            found[-1][1] = max(found[-1][1], end)
        else:
            found.append([begin, end])
    edges = np.asarray(found, dtype=np.float64).reshape(-1, 2)
    return WorkTimes(edges[:, 0], edges[:, 1])


class ActivityWatch:
    """Samples a process each slot in a thread of its own, whether it is stopped or not."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        # The process's CPU clock by its id, as clock_getcpuclockid(3) makes it.
        self._clock = (~pid << 3) | 2
        self._samples: list[ActivitySample] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="activity")
        self._thread.start()

    def end(self) -> list[ActivitySample]:
        """All samples; OSError when the process was gone."""
        self._ended.set()
        self._thread.join()
        if not self._samples or self._samples[-1].at < time.monotonic() - 1.0:
            raise OSError(f"process {self._pid} could not be watched to the end")
        return self._samples

    def _sample(self) -> None:
        cpu, child = -1.0, False
        moment = time.monotonic()
        while not self._ended.is_set():
            try:
                now = time.clock_gettime(self._clock)
                # It cannot start a child without CPU, nor can one end that it did not have.
                if now > cpu or child:
                    child = has_child(self._pid)
            except OSError:
                return  # it has ended; ``end`` tells
            cpu = now
            self._samples.append(ActivitySample(time.monotonic(), cpu, child))
            moment += SLOT_SECONDS
            time.sleep(max(0.0, moment - time.monotonic()))


def has_child(pid: int) -> bool:
    """Whether a process has any; OSError when it is gone."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
                if file.read().strip():
                    return True
        except FileNotFoundError:
            pass  # a thread that has just ended
    return False
