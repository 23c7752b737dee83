"""The listener: it answers as HTTP servers do, and it ends when told."""

import http.client
import threading
from collections.abc import Iterator

import pytest

from agent.http import HttpServer, application
from agent.loop import Published
from probes.clock import SystemClock


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """A listener that is up, on any free port."""
    server = HttpServer(application(Published(), SystemClock()), "127.0.0.1", 0)
    server.start()
    yield server
    server.stop()


def answer(server: HttpServer, path: str) -> tuple[int, str, str | None]:
    connection = http.client.HTTPConnection(server.address, timeout=10.0)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode(), response.headers["date"]
    finally:
        connection.close()


def test_an_answer_has_a_date(server: HttpServer) -> None:
    """RFC 9110 asks for it from every server that has a clock; uvicorn's tick renews it."""
    status, body, date = answer(server, "/healthz")
    assert (status, body) == (200, "ok\n")
    assert date is not None
    assert date.endswith(" GMT")


def test_a_stopped_listener_has_ended(server: HttpServer) -> None:
    """It is woken to end: its own next look would come after the wait for its end is over."""
    answer(server, "/healthz")
    server.stop()
    assert "http" not in {thread.name for thread in threading.enumerate()}
