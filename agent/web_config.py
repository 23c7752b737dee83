"""The web configuration file of Prometheus's exporter-toolkit: TLS, headers, users. Pure.

The format is github.com/prometheus/exporter-toolkit, docs/web-configuration.md, read as its Go code
reads it. What cannot be honoured, or would protect nothing, is a problem and not passed over.
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

import msgspec
import yaml

from agent.config_tree import TreeDecoder
from agent.config_yaml import ConfigLoader

ClientCertificates = Literal["not asked for", "verified if given", "required"]

TLS_VERSIONS: Final = ("TLS10", "TLS11", "TLS12", "TLS13")

TLS13_SUITES: Final = frozenset(
    {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
)
"""Allowed in the list, and always on where TLS 1.3 is: Go cannot choose among them either."""

CIPHER_SUITES: Final[Mapping[str, str]] = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
}
"""Go's names (IANA's) and OpenSSL's. Those without ECDHE left Go's list with Go 1.22; files that
were written before still name them."""

CURVES: Final[Mapping[str, str]] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}

CLIENT_AUTH_TYPES: Final[Mapping[str, ClientCertificates]] = {
    "NoClientCert": "not asked for",
    # Go asks for a certificate, takes whatever comes, and makes no use of it.
    "RequestClientCert": "not asked for",
    "VerifyClientCertIfGiven": "verified if given",
    "RequireAndVerifyClientCert": "required",
}
UNVERIFIED: Final = frozenset({"RequireAnyClientCert", "RequireClientCert"})

HEADERS: Final[Mapping[str, frozenset[str]]] = {
    "Strict-Transport-Security": frozenset(),
    "X-Content-Type-Options": frozenset({"nosniff"}),
    "X-Frame-Options": frozenset({"deny", "sameorigin"}),
    "X-XSS-Protection": frozenset(),
    "Content-Security-Policy": frozenset(),
}
"""The headers that may be set, with the values they may have; none: any value."""

BCRYPT: Final = re.compile(
    r"\$2[abxy]?\$(?P<cost>0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}"
)
BOOLEANS: Final = {
    **dict.fromkeys(
        ("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"), True
    ),
    **dict.fromkeys(
        ("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"), False
    ),
}
DURATION_UNITS: Final = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
DURATION_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
MAX_SECONDS: Final = 1e9
MAX_BURST: Final = 1 << 31


class WebConfigError(Exception):
    """The file cannot be used; ``problems`` are sentences without a secret in them."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Pem:
    """PEM text, or the file that holds it; ``key`` names the setting."""

    key: str
    path: str | None
    text: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How connections are encrypted, and which clients may connect. Names are OpenSSL's."""

    certificate: Pem
    private_key: Pem
    client_ca: Pem | None = None
    client_certificates: ClientCertificates = "not asked for"
    client_allowed_sans: tuple[str, ...] | None = None
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    ciphers: tuple[str, ...] = ()
    """For TLS up to 1.2, the preferred first; empty: the library's own choice."""
    prefer_server_ciphers: bool = True
    curve: str | None = None
    """The only curve; None: those of the library."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One request in ``interval_seconds``, and ``burst`` at once after a quiet time."""

    interval_seconds: float
    burst: int


@dataclass(frozen=True, slots=True)
class WebConfig:
    """A whole file."""

    tls: TlsSettings | None = None
    headers: tuple[tuple[str, str], ...] = ()
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    """bcrypt hashes by user name; empty: nobody is asked for a password."""
    rate_limit: RateLimit | None = None


class _Tls(msgspec.Struct, frozen=True):
    cert: str | None = None
    key: str | None = None
    client_ca: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    client_auth_type: str | None = None
    client_ca_file: str | None = None
    client_allowed_sans: tuple[str, ...] | None = None
    min_version: str | None = None
    max_version: str | None = None
    cipher_suites: tuple[str, ...] | None = None
    prefer_server_cipher_suites: str | None = None
    curve_preferences: tuple[str, ...] | None = None


class _Http(msgspec.Struct, frozen=True):
    http2: str | None = None
    headers: dict[str, str | None] | None = None


class _RateLimit(msgspec.Struct, frozen=True):
    interval: str | None = None
    burst: str | None = None


class _File(msgspec.Struct, frozen=True):
    tls_server_config: _Tls = _Tls()
    http_server_config: _Http = _Http()
    basic_auth_users: dict[str, str | None] | None = None
    rate_limit: _RateLimit = _RateLimit()


class _TextLoader(ConfigLoader):
    """Every scalar as it is written: a user may be called 007 or yes, a header's value may be 1."""


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag.endswith((":null", ":merge"))]
    for first, resolvers in ConfigLoader.yaml_implicit_resolvers.items()
}


def parse_web_config(raw: bytes, directory: str) -> WebConfig:
    """The content of a file in ``directory``; WebConfigError with all its problems."""
    tree = _tree(raw)
    if not isinstance(tree, dict | None):
        raise WebConfigError(["is not a web configuration: no mapping"])
    decoder = TreeDecoder({})
    file = cast(_File, decoder.decode(_File, tree, default=_File()))
    if decoder.problems:
        raise WebConfigError(decoder.problems)
    return _Reader(directory).web_config(file)


def _tree(raw: bytes) -> object:
    try:
        loader = _TextLoader(raw)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Neither the text nor the error's own excerpt of it: a secret may stand there.
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        raise WebConfigError([f"not valid YAML{where}"]) from None


class _Reader:
    """Gives every key its meaning; collects what has none."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._problems: list[str] = []

    def web_config(self, file: _File) -> WebConfig:
        tls = self._tls(file.tls_server_config)
        self._boolean("http_server_config.http2", file.http_server_config.http2, default=True)
        config = WebConfig(
            tls=tls,
            headers=self._headers(file.http_server_config.headers or {}),
            users=self._users(file.basic_auth_users or {}),
            rate_limit=self._rate_limit(file.rate_limit),
        )
        if self._problems:
            raise WebConfigError(self._problems)
        return config

    def _problem(self, key: str, what: str) -> None:
        self._problems.append(f"{key}: {what}")

    def _tls(self, tls: _Tls) -> TlsSettings | None:
        if not any(getattr(tls, name) for name in tls.__struct_fields__):
            return None
        certificate = self._pem(tls, "cert")
        private_key = self._pem(tls, "key")
        for pem, name in ((certificate, "cert"), (private_key, "key")):
            if pem is None:
                self._problem(
                    f"tls_server_config.{name}_file",
                    f"is missing; without it nothing can be encrypted (or {name}, the text itself)",
                )
        lowest = self._version(tls, "min_version", "TLS12")
        highest = self._version(tls, "max_version", "TLS13")
        if TLS_VERSIONS.index(lowest) > TLS_VERSIONS.index(highest):
            self._problem("tls_server_config.min_version", f"{lowest} is above {highest}")
        ciphers = self._ciphers(tls.cipher_suites or ())
        if tls.cipher_suites and not ciphers:
            lowest = "TLS13"  # as only its suites are named
            if highest != "TLS13":
                self._problem("tls_server_config.cipher_suites", f"none is for {highest}")
        client_ca = self._pem(tls, "client_ca")
        clients = self._client_certificates(tls, client_ca)
        prefer = self._boolean(
            "tls_server_config.prefer_server_cipher_suites",
            tls.prefer_server_cipher_suites,
            default=True,
        )
        curve = self._curve(tls.curve_preferences or ())
        if certificate is None or private_key is None:
            return None
        return TlsSettings(
            certificate=certificate,
            private_key=private_key,
            client_ca=client_ca,
            client_certificates=clients,
            client_allowed_sans=tls.client_allowed_sans,
            min_version=lowest,
            max_version=highest,
            ciphers=ciphers,
            prefer_server_ciphers=prefer,
            curve=curve,
        )

    def _pem(self, tls: _Tls, name: str) -> Pem | None:
        """The file, or the text where no file is named: so does exporter-toolkit."""
        path, text = getattr(tls, f"{name}_file"), getattr(tls, name)
        if path:
            if "\0" in path:
                self._problem(f"tls_server_config.{name}_file", "is no path")
            path = posixpath.join(self._directory, path)
            return Pem(f"tls_server_config.{name}_file", path)
        return Pem(f"tls_server_config.{name}", None, text) if text else None

    def _version(self, tls: _Tls, key: str, default: str) -> str:
        version: str = getattr(tls, key) or default
        if version not in TLS_VERSIONS:
            known = ", ".join(TLS_VERSIONS)
            self._problem(f"tls_server_config.{key}", f"unknown TLS version; known: {known}")
            return default
        return version

    def _ciphers(self, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in CIPHER_SUITES and name not in TLS13_SUITES:
                self._problem("tls_server_config.cipher_suites", f"unknown cipher {name[:60]!r}")
        return tuple(CIPHER_SUITES[name] for name in names if name in CIPHER_SUITES)

    def _curve(self, names: tuple[str, ...]) -> str | None:
        key = "tls_server_config.curve_preferences"
        for name in names:
            if name not in CURVES:
                known = ", ".join(CURVES)
                self._problem(key, f"unknown curve {name[:60]!r}; known: {known}")
        chosen = {name for name in names if name in CURVES}
        if not chosen or chosen == CURVES.keys():
            return None
        if len(chosen) > 1:
            self._problem(key, "must name one curve, or all four: Python can restrict to one only")
        return CURVES[min(chosen)]

    def _client_certificates(self, tls: _Tls, client_ca: Pem | None) -> ClientCertificates:
        key = "tls_server_config.client_auth_type"
        kind = tls.client_auth_type or "NoClientCert"
        if kind in UNVERIFIED:
            self._problem(
                key,
                f"{kind} admits whoever shows any certificate, which Python cannot do and which "
                "protects nothing; use RequireAndVerifyClientCert with client_ca_file (a "
                "self-signed client certificate may be named there itself)",
            )
            return "required"
        if kind not in CLIENT_AUTH_TYPES:
            self._problem(key, f"is none of {', '.join((*CLIENT_AUTH_TYPES, *sorted(UNVERIFIED)))}")
            return "required"
        clients = CLIENT_AUTH_TYPES[kind]
        if client_ca is not None and kind == "NoClientCert":
            self._problem(key, "is missing: client_ca_file without it admits everyone")
        if client_ca is None and clients == "required":
            self._problem(
                "tls_server_config.client_ca_file",
                f"is missing: {kind} needs to know whose certificates are good",
            )
        if tls.client_allowed_sans is not None and clients != "required":
            self._problem(
                "tls_server_config.client_allowed_sans",
                f"needs client_auth_type RequireAndVerifyClientCert, not {kind}",
            )
        return clients

    def _headers(self, headers: Mapping[str, str | None]) -> tuple[tuple[str, str], ...]:
        for name, value in headers.items():
            key = f"http_server_config.headers.{name}"
            if name not in HEADERS:
                self._problem(key, f"cannot be set; known: {', '.join(HEADERS)}")
            elif HEADERS[name] and value not in HEADERS[name]:
                self._problem(key, f"must be {' or '.join(sorted(HEADERS[name]))}")
            elif not HEADER_VALUE.fullmatch(value or ""):
                self._problem(key, "may have printable ASCII characters only")
        return tuple((name, value) for name, value in headers.items() if value)

    def _users(self, users: Mapping[str, str | None]) -> Mapping[str, str]:
        for name, hashed in users.items():
            if not BCRYPT.fullmatch(hashed or ""):
                self._problem(
                    f"basic_auth_users.{name}",
                    "is not a bcrypt hash; make one with htpasswd -nBC 10",
                )
            if ":" in name:
                self._problem(f"basic_auth_users.{name}", "a user's name cannot have a colon")
        return {name: hashed or "" for name, hashed in users.items()}

    def _rate_limit(self, limit: _RateLimit) -> RateLimit | None:
        seconds = self._seconds("rate_limit.interval", limit.interval)
        burst = limit.burst or "0"
        if not re.fullmatch(r"[0-9]{1,10}", burst) or int(burst) > MAX_BURST:
            self._problem("rate_limit.burst", "must be a whole number, 0 or above")
            return None
        return RateLimit(seconds, int(burst)) if seconds > 0.0 else None

    def _seconds(self, key: str, text: str | None) -> float:
        """A duration of Go's, such as 1m30s; a bare number is of nanoseconds."""
        if not text:
            return 0.0
        if re.fullmatch(r"[0-9]{1,18}", text):
            seconds = int(text) * 1e-9
        else:
            parts = DURATION_PART.findall(text)
            if not parts or "".join(number + unit for number, unit in parts) != text:
                self._problem(key, "must be a duration such as 1s, 500ms or 1m30s")
                return 0.0
            seconds = sum(float(number) * DURATION_UNITS[unit] for number, unit in parts)
        if seconds > MAX_SECONDS:
            self._problem(key, "is longer than any service runs")
        return seconds

    def _boolean(self, key: str, text: str | None, *, default: bool) -> bool:
        if text is None:
            return default
        if text not in BOOLEANS:
            self._problem(key, "must be true or false")
        return BOOLEANS.get(text, default)


def lost_protection(old: WebConfig, new: WebConfig) -> list[str]:
    """What a running listener would no longer ask for: that takes a restart, because a file that is
    just being written, or was emptied by mistake, must not open the door."""
    lost: list[tuple[str, Any, Any]] = [
        ("tls_server_config: is gone; encryption", old.tls, new.tls),
        ("basic_auth_users: are all gone; the password", old.users, new.users),
        (
            "tls_server_config.client_auth_type: requires none any more; the client's certificate",
            old.tls and old.tls.client_certificates == "required",
            new.tls is None or new.tls.client_certificates == "required",
        ),
    ]
    return [
        f"{what} is given up by a restart only"
        for what, before, after in lost
        if before and not after
    ]


def dearest_cost(users: Mapping[str, str]) -> int:
    """The highest bcrypt cost among the users: an unknown name must take as long as any."""
    matches = (BCRYPT.fullmatch(hashed) for hashed in users.values())
    return max((int(match["cost"]) for match in matches if match), default=10)
