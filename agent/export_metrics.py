"""How the exports besides the listener are doing, as metrics."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric


@dataclass(frozen=True, slots=True)
class ExportStatus:
    """One export that is configured."""

    exporter: str
    failures_total: int
    rejected_points_total: int
    """Values that the receiver left out of exports which arrived."""
    last_success_wall_seconds: float | None
    """Unix time; None before the first."""


def export_families(statuses: Iterable[ExportStatus]) -> Iterator[Metric]:
    """Nothing where nothing is configured."""
    failures = CounterMetricFamily(
        "smaxd_export_failures",
        "Exports that did not arrive, since they were configured.",
        labels=["exporter"],
    )
    rejected = CounterMetricFamily(
        "smaxd_export_rejected_points",
        "Values that the receiver did not take of exports that arrived.",
        labels=["exporter"],
    )
    success = GaugeMetricFamily(
        "smaxd_export_last_success_timestamp_seconds",
        "Unix time of the last export that arrived.",
        labels=["exporter"],
    )
    for status in statuses:
        failures.add_metric([status.exporter], float(status.failures_total))
        rejected.add_metric([status.exporter], float(status.rejected_points_total))
        if status.last_success_wall_seconds is not None:
            success.add_metric([status.exporter], status.last_success_wall_seconds)
    for family in (failures, rejected, success):
        if family.samples:
            yield family
