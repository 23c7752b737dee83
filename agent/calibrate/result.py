"""What ``smaxd calibrate`` measured: a label for this database's models, kept between runs.

The integrator's use: ``decode(bytes)`` gives a ``CalibrationResult``; ``usable`` says whether it
may replace a prior, ``puts_per_second`` is the rate, ``device.capacity`` the sustained capacity.
It holds for the same database path (None: made without one), the same device and unchanged
options (``options_digest``), which the reader compares. Values are SI base units; ``None`` means
not known, never zero.
"""

from typing import Final, Literal

import msgspec

FORMAT_VERSION: Final = 1

_LEAST_RATE: Final = 1e-6
_MOST_RATE: Final = 1e15
_MOST_BYTES: Final = 1e24

SOURCE: Final = "calibrate"
"""How a value out of this file is labelled wherever it is shown."""

Limit = Literal["database", "writer", "cpu", "unknown"]
"""What held the puts back: ``database`` its own stalls and delays, ``writer`` the one Python
thread that puts, ``cpu`` the host's cores, ``unknown`` none of them visibly."""


class OptionChange(msgspec.Struct, frozen=True):
    """An option with which the scratch database differs from the watched one, and why."""

    name: str
    watched: str | None
    scratch: str | None
    reason: str


class SaturatedWindow(msgspec.Struct, frozen=True):
    """The second half of the closed-loop phase.

    ``stopped_ratio`` and ``delayed_ratio`` are shares of its time by the scratch LOG. ``steady``
    is whether level-0 files and pending bytes show no trend.
    """

    seconds: float
    puts: int
    puts_per_second: float
    spread_ratio: float | None  # standard error of the mean / mean, over blocks of the window
    stopped_ratio: float
    delayed_ratio: float
    level0_files_mean: float
    level0_files_change: float | None
    pending_compaction_bytes_mean: float
    pending_compaction_bytes_change: float | None
    steady: bool


class OpenLoopCheck(msgspec.Struct, frozen=True):
    """Whether 95 % of the measured rate, offered with intended arrival times, was held."""

    seconds: float
    offered_puts_per_second: float
    accepted_ratio: float
    stopped_ratio: float
    delayed_ratio: float
    held: bool
    detail: str


class DeviceUse(msgspec.Struct, frozen=True):
    """The device in the saturated window, from /proc/diskstats.

    ``own`` is what the scratch database wrote, ``foreign`` the rest. ``lower_bound`` is False when
    the device was demonstrably the limit: its queue full, or a known limit reached.
    """

    write_bytes_per_second: float
    own_write_bytes_per_second: float
    foreign_write_bytes_per_second: float
    read_bytes_per_second: float
    busy_ratio: float
    mean_queue_depth: float
    limit_bytes_per_second: float | None
    lower_bound: bool


class CpuUse(msgspec.Struct, frozen=True):
    """CPU in the saturated window, in cores; ``writer`` is the putting thread, at most 1."""

    writer: float | None
    compaction: float | None
    flush: float | None
    host_busy_ratio: float | None
    cores: float


class Records(msgspec.Struct, frozen=True):
    """What was put. ``incompressible_ratio``: share of a value that compression cannot remove."""

    key_bytes: int
    value_bytes: int
    incompressible_ratio: float
    key_order: Literal["random", "sequential"]
    batch_puts: int
    wal_enabled: bool
    source: str

    @property
    def record_bytes(self) -> int:
        """User bytes of one put."""
        return self.key_bytes + self.value_bytes


class CalibrationResult(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Parts that an interrupted run did not reach are None.

    ``puts_per_second`` is the saturated mean, lowered to what was accepted when the check at 95 %
    did not hold; ``at_least`` when something other than the database was the limit.
    ``written_bytes_per_put`` is by cause ("wal", "flush", "compaction") and "device", everything
    that reached the device for it, the file system's own included.
    """

    format_version: int = FORMAT_VERSION
    measured_wall_seconds: float
    smaxd_version: str
    database: str | None
    database_bytes: float | None  # the watched database's tables, where known
    scratch_bytes_end: float | None  # the scratch database's tables at the end
    device_name: str
    device_devnum: str
    device_size_bytes: int
    filesystem_type: str
    library_version: str
    watched_version: str | None
    options_digest: str | None  # of the watched OPTIONS file; None: defaults
    options_key: str | None  # the same as the daemon's memory compares them
    options: dict[str, str]  # those that decide about flush, compaction and stalls
    options_changed: tuple[OptionChange, ...]
    records: Records
    puts_per_second: float | None
    at_least: bool
    limit: Limit
    saturated: SaturatedWindow | None
    check: OpenLoopCheck | None
    device: DeviceUse | None
    cpu: CpuUse | None
    written_bytes_per_put: dict[str, float]
    written_bytes: int
    seconds: float
    ended_by: str | None  # why the run ended before its time; None: it did not
    notes: tuple[str, ...]
    source: str = SOURCE
    device_model: str | None = None  # as in BlockDeviceSample

    @property
    def usable(self) -> bool:
        """Whether the rate may stand for the database: measured to the end of a steady window,
        and the database (not the writer) was the limit."""
        return (
            self.puts_per_second is not None
            and self.saturated is not None
            and self.saturated.steady
            and not self.at_least
        )

    @property
    def sustained_capacity(self) -> float | None:
        """The device's sustained write rate, bytes/s; None unless it was the limit."""
        if self.device is None or self.device.lower_bound:
            return None
        return self.device.write_bytes_per_second


def encode(result: CalibrationResult) -> bytes:
    """The file's content: indented JSON."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"


def decode(content: bytes) -> CalibrationResult:
    """Read what ``encode`` wrote; ValueError for anything else, a newer format included."""
    result = msgspec.json.decode(content, type=CalibrationResult)
    if result.format_version != FORMAT_VERSION:
        raise ValueError(f"format {result.format_version} is not {FORMAT_VERSION}")
    rates = (result.puts_per_second, result.sustained_capacity)
    if not all(rate is None or _LEAST_RATE <= rate <= _MOST_RATE for rate in rates):
        raise ValueError(f"rates of {rates} a second cannot be")
    if result.records.record_bytes <= 0:
        raise ValueError(f"records of {result.records.record_bytes} bytes cannot be")
    sizes = (result.database_bytes, result.scratch_bytes_end)
    if not all(size is None or size == 0 or 1.0 <= size <= _MOST_BYTES for size in sizes):
        raise ValueError(f"databases of {sizes} bytes cannot be")
    return result
