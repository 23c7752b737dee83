"""One directory that holds files of a database: the device under it, and where it really lies."""

import os
from collections.abc import Callable

from agent.readings import Known
from agent.schedule import Slot
from probes.blockdev import BlockDeviceProbe
from probes.clock import Clock
from probes.samples import BlockDeviceSample

DEVICE_CADENCE_SECONDS = 60.0
"""Mounts and free space change slowly; looking once a minute is enough."""

LITTLE_SPACE_RATIO = 0.1
"""With less than this of a file system free its space is looked at with every tick: it may run out
within the minute, and once there is room again nobody should have to wait for it to be seen."""


def really_at(path: str) -> str:
    """Where a directory lies, links followed; left as it is where they lead to another one: the
    root of a container's process is a link that reads "/"."""
    real = os.path.realpath(path)
    try:
        return real if os.path.samefile(real, path) else path
    except OSError:
        return path if os.path.exists(path) else real


class DatabasePlace:
    """Looked at in its slot's thread only: of a dead disk others have what was last seen."""

    def __init__(
        self,
        path: str,
        clock: Clock,
        slot_of: Callable[["DatabasePlace"], Slot[BlockDeviceSample]],
    ) -> None:
        self.path = path
        self.real_path = path
        """Links followed, as of the last look."""
        self._probe = BlockDeviceProbe(path, clock)
        self._last: BlockDeviceSample | None = None
        self.slot = slot_of(self)

    def read(self) -> BlockDeviceSample:
        """As the probe's own."""
        self.real_path = really_at(self.path)
        self._last = self._probe.read()
        return self._last

    def pace(self, now: float, tick_seconds: float) -> None:
        """Look as often as its space asks for."""
        answer = self.slot.answer(now)
        if isinstance(answer, Known):
            sample = answer.value
            little = LITTLE_SPACE_RATIO * sample.filesystem_size_bytes
            short = sample.filesystem_free_bytes < little
            self.slot.pace(tick_seconds if short else DEVICE_CADENCE_SECONDS)

    def may_share(self, now: float, shares: Callable[[BlockDeviceSample], bool]) -> bool:
        """Whether its device is one for which ``shares`` holds, in doubt yes."""
        answer = self.slot.answer(now)
        if isinstance(answer, Known):
            return shares(answer.value)
        if answer.reason == "timeout":
            # What has never answered lies on no device that does.
            return self._last is not None and shares(self._last)
        return answer.reason != "path_missing"  # an old LOG may name directories that are no more
