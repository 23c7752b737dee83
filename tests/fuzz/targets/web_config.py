"""web-config.yml: a configuration that can be acted on, or problems that quote no value."""

from collections.abc import Iterator

from agent.web_config import WebConfig, dearest_cost, lost_protection, parse_web_config
from agent.web_values import WebConfigError
from tests.fuzz.captured import captured
from tests.fuzz.contract import require_bounded, require_sound

HASH = b"$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"
WORDS = (
    b"tls_server_config:\n  cert_file: a\n  key_file: b\n",
    b"  client_auth_type: RequireAndVerifyClientCert\n",
    b"  client_ca_file: ca.pem\n",
    b"  client_allowed_sans: []\n",
    b"  cipher_suites: [TLS_AES_128_GCM_SHA256]\n",
    b"  curve_preferences: [X25519]\n",
    b"http_server_config: {headers: {X-XSS-Protection: 1}}\n",
    b"basic_auth_users:\n  ann: " + HASH + b"\n",
    b"rate_limit: {interval: 1h1.5m.1s1us, burst: 1}\n",
    b"!!binary ",
    b"!!null ",
    b"&a ",
    b"*a",
    b"<<: ",
)
DIRECTORY = "/etc/smaxd"


def seeds() -> Iterator[bytes]:
    """Whole files, and their sections one by one."""
    yield from captured("web/*.yml")
    yield from WORDS[:1] + WORDS[6:9]


def run(data: bytes) -> None:
    """Also what is done with every configuration: it is compared with the one in force."""
    try:
        config = parse_web_config(data, DIRECTORY)
    except WebConfigError as error:
        assert error.problems
        size = sum(map(len, error.problems))
        assert size <= 4096 + 512 * len(data), f"{size} characters of problems"
        return
    require_sound(config.rate_limit)
    require_bounded(config, len(data))
    assert 4 <= dearest_cost(config.users) <= 31
    assert lost_protection(config, config) == []
    assert lost_protection(WebConfig(), config) == []
    for _, value in config.headers:
        assert value.isascii()
        assert not {"\r", "\n"} & set(value)
    tls = config.tls
    if tls is not None:
        assert tls.client_allowed_sans is None or tls.client_certificates == "required"
        assert tls.client_certificates != "required" or tls.client_ca is not None
        for pem in (tls.certificate, tls.private_key):
            assert pem.text if pem.path is None else pem.path.startswith("/")
