"""What smartctl and nvme print of how worn a drive is. Pure."""

import re
from typing import Annotated, Final, NoReturn, TypeVar

import msgspec

from probes.command import CompletedCommand
from probes.errors import NoData, ProbeFailed
from probes.samples import SmartSample

_NVME_UNIT_BYTES: Final = 512 * 1000
"""NVMe base specification, SMART / Health Information: thousands of 512-byte units."""

_DENIED: Final = ("permission denied", "operation not permitted")
_ASLEEP: Final = re.compile(r"device is in (standby|sleep)", re.IGNORECASE)
_UNSUPPORTED: Final = (
    "unable to detect device type",
    "lacks smart capability",
    "does not support smart",
    "inappropriate ioctl",
    "unknown usb bridge",
)

_REMAINING_ATTRIBUTES: Final = frozenset(
    {
        "SSD_Life_Left",
        "Percent_Lifetime_Remain",
        "Remaining_Lifetime_Perc",
        "Media_Wearout_Indicator",
        "Wear_Leveling_Count",
    }
)
"""Names of smartctl's drive database whose normalized value falls from 100 to 0 over the life."""

_WRITTEN_ATTRIBUTES: Final = {
    "Host_Writes_32MiB": 32 * 1024**2,
    "Host_Writes_GiB": 1024**3,
    "Lifetime_Writes_GiB": 1024**3,
    "Total_Writes_GiB": 1024**3,
}
"""Those that count what the host wrote, and their unit; ``Total_LBAs_Written`` beside them."""

# ACS-3, device statistics log: (page, offset).
_POWER_ON_HOURS: Final = (1, 0x10)
_SECTORS_WRITTEN: Final = (1, 0x18)
_PERCENT_USED: Final = (7, 0x08)

# 128-bit counters come as a number, as a rounded float (old nvme-cli) or as a string.
_Counter = Annotated[float, msgspec.Meta(ge=0)]
_Percent = Annotated[int, msgspec.Meta(ge=0, le=255)]

_BlockBytes = Annotated[int, msgspec.Meta(ge=1, le=2**24)]

_MOST = 2.0**100
"""Bytes or hours above this are a damaged counter, and below zero is another."""


class _Message(msgspec.Struct):
    string: str = ""


class _Smartctl(msgspec.Struct):
    messages: list[_Message] = []
    exit_status: int = 0


class _SmartSupport(msgspec.Struct):
    available: bool = True


class _Used(msgspec.Struct):
    current_percent: _Percent | None = None


class _Spare(msgspec.Struct):
    current_percent: _Percent | None = None
    threshold_percent: _Percent | None = None


class _PowerOn(msgspec.Struct):
    hours: _Counter | None = None


class _NvmeLog(msgspec.Struct):
    percentage_used: _Percent | None = None
    data_units_written: _Counter | None = None
    power_on_hours: _Counter | None = None
    available_spare: _Percent | None = None
    available_spare_threshold: _Percent | None = None


class _Raw(msgspec.Struct):
    value: _Counter = 0


class _Attribute(msgspec.Struct):
    name: str
    value: _Percent | None = None  # smartctl leaves it out where a drive has only the raw one
    raw: _Raw = msgspec.field(default_factory=_Raw)


class _Attributes(msgspec.Struct):
    table: list[_Attribute] = []


class _StatisticFlags(msgspec.Struct):
    valid: bool = False


class _Statistic(msgspec.Struct):
    offset: int
    value: float | None = None
    flags: _StatisticFlags = msgspec.field(default_factory=_StatisticFlags)


class _StatisticsPage(msgspec.Struct):
    number: int
    table: list[_Statistic] = []


class _Statistics(msgspec.Struct):
    pages: list[_StatisticsPage] = []


class _SmartctlReport(msgspec.Struct):
    smartctl: _Smartctl
    model_name: str | None = None
    in_smartctl_database: bool = False
    logical_block_size: _BlockBytes = 512
    smart_support: _SmartSupport | None = None
    endurance_used: _Used | None = None
    spare_available: _Spare | None = None
    scsi_percentage_used_endurance_indicator: _Percent | None = None
    power_on_time: _PowerOn | None = None
    nvme_smart_health_information_log: _NvmeLog | None = None
    ata_smart_attributes: _Attributes | None = None
    ata_device_statistics: _Statistics | None = None


class _NvmeReport(msgspec.Struct):
    percent_used: _Percent
    data_units_written: _Counter | None = None
    power_on_hours: _Counter | None = None
    avail_spare: _Percent | None = None
    spare_thresh: _Percent | None = None


_Report = TypeVar("_Report", _SmartctlReport, _NvmeReport)


def parse_smartctl(completed: CompletedCommand, device_name: str, at: float) -> SmartSample:
    """What ``smartctl --json`` (7.0 and later) told. Raises as ``SmartProbe.read``."""
    # Its exit status has a bit for every complaint of a drive that answered: only the text tells.
    report = _decode(completed, _SmartctlReport, "smartctl", device_name)
    log = report.nvme_smart_health_information_log
    if log is not None:
        return SmartSample(
            at=at,
            source="smartctl, NVMe health log",
            model=report.model_name,
            used_ratio=_ratio(log.percentage_used),
            written_bytes=_times(log.data_units_written, _NVME_UNIT_BYTES),
            power_on_seconds=_hours(log.power_on_hours),
            spare_ratio=_ratio(log.available_spare),
            spare_threshold_ratio=_ratio(log.available_spare_threshold),
        )
    used_ratio, source = _used(report)
    power_on_hours = None if report.power_on_time is None else report.power_on_time.hours
    if power_on_hours is None:
        power_on_hours = _statistic(report, _POWER_ON_HOURS)
    written_bytes = _written_bytes(report)
    if used_ratio is None and written_bytes is None:
        _raise_why_nothing(
            " ".join(message.string for message in report.smartctl.messages),
            device_name,
            supported=report.smart_support is None or report.smart_support.available,
            failed=bool(report.smartctl.exit_status & 0b11),
        )
    spare = report.spare_available or _Spare()
    return SmartSample(
        at=at,
        source=source,
        model=report.model_name,
        used_ratio=used_ratio,
        written_bytes=written_bytes,
        power_on_seconds=_hours(power_on_hours),
        spare_ratio=_ratio(spare.current_percent),
        spare_threshold_ratio=_ratio(spare.threshold_percent),
    )


def parse_nvme(completed: CompletedCommand, device_name: str, at: float) -> SmartSample:
    """What ``nvme smart-log`` told. Raises as ``SmartProbe.read``."""
    if completed.returncode != 0:
        text = (completed.stdout[:2000] + completed.stderr[:2000]).decode("utf-8", "replace")
        _raise_why_nothing(text, device_name, supported=True, failed=True)
    report = _decode(completed, _NvmeReport, "nvme", device_name)
    return SmartSample(
        at=at,
        source="nvme, NVMe health log",
        model=None,
        used_ratio=_ratio(report.percent_used),
        written_bytes=_times(report.data_units_written, _NVME_UNIT_BYTES),
        power_on_seconds=_hours(report.power_on_hours),
        spare_ratio=_ratio(report.avail_spare),
        spare_threshold_ratio=_ratio(report.spare_thresh),
    )


def _decode(
    completed: CompletedCommand, shape: type[_Report], program: str, device_name: str
) -> _Report:
    try:
        # Not strict: counters of 128 bits may be strings.
        return msgspec.json.decode(completed.stdout, type=shape, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProbeFailed(
            "smart_garbage",
            f"{program} printed no JSON that can be read for {device_name} (exit status "
            f"{completed.returncode}): {error}",
        ) from error


def _used(report: _SmartctlReport) -> tuple[float | None, str]:
    """The standard's statistics first; then what smartctl found; then the maker's attributes."""
    percent = _statistic(report, _PERCENT_USED)
    if percent is not None and 0 <= percent <= 255:
        return percent / 100, "smartctl, ATA device statistics"
    indicator = report.scsi_percentage_used_endurance_indicator
    if indicator is not None:
        return indicator / 100, "smartctl, SCSI endurance indicator"
    # The names of a drive that smartctl does not know are guesses.
    if report.in_smartctl_database and report.ata_smart_attributes is not None:
        for attribute in report.ata_smart_attributes.table:
            if attribute.name not in _REMAINING_ATTRIBUTES:
                continue
            remaining = _remaining_percent(attribute)
            if remaining is not None:
                return _ratio(100 - remaining), f"smartctl, attribute {attribute.name}"
    if report.endurance_used is not None and report.ata_smart_attributes is None:
        return _ratio(report.endurance_used.current_percent), "smartctl, endurance_used"
    return None, "smartctl"


def _remaining_percent(attribute: _Attribute) -> int | None:
    """None where the normalized value is none or no share, or the raw one is another share."""
    value = attribute.value
    if value is None or value > 100:
        return None
    if attribute.name == "SSD_Life_Left" and attribute.raw.value not in {0, value}:
        return None
    return value


def _written_bytes(report: _SmartctlReport) -> int | None:
    sectors = _statistic(report, _SECTORS_WRITTEN)
    if sectors is not None:
        return _times(sectors, report.logical_block_size)
    if not report.in_smartctl_database or report.ata_smart_attributes is None:
        return None
    for attribute in report.ata_smart_attributes.table:
        if attribute.name == "Total_LBAs_Written":
            return _times(attribute.raw.value, report.logical_block_size)
        unit_bytes = _WRITTEN_ATTRIBUTES.get(attribute.name)
        if unit_bytes is not None:
            return _times(attribute.raw.value, unit_bytes)
    return None


def _statistic(report: _SmartctlReport, wanted: tuple[int, int]) -> float | None:
    if report.ata_device_statistics is None:
        return None
    for page in report.ata_device_statistics.pages:
        for entry in page.table:
            if (page.number, entry.offset) == wanted and entry.flags.valid:
                return entry.value
    return None


def _raise_why_nothing(text: str, device_name: str, *, supported: bool, failed: bool) -> NoReturn:
    """Nothing was told of a drive, ``text`` says why."""
    words = " ".join(text.split())[:300]
    if _ASLEEP.search(text):
        raise NoData("asleep", f"{device_name} sleeps, and is not woken for this")
    if any(phrase in text.lower() for phrase in _DENIED):
        capability = "CAP_SYS_ADMIN" if device_name.startswith("nvme") else "CAP_SYS_RAWIO"
        raise NoData(
            "permission_denied",
            f"the wear of {device_name} may not be read: it needs the group disk (to open the "
            f"device) and {capability} (to ask it)",
        )
    if not supported or not failed or any(phrase in text.lower() for phrase in _UNSUPPORTED):
        raise NoData("not_supported", f"{device_name} does not tell its wear: {words}".rstrip(": "))
    raise ProbeFailed("smart_failed", f"the wear of {device_name} could not be read: {words}")


def _ratio(percent: int | None) -> float | None:
    return None if percent is None else percent / 100


def _times(units: float | None, unit_bytes: int) -> int | None:
    total = None if units is None else units * unit_bytes
    return int(total) if total is not None and 0 <= total <= _MOST else None


def _hours(hours: float | None) -> float | None:
    return hours * 3600 if hours is not None and 0 <= hours <= _MOST else None
