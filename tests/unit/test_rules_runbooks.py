"""The runbooks: one for each alert, about metrics, commands and thresholds that exist."""

import re
from pathlib import Path

import pytest
import yaml

from agent.alerts.rules import ALERT_NAME, AlertSettings
from tests.unit.shown_commands import blocks

ROOT = Path(__file__).parents[2]
RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
PAGES = [*RUNBOOKS, ROOT / "docs" / "prometheus.md"]
PAGE = (ROOT / "tests" / "data" / "golden" / "metrics.txt").read_text()
RULE_FILES = sorted((ROOT / "configs" / "prometheus" / "rules").glob("*.yml"))
RULES = [
    rule
    for path in RULE_FILES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
SOURCE = "".join(
    path.read_text()
    for package in ("agent", "probes")
    for path in sorted((ROOT / package).rglob("*.py"))
)
SECTIONS = [
    "What it means",
    "What to look at",
    "What to do",
    "How it ends",
    "When it is wrong",
    "Thresholds",
]

TARGET_LABELS = {"job", "instance"}
"""What Prometheus adds to every series that it scrapes."""


def identity(page: Path) -> str:
    return page.stem


def quoted_in_tables(page: Path, heading: str) -> list[str]:
    """What the first column quotes, of the tables whose first column has this heading."""
    tables = re.findall(
        rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", page.read_text(), re.MULTILINE
    )
    cells = [row.split(" | ")[0] for table in tables for row in table.splitlines()]
    return [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    """No page is missing, and none is left over."""
    assert {page.stem for page in RUNBOOKS} == {*ALERT_NAME.values(), "SmaxAgentDown"}


@pytest.mark.parametrize("page", RUNBOOKS, ids=identity)
def test_a_runbook_answers_the_same_questions_everywhere(page: Path) -> None:
    """In the order in which somebody who was woken up has them."""
    text = page.read_text()

    assert text.startswith(f"# {page.stem}\n\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS


@pytest.mark.parametrize("page", RUNBOOKS, ids=identity)
def test_a_runbook_says_how_severe_the_alert_is(page: Path) -> None:
    """Of all rules of that name."""
    severities = {
        str(rule["labels"]["severity"]) for rule in RULES if rule.get("alert") == page.stem
    }
    first = page.read_text().splitlines()[2].partition(".")[0].lower()

    assert severities == set(re.findall(r"warning|critical", first))


@pytest.mark.parametrize("page", RUNBOOKS, ids=identity)
def test_a_runbook_shows_the_thresholds_in_force(page: Path) -> None:
    """Those of the agent, which are those of the rules."""
    shown = {
        (name, float(threshold), float(clear), float(seconds))
        for name, threshold, clear, seconds in re.findall(
            r"^\| `(\w+)` \| (\S+) \| (\S+) \| (\d+) s \|$", page.read_text(), re.MULTILINE
        )
    }
    settings = AlertSettings().by_name()
    wanted = {
        (name, settings[name].threshold, settings[name].clear, settings[name].for_seconds)
        for name, alert in ALERT_NAME.items()
        if alert == page.stem
    }

    assert shown == wanted


@pytest.mark.parametrize("page", PAGES, ids=identity)
def test_metrics_that_are_named_exist(page: Path) -> None:
    """On the agent's page, or as the result of a recording rule."""
    existing = set(re.findall(r"^(smax\w+)[{ ]", PAGE, re.MULTILINE))
    existing |= {str(rule["record"]) for rule in RULES if "record" in rule}
    named = set(re.findall(r"(?:\w+:)?\bsmaxd?_\w+(?::\w+)?", page.read_text()))

    assert named != set()
    assert named - existing == set()


@pytest.mark.parametrize("page", PAGES, ids=identity)
def test_queries_ask_for_labels_that_exist(page: Path) -> None:
    """A matcher on a label that is not there finds nothing."""
    labels: dict[str, set[str]] = {}
    for name, found in re.findall(r"^(smax\w+)\{(.*)\} \S+$", PAGE, re.MULTILINE):
        labels.setdefault(name, set()).update(re.findall(r'(\w+)="', found))
    unknown = [
        (name, label)
        for query in blocks(page, "promql")
        for name, matchers in re.findall(r"(?<!:)\b(smaxd?_\w+)\{([^}]*)\}", query)
        for label in re.findall(r"(\w+)\s*[!=]", matchers)
        if label not in labels.get(name, set()) | TARGET_LABELS
    ]

    assert blocks(page, "promql") != []
    assert unknown == []


def test_reasons_that_are_named_exist() -> None:
    """What a reader looks up is what smaxd gives: as a whole, between quotation marks."""
    named = {
        reason
        for page in RUNBOOKS
        for reason in (
            *quoted_in_tables(page, "reason"),
            *re.findall(r'reason="(\w+)"', page.read_text()),
        )
    }

    assert {"stale", "not_readable", "log_not_permitted"} <= named
    assert {reason for reason in named if f'"{reason}"' not in SOURCE} == set()


def test_words_that_a_probe_is_quoted_with_are_its_own() -> None:
    """As `smaxd status` shows them, so that a search finds the row."""
    page = ROOT / "docs" / "runbooks" / "SmaxProbeFailing.md"
    quoted = quoted_in_tables(page, "what it says")

    assert "is not readable for this user" in quoted
    assert [text for text in quoted if text not in SOURCE] == []


@pytest.mark.parametrize("page", PAGES, ids=identity)
def test_links_lead_somewhere(page: Path) -> None:
    """To a page that exists, and to a heading on it."""
    links = [link for link in re.findall(r"\]\(([^)]+)\)", page.read_text()) if "://" not in link]
    lost = []
    for link in links:
        name, _, heading = link.partition("#")
        target = page.parent / name
        headings = (
            re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if target.is_file() else []
        )
        if not target.exists() or (
            heading and heading not in {found.lower().replace(" ", "-") for found in headings}
        ):
            lost.append(link)

    assert lost == []
