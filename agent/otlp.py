"""Pushes the page to an OTLP/HTTP receiver: an OpenTelemetry collector, or a database that is one.

opentelemetry.io/docs/specs/otlp, "OTLP/HTTP": one POST of the binary encoding, gzipped. What did
not arrive is not kept for later: the next push has the values of then.
"""

import gzip
import re
import socket
import urllib.parse
from collections.abc import Mapping
from typing import Final

from agent import __version__
from agent.config import OtlpSettings
from agent.delivery.http_post import HttpPost, Target
from agent.delivery.secret_files import SecretUnreadable, resolve
from agent.exports import ExportFailed
from agent.loop import Published
from agent.metrics import registry_for
from agent.otlp_request import encode_request
from probes.clock import Clock

TIMEOUT_SECONDS: Final = 10.0
"""For a whole push, whatever the receiver does."""

DEFAULT_PATH: Final = "/v1/metrics"
"""Where the endpoint has no path of its own."""

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


class OtlpExporter:
    """Each export is one POST with all values of now."""

    name = "otlp"

    def __init__(
        self,
        settings: OtlpSettings,
        published: Published,
        clock: Clock,
        listen_address: str,
        environ: Mapping[str, str],
    ) -> None:
        self.settings = settings
        self._published = published
        self._clock = clock
        self._environ = environ
        self._registry = registry_for(published, clock)
        endpoint = settings.endpoint or ""
        path = "" if urllib.parse.urlsplit(endpoint).path.strip("/") else DEFAULT_PATH
        target = Target(endpoint, None, path, None, None, settings.tls)
        self._post = HttpPost(target, TIMEOUT_SECONDS, environ)
        host = socket.gethostname()
        self._resource = {
            "service.name": "smaxd",
            "service.version": __version__,
            "service.instance.id": f"{host}:{listen_address.rpartition(':')[2]}",
            "host.name": host,
        }

    def export(self) -> bool:
        """Push once; False before the first tick. ExportFailed."""
        if self._published.get() is None:
            return False
        now = self._clock.wall()
        families = self._registry.collect()
        try:
            body = encode_request(families, self._resource, __version__, now)
        except ImportError as error:
            raise ExportFailed(
                "opentelemetry-proto is not installed; pip install 'smaxd[otlp]'"
            ) from error
        headers = {
            **read_headers(self.settings.headers_file, self._environ),
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
        }
        answer = self._post.post(gzip.compress(body, 1), headers, now)
        if answer.outcome != "delivered":
            raise ExportFailed(
                f"{self.settings.endpoint}: {answer.detail}", answer.retry_after_seconds or 0.0
            )
        return True

    def abort(self) -> None:
        """End a push under way at once; from any thread."""
        self._post.abort()

    def close(self) -> None:
        """Nothing is kept open."""


def read_headers(path: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """One ``Name: value`` a line, read for each push: tokens are renewed. ExportFailed, which
    names a line's number only: the line may be a secret."""
    if path is None:
        return {}
    try:
        with open(resolve(path, environ), "rb") as file:
            raw = file.read(MAX_HEADERS_BYTES + 1)
    except SecretUnreadable as error:
        raise ExportFailed(f"otlp.headers_file: {error}") from error
    except OSError as error:
        raise ExportFailed(f"otlp.headers_file: {path} cannot be read: {error.strerror}") from error
    if len(raw) > MAX_HEADERS_BYTES:
        raise ExportFailed(f"otlp.headers_file: {path} is larger than {MAX_HEADERS_BYTES} bytes")
    headers = {}
    for number, line in enumerate(raw.decode("ascii", "replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        matched = HEADER.fullmatch(line)
        if matched is None or matched[1].lower() in OURS:
            raise ExportFailed(f"otlp.headers_file: {path}: line {number} is no header to add")
        headers[matched[1]] = matched[2]
    return headers
