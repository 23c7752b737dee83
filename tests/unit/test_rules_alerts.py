"""The rule files: true to the agent's own alerts, to the metrics there are, and to promtool."""

import re
import shutil
import subprocess
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.alerts.following import UNSEEN_SECONDS
from agent.alerts.observe import LEAST_DEBT_BYTES, LEAST_EPISODES
from agent.alerts.rules import ALERT_NAME, RULE_OF, SEVERITY, AlertSettings
from agent.database_metrics import QUANTITIES

ROOT = Path(__file__).parents[2]
KIT = ROOT / "configs" / "prometheus"
RULE_FILES = sorted((KIT / "rules").glob("*.yml"))
TESTS = sorted((KIT / "tests").glob("*.test.yml"))
PAGE = (ROOT / "tests" / "data" / "golden" / "metrics.txt").read_text()

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)

DATABASE = "job, instance, db"
SIGNALS = {
    "headroom_low_warning": ("instance_db:smax_headroom_lower:ratio", DATABASE),
    "headroom_low_critical": ("instance_db:smax_headroom_lower:ratio", DATABASE),
    "stall_ahead": ("instance_db:smax_time_to_stall:seconds", DATABASE),
    "write_stopped": ("instance_db:smax_write_stopped:max", DATABASE),
    "write_delayed": ("instance_db:smax_write_delayed:max", DATABASE),
    "background_error": ("instance_db:smax_background_error:max", DATABASE),
    "compaction_debt_growing": ("instance_db:smax_compaction_debt_clear:seconds", DATABASE),
    "s_max_dropped": ("instance_db:smax_recommended_to_median:ratio", DATABASE),
    "device_bandwidth_declined": ("smax_device_capacity_ratio", "job, instance, device"),
    "model_miscalibrated": ("instance_db:smax_interval_coverage:ratio", DATABASE),
    "data_stale": ("instance_db:smax_prediction_stale:max", DATABASE),
    "probe_failing": ("instance_db_device:smax_probe_failing:max", "job, instance, db, device"),
}
"""What each of the agent's rules watches, as Prometheus sees it, and what identifies a subject."""

SECONDS = {"s": 1, "m": 60, "h": 3600}
METRIC = re.compile(r"\b(?:smaxd?_\w+|up|ALERTS|[a-z]\w*:smaxd?_\w+:\w+)\b(?!\s*=)")


def rules() -> list[dict[str, Any]]:
    return [
        rule
        for path in RULE_FILES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def key(rule: dict[str, Any]) -> tuple[str, str]:
    return rule["alert"], rule["labels"]["severity"]


def of_the_agent() -> dict[str, dict[str, Any]]:
    """The alert rules by the names of the agent's own."""
    return {RULE_OF[key(rule)]: rule for rule in alerts() if rule["alert"] != "SmaxAgentDown"}


def recorded(name: str) -> str:
    """The expression of a recording rule."""
    return next(str(rule["expr"]) for rule in rules() if rule.get("record") == name)


def seconds(duration: str) -> int:
    """Of Prometheus's notation, such as 14m30s."""
    assert re.fullmatch(r"(\d+[smh])+", duration)
    return sum(int(number) * SECONDS[unit] for number, unit in re.findall(r"(\d+)(.)", duration))


def words(expression: str) -> str:
    return " ".join(expression.split())


def metrics_of(expression: str) -> set[str]:
    """The names of all series that an expression selects: labels and strings are left out."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    bare = re.sub(r"\{[^}]*\}", "", bare)
    return set(METRIC.findall(bare))


def test_prometheus_has_every_alert_of_the_agent_and_one_more() -> None:
    """With the same names and severities."""
    there = [key(rule) for rule in alerts()]
    wanted = {(ALERT_NAME[rule], severity) for rule, severity in SEVERITY.items()}

    assert len(there) == len(set(there))
    assert set(there) == wanted | {("SmaxAgentDown", "critical")}


@pytest.mark.parametrize("name", SIGNALS)
def test_each_alert_has_the_thresholds_of_the_agent(name: str) -> None:
    """Neither may drift: threshold, clear, delay, and the form that outlives its data."""
    settings = AlertSettings().by_name()[name]
    rule = of_the_agent()[name]
    signal, subject = SIGNALS[name]
    lower = name in AlertSettings.WORSE_IS_LOWER
    held = f'alert:smax_alerts:held{{alertname="{rule["alert"]}", severity="{SEVERITY[name]}"}}'
    form = (
        f"{held} * on ({subject}) group_left () "
        f"({signal} {'<' if lower else '>'} {settings.clear:g}) "
        f"or on ({subject}) {held} * NaN unless on ({subject}) {signal} "
        f"or on ({subject}) {signal} {'<=' if lower else '>='} {settings.threshold:g}"
    )

    assert words(rule["expr"]) == form
    assert seconds(rule.get("for", "0s")) == settings.for_seconds


def test_every_rule_of_the_agent_has_its_signal_here() -> None:
    """So that a new one cannot be forgotten."""
    assert set(SIGNALS) == set(AlertSettings().by_name())


def test_what_the_agent_disregards_is_disregarded_here() -> None:
    """Little debt, few episodes."""
    debt = recorded("instance_db:smax_compaction_debt_clear:seconds")
    coverage = recorded("instance_db:smax_interval_coverage:ratio")

    assert f"smax_compaction_debt_bytes < {LEAST_DEBT_BYTES})" in debt
    assert f"smax_interval_coverage_episodes >= {LEAST_EPISODES})" in coverage


def test_a_device_that_vanished_is_declared_gone_when_the_agent_does() -> None:
    """After a week."""
    held = recorded("alert:smax_alerts:held")

    assert f"> time() - {UNSEEN_SECONDS / 86400:g} * 86400)" in held


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: "-".join(key(rule)))
def test_each_alert_says_what_is_wrong_and_where_to_read_on(rule: dict[str, Any]) -> None:
    """Summary, description, and a runbook that exists."""
    annotations = rule["annotations"]
    link = annotations["runbook_url"]
    base = "https://github.com/smaxd/smaxd/blob/main/"

    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert all(text.strip() for text in annotations.values())
    assert link == f"{base}docs/runbooks/{rule['alert']}.md"
    assert (ROOT / link.removeprefix(base)).is_file()


def test_every_metric_in_a_rule_exists() -> None:
    """On the agent's page, as another rule's result, or as Prometheus's own."""
    on_the_page = set(re.findall(r"^(smax\w+)[{ ]", PAGE, re.MULTILINE))
    results = {str(rule["record"]) for rule in rules() if "record" in rule}
    used = {name for rule in rules() for name in metrics_of(str(rule["expr"]))}
    queried = {
        name
        for rule in alerts()
        for query in re.findall(r"printf\s+`([^`]*)`", rule["annotations"]["description"])
        for name in metrics_of(query)
    }

    assert used - on_the_page - results == {"up", "ALERTS"}
    assert queried != set()
    assert queried <= on_the_page


def test_every_label_that_is_selected_exists_on_its_metric() -> None:
    """A matcher on a label that is not there would select nothing, or everything."""
    labels: dict[str, set[str]] = {}
    for name, found in re.findall(r"^(smax\w+)\{(.*)\} \S+$", PAGE, re.MULTILINE):
        labels.setdefault(name, set()).update(re.findall(r'(\w+)="', found))
    unknown = [
        (name, label)
        for rule in rules()
        for name, matchers in re.findall(r"\b(smaxd?_\w+)\{([^}]*)\}", str(rule["expr"]))
        for label in re.findall(r"(\w+)\s*[!=]", matchers)
        if label not in labels[name]
    ]

    assert unknown == []


def test_every_quantity_that_is_asked_for_is_one_of_the_agent() -> None:
    """Those of smax_unavailable and smax_estimate_age_seconds; "all" is a hanging agent's."""
    asked = {
        quantity
        for rule in rules()
        for matcher in re.findall(r'quantity=~?"([^"]*)"', str(rule["expr"]))
        for quantity in matcher.split("|")
    }

    assert asked != set()
    assert asked - {"all"} <= set(QUANTITIES)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule.get("record", "alert")))
def test_recording_rules_are_named_level_metric_operation(rule: dict[str, Any]) -> None:
    """Prometheus's convention; the level is made of labels."""
    name = rule.get("record", "job:smax_x:alert")

    assert re.fullmatch(
        r"(?:(?:instance|job|db|device|state|alert|model|resource)_?)+:smaxd?_\w+:\w+", name
    )
    assert "_:" not in name


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: "-".join(key(rule)))
def test_each_alert_is_tested_both_ways(rule: dict[str, Any]) -> None:
    """In one run of its file it does not fire, then fires, then does not any more."""
    document = yaml.safe_load((KIT / "tests" / f"{rule['alert']}.test.yml").read_text())
    name, severity = key(rule)
    asked = f'count(ALERTS{{alertname="{name}", severity="{severity}", alertstate="firing"}})'
    courses = []
    for test in document["tests"]:
        answers = sorted(
            (seconds(check["eval_time"]), bool(check["exp_samples"]))
            for check in test.get("promql_expr_test", [])
            if check["expr"] == asked
        )
        courses.append([firing for firing, _ in groupby(firing for _, firing in answers)][:3])

    assert [False, True, False] in courses


@needs_promtool
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_promtool_confirms_when_alerts_fire(path: Path) -> None:
    """Not yet, firing, staying while data vanished, resolving: on a simulated Prometheus."""
    done = promtool("test", "rules", path.name, place=path.parent)

    assert (done.returncode, done.stdout + done.stderr) == (0, done.stdout + done.stderr)
    assert "SUCCESS" in done.stdout


@needs_promtool
def test_promtool_finds_nothing_wrong_with_rules_and_configuration() -> None:
    """The example configuration loads the rules, and its lint has no complaint."""
    names = [str(path.relative_to(KIT)) for path in RULE_FILES]
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", *names, place=KIT)
    config = promtool("check", "config", "prometheus.yml", place=KIT)

    assert (checked.returncode, checked.stderr) == (0, "")
    assert (config.returncode, config.stderr) == (0, "")
    assert f"{len(RULE_FILES)} rule files found" in config.stdout


@needs_promtool
def test_the_lines_for_tls_and_a_password_are_right(tmp_path: Path) -> None:
    """Those that stand in comments, with files where they name some."""
    text = (KIT / "prometheus.yml").read_text()
    plain, marker, secured = text.partition("(docs/web.md):\n")
    text = plain + marker + re.sub(r"^    # {3}", "    ", secured, flags=re.MULTILINE)
    text = text.replace("/etc/prometheus/", f"{tmp_path}/")
    for name in re.findall(rf"{tmp_path}/(\S+)", text):
        (tmp_path / name).touch()
    shutil.copytree(KIT / "rules", tmp_path / "rules")
    (tmp_path / "prometheus.yml").write_text(text)
    done = promtool("check", "config", "prometheus.yml", place=tmp_path)
    job = yaml.safe_load(text)["scrape_configs"][0]

    assert {"scheme", "tls_config", "basic_auth"} <= set(job)
    assert set(job["tls_config"]) == {"ca_file", "cert_file", "key_file"}
    assert (done.returncode, done.stderr) == (0, "")


def promtool(*arguments: str, place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
