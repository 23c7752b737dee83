"""How busy the host's processors are, from psutil."""

import psutil

from probes.clock import Clock
from probes.errors import ProbeFailed
from probes.samples import HostCpuSample


class HostCpuProbe:
    """Reads the summed CPU times of all cores."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def read(self) -> HostCpuSample:
        """Return the times since boot; ProbeFailed "cpu_times_unreadable"."""
        try:
            times = psutil.cpu_times()
        except (OSError, ValueError, IndexError, RuntimeError) as error:
            raise ProbeFailed(
                "cpu_times_unreadable", f"/proc/stat gives no CPU times: {error}"
            ) from error
        # Guest time is contained in user time, and waiting for I/O is idling.
        idle = times.idle + getattr(times, "iowait", 0.0)
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        total = sum(times) - guests
        return HostCpuSample(
            at=self._clock.monotonic(),
            cores=psutil.cpu_count() or 1,
            busy_seconds=total - idle,
            total_seconds=total,
        )
