"""One POST, with everything it needs read anew: secrets, certificates, the receiver's address.

It ends within its timeout, whatever the receiver does: one that sends a byte a second, too.
"""

import base64
import http.client
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from agent import __version__
from agent.delivery.answer import Answer, answer_of
from agent.delivery.secret_files import SecretUnreadable, masked, read_secret, resolve
from agent.delivery.settings import BasicAuthSettings, TlsSettings, url_problem

MAX_BODY_BYTES: Final = 4096
"""What is read of an answer: the beginning says what went wrong."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to post, and how to be let in. ``url_file`` takes the place of ``url``."""

    url: str | None
    url_file: str | None
    path: str  # below the URL
    basic_auth: BasicAuthSettings | None
    bearer_token_file: str | None
    tls: TlsSettings


class _Attempt:
    """Holds the socket of one post, so that another thread can end it at any moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.over = False

    def hold(self, connected: socket.socket | None) -> None:
        """From now on this is the socket; None before it is closed."""
        with self._lock:
            self._socket = connected
            if self.over:
                self._cut()

    def end(self) -> None:
        """Have the thread that waits for the receiver wait no longer."""
        with self._lock:
            self.over = True
            self._cut()

    def _cut(self) -> None:
        if self._socket is not None:
            try:
                # Not SSLSocket.shutdown, which takes the TLS object away from the thread in it.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            except OSError:
                pass  # the receiver was faster


class HttpPost:
    """Posts to one target. One thread posts; any may ``abort``."""

    def __init__(
        self,
        target: Target,
        timeout_seconds: float,
        environ: Mapping[str, str],
        success_bytes: int = 0,
    ) -> None:
        """``success_bytes``: how much is read of what follows a success; to most it is of no
        interest, however slowly it comes."""
        self._success_bytes = success_bytes
        self._target = target
        self._timeout_seconds = timeout_seconds
        self._environ = environ
        self._attempt = _Attempt()
        self._aborted = False

    def post(self, body: bytes, headers: Mapping[str, str], wall_seconds: float) -> Answer:
        """What came of it; raises nothing."""
        try:
            url = self._url()
            authorization, secrets = self._authorization()
            context = None if url.scheme == "http" else tls_context(self._target.tls, self._environ)
        except SecretUnreadable as error:
            return Answer("failed", str(error))
        self._attempt = attempt = _Attempt()
        if self._aborted:
            return Answer("failed", "the agent is stopping")
        late = threading.Timer(self._timeout_seconds, attempt.end)
        late.daemon = True
        late.start()
        connection = _connection(url, context)
        try:
            connection.sock = self._connect(url, context, attempt)
            connection.request(
                "POST",
                urllib.parse.urlunsplit(("", "", url.path or "/", url.query, "")),
                body,
                {
                    "Content-Type": "application/json",
                    "User-Agent": f"smaxd/{__version__}",
                    "Connection": "close",
                    **headers,
                    **authorization,
                },
            )
            response = connection.getresponse()
            if attempt.over:  # the end of the stream passes for the end of the headers
                raise TimeoutError
            is_success = 200 <= response.status < 300
            wanted = self._success_bytes if is_success else MAX_BODY_BYTES
            raw = response.read(wanted) if wanted else b""
        except (OSError, http.client.HTTPException, ValueError) as error:
            if attempt.over and not self._aborted:
                return Answer("failed", f"no answer within {self._timeout_seconds:g} s")
            return Answer("failed", _why(error))
        finally:
            late.cancel()
            attempt.hold(None)
            connection.close()
        if self._target.url_file is not None:
            secrets = (*secrets, f"{url.path}?{url.query}")
        reason, text = (
            _shown(told, secrets)
            for told in (response.reason, "" if is_success else raw.decode("utf-8", "replace"))
        )
        retry_after = response.getheader("Retry-After")
        answer = answer_of(response.status, reason, retry_after, text, wall_seconds)
        return replace(answer, body=raw) if is_success else answer

    def abort(self) -> None:
        """End a post under way, and every later one, at once."""
        self._aborted = True
        self._attempt.end()

    def _connect(
        self, url: urllib.parse.SplitResult, context: ssl.SSLContext | None, attempt: _Attempt
    ) -> socket.socket:
        host = url.hostname or ""
        port = url.port or (80 if context is None else 443)
        connected = self._reach(host, port, attempt)
        try:
            if context is None:
                return connected
            name = self._target.tls.server_name or host
            connected = context.wrap_socket(connected, server_hostname=name)
            attempt.hold(connected)
        except BaseException:
            attempt.hold(None)
            connected.close()
            raise
        return connected

    def _reach(self, host: str, port: int, attempt: _Attempt) -> socket.socket:
        """Connected to the first of its addresses that answers, all of them within the timeout."""
        problem = OSError("the name has no address")
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            try:
                connected = socket.socket(family, kind, protocol)
            except OSError as error:  # a kernel without IPv6
                problem = error
                continue
            try:
                connected.settimeout(self._timeout_seconds)
                attempt.hold(connected)
                if attempt.over:
                    raise TimeoutError
                connected.connect(address)
            except OSError as error:
                attempt.hold(None)
                connected.close()
                problem = error
            else:
                return connected
        raise problem

    def _url(self) -> urllib.parse.SplitResult:
        target = self._target
        if target.url is not None:
            url = target.url
        else:
            url = read_secret(target.url_file or "", self._environ)
            problem = url_problem(url)
            if problem is not None:
                raise SecretUnreadable(f"{target.url_file}: {problem}")
        parts = urllib.parse.urlsplit(url)
        if target.path:
            parts = parts._replace(path=parts.path.rstrip("/") + target.path)
        return parts

    def _authorization(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """The headers that let us in, and what nobody is to see of them."""
        target = self._target
        if target.basic_auth is not None:
            password = read_secret(target.basic_auth.password_file, self._environ)
            pair = f"{target.basic_auth.username}:{password}".encode()
            encoded = base64.b64encode(pair).decode()
            return {"Authorization": f"Basic {encoded}"}, (password, encoded)
        if target.bearer_token_file is not None:
            token = read_secret(target.bearer_token_file, self._environ)
            return {"Authorization": f"Bearer {token}"}, (token,)
        return {}, ()


def _connection(
    url: urllib.parse.SplitResult, context: ssl.SSLContext | None
) -> http.client.HTTPConnection:
    """Speaks HTTP over a socket that it is given; knows which port is its scheme's own."""
    if context is None:
        return http.client.HTTPConnection(url.hostname or "", url.port)
    return http.client.HTTPSConnection(url.hostname or "", url.port, context=context)


def _shown(told: str, secrets: tuple[str, ...]) -> str:
    """What a receiver says, for people: in one line, and without what it repeats of our secrets."""
    return "".join(one if one.isprintable() else " " for one in masked(told, secrets))


def tls_context(tls: TlsSettings, environ: Mapping[str, str]) -> ssl.SSLContext:
    """OSError (ssl.SSLError among them) and SecretUnreadable when a file cannot be used."""
    cafile = None if tls.ca_file is None else resolve(tls.ca_file, environ)
    try:
        context = ssl.create_default_context(cafile=cafile)
    except OSError as error:
        raise _named(error, tls.ca_file) from None
    if tls.cert_file is not None:
        cert = resolve(tls.cert_file, environ)
        key = None if tls.key_file is None else resolve(tls.key_file, environ)
        try:
            # Without a password: a prompt for it would wait for ever.
            context.load_cert_chain(cert, key, password="")
        except OSError as error:
            raise _named(error, " or ".join(filter(None, (cert, key)))) from None
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _named(error: OSError, file: str | None) -> SecretUnreadable:
    return SecretUnreadable(f"tls: {file}: {_why(error)}")


def _why(error: Exception) -> str:
    """What an exception says, as the end of a sentence, without addresses of code."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the receiver's certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or str(error)).lower().replace('_', ' ')}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the receiver closed the connection without an answer"
    if isinstance(error, http.client.HTTPException):
        return f"the answer is not HTTP: {type(error).__name__}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
