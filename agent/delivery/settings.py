"""Where notifications go: the settings below ``alerting.delivery``, and what is wrong with them."""

import re
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

Mode = Literal["off", "fallback", "always"]

PATH: Final = "alerting.delivery"
NAME: Final = re.compile(r"[A-Za-z0-9._:\[\]@/-]{1,100}")
"""A channel's name becomes a metric label, a log value and a command's argument."""

LABEL_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OWN_LABELS: Final = frozenset({"alertname", "severity"})
MAX_CHANNELS: Final = 16
"""Each has a thread of its own."""


class TlsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a receiver's certificate is checked, and with which one the agent shows itself."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None
    insecure_skip_verify: bool = False


class BasicAuthSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user, and the file that holds the password."""

    username: str
    password_file: str


class AlertmanagerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One replica of Alertmanager; ``url`` is its external URL, without ``/api/v2/alerts``."""

    url: str
    name: str | None = None
    basic_auth: BasicAuthSettings | None = None
    bearer_token_file: str | None = None
    tls: TlsSettings = TlsSettings()


class WebhookSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A receiver of JSON; ``url_file`` instead of ``url`` where the address is itself a secret."""

    url: str | None = None
    url_file: str | None = None
    name: str | None = None
    secret_file: str | None = None
    basic_auth: BasicAuthSettings | None = None
    bearer_token_file: str | None = None
    tls: TlsSettings = TlsSettings()


class AppriseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One address that apprise knows how to reach; it holds secrets and lies in a file."""

    name: str
    url_file: str


class FallbackSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When Prometheus counts as absent."""

    absent_intervals: float = 5.0
    startup_grace_seconds: float = 300.0
    handover_seconds: float = 600.0


class DeliverySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is delivered, where to, and how long it is tried."""

    mode: Mode = "off"
    external_labels: dict[str, str] = msgspec.field(default_factory=dict)
    generator_url: str | None = None
    timeout_seconds: float = 10.0
    give_up_seconds: float = 86400.0
    queue_length: int = 200
    fallback: FallbackSettings = FallbackSettings()
    alertmanagers: tuple[AlertmanagerSettings, ...] = ()
    webhooks: tuple[WebhookSettings, ...] = ()
    apprise: tuple[AppriseSettings, ...] = ()


Receiver = AlertmanagerSettings | WebhookSettings | AppriseSettings

RANGES: Final[dict[str, tuple[float, float]]] = {
    f"{PATH}.timeout_seconds": (0.1, 120.0),
    f"{PATH}.give_up_seconds": (60.0, 30 * 86400.0),
    f"{PATH}.queue_length": (1, 10000),
    f"{PATH}.fallback.absent_intervals": (2.0, 1000.0),
    f"{PATH}.fallback.startup_grace_seconds": (0.0, 86400.0),
    f"{PATH}.fallback.handover_seconds": (0.0, 86400.0),
}
"""Lowest and highest allowed value of every number."""


def receivers(settings: DeliverySettings) -> Iterator[tuple[str, Receiver]]:
    """Each receiver with its key path."""
    for kind in ("alertmanagers", "webhooks", "apprise"):
        for index, receiver in enumerate(getattr(settings, kind)):
            yield f"{PATH}.{kind}[{index}]", receiver


def channel_name(receiver: Receiver) -> str:
    """The configured name, else host and port of the URL."""
    if receiver.name is not None:
        return receiver.name
    url = "" if isinstance(receiver, AppriseSettings) else receiver.url or ""
    return urllib.parse.urlsplit(url).netloc


def problems(settings: DeliverySettings) -> list[str]:
    """What is wrong, as sentences that begin with a key path; secret files are not looked at."""
    found = []
    for path, receiver in receivers(settings):
        found += list(_receiver_problems(path, receiver))
    if not found:  # names come from URLs, which are good then
        names = Counter(channel_name(receiver) for _, receiver in receivers(settings))
        found += [
            f"{PATH}: two receivers are called {name!r}; give them names that differ"
            for name, times in names.items()
            if times > 1
        ]
    count = sum(1 for _ in receivers(settings))
    if settings.mode != "off" and count == 0:
        found.append(
            f"{PATH}.mode: {settings.mode}, but there is no receiver; name one below "
            "alertmanagers, webhooks or apprise"
        )
    if count > MAX_CHANNELS:
        found.append(f"{PATH}: {count} receivers are more than {MAX_CHANNELS}")
    found += [
        f"{PATH}.external_labels: {name!r} cannot be used: a label's name has letters, digits and "
        f"_ only, and {', '.join(sorted(OWN_LABELS))} are set already"
        for name in settings.external_labels
        if not LABEL_NAME.fullmatch(name) or name in OWN_LABELS
    ]
    if settings.generator_url is not None:
        found += _url_problems(f"{PATH}.generator_url", settings.generator_url)
    return found


def _receiver_problems(path: str, receiver: Receiver) -> Iterator[str]:
    if receiver.name is not None and not NAME.fullmatch(receiver.name):
        yield f"{path}.name: {receiver.name!r} may have letters, digits and . _ : @ / - only"
    if isinstance(receiver, AppriseSettings):
        return
    if isinstance(receiver, WebhookSettings):
        if (receiver.url is None) == (receiver.url_file is None):
            yield f"{path}: needs either url or url_file"
            return
        if receiver.url is None and receiver.name is None:
            yield f"{path}.name: is required beside url_file"
    if receiver.url is not None:
        yield from _url_problems(f"{path}.url", receiver.url)
    if receiver.basic_auth is not None and receiver.bearer_token_file is not None:
        yield f"{path}: basic_auth and bearer_token_file exclude each other"
    if receiver.tls.key_file is not None and receiver.tls.cert_file is None:
        yield f"{path}.tls.key_file: needs cert_file beside it"


def _url_problems(path: str, url: str) -> list[str]:
    problem = url_problem(url)
    return [] if problem is None else [f"{path}: {problem}"]


def url_problem(url: str) -> str | None:
    """What is wrong with an address, without showing it: its path may be a secret."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is not a URL: {error}"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "must be http://HOST... or https://HOST..."
    if port == 0:
        return "port 0 cannot be reached"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user or a password; use basic_auth with password_file"
    if parts.fragment or any(character <= " " or character >= "\x7f" for character in url):
        return "must not hold spaces, a fragment (#...) or characters beyond ASCII"
    return None
