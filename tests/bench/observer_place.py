"""Where the observed database lives: a throttled slow device, or a plain directory."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from tests.bench.truth.slow_device import SlowDevice


class Place(Protocol):
    """A directory for databases, and how programs that write to it are started."""

    described: str

    @property
    def directory(self) -> Path:
        """On the device under test."""

    def inside(self, argv: Sequence[str]) -> list[str]:
        """The command that runs ``argv`` under the same limits as everything else."""

    def on_leaving(self, end: Callable[[], None]) -> None:
        """Call ``end`` before the place is removed."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class SlowPlace:
    """On a loop device whose disk is throttled for the writers' cgroup; needs root."""

    def __init__(self, work: Path, size_bytes: int, megabytes_per_second: float) -> None:
        self._device = SlowDevice(work, size_bytes, megabytes_per_second * 1e6)
        self.described = f"a device throttled to {megabytes_per_second:g} MB/s of writes"

    @property
    def directory(self) -> Path:
        return self._device.mount

    def inside(self, argv: Sequence[str]) -> list[str]:
        return self._device.group.inside(argv)

    def on_leaving(self, end: Callable[[], None]) -> None:
        self._device.on_leaving(end)

    def __enter__(self) -> Self:
        self._device.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._device.__exit__(kind, error, trace)


class PlainPlace:
    """A private directory on the disk as it is."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._stack = ExitStack()
        self.described = f"the disk of {work}"

    @property
    def directory(self) -> Path:
        return self._directory

    def inside(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def on_leaving(self, end: Callable[[], None]) -> None:
        self._stack.callback(end)

    def __enter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="smaxd-observer-", dir=self._work))
        self._stack.callback(shutil.rmtree, self._directory, ignore_errors=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
