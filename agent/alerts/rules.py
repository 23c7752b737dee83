"""What is watched, and the thresholds: each rule sees one number per database, device or probe."""

from dataclasses import dataclass
from typing import ClassVar, Final

import msgspec


class RuleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When one alert begins and ends.

    It begins when the value has been at or beyond ``threshold`` for ``for_seconds`` without a
    break, and ends when it is back at ``clear`` or better: between the two it stays as it is.
    """

    threshold: float
    clear: float
    for_seconds: float
    enabled: bool = True


class AlertSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rules by name."""

    headroom_low_warning: RuleSettings = RuleSettings(0.20, 0.25, 300.0)
    headroom_low_critical: RuleSettings = RuleSettings(0.05, 0.10, 120.0)
    s_max_dropped: RuleSettings = RuleSettings(0.70, 0.80, 300.0)
    device_bandwidth_declined: RuleSettings = RuleSettings(0.80, 0.90, 300.0)
    stall_ahead: RuleSettings = RuleSettings(300.0, 600.0, 0.0)
    write_delayed: RuleSettings = RuleSettings(1.0, 0.0, 30.0)
    write_stopped: RuleSettings = RuleSettings(1.0, 0.0, 0.0)
    background_error: RuleSettings = RuleSettings(1.0, 0.0, 0.0)
    probe_failing: RuleSettings = RuleSettings(1.0, 0.0, 300.0)
    data_stale: RuleSettings = RuleSettings(1.0, 0.0, 120.0)

    WORSE_IS_LOWER: ClassVar[frozenset[str]] = frozenset(
        {
            "headroom_low_warning",
            "headroom_low_critical",
            "s_max_dropped",
            "device_bandwidth_declined",
            "stall_ahead",
        }
    )

    def by_name(self) -> dict[str, RuleSettings]:
        """Every rule's settings."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


SEVERITY: Final = {
    "headroom_low_warning": "warning",
    "headroom_low_critical": "critical",
    "s_max_dropped": "warning",
    "device_bandwidth_declined": "warning",
    "stall_ahead": "warning",
    "write_delayed": "warning",
    "write_stopped": "critical",
    "background_error": "critical",
    "probe_failing": "warning",
    "data_stale": "warning",
}


@dataclass(frozen=True, slots=True)
class Observation:
    """One rule's number on one subject, this tick; ``value`` None where it is not known.

    Rules about a condition (a stall, a failing probe) observe 1.0 or 0.0.
    """

    alert: str
    database: str
    device: str
    value: float | None
    summary: str

    @property
    def severity(self) -> str:
        """The rule's severity."""
        return SEVERITY[self.alert]

    @property
    def worse_is_lower(self) -> bool:
        """Whether the alert is about a value that fell, rather than one that rose."""
        return self.alert in AlertSettings.WORSE_IS_LOWER
