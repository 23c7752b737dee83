"""The Grafana dashboards are what their source makes, and what Grafana and an operator can use."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from scripts.dashboards.fleet import fleet_dashboard
from scripts.dashboards.host import host_dashboard
from tests.bench.dashboard_queries import (
    DASHBOARDS,
    Json,
    annotation_queries,
    filled_in,
    load,
    panel_queries,
    panels,
    variable_queries,
)

ROOT = Path(__file__).parents[2]
UIDS = sorted(path.stem for path in DASHBOARDS.glob("*.json"))
QUERIES = [query for uid in UIDS for query in (*panel_queries(uid), *annotation_queries(uid))]
SELECTOR = re.compile(r"\b((?:smaxd?_|process_)\w+|up|ALERTS)\b(\{[^}]*\})?(\[[^\]]+\])?")
KINDS_WITHOUT_A_UNIT = {"table"}
"""A table has a unit per column."""

every_dashboard = pytest.mark.parametrize("uid", UIDS)
every_query = pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)


def all_panels(uid: str) -> list[Json]:
    """With the rows."""
    found: list[Json] = []
    for panel in load(uid)["panels"]:
        found += [panel, *panel.get("panels", [])]
    return found


def test_there_are_a_host_and_a_fleet_dashboard() -> None:
    """The files are named by the uid that links use."""
    assert UIDS == ["smaxd-fleet", "smaxd-host"]
    assert [load(uid)["uid"] for uid in UIDS] == UIDS


@pytest.mark.parametrize("dashboard", [host_dashboard(), fleet_dashboard()], ids=lambda d: d.uid)
def test_the_json_is_what_the_source_makes(dashboard: Dashboard) -> None:
    """After a change of the source: python -m scripts.dashboards."""
    made = json.loads(JSONEncoder().encode(dashboard))

    assert load(dashboard.uid or "") == made


@every_dashboard
def test_grafanas_own_types_read_the_json_and_lose_nothing(uid: str) -> None:
    """But the annotations: the types do not know the Prometheus datasource's fields of those."""
    expected: Any = load(uid)

    read = json.loads(JSONEncoder().encode(Dashboard.from_json(expected)))

    assert {**read, "annotations": None} == {**expected, "annotations": None}


@every_dashboard
def test_no_two_panels_have_the_same_number_or_name(uid: str) -> None:
    """Links to a panel use the one, people the other."""
    found = all_panels(uid)
    names = [panel["title"] for panel in found]

    assert len({panel["id"] for panel in found}) == len(found)
    assert len(set(names)) == len(names)


@every_dashboard
def test_no_two_panels_overlap_and_none_leaves_the_grid(uid: str) -> None:
    """24 columns."""
    places = [panel["gridPos"] for panel in all_panels(uid)]

    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, f"{one} and {other}"
    assert all(place["x"] + place["w"] <= 24 for place in places)


@every_dashboard
def test_every_panel_says_what_it_shows_and_in_which_unit(uid: str) -> None:
    """And gets it from the datasource that is chosen."""
    for panel in panels(load(uid)):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["targets"], panel["title"]
        units = [
            one["value"]
            for override in panel["fieldConfig"]["overrides"]
            for one in override["properties"]
            if one["id"] == "unit"
        ]
        assert panel["fieldConfig"]["defaults"]["unit"] or units, panel["title"]
        assert panel["type"] not in KINDS_WITHOUT_A_UNIT or units


@every_dashboard
def test_every_query_of_a_panel_has_a_letter_of_its_own_and_a_legend(uid: str) -> None:
    """Grafana tells the answers apart by the letter."""
    for panel in panels(load(uid)):
        letters = [query["refId"] for query in panel["targets"]]
        assert len(set(letters)) == len(letters), panel["title"]
        assert all(query["legendFormat"] for query in panel["targets"]), panel["title"]


@every_dashboard
def test_lines_that_are_named_by_an_override_exist(uid: str) -> None:
    """An interval is filled down to a line that is there."""
    for panel in panels(load(uid)):
        legends = {query["legendFormat"] for query in panel["targets"]}
        for override in panel["fieldConfig"]["overrides"]:
            if panel["type"] == "timeseries":
                assert override["matcher"]["options"] in legends
            for one in override["properties"]:
                assert one["id"] != "custom.fillBelowTo" or one["value"] in legends


@every_query
def test_every_selector_asks_for_the_job_and_the_instance(query: Any) -> None:
    """So that another job, or another host, is never mixed in."""
    for name, labels, _ in SELECTOR.findall(query.expr):
        assert 'instance=~"$instance"' in labels, f"{name} in {query.expr}"
        assert 'job=~"$job"' in labels, f"{name} in {query.expr}"


@every_query
def test_counters_are_read_as_rates_over_enough_scrapes(query: Any) -> None:
    """The window is Grafana's, or wide on purpose."""
    for name, _, window in SELECTOR.findall(query.expr):
        assert name.endswith("_total") == bool(window), f"{name} in {query.expr}"
        assert window in ("", "[$__rate_interval]", "[1h]")
    assert re.findall(r"(\w+)\([^()]*\[", query.expr).count("rate") + re.findall(
        r"(\w+)\([^()]*\[", query.expr
    ).count("increase") == query.expr.count("[")


@every_query
def test_every_metric_is_documented(query: Any) -> None:
    """Or is one that every scrape or every process has."""
    documented = set(
        re.findall(r"^\| `(smax\w+)", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    )
    names = {name for name, _, _ in SELECTOR.findall(query.expr)}

    assert {name for name in names if name.startswith("smax")} <= documented
    assert names


@every_dashboard
def test_the_variables_can_be_chosen_and_follow_the_time_range(uid: str) -> None:
    """The datasource first, since the others ask it."""
    variables = load(uid)["templating"]["list"]
    names = [one["name"] for one in variables]

    assert names[:3] == ["datasource", "job", "instance"]
    assert all(one["refresh"] == 2 for one in variables[1:])
    for one in variables:
        if one["includeAll"]:
            assert one.get("allValue") == (None if one["name"] == "job" else ".+")
    for query in variable_queries(uid):
        known = re.findall(r"\$(\w+)", query.expr)
        assert set(known) <= set(names[: names.index(query.legend)])


@every_dashboard
def test_everything_repeats_for_a_variable_that_exists(uid: str) -> None:
    """A row per database and per device."""
    names = {one["name"] for one in load(uid)["templating"]["list"]}
    repeated = {panel["repeat"] for panel in all_panels(uid) if panel.get("repeat")}

    assert repeated <= names
    assert repeated == ({"db", "device"} if uid == "smaxd-host" else set())


def test_the_dashboards_lead_to_one_another() -> None:
    """By their links, and from a row of the fleet's tables to its host."""
    for uid, other in (("smaxd-host", "smaxd-fleet"), ("smaxd-fleet", "smaxd-host")):
        (link,) = load(uid)["links"]
        assert link["url"].startswith(f"/d/{other}?")
        assert link["keepTime"]
    links = [
        link["url"]
        for panel in panels(load("smaxd-fleet"))
        for override in panel["fieldConfig"]["overrides"]
        for one in override["properties"]
        if override["matcher"]["options"] == "instance" and one["id"] == "links"
        for link in one["value"]
    ]
    assert len(links) == 2
    assert all(url.startswith("/d/smaxd-host?") for url in links)
    assert all("var-instance=${__data.fields.instance}" in url for url in links)


@every_dashboard
def test_columns_of_a_table_are_those_that_its_queries_answer(uid: str) -> None:
    """Every value has a name, and nothing is renamed that is not there."""
    for panel in panels(load(uid)):
        if panel["type"] != "table":
            continue
        (organize,) = (t["options"] for t in panel["transformations"] if t["id"] == "organize")
        values = {f"Value #{query['refId']}" for query in panel["targets"]}
        labels = {
            label
            for query in panel["targets"]
            for labels in re.findall(r"max by \(([^)]*)\)", query["expr"])
            for label in labels.split(", ")
        }
        assert all(query["format"] == "table" for query in panel["targets"])
        assert set(organize["renameByName"]) <= values | labels
        assert values <= set(organize["renameByName"]) | set(organize["excludeByName"])
        titles = set(organize["renameByName"].values())
        assert {one["displayName"] for one in panel["options"]["sortBy"]} <= titles


def test_variables_are_filled_in_as_grafana_does() -> None:
    """A path with a dot is matched as it is; nothing chosen is everything."""
    expr = 'rate(x_total{job=~"$job",instance=~"$instance",db=~"$db"}[$__rate_interval])'
    one = filled_in("smaxd-host", expr, {"instance": ["a:1"], "db": ["/srv/a.b"]}, "1m")
    two = filled_in("smaxd-host", expr, {"instance": ["a:1"], "db": ["x", "y"]}, "1m")
    none = filled_in("smaxd-host", expr, {"instance": ["a:1"]}, "1m")

    assert one == r'rate(x_total{job=~"smaxd",instance=~"a:1",db=~"/srv/a\\.b"}[1m])'
    assert two == 'rate(x_total{job=~"smaxd",instance=~"a:1",db=~"(x|y)"}[1m])'
    assert none == 'rate(x_total{job=~"smaxd",instance=~"a:1",db=~".+"}[1m])'


def test_all_of_a_variable_without_a_pattern_is_what_grafana_lists() -> None:
    """The jobs that have agents, and no other of the same Prometheus."""
    two = filled_in("smaxd-fleet", 'up{job=~"$job"}', {}, "1m", {"job": ["a", "b.c"]})

    assert two == r'up{job=~"(a|b\\.c)"}'


def test_grafana_is_provisioned_with_the_dashboards_and_a_datasource() -> None:
    """The two files that go below its provisioning directory."""
    directory = ROOT / "configs" / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((directory / "dashboards" / "smaxd.yaml").read_text())["providers"]
    sources = yaml.safe_load((directory / "datasources" / "prometheus.yaml").read_text())
    (source,) = sources["datasources"]

    assert provider["type"] == "file"
    assert provider["options"]["path"] in (ROOT / "docs" / "grafana.md").read_text()
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == "15s"
