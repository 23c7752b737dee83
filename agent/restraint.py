"""Looks at what the agent itself uses, and has it restrain itself (``agent.self_limits``)."""

import gc
import os
import resource

from agent.heap import give_back
from agent.self_limits import UNRESTRAINED, Degradation, OwnUse, SelfDegradation, SelfLimits
from probes.kernelfile import read_kernel_file

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def own_use(at: float, proc_root: str = "/proc") -> OwnUse:
    """What the agent uses at ``at`` (monotonic seconds). Raises OSError where /proc is missing."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    resident_pages = int(read_kernel_file(f"{proc_root}/self/statm", 4096).split()[1])
    return OwnUse(
        at=at,
        own_cpu_seconds=own.ru_utime + own.ru_stime,
        children_cpu_seconds=children.ru_utime + children.ru_stime,
        resident_bytes=float(resident_pages * _PAGE_BYTES),
    )


class Restraint:
    """One look a tick."""

    def __init__(self, limits: SelfLimits) -> None:
        self._limits = SelfDegradation(limits)
        self.degradation: Degradation = UNRESTRAINED

    def look(self, at: float) -> bool:
        """Whether another level is in force from now on; gives memory back when asked to."""
        before = self.degradation
        try:
            self.degradation = self._limits.update(own_use(at))
        except OSError:
            return False  # what cannot be read restrains nobody
        if self.degradation.release_memory:
            gc.collect()
            give_back()
        return self.degradation.level != before.level
