"""tls_server_config of web-config.yml: certificates, versions, ciphers, clients. Pure."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from agent.web_values import Problems

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


class TlsSection(msgspec.Struct, frozen=True):
    """The section as it is written; every scalar is text."""

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


class TlsReader:
    """Gives every key of the section its meaning."""

    def __init__(self, directory: str, problems: Problems) -> None:
        """Paths are relative to ``directory``; ``problems`` takes what has no meaning."""
        self._directory = directory
        self._problems = problems

    def settings(self, tls: TlsSection) -> TlsSettings | None:
        """None where the section is empty, or cannot be used at all."""
        if not any(getattr(tls, name) for name in tls.__struct_fields__):
            return None
        certificate = self._pem(tls, "cert")
        private_key = self._pem(tls, "key")
        for pem, name in ((certificate, "cert"), (private_key, "key")):
            if pem is None:
                self._problems.add(
                    f"tls_server_config.{name}_file",
                    f"is missing; without it nothing can be encrypted (or {name}, the text itself)",
                )
        lowest = self._version(tls, "min_version", "TLS12")
        highest = self._version(tls, "max_version", "TLS13")
        if TLS_VERSIONS.index(lowest) > TLS_VERSIONS.index(highest):
            self._problems.add("tls_server_config.min_version", f"{lowest} is above {highest}")
        ciphers = self._ciphers(tls.cipher_suites or ())
        if tls.cipher_suites and not ciphers:
            lowest = "TLS13"  # as only its suites are named
            if highest != "TLS13":
                self._problems.add("tls_server_config.cipher_suites", f"none is for {highest}")
        client_ca = self._pem(tls, "client_ca")
        clients = self._client_certificates(tls, client_ca)
        prefer = self._problems.boolean(
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

    def _pem(self, tls: TlsSection, name: str) -> Pem | None:
        """The file, or the text where no file is named: so does exporter-toolkit."""
        path, text = getattr(tls, f"{name}_file"), getattr(tls, name)
        if path:
            if "\0" in path:
                self._problems.add(f"tls_server_config.{name}_file", "is no path")
            path = posixpath.join(self._directory, path)
            return Pem(f"tls_server_config.{name}_file", path)
        return Pem(f"tls_server_config.{name}", None, text) if text else None

    def _version(self, tls: TlsSection, key: str, default: str) -> str:
        version: str = getattr(tls, key) or default
        if version not in TLS_VERSIONS:
            known = ", ".join(TLS_VERSIONS)
            self._problems.add(f"tls_server_config.{key}", f"unknown TLS version; known: {known}")
            return default
        return version

    def _ciphers(self, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in CIPHER_SUITES and name not in TLS13_SUITES:
                self._problems.add(
                    "tls_server_config.cipher_suites", f"unknown cipher {name[:60]!r}"
                )
        return tuple(CIPHER_SUITES[name] for name in names if name in CIPHER_SUITES)

    def _curve(self, names: tuple[str, ...]) -> str | None:
        key = "tls_server_config.curve_preferences"
        for name in names:
            if name not in CURVES:
                known = ", ".join(CURVES)
                self._problems.add(key, f"unknown curve {name[:60]!r}; known: {known}")
        chosen = {name for name in names if name in CURVES}
        if not chosen or chosen == CURVES.keys():
            return None
        if len(chosen) > 1:
            self._problems.add(
                key, "must name one curve, or all four: Python can restrict to one only"
            )
        return CURVES[min(chosen)]

    def _client_certificates(self, tls: TlsSection, client_ca: Pem | None) -> ClientCertificates:
        key = "tls_server_config.client_auth_type"
        kind = tls.client_auth_type or "NoClientCert"
        if kind in UNVERIFIED:
            self._problems.add(
                key,
                f"{kind} admits whoever shows any certificate, which Python cannot do and which "
                "protects nothing; use RequireAndVerifyClientCert with client_ca_file (a "
                "self-signed client certificate may be named there itself)",
            )
            return "required"
        if kind not in CLIENT_AUTH_TYPES:
            self._problems.add(
                key, f"is none of {', '.join((*CLIENT_AUTH_TYPES, *sorted(UNVERIFIED)))}"
            )
            return "required"
        clients = CLIENT_AUTH_TYPES[kind]
        if client_ca is not None and kind == "NoClientCert":
            self._problems.add(key, "is missing: client_ca_file without it admits everyone")
        if client_ca is None and clients == "required":
            self._problems.add(
                "tls_server_config.client_ca_file",
                f"is missing: {kind} needs to know whose certificates are good",
            )
        if tls.client_allowed_sans is not None and clients != "required":
            self._problems.add(
                "tls_server_config.client_allowed_sans",
                f"needs client_auth_type RequireAndVerifyClientCert, not {kind}",
            )
        return clients
