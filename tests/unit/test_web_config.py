"""The web configuration file: what exporter-toolkit takes is taken, what cannot be done is said."""

import pytest

from agent.web_config import WebConfig, dearest_cost, lost_protection, parse_web_config
from agent.web_tls_settings import CIPHER_SUITES, TlsSettings
from agent.web_values import WebConfigError

HASH = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"
DEAR_HASH = HASH.replace("$10$", "$12$")
PAIR = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"


def parse(text: str) -> WebConfig:
    return parse_web_config(text.encode(), "/etc/smaxd")


def tls(more: str = "") -> TlsSettings:
    """The settings of a file with a pair and ``more`` lines."""
    settings = parse(PAIR + "".join(f"  {line}\n" for line in more.splitlines())).tls
    assert settings is not None
    return settings


def problems(text: str) -> list[str]:
    with pytest.raises(WebConfigError) as caught:
        parse(text)
    return caught.value.problems


def only_problem(text: str) -> str:
    (problem,) = problems(text)
    return problem


@pytest.mark.parametrize(
    "text", ["", "# nothing yet\n", "tls_server_config:\n", "basic_auth_users: {}", "--- {}"]
)
def test_a_file_that_asks_for_nothing_protects_nothing(text: str) -> None:
    """As in every exporter: no TLS, no password."""
    assert parse(text) == WebConfig()


def test_paths_are_relative_to_the_file() -> None:
    """Absolute ones are taken as they are."""
    settings = tls("client_ca_file: /ca.pem\nclient_auth_type: RequireAndVerifyClientCert")

    assert settings.certificate.path == "/etc/smaxd/server.crt"
    assert settings.private_key.path == "/etc/smaxd/server.key"
    assert settings.client_ca is not None
    assert settings.client_ca.path == "/ca.pem"


def test_certificates_may_stand_in_the_file_itself() -> None:
    """A file that is named besides goes first, as in exporter-toolkit."""
    text = "tls_server_config: {cert: CERT, key: KEY, key_file: server.key}\n"
    settings = parse(text).tls

    assert settings is not None
    assert (settings.certificate.path, settings.certificate.text) == (None, "CERT")
    assert settings.private_key.path == "/etc/smaxd/server.key"


def test_the_defaults_are_those_of_exporter_toolkit() -> None:
    """TLS 1.2 and 1.3, the server's preference, no client certificate."""
    settings = tls()

    assert (settings.min_version, settings.max_version) == ("TLS12", "TLS13")
    assert settings.prefer_server_ciphers
    assert settings.client_certificates == "not asked for"
    assert (settings.ciphers, settings.curve) == ((), None)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("NoClientCert", "not asked for"),
        ("RequestClientCert", "not asked for"),
        ("VerifyClientCertIfGiven", "verified if given"),
        ("RequireAndVerifyClientCert", "required"),
    ],
)
def test_client_certificates_are_asked_for_as_the_type_says(kind: str, expected: str) -> None:
    """A certificate that is requested but not verified is of no use to anyone."""
    ca = "" if kind == "NoClientCert" else "\nclient_ca_file: ca.pem"
    assert tls(f"client_auth_type: {kind}{ca}").client_certificates == expected


@pytest.mark.parametrize("kind", ["RequireAnyClientCert", "RequireClientCert"])
def test_a_client_certificate_that_nobody_verifies_is_refused_with_the_way_out(kind: str) -> None:
    """Silently admitting everyone, or nobody, would both be wrong."""
    problem = only_problem(f"{PAIR}  client_auth_type: {kind}\n")

    assert problem.startswith(f"tls_server_config.client_auth_type: {kind} ")
    assert "use RequireAndVerifyClientCert with client_ca_file" in problem


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("client_auth_type: Maybe", "client_auth_type: is none of NoClientCert, "),
        ("client_ca_file: ca.pem", "client_auth_type: is missing"),
        ("client_auth_type: RequireAndVerifyClientCert", "client_ca_file: is missing"),
        ("client_allowed_sans: [one]", "client_allowed_sans: needs client_auth_type Require"),
        ("min_version: TLS9", "min_version: unknown TLS version; known: TLS10, "),
        ("max_version: SSL3", "max_version: unknown TLS version"),
        ("min_version: TLS13\nmax_version: TLS12", "min_version: TLS13 is above TLS12"),
        ("cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]", "cipher_suites: unknown cipher 'TLS_RSA_"),
        ("cipher_suites: [TLS_AES_128_GCM_SHA256]\nmax_version: TLS12", "cipher_suites: none is"),
        ("curve_preferences: [CurveP257]", "curve_preferences: unknown curve 'CurveP257'"),
        ("curve_preferences: [X25519, CurveP256]", "curve_preferences: must name one curve"),
        ("prefer_server_cipher_suites: maybe", "prefer_server_cipher_suites: must be true or"),
        ('cert_file: "a\\0b"', "cert_file: is no path"),
        ("cert_filse: server.crt", "cert_filse: unknown key; did you mean 'cert_file'?"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_key(lines: str, expected: str) -> None:
    """Each of them alone."""
    pair = PAIR if "cert_file" not in lines else PAIR.replace("  cert_file: server.crt\n", "")
    text = pair + "".join(f"  {line}\n" for line in lines.splitlines())
    assert only_problem(text).startswith(f"tls_server_config.{expected}")


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("{cert_file: server.crt}", ["key_file"]),
        ("{key_file: server.key, cert: ''}", ["cert_file"]),
        ("{min_version: TLS13}", ["cert_file", "key_file"]),
    ],
)
def test_tls_without_a_pair_is_a_problem(text: str, missing: list[str]) -> None:
    """Whoever sets a version of TLS wants TLS, and would get none without a word."""
    found = problems(f"tls_server_config: {text}\n")
    assert [problem.partition(":")[0] for problem in found] == [
        f"tls_server_config.{name}" for name in missing
    ]


def test_cipher_suites_are_given_by_their_names_in_go() -> None:
    """In their order; those of TLS 1.3 are always on."""
    settings = tls(
        "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256, "
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256]"
    )

    assert settings.ciphers == ("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305")


def test_suites_of_tls_1_3_alone_leave_only_tls_1_3() -> None:
    """Nothing else could be agreed on with TLS 1.2."""
    assert tls("cipher_suites: [TLS_AES_256_GCM_SHA384]").min_version == "TLS13"


def test_openssl_knows_every_cipher_suite() -> None:
    """The names were not made up."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(":".join(CIPHER_SUITES.values()) + ":@SECLEVEL=0")
    known = {cipher["name"] for cipher in context.get_ciphers()}

    assert set(CIPHER_SUITES.values()) <= known


def test_one_curve_or_all_of_them() -> None:
    """More than Python can choose is not asked of it."""
    assert tls("curve_preferences: [CurveP521]").curve == "secp521r1"
    assert tls("curve_preferences: [CurveP256, CurveP384, CurveP521, X25519]").curve is None


def test_headers_are_set_as_written() -> None:
    """Also a value that YAML would take for a number."""
    config = parse(
        "http_server_config:\n  http2: false\n  headers:\n    X-XSS-Protection: 1\n"
        "    X-Frame-Options: deny\n    Strict-Transport-Security:\n"
    )

    assert config.headers == (("X-XSS-Protection", "1"), ("X-Frame-Options", "deny"))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("X-Frame-Options: foo", "must be deny or sameorigin"),
        ("X-Content-Type-Options: sniff", "must be nosniff"),
        ("Content-Type: text/html", "cannot be set; known: Strict-Transport-Security, "),
        ('X-XSS-Protection: "1\\r\\nSet-Cookie: a=b"', "may have printable ASCII characters only"),
    ],
)
def test_other_headers_and_values_are_refused(header: str, expected: str) -> None:
    """As exporter-toolkit does; a line break would be a second header."""
    problem = only_problem(f"http_server_config: {{headers: {{{header}}}}}\n")
    assert problem.startswith(f"http_server_config.headers.{header.partition(':')[0]}: {expected}")


def test_users_may_have_any_name_yaml_would_take_for_something_else() -> None:
    """007 is no number, and yes no truth."""
    config = parse(f"basic_auth_users:\n  007: {HASH}\n  yes: {DEAR_HASH}\n")

    assert config.users == {"007": HASH, "yes": DEAR_HASH}
    assert dearest_cost(config.users) == 12


@pytest.mark.parametrize(
    "hashed",
    [
        "doe",
        "",
        "$2y$10$short",
        HASH + "x",
        HASH.replace("$10$", "$99$"),
        HASH.replace("2y", "2"),
        "~",
    ],
)
def test_a_password_that_is_no_bcrypt_hash_is_refused_and_not_shown(hashed: str) -> None:
    """It may be the password itself."""
    problem = only_problem(f"basic_auth_users: {{ann: '{hashed}'}}\n")

    assert problem.startswith("basic_auth_users.ann: is not a bcrypt hash")
    assert not hashed or hashed not in problem


@pytest.mark.parametrize(
    "text",
    ["secret", "[secret]", "basic_auth_users: {ann: secret", "a: 'secret\x01'", "secret: [\n"],
)
def test_no_message_quotes_the_file(text: str) -> None:
    """What stands in it may be a secret, and the file may be another than the one meant."""
    assert "secret" not in " ".join(problems(text)).replace("secret: unknown key", "")


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [("1s", 1.0), ("500ms", 0.5), ("1m30s", 90.0), ("1.5h", 5400.0), ("2000000000", 2.0)],
)
def test_the_rate_limit_takes_gos_durations(interval: str, seconds: float) -> None:
    """A bare number is of nanoseconds."""
    limit = parse(f"rate_limit: {{interval: {interval}, burst: 5}}\n").rate_limit
    assert limit is not None
    assert limit.interval_seconds == pytest.approx(seconds)
    assert limit.burst == 5


def test_no_interval_is_no_rate_limit() -> None:
    """Whatever the burst."""
    assert parse("rate_limit: {interval: 0, burst: 9}\n").rate_limit is None


@pytest.mark.parametrize(
    ("limit", "key"),
    [
        ("{interval: soon, burst: 1}", "rate_limit.interval"),
        ("{interval: 1s2, burst: 1}", "rate_limit.interval"),
        ("{interval: -1s, burst: 1}", "rate_limit.interval"),
        ("{interval: 999999999h, burst: 1}", "rate_limit.interval"),
        ("{interval: 1s, burst: -1}", "rate_limit.burst"),
        ("{interval: 1s, burst: many}", "rate_limit.burst"),
    ],
)
def test_a_rate_limit_that_means_nothing_is_refused(limit: str, key: str) -> None:
    assert only_problem(f"rate_limit: {limit}\n").startswith(f"{key}: ")


@pytest.mark.parametrize(
    "text",
    [
        "tls_server_config: []",
        "basic_auth_users: [a]",
        "tls: {}",
        "a: 1\na: 1",
        "\xff\xfe",
        "&a [*a",
    ],
)
def test_another_file_is_refused(text: str) -> None:
    """With a sentence, whatever it is."""
    assert problems(text)


def test_all_problems_are_told_at_once() -> None:
    """Nobody wants to find them one by one."""
    text = (
        f"{PAIR}  min_version: TLS9\n  client_ca_file: ca.pem\n"
        "http_server_config: {headers: {X-Frame-Options: no}}\nbasic_auth_users: {ann: plain}\n"
    )
    assert len(problems(text)) == 4


def test_secrets_are_in_no_representation() -> None:
    """A traceback or a log line may show one."""
    config = parse(
        f"tls_server_config: {{cert: CERT, key: KEY}}\nbasic_auth_users: {{ann: {HASH}}}"
    )
    assert not {"CERT", "KEY", HASH} & set(repr(config).replace("'", " ").split())


PROTECTED = (
    f"{PAIR}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
    "  client_allowed_sans: [prometheus.example]\n"
    f"basic_auth_users: {{ann: {HASH}}}\n"
)


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("", ["tls_server_config", "basic_auth_users"]),
        (PAIR, ["basic_auth_users", "tls_server_config.client_auth_type"]),
        (
            PROTECTED.replace("  client_allowed_sans: [prometheus.example]\n", ""),
            ["tls_server_config.client_allowed_sans"],
        ),
        (PROTECTED.replace(HASH, DEAR_HASH).replace("ann", "bob"), []),
    ],
)
def test_protection_that_would_be_lost_is_named(text: str, gone: list[str]) -> None:
    """Other users are no loss."""
    lost = lost_protection(parse(PROTECTED), parse(text))
    assert [problem.partition(":")[0] for problem in lost] == gone


def test_protection_may_be_added() -> None:
    """At any time."""
    assert lost_protection(parse(""), parse(PROTECTED)) == []
