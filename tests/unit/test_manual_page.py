"""The manual page: complete, and what man renders without a complaint."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from agent.cli import cli
from scripts.deb.manpage import commands_of, man_page, roff

ROOT = Path(__file__).parents[2]
TEMPLATE = (ROOT / "docs" / "man" / "smaxd.1.in").read_text()
COMMANDS = dict(commands_of(cli, "smaxd"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as the package has it."""
    path = tmp_path_factory.mktemp("man") / "smaxd.1"
    path.write_text(man_page(TEMPLATE, cli, "1.2.3", "2026-01-02"))
    return path


@pytest.fixture(scope="module")
def rendered(page: Path) -> str:
    """The page as a reader sees it, every line as wide as it wants to be."""
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    done = subprocess.run(
        ["man", "--warnings", "--local-file", str(page)],
        env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "500", "MAN_KEEP_FORMATTING": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return re.sub(" +", " ", done.stdout)


def test_the_page_has_every_section_that_an_operator_looks_for(rendered: str) -> None:
    """And the version; man itself reports nothing."""
    headings = re.findall(r"^([A-Z][A-Z ]+)$", rendered, re.MULTILINE)
    assert headings == [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "COMMANDS",
        "FILES",
        "ENVIRONMENT",
        "SIGNALS",
        "EXIT STATUS",
        "EXAMPLES",
        "SEE ALSO",
    ]
    assert "smaxd 1.2.3" in rendered
    assert "2026-01-02" in rendered


@pytest.mark.parametrize("names", COMMANDS)
def test_every_command_is_on_the_page_with_all_its_options(names: str, rendered: str) -> None:
    """As the program's own help tells them."""
    commands = rendered.partition("\nCOMMANDS\n")[2]
    section = re.search(rf"^ {names}( .*)?\n((?! smaxd ).*\n)*", commands, re.MULTILINE)
    assert section is not None
    for option in COMMANDS[names].params:
        if isinstance(option, click.Option):
            for flag in (*option.opts, *option.secondary_opts):
                assert re.search(rf"^ .*{re.escape(flag)}\b", section[0], re.MULTILINE), flag


def test_nothing_of_the_template_is_left(page: Path) -> None:
    """A placeholder that nobody fills in would be printed."""
    assert re.findall(r"@[A-Z]+@", page.read_text()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--db PATH", r"\-\-db PATH"),
        (r"C:\new", r"C:\enew"),
        (".hidden", r"\&.hidden"),
        ("'quoted'", r"\&'quoted'"),
        ("~/x^y", r"\(ti/x\(hay"),
    ],
)
def test_text_means_to_roff_what_it_says(text: str, expected: str) -> None:
    """Backslashes, dashes, a line that begins like a request."""
    assert roff(text) == expected
