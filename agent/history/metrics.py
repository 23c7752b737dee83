"""How the recording of the history is doing, as metrics."""

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from agent.history.status import HistoryStatus


def history_families(status: HistoryStatus | None) -> Iterator[Metric]:
    """All families; nothing while no history is kept."""
    if status is None:
        return
    yield CounterMetricFamily(
        "smaxd_history_rows",
        "Rows written to the history since the agent's start.",
        value=status.rows_total,
    )
    if status.size_bytes is not None:
        yield GaugeMetricFamily(
            "smaxd_history_size_bytes",
            "Size of the history's file and its log.",
            value=status.size_bytes,
        )
    if status.last_commit_wall_seconds is not None:
        yield GaugeMetricFamily(
            "smaxd_history_last_commit_timestamp_seconds",
            "Unix time at which the history was last written.",
            value=status.last_commit_wall_seconds,
        )
    dropped = CounterMetricFamily(
        "smaxd_history_dropped_rows",
        "Rows left out of the history, by what kept them from being written.",
        labels=["reason"],
    )
    for reason, rows in sorted(status.dropped.items()):
        dropped.add_metric([reason], float(rows))
    waiting = GaugeMetricFamily(
        "smaxd_history_waiting",
        "1 for what keeps the history from being written now.",
        labels=["reason"],
    )
    if status.waiting is not None:
        waiting.add_metric([status.waiting], 1.0)
    yield from (family for family in (dropped, waiting) if family.samples)
