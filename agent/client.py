"""Asking the daemon on this host what it knows."""

import http.client
import json
import os
import ssl
import urllib.parse
from typing import Any

import msgspec

from agent.client_access import NoAccess, access_from, authorization, connection_to
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
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise NoDaemon(f"{url!r} is not an http:// or https:// address: {error}") from error
    if parts.scheme not in {"http", "https"} or not host or parts.username is not None:
        raise NoDaemon(f"{url!r} is not an http:// or https:// address without a user")
    access = access_from(os.environ)
    try:
        headers = authorization(access)
        connection = connection_to(parts.scheme, host, port, access, TIMEOUT_SECONDS)
    except http.client.InvalidURL as error:
        raise NoDaemon(f"{url!r} is not an http:// or https:// address: {error}") from error
    except NoAccess as error:
        raise NoDaemon(str(error)) from error
    try:
        connection.request("GET", parts.path.rstrip("/") + path, headers=headers)
        response = connection.getresponse()
        body = response.read(MAX_BODY_BYTES)
    except ssl.SSLCertVerificationError as error:
        raise NoDaemon(
            f"the certificate of {url} is not accepted: {error.verify_message}; SMAXD_CA_FILE "
            "names the authority"
        ) from error
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).lower().replace("_", " ")
        raise NoDaemon(_tls_problem(url, reason)) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        # ValueError: a host name or a path that cannot be sent, or an answer without a meaning.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if parts.scheme == "https" and isinstance(error, (ConnectionResetError, BrokenPipeError)):
            # A daemon that ends the handshake may be gone before its own reason arrives.
            raise NoDaemon(_tls_problem(url, reason)) from error
        raise NoDaemon(
            f"no smaxd answers at {url}: {reason}; start it with 'smaxd run', or name its "
            "address with --url"
        ) from error
    finally:
        connection.close()
    if response.status == http.client.SERVICE_UNAVAILABLE:
        raise NoDaemon(f"smaxd at {url} is starting: {body.decode(errors='replace').strip()}")
    if response.status == http.client.UNAUTHORIZED:
        wanted = "another user or password" if access.user else "a user and a password"
        raise NoDaemon(f"{url} asks for {wanted}: SMAXD_USER, SMAXD_PASSWORD_FILE")
    if response.status not in accepted:
        hint = "is it a smaxd?"
        if b"HTTPS server" in body:
            hint = "it wants https://"
        elif response.status == http.client.TOO_MANY_REQUESTS:
            hint = "try again"
        raise NoDaemon(f"{url} answers {response.status} {response.reason}: {hint}")
    return response.status, body


def _tls_problem(url: str, reason: str) -> str:
    return (
        f"no TLS with {url}: {reason}; does it want http://, or a client certificate "
        "(SMAXD_CERT_FILE, SMAXD_KEY_FILE)?"
    )
