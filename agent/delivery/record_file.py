"""Where the record is kept between runs, and when it is written.

A file that cannot be used costs repetitions, no alert: delivery starts afresh.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Final

from agent.delivery.record import DeliveryRecord, decode, encode
from agent.state_file import StateFile, StateKind

SAVE_SECONDS: Final = 1.0
"""The shortest distance of two savings: each costs the device two pages and a journal commit."""

RETRY_SECONDS: Final = 60.0
"""When a saving that failed is tried again, where nothing changes before."""


def _figures(record: DeliveryRecord) -> Mapping[str, int]:
    return {"channels": len(record.settled)}


RECORD: Final = StateKind(
    file_name="delivery.json",
    # Sixteen channels with a thousand identities each take 600 KB.
    limit_bytes=8 * 1024 * 1024,
    fresh=DeliveryRecord,
    encode=encode,
    decode=decode,
    figures=_figures,
    when_unusable="something may be told twice",
    when_unsaved="alerts go on being delivered; a restart may repeat some",
    vital=True,
)


class RecordSaver:
    """Saves off the tick: the device that syncing waits for may be the saturated one."""

    def __init__(
        self, file: StateFile[DeliveryRecord], record: Callable[[], DeliveryRecord]
    ) -> None:
        self._file = file
        self._record = record
        self._saved = DeliveryRecord()
        self._wanted = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, saved: DeliveryRecord) -> None:
        """Begin to save what differs from the record that was loaded."""
        self._saved = saved
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
        is_saved = True
        while not self._ending.is_set():
            self._wanted.wait(None if is_saved else RETRY_SECONDS)
            self._wanted.clear()
            is_saved = self._save()
            self._ending.wait(SAVE_SECONDS)
        self._save()

    def _save(self) -> bool:
        record = self._record()
        if record == self._saved:
            return True
        if self._file.save(record):
            self._saved = record
            return True
        return False
