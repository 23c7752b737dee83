"""Asking the daemon on this host what it knows."""

import http.client
import json
import urllib.parse
from typing import Any

import msgspec

from agent.api import StatusDocument

TIMEOUT_SECONDS = 5.0
DEFAULT_URL = "http://127.0.0.1:10390"
MAX_BODY_BYTES = 64 * 1024 * 1024


class NoDaemon(Exception):
    """No daemon answers, or not with a status; the message says where and what to do."""


def fetch_status(url: str = DEFAULT_URL) -> tuple[StatusDocument, dict[str, Any]]:
    """The status document, typed and as it came."""
    parts = urllib.parse.urlsplit(url if "//" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise NoDaemon(f"{url} is not an http:// address")
    connection = http.client.HTTPConnection(
        parts.hostname, parts.port or 80, timeout=TIMEOUT_SECONDS
    )
    try:
        connection.request("GET", parts.path.rstrip("/") + "/api/v1/status")
        response = connection.getresponse()
        body = response.read(MAX_BODY_BYTES)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NoDaemon(
            f"no smaxd answers at {url}: {reason}; start it with 'smaxd run', or name its "
            "address with --url"
        ) from error
    finally:
        connection.close()
    if response.status == http.client.SERVICE_UNAVAILABLE:
        raise NoDaemon(f"smaxd at {url} is starting: {body.decode(errors='replace').strip()}")
    if response.status != http.client.OK:
        raise NoDaemon(f"{url} answers {response.status} {response.reason}: is it a smaxd?")
    try:
        return msgspec.json.decode(body, type=StatusDocument), json.loads(body)
    except (msgspec.DecodeError, ValueError) as error:
        raise NoDaemon(f"{url} does not answer with a smaxd status: {error}") from error
