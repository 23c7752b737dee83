"""The queries of the shipped dashboards, with the variables filled in as Grafana does."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).parents[2] / "configs" / "grafana" / "dashboards"

Json = Mapping[str, Any]
Choices = Mapping[str, Sequence[str]]
"""The values chosen of each variable; none chosen means All."""

LISTED: Choices = {"job": ("smaxd",)}
"""The values that Grafana lists of a variable, for those of which All is no pattern."""


@dataclass(frozen=True)
class DashboardQuery:
    """One query of a panel, an annotation or a variable."""

    dashboard: str
    panel: str
    legend: str
    expr: str
    instant: bool = False

    @property
    def name(self) -> str:
        """What a test is called that runs it."""
        return f"{self.dashboard}: {self.panel}: {self.legend}"


def load(uid: str) -> Json:
    """A shipped dashboard."""
    dashboard: Json = json.loads((DASHBOARDS / f"{uid}.json").read_text())
    return dashboard


def panels(dashboard: Json) -> Iterator[Json]:
    """All panels, those of closed rows as well; no rows."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def panel_queries(uid: str) -> list[DashboardQuery]:
    """The queries of all panels."""
    return [
        DashboardQuery(uid, panel["title"], q["legendFormat"], q["expr"], q["instant"])
        for panel in panels(load(uid))
        for q in panel["targets"]
    ]


def annotation_queries(uid: str) -> list[DashboardQuery]:
    """The queries of all annotations."""
    return [
        DashboardQuery(uid, one["name"], one["titleFormat"], one["expr"])
        for one in load(uid)["annotations"]["list"]
    ]


def variable_queries(uid: str) -> list[DashboardQuery]:
    """The queries of the variables, ``label_values(...)``."""
    return [
        DashboardQuery(uid, "variable", one["name"], one["query"]["query"])
        for one in load(uid)["templating"]["list"]
        if one["type"] == "query"
    ]


def filled_in(
    uid: str, expr: str, chosen: Choices, rate_interval: str, listed: Choices = LISTED
) -> str:
    """What Grafana sends for an expression of a dashboard."""
    for variable in load(uid)["templating"]["list"]:
        if variable["type"] == "query":
            name = variable["name"]
            text = _interpolated(variable, chosen.get(name, ()), listed.get(name, ()))
            expr = re.sub(rf"\${name}\b", text.replace("\\", r"\\"), expr)
    return expr.replace("$__rate_interval", rate_interval)


def _interpolated(variable: Json, values: Sequence[str], listed: Sequence[str]) -> str:
    """As in Grafana's Prometheus datasource, ``interpolateQueryExpr``."""
    if not variable["multi"] and not variable["includeAll"]:
        (value,) = values
        return value.replace("\\", "\\\\").replace("'", "\\\\'")
    if not values and "allValue" in variable:
        return str(variable["allValue"])
    escaped = [
        re.sub(r"([$^*{}\[\]+?.()|])", r"\\\\\1", value.replace("\\", "\\\\\\\\"))
        for value in values or listed
    ]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
