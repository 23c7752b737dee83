"""Where the alert book is kept between runs: one small file, written when it changed.

    file = BookFile(StateDirectory(path), log)
    book = file.load()
    saver = BookSaver(file)
    saver.after_tick(book, at)      # once a tick
    saver.close(book, wait_seconds)

Saving waits for the device, so it has a thread of its own. What was told or ordered is saved with
the tick that tells it; alerts that only began or ended at most once a minute.
"""

import queue
import threading
from typing import Final

import structlog

from agent.alerts.book import AlertBook, DamagedBook, decode_book, encode_book
from agent.atomic_file import AtomicFile, UnusableFile
from agent.state_directory import Ownership, StateDirectory

FILE_NAME: Final = "alerts.json"

SAVE_SECONDS: Final = 60.0
"""Each fsync forces a journal commit on the file system, which may be the database's."""

MAX_FILE_BYTES: Final = 32 * 1024 * 1024
"""128 notifications of 100 alerts take about 10 MB; a larger file is another file."""

Logger = structlog.typing.FilteringBoundLogger


class BookFile:
    """Loads and saves; keeps the daemon running whatever the file system says."""

    def __init__(self, directory: StateDirectory, log: Logger) -> None:
        self._directory = directory
        self._log = log
        self._file = None if directory.path is None else AtomicFile(directory.path, FILE_NAME)
        self._failure: str | None = None

    @property
    def written_bytes(self) -> int:
        """Bytes that saving has sent to the device, whole pages, since the start."""
        return 0 if self._file is None else self._file.written_bytes

    def load(self) -> AlertBook:
        """What was saved last; a fresh book when there is none, or none that can be used, or when
        the directory is another daemon's: that one tells of its alerts."""
        if self._file is None:
            return AlertBook()
        if self._directory.take() is Ownership.IN_USE:
            self._file = None
            return AlertBook()
        try:
            book = decode_book(self._file.read(MAX_FILE_BYTES))
        except FileNotFoundError:
            return AlertBook()
        except (OSError, UnusableFile, DamagedBook) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else str(problem)
            kept = self._file.set_aside()
            self._log.warning(
                "state_unusable",
                file=self._file.path,
                reason=reason,
                detail=f"{kept}; alerts that still hold will be told again",
            )
            return AlertBook()
        firing = sum(entry.active for entry in book.followed)
        self._log.info("state_loaded", file=self._file.path, alerts_firing=firing)
        return book

    def save(self, book: AlertBook) -> bool:
        """Save now; a failure is told once. True when it is on the device, or nothing is kept."""
        if self._file is None:
            return True
        try:
            self._file.write(encode_book(book))
        except OSError as error:
            reason = error.strerror or str(error)
            if self._failure != reason:
                self._failure = reason
                self._log.warning(
                    "state_not_saved",
                    file=self._file.path,
                    reason=reason,
                    detail="a restart would repeat what was told since; tried again every minute",
                )
            return False
        if self._failure is not None:
            self._failure = None
            self._log.info("state_saved_again", file=self._file.path)
        return True


class BookSaver:
    """Takes the book in the tick's thread, writes it in its own."""

    def __init__(self, file: BookFile, saved_revision: int = 0) -> None:
        self._file = file
        self._offered_at: float | None = None
        self._offered_revision = self._saved_revision = saved_revision
        self._waiting: queue.SimpleQueue[AlertBook | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="alert-book", daemon=True)
        self._thread.start()

    def after_tick(self, book: AlertBook, at: float) -> None:
        """Have it saved where it changed; what failed is tried again after a minute."""
        if book.revision == self._saved_revision or not self._waiting.empty():
            return
        urgent = book.urgent_revision > self._offered_revision
        recently = self._offered_at is not None and at - self._offered_at < SAVE_SECONDS
        if urgent or not recently:
            self._offered_at, self._offered_revision = at, book.revision
            self._waiting.put(book)

    def close(self, book: AlertBook, wait_seconds: float) -> None:
        """Save the last changes; gives up after ``wait_seconds``, leaving the file as it was."""
        if book.revision != self._saved_revision or book.has_pending:
            self._waiting.put(book)
        self._waiting.put(None)
        self._thread.join(wait_seconds)

    def _work(self) -> None:
        while (wanted := self._waiting.get()) is not None:
            if self._file.save(wanted):
                self._saved_revision = wanted.revision
