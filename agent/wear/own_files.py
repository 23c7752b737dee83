"""The budgets of the agent's own files, each on the account of the device that it lies on.

    own_files = OwnFiles(ledger, clock, log)
    budget = own_files.budget(directory, "history")   # a WriteBudget, for one file and one writer
    own_files.names      # the kernel's names of the devices, by account
    own_files.close()    # what was set aside and not written may be written by others again

Before a file is written its bytes are on record. Once it is written, those of the next time are set
aside, and as many more as it has taken in this run: one record soon does for many small writes, and
the next of them waits for nothing but its own file. A run that is killed has spent what was set
aside, so one that is killed again and again in its first seconds wastes little.

What is told of alerts, and what operators order, is never refused: losing it repeats or loses what
people are told. It counts all the same.
"""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from agent.learning.memory import DeviceIdentity
from agent.wear.accounts import Advance
from agent.wear.budget import Refused
from agent.wear.ledger import WearLedger
from probes.blockdev import BlockDeviceProbe
from probes.clock import Clock
from probes.errors import ProbeError
from probes.mountinfo import Mount, find_mount, mount_id_of, read_mountinfo

IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
"""File systems that wear nothing out."""

Logger = structlog.typing.FilteringBoundLogger


@dataclass(frozen=True, slots=True)
class Carrier:
    """What a path lies on: its account, its name, its size."""

    key: str
    name: str
    size_bytes: int


def carrier_of(path: str, clock: Clock) -> Carrier | None:
    """The device under a path. Where none can be named (an overlay, a network, several devices),
    its file system, on an account of its own with the least limit. None in memory, and where there
    is no such path."""
    path = os.path.realpath(path)
    try:
        sample = BlockDeviceProbe(path, clock).read()
    except ProbeError:
        mount = _mount_of(path)
        if mount is None or mount.filesystem_type in IN_MEMORY:
            return None
        name = f"{mount.filesystem_type} on {mount.mount_point}"
        return Carrier(name, name, 0)
    identity = DeviceIdentity.of(sample)
    return Carrier(identity.key, sample.device.name, sample.size_bytes)


def _mount_of(path: str) -> Mount | None:
    try:
        return find_mount(read_mountinfo("/proc", "self"), mount_id_of(path))
    except (OSError, ValueError):
        return None


class OwnFiles:
    """One per agent."""

    def __init__(self, ledger: WearLedger, clock: Clock, log: Logger) -> None:
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        self._names: dict[str, str] = {}
        self._not_counted: set[str] = set()
        self._budgets: dict[FileBudget, None] = {}

    @property
    def names(self) -> Mapping[str, str]:
        """The kernel's names of the devices, by account; grows with what lies where."""
        return self._names

    def budget(self, directory: str, purpose: str, *, vital: bool = False) -> "FileBudget":
        """For one file in ``directory``; what is ``vital`` is counted, and never refused."""
        budget = FileBudget(self, self._ledger, directory, purpose, vital=vital)
        with self._lock:
            self._budgets[budget] = None
        return budget

    def carrier(self, directory: str) -> Carrier | None:
        """What a directory lies on, with its account opened; where that is none, it is told once.

        Waits for the directory's file system.
        """
        carrier = carrier_of(directory, self._clock)
        with self._lock:
            if carrier is not None:
                self._ledger.open_account(carrier.key, carrier.size_bytes)
                self._names = {**self._names, carrier.key: carrier.name}
            elif directory not in self._not_counted:
                self._not_counted.add(directory)
                self._log.info(
                    "wear_not_counted",
                    directory=directory,
                    detail="it lies in memory, or there is no such directory",
                )
        return carrier

    def forget(self, budget: "FileBudget") -> None:
        """Nothing more is written out of it."""
        with self._lock:
            self._budgets.pop(budget, None)

    def close(self) -> None:
        """Give back what was set aside, but for what is being written at this moment."""
        with self._lock:
            budgets = list(self._budgets)
        for budget in budgets:
            budget.close()


class FileBudget:
    """What one file may write. ``ask`` and ``done`` belong to its writer's thread."""

    def __init__(
        self, own_files: OwnFiles, ledger: WearLedger, directory: str, purpose: str, *, vital: bool
    ) -> None:
        self._own_files = own_files
        self._ledger = ledger
        self._directory = directory
        self._purpose = purpose
        self._vital = vital
        self._lock = threading.Lock()
        self._writing = False
        self._closed = False
        self._advance: Advance | None = None
        self._size_bytes = 0  # of what was asked for last
        self._written_bytes = 0
        self._carrier: Carrier | None = None

    def ask(self, size_bytes: int) -> str | None:
        """Before so much is written: None when it may be, else why not. Waits for the device."""
        # Only now: the disk may be dead, and whoever writes to it waits for it in any case.
        if self._carrier is None:
            self._carrier = self._own_files.carrier(self._directory)
        if self._carrier is None:
            return None
        with self._lock:
            self._writing, self._size_bytes = True, size_bytes
            advance, spare_bytes = self._advance, self._written_bytes
        answer = self._ledger.top_up(
            self._carrier.key, self._purpose, advance, size_bytes, spare_bytes, vital=self._vital
        )
        with self._lock:
            if isinstance(answer, Refused):
                self._writing = False
                return answer.detail
            self._advance = answer
        return None

    def done(self, written_bytes: int) -> None:
        """So much of it was written, and nothing is under way any more. Never waits."""
        with self._lock:
            self._writing = False
            self._written_bytes += written_bytes
            if self._carrier is None:
                return
            key, purpose = self._carrier.key, self._purpose
            self._ledger.draw(key, purpose, self._advance, written_bytes)
            if self._closed:
                return
            spare_bytes = self._written_bytes
            answer = self._ledger.top_up(
                key, purpose, self._advance, self._size_bytes, spare_bytes, wait=False
            )
            if not isinstance(answer, Refused):
                self._advance = answer

    def close(self) -> None:
        """Give back what is left, unless it is being written just now."""
        self._own_files.forget(self)
        with self._lock:
            self._closed = True
            if self._carrier is None or self._advance is None or self._writing:
                return
            self._ledger.give_back(self._carrier.key, self._advance)
            self._advance = None
