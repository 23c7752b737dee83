"""Reading the web configuration: problems name setting and file, changes count once settled."""

import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from agent.config import ConfigError
from agent.web_certificate import NotACertificate, expiry_of
from agent.web_file import Reading, WebFile
from probes.clock import Clock
from tests.unit.certificates import Authority, Pair, authority, needs_openssl

pytestmark = needs_openssl

HASH = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"


class StandingClock(Clock):
    """It is whatever time a test says."""

    def __init__(self, wall: float = 1.6e9) -> None:
        self.now = wall

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture
def server(ours: Authority, tmp_path: Path) -> Pair:
    """A pair that the test may spoil."""
    signed = ours.signs("server")
    copy = Pair(tmp_path / "server.crt", tmp_path / "server.key")
    copy.certificate.write_bytes(signed.certificate.read_bytes())
    copy.key.write_bytes(signed.key.read_bytes())
    return copy


def write(place: Path, more: str = "") -> Path:
    file = place / "web.yml"
    file.write_text(f"tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n{more}")
    return file


def problem_of(file: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        Reading(str(file)).load()
    (problem,) = caught.value.problems
    return problem


def test_a_good_file_names_what_it_was_read_from(tmp_path: Path, server: Pair) -> None:
    """Those are watched from then on."""
    file = write(tmp_path)
    reading = Reading(str(file))

    assert reading.load().tls is not None
    assert reading.files == (str(file), str(server.certificate), str(server.key))


def spoil_missing(pair: Pair) -> None:
    pair.key.unlink()


def spoil_directory(pair: Pair) -> None:
    pair.key.unlink()
    pair.key.mkdir()


def spoil_pipe(pair: Pair) -> None:
    pair.key.unlink()
    os.mkfifo(pair.key)


def spoil_large(pair: Pair) -> None:
    with pair.key.open("ab") as file:
        file.truncate(1 << 30)


def spoil_encrypted(pair: Pair) -> None:
    password = ["-aes256", "-passout", "pass:secret"]
    subprocess.run(
        ["openssl", "ec", "-in", str(pair.key), "-out", str(pair.key), *password],
        check=True,
        capture_output=True,
    )


def spoil_other(pair: Pair) -> None:
    pair.key.write_bytes(authority(pair.key.parent, "other").pair.key.read_bytes())


def spoil_empty(pair: Pair) -> None:
    pair.key.write_bytes(b"")


def spoil_certificate(pair: Pair) -> None:
    pair.certificate.write_bytes(b"no certificate\n")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (spoil_missing, "key_file: {key} cannot be read: No such file or directory"),
        (spoil_directory, "key_file: {key} cannot be read: not a regular file"),
        (spoil_pipe, "key_file: {key} cannot be read: not a regular file"),
        (spoil_large, "key_file: {key} is larger than 1048576 bytes"),
        (spoil_encrypted, "key_file: {key} is encrypted; it must not be"),
        (spoil_other, "cert_file: {certificate} and tls_server_config.key_file: {key} cannot be"),
        (spoil_empty, "cert_file: {certificate} and tls_server_config.key_file: {key} cannot be"),
        (spoil_certificate, "cert_file: {certificate} holds no certificate in PEM form"),
    ],
)
def test_a_pair_that_cannot_be_used_is_named(
    tmp_path: Path, server: Pair, spoil: Callable[[Pair], None], expected: str
) -> None:
    """Which file of which setting, and why; nothing waits for a pipe or asks for a password."""
    file = write(tmp_path)
    spoil(server)
    sentence = expected.format(key=server.key, certificate=server.certificate)

    assert problem_of(file).startswith(f"web.config_file: {file}: tls_server_config.{sentence}")


def test_an_authority_without_a_certificate_is_named(tmp_path: Path, server: Pair) -> None:
    """It would admit nobody, without a word."""
    del server
    (tmp_path / "ca.pem").write_text("none here\n")
    more = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
    problem = problem_of(write(tmp_path, more))

    assert problem.endswith(f"client_ca_file: {tmp_path}/ca.pem holds no certificate in PEM form")


def test_a_missing_file_is_a_problem_at_the_start(tmp_path: Path) -> None:
    """The daemon does not start without the protection that was asked for."""
    problem = problem_of(tmp_path / "web.yml")
    expected = f"web.config_file: {tmp_path}/web.yml cannot be read: No such file or directory"
    assert problem == expected


def test_a_pair_in_the_file_itself_is_used(tmp_path: Path, server: Pair) -> None:
    """No other file is touched."""

    def block(pem: Path) -> str:
        return "".join(f"    {line}\n" for line in pem.read_text().splitlines())

    file = tmp_path / "web.yml"
    file.write_text(
        f"tls_server_config:\n  cert: |\n{block(server.certificate)}  key: |\n{block(server.key)}"
    )
    reading = Reading(str(file))

    assert reading.load().tls is not None
    assert reading.files == (str(file),)


def events_of(step: Callable[[], object]) -> list[str]:
    with capture_logs() as entries:
        step()
    return [entry["event"] for entry in entries]


def watched(file: Path, clock: Clock | None = None) -> WebFile:
    return WebFile(str(file), structlog.get_logger(), clock or StandingClock())


def look_often(web: WebFile) -> None:
    for _ in range(4):
        web.look()


def test_what_does_not_change_is_not_told(tmp_path: Path, server: Pair) -> None:
    """Also where a file is only touched."""
    web = watched(write(tmp_path))
    quiet = events_of(lambda: look_often(web))
    os.utime(server.certificate)

    assert quiet + events_of(lambda: look_often(web)) == []


def test_a_change_counts_once_it_looks_the_same_twice(tmp_path: Path) -> None:
    """An editor may write in several steps."""
    file = tmp_path / "web.yml"
    file.write_text("")
    web = watched(file)
    look_often(web)
    file.write_text("basic_auth_users: {ann: ")
    web.look()
    file.write_text(f"basic_auth_users: {{ann: {HASH}}}")
    web.look()
    before = dict(web.config.users)
    events = events_of(web.look)

    assert (before, dict(web.config.users)) == ({}, {"ann": HASH})
    assert events == ["web_config_reloaded"]


def test_a_problem_is_logged_once_and_its_end_too(tmp_path: Path, server: Pair) -> None:
    """A certificate that cannot be read for a while."""
    del server
    web = watched(write(tmp_path))
    look_often(web)
    aside = tmp_path / "aside"
    (tmp_path / "server.key").rename(aside)
    broken = events_of(lambda: look_often(web))
    aside.rename(tmp_path / "server.key")
    mended = events_of(lambda: look_often(web))

    assert broken == ["web_config_invalid", "web_config_not_reloaded"]
    assert mended == ["web_config_reloaded"]
    assert web.tls is not None


def test_a_certificate_may_come_after_the_file_that_names_it(
    tmp_path: Path, server: Pair, ours: Authority
) -> None:
    """The change takes effect when it is there, and until then is told of once."""
    del server
    file = write(tmp_path)
    web = watched(file)
    look_often(web)
    before = web.tls
    new = ours.signs("new")
    file.write_text("tls_server_config: {cert_file: new.crt, key_file: new.key}\n")
    missing = events_of(lambda: look_often(web))
    (tmp_path / "new.key").write_bytes(new.key.read_bytes())
    (tmp_path / "new.crt").write_bytes(new.certificate.read_bytes())
    there = events_of(lambda: look_often(web))

    assert missing == ["web_config_invalid", "web_config_not_reloaded"]
    assert there == ["web_config_reloaded"]
    assert web.tls is not before


def test_an_authority_may_have_a_name_that_is_not_ascii(tmp_path: Path, ours: Authority) -> None:
    """Bundles have such names in comments between the certificates."""
    ours.signs("server")
    bundle = "# Autorité de test\n".encode() + ours.pair.certificate.read_bytes()
    (tmp_path / "ca.pem").write_bytes(bundle)
    for name in ("server.crt", "server.key"):
        (tmp_path / name).write_bytes((ours.place / name).read_bytes())
    more = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
    loaded = Reading(str(write(tmp_path, more))).load()

    assert loaded.tls is not None
    assert len(loaded.tls.ssl_context.get_ca_certs()) == 1


def test_the_key_is_the_one_of_the_key_file(tmp_path: Path, server: Pair) -> None:
    """Whatever else stands in the certificate's."""
    other = authority(tmp_path, "other").pair.key.read_bytes()
    server.certificate.write_bytes(other + server.certificate.read_bytes())

    assert Reading(str(write(tmp_path))).load().tls is not None


def test_protection_does_not_go_without_a_restart(tmp_path: Path, server: Pair) -> None:
    """An emptied file is more likely a mistake than a wish."""
    del server
    file = write(tmp_path, f"basic_auth_users: {{ann: {HASH}}}\n")
    web = watched(file)
    look_often(web)
    file.write_text("")
    events = events_of(lambda: look_often(web))

    assert events == ["web_config_invalid", "web_config_invalid", "web_config_not_reloaded"]
    assert (web.tls is not None, list(web.config.users)) == (True, ["ann"])


@pytest.mark.parametrize(
    ("days_left", "event"),
    [(30.0, []), (6.0, ["certificate_expires_soon"]), (-1.0, ["certificate_expired"])],
)
def test_a_certificate_near_its_end_is_warned_of(
    tmp_path: Path, server: Pair, days_left: float, event: list[str]
) -> None:
    """It is served all the same: clients decide."""
    end = expiry_of(server.certificate.read_bytes())
    file = write(tmp_path)
    assert events_of(lambda: watched(file, StandingClock(end - days_left * 86400.0))) == event


def test_the_end_of_a_certificate_is_warned_of_while_the_daemon_runs(
    tmp_path: Path, server: Pair
) -> None:
    """Once when it comes near, and once when it is there, months after the start."""
    end = expiry_of(server.certificate.read_bytes())
    clock = StandingClock(end - 90 * 86400.0)
    web = watched(write(tmp_path), clock)
    told = []
    for days_left in (90.0, 6.0, 5.0, -1.0, -2.0):
        clock.now = end - days_left * 86400.0
        told.append(events_of(lambda: look_often(web)))

    assert told == [[], ["certificate_expires_soon"], [], ["certificate_expired"], []]


@pytest.mark.parametrize("days", [1, 400, 12000])
def test_the_expiry_is_what_openssl_says(ours: Authority, days: int) -> None:
    """Before 2050 a year has two digits, after it four."""
    certificate = ours.signs("dated", days=days).certificate
    done = subprocess.run(
        ["openssl", "x509", "-in", str(certificate), "-noout", "-enddate"],
        check=True,
        capture_output=True,
        text=True,
    )
    said = datetime.strptime(done.stdout.strip(), "notAfter=%b %d %H:%M:%S %Y %Z")

    assert expiry_of(certificate.read_bytes()) == said.replace(tzinfo=UTC).timestamp()


def test_a_damaged_certificate_is_none(server: Pair) -> None:
    """Cut off after any line, or with a byte changed in its head."""
    lines = server.certificate.read_bytes().splitlines(keepends=True)
    for kept in range(1, len(lines) - 2):
        with pytest.raises(NotACertificate):
            expiry_of(b"".join((*lines[:kept], lines[-1])))
    with pytest.raises(NotACertificate):
        expiry_of(server.certificate.read_bytes().replace(b"MII", b"!!!", 1))
