"""What both dashboards share: variables, links, annotations, and the numbers that Grafana wants."""

from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
)
from grafana_foundation_sdk.models import dashboard as model

from scripts.dashboards.panels import DATASOURCE, ORANGE, PURPLE, RED

HOST_UID, FLEET_UID = "smaxd-host", "smaxd-fleet"

SCHEMA_VERSION = 39
"""Grafana 10.4's; later versions migrate it by themselves."""

AGENT = 'job=~"$job",instance=~"$instance"'
DATABASE = f'{AGENT},db=~"$db"'
DEVICE = f'{AGENT},device=~"$device"'

NO_BANDWIDTH = 'quantity="available_bytes_per_second",reason="no_bandwidth_left"'

JOB_QUERY = "label_values(smaxd_build_info, job)"
"""All must not be a pattern: ``up`` and ``process_*`` are there of every target of a Prometheus."""

INSTANCE_QUERY = 'label_values(smaxd_build_info{job=~"$job"}, instance)'
DB_QUERY = f"label_values(smax_database_info{{{AGENT}}}, db)"
DEVICE_QUERY = f"label_values(smax_device_write_capacity_bytes_per_second{{{AGENT}}}, device)"

RUNBOOKS = "https://github.com/smaxd/smaxd/blob/main/docs/runbooks"

ALERT_NAMES = "Rocksdb.+|Ssd.+|Smax.+"


class PrometheusAnnotation(model.AnnotationQuery):
    """An annotation with the fields of its own that the Prometheus datasource has."""

    def __init__(self, name: str, expr: str, title: str, tags: str, color: str) -> None:
        super().__init__(name=name, datasource=DATASOURCE, expr=expr, icon_color=color)
        self._more = {
            "titleFormat": title,
            "tagKeys": tags,
            "step": "30s",
            "useValueForTime": False,
        }

    def to_json(self) -> dict[str, object]:
        """As Grafana stores it."""
        return {**super().to_json(), **self._more}


def annotations(selector: str) -> list[model.AnnotationQuery]:
    """Alerts of the agent, alerts of Prometheus, and saturation episodes of ``selector``."""
    return [
        PrometheusAnnotation(
            "Alerts of the agent",
            "max by (instance, db, device, alert, severity) "
            f"(smax_alert_active{{{selector}}}) == 1",
            "{{alert}}",
            "severity,instance,db,device",
            ORANGE,
        ),
        PrometheusAnnotation(
            "Alerts of Prometheus",
            f'ALERTS{{alertname=~"{ALERT_NAMES}",alertstate="firing",{AGENT}}}',
            "{{alertname}}",
            "severity,instance,db,device",
            RED,
        ),
        PrometheusAnnotation(
            "Saturation episodes",
            f"increase(smax_saturation_episodes_total{{{selector}}}[$__rate_interval]) > 0",
            "Saturated: S_max was measured",
            "instance,db",
            PURPLE,
        ),
    ]


def headroom(by: str, selector: str) -> str:
    """The headroom of each database, against the lower end of the interval, as the alerts see it.

    Where others leave no bandwidth, no model has a number, and nothing could be worse: -Inf.
    """
    known = f"max by ({by}) (smax_headroom_lower_ratio{{{selector}}})"
    starved = f"max by ({by}) (smax_unavailable{{{selector},{NO_BANDWIDTH}}})"
    return f"({known} or -Inf * {starved})"


def variable(name: str, query: str, *, many: bool, every: str | None = ".+") -> QueryVariable:
    """A variable from the label values of a query; ``many`` lets several or all be chosen.

    All is the pattern ``every``, or, without one, just what the query lists.
    """
    chosen = model.VariableOption(selected=True, text=["All"], value=["$__all"])
    built = (
        QueryVariable(name)
        .label(name)
        .datasource(DATASOURCE)
        .query({"query": query, "refId": f"variable-{name}"})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NATURAL_ASC)
        .multi(many)
        .include_all(many)
    )
    if not many:
        return built
    return (built.all_value(every) if every else built).current(chosen)


def frame(title: str, uid: str, description: str, other: tuple[str, str]) -> Dashboard:
    """An empty dashboard, with a link to the ``other`` one (title, uid)."""
    return (
        Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["smaxd", "rocksdb"])
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .timezone("browser")
        .refresh("30s")
        .link(
            DashboardLink(other[0])
            .type(model.DashboardLinkType.LINK)
            .icon("dashboard")
            .tooltip(other[0])
            .url(f"/d/{other[1]}?var-datasource=${{datasource}}&${{job:queryparam}}")
            .keep_time(True)
        )
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(variable("job", JOB_QUERY, many=True, every=None))
    )


def finished(built: Dashboard, selector: str) -> model.Dashboard:
    """The dashboard with its annotations, and every panel with a number of its own."""
    dashboard = built.build()
    dashboard.schema_version = SCHEMA_VERSION
    dashboard.annotations = model.AnnotationContainer(annotations(selector))
    for number, panel in enumerate(_all_panels(dashboard.panels or []), start=1):
        panel.id_val = number
    return dashboard


def _all_panels(panels: Sequence[Any]) -> list[Any]:
    return [
        found
        for panel in panels
        for found in (panel, *(panel.panels if isinstance(panel, model.RowPanel) else ()))
    ]
