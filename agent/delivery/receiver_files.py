"""Whether the files that receivers need can be used: looked at before anything is to be sent."""

import importlib.util
from collections.abc import Iterator, Mapping

from agent.delivery.http_post import tls_context
from agent.delivery.secret_files import SecretUnreadable, is_out_of_reach, read_secret
from agent.delivery.settings import (
    AppriseSettings,
    DeliverySettings,
    Receiver,
    receivers,
    url_problem,
)
from agent.delivery.wire import signing_key


def file_problems(settings: DeliverySettings, environ: Mapping[str, str]) -> list[str]:
    """Sentences that begin with a key path; none of them shows a secret.

    The service's credentials are left out where the environment is not the service's.
    """
    return [
        f"{path}{problem}"
        for path, receiver in receivers(settings)
        for problem in _problems(receiver, environ)
    ]


def unchecked_files(settings: DeliverySettings, environ: Mapping[str, str]) -> list[str]:
    """The service's credentials that cannot be looked at from here."""
    names = [name for _, one in receivers(settings) for _, name in (*_secrets(one), *_tls(one))]
    return sorted({name for name in names if is_out_of_reach(name, environ)})


def _problems(receiver: Receiver, environ: Mapping[str, str]) -> Iterator[str]:
    for key, name in _secrets(receiver):
        if is_out_of_reach(name, environ):
            continue
        try:
            secret = read_secret(name, environ)
        except SecretUnreadable as error:
            yield f".{key}: {error}"
            continue
        if key == "secret_file":
            try:
                signing_key(secret)
            except ValueError as error:
                yield f".{key}: {name}: {error}"
        elif key == "url_file" and not isinstance(receiver, AppriseSettings):
            problem = url_problem(secret)
            if problem is not None:
                yield f".{key}: {name}: {problem}"
    if isinstance(receiver, AppriseSettings):
        if importlib.util.find_spec("apprise") is None:
            yield ": apprise is not installed; install smaxd[apprise]"
    elif not any(is_out_of_reach(name, environ) for _, name in _tls(receiver)):
        try:
            tls_context(receiver.tls, environ)
        except SecretUnreadable as error:
            yield f".{error}"


def _secrets(receiver: Receiver) -> Iterator[tuple[str, str]]:
    """Key below the receiver's, and name, of every file that holds a secret."""
    if not isinstance(receiver, AppriseSettings) and receiver.basic_auth is not None:
        yield "basic_auth.password_file", receiver.basic_auth.password_file
    for key in ("bearer_token_file", "secret_file", "url_file"):
        name = getattr(receiver, key, None)
        if name is not None:
            yield key, name


def _tls(receiver: Receiver) -> Iterator[tuple[str, str]]:
    if not isinstance(receiver, AppriseSettings):
        for key in ("ca_file", "cert_file", "key_file"):
            name = getattr(receiver.tls, key)
            if name is not None:
                yield f"tls.{key}", name
