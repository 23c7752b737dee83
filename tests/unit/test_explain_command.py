"""``smaxd explain``: asked of a real listener, with the exits of the contract."""

import http.client
import json
from collections.abc import Iterator

import pytest

from agent.http import HttpServer, application
from agent.loop import Published
from tests.unit import explained
from tests.unit.command_line import NOWHERE, Call, Ended
from tests.unit.snapshots import FixedClock


@pytest.fixture
def url() -> Iterator[str]:
    """Where a listener shows the explained database, as a daemon would."""
    with explained.listening() as url:
        yield url


def answer(url: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10.0)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_one_database_is_explained_in_words(smaxd: Call, url: str) -> None:
    """The golden text, over the wire."""
    assert smaxd("explain", "--url", url, "--db", "orders") == Ended(0, explained.golden(), "")


def test_all_databases_are_explained_without_a_name(smaxd: Call, url: str) -> None:
    """One after the other."""
    ended = smaxd("explain", "--url", url)

    assert ended.code == 0
    assert "\n\n/srv/idle\n  S_max is unknown: /srv/idle does not exist.\n" in ended.out


def test_the_json_is_the_daemons(smaxd: Call, url: str) -> None:
    """Nothing is lost or added on the way."""
    shown = json.loads(smaxd("explain", "--url", url, "--json", "--db", "orders").out)

    assert shown == json.loads(answer(url, "/api/v1/explain?db=orders")[1])
    assert shown["databases"][0]["inputs"]["costs"]["record_bytes"] == 1040.0


def test_an_unknown_database_is_bad_input_and_the_known_ones_are_named(
    smaxd: Call, url: str
) -> None:
    """404 over HTTP, exit 2 and one line on the command line."""
    assert answer(url, "/api/v1/explain?db=nope") == (
        404,
        b'{"error":"no database \'nope\' is watched","known":["orders","/srv/idle"]}',
    )
    assert smaxd("explain", "--url", url, "--db", "nope") == Ended(
        2, "", "smaxd: no database 'nope' is watched; known: orders, /srv/idle\n"
    )


@pytest.mark.parametrize("target", [NOWHERE, "http://[::1", "nonsense://x"])
def test_no_daemon_ends_with_1_and_one_line(smaxd: Call, target: str) -> None:
    """As for every command that asks the daemon."""
    ended = smaxd("explain", "--url", target)

    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)


def test_a_daemon_without_a_tick_is_starting(smaxd: Call) -> None:
    """503 is no explanation yet."""
    server = HttpServer(application(Published(), FixedClock()), "127.0.0.1", 0)
    server.start()
    try:
        ended = smaxd("explain", "--url", f"http://{server.address}")
    finally:
        server.stop()

    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "is starting" in ended.err


def test_an_agent_that_does_not_tick_is_said_to(smaxd: Call) -> None:
    """On stderr; what it knew is still explained."""
    with explained.listening(later_seconds=600.0) as url:
        ended = smaxd("explain", "--url", url, "--db", "orders")

    assert ended.err == "smaxd: warning: the agent has not ticked for 600 s\n"
    assert (ended.code, ended.out.splitlines()[0]) == (0, "orders")


def test_the_landing_page_links_the_explanation(url: str) -> None:
    """A way in for a browser."""
    assert b'href="/api/v1/explain"' in answer(url, "/")[1]
