"""How the command line is let in by a daemon with TLS or a password: by its environment.

SMAXD_CA_FILE (default: the system's authorities), SMAXD_CERT_FILE and SMAXD_KEY_FILE (the client's
own), SMAXD_USER and SMAXD_PASSWORD_FILE. There is no option for a password: the process list and
the shell's history show options to others.
"""

import base64
import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

MAX_PASSWORD_BYTES = 4096


class NoAccess(Exception):
    """A file that the environment names cannot be used; the message says which variable's."""


@dataclass(frozen=True, slots=True)
class Access:
    """Paths, and a user's name; empty: not given."""

    ca_file: str
    cert_file: str
    key_file: str
    user: str
    password_file: str


def access_from(environ: Mapping[str, str]) -> Access:
    """What the variables say."""
    names = ("CA_FILE", "CERT_FILE", "KEY_FILE", "USER", "PASSWORD_FILE")
    return Access(*(environ.get(f"SMAXD_{name}", "") for name in names))


def authorization(access: Access) -> dict[str, str]:
    """The header; none without a user. NoAccess."""
    if not access.user:
        return {}
    pair = access.user.encode() + b":" + _password(access)
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _password(access: Access) -> bytes:
    if not access.password_file:
        return b""
    try:
        with open(access.password_file, "rb") as file:
            return file.read(MAX_PASSWORD_BYTES).rstrip(b"\r\n")
    except OSError as error:
        raise NoAccess(
            f"SMAXD_PASSWORD_FILE: {access.password_file} cannot be read: {error.strerror}"
        ) from error


def connection_to(
    scheme: str, host: str, port: int | None, access: Access, timeout_seconds: float
) -> http.client.HTTPConnection:
    """Not yet connected. NoAccess, http.client.InvalidURL."""
    if scheme == "http":
        return http.client.HTTPConnection(host, port or 80, timeout=timeout_seconds)
    try:
        context = ssl.create_default_context(cafile=access.ca_file or None)
    except OSError as error:
        raise NoAccess(f"SMAXD_CA_FILE: {access.ca_file} cannot be used: {error}") from error
    if access.cert_file:
        try:
            # Without a password: a prompt for it would wait for ever.
            context.load_cert_chain(access.cert_file, access.key_file or None, password="")
        except OSError as error:
            raise NoAccess(f"SMAXD_CERT_FILE and SMAXD_KEY_FILE cannot be used: {error}") from error
    return http.client.HTTPSConnection(host, port or 443, timeout=timeout_seconds, context=context)
