"""Rows of the dashboard of all hosts."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from scripts.dashboards.frame import AGENT
from scripts.dashboards.panels import BYTES, GREEN, NUMBER, ORANGE, RATIO, SECONDS, lines

WORST = 5
"""Databases or devices in a graph of the worst."""


def limits_row(board: Dashboard) -> None:
    """What limits the databases, and which of them stall."""
    stalled = f"smax_write_stall_seconds_total{{{AGENT}}}"
    board.with_row(Row("Limits and stalls"))
    board.with_panel(
        lines(
            "Databases by what limits them",
            "The resource that would be used up first, by number of databases.",
            NUMBER,
            ("{{resource}}", f"count by (resource) (smax_bottleneck{{{AGENT}}} == 1)"),
            stacked=True,
        )
    )
    board.with_panel(
        lines(
            "Databases by time to stall",
            "How many databases are heading for a write stall, and how soon; 0: it stalls now.",
            NUMBER,
            (
                "within 5 min",
                f"count(smax_time_to_stall_seconds{{{AGENT}}} <= 300) or vector(0)",
            ),
            (
                "within an hour",
                f"count(smax_time_to_stall_seconds{{{AGENT}}} > 300 <= 3600) or vector(0)",
            ),
            stacked=True,
        )
    )
    board.with_panel(
        lines(
            "Most of the time in stalls",
            "The databases whose writes were delayed or stopped for the largest share of the time.",
            RATIO,
            (
                "{{instance}} {{db}}",
                f"topk({WORST}, sum by (instance, db) (rate({stalled}[$__rate_interval])))",
            ),
        )
    )


def devices_row(board: Dashboard) -> None:
    """The devices that are worst off."""
    board.with_row(Row("Devices"))
    board.with_panel(
        lines(
            "Least bandwidth left",
            "Available / capacity of the devices with the least left.",
            RATIO,
            (
                "{{instance}} {{device}}",
                f"bottomk({WORST}, min by (instance, device) "
                f"(smax_device_availability_ratio{{{AGENT}}}))",
            ),
            most=1.0,
        )
    )
    board.with_panel(
        lines(
            "Capacity furthest below its best",
            "Capacity / best capacity known of the device. The alert SsdWriteBandwidthDegraded "
            "begins at 80 %.",
            RATIO,
            (
                "{{instance}} {{device}}",
                f"bottomk({WORST}, max by (instance, device) "
                f"(smax_device_capacity_ratio{{{AGENT}}}))",
            ),
            steps=((None, ORANGE), (0.8, GREEN)),
            most=1.0,
        )
    )
    board.with_panel(
        lines(
            "Slowest writes",
            "Mean time of a write request, of the slowest devices.",
            SECONDS,
            (
                "{{instance}} {{device}}",
                f"topk({WORST}, max by (instance, device) "
                f"(smax_device_write_await_seconds{{{AGENT}}}))",
            ),
        )
    )


def agents_row(board: Dashboard) -> None:
    """Whether the agents are well, and how right they are."""
    cpu = f"rate(process_cpu_seconds_total{{{AGENT}}}[$__rate_interval])"
    memory = f"process_resident_memory_bytes{{{AGENT}}}"
    accuracy = (
        f"max by (instance, db) (smax_model_accuracy_ratio{{{AGENT}}} "
        f"and on (job, instance, db, model) smax_recommended_info{{{AGENT}}})"
    )
    board.with_row(Row("Agents"))
    board.with_panel(
        lines(
            "CPU of the agents",
            "Cores used by a daemon, without the programs it runs.",
            RATIO,
            ("median", f"quantile(0.5, {cpu})"),
            ("highest", f"max({cpu})"),
        )
    )
    board.with_panel(
        lines(
            "Memory of the agents",
            "Resident memory of a daemon.",
            BYTES,
            ("median", f"quantile(0.5, {memory})"),
            ("highest", f"max({memory})"),
        )
    )
    board.with_panel(
        lines(
            "Databases without S_max, by reason",
            "Databases whose S_max is not known.",
            NUMBER,
            (
                "{{reason}}",
                f'count by (reason) (smax_unavailable{{{AGENT},quantity="recommended"}} == 1)',
            ),
            stacked=True,
        )
    )
    board.with_panel(
        lines(
            "Accuracy of the recommended models",
            "1 - median relative error against the saturation episodes seen, of the model that "
            "each database's S_max is from: the median and the worst database.",
            RATIO,
            ("median", f"quantile(0.5, {accuracy})"),
            ("worst", f"min({accuracy})"),
            most=1.0,
        )
    )
    board.with_panel(
        lines(
            "Least of the wear budget left",
            "What the agent may still write to a device now, of its share for 24 hours.",
            RATIO,
            (
                "{{instance}} {{device}}",
                f"bottomk({WORST}, smaxd_wear_budget_remaining_bytes{{{AGENT}}} "
                f"/ smaxd_wear_budget_bytes{{{AGENT}}})",
            ),
            most=1.0,
        )
    )
    board.with_panel(
        lines(
            "Versions",
            "Agents by version.",
            NUMBER,
            ("{{version}}", f"count by (version) (smaxd_build_info{{{AGENT}}})"),
            stacked=True,
        )
    )
