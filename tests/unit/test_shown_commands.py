"""Every call of smaxd that the documentation shows can be made."""

from pathlib import Path

import pytest
from click import Group, UsageError

from tests.unit.shown_commands import called, calls, mentions, unknown_in

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUNBOOKS = [page for page in PAGES if page.parent.name == "runbooks"]


def words_of(text: str, tmp_path: Path) -> list[list[str]]:
    """The calls of a page with this text."""
    page = tmp_path / "page.md"
    page.write_text(text)
    return calls(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_that_are_shown_can_be_called(page: Path) -> None:
    """Each exists, with the options and arguments that it is given."""
    for words in calls(page):
        assert not isinstance(called(words).command, Group), words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_that_are_mentioned_exist(page: Path) -> None:
    """In a sentence or a table, with the options that are named there."""
    unknown = {text: words for text in mentions(page) if (words := unknown_in(text))}

    assert unknown == {}


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_a_runbook_shows_what_to_call(page: Path) -> None:
    """Who was woken up wants to copy it."""
    assert calls(page) != []


def test_calls_are_found_where_a_reader_copies_them(tmp_path: Path) -> None:
    """Behind sudo and variables, before a pipe, after a prompt, in a unit; not in an answer."""
    page = """
```sh
sudo -u smaxd smaxd probe rocksdb --db /db >/dev/null && smaxd status   # the first may fail
A=b smaxd history --csv > week.csv
sudo systemctl restart smaxd
```

```console
$ smaxd alerts --all | grep smaxd
smaxd is not a call here
```

   ```ini
   ExecStart=/opt/smaxd/venv/bin/smaxd run --config /etc/smaxd/smaxd.yaml
   ```
"""

    assert words_of(page, tmp_path) == [
        ["probe", "rocksdb", "--db", "/db"],
        ["status"],
        ["history", "--csv"],
        ["alerts", "--all"],
        ["run", "--config", "/etc/smaxd/smaxd.yaml"],
    ]


@pytest.mark.parametrize(
    "words", [["status", "--wacth"], ["probe", "disk", "/db"], ["pause", "1h", "2h"]]
)
def test_a_call_that_click_refuses_is_found(words: list[str]) -> None:
    """With a wrong option, or an argument too many."""
    with pytest.raises(UsageError):
        called(words)


@pytest.mark.parametrize(
    ("mention", "unknown"),
    [
        (r"smaxd probe disk\|fio --path DIR", []),
        ("smaxd run [--config F] [--db PATH]... [--web.listen-address HOST:PORT]", []),
        ("smaxd ack ALERT|FINGERPRINT [--fro 24h]", ["--fro"]),
        ("smaxd explian", ["explian"]),
    ],
)
def test_a_mention_names_a_command_and_options(mention: str, unknown: list[str]) -> None:
    """Whatever it leaves to the reader."""
    assert unknown_in(mention) == unknown
