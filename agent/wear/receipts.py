"""What commands wrote beside the daemon, told to its account through files in the state directory.

leave_receipt(directory, Receipt(device, size_bytes, "calibrate", written_bytes))  # a command
receipts = Receipts(directory)                                                     # the daemon
receipts.take(charge)   # calls charge(receipt, its file's bytes) for each that is new
receipts.taken          # to be kept with what was charged
receipts.discard()      # once both are on the device
receipts.remember(taken)  # after a restart: these are charged already
"""

import os
import re
import secrets
from collections.abc import Callable, Iterable
from typing import Annotated, Final

import msgspec

from agent.atomic_file import AtomicFile, UnusableFile
from agent.wear.record import RECEIPT_NAME

_MAX_BYTES: Final = 4096

MAX_RECEIPTS: Final = 1000
"""As many are looked at; a command leaves one, and each save takes all of them."""

_IS_NAME: Final = re.compile(RECEIPT_NAME)

_Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes that a command wrote: ``device`` is the key of the account."""

    device: _Name
    device_size_bytes: _Bytes
    purpose: Annotated[str, msgspec.Meta(pattern=r"\A[a-z]{1,32}\Z")]
    written_bytes: _Bytes


def leave_receipt(directory: str, receipt: Receipt) -> str:
    """Write it for the daemon that keeps its state in ``directory``; its path. Raises OSError.

    Written by root into another user's directory, it is given to that user.
    """
    file = AtomicFile(directory, f"written-{secrets.token_hex(8)}.json")
    file.write(msgspec.json.encode(receipt), to_owner=True)
    return file.path


class Receipts:
    """Those in one directory (None: nowhere)."""

    def __init__(self, directory: str | None) -> None:
        self._directory = directory
        self._taken: set[str] = set()

    @property
    def taken(self) -> tuple[str, ...]:
        """Names of those that were charged and may still be there."""
        return tuple(sorted(self._taken))

    def remember(self, taken: Iterable[str]) -> None:
        """These were charged by an earlier run, which did not come to remove them."""
        self._taken.update(taken)

    def take(self, charge: Callable[[Receipt, int], None]) -> None:
        """Charge each receipt once; a file that is none of ours is left alone."""
        if self._directory is None:
            return
        try:
            names = sorted(os.listdir(self._directory))
        except OSError:
            return  # a directory that is gone is told of by who writes there
        ours = [name for name in names if _IS_NAME.search(name)]
        for name in ours[:MAX_RECEIPTS]:
            if name not in self._taken:
                try:
                    raw = AtomicFile(self._directory, name).read(_MAX_BYTES)
                    receipt = msgspec.json.decode(raw, type=Receipt)
                except (OSError, UnusableFile, msgspec.DecodeError):
                    continue
                self._taken.add(name)
                charge(receipt, len(raw))

    def discard(self) -> None:
        """Remove those that were charged; one that cannot be is not charged again by this run."""
        for name in list(self._taken):
            try:
                os.unlink(os.path.join(self._directory or "", name))
            except FileNotFoundError:
                pass  # removed by hand
            except OSError:
                continue
            self._taken.discard(name)
