"""The listener: it answers as HTTP servers do, no client can take it from the others, and it ends
when told."""

import gzip
import http.client
import os
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from agent.http import HttpServer, application
from agent.http_protocol import HttpLimits
from tests.unit import snapshots

PATIENCE_SECONDS = 15.0
POLL_SECONDS = 0.05
SHORT = HttpLimits(connections=16, exchange_seconds=0.3)
"""The same rules in less time."""

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(190))


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """A listener that is up, on any free port."""
    server = HttpServer(application(snapshots.published(), snapshots.FixedClock()), "127.0.0.1", 0)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def strict() -> Iterator[HttpServer]:
    """A listener with little patience."""
    app = application(snapshots.published(), snapshots.FixedClock())
    server = HttpServer(app, "127.0.0.1", 0, SHORT)
    server.start()
    yield server
    server.stop()


def connect(server: HttpServer, receive_buffer_bytes: int | None = None) -> socket.socket:
    host, _, port = server.address.rpartition(":")
    client = socket.socket()
    if receive_buffer_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    client.settimeout(PATIENCE_SECONDS)
    client.connect((host, int(port)))
    return client


def ask(
    server: HttpServer, path: str = "/healthz", method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(server.address, timeout=PATIENCE_SECONDS)
    with closing(connection):
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read()


def until_the_end(client: socket.socket) -> bytes:
    """All that comes before the server ends the connection, in whatever way."""
    received = b""
    try:
        while piece := client.recv(65536):
            received += piece
    except ConnectionError:
        pass
    return received


def send(client: socket.socket, data: bytes) -> None:
    """Send it all, or as much as the server takes before it ends the connection."""
    try:
        client.sendall(data)
    except ConnectionError:
        pass


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", received)]


def ends(step: Callable[[], object]) -> bool:
    """Whether the server has ended the connection."""
    try:
        step()
    except ConnectionError:
        return True
    return False


def holds(condition: Callable[[], bool]) -> bool:
    """Whether it comes to hold."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(POLL_SECONDS)
    return True


def answers(server: HttpServer) -> bool:
    response, body = ask(server)
    return (response.status, body) == (200, b"ok\n")


def is_reset(client: socket.socket) -> bool:
    """Whether the connection is gone, even while there is something left to read."""
    poll = select.poll()
    poll.register(client, 0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_an_answer_has_a_date(server: HttpServer) -> None:
    """RFC 9110 asks for it from every server that has a clock; uvicorn's tick renews it."""
    response, body = ask(server)
    assert (response.status, body) == (200, b"ok\n")
    assert (response.headers["date"] or "").endswith(" GMT")


def test_a_stopped_listener_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is woken to end, long before its own next look."""
    monkeypatch.setattr("agent.http.TICK_SECONDS", 600.0)
    server = HttpServer(application(snapshots.published(), snapshots.FixedClock()), "127.0.0.1", 0)
    server.start()
    ask(server)
    server.stop()
    assert holds(lambda: "http" not in {thread.name for thread in threading.enumerate()})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_whoever_does_not_ask_is_told_so(server: HttpServer, method: str) -> None:
    """Nothing can be changed over HTTP."""
    response, _ = ask(server, "/metrics", method)
    assert response.status == 405
    assert set((response.headers["allow"] or "").split(", ")) == {"GET", "HEAD"}


def test_an_unknown_path_is_not_found(server: HttpServer) -> None:
    """And nothing else."""
    assert ask(server, "/metrics/../../etc/passwd")[0].status == 404


def test_head_tells_the_length_and_sends_no_body(server: HttpServer) -> None:
    """As long as the answer to GET would be."""
    head, nothing = ask(server, "/api/v1/status", "HEAD")
    _, body = ask(server, "/api/v1/status")

    assert (head.status, nothing) == (200, b"")
    assert head.headers["content-length"] == str(len(body))


def test_the_host_header_does_not_matter(server: HttpServer) -> None:
    """A scraper may know this host by any name."""
    assert ask(server, Host="elsewhere.example:1")[0].status == 200


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/status", "/api/v1/explain"])
def test_a_large_answer_is_compressed_for_whoever_takes_that(server: HttpServer, path: str) -> None:
    """Prometheus does; the content is the same."""
    small, packed = ask(server, path, **{"Accept-Encoding": "gzip"})
    large, plain = ask(server, path)
    same = (lambda text: text) if path != "/metrics" else without_process_metrics

    assert small.headers["content-encoding"] == "gzip"
    assert large.headers["content-encoding"] is None
    assert small.headers["vary"] == large.headers["vary"] == "Accept-Encoding"
    assert same(gzip.decompress(packed)) == same(plain)
    assert len(packed) < len(plain) / 2


def without_process_metrics(page: bytes) -> bytes:
    return b"\n".join(line for line in page.splitlines() if b"process_" not in line)


def test_a_small_answer_is_sent_as_it_is(server: HttpServer) -> None:
    """It would not get smaller."""
    response, body = ask(server, **{"Accept-Encoding": "gzip"})
    assert (response.headers["content-encoding"], body) == (None, b"ok\n")


def test_requests_may_come_all_at_once(server: HttpServer) -> None:
    """Each is answered, in order."""
    with connect(server) as client:
        paths = ["/healthz", "/nowhere", "/readyz"]
        last = [b"Connection: close\r\n" if path == paths[-1] else b"" for path in paths]
        client.sendall(
            b"".join(
                b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (path.encode(), close)
                for path, close in zip(paths, last, strict=True)
            )
        )
        received = until_the_end(client)

    assert statuses(received) == [200, 404, 503]


def test_half_sent_requests_keep_nobody_out(server: HttpServer) -> None:
    """200 of them are open, and the next scrape is answered: the oldest made room."""
    clients = [connect(server) for _ in range(200)]
    for client in clients:
        send(client, b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
    try:
        assert [answers(server) for _ in range(3)] == [True, True, True]
    finally:
        for client in clients:
            client.close()


def test_a_scraper_that_keeps_its_connection_outlives_half_sent_requests(
    server: HttpServer,
) -> None:
    """Those go first, however many come."""
    scraper = http.client.HTTPConnection(server.address, timeout=PATIENCE_SECONDS)
    scraper.auto_open = 0  # it does not connect a second time
    scraper.connect()
    clients = []
    with closing(scraper):
        for _ in range(4):
            scraper.request("GET", "/healthz")
            assert scraper.getresponse().read() == b"ok\n"
            clients += [connect(server) for _ in range(25)]
            for client in clients[-25:]:
                send(client, b"GET /metrics HTTP/1.1\r\n")
            assert answers(server)
    for client in clients:
        client.close()


@pytest.mark.parametrize("beginning", [b"", b"GET /metrics HT", REQUEST[:-2]])
def test_an_unfinished_request_is_cut_off(strict: HttpServer, beginning: bytes) -> None:
    """A connection on which nothing comes, too."""
    with connect(strict) as client:
        client.sendall(beginning)
        assert until_the_end(client) == b""


def test_a_header_that_comes_byte_by_byte_is_cut_off(strict: HttpServer) -> None:
    """Each byte is progress, but the time is for all of them."""
    with connect(strict) as client:
        assert holds(lambda: ends(lambda: client.sendall(b"G")))


def test_a_connection_at_rest_is_not_cut_off(strict: HttpServer) -> None:
    """A scraper comes back after longer than an answer may take."""
    connection = http.client.HTTPConnection(strict.address, timeout=PATIENCE_SECONDS)
    connection.auto_open = 0
    connection.connect()
    with closing(connection):
        for _ in range(2):
            connection.request("GET", "/metrics")
            assert connection.getresponse().read() != b""
            time.sleep(8 * SHORT.exchange_seconds)
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok\n"


def test_a_connection_at_rest_for_too_long_is_closed() -> None:
    """In good order, with nothing more on it."""
    limits = HttpLimits(keep_alive_seconds=0.2)
    app = application(snapshots.published(), snapshots.FixedClock())
    server = HttpServer(app, "127.0.0.1", 0, limits)
    server.start()
    try:
        with connect(server) as client:
            client.sendall(REQUEST)
            assert until_the_end(client).endswith(b"ok\n")
    finally:
        server.stop()


@pytest.fixture(params=[60_000, 8_000_000], ids=["in the kernel", "in the server"])
def large(request: pytest.FixtureRequest) -> Iterator[tuple[HttpServer, int]]:
    """A listener whose answer is so large that a client's host does not take it by itself."""
    size: int = request.param

    async def page(_: Request) -> Response:
        return PlainTextResponse(b"x" * size)

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    app = Starlette(routes=[Route("/large", page), Route("/healthz", healthz)])
    server = HttpServer(app, "127.0.0.1", 0, SHORT)
    server.start()
    yield server, size
    server.stop()


def test_whoever_reads_too_slowly_is_cut_off(large: tuple[HttpServer, int]) -> None:
    """Wherever the rest of the answer waits; others are answered meanwhile."""
    server, size = large
    with connect(server, receive_buffer_bytes=2048) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1) == b"H"
        assert answers(server)
        assert holds(lambda: client.recv(1) == b"" or is_reset(client))
        assert len(until_the_end(client)) < size / 2


def test_a_large_answer_arrives_whole(large: tuple[HttpServer, int]) -> None:
    """The bounds are for those who do not read."""
    server, size = large
    assert ask(server, "/large")[1] == b"x" * size


@pytest.mark.parametrize("piece_bytes", [1 << 20, 1000])
def test_a_header_without_end_is_refused(server: HttpServer, piece_bytes: int) -> None:
    """Whether it comes at once or in pieces."""
    header = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 60_000 + b"\r\n\r\n"
    with connect(server) as client:
        for start in range(0, len(header), piece_bytes):
            send(client, header[start : start + piece_bytes])
        received = until_the_end(client)

    assert set(statuses(received)) <= {400, 431}
    assert answers(server)


def test_a_header_of_ordinary_size_is_taken(server: HttpServer) -> None:
    """Cookies and tokens can take kilobytes."""
    assert ask(server, Authorization="Bearer " + "a" * 8000)[0].status == 200


def test_a_small_body_is_ignored(server: HttpServer) -> None:
    """The connection goes on to serve."""
    body = b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with connect(server) as client:
        client.sendall(body + last)
        received = until_the_end(client)

    assert received.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("framing", [b"Content-Length: 99999999999", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_body_without_end_is_cut_off(server: HttpServer, framing: bytes, method: bytes) -> None:
    """By its bytes, long before its time."""
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    with connect(server) as client:
        client.sendall(method + b" /healthz HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
        assert any(ends(lambda: client.sendall(chunk)) for _ in range(100_000))
    assert answers(server)


def test_a_body_that_never_comes_is_cut_off(strict: HttpServer) -> None:
    """The answer does not wait for it; the connection does, but not for long."""
    with connect(strict) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1")
        assert until_the_end(client).endswith(b"ok\n")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0\xff\xfe garbage\r\n\r\n",
        TLS_HELLO,
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: odd\r\n\r\n",
        b"PRI * HTTP/2.0\r\nHost: x\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_http_is_closed(server: HttpServer, garbage: bytes) -> None:
    """After an answer that says so, at most."""
    with connect(server) as client:
        send(client, garbage)
        received = until_the_end(client)

    assert set(statuses(received)) <= {400, 404, 405, 501}
    assert answers(server)


def test_an_upgrade_is_not_made(server: HttpServer) -> None:
    """The request is answered as it is."""
    websocket = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x"}
    assert ask(server, **websocket)[0].status == 200


def abuse(server: HttpServer, number: int) -> socket.socket | None:
    """One of several kinds of clients; the connection where it stays open."""
    client = connect(server)
    kind = number % 6
    if kind == 0:
        reset(client)
    elif kind == 1:
        send(client, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        reset(client)
    elif kind == 2:
        send(client, TLS_HELLO)
        client.close()
    elif kind == 3:
        send(client, b"GET /metrics HTTP/1.1\r\nHo")
        return client
    elif kind == 4:
        send(client, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        return client
    else:
        client.close()
    return None


def test_two_thousand_abusive_connections_leave_nothing_behind(server: HttpServer) -> None:
    """No file descriptor, no thread, no connection, and others are answered all the time."""
    assert answers(server)
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    held: list[socket.socket] = []
    for number in range(2000):
        client = abuse(server, number)
        if client is not None:
            held.append(client)
        if number % 200 == 0:
            assert answers(server)
            for client in held:
                client.close()
            held.clear()
    for client in held:
        client.close()

    assert holds(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)
    assert threading.active_count() == threads
    assert answers(server)
