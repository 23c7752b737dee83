"""Asking the daemon on this host what it knows."""

import http.client
import json
import urllib.parse
from typing import Any

import msgspec

from agent.explain.explanation import ExplainDocument, UnknownDatabase, decode
from agent.status_documents import StatusDocument

TIMEOUT_SECONDS = 5.0
DEFAULT_URL = "http://127.0.0.1:10390"
MAX_BODY_BYTES = 64 * 1024 * 1024


class NoDaemon(Exception):
    """No daemon answers, or not with a status; the message says where and what to do."""


class UnknownDatabaseName(Exception):
    """The daemon answers, but does not watch a database of that name; the message names them."""


def fetch_status(url: str = DEFAULT_URL) -> tuple[StatusDocument, dict[str, Any]]:
    """The status document, typed and as it came."""
    body = _get(url, "/api/v1/status", (http.client.OK,))[1]
    try:
        return msgspec.json.decode(body, type=StatusDocument), json.loads(body)
    except (msgspec.DecodeError, ValueError) as error:
        raise NoDaemon(f"{url} does not answer with a smaxd status: {error}") from error


def fetch_explanation(url: str, database: str | None) -> tuple[ExplainDocument, bytes]:
    """The explanation of one database or of all, typed and as it came."""
    query = "" if database is None else "?" + urllib.parse.urlencode({"db": database})
    accepted = (http.client.OK, http.client.NOT_FOUND)
    status, body = _get(url, f"/api/v1/explain{query}", accepted)
    try:
        if status == http.client.NOT_FOUND:
            unknown = msgspec.json.decode(body, type=UnknownDatabase)
            known = ", ".join(unknown.known) or "none"
            raise UnknownDatabaseName(f"{unknown.error}; known: {known}")
        return decode(body), body
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise NoDaemon(
            f"{url} does not answer with a smaxd explanation: {error}; is it an older smaxd?"
        ) from error


def _get(url: str, path: str, accepted: tuple[int, ...]) -> tuple[int, bytes]:
    try:
        parts = urllib.parse.urlsplit(url if "//" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or 80
    except ValueError as error:
        raise NoDaemon(f"{url!r} is not an http:// address: {error}") from error
    if parts.scheme != "http" or not host:
        raise NoDaemon(f"{url!r} is not an http:// address")
    try:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    except http.client.InvalidURL as error:
        raise NoDaemon(f"{url!r} is not an http:// address: {error}") from error
    try:
        connection.request("GET", parts.path.rstrip("/") + path)
        response = connection.getresponse()
        body = response.read(MAX_BODY_BYTES)
    except (OSError, http.client.HTTPException, ValueError) as error:
        # ValueError: a host name or a path that cannot be sent, or an answer without a meaning.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NoDaemon(
            f"no smaxd answers at {url}: {reason}; start it with 'smaxd run', or name its "
            "address with --url"
        ) from error
    finally:
        connection.close()
    if response.status == http.client.SERVICE_UNAVAILABLE:
        raise NoDaemon(f"smaxd at {url} is starting: {body.decode(errors='replace').strip()}")
    if response.status not in accepted:
        raise NoDaemon(f"{url} answers {response.status} {response.reason}: is it a smaxd?")
    return response.status, body
