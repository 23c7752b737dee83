"""How the web configuration is doing, as metrics."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric


@dataclass(frozen=True, slots=True)
class WebStatus:
    """The last reading of the web configuration, and what it led to."""

    successful: bool
    success_wall_seconds: float
    """Unix time of the last reading that succeeded, the start included."""
    refused: Mapping[str, int]
    """Connections and requests, by reason."""
    certificate_expiry_wall_seconds: float | None
    """None without TLS."""


def web_families(status: WebStatus | None) -> Iterator[Metric]:
    """All families; nothing without a web configuration."""
    if status is None:
        return
    yield GaugeMetricFamily(
        "smaxd_web_config_last_reload_successful",
        "1 if the last reading of the web configuration succeeded, 0: the old one is in force.",
        value=float(status.successful),
    )
    yield GaugeMetricFamily(
        "smaxd_web_config_last_reload_success_timestamp_seconds",
        "Unix time of the last successful reading of the web configuration, the start included.",
        value=status.success_wall_seconds,
    )
    refused = CounterMetricFamily(
        "smaxd_web_refused",
        "Connections and requests that the web configuration refused.",
        labels=["reason"],
    )
    for reason, times in sorted(status.refused.items()):
        refused.add_metric([reason], float(times))
    yield refused
    if status.certificate_expiry_wall_seconds is not None:
        yield GaugeMetricFamily(
            "smaxd_web_certificate_expiry_timestamp_seconds",
            "Unix time until which the listener's certificate is valid.",
            value=status.certificate_expiry_wall_seconds,
        )
