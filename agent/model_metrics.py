"""The metric families about models: S_max, its limit, its interval, its score, the next stall."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from agent.metric_values import add_known
from agent.models.estimate import RESOURCES
from agent.models.phase_votes import PHASES
from agent.models.prediction import CONFIDENCE_LEVELS
from agent.readings import Known
from agent.snapshot import DatabaseSnapshot

CONFIDENCE_NAMES: Final = ("unverified", *CONFIDENCE_LEVELS)
"""Every value of the label ``level``."""


def model_families(databases: tuple[DatabaseSnapshot, ...]) -> Iterator[Metric]:
    """All families about what the models say of databases."""
    yield from _rates(databases)
    yield from _limits(databases)
    yield from _scores(databases)


def _rates(databases: tuple[DatabaseSnapshot, ...]) -> Iterator[Metric]:
    s_max = GaugeMetricFamily(
        "smax_puts_per_second",
        "Sustainable put rate (S_max) by what each model says, before calibration.",
        labels=["db", "model"],
    )
    recommended = GaugeMetricFamily(
        "smax_recommended_puts_per_second",
        "Sustainable put rate (S_max) of the model in charge, calibrated.",
        labels=["db"],
    )
    lower = GaugeMetricFamily(
        "smax_recommended_lower_puts_per_second",
        "Lower end of the 90 % interval of S_max.",
        labels=["db"],
    )
    upper = GaugeMetricFamily(
        "smax_recommended_upper_puts_per_second",
        "Upper end of the 90 % interval of S_max.",
        labels=["db"],
    )
    info = GaugeMetricFamily(
        "smax_recommended_info",
        "1 for the model in charge and what its interval rests on.",
        labels=["db", "model", "basis"],
    )
    confidence = GaugeMetricFamily(
        "smax_confidence", "1 for the recommended model's confidence.", labels=["db", "level"]
    )
    phase = GaugeMetricFamily("smax_phase", "1 for the phase in force.", labels=["db", "phase"])
    for database in databases:
        for model, rate in _raw_rates(database):
            s_max.add_metric([database.name, model], rate)
        if isinstance(database.recommended, Known):
            best = database.recommended.value
            recommended.add_metric([database.name], best.puts_per_second)
            lower.add_metric([database.name], best.lower)
            upper.add_metric([database.name], best.upper)
            info.add_metric([database.name, best.model, best.basis], 1.0)
            for level in CONFIDENCE_NAMES:
                confidence.add_metric([database.name, level], float(level == best.confidence))
        if isinstance(database.phase, Known):
            for name in PHASES:
                phase.add_metric([database.name, name], float(name == database.phase.value.name))
    yield from (s_max, recommended, lower, upper, info, confidence, phase)


def _raw_rates(database: DatabaseSnapshot) -> Iterator[tuple[str, float]]:
    if isinstance(database.predictions, Known):
        for prediction in database.predictions.value:
            yield prediction.model, prediction.puts_per_second
    if isinstance(database.estimates, Known):
        for estimate in database.estimates.value:
            yield estimate.model, estimate.puts_per_second


def _limits(databases: tuple[DatabaseSnapshot, ...]) -> Iterator[Metric]:
    bottleneck = GaugeMetricFamily(
        "smax_bottleneck", "1 for the resource that limits S_max.", labels=["db", "resource"]
    )
    by_resource = GaugeMetricFamily(
        "smax_resource_puts_per_second",
        "Put rate that each resource alone could carry, by the bottleneck model.",
        labels=["db", "resource"],
    )
    time_to_stall = GaugeMetricFamily(
        "smax_time_to_stall_seconds",
        "Time until writes are delayed or stopped; +Inf when not heading there.",
        labels=["db"],
    )
    debt = GaugeMetricFamily(
        "smax_compaction_debt_bytes",
        "Compaction owed for puts already taken, beyond the steady state.",
        labels=["db"],
    )
    clear = GaugeMetricFamily(
        "smax_compaction_debt_clear_seconds",
        "Time until that debt is cleared at the present put rate; +Inf when it grows.",
        labels=["db"],
    )
    for database in databases:
        if database.bottleneck is not None:
            for resource in RESOURCES:
                at_limit = float(resource == database.bottleneck)
                bottleneck.add_metric([database.name, resource], at_limit)
        if isinstance(database.estimates, Known):
            for estimate in database.estimates.value:
                if estimate.model == "bottleneck":
                    for use in estimate.resources:
                        by_resource.add_metric([database.name, use.resource], use.puts_per_second)
        add_known(time_to_stall, [database.name], database.time_to_stall_seconds)
        add_known(debt, [database.name], database.debt_bytes)
        add_known(clear, [database.name], database.debt_clear_seconds)
    yield from (bottleneck, by_resource, time_to_stall, debt, clear)


def _scores(databases: tuple[DatabaseSnapshot, ...]) -> Iterator[Metric]:
    accuracy = GaugeMetricFamily(
        "smax_model_accuracy_ratio",
        "1 - median relative error of a model against the saturation episodes seen.",
        labels=["db", "model"],
    )
    coverage = GaugeMetricFamily(
        "smax_interval_coverage_ratio",
        "Share of saturation episodes inside the interval published before them.",
        labels=["db"],
    )
    judged = GaugeMetricFamily(
        "smax_interval_coverage_episodes",
        "Saturation episodes of which smax_interval_coverage_ratio is the share.",
        labels=["db"],
    )
    episodes = CounterMetricFamily(
        "smax_saturation_episodes",
        "Saturation episodes that labelled predictions, over the database's life.",
        labels=["db"],
    )
    forecast_stalls = CounterMetricFamily(
        "smax_stall_forecast_stalls",
        "Stalls that the forecast could have announced, since the agent's start.",
        labels=["db", "outcome"],
    )
    lead = GaugeMetricFamily(
        "smax_stall_forecast_lead_seconds",
        "Median time between a stall's announcement and the stall.",
        labels=["db"],
    )
    false_alarms = CounterMetricFamily(
        "smax_stall_forecast_false_alarms",
        "Announced stalls that did not come, since the agent's start.",
        labels=["db"],
    )
    for database in databases:
        score = database.forecast_score
        if score is not None:
            announced, stalls = score.announced_stalls, score.stalls
            forecast_stalls.add_metric([database.name, "announced"], float(announced))
            forecast_stalls.add_metric([database.name, "missed"], float(stalls - announced))
            false_alarms.add_metric([database.name], float(score.false_alarms))
            if score.median_lead_seconds is not None:
                lead.add_metric([database.name], score.median_lead_seconds)
        episodes.add_metric([database.name], float(database.episodes_total))
        if isinstance(database.calibrated, Known):
            for estimate in database.calibrated.value:
                if estimate.accuracy_ratio is not None:
                    accuracy.add_metric([database.name, estimate.model], estimate.accuracy_ratio)
        if isinstance(database.recommended, Known):
            judged.add_metric([database.name], float(database.recommended.value.judged))
            share = database.recommended.value.coverage_ratio
            if share is not None:
                coverage.add_metric([database.name], share)
    yield from (accuracy, coverage, judged, episodes, forecast_stalls, lead, false_alarms)
