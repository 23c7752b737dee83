"""Writes a recording while the daemon runs (``smaxd run --record FILE``).

    recorder = Recorder(path, header, log, budget, limit_bytes=..., database_paths=...)
    recorder.start(patience_seconds)    # RecordError
    recorder.take(findings)     # in the tick: never raises, never waits
    recorder.close(seconds)     # at the end

A thread of its own makes the file, encodes and writes: the recording may lie on the very disk that
is saturated, or dead, and what waits there must delay neither the start nor a tick. A tick that
finds too many others waiting is left out and counted in the recording.
"""

import os
import platform
import queue
import threading
import time
import zlib
from collections.abc import Iterable
from concurrent.futures import Future

import structlog

from agent.findings import Findings
from agent.readings import Known
from agent.recording.recording import HostFacts, RecordingHeader, TickEncoder
from probes.scratch import enclosing_database
from probes.write_budget import WriteBudget

FLUSH_SECONDS = 10.0
"""At most so much is lost when the daemon is killed. Never synced to the disk: each sync forces a
journal commit on a file system that may be the database's."""

BETWEEN_FLUSHES_BYTES = 64 * 1024
"""More than ten seconds of a few databases; what goes beyond is counted all the same."""

QUEUED_TICKS = 64
"""How many ticks may wait for a disk that does not take them; each holds what it read."""

END_BYTES = 1024
"""Kept free below the limit for the last line and the end of the gzip stream."""

LEAST_FREE_RATIO = 0.05
"""A recording ends when no more than this share of its file system is free: what is left is the
database's, which may lie there too."""

MEBIBYTE = 1048576

Logger = structlog.typing.FilteringBoundLogger


class RecordError(Exception):
    """The recording cannot be made; one sentence that says what to do."""


class Recorder:
    """One recording being written. Any error ends the recording with one line, nothing else."""

    def __init__(
        self,
        path: str,
        header: RecordingHeader,
        log: Logger,
        budget: WriteBudget,
        *,
        limit_bytes: int,
        database_paths: Iterable[str],
    ) -> None:
        self._path = path
        self._log = log
        self._budget = budget
        self._limit_bytes = limit_bytes
        self._encoder = TickEncoder()
        self._deflate = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS, 9)
        self._header = header
        self._queue: queue.Queue[tuple[Findings | None, int]] = queue.Queue(QUEUED_TICKS)
        self._skipped = 0  # ticks left out since the last one that was queued
        self.written_bytes = 0
        """Bytes sent to the file so far."""
        self._told_bytes = 0  # of these, to the budget
        self._unflushed_bytes = 0
        self._flushed_at = -float("inf")
        self._database_paths = tuple(database_paths)
        self._directories: frozenset[tuple[int, int]] = frozenset()
        self._descriptor = -1
        self._checked_paths: set[str] = set()
        self._made: Future[None] = Future()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self, patience_seconds: float) -> None:
        """Make the file and begin to write; RecordError.

        Where its directory does not answer in time, all this is done once it does.
        """
        self._thread.start()
        try:
            self._made.result(patience_seconds)
        except TimeoutError:
            self._log.warning(
                "recording_silent",
                file=self._path,
                reason="its directory does not answer",
                detail="recording begins once it does",
            )
            self._made.add_done_callback(self._tell_late)

    def _tell_late(self, made: Future[None]) -> None:
        refusal = made.exception()
        if refusal is not None:
            self._log.warning("recording_stopped", file=self._path, reason=str(refusal))

    def take(self, findings: Findings) -> None:
        """Record a tick; returns at once, whatever the disk does."""
        if self._ended.is_set():
            return
        try:
            self._queue.put_nowait((findings, self._skipped))
        except queue.Full:
            self._skipped += 1
        else:
            self._skipped = 0

    def close(self, wait_seconds: float) -> None:
        """Write what waits, at most for so long, and end the recording."""
        deadline = time.monotonic() + wait_seconds
        if self._ended.is_set():
            return
        try:
            self._queue.put((None, self._skipped), timeout=wait_seconds)
        except queue.Full:
            return  # the disk takes nothing; what was flushed can be read
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        try:
            self._directories = _above(self._path)
            self._descriptor = _create(self._path, self._database_paths, self._directories)
        except Exception as error:  # whoever waits for the file has to know, whatever it is
            self._end()
            self._made.set_exception(error)
            return
        self._log.info("recording", file=self._path, limit_bytes=self._limit_bytes)
        self._made.set_result(None)
        try:
            reason = self._record()
        except OSError as error:
            self._log.warning("recording_stopped", file=self._path, reason=error.strerror)
        except Exception:  # a defect here must cost the recording only
            self._log.exception("recording_failed", file=self._path)
        else:
            if reason is not None:
                self._log.info(
                    "recording_stopped", file=self._path, reason=reason, bytes=self.written_bytes
                )
        finally:
            self._end()
            os.close(self._descriptor)
            self._tell_budget()

    def _end(self) -> None:
        """Nobody will write what waits; its memory is wanted back."""
        self._ended.set()
        while not self._queue.empty():
            self._queue.get()

    def _record(self) -> str | None:
        """Write until told to end, or full; why it ended early."""
        refusal = self._budget.ask(BETWEEN_FLUSHES_BYTES)
        if refusal is not None:
            return refusal
        self._pack(TickEncoder.header(self._header))
        self._flush()
        while True:
            findings, skipped = self._queue.get()
            if findings is None:
                self._finish("stopped", skipped)
                return None
            trespass = self._inside_of(findings)
            if trespass is not None:
                os.unlink(self._path)
                return f"it lies in {trespass}, which belongs to a watched database; removed"
            line = self._encoder.tick(findings, skipped)
            if findings.at >= self._flushed_at + FLUSH_SECONDS:
                if self._disk_is_full():
                    self._finish("disk_full")
                    return f"less than {LEAST_FREE_RATIO * 100:.0f} % of its file system is free"
                self._tell_budget()
                refusal = self._budget.ask(BETWEEN_FLUSHES_BYTES)
                if refusal is not None:
                    self._finish("wear_budget_used")
                    return refusal
            if not self._fits(line):
                self._finish("limit")
                return "the size limit is reached"
            self._pack(line)
            if findings.at >= self._flushed_at + FLUSH_SECONDS:
                self._flushed_at = findings.at
                self._flush()

    def _tell_budget(self) -> None:
        self._budget.done(self.written_bytes - self._told_bytes)
        self._told_bytes = self.written_bytes

    def _inside_of(self, findings: Findings) -> str | None:
        """The watched directory that the file turned out to lie in: WAL and tables may be apart."""
        for database in findings.databases:
            for place in database.paths:
                # Before its device is known the directory was not looked at either.
                if place.path in self._checked_paths or not isinstance(place.device, Known):
                    continue
                self._checked_paths.add(place.path)
                if _identity(place.path) in self._directories:
                    return place.path
        return None

    def _disk_is_full(self) -> bool:
        found = os.fstatvfs(self._descriptor)
        return found.f_bavail < LEAST_FREE_RATIO * found.f_blocks

    def _fits(self, line: bytes) -> bool:
        """Whether the line fits below the limit even if nothing of it can be compressed."""
        if self.written_bytes + self._unflushed_bytes + len(line) + END_BYTES > self._limit_bytes:
            self._flush()  # what waits turns out to be much smaller
        return self.written_bytes + len(line) + END_BYTES <= self._limit_bytes

    def _pack(self, line: bytes) -> None:
        self._unflushed_bytes += len(line)
        self._write(self._deflate.compress(line))

    def _flush(self) -> None:
        if self._unflushed_bytes:
            self._write(self._deflate.flush(zlib.Z_SYNC_FLUSH))
            self._unflushed_bytes = 0

    def _finish(self, reason: str, skipped: int = 0) -> None:
        line = TickEncoder.end(reason, skipped)
        self._write(self._deflate.compress(line) + self._deflate.flush())

    def _write(self, packed: bytes) -> None:
        while packed:
            count = os.write(self._descriptor, packed)
            self.written_bytes += count
            packed = packed[count:]


def host_facts() -> HostFacts:
    """Facts of this host for a recording's header."""
    return HostFacts(
        cores=os.cpu_count(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        machine=platform.machine(),
    )


def _create(
    path: str, database_paths: tuple[str, ...], directories: frozenset[tuple[int, int]]
) -> int:
    directory = os.path.dirname(path) or "."
    database = enclosing_database(directory, database_paths)
    if database is None:
        database = next((p for p in database_paths if _identity(p) in directories), None)
    if database is not None:
        raise RecordError(f"--record {path}: lies in the database {database}; choose another place")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:
        if not os.path.isfile(path) and not os.path.islink(path):
            raise RecordError(f"--record {path}: is no regular file; name a new file") from None
        raise RecordError(
            f"--record {path}: exists already; choose another name or remove it"
        ) from None
    except OSError as error:
        raise RecordError(f"--record {path}: cannot be made: {error.strerror}") from error


def _above(path: str) -> frozenset[tuple[int, int]]:
    """The identities of the file's directory and of all above it: names can lead to one place
    along several ways (links, bind mounts, /proc/<pid>/root)."""
    directory = os.path.realpath(os.path.dirname(path) or ".")
    found = set()
    while True:
        identity = _identity(directory)
        if identity is not None:
            found.add(identity)
        if directory == os.path.dirname(directory):
            return frozenset(found)
        directory = os.path.dirname(directory)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino)
