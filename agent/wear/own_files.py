"""Charges what the agent's own files grew by to the devices that they lie on."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from agent.learning.memory import DeviceIdentity
from agent.wear.ledger import WearLedger
from probes.blockdev import BlockDeviceProbe
from probes.clock import Clock
from probes.errors import ProbeError


@dataclass(frozen=True, slots=True)
class Carrier:
    """The device under a path: its account, the kernel's name for it, its size."""

    key: str
    name: str
    size_bytes: int


def carrier_of(path: str, clock: Clock) -> Carrier | None:
    """None where no device can be named: in memory, on the network, on several at once."""
    try:
        sample = BlockDeviceProbe(os.path.realpath(path), clock).read()
    except ProbeError:
        return None
    identity = DeviceIdentity(sample.device.name, sample.size_bytes, sample.model)
    return Carrier(identity.key, sample.device.name, sample.size_bytes)


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A file, or several, that the agent writes; ``written_bytes`` only grows."""

    carrier: Carrier
    purpose: str
    written_bytes: Callable[[], int]


class OwnFiles:
    """What they grow by is charged once a tick."""

    def __init__(self, ledger: WearLedger) -> None:
        self._ledger = ledger
        self._files: list[OwnFile] = []
        self._charged: list[int] = []

    def add(self, file: OwnFile) -> None:
        """Charge this one from now on."""
        self._ledger.open_account(file.carrier.key, file.carrier.size_bytes)
        self._files.append(file)
        self._charged.append(0)

    def charge(self) -> None:
        """Charge what was written since the last time."""
        for index, file in enumerate(self._files):
            written = file.written_bytes()
            if written > self._charged[index]:
                grown = written - self._charged[index]
                self._ledger.charge(file.carrier.key, file.purpose, grown)
                self._charged[index] = written

    def names(self) -> dict[str, str]:
        """The kernel's names of the devices, by account."""
        return {file.carrier.key: file.carrier.name for file in self._files}
