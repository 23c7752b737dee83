"""The rows that repeat for every database of a host."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from scripts.dashboards.frame import DATABASE
from scripts.dashboards.panels import (
    BLUE,
    BYTE_RATE,
    BYTES,
    GREEN,
    HEADROOM_STEPS,
    IN_FORCE,
    NUMBER,
    ORANGE,
    PUTS,
    RATIO,
    RED,
    SECONDS,
    YES_NO,
    band,
    colored,
    lines,
    timeline,
)

SOON_SECONDS = 3600
"""Times to a stall are drawn up to here: a longer one, and none ahead, look the same."""

DEBT_SECONDS = 86400
"""The same for the time until a debt is cleared."""


def rate_row(board: Dashboard) -> None:
    """Put rate, S_max, what limits it and when it will stall."""
    board.with_row(Row("$db: how much it can take").repeat("db"))
    lower, upper = "90 % interval, lower end", "90 % interval, upper end"
    rates = lines(
        "Put rate and S_max",
        "What the database accepts (60 s mean), and what it can sustain by the model in charge, "
        "with the interval that holds the truth in 9 of 10 cases.",
        PUTS,
        ("put rate", f"smax_observed_puts_per_second{{{DATABASE}}}"),
        ("S_max", f"smax_recommended_puts_per_second{{{DATABASE}}}"),
        (lower, f"smax_recommended_lower_puts_per_second{{{DATABASE}}}"),
        (upper, f"smax_recommended_upper_puts_per_second{{{DATABASE}}}"),
        width=16,
        height=9,
    )
    rates = colored(colored(rates, "put rate", GREEN), "S_max", BLUE)
    board.with_panel(band(rates, lower, upper))
    board.with_panel(
        lines(
            "Headroom",
            "1 - put rate / S_max. The alert RocksdbWriteHeadroomLow watches the cautious one, "
            "against the lower end of the interval. Below 0 the database takes more than it can "
            "sustain, and debt grows.",
            RATIO,
            ("against S_max", f"smax_headroom_ratio{{{DATABASE}}}"),
            ("against the lower end", f"smax_headroom_lower_ratio{{{DATABASE}}}"),
            height=9,
            steps=HEADROOM_STEPS,
            most=1.0,
        )
    )
    board.with_panel(
        timeline(
            "What limits S_max",
            "The resource that would be used up first at a growing put rate.",
            IN_FORCE,
            ("{{resource}}", f"smax_bottleneck{{{DATABASE}}} == 1"),
            height=5,
        )
    )
    board.with_panel(
        timeline(
            "Write stalls",
            "RocksDB delays or stops writes; a background error stops them until it is resolved.",
            YES_NO,
            ("{{state}}", f"max by (state) (smax_write_stall{{{DATABASE}}})"),
            ("background error", f"smax_background_error{{{DATABASE}}}"),
            height=5,
        )
    )
    board.with_panel(
        lines(
            "Time to stall",
            "Time until writes are delayed or stopped, at the present course. The line at an hour "
            "means an hour or more, or not heading there; no line, that it is not known.",
            SECONDS,
            (
                "time to stall",
                f"clamp_max(smax_time_to_stall_seconds{{{DATABASE}}}, {SOON_SECONDS})",
            ),
            steps=((None, RED), (300.0, ORANGE), (900.0, GREEN)),
        )
    )
    board.with_panel(
        lines(
            "Share of the time in stalls",
            "How much of the time writes were delayed or stopped, by the LOG.",
            RATIO,
            (
                "{{state}}",
                f"rate(smax_write_stall_seconds_total{{{DATABASE}}}[$__rate_interval])",
            ),
        )
    )
    board.with_panel(
        timeline(
            "Phase",
            "How far the tree is from its steady state: a young database takes more puts.",
            IN_FORCE,
            ("{{phase}}", f"smax_phase{{{DATABASE}}} == 1"),
            width=8,
            height=8,
        )
    )


def tree_row(board: Dashboard) -> None:
    """The LSM tree, and what keeping it in shape costs."""
    board.with_row(Row("$db: LSM tree, compaction and what a put costs").repeat("db"))
    board.with_panel(
        lines(
            "Files per level",
            "Table files, all column families. Level 0 is what triggers delays and stops.",
            NUMBER,
            ("L{{level}}", f"sum by (level) (smax_level_files{{{DATABASE}}})"),
            stacked=True,
        )
    )
    board.with_panel(
        lines(
            "Bytes per level",
            "Table bytes, all column families.",
            BYTES,
            ("L{{level}}", f"sum by (level) (smax_level_bytes{{{DATABASE}}})"),
            stacked=True,
        )
    )
    board.with_panel(
        lines(
            "Compaction debt",
            "Compaction owed for puts already taken, beyond the steady state, and RocksDB's own "
            "estimate of pending bytes, on which its limits act.",
            BYTES,
            ("debt", f"smax_compaction_debt_bytes{{{DATABASE}}}"),
            ("pending, by RocksDB", f"smax_pending_compaction_bytes{{{DATABASE}}}"),
        )
    )
    board.with_panel(
        lines(
            "Debt cleared in",
            "Time until the debt is cleared at the present put rate. The line at a day means a "
            "day or more, or that the debt grows.",
            SECONDS,
            (
                "cleared in",
                f"clamp_max(smax_compaction_debt_clear_seconds{{{DATABASE}}}, {DEBT_SECONDS})",
            ),
        )
    )
    board.with_panel(
        lines(
            "Flush and compaction",
            "Table bytes written and read.",
            BYTE_RATE,
            ("flush", f"rate(smax_flush_bytes_total{{{DATABASE}}}[$__rate_interval])"),
            (
                "compaction writes",
                f"rate(smax_compaction_written_bytes_total{{{DATABASE}}}[$__rate_interval])",
            ),
            (
                "compaction reads",
                f"rate(smax_compaction_read_bytes_total{{{DATABASE}}}[$__rate_interval])",
            ),
        )
    )
    board.with_panel(
        lines(
            "Write amplification",
            "Bytes written by flush and compaction per user byte.",
            "suffix:x",
            ("write amplification", f"smax_write_amplification_ratio{{{DATABASE}}}"),
        )
    )
    board.with_panel(
        lines(
            "Bytes a put",
            "User bytes of one put, key and value.",
            BYTES,
            ("record", f"smax_record_size_bytes{{{DATABASE}}}"),
        )
    )
    board.with_panel(
        lines(
            "Size",
            "Live table files and write-ahead logs.",
            BYTES,
            ("tables", f"smax_database_size_bytes{{{DATABASE}}}"),
            ("write-ahead logs", f"smax_live_wal_bytes{{{DATABASE}}}"),
        )
    )
    board.with_panel(
        lines(
            "CPU of the database's process",
            "Cores kept busy, by what the threads are for, and the quota of its control groups.",
            "suffix:cores",
            (
                "{{group}}",
                f"rate(smax_database_cpu_seconds_total{{{DATABASE}}}[$__rate_interval])",
            ),
            ("quota", f"smax_database_cpu_limit_cores{{{DATABASE}}}"),
        )
    )


def models_row(board: Dashboard) -> None:
    """What the models say, and how well they did; closed until somebody asks."""
    row = Row("$db: models and how well they did").collapsed(True).repeat("db")
    row.with_panel(
        lines(
            "S_max by model",
            "What each model says before calibration, beside what the database accepts.",
            PUTS,
            ("{{model}}", f"smax_puts_per_second{{{DATABASE}}}"),
            ("put rate", f"smax_observed_puts_per_second{{{DATABASE}}}"),
            width=12,
        )
    )
    row.with_panel(
        lines(
            "What each resource could carry",
            "Put rate that each resource alone could carry, by the bottleneck model; the lowest "
            "limits.",
            PUTS,
            ("{{resource}}", f"smax_resource_puts_per_second{{{DATABASE}}}"),
            width=12,
        )
    )
    row.with_panel(
        lines(
            "Accuracy by model",
            "1 - median relative error against the saturation episodes seen.",
            RATIO,
            ("{{model}}", f"smax_model_accuracy_ratio{{{DATABASE}}}"),
            most=1.0,
        )
    )
    row.with_panel(
        lines(
            "Intervals that held",
            "Share of saturation episodes inside the interval published before them; 90 % is "
            "promised.",
            RATIO,
            ("inside", f"smax_interval_coverage_ratio{{{DATABASE}}}"),
            steps=((None, ORANGE), (0.8, GREEN)),
            most=1.0,
        )
    )
    row.with_panel(
        lines(
            "Saturation episodes",
            "Moments at which S_max was measured, within the last hour.",
            NUMBER,
            ("episodes", f"increase(smax_saturation_episodes_total{{{DATABASE}}}[1h])"),
        )
    )
    row.with_panel(
        timeline(
            "Model in charge, and what its interval rests on",
            "Which model S_max comes from.",
            IN_FORCE,
            ("{{model}}: {{basis}}", f"smax_recommended_info{{{DATABASE}}} == 1"),
        )
    )
    row.with_panel(
        timeline(
            "Confidence",
            "How far the recommended model is to be trusted.",
            IN_FORCE,
            ("{{level}}", f"smax_confidence{{{DATABASE}}} == 1"),
        )
    )
    row.with_panel(
        lines(
            "Stall forecasts",
            "Stalls that were announced and that were missed, and announcements without a stall, "
            "within the last hour.",
            NUMBER,
            ("{{outcome}}", f"increase(smax_stall_forecast_stalls_total{{{DATABASE}}}[1h])"),
            (
                "false alarm",
                f"increase(smax_stall_forecast_false_alarms_total{{{DATABASE}}}[1h])",
            ),
            width=12,
        )
    )
    row.with_panel(
        lines(
            "Lead of the forecasts",
            "Median time between a stall's announcement and the stall.",
            SECONDS,
            ("lead", f"smax_stall_forecast_lead_seconds{{{DATABASE}}}"),
            width=12,
        )
    )
    board.with_row(row)
