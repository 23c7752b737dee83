"""Asks fio what the device under a directory takes in direct sequential writes.

Every run is bounded in bytes and in time, writes one preallocated scratch file that nobody else
can have prepared, and leaves nothing behind.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from probes.clock import Clock
from probes.command import CommandRunner, CompletedCommand
from probes.errors import NoData, ProbeError, ProbeFailed
from probes.fio_guard import FioGuard
from probes.fio_output import (
    FioResult,
    parse_ended_run,
    parse_fio_output,
    reported_write_bytes,
    too_old,
    version_too_old,
)
from probes.samples import DiskstatsSample, FioSample
from probes.scratch import (
    check_scratch_directory,
    create_scratch_file,
    process_tag,
    remove_leftovers,
    remove_scratch_file,
    scratch_error,
)

_MIB = 1024 * 1024
_GIB = 1024 * _MIB

BLOCK_BYTES = _MIB
"""One write: large enough that the device's bandwidth, not its latency, is the limit."""

QUEUE_DEPTH = 8
"""Writes in flight: RocksDB's compactions keep a few large writes in flight, too."""

LARGEST_FILE_BYTES = _GIB
"""A run that writes more than this goes round in a scratch file of this size."""

START_GRACE_SECONDS = 10.0
"""Starting, preallocating and reporting may take this long beside the runtime itself."""

LEAST_FREE_RATIO = 0.05
"""This share of the file system stays free during a probe."""

LEAST_FREE_BYTES = _GIB
"""And so much, where that is no more than a tenth of the file system."""


class FioMode(StrEnum):
    """How much a run may write for how good a value."""

    FAST = "fast"
    BALANCED = "balanced"
    ACCURATE = "accurate"


@dataclass(frozen=True, slots=True)
class FioLimits:
    """What one run may do at most; it ends at whichever bound it meets first.

    ``size_bytes`` is rounded down to whole blocks of 1 MiB, at least one.
    ``rate_bytes_per_second`` None: as fast as the device goes.
    """

    size_bytes: int
    runtime_seconds: float
    rate_bytes_per_second: float | None


DEFAULT_LIMITS: Mapping[FioMode, FioLimits] = MappingProxyType(
    {
        FioMode.FAST: FioLimits(128 * _MIB, 3.0, None),
        FioMode.BALANCED: FioLimits(512 * _MIB, 10.0, None),
        FioMode.ACCURATE: FioLimits(16 * _GIB, 60.0, None),
    }
)

LEAST_ABORTED_BYTES = 64 * _MIB
LEAST_ABORTED_SECONDS = 1.0
"""A run ended before both of these went into the drive's cache, and bounds nothing."""

RATE_REACHED_RATIO = 0.9
"""fio's limiter keeps within a few percent; a device this close to the limit was held by it."""

_SAMPLE_MILLISECONDS: Mapping[FioMode, int] = MappingProxyType(
    {FioMode.FAST: 20, FioMode.BALANCED: 100, FioMode.ACCURATE: 250}
)
"""How often fio samples its bandwidth: often enough for a spread within the mode's bytes."""

_STEADY_WINDOW_SECONDS = 5
"""fio's criterion must hold for so long ..."""

_STEADY_DEVIATION = "10%"
"""... with every bandwidth sample within this of the window's mean."""


def fio_argv(mode: FioMode, limits: FioLimits, scratch_name: str) -> tuple[str, ...]:
    """Build fio's command line; fio runs inside the scratch directory, where the file exists.

    The file's name is relative because fio splits ``--filename`` at colons.
    """
    total_bytes = _whole_blocks(limits.size_bytes)
    runtime_milliseconds = max(1, round(limits.runtime_seconds * 1000))
    sample_milliseconds = _SAMPLE_MILLISECONDS[mode]
    argv = [
        "fio",
        "--name=smaxd",
        f"--filename={scratch_name}",
        "--rw=write",
        f"--bs={BLOCK_BYTES}",
        "--ioengine=libaio",
        f"--iodepth={QUEUE_DEPTH}",
        "--direct=1",
        f"--size={scratch_file_bytes(limits)}",
        # Without --time_based, io_size bounds the bytes and runtime the time; more than the
        # file's size goes round in the file.
        f"--io_size={total_bytes}",
        f"--runtime={runtime_milliseconds}ms",
        # The file is there in full size; see create_scratch_file.
        "--allow_file_create=0",
        "--unlink=1",
        # A forked fio job makes a session of its own and would survive the killing of its group.
        "--thread=1",
        f"--bwavgtime={sample_milliseconds}",
        # fio wakes up for bandwidth samples no more often than for these.
        f"--iopsavgtime={sample_milliseconds}",
        "--eta=never",
        "--output-format=json",
    ]
    if limits.rate_bytes_per_second is not None:
        argv.append(f"--rate={max(1, int(limits.rate_bytes_per_second))}")
    if mode is FioMode.ACCURATE:
        window_seconds = max(1, min(_STEADY_WINDOW_SECONDS, int(limits.runtime_seconds / 3)))
        argv += [
            f"--steadystate=bw:{_STEADY_DEVIATION}",
            f"--ss_dur={window_seconds}s",
            f"--ss_ramp={max(1, window_seconds // 2)}s",
        ]
    return tuple(argv)


def scratch_file_bytes(limits: FioLimits) -> int:
    """Return the size of the scratch file, which is less than the bytes written in long runs."""
    return min(_whole_blocks(limits.size_bytes), LARGEST_FILE_BYTES)


def run_cost_bytes(limits: FioLimits) -> int:
    """Return how much a run may write at most."""
    return _whole_blocks(limits.size_bytes)


def must_stay_free_bytes(file_bytes: int, size_bytes: int) -> float:
    """Return what a run with such a file leaves free of a file system of this size."""
    return max(file_bytes, LEAST_FREE_RATIO * size_bytes, min(LEAST_FREE_BYTES, 0.1 * size_bytes))


def _whole_blocks(size_bytes: int) -> int:
    return max(1, size_bytes // BLOCK_BYTES) * BLOCK_BYTES


class FioProbe:
    """Runs fio in ``directory``, which ``choose_scratch_directory`` has chosen.

    ``device_devnum`` ("major:minor") and ``diskstats`` (a fresh reading each call, or ProbeError)
    tell what everyone else wrote meanwhile. ``database_paths`` are looked at before every run:
    the directory must lie in none of them. ``guard`` watches the databases before and during the
    run, and ends it. After ``start_by`` (monotonic) fio is not started any more: what allowed it
    may not hold, and a file system that keeps the preparations waiting, dead or frozen for a
    snapshot, lets it begin only as it answers again.
    """

    written_bytes_total: int
    """Bytes written by all runs so far, the failed and killed ones included.

    A run that ended without a report of fio's counts with everything it was allowed to write.
    """

    def __init__(
        self,
        directory: str,
        clock: Clock,
        runner: CommandRunner,
        mode: FioMode,
        limits: FioLimits,
        *,
        device_devnum: str | None = None,
        diskstats: Callable[[], DiskstatsSample] | None = None,
        database_paths: Sequence[str] = (),
        guard: FioGuard | None = None,
        start_by: float | None = None,
    ) -> None:
        self.written_bytes_total = 0
        self._directory = directory
        self._clock = clock
        self._runner = runner
        self._mode = mode
        self._limits = limits
        self._device_devnum = device_devnum
        self._diskstats = diskstats
        self._database_paths = tuple(database_paths)
        self._guard = guard
        self._start_by = start_by

    def read(self) -> FioSample:
        """Run fio once; takes as long as the limits allow, plus the start grace at worst.

        A run that the guard ended gives a sample marked as aborted, a lower bound, when it went on
        for long enough; NoData "aborted" else.

        Raises NoData "low_free_space", "aborted"; ProbeFailed "fio_missing", "fio_too_old",
        "fio_killed", "fio_garbage", "fio_failed", "timeout", "stopped", "out_of_space",
        "read_only_file_system", "scratch_not_writable", "scratch_invalid",
        "direct_io_not_supported".
        """
        try:
            return self._measure()
        finally:
            if self._guard is not None:
                self._guard.close()

    def _measure(self) -> FioSample:
        check_scratch_directory(self._directory, self._database_paths)
        remove_leftovers(self._directory)
        self._check_free_space()
        self._settle()
        file_bytes = scratch_file_bytes(self._limits)
        name = create_scratch_file(self._directory, process_tag(), file_bytes)
        try:
            before = self._device_written_bytes()
            started = self._clock.monotonic()
            if self._start_by is not None and started > self._start_by:
                raise ProbeFailed(
                    "timeout",
                    f"the file system of {self._directory} answered "
                    f"{started - self._start_by:.0f} s too late, so fio was not started",
                )
            completed = self._run(fio_argv(self._mode, self._limits, name))
            finished = self._clock.monotonic()
            after = self._device_written_bytes()
        finally:
            remove_scratch_file(self._directory, name)
        result = self._parse(completed)
        limit = self._limits.rate_bytes_per_second
        others = None
        if before is not None and after is not None and after >= before and finished > started:
            others = max(0, after - before - result.written_bytes) / (finished - started)
        return FioSample(
            at=finished,
            mode=self._mode.value,
            directory=self._directory,
            fio_version=result.fio_version,
            write_bytes_per_second=result.write_bytes_per_second,
            other_write_bytes_per_second=others,
            spread_ratio=result.spread_ratio,
            latency_p50_seconds=result.latency_p50_seconds,
            latency_p99_seconds=result.latency_p99_seconds,
            runtime_seconds=result.runtime_seconds,
            written_bytes=result.written_bytes,
            steady=result.steady,
            rate_limited=(
                limit is not None and result.write_bytes_per_second >= RATE_REACHED_RATIO * limit
            ),
            aborted=completed.ended_because,
        )

    def _settle(self) -> None:
        harm = None if self._guard is None else self._guard.settle()
        if harm is not None:
            raise NoData("aborted", f"fio was not started: {harm}")

    def _run(self, argv: tuple[str, ...]) -> CompletedCommand:
        may_have_written = _whole_blocks(self._limits.size_bytes)
        try:
            completed = self._runner.run(
                argv,
                timeout_seconds=self._limits.runtime_seconds + START_GRACE_SECONDS,
                cwd=self._directory,
                guard=None if self._guard is None else self._guard.look,
            )
            reported = reported_write_bytes(completed.stdout)
        except ProbeFailed as failure:
            if failure.reason == "program_missing":
                raise ProbeFailed("fio_missing", "fio not found; install the fio package") from None
            if failure.reason != "program_not_started":
                self.written_bytes_total += may_have_written
            raise
        except BaseException:  # Ctrl-C, no descriptor, no memory: nobody knows what fio wrote
            self.written_bytes_total += may_have_written
            raise
        self.written_bytes_total += may_have_written if reported is None else reported
        return completed

    def _parse(self, completed: CompletedCommand) -> FioResult:
        if completed.ended_because is not None:
            result = parse_ended_run(completed.stdout)
            if (
                result is None
                or result.written_bytes < LEAST_ABORTED_BYTES
                or result.runtime_seconds < LEAST_ABORTED_SECONDS
            ):
                raise NoData("aborted", f"fio was ended: {completed.ended_because}")
            return result
        try:
            return parse_fio_output(completed.stdout, completed.stderr, completed.returncode)
        except ProbeFailed as failure:
            if failure.reason in {"fio_failed", "fio_garbage"}:
                self._raise_if_too_old()
            raise

    def _raise_if_too_old(self) -> None:
        """Ask for the version after an unclear failure: an old fio refuses options it lacks."""
        try:
            asked = self._runner.run(("fio", "--version"), timeout_seconds=START_GRACE_SECONDS)
        except ProbeFailed:
            return
        version = asked.stdout[:100].decode("utf-8", "replace").strip()
        if version_too_old(version):
            raise too_old(version)

    def _check_free_space(self) -> None:
        try:
            found = os.statvfs(self._directory)
        except OSError as error:
            failure = scratch_error(error.errno, self._directory, str(error.strerror))
            raise failure or ProbeFailed(
                "scratch_not_writable", f"{self._directory}: {error}"
            ) from error
        file_bytes = scratch_file_bytes(self._limits)
        size_bytes = found.f_blocks * found.f_frsize
        free_bytes = found.f_bavail * found.f_frsize
        must_stay_bytes = must_stay_free_bytes(file_bytes, size_bytes)
        if free_bytes - file_bytes < must_stay_bytes:
            raise NoData(
                "low_free_space",
                f"{self._directory} has {free_bytes / _MIB:.0f} MiB free; a probe of "
                f"{file_bytes / _MIB:.0f} MiB must leave {must_stay_bytes / _MIB:.0f} MiB",
            )

    def _device_written_bytes(self) -> int | None:
        if self._diskstats is None or self._device_devnum is None:
            return None
        try:
            counters = self._diskstats().disks.get(self._device_devnum)
        except ProbeError:
            return None
        return None if counters is None else counters.written_bytes
