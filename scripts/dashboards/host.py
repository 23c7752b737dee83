"""The dashboard of one host: its databases, its devices, and the agent itself."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, DashboardLink, Row
from grafana_foundation_sdk.models import dashboard as model

from scripts.dashboards.agent_row import agent_row, delivery_row
from scripts.dashboards.database_rows import models_row, rate_row, tree_row
from scripts.dashboards.device_row import device_row
from scripts.dashboards.frame import (
    AGENT,
    DATABASE,
    DB_QUERY,
    DEVICE_QUERY,
    FLEET_UID,
    HOST_UID,
    INSTANCE_QUERY,
    RUNBOOKS,
    finished,
    frame,
    headroom,
    variable,
)
from scripts.dashboards.panels import (
    BYTES,
    HEADROOM_STEPS,
    ORANGE,
    PUTS,
    RATIO,
    RED,
    SECONDS,
    Column,
    lines,
    table,
    timeline,
)

ALERT_STATES = {1: ("warning", ORANGE), 2: ("critical", RED)}


def host_dashboard() -> model.Dashboard:
    """One host; everything about a database or a device repeats for each of those chosen."""
    board = (
        frame(
            "RocksDB write capacity: host",
            HOST_UID,
            "How many puts per second the databases of one host can sustain, what limits them, "
            "and how far that is to be trusted.",
            ("All hosts", FLEET_UID),
        )
        .time("now-3h", "now")
        .with_variable(variable("instance", INSTANCE_QUERY, many=False))
        .with_variable(variable("db", DB_QUERY, many=True))
        .with_variable(variable("device", DEVICE_QUERY, many=True))
    )
    _overview(board)
    rate_row(board)
    tree_row(board)
    models_row(board)
    device_row(board)
    agent_row(board)
    delivery_row(board)
    return finished(board, AGENT)


def _overview(board: Dashboard) -> None:
    active = "max by (alert, severity, db, device) (smax_alert_active{%s,severity=%s} == 1)"
    critical, warning = (active % (AGENT, f'"{name}"') for name in ("critical", "warning"))
    board.with_row(Row("Overview"))
    board.with_panel(
        table(
            "Databases",
            "Every database as it is now. Headroom is 1 - put rate / the lower end of S_max's "
            "interval (at least), as the alerts see it; minus infinity where others leave no "
            "bandwidth. The limit is what would be used up first; an empty cell is a quantity that "
            "is not known.",
            [
                Column("db", label="db"),
                Column("put rate", PUTS, _per_database("smax_observed_puts_per_second")),
                Column("S_max", PUTS, _per_database("smax_recommended_puts_per_second")),
                Column("at least", PUTS, _per_database("smax_recommended_lower_puts_per_second")),
                Column("at most", PUTS, _per_database("smax_recommended_upper_puts_per_second")),
                Column("headroom", RATIO, headroom("db", DATABASE), steps=HEADROOM_STEPS),
                Column("to stall", SECONDS, _per_database("smax_time_to_stall_seconds")),
                Column(
                    "limit",
                    expr=f"max by (db, resource) (smax_bottleneck{{{DATABASE}}} == 1)",
                    label="resource",
                ),
                Column(
                    "phase",
                    expr=f"max by (db, phase) (smax_phase{{{DATABASE}}} == 1)",
                    label="phase",
                ),
                Column("size", BYTES, _per_database("smax_database_size_bytes")),
            ],
            sorted_by="headroom",
            height=6,
        )
    )
    board.with_panel(
        timeline(
            "Alerts",
            "Alerts of the agent while they are active. One whose data is missing stays active.",
            ALERT_STATES,
            ("{{alert}} {{db}} {{device}}", f"2 * {critical} or {warning}"),
            width=16,
            height=7,
        ).data_links([DashboardLink("Runbook").url(f"{RUNBOOKS}/${{__field.labels.alert}}.md")])
    )
    board.with_panel(
        lines(
            "Host",
            "Busy share of all cores (60 s mean), and share of the time in which some task waited "
            "for I/O (10 s mean).",
            RATIO,
            ("CPU busy", f"smax_host_cpu_busy_ratio{{{AGENT}}}"),
            ("I/O pressure", f"smax_host_io_pressure_ratio{{{AGENT}}}"),
            height=7,
            most=1.0,
        )
    )


def _per_database(metric: str) -> str:
    return f"max by (db) ({metric}{{{DATABASE}}})"
