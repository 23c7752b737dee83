"""What commands wrote beside the daemon, told to its account through files in the state directory.

path = leave_receipt(directory, Receipt(device, size_bytes, "command", written_bytes))

path = leave_receipt(directory, Receipt(device, size_bytes, "fio", may_be_written))  # before a run
descriptor = hold_receipt(path)  # until it ends, or is killed, the daemon does not take it
replace_receipt(path, Receipt(device, size_bytes, "fio", written_bytes))
os.close(descriptor)

receipts = Receipts(directory)                                                     # the daemon
receipts.waiting        # whether there is anything to be taken or removed
held = receipts.take(charge)  # calls charge(receipt, its file's bytes) for each that is new
receipts.taken          # to be kept with what was charged
receipts.discard()      # once both are on the device
receipts.remember(taken)  # after a restart: these are charged already

One of a run is held, taken, replaced and removed under ``account_lock`` only.
"""

import fcntl
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

_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

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
    path = os.path.join(directory, f"written-{secrets.token_hex(8)}.json")
    replace_receipt(path, receipt)
    return path


def replace_receipt(path: str, receipt: Receipt) -> None:
    """Put another in its place, under its name: taken once, whichever of them. Raises OSError."""
    directory, name = os.path.split(path)
    AtomicFile(directory, name).write(msgspec.json.encode(receipt), to_owner=True)


def hold_receipt(path: str) -> int:
    """Tell by a lock that what it stands for is still being written. Raises OSError."""
    descriptor = os.open(path, _OPEN_FLAGS)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _is_held(path: str) -> bool:
    descriptor = os.open(path, _OPEN_FLAGS)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Receipts:
    """Those in one directory (None: nowhere); ``of_owner``: read by root for the daemon's user."""

    def __init__(self, directory: str | None, *, of_owner: bool = False) -> None:
        self._directory = directory
        self._of_owner = of_owner
        self._taken: set[str] = set()

    @property
    def taken(self) -> tuple[str, ...]:
        """Names of those that were charged and may still be there."""
        return tuple(sorted(self._taken))

    def remember(self, taken: Iterable[str]) -> None:
        """These were charged by an earlier run, which did not come to remove them."""
        self._taken.update(taken)

    @property
    def waiting(self) -> bool:
        """Whether some are to be charged or removed."""
        return bool(self._taken or self._new_names())

    def take(self, charge: Callable[[Receipt, int], None]) -> tuple[Receipt, ...]:
        """Charge each receipt once, but for those of runs under way, which are returned; a file
        that is none of ours is left alone."""
        held: list[Receipt] = []
        for name in self._new_names():
            file = AtomicFile(self._directory or "", name)
            try:
                raw = file.read(_MAX_BYTES, of_owner=self._of_owner)
                receipt = msgspec.json.decode(raw, type=Receipt)
                under_way = _is_held(file.path)
            except (OSError, UnusableFile, msgspec.DecodeError):
                continue
            if under_way:
                held.append(receipt)
            else:
                self._taken.add(name)
                charge(receipt, len(raw))
        return tuple(held)

    def _new_names(self) -> list[str]:
        if self._directory is None:
            return []
        try:
            names = sorted(os.listdir(self._directory))
        except OSError:
            return []  # a directory that is gone is told of by who writes there
        new = [name for name in names if _IS_NAME.search(name) and name not in self._taken]
        return new[:MAX_RECEIPTS]

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
