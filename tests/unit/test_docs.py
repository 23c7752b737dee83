"""The documentation names what exists, and all of it."""

import re
from pathlib import Path

import pytest

from agent.alerts.rules import ALERT_NAME, RULE_OF, SEVERITY, AlertSettings

ROOT = Path(__file__).parents[2]
METRICS = (ROOT / "docs" / "metrics.md").read_text()
PAGE = (ROOT / "tests" / "data" / "golden" / "metrics.txt").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_every_metric_is_documented_and_no_other() -> None:
    """Name, labels and all, as on the golden page."""
    on_the_page = {
        (name, frozenset(re.findall(r'(\w+)="', labels)))
        for name, labels in re.findall(r"^(smax\w+)(?:\{(.*)\})? \S+$", PAGE, re.MULTILINE)
    }
    documented = {
        (name, frozenset(filter(None, labels.split(","))))
        for name, labels in re.findall(r"^\| `(smax\w+)(?:\{(.*)\})?` \|", METRICS, re.MULTILINE)
    }

    assert documented == on_the_page


def test_every_alert_is_documented_with_its_severity() -> None:
    """The table lists exactly the rules, and name and severity tell which is which."""
    row = r"^\| `(\w+)` \| (warning|critical) \| `(\w+)` \|"
    rows = re.findall(row, METRICS, re.MULTILINE)

    assert {rule: (name, severity) for name, severity, rule in rows} == {
        rule: (ALERT_NAME[rule], severity) for rule, severity in SEVERITY.items()
    }
    assert len(rows) == len(AlertSettings().by_name()) == len(RULE_OF)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_exist(page: Path) -> None:
    """A reader who follows one must not get lost."""
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    files = re.findall(r"`((?:agent|probes|tests|configs|docs|scripts)/[\w./-]+)`", text)

    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [name for name in files if not (ROOT / name).exists()]

    assert missing == []
