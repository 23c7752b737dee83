"""Pushes the page to an OTLP/HTTP receiver: an OpenTelemetry collector, or a database that is one.

opentelemetry.io/docs/specs/otlp, "OTLP/HTTP": one POST of the binary encoding, gzipped. What did
not arrive is not kept for later: the next push has the values of then.
"""

import gzip
import socket
import urllib.parse
from collections.abc import Mapping
from typing import Final

from agent import __version__
from agent.config import OtlpSettings
from agent.delivery.http_post import HttpPost, Target
from agent.delivery.secret_files import masked
from agent.exports import Arrived, ExportFailed
from agent.loop import Published
from agent.metrics import registry_for
from agent.otlp_receiver import NOT_INSTALLED, HeadersUnusable, read_headers
from agent.otlp_request import encode_request, partial_success
from probes.clock import Clock

TIMEOUT_SECONDS: Final = 10.0
"""For a whole push, whatever the receiver does."""

DEFAULT_PATH: Final = "/v1/metrics"
"""Where the endpoint has no path of its own."""

MAX_ANSWER_BYTES: Final = 65536
"""What is read of a success: which part of the push was none."""


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
        self._post = HttpPost(target, TIMEOUT_SECONDS, environ, MAX_ANSWER_BYTES)
        host = socket.gethostname()
        self._resource = {
            "service.name": "smaxd",
            "service.version": __version__,
            "service.instance.id": f"{host}:{listen_address.rpartition(':')[2]}",
            "host.name": host,
        }

    def export(self) -> Arrived | None:
        """Push once; None before the first tick. ExportFailed."""
        if self._published.get() is None:
            return None
        now = self._clock.wall()
        families = self._registry.collect()
        try:
            body = encode_request(families, self._resource, __version__, now)
            given = read_headers(self.settings.headers_file, self._environ)
        except ImportError as error:
            raise ExportFailed(NOT_INSTALLED) from error
        except HeadersUnusable as error:
            raise ExportFailed(str(error)) from error
        headers = {
            **given,
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
        }
        answer = self._post.post(gzip.compress(body, 1), headers, now)
        if answer.outcome != "delivered":
            told = masked(answer.detail, " ".join(given.values()).split())
            raise ExportFailed(
                f"{self.settings.endpoint}: {told}", answer.retry_after_seconds or 0.0
            )
        return Arrived(*partial_success(answer.body))

    def abort(self) -> None:
        """End a push under way at once; from any thread."""
        self._post.abort()

    def close(self) -> None:
        """Nothing is kept open."""
