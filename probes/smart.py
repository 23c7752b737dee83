"""Reads how worn the drives under a device are: smartctl, or nvme where that is all there is.

Never required. What each needs beside the program (smartmontools; nvme-cli): to open the block
device, the group ``disk``; to send it a command, CAP_SYS_RAWIO on SATA and SAS (Linux
block/scsi_ioctl.c) and CAP_SYS_ADMIN on NVMe (drivers/nvme/host/ioctl.c: log pages are no command
for the unprivileged).
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from probes.clock import Clock
from probes.command import CommandRunner
from probes.errors import NoData, ProbeError, ProbeFailed
from probes.samples import BlockLayer, SmartSample
from probes.smart_output import parse_nvme, parse_smartctl

TIMEOUT_SECONDS: Final = 15.0
"""A drive that is in trouble takes seconds for each of the log pages."""

PATIENCE_SECONDS: Final = 25.0
"""For all drives of an array together; those that are not reached are left out."""

_NVME: Final = re.compile(r"nvme\d+n\d+")
_SCSI: Final = re.compile(r"sd[a-z]+")


class SmartProbe:
    """The drives under a device, one or an array's; costs each a few log pages, seldom."""

    def __init__(self, layers: Sequence[BlockLayer], clock: Clock, runner: CommandRunner) -> None:
        self._drives = [layer.name for layer in layers if _is_drive(layer.name)]
        self._bottom = layers[-1].name
        self._clock = clock
        self._runner = runner

    def read(self) -> SmartSample:
        """Ask the drives, unless they sleep; what the most worn of them tells.

        An array lasts as long as its first drive. Raises NoData "no_program", "permission_denied",
        "not_supported", "asleep"; ProbeFailed "smart_garbage", "smart_failed", and those of the
        runner: where no drive tells anything, as the first one answered.
        """
        if not self._drives:
            raise NoData(
                "not_supported",
                f"{self._bottom} is no drive that tells its wear (no sd*, no nvme*)",
            )
        told: dict[str, SmartSample] = {}
        failed: list[ProbeError] = []
        until = self._clock.monotonic() + PATIENCE_SECONDS
        for name in self._drives:
            left = until - self._clock.monotonic()
            if left <= 0:
                break
            try:
                told[name] = self._ask(name, min(left, TIMEOUT_SECONDS))
            except ProbeError as error:
                failed.append(error)
        if not told:
            raise failed[0]
        worst = max(told, key=lambda name: _wear(told[name]))
        if len(self._drives) == 1:
            return told[worst]
        silent = len(self._drives) - len(told)
        of = f"{worst}, the most worn of {len(self._drives)} drives"
        if silent:
            of += f", {silent} of which did not tell"
        return replace(told[worst], source=f"{told[worst].source} of {of}")

    def _ask(self, name: str, timeout_seconds: float) -> SmartSample:
        path = f"/dev/{name}"
        try:
            # devstat: the wear of SATA drives as the standard has it, where they tell it.
            argv = ("smartctl", "--json", "-a", "-l", "devstat", "-n", "standby", path)
            completed = self._runner.run(argv, timeout_seconds=timeout_seconds)
        except ProbeFailed as failure:
            if failure.reason != "program_missing":
                raise
            if not _NVME.fullmatch(name):
                raise NoData("no_program", "smartctl not found; install smartmontools") from None
            return self._ask_nvme(name, timeout_seconds)
        return parse_smartctl(completed, name, self._clock.monotonic())

    def _ask_nvme(self, name: str, timeout_seconds: float) -> SmartSample:
        argv = ("nvme", "smart-log", "--output-format=json", f"/dev/{name}")
        try:
            completed = self._runner.run(argv, timeout_seconds=timeout_seconds)
        except ProbeFailed as failure:
            if failure.reason != "program_missing":
                raise
            raise NoData(
                "no_program", "smartctl and nvme not found; install smartmontools or nvme-cli"
            ) from None
        return parse_nvme(completed, name, self._clock.monotonic())


def _is_drive(name: str) -> bool:
    """Not so the hidden paths of a multipath NVMe (nvme0c0n1): its head is asked."""
    return _NVME.fullmatch(name) is not None or _SCSI.fullmatch(name) is not None


def _wear(sample: SmartSample) -> tuple[float, float]:
    """By the endurance used, then by the spare blocks lost; what is not told counts as none."""
    used, spare = sample.used_ratio, sample.spare_ratio
    return (-1.0 if used is None else used, 0.0 if spare is None else 1.0 - spare)
