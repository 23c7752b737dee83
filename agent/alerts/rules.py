"""What is watched, and the thresholds: each rule sees one number per database, device or probe."""

from dataclasses import dataclass
from typing import ClassVar, Final

import msgspec

from agent.delivery.settings import DeliverySettings


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
    compaction_debt_growing: RuleSettings = RuleSettings(3600.0, 1800.0, 900.0)
    write_delayed: RuleSettings = RuleSettings(1.0, 0.0, 30.0)
    write_stopped: RuleSettings = RuleSettings(1.0, 0.0, 0.0)
    background_error: RuleSettings = RuleSettings(1.0, 0.0, 0.0)
    model_miscalibrated: RuleSettings = RuleSettings(0.60, 0.75, 300.0)
    probe_failing: RuleSettings = RuleSettings(1.0, 0.0, 300.0)
    data_stale: RuleSettings = RuleSettings(1.0, 0.0, 120.0)

    WORSE_IS_LOWER: ClassVar[frozenset[str]] = frozenset(
        {
            "headroom_low_warning",
            "headroom_low_critical",
            "s_max_dropped",
            "device_bandwidth_declined",
            "stall_ahead",
            "model_miscalibrated",
        }
    )

    def by_name(self) -> dict[str, RuleSettings]:
        """Every rule's settings."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class AlertingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When people are told of alerts; how they are, ``docs/alerts.md`` says in full.

    ``group_wait_seconds``: how long the first news of a group waits for more of it.
    ``cooldown_seconds``: after a group was told of as firing, so long nothing of it is told again
    that is no worse. ``repeat_seconds``: how often what fires is repeated, 0 never.
    ``escalate_after_repeats``: from so many repeats on that nobody acknowledged, they are
    escalations, 0 never. ``delivery``: who is told, and when.
    """

    group_wait_seconds: float = 30.0
    cooldown_seconds: float = 300.0
    repeat_seconds: float = 14400.0
    escalate_after_repeats: int = 3
    delivery: DeliverySettings = DeliverySettings()


SEVERITY: Final = {
    "headroom_low_warning": "warning",
    "headroom_low_critical": "critical",
    "s_max_dropped": "warning",
    "device_bandwidth_declined": "warning",
    "stall_ahead": "warning",
    "compaction_debt_growing": "warning",
    "write_delayed": "warning",
    "write_stopped": "critical",
    "background_error": "critical",
    "model_miscalibrated": "warning",
    "probe_failing": "warning",
    "data_stale": "warning",
}

ALERT_NAME: Final = {
    "headroom_low_warning": "RocksdbWriteHeadroomLow",
    "headroom_low_critical": "RocksdbWriteHeadroomLow",
    "s_max_dropped": "RocksdbSustainableRateDropped",
    "device_bandwidth_declined": "SsdWriteBandwidthDegraded",
    "stall_ahead": "RocksdbWriteStallPredicted",
    "compaction_debt_growing": "RocksdbCompactionDebtGrowing",
    "write_delayed": "RocksdbWriteDelayed",
    "write_stopped": "RocksdbWriteStopped",
    "background_error": "RocksdbBackgroundError",
    "model_miscalibrated": "SmaxModelMiscalibrated",
    "probe_failing": "SmaxProbeFailing",
    "data_stale": "SmaxPredictionStale",
}
"""What each rule's alert is called wherever people see it; with its severity it names the rule."""

RULE_OF: Final = {(name, SEVERITY[rule]): rule for rule, name in ALERT_NAME.items()}
"""The rule of an alert by its name and severity."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One rule's number on one subject, this tick; ``value`` None where it is not known.

    Rules about a condition (a stall, a failing probe) observe 1.0 or 0.0.
    """

    rule: str
    database: str
    device: str
    value: float | None
    summary: str

    @property
    def alert(self) -> str:
        """The name of the rule's alert."""
        return ALERT_NAME[self.rule]

    @property
    def severity(self) -> str:
        """The rule's severity."""
        return SEVERITY[self.rule]

    @property
    def worse_is_lower(self) -> bool:
        """Whether the alert is about a value that fell, rather than one that rose."""
        return self.rule in AlertSettings.WORSE_IS_LOWER
