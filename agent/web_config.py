"""The web configuration file of Prometheus's exporter-toolkit: TLS, headers, users. Pure.

The format is github.com/prometheus/exporter-toolkit, docs/web-configuration.md, read as its Go code
reads it. What cannot be honoured, or would protect nothing, is a problem and not passed over.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec
import yaml

from agent.config_tree import TreeDecoder
from agent.config_yaml import ConfigLoader
from agent.web_tls_settings import TlsReader, TlsSection, TlsSettings
from agent.web_values import Problems, WebConfigError

HEADERS: Final[Mapping[str, frozenset[str]]] = {
    "Strict-Transport-Security": frozenset(),
    "X-Content-Type-Options": frozenset({"nosniff"}),
    "X-Frame-Options": frozenset({"deny", "sameorigin"}),
    "X-XSS-Protection": frozenset(),
    "Content-Security-Policy": frozenset(),
}
"""The headers that may be set, with the values they may have; none: any value."""

BCRYPT: Final = re.compile(
    r"\$2[abxy]\$(?P<cost>0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}"
)
HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
MAX_BURST: Final = 1 << 31


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


class _Http(msgspec.Struct, frozen=True):
    http2: str | None = None
    headers: dict[str, str | None] | None = None


class _RateLimit(msgspec.Struct, frozen=True):
    interval: str | None = None
    burst: str | None = None


class _File(msgspec.Struct, frozen=True):
    tls_server_config: TlsSection = TlsSection()
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
        self._problems = Problems()

    def web_config(self, file: _File) -> WebConfig:
        http2 = file.http_server_config.http2
        self._problems.boolean("http_server_config.http2", http2, default=True)
        config = WebConfig(
            tls=TlsReader(self._directory, self._problems).settings(file.tls_server_config),
            headers=self._headers(file.http_server_config.headers or {}),
            users=self._users(file.basic_auth_users or {}),
            rate_limit=self._rate_limit(file.rate_limit),
        )
        if self._problems.sentences:
            raise WebConfigError(self._problems.sentences)
        return config

    def _headers(self, headers: Mapping[str, str | None]) -> tuple[tuple[str, str], ...]:
        for name, value in headers.items():
            key = f"http_server_config.headers.{name}"
            if name not in HEADERS:
                self._problems.add(key, f"cannot be set; known: {', '.join(HEADERS)}")
            elif HEADERS[name] and value not in HEADERS[name]:
                self._problems.add(key, f"must be {' or '.join(sorted(HEADERS[name]))}")
            elif not HEADER_VALUE.fullmatch(value or ""):
                self._problems.add(key, "may have printable ASCII characters only")
        return tuple((name, value) for name, value in headers.items() if value)

    def _users(self, users: Mapping[str, str | None]) -> Mapping[str, str]:
        for name, hashed in users.items():
            if not BCRYPT.fullmatch(hashed or ""):
                self._problems.add(
                    f"basic_auth_users.{name}",
                    "is not a bcrypt hash; make one with htpasswd -nBC 10",
                )
            if ":" in name:
                self._problems.add(f"basic_auth_users.{name}", "a user's name cannot have a colon")
        return {name: hashed or "" for name, hashed in users.items()}

    def _rate_limit(self, limit: _RateLimit) -> RateLimit | None:
        seconds = self._problems.seconds("rate_limit.interval", limit.interval)
        burst = limit.burst or "0"
        if not re.fullmatch(r"[0-9]{1,10}", burst) or int(burst) > MAX_BURST:
            self._problems.add("rate_limit.burst", "must be a whole number, 0 or above")
            return None
        return RateLimit(seconds, int(burst)) if seconds > 0.0 else None


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
        (
            "tls_server_config.client_allowed_sans: is gone; the choice among certificates",
            old.tls and old.tls.client_allowed_sans is not None,
            new.tls is None
            or new.tls.client_certificates != "required"  # told above
            or new.tls.client_allowed_sans is not None,
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
