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
class _OwnFile:
    carrier: Carrier
    purpose: str
    written_bytes: Callable[[], int]


class OwnFiles:
    """What they grow by is charged once a tick."""

    def __init__(self, ledger: WearLedger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._files: list[_OwnFile] = []
        self._charged: list[int] = []

    def add(
        self, directory: str | None, purpose: str, written_bytes: Callable[[], int]
    ) -> Carrier | None:
        """Charge from now on what grows in ``directory``; nothing where it is None or lies on no
        device that can be named. ``written_bytes`` counts from the start of the agent."""
        carrier = None if directory is None else carrier_of(directory, self._clock)
        if carrier is not None:
            self._ledger.open_account(carrier.key, carrier.size_bytes)
            self._files.append(_OwnFile(carrier, purpose, written_bytes))
            self._charged.append(0)
        return carrier

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
