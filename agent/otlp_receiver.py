"""What a push by OTLP needs besides its settings: the extra's libraries, headers, certificates."""

import importlib.util
import re
from collections.abc import Iterator, Mapping
from typing import Final

from agent.config import OtlpSettings
from agent.delivery.http_post import tls_context
from agent.delivery.secret_files import SecretUnreadable, is_out_of_reach, resolve
from agent.regular_file import read_regular

NOT_INSTALLED: Final = "opentelemetry-proto is not installed; pip install 'smaxd[otlp]'"

MAX_HEADERS_BYTES: Final = 65536
HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e]*?)[ \t]*")
OURS: Final = frozenset(
    {
        "content-type",
        "content-encoding",
        "content-length",
        "transfer-encoding",
        "connection",
        "host",
    }
)


class HeadersUnusable(Exception):
    """The file cannot be read, or has a line that is no header; no message shows the line."""


def read_headers(path: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """One ``Name: value`` a line, read for each push: tokens are renewed. HeadersUnusable, which
    names a line by its number only: the line may be a secret."""
    if path is None:
        return {}
    try:
        raw = read_regular(resolve(path, environ), MAX_HEADERS_BYTES)
    except SecretUnreadable as error:
        raise HeadersUnusable(f"otlp.headers_file: {error}") from error
    except OSError as error:
        raise HeadersUnusable(
            f"otlp.headers_file: {path} cannot be read: {error.strerror}"
        ) from error
    if len(raw) > MAX_HEADERS_BYTES:
        raise HeadersUnusable(f"otlp.headers_file: {path} is larger than {MAX_HEADERS_BYTES} bytes")
    headers = {}
    for number, line in enumerate(raw.decode("ascii", "replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        matched = HEADER.fullmatch(line)
        if matched is None or matched[1].lower() in OURS:
            raise HeadersUnusable(f"otlp.headers_file: {path}: line {number} is no header to add")
        headers[matched[1]] = matched[2]
    return headers


def otlp_problems(settings: OtlpSettings, environ: Mapping[str, str]) -> list[str]:
    """What keeps pushes from being made; sentences that begin with a key path.

    The service's credentials are left out where the environment is not the service's.
    """
    return [] if settings.endpoint is None else list(_problems(settings, environ))


def unchecked_otlp_files(settings: OtlpSettings, environ: Mapping[str, str]) -> list[str]:
    """The service's credentials that cannot be looked at from here."""
    if settings.endpoint is None:
        return []
    names = (settings.headers_file, *_certificates(settings))
    return sorted({name for name in names if name is not None and is_out_of_reach(name, environ)})


def _problems(settings: OtlpSettings, environ: Mapping[str, str]) -> Iterator[str]:
    try:
        found = importlib.util.find_spec("opentelemetry.proto.collector.metrics.v1")
    except ImportError:  # of what is above it
        found = None
    if found is None:
        yield f"otlp.endpoint: {NOT_INSTALLED}"
    out_of_reach = set(unchecked_otlp_files(settings, environ))
    if settings.headers_file not in out_of_reach:
        try:
            read_headers(settings.headers_file, environ)
        except HeadersUnusable as error:
            yield str(error)
    if out_of_reach.isdisjoint(_certificates(settings)):
        try:
            tls_context(settings.tls, environ)
        except SecretUnreadable as error:
            yield f"otlp.{error}"


def _certificates(settings: OtlpSettings) -> list[str]:
    tls = settings.tls
    return [name for name in (tls.ca_file, tls.cert_file, tls.key_file) if name is not None]
