"""A small discrete-event simulator of one column family, at saturation or under an offered rate.

The writers fill memtables, flushes make level 0 files, compactions carry them down; all share the
device, the cores and RocksDB's rate limiter; RocksDB's own rules start the jobs (``lsm_jobs``) and
delay or stop the writers (``lsm_write_control``). Nothing in it is fitted: it needs options, shape,
costs and capacities, and answers with the mean put rate once no trend is left.
"""

import math
from typing import Final

import msgspec

from agent.models.lsm import ModelInputs, SimulatedRate
from agent.models.lsm_jobs import Job, JobPicker
from agent.models.lsm_sharing import Sharing
from agent.models.lsm_totals import Totals, rate_of
from agent.models.lsm_tree import Tree
from agent.models.lsm_write_control import WriteControl
from agent.workload import MEMTABLE_OVERHEAD_BYTES

BATCH_OVERHEAD_BYTES: Final = 15.0
"""A write batch of one put: 12 bytes of header, a type byte, two lengths (db/write_batch.cc). The
delayed write rate counts these bytes."""

SHORTEST_PUT_SECONDS: Final = 1e-6
"""Where the write path's own time is not measured: no RocksDB takes more than about a million
single puts per second through one write queue."""

DEFAULT_MOST_EVENTS: Final = 16_000
"""An event is the end of a job or of a memtable, 10 to 30 us each: within half a second."""

FILES_PER_EVENT: Final = 1000
"""So many files of level 0 cost what an event costs by itself, for each of them is looked at."""

LOOKS_PER_EVENT: Final = 100
"""So many streams looked at to share the resources count as another event: most events need one or
two hundred, but thousands where many jobs compete for all resources at once."""

MEMTABLES_PER_BLOCK: Final = 64
MERGES_PER_BLOCK: Final = 3
"""The rate is compared between blocks of at least so many memtables and so many merges into the
base level, or the last one with universal compaction: turns of level 0 from its compaction trigger
(4) to its slowdown trigger (20) and back. Small memtables are merged within level 0 first."""

BLOCKS_COMPARED: Final = 4
"""Steady when the later half of so many blocks differs from the earlier by less than this:"""
STEADY_RATIO: Final = 0.02

_NEVER: Final = math.inf
_SMALLEST_STEP_SECONDS: Final = 1e-9


def simulate(
    inputs: ModelInputs,
    *,
    offered_puts_per_second: float | None = None,
    seconds: float = 3600.0,
    max_events: int = DEFAULT_MOST_EVENTS,
) -> SimulatedRate:
    """Run from the observed shape until the put rate has no trend, at most ``seconds`` long.

    ``offered_puts_per_second`` None: writers that always have a next put (closed loop); otherwise
    an open loop, in which puts not accepted wait. Raises ValueError when the inputs make no sense:
    no device bandwidth, no cores, no record size or flush size, a negative cost, options that
    cannot be, or sizes beyond what can be calculated with.
    """
    try:
        return _Simulation(inputs, offered_puts_per_second).run(seconds, max_events)
    except ArithmeticError as error:
        raise ValueError(f"the inputs are beyond what can be calculated with: {error}") from error


class _Simulation:
    def __init__(self, inputs: ModelInputs, offered: float | None) -> None:
        costs, host, options = inputs.costs, inputs.host, inputs.options
        for name, value in (
            ("device_write_bytes_per_second", host.device_write_bytes_per_second),
            ("cpu_cores", host.cpu_cores),
            ("record_bytes", costs.record_bytes),
            ("flush_user_bytes", costs.flush_user_bytes),
        ):
            if not (value > 0.0 and math.isfinite(value)):
                raise ValueError(f"{name} must be a positive number, not {value!r}")
        for name, cost in msgspec.structs.asdict(costs).items():
            if cost is not None and not (cost >= 0.0 and math.isfinite(cost)):
                raise ValueError(f"{name} must not be negative or infinite, but is {cost!r}")
        for name, limit in (
            ("device_read_bytes_per_second", host.device_read_bytes_per_second),
            ("rate_limiter_bytes_per_second", options.rate_limiter_bytes_per_second),
        ):
            if limit is not None and not limit > 0.0:
                raise ValueError(f"{name} must be positive, or None, not {limit!r}")
        if offered is not None and not (offered > 0.0 and math.isfinite(offered)):
            raise ValueError(f"offered_puts_per_second must be positive, not {offered!r}")
        self._inputs = inputs
        self._offered = offered
        self._backlog = 0.0  # puts that wait in an open loop
        self._tree = Tree(inputs)
        self._picker = JobPicker(inputs, self._tree)
        self._control = WriteControl(options)
        self._host = host
        self._sharing = Sharing(
            host.device_write_bytes_per_second,
            host.device_read_bytes_per_second,
            host.attainable_cores,
            options.rate_limiter_bytes_per_second,
        )
        self._user_bytes_per_put = costs.record_bytes + MEMTABLE_OVERHEAD_BYTES
        # A flush takes as many memtables as are to be merged.
        merged = max(1, inputs.options.min_write_buffer_number_to_merge)
        self._memtable_puts = costs.flush_user_bytes / self._user_bytes_per_put / merged
        # Where it is not measured, the writers are as many threads as there are cores.
        self._put_seconds = costs.writer_seconds_per_put or max(
            SHORTEST_PUT_SECONDS, costs.foreground_cpu_seconds_per_put / host.attainable_cores
        )
        # The group's leader writes and syncs, and then inserts with the others.
        self._group_seconds = self._put_seconds + costs.wal_sync_seconds_per_put
        self._put_bytes = costs.wal_bytes_per_put if options.wal_enabled else 0.0
        self._batch_bytes = costs.record_bytes + BATCH_OVERHEAD_BYTES
        self._filled = 0.0  # puts in the active memtable
        self._waiting_memtables = 0
        self._flushing_memtables = 0
        self._switched = 0
        self._block_memtables = MEMTABLES_PER_BLOCK
        self._block_merges = MERGES_PER_BLOCK
        self._jobs: list[Job] = []
        self._totals = Totals()

    def run(self, seconds: float, max_events: int) -> SimulatedRate:
        blocks = [self._totals.copy()]
        events, spent = 0, 0.0
        converged = False
        while spent < max_events and self._totals.seconds < seconds:
            looks = self._sharing.looks
            self._start_jobs()
            self._advance(seconds)
            events += 1
            spent += 1.0 + len(self._tree.level0) / FILES_PER_EVENT
            spent += (self._sharing.looks - looks) / LOOKS_PER_EVENT
            if (
                self._switched >= self._block_memtables
                and self._picker.whole_merges >= self._block_merges
            ):
                self._block_memtables = self._switched + MEMTABLES_PER_BLOCK
                self._block_merges = self._picker.whole_merges + MERGES_PER_BLOCK
                blocks.append(self._totals.copy())
                if _is_steady(blocks):
                    converged = True
                    break
        if converged:
            measured = self._totals.since(blocks[-1 - BLOCKS_COMPARED])
        else:
            half = next(
                (b for b in reversed(blocks) if b.seconds <= self._totals.seconds / 2.0), blocks[0]
            )
            measured = self._totals.since(half)
        return rate_of(
            measured,
            self._inputs,
            put_seconds=self._put_seconds,
            pending_bytes=self._tree.pending_compaction_bytes(),
            simulated_seconds=self._totals.seconds,
            events=events,
            converged=converged,
        )

    def _start_jobs(self) -> None:
        options, control = self._inputs.options, self._control
        flushes = sum(1 for job in self._jobs if job.is_flush)
        if flushes < options.max_background_flushes and self._waiting_memtables >= max(
            1, options.min_write_buffer_number_to_merge
        ):
            count = self._waiting_memtables
            user_bytes = count * self._memtable_puts * self._user_bytes_per_put
            self._jobs.append(self._picker.flush(count, user_bytes))
            self._waiting_memtables = 0
            self._flushing_memtables += count
        # DBImpl::GetBGJobLimits: one compaction at a time unless writes are about to suffer.
        while True:
            slots = options.max_background_compactions if control.speeds_up_compaction else 1
            running = sum(1 for job in self._jobs if not job.is_flush)
            if running >= slots:
                return
            job = self._picker.compaction()
            if job is None:
                return
            if job.write_bytes <= 0.0:  # a trivial move costs nothing and is done at once
                self._finish(job)
            else:
                self._jobs.append(job)

    def _finish(self, job: Job) -> None:
        self._picker.finish(job)
        if job.is_flush:
            self._flushing_memtables -= job.memtables
        self._install()

    def _install(self) -> None:
        tree = self._tree
        self._control.update(
            self._waiting_memtables + self._flushing_memtables,
            tree.stall_file_count(),
            tree.pending_compaction_bytes(),
        )

    def _most_puts_per_second(self) -> float:
        if self._control.stopped:
            return 0.0
        most = _NEVER
        if self._control.delayed:
            most = self._control.delayed_bytes_per_second / self._batch_bytes
        if self._offered is not None and self._backlog <= 0.0:
            most = min(most, self._offered)
        return most

    def _advance(self, end_seconds: float) -> None:
        """To the next event: a memtable is full, a job done, the backlog worked off."""
        costs, totals = self._inputs.costs, self._totals
        paces, puts = self._sharing.paces(
            self._jobs,
            self._group_seconds,
            costs.foreground_cpu_seconds_per_put,
            self._put_bytes,
            self._most_puts_per_second(),
        )
        step = max(_SMALLEST_STEP_SECONDS, end_seconds - totals.seconds)
        if puts > 0.0:
            step = min(step, (self._memtable_puts - self._filled) / puts)
        for job, pace in zip(self._jobs, paces, strict=True):
            step = min(step, job.left / pace)
        if self._offered is not None and puts > self._offered and self._backlog > 0.0:
            step = min(step, self._backlog / (puts - self._offered))
        step = max(step, _SMALLEST_STEP_SECONDS)
        totals.add(
            step,
            puts,
            self._inputs,
            zip(self._jobs, paces, strict=True),
            self._control,
            self._tree.stall_file_count(),
        )
        self._filled += puts * step
        if self._offered is not None:
            self._backlog = max(0.0, self._backlog + (self._offered - puts) * step)
            if self._backlog < 1e-6 * self._offered:
                self._backlog = 0.0
        done = []
        for job, pace in zip(self._jobs, paces, strict=True):
            job.left -= pace * step
            if job.left <= 1e-9:
                done.append(job)
        for job in done:
            self._jobs.remove(job)
            self._finish(job)
        if self._filled >= self._memtable_puts * (1.0 - 1e-9):
            self._filled = 0.0
            self._waiting_memtables += 1
            self._switched += 1
            self._install()


def _is_steady(blocks: list[Totals]) -> bool:
    """The first block is the warm-up; then the later half of the last blocks equals the earlier."""
    if len(blocks) < BLOCKS_COMPARED + 2:
        return False
    half = BLOCKS_COMPARED // 2
    earlier = blocks[-1 - half].since(blocks[-1 - BLOCKS_COMPARED])
    later = blocks[-1].since(blocks[-1 - half])
    first, second = earlier.puts / earlier.seconds, later.puts / later.seconds
    return abs(first - second) <= STEADY_RATIO * (first + second) / 2.0
