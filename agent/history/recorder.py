"""Records the history beside the tick.

    recorder = HistoryRecorder(directory, log, budget, settings)
    recorder.after_tick(snapshot)      # in the tick: takes numbers out of it, never waits
    recorder.configure(settings)       # between two ticks
    recorder.status()
    recorder.close(wait_seconds)

A thread of its own writes what was gathered, in one transaction a minute: the file may lie on the
very device that is saturated. What cannot be written waits, up to a limit, and is then left out
and counted; the reason is told once. A file that is damaged is set aside and another one begun.
"""

import contextlib
import os
import queue
import sqlite3
import threading
import time
from dataclasses import dataclass
from typing import Final

import structlog

from agent.config import HistorySettings
from agent.history.sample import Sample, Sampler
from agent.history.schema import FILE_NAME, PAGE_BYTES, is_damage
from agent.history.status import HistoryStatus
from agent.history.store import (
    CHECKPOINT_PAGES,
    NewerHistory,
    Store,
    written_by_this_thread,
)
from agent.history.store_file import DamagedHistory, set_aside
from agent.snapshot import Snapshot
from agent.state_directory import Ownership, StateDirectory
from probes.write_budget import WriteBudget

COMMIT_SECONDS: Final = 60.0
"""Each commit writes the last page of every table anew, however little is added."""

COMMIT_BYTES: Final = 256 * 1024
"""What a commit writes at most, but for dozens of databases. What goes beyond is counted all the
same, afterwards."""

CHECKPOINT_BYTES: Final = CHECKPOINT_PAGES * PAGE_BYTES
"""What the commit writes besides, at most, that finds the log long enough."""

WAITING_ROWS: Final = 5000
"""How much may wait for a file that cannot be written: half an hour of four databases."""

WAITING_SAMPLES: Final = 12
"""At least so many, or a host with hundreds of databases could not wait for its own commit."""

LEAST_FREE_RATIO: Final = 0.05
LEAST_FREE_BYTES: Final = 1 << 30
"""With less than both free nothing is written: what is left is the database's, which may lie on
the same file system."""

MEBIBYTE: Final = 1048576

Logger = structlog.typing.FilteringBoundLogger


class _Stop:
    pass


@dataclass(frozen=True, slots=True)
class _Obstacle:
    reason: str
    detail: str


class HistoryRecorder:
    """One per agent; ``directory`` must have a path."""

    def __init__(
        self,
        directory: StateDirectory,
        log: Logger,
        budget: WriteBudget,
        settings: HistorySettings,
    ) -> None:
        self._directory = directory
        self._path = os.path.join(directory.path or "", FILE_NAME)
        self._log = log
        self._budget = budget
        self._settings = settings
        # The tick's side.
        self._sampler = Sampler()
        self._batch: list[Sample] = []
        self._offered_at = -float("inf")
        # The writer's side; what both change is under the lock.
        self._jobs: queue.SimpleQueue[list[Sample] | HistorySettings | _Stop] = queue.SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._counting = threading.Lock()
        self._dropped: dict[str, int] = {}
        self._store: Store | None = None
        self._waiting: list[Sample] = []
        self._obstacle: _Obstacle | None = None
        self._rows_total = 0
        self._size_bytes: int | None = None
        self._last_commit: float | None = None
        self._counted_from = 0
        self._log_bytes = 0  # what has gone into SQLite's log, at most
        self._lost = False
        self._thread = threading.Thread(target=self._work, name="history", daemon=True)
        self._thread.start()

    # What the tick's thread calls.

    def after_tick(self, snapshot: Snapshot) -> None:
        """Take what this tick leaves; about once a minute have it written."""
        if not self._settings.enabled:
            return
        if self._lost:
            self._lost = False
            self._sampler.tell_all()
        sample = self._sampler.take(snapshot)
        if sample is not None:
            self._batch.append(sample)
            self._shorten(self._batch, "slow_device")
        due = snapshot.at - self._offered_at >= COMMIT_SECONDS
        if self._batch and due and self._idle.is_set():
            self._offered_at = snapshot.at
            self._offer()

    def configure(self, wanted: HistorySettings) -> None:
        """Go on with other settings; switched off, the file is closed and stays."""
        if wanted == self._settings:
            return
        self._settings = wanted
        if not wanted.enabled:
            if self._batch:
                self._offer()
            self._sampler = Sampler()
        self._jobs.put(wanted)

    def close(self, wait_seconds: float) -> None:
        """Write what waits, and close; gives up after ``wait_seconds``."""
        if self._settings.enabled:
            self._offer()  # also of nothing new: what was in the way before may have gone
        self._jobs.put(_Stop())
        self._thread.join(wait_seconds)

    def status(self) -> HistoryStatus | None:
        """How it is doing; None while it is switched off. For any thread."""
        if not self._settings.enabled:
            return None
        obstacle = self._obstacle
        with self._counting:
            dropped = dict(self._dropped)
        return HistoryStatus(
            self._rows_total,
            self._size_bytes,
            self._last_commit,
            dropped,
            None if obstacle is None else obstacle.reason,
        )

    def _offer(self) -> None:
        self._idle.clear()
        self._jobs.put(self._batch)
        self._batch = []

    def _shorten(self, samples: list[Sample], reason: str) -> None:
        """Leave out the oldest of what waits for too long."""
        rows = sum(sample.weight for sample in samples)
        while rows > WAITING_ROWS and len(samples) > WAITING_SAMPLES:
            oldest = samples.pop(0)
            rows -= oldest.weight
            self._lost = True  # perhaps the end of an alert, which would stay open on record
            with self._counting:
                self._dropped[reason] = self._dropped.get(reason, 0) + oldest.weight

    # The writer's thread.

    def _work(self) -> None:
        settings = self._settings
        with contextlib.suppress(OSError):  # there is none, or the commit will say what is wrong
            self._log_bytes = os.stat(f"{self._path}-wal").st_size
        while True:
            job = self._jobs.get()
            if isinstance(job, list):
                self._waiting += job
                if self._waiting:
                    try:
                        self._commit(settings)
                    finally:
                        self._tell_budget()
                self._idle.set()
                continue
            # Closed it is in any case; that copies the log.
            self._ask_budget(COMMIT_BYTES + CHECKPOINT_BYTES)
            self._close_store()
            self._tell_budget()
            if isinstance(job, _Stop):
                return
            settings = job

    def _ask_to_commit(self) -> str | None:
        """Why no commit may be written; None when it may be."""
        long = self._log_bytes + COMMIT_BYTES > CHECKPOINT_BYTES
        return self._ask_budget(COMMIT_BYTES + CHECKPOINT_BYTES * long)

    def _ask_budget(self, size_bytes: int) -> str | None:
        refusal = self._budget.ask(size_bytes)
        self._counted_from = written_by_this_thread()  # asking writes, too, on its own account
        return refusal

    def _tell_budget(self) -> None:
        """All else that this thread writes is the history."""
        now = written_by_this_thread()
        written_bytes, self._counted_from = now - self._counted_from, now
        self._budget.done(written_bytes)
        # So much was never one commit alone: the log begins anew.
        self._log_bytes = 0 if written_bytes > COMMIT_BYTES else self._log_bytes + written_bytes

    def _commit(self, settings: HistorySettings) -> None:
        """Write what waits, or say what is in the way; raises nothing."""
        obstacle: _Obstacle | None
        try:
            obstacle = self._before_writing()
            if obstacle is None:
                obstacle = self._write(int(settings.size_limit_mib * MEBIBYTE))
        except Exception as defect:  # must cost the history only, and be told of
            obstacle = _Obstacle("defect", repr(defect))
            if obstacle != self._obstacle:
                self._log.exception("history_failed", file=self._path)
        if obstacle is not None:
            self._close_store()
            self._shorten(self._waiting, obstacle.reason)
        self._meet(obstacle)

    def _before_writing(self) -> _Obstacle | None:
        ownership = self._directory.take()
        if ownership is Ownership.IN_USE:
            return _Obstacle("state_in_use", "another smaxd keeps its history there; pass --state")
        if ownership is not Ownership.HELD:
            return _Obstacle("state_not_kept", "the state directory cannot be locked; pass --state")
        refusal = self._ask_to_commit()
        if refusal is not None:
            return _Obstacle("wear_budget_used", refusal)
        try:
            found = os.statvfs(os.path.dirname(self._path))
        except OSError as error:
            return _Obstacle("write_failed", error.strerror or str(error))
        free_bytes = found.f_bavail * found.f_frsize
        if free_bytes < min(LEAST_FREE_BYTES, LEAST_FREE_RATIO * found.f_blocks * found.f_frsize):
            return _Obstacle("disk_full", "next to nothing of its file system is free")
        return None

    def _write(self, limit_bytes: int) -> _Obstacle | None:
        for _ in range(2):  # once more after a damaged file was set aside
            try:
                self._write_once(limit_bytes)
            except (DamagedHistory, NewerHistory) as problem:
                newer = isinstance(problem, NewerHistory)
                obstacle = self._set_aside(str(problem), "newer" if newer else "damaged")
            except sqlite3.Error as error:
                if is_damage(error):
                    obstacle = self._set_aside(str(error), "damaged")
                elif getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
                    return _Obstacle("disk_full", str(error))
                else:
                    return _Obstacle("write_failed", str(error))
            except OSError as error:
                return _Obstacle("write_failed", error.strerror or str(error))
            else:
                return None
            if obstacle is not None:
                return obstacle
        return _Obstacle("write_failed", "a new file is damaged at once: look at the device")

    def _write_once(self, limit_bytes: int) -> None:
        store = self._store
        if store is not None and not store.is_in_place():
            self._log.warning("history_gone", file=self._path, detail="begun anew")
            self._close_store()
            store = None
        if store is None:
            store = self._store = Store(self._path, limit_bytes)
        self._rows_total += store.write(self._waiting)
        self._waiting = []
        self._last_commit = time.time()
        self._size_bytes = store.size_bytes

    def _set_aside(self, reason: str, ending: str) -> _Obstacle | None:
        self._close_store()
        try:
            told = set_aside(self._path, ending)
        except OSError as error:
            return _Obstacle("unusable", f"{reason}; it cannot be moved: {error.strerror}")
        self._log.warning("history_unusable", file=self._path, reason=reason, detail=told)
        return None

    def _close_store(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _meet(self, obstacle: _Obstacle | None) -> None:
        """Remember what is in the way; tell of it once."""
        before, self._obstacle = self._obstacle, obstacle
        if obstacle is not None and (before is None or before.reason != obstacle.reason):
            self._log.warning(
                "history_waits", file=self._path, reason=obstacle.reason, detail=obstacle.detail
            )
        elif obstacle is None and before is not None:
            self._log.info("history_goes_on", file=self._path)
