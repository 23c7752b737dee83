"""/proc/diskstats: what every block device has done since boot, and rates between two readings."""

from dataclasses import dataclass

from probes.clock import Clock
from probes.errors import NoData, ProbeFailed
from probes.kernelfile import read_kernel_file
from probes.samples import DiskCounters, DiskstatsSample

DISKSTATS_LIMIT_BYTES = 4 * 1024 * 1024
"""About 100 bytes a device: forty thousand devices."""

_IDENTITY_FIELDS = 3  # major, minor, name
_BASE_FIELDS = 11
_WITH_DISCARDS = 15  # Linux 4.18
_WITH_FLUSHES = 17  # Linux 5.5
_MAX_DIGITS = 20  # 2**64 has 20


class DiskstatsProbe:
    """Reads all devices at once: one file, whatever the number of databases."""

    def __init__(self, clock: Clock, proc_root: str = "/proc") -> None:
        self._clock = clock
        self._path = f"{proc_root}/diskstats"

    def read(self) -> DiskstatsSample:
        """Return every device's counters; lines that cannot be understood are left out.

        Raises NoData "no_diskstats" (absent, as in some sandboxes), "not_permitted"; ProbeFailed
        "diskstats_unreadable". Source: kernel Documentation/admin-guide/iostats.rst.
        """
        try:
            text = read_kernel_file(self._path, DISKSTATS_LIMIT_BYTES)
        except FileNotFoundError as error:
            raise NoData(
                "no_diskstats", f"{self._path} does not exist; this host hides its block devices"
            ) from error
        except PermissionError as error:
            raise NoData("not_permitted", f"{self._path} may not be read by this user") from error
        except OSError as error:
            raise ProbeFailed(
                "diskstats_unreadable", f"{self._path} cannot be read: {error.strerror}"
            ) from error
        at = self._clock.monotonic()
        disks: dict[str, DiskCounters] = {}
        for line in text.split(b"\n"):
            counters = parse_diskstats_line(line)
            if counters is not None:
                disks[counters.devnum] = counters
        return DiskstatsSample(at=at, disks=disks)


def parse_diskstats_line(line: bytes) -> DiskCounters | None:
    """Parse one line of 11, 15, 17 or more counters; None when it is damaged or too short.

    Counters that later kernels may append are ignored.
    """
    fields = line.split()
    numbers = fields[_IDENTITY_FIELDS:]
    if len(numbers) < _BASE_FIELDS:
        return None
    for field in (*fields[:2], *numbers):
        if not field.isdigit() or len(field) > _MAX_DIGITS:
            return None
    values = [int(field) for field in numbers]
    discards = values[_BASE_FIELDS:_WITH_DISCARDS] if len(values) >= _WITH_DISCARDS else None
    flushes = values[_WITH_DISCARDS:_WITH_FLUSHES] if len(values) >= _WITH_FLUSHES else None
    return DiskCounters(
        name=fields[2].decode("utf-8", "replace"),
        devnum=f"{int(fields[0])}:{int(fields[1])}",
        reads_completed=values[0],
        reads_merged=values[1],
        sectors_read=values[2],
        read_milliseconds=values[3],
        writes_completed=values[4],
        writes_merged=values[5],
        sectors_written=values[6],
        write_milliseconds=values[7],
        ios_in_progress=values[8],
        io_milliseconds=values[9],
        weighted_io_milliseconds=values[10],
        discards_completed=discards[0] if discards else None,
        discards_merged=discards[1] if discards else None,
        sectors_discarded=discards[2] if discards else None,
        discard_milliseconds=discards[3] if discards else None,
        flushes_completed=flushes[0] if flushes else None,
        flush_milliseconds=flushes[1] if flushes else None,
    )


@dataclass(frozen=True, slots=True)
class DiskRates:
    """What one device did between two readings.

    Awaits are mean seconds per completed request, from submission to completion, queueing
    included; None when no request completed. ``mean_queue_depth`` is the mean number of requests
    in flight. ``busy_ratio`` is the share of time with at least one request in flight, 0..1: on an
    SSD, which serves many at once, 1 does not mean saturated.
    """

    write_bytes_per_second: float
    read_bytes_per_second: float
    writes_per_second: float
    reads_per_second: float
    write_await_seconds: float | None
    read_await_seconds: float | None
    mean_queue_depth: float
    busy_ratio: float


def disk_rates(
    before: DiskCounters, after: DiskCounters, elapsed_seconds: float
) -> DiskRates | None:
    """Return the rates between two readings of one device, or None when there are none.

    None when a counter went backwards (a reset, or a wrap: the millisecond fields are 32 bits
    wide even on 64-bit kernels, so that weighted time wraps after 1.5 days at queue depth 32),
    when no time has passed, or when the number now belongs to a device of another name.
    """
    # Written so that NaN gives None, too.
    if before.name != after.name or not elapsed_seconds > 0:
        return None
    written = after.written_bytes - before.written_bytes
    read = after.read_bytes - before.read_bytes
    writes = after.writes_completed - before.writes_completed
    reads = after.reads_completed - before.reads_completed
    write_milliseconds = after.write_milliseconds - before.write_milliseconds
    read_milliseconds = after.read_milliseconds - before.read_milliseconds
    weighted_milliseconds = after.weighted_io_milliseconds - before.weighted_io_milliseconds
    busy_milliseconds = after.io_milliseconds - before.io_milliseconds
    differences = (
        written,
        read,
        writes,
        reads,
        write_milliseconds,
        read_milliseconds,
        weighted_milliseconds,
        busy_milliseconds,
    )
    if min(differences) < 0:
        return None
    return DiskRates(
        write_bytes_per_second=written / elapsed_seconds,
        read_bytes_per_second=read / elapsed_seconds,
        writes_per_second=writes / elapsed_seconds,
        reads_per_second=reads / elapsed_seconds,
        write_await_seconds=write_milliseconds / 1000 / writes if writes else None,
        read_await_seconds=read_milliseconds / 1000 / reads if reads else None,
        mean_queue_depth=weighted_milliseconds / 1000 / elapsed_seconds,
        # The counter and our clock are not read at the same instant, so it can pass 1 by a hair.
        busy_ratio=min(1.0, busy_milliseconds / 1000 / elapsed_seconds),
    )
