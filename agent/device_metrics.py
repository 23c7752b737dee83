"""The metric families of the devices."""

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from agent.metric_values import add_known
from agent.readings import Known
from agent.snapshot import DeviceSnapshot


def device_families(devices: tuple[DeviceSnapshot, ...]) -> Iterator[Metric]:
    """All families about devices; a quantity that is missing has no sample."""
    capacity = GaugeMetricFamily(
        "smax_device_write_capacity_bytes_per_second",
        "Total write rate of the device while saturated, everyone's writes included.",
        labels=["device"],
    )
    spread = GaugeMetricFamily(
        "smax_device_write_capacity_spread_ratio",
        "Standard deviation / mean of the bandwidth while the capacity was measured.",
        labels=["device"],
    )
    limit = GaugeMetricFamily(
        "smax_device_write_limit_bytes_per_second",
        "Lowest write limit set by control groups or configuration.",
        labels=["device"],
    )
    for device in devices:
        if isinstance(device.capacity, Known):
            capacity.add_metric([device.name], device.capacity.value.bytes_per_second)
            if device.capacity.value.spread_ratio is not None:
                spread.add_metric([device.name], device.capacity.value.spread_ratio)
        if device.limit_bytes_per_second is not None:
            limit.add_metric([device.name], device.limit_bytes_per_second)
    yield capacity
    yield spread
    yield limit
    for name, text, pick in _DEVICE_GAUGES:
        gauge = GaugeMetricFamily(name, text, labels=["device"])
        for device in devices:
            add_known(gauge, [device.name], pick(device))
        yield gauge


_DEVICE_GAUGES: Final[tuple[tuple[str, str, Callable[[DeviceSnapshot], object]], ...]] = (
    (
        "smax_device_capacity_ratio",
        "Capacity / best capacity known of this device.",
        lambda device: device.capacity_ratio,
    ),
    (
        "smax_device_write_bytes_per_second",
        "What the device was written in the last interval.",
        lambda device: device.write_bytes_per_second,
    ),
    (
        "smax_device_read_bytes_per_second",
        "What was read from the device in the last interval.",
        lambda device: device.read_bytes_per_second,
    ),
    (
        "smax_device_write_await_seconds",
        "Mean time of a write request in the last interval, queueing included.",
        lambda device: device.write_await_seconds,
    ),
    (
        "smax_device_queue_depth",
        "Mean requests in flight in the last interval.",
        lambda device: device.mean_queue_depth,
    ),
    (
        "smaxd_wear_budget_bytes",
        "What the agent may write to the device within 24 hours.",
        lambda device: device.wear_budget_bytes,
    ),
    (
        "smaxd_wear_budget_remaining_bytes",
        "What the agent may still write to the device now.",
        lambda device: device.wear_budget_remaining_bytes,
    ),
    (
        "smax_device_endurance_used_ratio",
        "Share of the rated endurance that is used, by the drive itself (of an array, its most "
        "worn one); may pass 1.",
        lambda device: device.endurance_used_ratio,
    ),
    (
        "smax_device_wear_out_seconds",
        "Time until the rated endurance is used, at the mean rate of the drive's life; of an "
        "array, of its most worn drive.",
        lambda device: device.wear_out_seconds,
    ),
)
