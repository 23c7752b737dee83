"""The rows about the agent of a host."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from scripts.dashboards.frame import AGENT
from scripts.dashboards.panels import (
    BYTE_RATE,
    BYTES,
    GREEN,
    IN_FORCE,
    NUMBER,
    ORANGE,
    RATIO,
    RED,
    SECONDS,
    YES_NO,
    Column,
    lines,
    table,
    timeline,
)

PROBE_STATES = {0: ("source absent", "text"), 1: ("data", GREEN), 2: ("failing", RED)}


def agent_row(board: Dashboard) -> None:
    """Probes, what is not known, the agent's own use of the host."""
    board.with_row(Row("The agent itself"))
    board.with_panel(
        timeline(
            "Probes",
            "What a probe's last run gave. An absent source can be normal, such as a database "
            "without a write-ahead log; a failing probe is an alert.",
            PROBE_STATES,
            (
                "{{probe}} {{target}}",
                f"2 * (smax_probe_failing{{{AGENT}}} == 1) or smax_probe_success{{{AGENT}}}",
            ),
            width=16,
            height=10,
        )
    )
    board.with_panel(
        table(
            "What is not known",
            "Quantities without a value now, with the reason.",
            [
                Column("db", label="db"),
                Column("device", label="device"),
                Column(
                    "quantity",
                    expr="max by (db, device, quantity, reason) "
                    f"(smax_unavailable{{{AGENT}}} == 1)",
                    label="quantity",
                ),
                Column("reason", label="reason"),
            ],
            sorted_by="db",
            width=8,
            height=10,
        )
    )
    board.with_panel(
        lines(
            "CPU",
            "Cores used by the daemon and by the programs it runs.",
            RATIO,
            ("daemon", f"rate(process_cpu_seconds_total{{{AGENT}}}[$__rate_interval])"),
            ("{{program}}", f"rate(smaxd_child_cpu_seconds_total{{{AGENT}}}[$__rate_interval])"),
            stacked=True,
        )
    )
    board.with_panel(
        lines(
            "Memory",
            "Resident memory of the daemon, without the programs it runs.",
            BYTES,
            ("resident", f"process_resident_memory_bytes{{{AGENT}}}"),
        )
    )
    board.with_panel(
        lines(
            "Ticks",
            "How long the last tick took, and the time from tick to tick.",
            SECONDS,
            ("a tick takes", f"smaxd_tick_duration_seconds{{{AGENT}}}"),
            ("a tick every", f"1 / rate(smaxd_ticks_total{{{AGENT}}}[$__rate_interval])"),
        )
    )
    board.with_panel(
        lines(
            "Bytes written by the agent",
            "What the agent itself writes, by device and purpose.",
            BYTE_RATE,
            (
                "{{device}} {{purpose}}",
                f"rate(smaxd_written_bytes_total{{{AGENT}}}[$__rate_interval])",
            ),
            stacked=True,
        )
    )
    board.with_panel(
        lines(
            "Wear budget left",
            "Share of what the agent may write to a device within 24 hours that is still left.",
            RATIO,
            (
                "{{device}}",
                f"smaxd_wear_budget_remaining_bytes{{{AGENT}}} "
                f"/ smaxd_wear_budget_bytes{{{AGENT}}}",
            ),
            most=1.0,
        )
    )
    board.with_panel(
        lines(
            "How long probes take",
            "The last run of each probe; the slowest target.",
            SECONDS,
            ("{{probe}}", f"max by (probe) (smax_probe_duration_seconds{{{AGENT}}})"),
        )
    )
    board.with_panel(
        timeline(
            "fio: why it runs, or does not",
            "The reason in force for each device, and every condition that forbids a run.",
            IN_FORCE,
            ("{{device}}: {{reason}}", f"smaxd_fio_decision{{{AGENT}}} == 1"),
            ("{{device}}: not while {{reason}}", f"smaxd_fio_gate_closed{{{AGENT}}} == 1"),
            height=7,
        )
    )
    board.with_panel(
        timeline(
            "Self-restraint and configuration",
            "Whether the agent restrains itself to stay within its own limits, and whether the "
            "configuration file was refused, so that the old one is in force.",
            YES_NO,
            ("restrained", f"smaxd_degradation_level{{{AGENT}}} > bool 0"),
            (
                "web configuration refused",
                f"smaxd_web_config_last_reload_successful{{{AGENT}}} == bool 0",
            ),
            (
                "configuration refused",
                f"smaxd_config_last_reload_successful{{{AGENT}}} == bool 0",
            ),
            height=7,
        )
    )


def delivery_row(board: Dashboard) -> None:
    """What the agent tells others, and keeps itself; closed until somebody asks."""
    row = Row("Notifications, history and listener of the agent").collapsed(True)
    row.with_panel(
        lines(
            "Notifications",
            "To each receiver, by what became of them, within the last hour. Nothing is shown "
            "where the agent delivers nothing itself and leaves it to Prometheus.",
            NUMBER,
            (
                "{{channel}}: {{outcome}}",
                f"increase(smaxd_notifications_total{{{AGENT}}}[1h])",
            ),
            width=12,
        )
    )
    row.with_panel(
        lines(
            "Notifications that wait",
            "For their delivery; of an Alertmanager, alerts whose latest state it does not know.",
            NUMBER,
            ("{{channel}}", f"smaxd_notification_queue_length{{{AGENT}}}"),
            width=12,
        )
    )
    row.with_panel(
        timeline(
            "What stands in the way",
            "Receivers that keep failing and are left alone for a while, whether no scraper "
            "fetches the metrics, and what keeps the history from being written.",
            YES_NO,
            ("{{channel}} left alone", f"smaxd_delivery_circuit_open{{{AGENT}}}"),
            ("no scraper", f"smaxd_scraper_absent{{{AGENT}}}"),
            ("history waits: {{reason}}", f"smaxd_history_waiting{{{AGENT}}}"),
            height=7,
        )
    )
    row.with_panel(
        lines(
            "Size of the history",
            "The file and its log.",
            BYTES,
            ("history", f"smaxd_history_size_bytes{{{AGENT}}}"),
            width=6,
            height=7,
        )
    )
    row.with_panel(
        lines(
            "Rows left out of the history",
            "By what kept them from being written, within the last hour.",
            NUMBER,
            ("{{reason}}", f"increase(smaxd_history_dropped_rows_total{{{AGENT}}}[1h])"),
            width=6,
            height=7,
        )
    )
    row.with_panel(
        lines(
            "Refused by the listener",
            "Connections and requests that the web configuration refused, within the last hour.",
            NUMBER,
            ("{{reason}}", f"increase(smaxd_web_refused_total{{{AGENT}}}[1h])"),
            width=12,
        )
    )
    row.with_panel(
        lines(
            "Certificate expires in",
            "Time for which the listener's certificate is still valid.",
            SECONDS,
            ("certificate", f"smaxd_web_certificate_expiry_timestamp_seconds{{{AGENT}}} - time()"),
            width=12,
            steps=((None, RED), (7 * 86400.0, ORANGE), (30 * 86400.0, GREEN)),
        )
    )
    board.with_row(row)
