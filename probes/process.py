"""CPU, I/O and memory of the process that owns a database, CPU split by RocksDB's thread names."""

import heapq
import os
import re
from dataclasses import dataclass

from probes.clock import Clock
from probes.errors import NoData, ProbeFailed
from probes.kernelfile import read_kernel_file
from probes.samples import ProcessSample, ThreadCpuSample

MAX_THREADS = 20_000
"""Above this, threads are not looked at and the groups are None."""

RECHECKED_THREADS = 32
"""Threads outside RocksDB's pools whose name is read again per call, taken in turn.

A pool's thread gets its name just after its creation, and a thread's number can be used again.
"""

BUSIEST_THREADS = 16
"""Threads outside the pools that are read at every call, those that used most CPU at last."""

_COMPACTION = "compaction"
_FLUSH = "flush"
_OTHER = "other"
_CLOCK_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STAT_LIMIT_BYTES = 4096
_READ_BYTES = re.compile(rb"^read_bytes: (\d{1,20})$", re.MULTILINE)
_WRITE_BYTES = re.compile(rb"^write_bytes: (\d{1,20})$", re.MULTILINE)
_CANCELLED_BYTES = re.compile(rb"^cancelled_write_bytes: (\d+)", re.MULTILINE)
_DEAD_STATES = (b"Z", b"X")


@dataclass(frozen=True, slots=True)
class ThreadStat:
    """What is used of /proc/<pid>/stat; a thread's own has the same fields. CPU in clock ticks."""

    name: bytes
    state: bytes
    cpu_ticks: int
    threads: int
    start_ticks: int
    resident_pages: int


@dataclass(slots=True)
class _Thread:
    group: str
    start_ticks: int
    cpu_ticks: int
    recent_ticks: int = 0  # used between the last two looks


class ProcessProbe:
    """Follows one process; a probe belongs to one pid and remembers which threads compact.

    RocksDB names its pool threads ``rocksdb:low``, ``rocksdb:bottom`` (both compact) and
    ``rocksdb:high`` (flushes), some versions with a number behind (util/threadpool_imp.cc). Only
    those few are read each time, the others in turn, so that hundreds of connection threads stay
    cheap. What a pool thread had used when last seen stays in its group after its end; what it
    used after that counts as foreground, which is the process's total less the two groups. So do
    the helpers of a parallel compaction (max_subcompactions) that live between two readings.
    """

    def __init__(self, pid: int, clock: Clock, proc_root: str = "/proc") -> None:
        self._pid = pid
        self._clock = clock
        self._directory = f"{proc_root}/{pid}"
        self._start_ticks: int | None = None
        self._threads: dict[str, _Thread] = {}
        self._ended_ticks = {_COMPACTION: 0, _FLUSH: 0}
        self._recheck_from = 0

    def read(self) -> ProcessSample:
        """Return counters since the process started; what this user may not read is None.

        Raises NoData "process_gone" (also for a zombie), "not_permitted"; ProbeFailed
        "process_unreadable". Sources: proc_pid_stat(5), proc_pid_io(5).
        """
        try:
            stat = parse_stat(read_kernel_file(f"{self._directory}/stat", _STAT_LIMIT_BYTES))
        except (FileNotFoundError, ProcessLookupError) as error:
            raise self._gone() from error
        except PermissionError as error:
            raise NoData(
                "not_permitted", f"{self._directory}/stat may not be read by this user"
            ) from error
        except OSError as error:
            raise ProbeFailed(
                "process_unreadable", f"{self._directory}/stat cannot be read: {error.strerror}"
            ) from error
        if stat is None:
            raise ProbeFailed(
                "process_unreadable", f"{self._directory}/stat is not in a known format"
            )
        # A leader that has ended stays as a zombie while its other threads run.
        if stat.state in _DEAD_STATES and stat.threads <= 1:
            raise self._gone()
        if stat.start_ticks != self._start_ticks:
            self._start_ticks = stat.start_ticks
            self._threads = {}
            self._ended_ticks = {_COMPACTION: 0, _FLUSH: 0}
        at = self._clock.monotonic()
        groups = self._group_ticks()
        compaction = flush = foreground = None
        if groups is not None:
            compaction, flush = groups[_COMPACTION], groups[_FLUSH]
            # The threads are read after the total and can be ahead of it by a tick.
            foreground = max(0, stat.cpu_ticks - compaction - flush)
        busiest, count = self._foreground(groups is not None)
        written, read = self._io_bytes()
        return ProcessSample(
            at=at,
            pid=self._pid,
            start_ticks=stat.start_ticks,
            cpu_seconds=stat.cpu_ticks / _CLOCK_TICKS_PER_SECOND,
            compaction_cpu_seconds=_seconds(compaction),
            flush_cpu_seconds=_seconds(flush),
            foreground_cpu_seconds=_seconds(foreground),
            written_bytes=written,
            read_bytes=read,
            resident_bytes=stat.resident_pages * _PAGE_BYTES,
            foreground_thread_count=count,
            busiest_foreground_threads=busiest,
        )

    def _gone(self) -> NoData:
        return NoData("process_gone", f"process {self._pid} has ended, or hidepid hides it")

    def _group_ticks(self) -> dict[str, int] | None:
        """Return clock ticks by group; None when the threads may not be read."""
        try:
            identities = os.listdir(f"{self._directory}/task")
        except OSError:
            return None
        if len(identities) > MAX_THREADS:
            return None
        alive = set(identities)
        for identity in [known for known in self._threads if known not in alive]:
            self._end(self._threads.pop(identity))
        due = [
            identity
            for identity in identities
            if identity not in self._threads or self._threads[identity].group != _OTHER
        ]
        try:
            for identity in dict.fromkeys([*due, *self._busiest(), *self._others_in_turn()]):
                self._look_at(identity)
        except PermissionError:
            return None
        ticks = dict(self._ended_ticks)
        for thread in self._threads.values():
            if thread.group != _OTHER:
                ticks[thread.group] += thread.cpu_ticks
        return ticks

    def _others_in_turn(self) -> list[str]:
        others = [known for known, thread in self._threads.items() if thread.group == _OTHER]
        if self._recheck_from >= len(others):
            self._recheck_from = 0
        start = self._recheck_from
        self._recheck_from = start + RECHECKED_THREADS
        return others[start : start + RECHECKED_THREADS]

    def _busiest(self) -> list[str]:
        others = (
            identity
            for identity, thread in self._threads.items()
            if thread.group == _OTHER and thread.recent_ticks > 0
        )
        return heapq.nlargest(
            BUSIEST_THREADS, others, key=lambda identity: self._threads[identity].recent_ticks
        )

    def _foreground(self, permitted: bool) -> tuple[tuple[ThreadCpuSample, ...], int | None]:
        """Return the busiest threads outside the pools, and how many there are in all."""
        if not permitted:
            return (), None
        samples = []
        for identity in self._busiest():
            try:
                text = read_kernel_file(
                    f"{self._directory}/task/{identity}/schedstat", _STAT_LIMIT_BYTES
                )
            except OSError:
                text = b""
            thread = self._threads[identity]
            waited, runs = parse_schedstat(text)
            samples.append(
                ThreadCpuSample(
                    at=self._clock.monotonic(),
                    thread_id=int(identity),
                    start_ticks=thread.start_ticks,
                    cpu_seconds=thread.cpu_ticks / _CLOCK_TICKS_PER_SECOND,
                    run_count=runs,
                    waited_seconds=None if waited is None else waited / 1e9,
                )
            )
        count = sum(1 for thread in self._threads.values() if thread.group == _OTHER)
        return tuple(samples), count

    def _look_at(self, identity: str) -> None:
        path = f"{self._directory}/task/{identity}/stat"
        known = self._threads.get(identity)
        try:
            stat = parse_stat(read_kernel_file(path, _STAT_LIMIT_BYTES))
        except PermissionError:
            raise
        except OSError:
            stat = None  # ended since the listing; its last value is kept by the next call
        if stat is None:
            return
        if known is not None and known.start_ticks != stat.start_ticks:
            self._end(known)
            known = None
        group = _group(stat.name)
        recent = 0 if known is None else max(0, stat.cpu_ticks - known.cpu_ticks)
        self._threads[identity] = _Thread(group, stat.start_ticks, stat.cpu_ticks, recent)

    def _end(self, thread: _Thread) -> None:
        if thread.group != _OTHER:
            self._ended_ticks[thread.group] += thread.cpu_ticks

    def _io_bytes(self) -> tuple[int | None, int | None]:
        """Return bytes written and read; None without the right to trace the process."""
        try:
            text = read_kernel_file(f"{self._directory}/io", _STAT_LIMIT_BYTES)
        except OSError:
            return None, None
        written = _WRITE_BYTES.search(text)
        cancelled = _CANCELLED_BYTES.search(text)
        read = _READ_BYTES.search(text)
        if written is None:
            return None, int(read[1]) if read else None
        # Pages of files that were deleted before writeback never reach the device: WALs mostly.
        reached = int(written[1]) - (int(cancelled[1]) if cancelled else 0)
        return max(0, reached), int(read[1]) if read else None


def _group(name: bytes) -> str:
    if name.startswith((b"rocksdb:low", b"rocksdb:bottom")):
        return _COMPACTION
    if name.startswith(b"rocksdb:high"):
        return _FLUSH
    return _OTHER


def _seconds(ticks: int | None) -> float | None:
    return None if ticks is None else ticks / _CLOCK_TICKS_PER_SECOND


def parse_schedstat(text: bytes) -> tuple[int | None, int | None]:
    """Return a thread's nanoseconds of waiting for a core and how often it got one.

    Its schedstat has three numbers, time on a core first; Documentation/scheduler/sched-stats.rst.
    """
    fields = text.split()
    if len(fields) < 3:
        return None, None
    waited, runs = (int(f) if f.isdigit() and len(f) <= 20 else None for f in fields[1:3])
    return waited, runs


def parse_stat(text: bytes) -> ThreadStat | None:
    """Parse /proc/<pid>/stat; the name is in parentheses and may itself hold some, and spaces."""
    opening = text.find(b"(")
    closing = text.rfind(b")")
    fields = text[closing + 2 :].split()
    if opening < 0 or closing < opening or len(fields) < 22:
        return None
    # Field numbers of the manual page start at 1 and the state is number 3.
    numbers = fields[11], fields[12], fields[17], fields[19], fields[21]
    if not all(number.isdigit() and len(number) <= 20 for number in numbers):
        return None
    user, system, threads, start, resident = (int(number) for number in numbers)
    return ThreadStat(
        name=text[opening + 1 : closing],
        state=fields[0],
        cpu_ticks=user + system,
        threads=threads,
        start_ticks=start,
        resident_pages=resident,
    )
