"""Adding a quantity to a metric family: one that is missing adds nothing."""

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from agent.readings import Known


def add_known(
    family: GaugeMetricFamily | CounterMetricFamily, labels: list[str], quantity: object
) -> None:
    """Add the value, if there is one, under these labels."""
    if isinstance(quantity, Known):
        family.add_metric(labels, float(quantity.value))
