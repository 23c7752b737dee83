"""The listener with TLS, client certificates and passwords; every bound of the plain one holds."""

import base64
import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from agent.http import HttpServer, application
from agent.http_protocol import HttpLimits
from agent.web_file import WebFile
from tests.unit import snapshots
from tests.unit.certificates import Authority, Pair, authority, needs_openssl
from tests.unit.test_http import (
    PATIENCE_SECONDS,
    REQUEST,
    SHORT,
    connect,
    ends,
    holds,
    is_reset,
    reset,
    send,
    statuses,
    until_the_end,
)

pytestmark = needs_openssl

LARGE_BYTES = 8_000_000
PATIENT = HttpLimits(connections=16, exchange_seconds=3.0)
"""Cuts off soon, but gives a busy machine the time for a handshake."""

REFUSALS = (ssl.SSLError, ConnectionError, http.client.HTTPException)
"""How a client sees that it is not let in."""

HASH = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()


@dataclass(frozen=True)
class Certificates:
    """One authority, a server, two clients, and somebody else's authority."""

    ours: Authority
    server: Pair
    client: Pair
    foreign: Pair


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    ours = authority(tmp_path_factory.mktemp("ours"))
    theirs = authority(tmp_path_factory.mktemp("theirs"))
    return Certificates(
        ours,
        ours.signs("server"),
        ours.signs("client", "DNS:scraper.example,IP:fe80::1,email:a@b.example,URI:spiffe://x/y"),
        theirs.signs("foreign"),
    )


class Listener:
    """A server behind a web configuration that tests can change."""

    def __init__(self, place: Path, text: str, limits: HttpLimits | None) -> None:
        self._file = place / "web.yml"
        self._file.write_text(text)
        self.web = WebFile(str(self._file), structlog.get_logger(), snapshots.FixedClock())
        self.server = HttpServer(_app(self.web), "127.0.0.1", 0, limits, self.web)
        self.server.start()

    def change(self, text: str) -> None:
        """Replace the file, and let the listener look until it has read it."""
        beside = self._file.with_suffix(".new")
        beside.write_text(text)
        beside.replace(self._file)

    def ask(
        self, context: ssl.SSLContext | None, path: str = "/healthz", **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request on a connection of its own."""
        if context is None:
            connection = http.client.HTTPConnection(self.server.address, timeout=PATIENCE_SECONDS)
        else:
            connection = http.client.HTTPSConnection(
                self.server.address, timeout=PATIENCE_SECONDS, context=context
            )
        with closing(connection):
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response, response.read()

    def status(self, context: ssl.SSLContext | None, path: str = "/healthz", **headers: str) -> int:
        return self.ask(context, path, **headers)[0].status


def _app(web: WebFile) -> Starlette:
    async def page(_: Request) -> Response:
        return PlainTextResponse(b"x" * LARGE_BYTES)

    published = snapshots.published()
    published.web_status = web.status
    app = application(published, snapshots.FixedClock())
    app.router.routes.append(Route("/large", page))
    return app


@pytest.fixture
def listeners(tmp_path: Path) -> Iterator["Listeners"]:
    made = Listeners(tmp_path)
    yield made
    for listener in made.running:
        listener.server.stop()


class Listeners:
    """Starts listeners that end with the test."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.running: list[Listener] = []

    def start(self, text: str, limits: HttpLimits | None = None) -> Listener:
        self.running.append(Listener(self._place, text, limits))
        return self.running[-1]


def pair(of: Pair) -> str:
    return f"tls_server_config:\n  cert_file: {of.certificate}\n  key_file: {of.key}\n"


def trusting(certificates: Certificates, client: Pair | None = None) -> ssl.SSLContext:
    """What a client has that knows our authority."""
    context = ssl.create_default_context(cafile=str(certificates.ours.pair.certificate))
    if client is not None:
        context.load_cert_chain(client.certificate, client.key)
    return context


def encrypted(listener: Listener, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(connect(listener.server), server_hostname="localhost")


def with_hands_shaken(listener: Listener, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Where the listener has little patience: tried again if this machine was slower than that."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return encrypted(listener, context)
        except (ssl.SSLError, ConnectionError):
            assert time.monotonic() < give_up, "no handshake in time"


def is_answered(listener: Listener, context: ssl.SSLContext) -> bool:
    try:
        return listener.status(context) == 200
    except REFUSALS:
        return False


def basic(user: str = "ann", password: str = "right") -> str:  # noqa: S107 - a test's
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_what_is_asked_over_tls_is_answered(
    listeners: Listeners, certificates: Certificates
) -> None:
    """Several times on one connection, also a large answer."""
    listener = listeners.start(pair(certificates.server))
    connection = http.client.HTTPSConnection(
        listener.server.address, timeout=PATIENCE_SECONDS, context=trusting(certificates)
    )
    with closing(connection):
        connection.connect()
        connection.auto_open = 0
        for path, expected in (("/healthz", b"ok\n"), ("/large", b"x" * LARGE_BYTES)) * 2:
            connection.request("GET", path)
            assert connection.getresponse().read() == expected


def test_a_client_that_offers_http_2_is_told_what_is_spoken(
    listeners: Listeners, certificates: Certificates
) -> None:
    """Prometheus offers both."""
    listener = listeners.start(pair(certificates.server))
    context = trusting(certificates)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with encrypted(listener, context) as client:
        assert client.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD", b"OPTIONS"])
def test_plain_http_is_told_that_this_is_tls(
    listeners: Listeners, certificates: Certificates, method: bytes
) -> None:
    """A clear answer instead of a torn connection."""
    listener = listeners.start(pair(certificates.server))
    with connect(listener.server) as client:
        client.sendall(method + b" /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        received = until_the_end(client)

    assert statuses(received) == [400]
    assert b"Client sent an HTTP request to an HTTPS server.\n" in received
    assert listener.web.refused["handshake"] == 1


@pytest.mark.parametrize(
    "beginning", [b"", b"\x16", b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03"]
)
def test_an_unfinished_handshake_is_cut_off(
    listeners: Listeners, certificates: Certificates, beginning: bytes
) -> None:
    """As an unfinished request is."""
    listener = listeners.start(pair(certificates.server), SHORT)
    with connect(listener.server) as client:
        client.sendall(beginning)
        assert until_the_end(client) == b""


def test_a_handshake_that_comes_byte_by_byte_is_cut_off(
    listeners: Listeners, certificates: Certificates
) -> None:
    """Each byte is progress, but the time is for all of them."""
    listener = listeners.start(pair(certificates.server), SHORT)
    with connect(listener.server) as client:
        hello = b"\x16\x03\x01\x3f\xff\x01\x00\x3f\xfb\x03\x03"
        send(client, hello)
        assert holds(lambda: ends(lambda: client.sendall(b"\0")))


def test_unfinished_handshakes_keep_nobody_out(
    listeners: Listeners, certificates: Certificates
) -> None:
    """They count as connections from the first moment: the oldest makes room."""
    listener = listeners.start(pair(certificates.server))
    before = len(os.listdir("/proc/self/fd"))
    clients = [connect(listener.server) for _ in range(200)]
    for client in clients:
        send(client, b"\x16\x03\x01")
    try:
        context = trusting(certificates)
        assert [listener.status(context) for _ in range(3)] == [200] * 3
        most = before + len(clients) + HttpLimits().connections
        assert holds(lambda: len(os.listdir("/proc/self/fd")) <= most)
    finally:
        for client in clients:
            client.close()


def test_a_record_that_comes_byte_by_byte_is_cut_off(
    listeners: Listeners, certificates: Certificates
) -> None:
    """Also on a connection that was answered before: it does not rest meanwhile."""
    listener = listeners.start(pair(certificates.server), PATIENT)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting(certificates).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with connect(listener.server) as client:

        def receive() -> None:
            received = client.recv(65536)
            assert received, "ended before its time"
            incoming.write(received)

        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.sendall(outgoing.read())
                receive()
        tls.write(REQUEST)
        client.sendall(outgoing.read())
        answer = b""
        while not answer.endswith(b"ok\n"):
            receive()
            try:
                while piece := tls.read(65536):
                    answer += piece
            except ssl.SSLWantReadError:
                pass
        tls.write(REQUEST * 100)
        record = outgoing.read()
        sent = iter(record)
        assert holds(lambda: ends(lambda: client.sendall(bytes([next(sent)]))))


def test_an_unfinished_request_within_tls_is_cut_off(
    listeners: Listeners, certificates: Certificates
) -> None:
    """The handshake gives no more time."""
    listener = listeners.start(pair(certificates.server), PATIENT)
    with with_hands_shaken(listener, trusting(certificates)) as client:
        send(client, b"GET /metrics HTTP/1.1\r\n")
        assert holds(lambda: is_reset(client))


def test_whoever_reads_too_slowly_is_cut_off(
    listeners: Listeners, certificates: Certificates
) -> None:
    """The rest of the answer goes with the connection; others are answered meanwhile."""
    listener = listeners.start(pair(certificates.server), PATIENT)
    plain = connect(listener.server, receive_buffer_bytes=2048)
    context = trusting(certificates)
    with context.wrap_socket(plain, server_hostname="localhost") as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1) == b"H"
        assert holds(lambda: is_answered(listener, trusting(certificates)))
        assert holds(lambda: is_reset(client))


@pytest.mark.parametrize("kind", ["header", "body"])
def test_what_has_no_end_is_cut_off(
    listeners: Listeners, certificates: Certificates, kind: str
) -> None:
    """By its bytes, long before its time."""
    listener = listeners.start(pair(certificates.server))
    framing = b"Transfer-Encoding: chunked\r\n\r\n" if kind == "body" else b"X: "
    with encrypted(listener, trusting(certificates)) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + framing)
        chunk = b"400\r\n" + b"x" * 1024 + b"\r\n" if kind == "body" else b"x" * 1024
        assert any(ended_tls(client, chunk) for _ in range(100_000))
    assert listener.status(trusting(certificates)) == 200


def ended_tls(client: ssl.SSLSocket, data: bytes) -> bool:
    try:
        client.sendall(data)
    except (ConnectionError, ssl.SSLError):
        return True
    return False


def test_connections_that_misbehave_leave_nothing_behind(
    listeners: Listeners, certificates: Certificates
) -> None:
    """No file descriptor, no thread."""
    listener = listeners.start(pair(certificates.server))
    context = trusting(certificates)
    assert listener.status(context) == 200
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for number in range(400):
        client = connect(listener.server)
        if number % 4 == 0:
            reset(client)
            continue
        if number % 4 == 1:
            send(client, b"\x16\x03\x01\x00\x05hello")
        elif number % 4 == 2:
            send(client, b"\x80\0\xff garbage")
        else:
            send(client, b"\x16\x03")
        client.close()
        if number % 40 == 1:
            with encrypted(listener, context) as whole:
                whole.sendall(REQUEST[:20])

    assert holds(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)
    assert threading.active_count() == threads
    assert listener.status(context) == 200


def test_only_clients_with_a_certificate_of_ours_are_admitted(
    listeners: Listeners, certificates: Certificates
) -> None:
    """None, or one of somebody else's, ends the handshake."""
    listener = listeners.start(
        pair(certificates.server) + "  client_auth_type: RequireAndVerifyClientCert\n"
        f"  client_ca_file: {certificates.ours.pair.certificate}\n"
    )

    assert listener.status(trusting(certificates, certificates.client)) == 200
    for stranger in (None, certificates.foreign):
        with pytest.raises(REFUSALS):
            listener.status(trusting(certificates, stranger))
    # The client may learn of its refusal before the listener has counted it.
    assert holds(lambda: listener.web.refused["handshake"] == 2)


def test_a_certificate_that_may_be_given_must_be_good(
    listeners: Listeners, certificates: Certificates
) -> None:
    """And nobody has to give one."""
    listener = listeners.start(
        pair(certificates.server) + "  client_auth_type: VerifyClientCertIfGiven\n"
        f"  client_ca_file: {certificates.ours.pair.certificate}\n"
    )

    assert listener.status(trusting(certificates)) == 200
    assert listener.status(trusting(certificates, certificates.client)) == 200
    with pytest.raises(REFUSALS):
        listener.status(trusting(certificates, certificates.foreign))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("allowed", "admitted"),
    [
        ("scraper.example", True),
        ("fe80::1", True),
        ("a@b.example", True),
        ("spiffe://x/y", True),
        ("other.example", False),
        ("client", False),
    ],
)
def test_the_names_of_a_client_can_be_restricted(
    listeners: Listeners,
    certificates: Certificates,
    allowed: str,
    admitted: bool,
    version: ssl.TLSVersion,
) -> None:
    """Alternative names of any kind, whole ones only; the common name is none."""
    listener = listeners.start(
        pair(certificates.server) + "  client_auth_type: RequireAndVerifyClientCert\n"
        f"  client_ca_file: {certificates.ours.pair.certificate}\n"
        f"  client_allowed_sans: [another, '{allowed}']\n"
    )
    context = trusting(certificates, certificates.client)
    context.maximum_version = version

    assert is_answered(listener, context) == admitted


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("max_version: TLS12", "TLSv1.2"),
        ("min_version: TLS13", "TLSv1.3"),
        ("cipher_suites: [TLS_AES_128_GCM_SHA256]", "TLSv1.3"),
    ],
)
def test_the_version_is_as_configured(
    listeners: Listeners, certificates: Certificates, settings: str, expected: str
) -> None:
    listener = listeners.start(f"{pair(certificates.server)}  {settings}\n")
    with encrypted(listener, trusting(certificates)) as client:
        assert client.version() == expected


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [("true", "ECDHE-ECDSA-AES256-GCM-SHA384"), ("false", "ECDHE-ECDSA-AES128-GCM-SHA256")],
)
def test_the_cipher_suite_is_chosen_by_whom_the_file_says(
    listeners: Listeners, certificates: Certificates, prefer: str, expected: str
) -> None:
    """The server's order, or the client's."""
    listener = listeners.start(
        pair(certificates.server) + "  max_version: TLS12\n  cipher_suites:\n"
        "    - TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\n"
        "    - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\n"
        f"  prefer_server_cipher_suites: {prefer}\n"
    )
    context = trusting(certificates)
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
    with encrypted(listener, context) as client:
        chosen = client.cipher()
    assert chosen is not None
    assert chosen[0] == expected


def test_the_only_curve_is_the_one_that_is_named(
    listeners: Listeners, certificates: Certificates
) -> None:
    listener = listeners.start(f"{pair(certificates.server)}  curve_preferences: [CurveP521]\n")
    right, wrong = trusting(certificates), trusting(certificates)
    right.set_ecdh_curve("secp521r1")
    wrong.set_ecdh_curve("secp384r1")

    assert listener.status(right) == 200
    with pytest.raises((ssl.SSLError, ConnectionError)):
        listener.status(wrong)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_work_where_the_file_names_them(
    listeners: Listeners, certificates: Certificates
) -> None:
    """Not otherwise."""
    context = trusting(certificates)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    listener = listeners.start(f"{pair(certificates.server)}  min_version: TLS10\n")
    with encrypted(listener, context) as client:
        assert client.version() == "TLSv1"

    strict = listeners.start(pair(certificates.server))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        encrypted(strict, context)


def test_every_path_asks_for_the_password(listeners: Listeners) -> None:
    """Also one that does not exist, and without TLS."""
    listener = listeners.start(f"basic_auth_users: {{ann: {HASH}}}\n")
    paths = ["/", "/metrics", "/healthz", "/readyz", "/api/v1/status", "/nowhere"]

    assert {listener.status(None, path) for path in paths} == {401}
    response, body = listener.ask(None, "/metrics", Authorization=basic("ann", "wrong"))
    assert (response.status, body) == (401, b"Unauthorized\n")
    assert response.headers["www-authenticate"] == "Basic"
    assert listener.status(None, "/healthz", Authorization=basic()) == 200
    assert listener.status(None, "/nowhere", Authorization=basic()) == 404
    assert listener.web.refused["password"] == len(paths) + 1


def test_headers_of_the_file_are_in_every_answer(listeners: Listeners) -> None:
    """Also in a refusal."""
    listener = listeners.start(
        "http_server_config: {headers: {X-Frame-Options: deny}}\n"
        f"basic_auth_users: {{ann: {HASH}}}\n"
    )
    refused, _ = listener.ask(None)
    answered, _ = listener.ask(None, Authorization=basic())

    assert [one.headers["x-frame-options"] for one in (refused, answered)] == ["deny", "deny"]


def test_more_requests_than_the_rate_limit_are_refused(listeners: Listeners) -> None:
    """The clock of this test stands still, so no token comes back."""
    listener = listeners.start("rate_limit: {interval: 1s, burst: 2}\n")

    assert [listener.status(None) for _ in range(4)] == [200, 200, 429, 429]
    assert listener.web.refused["rate"] == 2


def test_what_was_refused_is_in_the_metrics(listeners: Listeners) -> None:
    listener = listeners.start(f"basic_auth_users: {{ann: {HASH}}}\n")
    listener.status(None)
    _, page = listener.ask(None, "/metrics", Authorization=basic())

    assert b'smaxd_web_refused_total{reason="password"} 1.0\n' in page
    assert b"smaxd_web_config_last_reload_successful 1.0\n" in page


def test_a_renewed_certificate_is_used_for_new_connections(
    listeners: Listeners, certificates: Certificates, tmp_path: Path
) -> None:
    """Certificate and key are replaced one after the other, as certbot does."""
    used = Pair(tmp_path / "used.crt", tmp_path / "used.key")
    for of, to in ((certificates.server.certificate, used.certificate),
                   (certificates.server.key, used.key)):  # fmt: skip
        to.write_bytes(of.read_bytes())
    listener = listeners.start(pair(used))
    renewed = certificates.ours.signs("renewed")

    def served() -> bytes | None:
        with encrypted(listener, trusting(certificates)) as client:
            return client.getpeercert(binary_form=True)

    before = served()
    for of, to in ((renewed.certificate, used.certificate), (renewed.key, used.key)):
        beside = to.with_suffix(".new")
        beside.write_bytes(of.read_bytes())
        beside.replace(to)
        time.sleep(0.1)

    expected = ssl.PEM_cert_to_DER_cert(renewed.certificate.read_text())
    assert before != expected
    assert holds(lambda: served() == expected)


def test_a_user_who_is_taken_out_is_refused_on_an_open_connection(listeners: Listeners) -> None:
    """The next request already."""
    listener = listeners.start(f"basic_auth_users: {{ann: {HASH}, bob: {HASH}}}\n")
    connection = http.client.HTTPConnection(listener.server.address, timeout=PATIENCE_SECONDS)
    connection.connect()
    connection.auto_open = 0
    with closing(connection):

        def status() -> int:
            connection.request("GET", "/healthz", headers={"Authorization": basic()})
            response = connection.getresponse()
            response.read()
            return response.status

        assert status() == 200
        listener.change(f"basic_auth_users: {{bob: {HASH}}}\n")
        assert holds(lambda: status() == 401)


def test_tls_that_is_added_ends_what_is_not_encrypted(
    listeners: Listeners, certificates: Certificates
) -> None:
    """Without a restart."""
    listener = listeners.start("")
    with connect(listener.server) as client:
        client.sendall(REQUEST)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        listener.change(pair(certificates.server))
        assert until_the_end(client) in {b"", b"ok\n"}
    assert listener.status(trusting(certificates)) == 200


@pytest.mark.parametrize("broken", ["", "basic_auth_users: {ann: plain}", "tls_server_config: ["])
def test_a_broken_change_leaves_the_old_configuration_in_force(
    listeners: Listeners, broken: str
) -> None:
    """An emptied file does not open the door; the gauge tells, until the file is good again."""
    good = f"basic_auth_users: {{ann: {HASH}}}\n"
    listener = listeners.start(good)

    def gauge() -> bytes:
        _, page = listener.ask(None, "/metrics", Authorization=basic())
        lines = page.splitlines()
        (line,) = (one for one in lines if one.startswith(b"smaxd_web_config_last_reload_succ"
                                                          b"essful "))  # fmt: skip
        return line[-3:]

    listener.change(broken)
    assert holds(lambda: gauge() == b"0.0")
    assert listener.status(None) == 401
    listener.change(good)
    assert holds(lambda: gauge() == b"1.0")


def test_a_silent_client_does_not_delay_the_end(
    listeners: Listeners, certificates: Certificates
) -> None:
    """Neither in the handshake nor after it."""
    listener = listeners.start(pair(certificates.server))
    with socket.socket() as silent, encrypted(listener, trusting(certificates)):
        host, _, port = listener.server.address.rpartition(":")
        silent.connect((host, int(port)))
        listener.server.stop()
        assert holds(lambda: "http" not in {thread.name for thread in threading.enumerate()})
