"""/proc/pressure: the share of time in which tasks waited for a resource."""

import errno
import re
from collections.abc import Callable

from probes.clock import Clock
from probes.errors import NoData, ProbeFailed
from probes.kernelfile import read_kernel_file
from probes.samples import PressureSample

_LINE = re.compile(
    rb"^(some|full) avg10=(\d{1,3}\.\d{1,6}) avg60=(\d{1,3}\.\d{1,6}) avg300=[0-9.]+"
    rb" total=(\d{1,20})$",
    re.MULTILINE,
)
_NOT_SUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT, errno.ENOTDIR)


class PressureProbe:
    """Reads one resource: "io", "cpu" or "memory"."""

    def __init__(
        self,
        clock: Clock,
        resource: str = "io",
        proc_root: str = "/proc",
        *,
        read_file: Callable[[str, int], bytes] = read_kernel_file,
    ) -> None:
        self._clock = clock
        self._path = f"{proc_root}/pressure/{resource}"
        self._read_file = read_file

    def read(self) -> PressureSample:
        """Return the averages as ratios 0..1 and the totals in seconds.

        Raises NoData "no_pressure_stall_information" (kernel without CONFIG_PSI, or psi=0, where
        the file may be absent or refuse to be read), "not_permitted"; ProbeFailed
        "pressure_unreadable". Source: kernel Documentation/accounting/psi.rst; percentages and
        microseconds there. "full" of cpu exists since Linux 5.13.
        """
        try:
            text = self._read_file(self._path, 4096)
        except PermissionError as error:
            raise NoData("not_permitted", f"{self._path} may not be read by this user") from error
        except OSError as error:
            if error.errno in _NOT_SUPPORTED:
                raise NoData(
                    "no_pressure_stall_information",
                    f"{self._path}: {error.strerror}; boot with psi=1 to have it",
                ) from error
            raise ProbeFailed(
                "pressure_unreadable", f"{self._path} cannot be read: {error.strerror}"
            ) from error
        sample = parse_pressure(text, self._clock.monotonic())
        if sample is None:
            raise ProbeFailed(
                "pressure_unreadable", f"{self._path} has no line 'some' in a known format"
            )
        return sample


def parse_pressure(text: bytes, at: float) -> PressureSample | None:
    """Parse the file's two lines; None without a whole line "some"."""
    lines = {found[1]: found for found in _LINE.finditer(text)}
    some = lines.get(b"some")
    full = lines.get(b"full")
    if some is None:
        return None
    return PressureSample(
        at=at,
        some_avg10_ratio=_ratio(some[2]),
        some_avg60_ratio=_ratio(some[3]),
        some_total_seconds=int(some[4]) / 1e6,
        full_avg10_ratio=_ratio(full[2]) if full else None,
        full_avg60_ratio=_ratio(full[3]) if full else None,
        full_total_seconds=int(full[4]) / 1e6 if full else None,
    )


def _ratio(percent: bytes) -> float:
    # The kernel's fixed-point mean can print a little over 100.
    return min(1.0, float(percent) / 100)
