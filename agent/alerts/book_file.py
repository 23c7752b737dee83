"""Where the alert book is kept between runs, and when it is written.

    file = StateFile(BOOK, StateDirectory(path), log)
    book = file.load()
    saver = BookSaver(file, book.revision)
    saver.after_tick(book, at)
    saver.close(book, wait_seconds)

What was told or ordered is saved with the tick that tells it; alerts that only began or ended at
most once a minute.
"""

from collections.abc import Mapping
from typing import Final

from agent.alerts.book import AlertBook, decode_book, encode_book
from agent.state_file import StateFile, StateKind, StateSaver


def _figures(book: AlertBook) -> Mapping[str, int]:
    return {"alerts_firing": sum(entry.active for entry in book.followed)}


BOOK: Final = StateKind(
    file_name="alerts.json",
    # 128 notifications of 100 alerts take about 10 MB; a larger file is another file.
    limit_bytes=32 * 1024 * 1024,
    fresh=AlertBook,
    encode=encode_book,
    decode=decode_book,
    figures=_figures,
    when_unusable="alerts that still hold will be told again",
    when_unsaved="a restart would repeat what was told since; tried again every minute",
    vital=True,
)


class BookSaver:
    """Has the book saved off the tick."""

    def __init__(self, file: StateFile[AlertBook], saved_revision: int = 0) -> None:
        self._saver = StateSaver(file, "alert-book", saved_revision)

    def after_tick(self, book: AlertBook, at: float) -> None:
        """Have it saved where it changed."""
        self._saver.offer(book.revision, lambda: book, at, urgent_revision=book.urgent_revision)

    def close(self, book: AlertBook, wait_seconds: float) -> None:
        """Save the last changes; gives up after ``wait_seconds``, leaving the file as it was."""
        self._saver.close(book.revision, lambda: book, wait_seconds, unrevised=book.has_pending)
