"""Watches the live databases beside a calibration: none of them may be made to stall by it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.calibrate.options import parse
from agent.readings import Known, Missing
from probes.blockdev import BlockDeviceProbe
from probes.clock import Clock
from probes.errors import ProbeError
from probes.rocksdb.fingerprint import FingerprintProbe
from probes.rocksdb.log import LogProbe
from probes.rocksdb.options import MAX_OPTIONS_BYTES, OptionsProbe
from probes.rocksdb.options_samples import OptionsSample
from probes.rocksdb.samples import LogSample
from probes.samples import BlockDeviceSample

LOOK_SECONDS: Final = 0.25
"""Between two readings of a LOG: an abort within a second, at 0.1 ms each."""

_LEVELS_WITH_STALLS = {"DEBUG_LEVEL", "INFO_LEVEL", "WARN_LEVEL"}


@dataclass(frozen=True, slots=True)
class Watched:
    """A live database on the device, and why its stalls could not be seen (None: they can)."""

    path: str
    blind: str | None


class StallGuard:
    """The databases among ``paths`` that are open and share a disk with ``device``."""

    def __init__(self, paths: Sequence[str], device: BlockDeviceSample, clock: Clock) -> None:
        self._clock = clock
        self._logs: dict[str, LogProbe] = {}
        self._next_look = 0.0
        self.watched: tuple[Watched, ...] = tuple(
            self._watch(path)
            for path in dict.fromkeys(map(os.path.realpath, paths))
            if _is_open(path, clock) and shares_disk(path, device, clock)
        )

    def close(self) -> None:
        """Give the descriptors back."""
        for log in self._logs.values():
            log.close()

    def stalled(self, *, at_once: bool = False) -> str | None:
        """Name the database that stalls, and why; None: none does, as far as can be seen."""
        now = self._clock.monotonic()
        if now < self._next_look and not at_once:
            return None
        self._next_look = now + LOOK_SECONDS
        for path, log in self._logs.items():
            answer = _answer(log, self._clock)
            # Not agent.stalls: a LOG that has only warnings is no answer there, but is one here.
            if isinstance(answer, Known) and answer.value.stalls:
                first = answer.value.stalls[0]
                return f"{path} is {first.state} by {first.cause} ({first.column_family})"
        return None

    def _watch(self, path: str) -> Watched:
        options: OptionsSample | None = None
        level: str | None = None
        try:
            options = OptionsProbe(path, self._clock).read()
            level = parse(read_options_text(path, options)).value("info_log_level")
        except (ProbeError, OSError):
            pass  # said below: without OPTIONS nothing is known of the LOG's level
        log = LogProbe(path, self._clock, None if options is None else options.db_log_dir)
        answer = _answer(log, self._clock)
        self._logs[path] = log
        blind = None
        if isinstance(answer, Missing):
            blind = answer.detail
        elif not answer.value.has_events and level not in _LEVELS_WITH_STALLS:
            blind = f"its LOG has level {level or 'unknown'} and hides warnings"
        return Watched(path, blind)


def read_options_text(path: str, options: OptionsSample) -> str:
    """The OPTIONS file's text as it stands; raises OSError."""
    with open(
        os.path.join(path, options.file_name), encoding="utf-8", errors="surrogateescape"
    ) as file:
        return file.read(MAX_OPTIONS_BYTES)


def shares_disk(path: str, device: BlockDeviceSample, clock: Clock) -> bool:
    """Whether any block device under ``path`` is one under the other, in case of doubt yes."""
    try:
        mine = BlockDeviceProbe(path, clock).read()
    except ProbeError:
        return True
    return have_layer_in_common(mine, device)


def have_layer_in_common(one: BlockDeviceSample, other: BlockDeviceSample) -> bool:
    """Whether a block device is under both: the disk of two partitions, one disk of an array."""
    return bool(_layers(one) & _layers(other))


def _layers(sample: BlockDeviceSample) -> set[str]:
    return {layer.devnum for layer in sample.layers} | {sample.device.devnum}


def _is_open(path: str, clock: Clock) -> bool:
    try:
        return FingerprintProbe(path, clock).read().owner_pid is not None
    except ProbeError:
        return False


def _answer(log: LogProbe, clock: Clock) -> Known[LogSample] | Missing:
    try:
        return Known(log.read(), "log", clock.monotonic())
    except ProbeError as error:
        return Missing(error.reason, error.detail)
