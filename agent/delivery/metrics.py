"""The metric families about delivery: a rendering of ``DeliveryStatus``. Pure."""

from collections.abc import Iterator

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from agent.delivery.status import OUTCOMES, DeliveryStatus


def delivery_families(status: DeliveryStatus | None) -> Iterator[Metric]:
    """All of them; none while nothing is to be delivered."""
    if status is None:
        return
    yield GaugeMetricFamily(
        "smaxd_scraper_absent",
        "1 while no scraper fetches this page, as the fallback sees it.",
        value=float(status.scraper_absent),
    )
    notifications = CounterMetricFamily(
        "smaxd_notifications",
        "Notifications by what became of them; of Alertmanager, alerts sent.",
        labels=["channel", "outcome"],
    )
    waiting = GaugeMetricFamily(
        "smaxd_notification_queue_length",
        "Notifications that wait for their delivery.",
        labels=["channel"],
    )
    latency = SummaryMetricFamily(
        "smaxd_notification_latency_seconds",
        "How long the attempts to deliver took.",
        labels=["channel"],
    )
    circuit = GaugeMetricFamily(
        "smaxd_delivery_circuit_open",
        "1 while a receiver that keeps failing is left alone.",
        labels=["channel"],
    )
    success = GaugeMetricFamily(
        "smaxd_notification_last_success_timestamp_seconds",
        "Unix time of the last delivery since the start.",
        labels=["channel"],
    )
    for channel in status.channels:
        for outcome in OUTCOMES:
            notifications.add_metric(
                [channel.name, outcome], float(channel.outcomes.get(outcome, 0))
            )
        waiting.add_metric([channel.name], float(channel.queue_length))
        latency.add_metric([channel.name], channel.attempts, channel.attempt_seconds)
        circuit.add_metric([channel.name], float(channel.circuit_open))
        if channel.last_success_wall_seconds is not None:
            success.add_metric([channel.name], channel.last_success_wall_seconds)
    yield from (notifications, waiting, latency, circuit, success)
