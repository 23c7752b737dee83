"""The runbooks: one for each alert, about metrics, commands and thresholds that exist."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from click import Command, Group

from agent.alerts.rules import ALERT_NAME, AlertSettings
from agent.cli import cli

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


def blocks(page: Path, language: str) -> list[str]:
    """The lines of all code blocks of a language, without comments."""
    lines = [
        line.partition("  #")[0].strip()
        for block in re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text(), re.M | re.S)
        for line in block.splitlines()
    ]
    return [line for line in lines if line]


def smaxd_calls(page: Path) -> list[list[str]]:
    """The words of every call of smaxd that is shown, without its name."""
    lines = [line.partition(" | ")[0].removeprefix("sudo ") for line in blocks(page, "sh")]
    calls = [shlex.split(line, comments=True) for line in lines if line.startswith("smaxd ")]
    return [call[1:] for call in calls]


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


@pytest.mark.parametrize("page", RUNBOOKS, ids=identity)
def test_commands_that_are_shown_can_be_called(page: Path) -> None:
    """Each exists, with the options and arguments that it is given."""
    calls = smaxd_calls(page)

    assert calls != []
    for arguments in calls:
        command: Command = cli
        while isinstance(command, Group):
            command = command.commands[arguments.pop(0)]
        context = command.make_context(command.name, arguments, resilient_parsing=False)
        assert context.command is command


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
