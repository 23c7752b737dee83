"""The command line against a daemon that asks for TLS, a certificate and a password."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest
import structlog

from agent.client import NoDaemon, fetch_status
from agent.http import HttpServer, application
from agent.web_file import WebFile
from tests.unit import snapshots
from tests.unit.certificates import Authority, Pair, authority, needs_openssl

pytestmark = needs_openssl


@dataclass(frozen=True)
class Protected:
    """A listener with everything, and what opens it."""

    port: int
    ours: Authority
    client: Pair
    password_file: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def environment(self) -> dict[str, str]:
        return {
            "SMAXD_CA_FILE": str(self.ours.pair.certificate),
            "SMAXD_CERT_FILE": str(self.client.certificate),
            "SMAXD_KEY_FILE": str(self.client.key),
            "SMAXD_USER": "ann",
            "SMAXD_PASSWORD_FILE": str(self.password_file),
        }


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Protected]:
    place = tmp_path_factory.mktemp("protected")
    ours = authority(place)
    server, client = ours.signs("server"), ours.signs("client")
    password = place / "password"
    password.write_text("right\n")
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    file = place / "web.yml"
    file.write_text(
        f"tls_server_config:\n  cert_file: {server.certificate}\n  key_file: {server.key}\n"
        f"  client_auth_type: RequireAndVerifyClientCert\n"
        f"  client_ca_file: {ours.pair.certificate}\n"
        f"basic_auth_users: {{ann: {hashed}}}\n"
    )
    web = WebFile(str(file), structlog.get_logger(), snapshots.FixedClock())
    app = application(snapshots.published(), snapshots.FixedClock())
    listener = HttpServer(app, "127.0.0.1", 0, web=web)
    listener.start()
    port = int(listener.address.rpartition(":")[2])
    yield Protected(port, ours, client, password)
    listener.stop()


@pytest.fixture
def let_in(protected: Protected, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """With everything in the environment that it takes."""
    for name, value in protected.environment().items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.usefixtures("let_in")
def test_who_has_everything_is_let_in(protected: Protected) -> None:
    document, _ = fetch_status(protected.url)
    assert document.version == snapshots.snapshot().version


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SMAXD_CA_FILE", None, "SMAXD_CA_FILE names the authority"),
        ("SMAXD_CA_FILE", "/nonexistent", "SMAXD_CA_FILE: /nonexistent cannot be used"),
        ("SMAXD_CERT_FILE", None, "a client certificate"),
        ("SMAXD_CERT_FILE", "/nonexistent", "SMAXD_CERT_FILE and SMAXD_KEY_FILE cannot be used"),
        ("SMAXD_USER", None, "asks for a user and a password: SMAXD_USER, SMAXD_PASSWORD_FILE"),
        ("SMAXD_USER", "eve", "asks for another user or password"),
        ("SMAXD_PASSWORD_FILE", None, "asks for another user or password"),
        ("SMAXD_PASSWORD_FILE", "/nonexistent", "SMAXD_PASSWORD_FILE: /nonexistent cannot be read"),
    ],
)
def test_what_is_missing_is_named(
    protected: Protected,
    let_in: pytest.MonkeyPatch,
    name: str,
    value: str | None,
    expected: str,
) -> None:
    """By the variable that would give it."""
    if value is None:
        let_in.delenv(name)
    else:
        let_in.setenv(name, value)
    with pytest.raises(NoDaemon) as caught:
        fetch_status(protected.url)
    assert expected in str(caught.value)


@pytest.mark.usefixtures("let_in")
def test_who_forgets_the_s_is_told(protected: Protected) -> None:
    with pytest.raises(NoDaemon, match="it wants https://"):
        fetch_status(f"http://localhost:{protected.port}")


@pytest.mark.parametrize(
    "url", ["ftp://localhost", "https://", "https://ann:right@localhost", "https://[", "http://:x"]
)
def test_another_address_is_refused_without_a_request(url: str) -> None:
    """A password in an address would be in the process list."""
    with pytest.raises(NoDaemon, match="is not an http:// or https:// address"):
        fetch_status(url)
