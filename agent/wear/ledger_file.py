"""The ledger's file: who may keep it, what it said, replacing it. Not for several threads at once.

file = LedgerFile(StateDirectory(path), log)
obstacle = file.take()      # a Refused while this process does not keep the accounts alone
found = file.read()         # once it does: the record, None where none can be used
written_bytes, obstacle = file.write(record)
"""

from dataclasses import dataclass
from typing import Final

import structlog

from agent.atomic_file import AtomicFile, UnusableFile
from agent.state_directory import Ownership, StateDirectory
from agent.wear.budget import Refused
from agent.wear.record import DamagedRecord, WearRecord, decode, encode

FILE_NAME: Final = "wear.json"

MAX_FILE_BYTES: Final = 1024 * 1024
"""256 accounts take about 200 kB; a larger file is another file."""

Logger = structlog.typing.FilteringBoundLogger


@dataclass(frozen=True, slots=True)
class Found:
    """What lay there; ``lost`` when that was something, and nothing of it can be used."""

    record: WearRecord | None
    lost: bool = False


class LedgerFile:
    """``wear.json`` in the state directory."""

    def __init__(self, directory: StateDirectory, log: Logger) -> None:
        self._directory = directory
        self._log = log
        # Not through the directory: its writing is on the account that it writes.
        self._file = None if directory.path is None else AtomicFile(directory.path, FILE_NAME)

    def take(self) -> Refused | None:
        """Why this process does not keep the accounts; None when it does, and nobody else."""
        ownership = self._directory.take()
        if ownership is Ownership.HELD:
            return None
        path = self._directory.path
        if ownership is Ownership.IN_USE:
            return Refused(
                "state_in_use", f"another smaxd keeps its budget in {path}; pass --state"
            )
        if ownership is Ownership.NOT_LOCKABLE:
            return not_kept(
                f"the file system of {path} has no locks, so another smaxd could spend the same "
                "budget; pass --state"
            )
        return not_kept("there is no writable state directory; pass --state")

    def read(self) -> Found:
        """What was kept; what cannot be used is set aside, and told of."""
        file = self._file
        if file is None:
            return Found(None)
        kept = "it is set aside"
        try:
            return Found(decode(file.read(MAX_FILE_BYTES)))
        except FileNotFoundError:
            if not file.aside_exists():
                return Found(None)
            problem = "it was damaged, and not yet written anew"
        except (OSError, UnusableFile, DamagedRecord) as error:
            problem = (isinstance(error, OSError) and error.strerror) or str(error)
            kept = file.set_aside()
        self._log.warning(
            "wear_history_lost",
            file=file.path,
            reason=problem,
            detail=f"{kept}; the day's budget of every device counts as used until "
            "the machine was up for 24 hours",
        )
        return Found(None, lost=True)

    def write(self, record: WearRecord) -> tuple[int, Refused | None]:
        """Replace it, and wait for the device: what that wrote, and why it failed."""
        file = self._file
        if file is None:
            return 0, not_kept("there is no writable state directory; pass --state")
        before, obstacle = file.written_bytes, None
        try:
            file.write(encode(record))
        except OSError as error:
            obstacle = not_kept(f"{file.path}: {error.strerror or error}")
        return file.written_bytes - before, obstacle


def not_kept(why: str) -> Refused:
    """No account can be kept, and why."""
    return Refused("budget_not_kept", f"the wear budget cannot be kept, so no probe writes: {why}")
