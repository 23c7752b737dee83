"""What receivers are really sent, and what is made of their answers: real servers, real TLS."""

import base64
import hashlib
import hmac
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from agent.delivery.answer import Answer
from agent.delivery.secret_files import SecretUnreadable, read_secret
from agent.delivery.senders import AlertmanagerSender, WebhookSender
from agent.delivery.settings import (
    AlertmanagerSettings,
    BasicAuthSettings,
    TlsSettings,
    WebhookSettings,
)
from agent.delivery.wire import Origin
from tests.unit.delivery_samples import WALL, alert, notification
from tests.unit.http_receiver import eventually, receiving

ORIGIN = Origin({"job": "smaxd", "instance": "db1:10390"}, "http://db1:10390/")
KEY = b"0123456789abcdef01234567"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def to_webhook(
    settings: WebhookSettings, timeout_seconds: float = 10.0, **environ: str
) -> WebhookSender:
    return WebhookSender(settings, "hook", ORIGIN, timeout_seconds, environ)


def test_alertmanager_is_sent_what_its_api_takes() -> None:
    """Firing alerts end by themselves four minutes after the last word about them."""
    over = alert("RocksdbWriteDelayed", severity="warning", ends=WALL + 5)
    with receiving() as receiver:
        receiver.answer = b""
        sender = AlertmanagerSender(AlertmanagerSettings(receiver.url), ORIGIN, 10.0, {})
        answer = sender.send((alert(), over), WALL + 60)
        (request,) = receiver.requests

    assert answer.outcome == "delivered"
    assert request.path == "/api/v2/alerts"
    assert request.headers["content-type"] == "application/json"
    firing, resolved = request.json
    assert firing == {
        "labels": {
            "alertname": "RocksdbWriteStopped",
            "severity": "critical",
            "db": "orders",
            "device": "nvme0n1",
            "job": "smaxd",
            "instance": "db1:10390",
        },
        "annotations": dict(alert().annotations),
        "startsAt": "2027-01-15T08:00:00.000Z",
        "endsAt": "2027-01-15T08:05:00.000Z",
        "generatorURL": "http://db1:10390/",
    }
    assert resolved["endsAt"] == "2027-01-15T08:00:05.000Z"


def test_a_wall_clock_that_was_set_back_leaves_alertmanager_an_alert_that_it_takes() -> None:
    """It refuses an end before the beginning, and an end that is to come it takes as firing."""
    over = alert("RocksdbWriteDelayed", ends=WALL + 500)
    with receiving() as receiver:
        sender = AlertmanagerSender(AlertmanagerSettings(receiver.url), ORIGIN, 10.0, {})
        sender.send((alert(), over), WALL - 3600)
        (request,) = receiver.requests

    periods = [(one["startsAt"], one["endsAt"]) for one in request.json]
    assert periods == [
        ("2027-01-15T07:00:00.000Z", "2027-01-15T07:04:00.000Z"),
        ("2027-01-15T07:00:00.000Z", "2027-01-15T07:00:00.000Z"),
    ]


def test_an_alertmanager_below_a_path_is_reached_there() -> None:
    """Behind a reverse proxy; a slash at the end makes no difference."""
    with receiving() as receiver:
        settings = AlertmanagerSettings(f"{receiver.url}/alertmanager/")
        AlertmanagerSender(settings, ORIGIN, 10.0, {}).send((alert(),), WALL)

    assert [one.path for one in receiver.requests] == ["/alertmanager/api/v2/alerts"]


def test_a_webhook_is_sent_the_shape_of_alertmanagers_webhooks() -> None:
    """What understands Alertmanager's version 4 understands this."""
    users = alert(db="users", ends=WALL + 5)
    with receiving() as receiver:
        to_webhook(WebhookSettings(f"{receiver.url}/hook?a=b")).send(
            notification("id-1", alert(), users), WALL
        )
        (request,) = receiver.requests

    assert request.path == "/hook?a=b"
    document = request.json
    assert {name: document[name] for name in ("version", "status", "receiver", "groupKey")} == {
        "version": "4",
        "status": "firing",
        "receiver": "hook",
        "groupKey": "device nvme0n1",
    }
    assert [(one["status"], one["endsAt"]) for one in document["alerts"]] == [
        ("firing", "0001-01-01T00:00:00Z"),
        ("resolved", "2027-01-15T08:00:05.000Z"),
    ]
    assert document["commonLabels"] == {
        "alertname": "RocksdbWriteStopped",
        "severity": "critical",
        "device": "nvme0n1",
        "job": "smaxd",
        "instance": "db1:10390",
    }


def test_a_name_that_is_no_valid_utf_8_is_sent_escaped() -> None:
    """A path on a disk may be anything; JSON may not."""
    with receiving() as receiver:
        answer = to_webhook(WebhookSettings(receiver.url)).send(
            notification("id-1", alert(db="/srv/\udcff")), WALL
        )
        (request,) = receiver.requests

    assert answer.outcome == "delivered"
    assert request.json["alerts"][0]["labels"]["db"] == "/srv/\\xff"


def test_a_webhooks_signature_is_verified_as_the_documentation_says(tmp_path: Path) -> None:
    """Standard Webhooks: the receiver needs its copy of the secret and nothing of ours."""
    (tmp_path / "secret").write_text(SECRET + "\n")
    with receiving() as receiver:
        settings = WebhookSettings(receiver.url, secret_file=str(tmp_path / "secret"))
        to_webhook(settings).send(notification("id-1"), WALL + 0.7)
        (request,) = receiver.requests

    assert request.headers["webhook-id"] == "id-1"
    assert request.headers["webhook-timestamp"] == "1800000000"
    signed = b"id-1.1800000000." + request.body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"


def test_the_documentations_own_function_verifies_a_webhook(tmp_path: Path) -> None:
    """What a receiver copies from there works, and refuses what was changed on the way."""
    page = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text()
    (source,) = re.findall(r"```python\n(def is_genuine.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {
        "Mapping": Mapping,
        "base64": base64,
        "hmac": hmac,
        "time": SimpleNamespace(time=lambda: WALL + 10.0),
    }
    exec(source, names)  # noqa: S102 - our own documentation
    (tmp_path / "secret").write_text(SECRET)
    with receiving() as receiver:
        settings = WebhookSettings(receiver.url, secret_file=str(tmp_path / "secret"))
        to_webhook(settings).send(notification(), WALL)
        (request,) = receiver.requests

    is_genuine = names["is_genuine"]
    assert is_genuine(SECRET, request.headers, request.body)
    assert not is_genuine(SECRET, request.headers, request.body + b" ")


@pytest.mark.parametrize("secret", ["hunter2hunter2", "whsec_!!!", "whsec_c2hvcnQ="])
def test_a_secret_of_another_form_is_refused_without_showing_it(
    tmp_path: Path, secret: str
) -> None:
    """A weak key would make the signature worth nothing."""
    (tmp_path / "secret").write_text(secret)
    with receiving() as receiver:
        settings = WebhookSettings(receiver.url, secret_file=str(tmp_path / "secret"))
        answer = to_webhook(settings).send(notification(), WALL)

    assert receiver.requests == []
    assert answer.outcome == "failed"
    assert "openssl rand" in answer.detail
    assert secret not in answer.detail


def test_basic_auth_reads_the_password_from_the_services_credentials(tmp_path: Path) -> None:
    """A relative name lies where LoadCredential= puts it."""
    (tmp_path / "password").write_text("s3cret\n")
    with receiving() as receiver:
        settings = WebhookSettings(receiver.url, basic_auth=BasicAuthSettings("agent", "password"))
        to_webhook(settings, CREDENTIALS_DIRECTORY=str(tmp_path)).send(notification(), WALL)
        (request,) = receiver.requests

    expected = base64.b64encode(b"agent:s3cret").decode()
    assert request.headers["authorization"] == f"Basic {expected}"


def test_a_rotated_token_is_used_without_a_restart(tmp_path: Path) -> None:
    """Files are read for each attempt."""
    token = tmp_path / "token"
    with receiving() as receiver:
        sender = to_webhook(WebhookSettings(receiver.url, bearer_token_file=str(token)))
        for text in ("old", "new"):
            token.write_text(text)
            sender.send(notification(), WALL)

    sent = [one.headers["authorization"] for one in receiver.requests]
    assert sent == ["Bearer old", "Bearer new"]


def test_an_address_that_is_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    """As chat services give them out; a broken one is told of without showing it."""
    with receiving() as receiver:
        (tmp_path / "url").write_text(f"{receiver.url}/T0/B0/abcdef\n")
        settings = WebhookSettings(url_file=str(tmp_path / "url"), name="chat")
        good = to_webhook(settings).send(notification(), WALL)
        (tmp_path / "url").write_text("ftp://abcdef")
        bad = to_webhook(settings).send(notification(), WALL)

    assert [one.path for one in receiver.requests] == ["/T0/B0/abcdef"]
    assert (good.outcome, bad.outcome) == ("delivered", "failed")
    assert "abcdef" not in bad.detail


def test_secret_files_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    """Missing, a pipe, empty, several lines, not text; and a relative name without systemd."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "lines").write_text("a\nb\n")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    reasons = {
        "missing": "No such file",
        "pipe": "not a regular file",
        "empty": "is empty",
        "lines": "one line",
        ".": "not a regular file",
        "binary": "not text",
    }
    descriptors = os.listdir("/proc/self/fd")
    for name, reason in reasons.items():
        with pytest.raises(SecretUnreadable, match=reason):
            read_secret(str(tmp_path / name), {})
    assert os.listdir("/proc/self/fd") == descriptors
    with pytest.raises(SecretUnreadable, match="LoadCredential"):
        read_secret("token", {})


def test_an_answer_says_what_the_receiver_complained_about() -> None:
    """The beginning of its body, in one line and without what a terminal would obey."""
    with receiving() as receiver:
        receiver.status, receiver.answer = 400, b"no\n\x1b[31msuch label" + b"x" * 100_000
        answer = to_webhook(WebhookSettings(receiver.url)).send(notification(), WALL)

    assert answer.outcome == "rejected"
    assert answer.detail.startswith("answered 400 Bad Request: no [31msuch labelxxx")
    assert len(answer.detail) < 300


def test_what_an_answer_repeats_of_a_secret_is_not_shown(tmp_path: Path) -> None:
    """Many a web framework names the path that it does not know, or the token that it refuses."""
    (tmp_path / "token").write_text("t0ken-of-ours\n")
    (tmp_path / "password").write_text("pass%word\n")
    encoded = base64.b64encode(b"agent:pass%word").decode()
    with receiving() as receiver:
        (tmp_path / "url").write_text(f"{receiver.url}/T0/B0/s3cret%2Fpart?key=k3y-in-query")
        secret = WebhookSettings(
            name="chat",
            url_file=str(tmp_path / "url"),
            bearer_token_file=str(tmp_path / "token"),
        )
        basic = WebhookSettings(
            receiver.url, basic_auth=BasicAuthSettings("agent", str(tmp_path / "password"))
        )
        receiver.status = 404
        receiver.answer = (
            b"Cannot POST /T0/B0/s3cret/part (s3cret%2Fpart, k3y-in-query) with t0ken-of-ours"
        )
        chat = to_webhook(secret).send(notification(), WALL)
        receiver.answer = f"no such user: pass%word {encoded}".encode()
        other = to_webhook(basic).send(notification(), WALL)

    assert chat.detail == "answered 404 Not Found: Cannot POST /T0/B0/*** (***, ***) with ***"
    assert other.detail == "answered 404 Not Found: no such user: *** ***"


def test_a_redirect_is_not_followed() -> None:
    """Where it leads is not where the operator wanted it."""
    with receiving() as elsewhere, receiving() as receiver:
        receiver.status, receiver.answer_headers = 307, {"Location": elsewhere.url}
        answer = to_webhook(WebhookSettings(receiver.url)).send(notification(), WALL)

    assert answer.outcome == "rejected"
    assert elsewhere.requests == []


def test_nobody_listening_is_a_failure_that_may_pass() -> None:
    """Connection refused."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    answer = to_webhook(WebhookSettings(f"http://127.0.0.1:{port}")).send(notification(), WALL)

    assert answer == Answer("failed", "Connection refused")


def test_a_receiver_that_drips_bytes_is_given_up_at_the_timeout() -> None:
    """Each byte comes in time, the answer never does."""
    with receiving() as receiver:
        receiver.drip_seconds = 0.05
        answer = to_webhook(WebhookSettings(receiver.url), 0.3).send(notification(), WALL)

    assert answer == Answer("failed", "no answer within 0.3 s")


def test_a_receiver_that_accepts_and_says_nothing_is_given_up_at_the_timeout() -> None:
    """Also before TLS is agreed on."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        answers = [
            to_webhook(WebhookSettings(f"{scheme}://{address}"), 0.2).send(notification(), WALL)
            for scheme in ("http", "https")
        ]

    assert [answer.outcome for answer in answers] == ["failed", "failed"]
    assert all("no answer" in answer.detail for answer in answers)


@contextmanager
def deaf() -> Iterator[str]:
    """An address whose host does not answer at all: its queue of connections is full."""
    with ExitStack() as until_the_end:
        server = until_the_end.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):
            waiting = until_the_end.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_host_that_does_not_answer_is_given_up_at_the_timeout() -> None:
    """A firewall that swallows the packets."""
    with deaf() as url:
        answer = to_webhook(WebhookSettings(url), 0.3).send(notification(), WALL)

    assert answer == Answer("failed", "no answer within 0.3 s")


def test_a_connection_that_does_not_come_about_can_be_ended_by_another_thread() -> None:
    """A stop does not wait for that either."""
    with deaf() as url:
        sender = to_webhook(WebhookSettings(url), 60.0)
        answers: list[Answer] = []
        thread = threading.Thread(
            target=lambda: answers.append(sender.send(notification(), WALL)), daemon=True
        )
        before = connecting(url)
        thread.start()
        # Aborted before its time, it would not even begin.
        eventually(lambda: connecting(url) > before, "the attempt")
        sender.abort()
        thread.join(20.0)

    assert [answer.outcome for answer in answers] == ["failed"]


def connecting(url: str) -> int:
    """How many wait for an answer from there."""
    waiting = f":{int(url.rpartition(':')[2]):04X} 02 "  # the port, and SYN_SENT
    return Path("/proc/net/tcp").read_text().count(waiting)


def test_an_attempt_under_way_can_be_ended_by_another_thread() -> None:
    """A stop does not wait for a receiver."""
    with receiving() as receiver:
        receiver.drip_seconds = 0.05
        sender = to_webhook(WebhookSettings(receiver.url), 60.0)
        receiver.before_answer = threading.Timer(0.1, sender.abort).start
        answer = sender.send(notification(), WALL)
        later = sender.send(notification(), WALL)

    assert (answer.outcome, later.outcome) == ("failed", "failed")
    assert len(receiver.requests) == 1


def test_an_answer_that_is_not_http_is_a_failure() -> None:
    """Some other service on that port."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer_ssh() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=answer_ssh)
        thread.start()
        url = f"http://127.0.0.1:{other.getsockname()[1]}"
        answer = to_webhook(WebhookSettings(url)).send(notification(), WALL)
        thread.join()

    assert answer == Answer("failed", "the answer is not HTTP: BadStatusLine")


class Authority:
    """Certificates of an authority of our own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = directory / "ca.pem"
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test authority"),
        )

    def certificate(self, name: str, *validity: str) -> tuple[str, str]:
        """Certificate and key for 127.0.0.1 and ``name``.example."""
        self._openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"),
        )
        (self.directory / "ext").write_text(f"subjectAltName=IP:127.0.0.1,DNS:{name}.example\n")
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-out", f"{name}.pem", "-extfile", "ext", *validity),
        )
        return str(self.directory / f"{name}.pem"), str(self.directory / f"{name}.key")

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.directory, check=True, capture_output=True)


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def server_side(certificate: tuple[str, str], client_ca: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context


@needs_openssl
def test_a_receiver_is_known_by_its_certificate(authority: Authority) -> None:
    """Its authority is the one in ca_file; without it, nothing is sent."""
    with receiving(server_side(authority.certificate("good", "-days", "1"))) as receiver:
        trusting = WebhookSettings(receiver.url, tls=TlsSettings(ca_file=str(authority.ca)))
        trusted = to_webhook(trusting).send(notification(), WALL)
        stranger = to_webhook(WebhookSettings(receiver.url)).send(notification(), WALL)

    assert trusted.outcome == "delivered"
    assert stranger.outcome == "failed"
    assert "certificate is not accepted" in stranger.detail
    assert len(receiver.requests) == 1


@needs_openssl
@pytest.mark.parametrize(
    ("server_name", "skip", "outcome"),
    [
        ("named.example", False, "delivered"),
        ("other.example", False, "failed"),
        (None, True, "delivered"),
    ],
)
def test_the_name_on_the_certificate_counts(
    authority: Authority, server_name: str | None, skip: bool, outcome: str
) -> None:
    """server_name for an address that differs; insecure_skip_verify for no check at all."""
    with receiving(server_side(authority.certificate("named", "-days", "1"))) as receiver:
        tls = TlsSettings(
            ca_file=None if skip else str(authority.ca),
            server_name=server_name,
            insecure_skip_verify=skip,
        )
        answer = to_webhook(WebhookSettings(receiver.url, tls=tls)).send(notification(), WALL)

    assert answer.outcome == outcome


@needs_openssl
def test_an_expired_certificate_is_named_as_such(authority: Authority) -> None:
    """The operator of the receiver has to act, and is told on what."""
    expired = authority.certificate("expired", "-days", "-1")
    with receiving(server_side(expired)) as receiver:
        settings = WebhookSettings(receiver.url, tls=TlsSettings(ca_file=str(authority.ca)))
        answer = to_webhook(settings).send(notification(), WALL)

    assert answer.outcome == "failed"
    assert "has expired" in answer.detail


@needs_openssl
def test_the_agent_shows_a_certificate_where_one_is_wanted(authority: Authority) -> None:
    """Mutual TLS."""
    server = server_side(authority.certificate("good2", "-days", "1"), client_ca=authority.ca)
    cert, key = authority.certificate("client", "-days", "1")
    with receiving(server) as receiver:
        tls = TlsSettings(ca_file=str(authority.ca), cert_file=cert, key_file=key)
        with_one = to_webhook(WebhookSettings(receiver.url, tls=tls)).send(notification(), WALL)
        without = msgspec.structs.replace(tls, cert_file=None, key_file=None)
        anonymous = to_webhook(WebhookSettings(receiver.url, tls=without)).send(
            notification(), WALL
        )

    assert (with_one.outcome, anonymous.outcome) == ("delivered", "failed")


@pytest.mark.parametrize(
    "tls",
    [TlsSettings(ca_file="/nonexistent/ca.pem"), TlsSettings(cert_file="/nonexistent/client.pem")],
)
def test_certificates_that_cannot_be_read_are_named(tls: TlsSettings) -> None:
    """Which file, and why."""
    answer = to_webhook(WebhookSettings("https://127.0.0.1:1", tls=tls)).send(notification(), WALL)

    assert answer.outcome == "failed"
    assert "/nonexistent/" in answer.detail
    assert "No such file" in answer.detail
