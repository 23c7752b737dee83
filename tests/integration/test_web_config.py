"""The real daemon behind a web configuration: curl, Prometheus and its own command line ask it."""

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.integration.daemon import (
    PATIENCE_SECONDS,
    Daemon,
    daemon,
    process,
    workplace,
    write_config,
    writing,
)
from tests.unit.certificates import Authority, Pair, authority, needs_openssl

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed"
)
pytestmark = [pytest.mark.slow, needs_openssl]

PASSWORD = "correct horse battery staple"  # noqa: S105 - of this test only
SCRAPES = """
global: {{scrape_interval: 2s, scrape_timeout: 2s}}
scrape_configs:
{jobs}
"""
JOB = """
  - job_name: {name}
    scheme: {scheme}
    tls_config: {{ca_file: {ca}, cert_file: {client.certificate}, key_file: {client.key}}}
    basic_auth: {{username: prometheus, password: {password}}}
    static_configs: [{{targets: ["localhost:{port}"]}}]
"""


@dataclass(frozen=True)
class Place:
    """Where a test has its files: an authority, a server's and a client's certificates."""

    path: Path
    ours: Authority
    server: Pair
    client: Pair

    @property
    def web_config(self) -> Path:
        return self.path / "web-config.yml"

    def write_web_config(self, cost: int = 10) -> None:
        """TLS, client certificates and one user."""
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(cost, b"2a")).decode()
        self.web_config.write_text(
            "tls_server_config:\n"
            f"  cert_file: {self.server.certificate.name}\n  key_file: {self.server.key.name}\n"
            "  client_auth_type: RequireAndVerifyClientCert\n"
            f"  client_ca_file: {self.ours.pair.certificate.name}\n"
            "http_server_config:\n  headers: {X-Content-Type-Options: nosniff}\n"
            f"basic_auth_users:\n  prometheus: {hashed.replace('$2a$', '$2y$')}\n"
        )


@pytest.fixture
def place() -> Iterator[Place]:
    with workplace() as path:
        ours = authority(path)
        made = Place(path, ours, ours.signs("server"), ours.signs("client"))
        made.write_web_config()
        yield made


def no_fio(place: Place, more: str = "") -> str:
    return write_config(place.path, f"fio: {{enabled: false}}\n{more}")


def port_of(running: Daemon) -> int:
    return int(running.address.rpartition(":")[2])


def curl(place: Place, url: str, *options: str) -> tuple[int, str]:
    """Exit code, and the answer with its headers."""
    trust = ["--cacert", str(place.ours.pair.certificate)]
    done = subprocess.run(
        ["curl", "--silent", "--include", "--max-time", "20", *trust, *options, url],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def certificate(of: Pair) -> tuple[str, ...]:
    return "--cert", str(of.certificate), "--key", str(of.key)


def eventually(condition: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.2)
    return True


@needs_curl
def test_curl_gets_in_with_certificate_and_password_only(place: Place) -> None:
    """Each missing part is refused in its own way, and nothing of a password is in the log."""
    config = no_fio(place, f"web: {{config_file: {place.web_config}}}\n")
    with daemon(place.path, "--config", config) as running:
        url = f"https://localhost:{port_of(running)}/healthz"
        shown = certificate(place.client)
        user = ("--user", f"prometheus:{PASSWORD}")
        let_in = curl(place, url, *shown, *user)
        without_user = curl(place, url, *shown)
        wrong = curl(place, url, *shown, "--user", "prometheus:wrong")
        stranger = curl(place, url, *shown, "--user", f"eve:{PASSWORD}")
        code, _ = curl(place, url, *user)
        plain = curl(place, url.replace("https", "http"), *user)
        old = curl(place, url, *shown, *user, "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0")
        log = running.log_file.read_text()
        assert running.stop() == 0

    assert let_in[1].startswith("HTTP/1.1 200")
    assert "x-content-type-options: nosniff" in let_in[1]
    assert let_in[1].endswith("ok\n")
    for refused in (without_user, wrong, stranger):
        assert refused[1].startswith("HTTP/1.1 401")
        assert "www-authenticate: Basic" in refused[1]
    assert code != 0
    assert plain[1].startswith("HTTP/1.1 400")
    assert "HTTP request to an HTTPS server" in plain[1]
    assert old[0] != 0
    assert PASSWORD not in log
    assert "Traceback" not in log


def test_the_command_line_gets_in_by_its_environment(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it it says which variable is missing."""
    password = place.path / "password"
    password.write_text(f"{PASSWORD}\n")
    arguments = ("--config", no_fio(place), "--web.config.file", str(place.web_config))
    with daemon(place.path, *arguments) as running:
        url = f"https://localhost:{port_of(running)}"
        refused = running.smaxd("status", "--json", "--url", url)
        environment = {
            "SMAXD_CA_FILE": place.ours.pair.certificate,
            "SMAXD_CERT_FILE": place.client.certificate,
            "SMAXD_KEY_FILE": place.client.key,
            "SMAXD_USER": "prometheus",
            "SMAXD_PASSWORD_FILE": password,
        }
        monkeypatch.setattr(
            "tests.integration.daemon.environment",
            with_variables({name: str(value) for name, value in environment.items()}),
        )
        assert eventually(lambda: running.smaxd("status", "--url", url).returncode == 0)
        document = json.loads(running.smaxd("status", "--json", "--url", url).stdout)

    assert refused.returncode == 1
    assert "SMAXD_CA_FILE names the authority" in refused.stderr
    assert document["version"]


def with_variables(more: dict[str, str]) -> Callable[..., dict[str, str]]:
    from tests.integration.daemon import environment

    def environment_with(home: Path, **others: str) -> dict[str, str]:
        return environment(home, **others, **more)

    return environment_with


def test_a_web_configuration_that_cannot_be_used_keeps_the_daemon_from_starting(
    place: Place,
) -> None:
    """It must not listen without the protection that was asked for."""
    place.server.key.unlink()
    with (
        pytest.raises(AssertionError, match="the daemon ended") as caught,
        daemon(place.path, "--config", no_fio(place), "--web.config.file", str(place.web_config)),
    ):
        pass
    expected = f"tls_server_config.key_file: {place.server.key} cannot be read: No such file"
    assert expected in str(caught.value)


def query(port: int, expression: str) -> list[dict[str, Any]]:
    """The instant vector; empty while Prometheus does not answer."""
    words = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/api/v1/query?{words}", timeout=5
        ) as response:
            vector: list[dict[str, Any]] = json.load(response)["data"]["result"]
            return vector
    except OSError:
        return []


@needs_prometheus
def test_prometheus_scrapes_over_tls_with_certificate_and_password(place: Place) -> None:
    """It goes on when the certificate is renewed; a job with a wrong password never gets in."""
    database = place.path / "db"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = no_fio(place, f"web: {{config_file: {place.web_config}}}\n")
    arguments = ("--config", config, "--db", str(database))
    with writing(database), daemon(place.path, *arguments) as running:
        jobs = "".join(
            JOB.format(
                name=name,
                scheme=scheme,
                password=password,
                ca=place.ours.pair.certificate,
                client=place.client,
                port=port_of(running),
            )
            for name, scheme, password in (
                ("good", "https", PASSWORD),
                ("wrong", "https", "wrong"),
                ("plain", "http", PASSWORD),
            )
        )
        (place.path / "prometheus.yml").write_text(SCRAPES.format(jobs=jobs))
        with (
            (place.path / "prometheus.log").open("wb") as log,
            process(
                [
                    "prometheus",
                    f"--config.file={place.path}/prometheus.yml",
                    f"--storage.tsdb.path={place.path}/data",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=place.path,
            ),
        ):
            rate = f'smax_observed_puts_per_second{{db="{database}",job="good"}} > 0'
            assert eventually(lambda: bool(query(port, rate)))
            wanted = {"good": "1", "wrong": "0", "plain": "0"}
            assert eventually(
                lambda: (
                    {one["metric"]["job"]: one["value"][1] for one in query(port, "up")} == wanted
                )
            )

            renewed = place.ours.signs("renewed")
            before = query(port, "smaxd_web_certificate_expiry_timestamp_seconds")
            renewed.certificate.replace(place.server.certificate)
            renewed.key.replace(place.server.key)
            new = f"smaxd_web_certificate_expiry_timestamp_seconds > {before[0]['value'][1]}"
            assert eventually(lambda: bool(query(port, new)))
            lost = query(port, 'count_over_time((up{job="good"} == 0)[1m:2s])')
            refused = query(port, 'smaxd_web_refused_total{job="good"} > 0')
        assert "Traceback" not in running.log_file.read_text()

    assert lost == []
    assert {one["metric"]["reason"] for one in refused} == {"password", "handshake"}
