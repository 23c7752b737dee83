"""What commands wrote beside the daemon, told to its account through files in the state directory.

path = leave_receipt(directory, Receipt(device, size_bytes, "command", written_bytes))

path = leave_receipt(directory, Receipt(device, size_bytes, "fio", may_be_written))  # before a run
descriptor = hold_receipt(path)  # until it ends, or is killed, the daemon does not take it
replace_receipt(path, Receipt(device, size_bytes, "fio", written_bytes))
os.close(descriptor)

receipts = Receipts(directory)                                                     # the daemon
receipts.waiting        # whether there is anything to be taken or removed
left = receipts.take(charge)  # calls charge(receipt, its file's bytes) for each that is new
receipts.taken          # to be kept with what was charged
receipts.discard()      # once both are on the device
receipts.remember(taken)  # after a restart: these are charged already
receipts.remove_unfinished()  # of commands that were killed
receipts.new()          # those that nobody has taken, for whoever only counts them

One of a run is held, taken, replaced and removed under ``account_lock`` only.
"""

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Final

import msgspec

from agent.atomic_file import AtomicFile, UnusableFile
from agent.wear.record import RECEIPT_NAME

_MAX_BYTES: Final = 4096

MAX_RECEIPTS: Final = 1000
"""As many are taken before they are removed: each save names all of them. All of them count."""

_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_IS_NAME: Final = re.compile(RECEIPT_NAME)
_IS_UNFINISHED: Final = re.compile(r"\A\.written-[0-9a-f]{1,32}\.json\.new\Z")

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
        """Charge each receipt once; those that have to wait are returned: of runs under way, and
        beyond MAX_RECEIPTS. A file that is none of ours is left alone."""
        left: list[Receipt] = []
        for file, name in self._new_files():
            try:
                receipt, size_bytes = self._read(file)
                waits = len(self._taken) >= MAX_RECEIPTS or _is_held(file.path)
            except (OSError, UnusableFile, msgspec.DecodeError):
                continue
            if waits:
                left.append(receipt)
            else:
                self._taken.add(name)
                charge(receipt, size_bytes)
        return tuple(left)

    def new(self) -> tuple[Receipt, ...]:
        """All that are not taken. Nobody's lock is tried: that could be the moment in which a
        command wants to hold its own."""
        found: list[Receipt] = []
        for file, _ in self._new_files():
            with contextlib.suppress(OSError, UnusableFile, msgspec.DecodeError):
                found.append(self._read(file)[0])
        return tuple(found)

    def _new_files(self) -> Iterator[tuple[AtomicFile, str]]:
        return ((AtomicFile(self._directory or "", name), name) for name in self._new_names())

    def _read(self, file: AtomicFile) -> tuple[Receipt, int]:
        raw = file.read(_MAX_BYTES, of_owner=self._of_owner)
        return msgspec.json.decode(raw, type=Receipt), len(raw)

    def _new_names(self) -> list[str]:
        return [name for name in self._names(_IS_NAME) if name not in self._taken]

    def _names(self, pattern: re.Pattern[str]) -> list[str]:
        if self._directory is None:
            return []
        try:
            names = sorted(os.listdir(self._directory))
        except OSError:
            return []  # a directory that is gone is told of by who writes there
        return [name for name in names if pattern.search(name)]

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

    def remove_unfinished(self) -> None:
        """Remove what commands left that were killed while they wrote a receipt. One that is
        writing at this moment is told by an error, and writes nothing that is not on record."""
        for name in self._names(_IS_UNFINISHED):
            with contextlib.suppress(OSError):  # renamed meanwhile, or the next start removes it
                os.unlink(os.path.join(self._directory or "", name))
