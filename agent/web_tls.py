"""TLS for the listener: the context out of files, and a connection's records, without any waiting.

``asyncio`` can do TLS, too, but tells a protocol of a connection only once the handshake is over:
until then it would count nowhere, and who begins a handshake and stays silent could hold as many
as there are file descriptors. Here a connection is one from its first moment.
"""

import asyncio
import os
import ssl
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from agent.regular_file import read_regular
from agent.web_certificate import NotACertificate, expiry_of, names_of
from agent.web_tls_settings import CIPHER_SUITES, Pem, TlsSettings
from agent.web_values import WebConfigError

MAX_PEM_BYTES: Final = 1 << 20
"""A chain has a few kilobytes, a bundle of all the public authorities a quarter of this."""

PLAIN_HTTP_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Connection: close\r\nContent-Length: 48\r\n\r\n"
    b"Client sent an HTTP request to an HTTPS server.\n"
)

VERSIONS: Final = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
CLIENTS: Final = {
    "not asked for": ssl.CERT_NONE,
    "verified if given": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


class TlsContext:
    """What connections are encrypted with from now on."""

    def __init__(self, settings: TlsSettings, read: Callable[[Pem], bytes]) -> None:
        """Read the files. WebConfigError with what is wrong with which of them."""
        self._allowed = settings.client_allowed_sans
        certificate = read(settings.certificate)
        try:
            self.expires_at = expiry_of(certificate)
            """Unix time of the end of the certificate's validity."""
        except NotACertificate as error:
            raise WebConfigError([f"{_named(settings.certificate)} {error}"]) from error
        self.ssl_context = _server_context(settings)
        _load_pair(self.ssl_context, settings, certificate, read(settings.private_key))
        if settings.client_ca is not None:
            _load_client_ca(self.ssl_context, settings.client_ca, read(settings.client_ca))

    def refuses(self, tls: ssl.SSLObject) -> bool:
        """Whether a client with a good certificate is none of those that are named."""
        if self._allowed is None:
            return False
        return names_of(tls.getpeercert() or {}).isdisjoint(self._allowed)


def read_pem(pem: Pem) -> bytes:
    """The text. WebConfigError names the setting, the file and what is wrong."""
    if pem.path is None:
        return pem.text.encode()
    try:
        raw = read_regular(pem.path, MAX_PEM_BYTES)
    except OSError as error:
        raise WebConfigError([f"{_named(pem)} cannot be read: {error.strerror}"]) from error
    if len(raw) > MAX_PEM_BYTES:
        raise WebConfigError([f"{_named(pem)} is larger than {MAX_PEM_BYTES} bytes"])
    return raw


def _named(pem: Pem) -> str:
    return pem.key if pem.path is None else f"{pem.key}: {pem.path}"


def _server_context(settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        # TLS 1.0 and 1.1 are deprecated; who names them in the file knows that.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = VERSIONS[settings.min_version]
        context.maximum_version = VERSIONS[settings.max_version]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if settings.prefer_server_ciphers:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    old = settings.min_version in {"TLS10", "TLS11"}
    if settings.ciphers or old:
        names = settings.ciphers or tuple(CIPHER_SUITES.values())
        # What TLS 1.0 and 1.1 sign with is below the library's usual level of security.
        _try(
            "tls_server_config.cipher_suites",
            lambda: context.set_ciphers(":".join((*names, *(["@SECLEVEL=0"] if old else [])))),
        )
    curve = settings.curve
    if curve is not None:
        _try("tls_server_config.curve_preferences", lambda: context.set_ecdh_curve(curve))
    context.set_alpn_protocols(["http/1.1"])
    context.verify_mode = CLIENTS[settings.client_certificates]
    return context


def _try(key: str, step: Callable[[], object]) -> None:
    try:
        step()
    except (ssl.SSLError, ValueError) as error:
        raise WebConfigError([f"{key}: OpenSSL refuses it: {_reason(error)}"]) from error


def _load_pair(
    context: ssl.SSLContext, settings: TlsSettings, certificate: bytes, key: bytes
) -> None:
    def no_password() -> str:
        raise WebConfigError([f"{_named(settings.private_key)} is encrypted; it must not be"])

    try:
        with _in_memory(certificate) as certificate_file, _in_memory(key) as key_file:
            context.load_cert_chain(certificate_file, key_file, password=no_password)
    except (ssl.SSLError, OSError) as error:
        names = f"{_named(settings.certificate)} and {_named(settings.private_key)}"
        raise WebConfigError(
            [f"{names} cannot be used together: {_reason(error)}; are they a pair?"]
        ) from error


@contextmanager
def _in_memory(text: bytes) -> Iterator[str]:
    """A path to the text: the library takes files only, and these have been read already, or never
    were any."""
    descriptor = os.memfd_create("smaxd-tls", os.MFD_CLOEXEC)
    with open(descriptor, "wb") as file:
        file.write(text)
        file.flush()
        yield f"/proc/self/fd/{descriptor}"


def _load_client_ca(context: ssl.SSLContext, pem: Pem, text: bytes) -> None:
    try:
        # What is not ASCII stands in the comments of a bundle, and the library refuses it.
        context.load_verify_locations(cadata=text.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:
        raise WebConfigError([f"{_named(pem)} holds no certificate in PEM form"]) from error


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(reason).replace("_", " ").lower()


class HandshakeFailed(Exception):
    """The client cannot or must not connect."""


class TlsTransport(asyncio.Transport):
    """Encrypts what a protocol writes, and decrypts what ``feed`` is given."""

    def __init__(self, transport: asyncio.Transport, context: TlsContext) -> None:
        super().__init__()
        self._transport = transport
        self._context = context
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.ssl_context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._has_begun = False
        self._is_open = False
        self.is_mid_record = False
        """Whether what came last gave nothing to read: of a record the rest is missing."""

    def feed(self, data: bytes) -> bytes:
        """Take what came from the client, answer what TLS itself must, and give what it says.

        HandshakeFailed and ssl.SSLError: the connection is of no use, and an alert may tell why.
        """
        if not self._has_begun and data[:1].isupper():  # no TLS record begins with a letter
            self._transport.write(PLAIN_HTTP_ANSWER)
            raise HandshakeFailed("plain HTTP")
        self._has_begun = True
        self._incoming.write(data)
        try:
            text = self._decrypted() if self._is_open or self._shake_hands() else b""
        finally:
            self._send()
        self.is_mid_record = not text
        return text

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        if self._context.refuses(self._tls):
            raise HandshakeFailed("the certificate's names are none of client_allowed_sans")
        self._is_open = True
        return True

    def _decrypted(self) -> bytes:
        pieces = []
        try:
            while piece := self._tls.read(65536):
                pieces.append(piece)
            self.close()  # the client has said that it ends
        except ssl.SSLWantReadError:
            pass  # that was all
        return b"".join(pieces)

    def _send(self) -> None:
        if self._outgoing.pending and not self._transport.is_closing():
            self._transport.write(self._outgoing.read())

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        """Encrypt and send it; nothing where the connection is ending."""
        if self._transport.is_closing() or not self._is_open or not data:
            return
        self._tls.write(data)
        self._send()

    def close(self) -> None:
        """Tell the client that nothing more comes, and end once all has been sent."""
        if self._transport.is_closing():
            return
        if self._is_open:
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                pass  # it does not wait for the client to say the same
            self._send()
        self._transport.close()

    def abort(self) -> None:
        """End at once."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it ends or has ended."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """Take nothing more for now."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._transport.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken yet; all that was encrypted is among them."""
        return self._transport.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - asyncio's
        """Of the connection below; ``sslcontext`` and ``ssl_object`` of this one."""
        if name == "sslcontext":
            return self._context.ssl_context
        if name == "ssl_object":
            return self._tls
        return self._transport.get_extra_info(name, default)
