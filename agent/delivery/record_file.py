"""Where the record is kept: ``delivery.json`` in the state directory, written off the tick.

A file that cannot be used costs repetitions, no alert: it is set aside, and delivery starts afresh.
"""

import threading
from collections.abc import Callable
from typing import Final

import structlog

from agent.atomic_file import AtomicFile, UnusableFile
from agent.delivery.record import DamagedRecord, DeliveryRecord, decode, encode
from agent.state_directory import Ownership, StateDirectory

FILE_NAME: Final = "delivery.json"
MAX_BYTES: Final = 8 * 1024 * 1024
"""Sixteen channels with a thousand identities each take 600 KB."""

SAVE_SECONDS: Final = 1.0
"""The shortest distance of two savings: each costs the device two pages and a journal commit."""

RETRY_SECONDS: Final = 60.0
"""When a saving that failed is tried again, where nothing changes before."""

Logger = structlog.typing.FilteringBoundLogger


class RecordFile:
    """Loads and saves; keeps the daemon running whatever the file system says."""

    def __init__(self, directory: StateDirectory, log: Logger) -> None:
        self._directory = directory
        self._log = log
        self._file = None if directory.path is None else AtomicFile(directory.path, FILE_NAME)
        self._saved: bytes | None = None
        self._failure: str | None = None

    @property
    def written_bytes(self) -> int:
        """Bytes that saving has sent to the device, whole pages, since the start."""
        return 0 if self._file is None else self._file.written_bytes

    def load(self) -> DeliveryRecord:
        """What was saved last; an empty record when there is none, or none that can be used, or
        when the directory is another daemon's, which keeps its own there."""
        if self._directory.take() is Ownership.IN_USE:
            self._file = None
        if self._file is None:
            return DeliveryRecord()
        try:
            raw = self._file.read(MAX_BYTES)
            record = decode(raw)
        except FileNotFoundError:
            return DeliveryRecord()
        except (OSError, UnusableFile, DamagedRecord) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else str(problem)
            self._log.warning(
                "delivery_record_unusable",
                file=self._file.path,
                reason=reason,
                detail=f"{self._file.set_aside()}; something may be told twice",
            )
            return DeliveryRecord()
        self._saved = raw
        return record

    def save(self, record: DeliveryRecord) -> bool:
        """Save unless nothing changed; a failure is told once. Waits for the device. True when it
        is there, or nothing is kept."""
        content = encode(record)
        if self._file is None or content == self._saved:
            return True
        try:
            self._file.write(content)
        except OSError as error:
            reason = error.strerror or str(error)
            if reason != self._failure:
                self._failure = reason
                self._log.warning(
                    "delivery_record_not_saved",
                    file=self._file.path,
                    reason=reason,
                    detail="alerts go on being delivered; a restart may repeat some",
                )
            return False
        if self._failure is not None:
            self._failure = None
            self._log.info("delivery_record_saved_again", file=self._file.path)
        self._saved = content
        return True


class RecordSaver:
    """Saves off the tick: the device that syncing waits for may be the saturated one."""

    def __init__(self, file: RecordFile, record: Callable[[], DeliveryRecord]) -> None:
        self._file = file
        self._record = record
        self._wanted = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to save."""
        self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something may have changed."""
        self._wanted.set()

    def close(self, wait_seconds: float) -> None:
        """Save the last changes; gives up after ``wait_seconds``."""
        self._ending.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(wait_seconds)

    def _work(self) -> None:
        saved = True
        while not self._ending.is_set():
            self._wanted.wait(None if saved else RETRY_SECONDS)
            self._wanted.clear()
            saved = self._file.save(self._record())
            self._ending.wait(SAVE_SECONDS)
        self._file.save(self._record())
