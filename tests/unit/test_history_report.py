"""The page for a capacity review: whole, self-contained, and safe whatever names are in it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from agent.history import charts
from agent.history.past import Past, PastScore
from agent.history.reader import HistoryFile
from agent.history.report import report_page
from agent.history.store import Store
from agent.history.svg import Frame, area, bars, line, strip, time_axis
from tests.unit import pasts
from tests.unit.pasts import DAY, START
from tests.unit.test_history_text import HOSTILE, hostile_past, utc

__all__ = ["utc"]  # the fixture: times are told in the host's zone

VOID = {"meta", "br", "link", "img"}


class Checker(HTMLParser):
    """Refuses tags that do not match, and collects what the page refers to and says."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.references: list[str] = []
        self.handlers: list[str] = []
        self.words: list[str] = []
        self.styles: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in {"src", "href", "action", "xlink:href", "data", "srcset", "poster"}:
                self.references.append(f"{name}={value}")
            if name.startswith("on"):
                self.handlers.append(name)
            if name == "class":
                self.styles.update((value or "").split())
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def checked(past: Past, host: str = "db-17") -> Checker:
    page = report_page(past, host=host, version="1.2.3", made=START + 7 * DAY)
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    path = str(tmp_path_factory.mktemp("week") / "history.db")
    store = Store(path, 1 << 30)
    samples = pasts.reviewed_week()
    for first in range(0, len(samples), 60):
        store.write(samples[first : first + 60])
    store.close()
    with HistoryFile(path) as file:
        yield file.read(START, START + 7 * DAY, 600)


def page_of(past: Past) -> str:
    return report_page(past, host="db-17", version="1.2.3", made=START + 7 * DAY)


def test_the_page_is_well_formed_and_has_every_plot(week: Past) -> None:
    """Five drawings of each database, a sixth of the one with scores, and a table of all."""
    checker = checked(week)

    assert "html" in checker.tags
    for title in (
        "Put rate against S_max, puts/s",
        "Write bandwidth, MiB/s",
        "Phase, limit, model in charge, alerts",
        "Writes held back, % of the time",
        "S_max by model, puts/s",
        "Accuracy of each model against what saturation showed, %",
        "Model scores",
        "Saturation episodes",
    ):
        assert title in checker.text, title
    assert page_of(week).count("<svg ") == 11


def test_the_page_needs_nothing_and_runs_nothing(week: Past) -> None:
    """No script, no reference; and the browser is told so."""
    checker = checked(week)

    assert checker.references == []
    assert checker.handlers == []
    assert not checker.tags & {"script", "link", "iframe", "object", "img", "form", "base"}
    assert "default-src &#x27;none&#x27;" in page_of(week) or "default-src 'none'" in page_of(week)
    assert "url(" not in page_of(week)
    assert "@import" not in page_of(week)


def test_every_drawing_is_valid_xml_without_impossible_numbers(week: Past) -> None:
    """Some browsers draw nothing else."""
    drawings = re.findall(r"<svg .*?</svg>", page_of(week), re.DOTALL)

    for drawing in drawings:
        root = ElementTree.fromstring(drawing)  # noqa: S314 - our own
        shapes = [e for e in root.iter() if e.tag in {"path", "rect", "circle"}]
        assert shapes != []
        numbers = " ".join(value for e in shapes for value in e.attrib.values())
        assert not re.search(r"nan|inf|e\+", numbers)


def test_the_figures_of_the_week_are_in_it(week: Past) -> None:
    """What a review asks for, in words."""
    text = checked(week).text

    assert "RocksDB write capacity of db-17" in text
    assert "61,500" in text
    assert "2026-09-25 11:30" in text
    assert "RocksdbWriteStopped" in text
    assert "SsdWriteBandwidthDegraded" in text
    assert "93.0 %" in text
    assert "41.0 %" in text
    assert "At the least -4 % of S_max was left" in text


def test_a_gap_is_a_gap_in_the_drawing(week: Past) -> None:
    """The line of the put rate begins anew behind it."""
    (path,) = re.findall(r'<path class="line put" d="([^"]*)"', page_of(week))[:1]

    assert path.count("M") == 2


def test_a_score_stands_until_the_next(week: Past) -> None:
    """A step, and no slope between two episodes; before the first one nothing is known."""
    scored = replace(
        week.databases[0],
        scores={
            "v4": [PastScore(START + day * DAY, day, 0.2 * day, None) for day in (2, 4)],
            "retired": [PastScore(START - DAY, 1, 0.5, None)],
        },
    )
    drawing = ElementTree.fromstring(charts.scores(week, scored))  # noqa: S314 - our own
    lines = [e.attrib["d"] for e in drawing.iter("path") if "line" in e.attrib["class"]]
    heights = [set(re.findall(r" (\d+\.\d)", path)) for path in lines]

    assert [len(found) for found in heights] == [1, 2]
    assert [path.partition(" ")[0] for path in lines] == ["M65.0", "M318.7"]


@pytest.mark.parametrize("years", [1, 50])
def test_a_time_axis_has_few_labels_however_long_it_is(years: int) -> None:
    """--since 1970-01-01 is how one says "all"."""
    labels = "".join(time_axis(Frame(START - years * 365 * DAY, START, 1.0, 100)))

    assert 1 <= labels.count("<text") <= 10


def test_every_style_that_is_used_is_one_of_the_style_sheet(week: Past) -> None:
    """A shape without one would be black on black."""
    sheet = page_of(week).partition("<style>")[2].partition("</style>")[0]

    assert [name for name in checked(week).styles if f".{name}" not in sheet] == []


def test_the_page_is_readable_in_the_dark_and_on_paper(week: Past) -> None:
    """All colours are variables, which those two set anew."""
    page = page_of(week)
    sheet = page.partition("<style>")[2].partition("</style>")[0]
    light = set(re.findall(r"(--\w+):", sheet.partition("@media")[0]))

    assert "prefers-color-scheme:dark" in sheet
    assert "@media print" in sheet
    assert set(re.findall(r"var\((--\w+)\)", sheet)) == light
    for part in sheet.split("@media")[1:]:
        assert set(re.findall(r"(--\w+):", part)) == light
    assert not re.search(r'(fill|stroke)="#', page)


def test_whatever_names_are_in_it_stay_names() -> None:
    """Databases, devices, alerts and the host are called by others."""
    checker = checked(hostile_past(), host=HOSTILE)

    assert not checker.tags & {"b", "script"}
    assert checker.handlers == []
    assert "<b>&'\"yyy" in checker.text
    assert "\x1b" not in checker.text


def test_nothing_on_record_is_said() -> None:
    """And no division by nothing."""
    text = checked(Past(START, START + DAY, 60, [], {}, [])).text

    assert "No database is on record in this time." in text
    assert "None." in text


FRAME = Frame(START, START + 100, 10.0, 100)


def test_a_lone_value_is_seen() -> None:
    """A line of one point would have no length."""
    (path,) = re.findall(r'd="([^"]*)"', line(FRAME, [None, 5.0, None], "put"))

    assert path.count("L") == 1


def test_values_beyond_the_frame_stay_in_it() -> None:
    """An interval may reach far above."""
    assert FRAME.y(1e9) == FRAME.y(10.0)
    assert FRAME.y(-5.0) == FRAME.y(0.0)
    assert FRAME.x(START - 50) == FRAME.x(START)


def test_nothing_known_draws_nothing() -> None:
    """No empty path."""
    unknown = [None, None]

    assert line(FRAME, unknown, "put") == ""
    assert area(FRAME, unknown, [1.0, 2.0], "put") == ""
    assert bars(FRAME, [0.0, None], [0.0, 0.0], "stopped") == ""


def test_a_short_piece_is_still_seen() -> None:
    """An alert of seconds in a week."""
    drawn = strip(Frame(START, START + 7 * DAY, 1.0, 50), 0.0, 10.0, [(START, START + 5, "x", "t")])

    assert 'width="1.0"' in drawn


def test_the_page_is_small_enough_to_send(week: Past) -> None:
    """By mail, of two databases."""
    assert len(page_of(week)) < 400_000
