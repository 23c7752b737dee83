"""How fast everything proceeds that is under way at once: device, cores and limiter shared.

A stream (a flush, a compaction, the writers) needs, per unit of progress, seconds of a core, bytes
written and bytes read. One thread of it waits for each byte as long as all others do, so that the
streams share a saturated device evenly (processor sharing) and none gets more than it can use:
``pace = threads / (core seconds + read bytes / read bandwidth + written bytes * wait)``. The wait
per byte is the smallest with which the device is not asked for more than it can give, and none at
all where it is asked for less: page cache, the device's own cache or a throttle's burst allowance
take a write at once then. Cores, reads and the rate limiter follow the same rule, by rounds; what
these leave above a capacity, all streams give up alike, so that none is ever exceeded.
"""

from collections.abc import Sequence
from typing import Final

from agent.models.lsm_jobs import Job

_BISECTIONS: Final = 18
"""Halvings of the wait: a millionth of its range."""

_NO_WAIT: Final = 1e-3
"""Where the device could do more: a thousandth of the time that a byte alone takes."""

_ROUNDS: Final = 12
_ENOUGH: Final = 1.005
"""A resource asked for half a percent more than it has is close enough, in so many rounds."""

_SHORTEST_JOB_SECONDS: Final = 1e-6
"""Where a job's work costs nothing: no file is opened and closed in less."""


class Sharing:
    """The capacities, and the paces they allow. ``None`` means unlimited.

    ``looks`` counts the streams looked at so far: nearly all that a simulation costs.
    """

    def __init__(
        self,
        write_bytes_per_second: float,
        read_bytes_per_second: float | None,
        cores: float,
        limiter_bytes_per_second: float | None,
    ) -> None:
        self._write = write_bytes_per_second
        self._read = read_bytes_per_second
        self._cores = cores
        self._limiter = limiter_bytes_per_second
        self.looks = 0

    def paces(
        self,
        jobs: Sequence[Job],
        put_seconds: float,
        put_core_seconds: float,
        put_bytes: float,
        most_puts_per_second: float,
    ) -> tuple[list[float], float]:
        """(progress of each job per second, puts per second).

        ``put_seconds`` is the serial time of the write path per put, ``put_core_seconds`` what it
        costs all cores, ``put_bytes`` its write-ahead log.
        """
        slow_core = 1.0  # how much longer a core second takes on busy cores
        read_wait = 0.0 if self._read is None else 1.0 / self._read
        limiter_wait = 0.0 if self._limiter is None else 0.5 / self._limiter
        for _ in range(_ROUNDS):
            paces, puts = self._with_device_shared(
                jobs,
                put_seconds,
                put_bytes,
                most_puts_per_second,
                slow_core,
                read_wait,
                limiter_wait,
            )
            again = False
            cores = puts * put_core_seconds + sum(
                pace * job.cpu_seconds for pace, job in zip(paces, jobs, strict=True)
            )
            if cores > self._cores * _ENOUGH:
                slow_core *= cores / self._cores
                again = True
            if self._read is not None:
                read = sum(pace * job.read_bytes for pace, job in zip(paces, jobs, strict=True))
                if read > self._read * _ENOUGH:
                    read_wait *= read / self._read
                    again = True
            if self._limiter is not None:
                limited = sum(pace * job.write_bytes for pace, job in zip(paces, jobs, strict=True))
                if limited > self._limiter * _ENOUGH:
                    limiter_wait *= limited / self._limiter
                    again = True
            if not again:
                break
        share = self._attainable_share(jobs, paces, puts * put_core_seconds, puts * put_bytes)
        return [pace * share for pace in paces], puts * share

    def _attainable_share(
        self, jobs: Sequence[Job], paces: list[float], put_cores: float, put_bytes: float
    ) -> float:
        """The share of these paces with which every resource has enough; at most 1."""
        cores, read, written = put_cores, 0.0, 0.0
        for pace, job in zip(paces, jobs, strict=True):
            cores += pace * job.cpu_seconds
            read += pace * job.read_bytes
            written += pace * job.write_bytes
        share = 1.0
        for asked, capacity in (
            (cores, self._cores),
            (written + put_bytes, self._write),
            (read, self._read),
            (written, self._limiter),
        ):
            if capacity is not None and asked * share > capacity:
                share = capacity / asked
        return share

    def _with_device_shared(
        self,
        jobs: Sequence[Job],
        put_seconds: float,
        put_bytes: float,
        most_puts_per_second: float,
        slow_core: float,
        read_wait: float,
        limiter_wait: float,
    ) -> tuple[list[float], float]:
        streams = [
            (
                job.threads,
                job.cpu_seconds * slow_core + job.read_bytes * read_wait,
                job.write_bytes,
            )
            for job in jobs
        ]
        put_seconds *= slow_core
        capacity = self._write

        def at(wait: float) -> tuple[list[float], float, float]:
            paces = []
            written = 0.0
            job_wait = max(wait, limiter_wait)
            for threads, seconds, size in streams:
                pace = threads / max(_SHORTEST_JOB_SECONDS, seconds + size * job_wait)
                paces.append(pace)
                written += pace * size
            self.looks += len(streams)
            # The log is written through the page cache: it waits only where it must.
            puts = min(most_puts_per_second, 1.0 / max(put_seconds, put_bytes * wait))
            return paces, puts, written + puts * put_bytes

        low = _NO_WAIT / capacity
        paces, puts, written = at(low)
        if written <= capacity:
            return paces, puts
        high = (1.0 + sum(stream[0] for stream in streams)) / capacity
        for _ in range(_BISECTIONS):
            wait = (low + high) / 2.0
            paces, puts, written = at(wait)
            if written > capacity:
                low = wait
            else:
                high = wait
        return at(high)[:2]
