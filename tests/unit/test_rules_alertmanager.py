"""The example configuration of Alertmanager: about alerts there are, and amtool's verdict."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "configs" / "alertmanager" / "alertmanager.yml"
CONFIG: dict[str, Any] = yaml.safe_load(FILE.read_text())
RULES = yaml.safe_load((ROOT / "configs/prometheus/rules/smaxd-alerts.yml").read_text())
ALERTS = {rule["alert"] for rule in RULES["groups"][0]["rules"] if "alert" in rule}

needs_amtool = pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed")


def patterns() -> list[str]:
    """Every value that an alertname is matched with, as a regular expression."""
    matchers = [
        matcher
        for rule in CONFIG["inhibit_rules"]
        for side in ("source_matchers", "target_matchers")
        for matcher in rule[side]
    ]
    matchers += [matcher for route in CONFIG["route"]["routes"] for matcher in route["matchers"]]
    found = [re.fullmatch(r'alertname=~?"(.*)"', matcher) for matcher in matchers]
    return [match[1] for match in found if match]


def test_every_alert_that_is_matched_exists() -> None:
    """A name that no alert has would inhibit nothing, for ever."""
    unused = [
        choice
        for pattern in patterns()
        for choice in (pattern.split("|") if "(" not in pattern else [pattern])
        if not any(re.fullmatch(choice, alert) for alert in ALERTS)
    ]

    assert len(patterns()) > 10
    assert unused == []


@pytest.mark.parametrize("number", range(len(CONFIG["inhibit_rules"])))
def test_no_alert_is_hidden_by_one_that_has_nothing_to_do_with_it(number: int) -> None:
    """Alertmanager takes a label that both lack for equal: the source must have what it names."""
    rule = CONFIG["inhibit_rules"][number]
    subject = [label for label in rule["equal"] if label in {"db", "device"}]
    told = " ".join(rule["source_matchers"] + rule["target_matchers"])

    assert {"job", "instance"} <= set(rule["equal"])
    assert all(f'{label}!=""' in told or 'db=""' in told for label in subject)


def test_receivers_are_those_that_routes_name() -> None:
    """None is there for nothing."""
    named = {CONFIG["route"]["receiver"]}
    named |= {route["receiver"] for route in CONFIG["route"]["routes"]}

    assert {receiver["name"] for receiver in CONFIG["receivers"]} == named


def test_nothing_is_repeated_more_rarely_than_alertmanager_remembers() -> None:
    """It forgets after --data.retention, 120 h by default, what it has told, and tells it again."""
    hours = {"h": 1, "d": 24}
    routes = [CONFIG["route"], *CONFIG["route"]["routes"]]
    pauses = [route["repeat_interval"] for route in routes]

    assert [pause for pause in pauses if int(pause[:-1]) * hours[pause[-1]] > 120] == []


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["amtool", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@needs_amtool
def test_amtool_accepts_it() -> None:
    """As it is, and with the receivers that stand in comments."""
    done = amtool("check-config", str(FILE))

    assert (done.returncode, done.stderr) == (0, "")
    assert f"{len(CONFIG['inhibit_rules'])} inhibit rules" in done.stdout


@needs_amtool
def test_amtool_accepts_the_receivers_in_comments(tmp_path: Path) -> None:
    """They are there to be used."""
    text = re.sub(r"^( +)# (?=(?: *- |  )?\S*_configs:|  +)", r"\1", FILE.read_text(), flags=re.M)
    (tmp_path / "alertmanager.yml").write_text(text)
    done = amtool("check-config", str(tmp_path / "alertmanager.yml"))

    assert text.count("\n    email_configs:") == text.count("\n    pagerduty_configs:") == 1
    assert (done.returncode, done.stderr) == (0, "")


@needs_amtool
@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=RocksdbWriteStopped", "severity=critical"), "on-call"),
        (("alertname=SmaxAgentDown", "severity=critical"), "on-call"),
        (("alertname=RocksdbWriteHeadroomLow", "severity=critical", "source=smaxd"), "on-call"),
        (("alertname=RocksdbWriteHeadroomLow", "severity=warning"), "database-team"),
        (("alertname=SmaxModelMiscalibrated", "severity=warning"), "database-team"),
    ],
)
def test_alerts_reach_those_who_can_act(labels: tuple[str, ...], receiver: str) -> None:
    """By severity."""
    done = amtool("config", "routes", "test", f"--config.file={FILE}", *labels)

    assert (done.returncode, done.stdout.strip()) == (0, receiver)
