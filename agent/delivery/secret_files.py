"""Reading secrets from files, each time anew: a credential that is rotated needs no restart.

Nothing here shows a secret: neither in an error nor in a log.
"""

import os
import re
import stat
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Final

MAX_BYTES: Final = 64 * 1024
"""A bundle of certificates is no secret and is not read here; a token is far smaller."""

CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
"""Where systemd's LoadCredential= puts its files."""


SHORTEST_MASKED: Final = 4
"""Shorter parts of an address are words like its scheme: text without them is unreadable."""


class SecretUnreadable(Exception):
    """A file that should hold a secret does not; the message says which and why."""


def resolve(path: str, environ: Mapping[str, str]) -> str:
    """The file's path: a relative name lies in the service's credentials. SecretUnreadable."""
    if os.path.isabs(path):
        return path
    directory = environ.get(CREDENTIALS_VARIABLE)
    if not directory:
        raise SecretUnreadable(
            f"{path}: a relative name is one of the service's credentials (LoadCredential=), but "
            f"${CREDENTIALS_VARIABLE} is not set"
        )
    return os.path.join(directory, path)


def is_out_of_reach(path: str, environ: Mapping[str, str]) -> bool:
    """Whether it is one of the service's credentials, and this is not the service."""
    return not os.path.isabs(path) and not environ.get(CREDENTIALS_VARIABLE)


def read_secret(path: str, environ: Mapping[str, str]) -> str:
    """The file's only line; SecretUnreadable when there is none."""
    where = resolve(path, environ)
    try:
        # O_NONBLOCK: a pipe in its place must not make a channel wait for a writer.
        descriptor = os.open(where, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise SecretUnreadable(f"{where}: is not a regular file")
            # Not fdopen on its own: where it fails, it leaves the descriptor open.
            with open(descriptor, "rb", closefd=False) as file:
                raw = file.read(MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SecretUnreadable(f"{where}: cannot be read: {error.strerror}") from None
    try:
        secret = raw.decode().strip()
    except UnicodeDecodeError:
        raise SecretUnreadable(f"{where}: is not text") from None
    if not secret:
        raise SecretUnreadable(f"{where}: is empty")
    if len(raw) > MAX_BYTES or not secret.isprintable():
        raise SecretUnreadable(f"{where}: must hold one line of text")
    return secret


def masked(text: str, secrets: Iterable[str]) -> str:
    """The text without these, nor any part of one that is an address: receivers repeat in their
    answers what they were sent."""
    parts = {part for secret in secrets for part in (secret, *re.split(r"[/:@?&=]+", secret))}
    parts |= {urllib.parse.unquote(part) for part in parts}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= SHORTEST_MASKED:
            text = text.replace(part, "***")
    return text
