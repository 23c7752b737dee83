"""The row that repeats for every device of a host."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from scripts.dashboards.frame import DEVICE
from scripts.dashboards.panels import (
    BLUE,
    BYTE_RATE,
    GREEN,
    NUMBER,
    ORANGE,
    PURPLE,
    RATIO,
    RED,
    SECONDS,
    colored,
    lines,
)


def device_row(board: Dashboard) -> None:
    """Bandwidth, traffic, latency and wear."""
    board.with_row(Row("Device $device").repeat("device"))
    bandwidth = lines(
        "Write bandwidth",
        "Capacity is what the device writes while saturated; foreign, what everyone but the "
        "database writes (5 min mean); available, what is left of the capacity for user writes.",
        BYTE_RATE,
        ("capacity", f"smax_device_write_capacity_bytes_per_second{{{DEVICE}}}"),
        ("limit", f"smax_device_write_limit_bytes_per_second{{{DEVICE}}}"),
        ("written now", f"smax_device_write_bytes_per_second{{{DEVICE}}}"),
        ("available to {{db}}", f"smax_device_write_available_bytes_per_second{{{DEVICE}}}"),
        ("foreign to {{db}}", f"smax_device_write_foreign_bytes_per_second{{{DEVICE}}}"),
        width=16,
        height=9,
    )
    board.with_panel(colored(colored(bandwidth, "capacity", BLUE), "limit", PURPLE))
    board.with_panel(
        lines(
            "What is left",
            "Available / capacity, and capacity / best capacity known of this device: a drive "
            "that wears, heats up or is throttled falls below 1.",
            RATIO,
            ("available to {{db}}", f"smax_device_availability_ratio{{{DEVICE}}}"),
            ("capacity / best", f"smax_device_capacity_ratio{{{DEVICE}}}"),
            ("spread of the capacity", f"smax_device_write_capacity_spread_ratio{{{DEVICE}}}"),
            height=9,
            most=1.0,
        )
    )
    board.with_panel(
        lines(
            "Traffic",
            "Bytes read and written in the last interval.",
            BYTE_RATE,
            ("written", f"smax_device_write_bytes_per_second{{{DEVICE}}}"),
            ("read", f"smax_device_read_bytes_per_second{{{DEVICE}}}"),
            width=6,
        )
    )
    board.with_panel(
        lines(
            "Time of a write",
            "Mean time of a write request, queueing included.",
            SECONDS,
            ("write", f"smax_device_write_await_seconds{{{DEVICE}}}"),
            width=6,
        )
    )
    board.with_panel(
        lines(
            "Requests in flight",
            "Mean queue depth in the last interval.",
            NUMBER,
            ("in flight", f"smax_device_queue_depth{{{DEVICE}}}"),
            width=6,
        )
    )
    board.with_panel(
        lines(
            "Endurance",
            "Share of the rated endurance that is used, by the drive itself.",
            RATIO,
            ("used", f"smax_device_endurance_used_ratio{{{DEVICE}}}"),
            width=3,
            steps=((None, GREEN), (0.8, ORANGE), (1.0, RED)),
        )
    )
    board.with_panel(
        lines(
            "Worn out in",
            "Time until the rated endurance is used, at the mean rate of the drive's life.",
            SECONDS,
            ("worn out in", f"smax_device_wear_out_seconds{{{DEVICE}}}"),
            width=3,
        )
    )
