"""What the daemon keeps between runs, as the last one left it: wires, and decides nothing.

kept = keep_state(path, config.history, clock, log)    # path None: nothing is kept
kept.learning, kept.book                               # what was loaded
kept.own_files.budget(directory, "textfile")           # for what is written elsewhere
"""

from dataclasses import dataclass
from typing import Final

import structlog

from agent.alerts.book import AlertBook
from agent.alerts.book_file import BOOK, BookSaver
from agent.config import HistorySettings
from agent.delivery.record import DeliveryRecord
from agent.delivery.record_file import RECORD
from agent.history.recorder import HistoryRecorder
from agent.learning.learning import Learning
from agent.learning.memory_file import LEARNED, MemorySaver
from agent.state_directory import Ownership, StateDirectory
from agent.state_file import StateFile
from agent.wear.ledger import WearLedger
from agent.wear.own_files import OwnFiles
from probes.clock import Clock

STATE_PURPOSE: Final = "state"
HISTORY_PURPOSE: Final = "history"
"""What the bytes written there are charged as."""

Logger = structlog.typing.FilteringBoundLogger


@dataclass(frozen=True, slots=True)
class KeptState:
    """The parts that keep something; ``history`` is None where nothing is kept on disk."""

    directory: StateDirectory
    learning: Learning
    memory_saver: MemorySaver
    book: AlertBook
    book_saver: BookSaver
    delivery_file: StateFile[DeliveryRecord]
    ledger: WearLedger
    own_files: OwnFiles
    history: HistoryRecorder | None


def keep_state(path: str | None, history: HistorySettings, clock: Clock, log: Logger) -> KeptState:
    """Take the directory, load what lies in it, and keep the wear accounts from now on."""
    directory = StateDirectory(path)
    if directory.take() is Ownership.IN_USE:
        log.warning(
            "state_in_use",
            directory=path,
            detail="another smaxd keeps its state there; what this one learns is forgotten at its "
            "end; pass --state",
        )
    memory_file = StateFile(LEARNED, directory, log)
    book_file = StateFile(BOOK, directory, log)
    delivery_file = StateFile(RECORD, directory, log)
    learning = Learning(memory_file.load())
    book = book_file.load()
    ledger = WearLedger(directory, log)
    ledger.start()
    own_files = OwnFiles(ledger, clock, log)
    recorder = None
    if path is not None:
        carrier = own_files.carrier(path)
        if carrier is not None:
            ledger.keeps_its_file_on(carrier.key)
        for kind in (LEARNED, BOOK, RECORD):
            file = directory.file(kind.file_name)
            if file is not None:
                file.budget = own_files.budget(path, STATE_PURPOSE, vital=kind.vital)
        recorder = HistoryRecorder(directory, log, own_files.budget(path, HISTORY_PURPOSE), history)
    return KeptState(
        directory=directory,
        learning=learning,
        memory_saver=MemorySaver(learning, memory_file),
        book=book,
        book_saver=BookSaver(book_file, book.revision),
        delivery_file=delivery_file,
        ledger=ledger,
        own_files=own_files,
        history=recorder,
    )
