"""The dashboard of all hosts: which databases are worst off, and how the fleet is."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.models import dashboard as model

from scripts.dashboards.fleet_rows import agents_row, devices_row, limits_row
from scripts.dashboards.frame import (
    AGENT,
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
    BLUE,
    BYTES,
    GREEN,
    HEADROOM_STEPS,
    NUMBER,
    ORANGE,
    PUTS,
    RATIO,
    RED,
    SECONDS,
    Column,
    colored,
    lines,
    number,
    table,
)

WORST = 25
"""Databases in the table."""

ALL_WELL = ((None, GREEN), (1.0, RED))
HOST_LINK = (
    f"/d/{HOST_UID}?var-datasource=${{datasource}}&var-instance=${{__data.fields.instance}}"
    "&${job:queryparam}&${__url_time_range}"
)


HEADROOM = headroom("instance, db", AGENT)

LEAST_DRAWN = -1.0
"""A graph has no place for minus infinity, nor has a quantile."""


def fleet_dashboard() -> model.Dashboard:
    """All hosts that are chosen; every row of the tables leads to a host."""
    board = (
        frame(
            "RocksDB write capacity: fleet",
            FLEET_UID,
            "Which databases are nearest to what they can sustain, what limits them, and whether "
            "every agent is well.",
            ("One host", HOST_UID),
        )
        .time("now-6h", "now")
        .with_variable(variable("instance", INSTANCE_QUERY, many=True))
    )
    _overview(board)
    _worst(board)
    _headroom(board)
    limits_row(board)
    devices_row(board)
    agents_row(board)
    return finished(board, AGENT)


def _among_the_worst(values: str) -> str:
    return f"{values} and on (instance, db) bottomk({WORST}, {HEADROOM})"


def _overview(board: Dashboard) -> None:
    low = f"count({HEADROOM} <= 0.2) or vector(0)"
    active = "count(smax_alert_active{%s,severity=%s} == 1) or vector(0)"
    board.with_row(Row("Now"))
    board.with_panel(
        number(
            "Agents up",
            "Hosts whose agent answers the scraper.",
            NUMBER,
            ("up", f"sum(up{{{AGENT}}})"),
            ((None, GREEN),),
        )
    )
    board.with_panel(
        number(
            "Agents down",
            "Hosts whose agent does not answer the scraper. It says nothing about their databases.",
            NUMBER,
            ("down", f"count(up{{{AGENT}}} == 0) or vector(0)"),
            ALL_WELL,
        )
    )
    board.with_panel(
        number(
            "Headroom of 20 % or less",
            "Databases whose headroom against the lower end of the interval is low.",
            NUMBER,
            ("databases", low),
            ((None, GREEN), (1.0, ORANGE)),
        )
    )
    board.with_panel(
        number(
            "In a write stall",
            "Databases whose writes are delayed or stopped.",
            NUMBER,
            (
                "databases",
                f"count(max by (instance, db) (smax_write_stall{{{AGENT}}}) == 1) or vector(0)",
            ),
            ALL_WELL,
        )
    )
    board.with_panel(
        number(
            "Critical alerts",
            "Active alerts of severity critical, by the agents.",
            NUMBER,
            ("critical", active % (AGENT, '"critical"')),
            ALL_WELL,
        )
    )
    board.with_panel(
        number(
            "Warnings",
            "Active alerts of severity warning, by the agents.",
            NUMBER,
            ("warning", active % (AGENT, '"warning"')),
            ((None, GREEN), (1.0, ORANGE)),
        )
    )
    board.with_panel(
        table(
            "Active alerts",
            "What the agents warn of, critical ones first. An alert leads to its runbook, the name "
            "of a host to its dashboard.",
            [
                Column("severity", label="severity"),
                Column(
                    "alert",
                    expr="max by (severity, alert, instance, db, device) "
                    f"(smax_alert_active{{{AGENT}}} == 1)",
                    label="alert",
                    link=f"{RUNBOOKS}/${{__data.fields.alert}}.md",
                ),
                Column("instance", label="instance", link=HOST_LINK),
                Column("db", label="db"),
                Column("device", label="device"),
            ],
            sorted_by="severity",
            height=6,
        )
    )


def _worst(board: Dashboard) -> None:
    limit = _among_the_worst(f"max by (instance, db, resource) (smax_bottleneck{{{AGENT}}} == 1)")

    def worst(metric: str) -> str:
        return _among_the_worst(f"max by (instance, db) ({metric}{{{AGENT}}})")

    board.with_row(Row("Nearest to their limit"))
    board.with_panel(
        table(
            f"The {WORST} databases with the least headroom",
            "Headroom against the lower end of the interval, as the alerts see it; minus infinity "
            "where others leave no bandwidth. The name of a host leads to its dashboard.",
            [
                Column("instance", label="instance", link=HOST_LINK),
                Column("db", label="db"),
                Column("headroom", RATIO, _among_the_worst(HEADROOM), steps=HEADROOM_STEPS),
                Column("put rate", PUTS, worst("smax_observed_puts_per_second")),
                Column("S_max", PUTS, worst("smax_recommended_puts_per_second")),
                Column("at least", PUTS, worst("smax_recommended_lower_puts_per_second")),
                Column("to stall", SECONDS, worst("smax_time_to_stall_seconds")),
                Column("limit", expr=limit, label="resource"),
                Column("debt", BYTES, worst("smax_compaction_debt_bytes")),
                Column("size", BYTES, worst("smax_database_size_bytes")),
            ],
            sorted_by="headroom",
            height=12,
        )
    )


def _headroom(board: Dashboard) -> None:
    drawn = f"clamp_min({HEADROOM}, {LEAST_DRAWN:g})"
    observed = f"smax_observed_puts_per_second{{{AGENT}}}"
    s_max = f"smax_recommended_puts_per_second{{{AGENT}}}"
    board.with_row(Row("Headroom"))
    board.with_panel(
        lines(
            "Headroom across the fleet",
            "Against the lower end of the interval: the median database, the worst 5 % and the "
            "worst one. Drawn down to -100 %, where those are that others leave no bandwidth.",
            RATIO,
            ("median", f"quantile(0.5, {drawn})"),
            ("worst 5 %", f"quantile(0.05, {drawn})"),
            ("worst", f"min({drawn})"),
            steps=HEADROOM_STEPS,
            most=1.0,
        )
    )
    board.with_panel(
        lines(
            "Databases by headroom",
            "How many databases have how much headroom against the lower end of the interval.",
            NUMBER,
            ("5 % or less", f"count({HEADROOM} <= 0.05) or vector(0)"),
            ("to 20 %", f"count({HEADROOM} > 0.05 <= 0.2) or vector(0)"),
            ("to 50 %", f"count({HEADROOM} > 0.2 <= 0.5) or vector(0)"),
            ("more", f"count({HEADROOM} > 0.5) or vector(0)"),
            stacked=True,
        )
    )
    puts = lines(
        "Puts of the whole fleet",
        "The sum of all put rates, and of every S_max: what each database could take while all "
        "others stay as they are. Databases on one device cannot reach theirs together.",
        PUTS,
        ("put rate", f"sum({observed})"),
        ("S_max, each for itself", f"sum({s_max} and {observed})"),
    )
    board.with_panel(colored(colored(puts, "put rate", GREEN), "S_max, each for itself", BLUE))
