"""HTTP/1.1 with bounds on what one client may hold: bytes, time, and a place among few connections.

uvicorn's protocol bounds the header only: a request that never ends, an answer that is never read
and a body without end keep their connection for ever, and beyond its limit of connections everyone
is refused. Here the oldest unfinished request makes room for a new connection instead.

With TLS all of this holds from a connection's first byte: a handshake is a request's beginning.
"""

import array
import asyncio
import fcntl
import socket
import ssl
import struct
import termios
from dataclasses import dataclass
from typing import ClassVar, Protocol

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from agent.web_tls import HandshakeFailed, TlsContext, TlsTransport

NO_LINGER = struct.pack("ii", 1, 0)
"""SO_LINGER, on, for no time: closing is a reset, and what was not sent is thrown away."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What clients may hold."""

    connections: int = 32
    """More than any set of scrapers needs; each costs a file descriptor and some buffers."""

    header_bytes: int = 16384
    """Twice this is refused for sure, this much is taken for sure."""

    request_bytes: int = 131072
    """Of all that comes in before the answer has gone out: pipelined requests and bodies, too."""

    exchange_seconds: float = 10.0
    """From a request's first byte, or the connection, until its answer has arrived."""

    keep_alive_seconds: float = 75.0
    """Longer than the usual scrape interval, so that Prometheus keeps its connection."""


class Door(Protocol):
    """What a new connection is met with."""

    @property
    def tls(self) -> TlsContext | None:
        """How it is encrypted from now on; None: not at all."""

    def handshake_failed(self) -> None:
        """Count it."""


class BoundedProtocol(H11Protocol):
    """One connection. ``sweep`` is to be called about once a second."""

    limits: ClassVar[HttpLimits] = HttpLimits()
    door: ClassVar[Door | None] = None
    _tls: TlsTransport | None = None
    _busy_since: float | None = None
    _resting_since = 0.0
    _received_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, if need be that of the connection that deserves it least."""
        others = [other for other in self.connections if isinstance(other, BoundedProtocol)]
        if len(others) >= self.limits.connections:
            min(others, key=BoundedProtocol._merit)._give_up()
        self._busy_since = self.loop.time()
        if self.door is not None and self.door.tls is not None:
            transport = self._tls = TlsTransport(transport, self.door.tls)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything; after a reset uvicorn keeps the timer, and with it all of this."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it is too much."""
        if self._busy_since is None or self._is_done():
            self._busy_since = self.loop.time()
            self._received_bytes = 0
        self._received_bytes += len(data)
        if self._received_bytes > self.limits.request_bytes:
            self._give_up()
            return
        if self._tls is not None:
            data = self._decrypted(self._tls, data)
        # h11 looks at an unfinished header's size only: one that comes in a single piece would
        # be taken whatever its size.
        for start in range(0, len(data), self.limits.header_bytes):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + self.limits.header_bytes])

    def _decrypted(self, tls: TlsTransport, data: bytes) -> bytes:
        try:
            return tls.feed(data)
        except (HandshakeFailed, ssl.SSLError):
            if self.door is not None:
                self.door.handshake_failed()
            self.transport.close()
            return b""

    def on_response_complete(self) -> None:
        """The answer was handed over."""
        super().on_response_complete()
        self._rest_if_done()

    def sweep(self) -> None:
        """End what has taken too long."""
        if self._tls is None and self.door is not None and self.door.tls is not None:
            self._give_up()  # from before there was TLS
            return
        now = self.loop.time()
        self._rest_if_done()
        if self._busy_since is None:
            if now - self._resting_since > self.limits.keep_alive_seconds:
                self.timeout_keep_alive_handler()
        elif now - self._busy_since > self.limits.exchange_seconds:
            self._give_up()

    def _merit(self) -> tuple[int, float]:
        """Low goes first: what waits for the client, then what rests, then what is answered now;
        of each the oldest."""
        if self._busy_since is None:
            return 1, self._resting_since
        waits = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        return (0 if waits else 2), self._busy_since

    def _rest_if_done(self) -> None:
        if self._busy_since is not None and self._is_done():
            self._busy_since = None
            self._resting_since = self.loop.time()

    def _is_done(self) -> bool:
        """Whether an answer has arrived and nothing of another request is here."""
        return (
            self.cycle is not None
            and self.cycle.response_complete
            and self.conn.our_state is h11.IDLE
            and self.conn.their_state is h11.IDLE
            and not self.conn.trailing_data[0]
            and not (self._tls is not None and self._tls.is_mid_record)
            and not self.transport.is_closing()
            and self._unread_bytes() == 0
        )

    def _unread_bytes(self) -> int:
        """How much of the answers the client's host has not taken yet, the kernel's share too."""
        waiting = array.array("i", [0])
        try:
            fcntl.ioctl(self.transport.get_extra_info("socket"), termios.TIOCOUTQ, waiting)
        except OSError:
            pass  # the connection is going; what the transport holds is told below
        return self.transport.get_write_buffer_size() + waiting[0]

    def _give_up(self) -> None:
        """End the connection with a reset: the kernel would go on to hold what was not read."""
        self.connections.discard(self)
        try:
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        except OSError:
            pass  # it has ended by itself
        self.transport.abort()


def protocol_with(limits: HttpLimits, door: Door | None = None) -> type[BoundedProtocol]:
    """The protocol with other limits; uvicorn makes its protocols without arguments of ours."""

    class Limited(BoundedProtocol):
        pass

    Limited.limits = limits
    Limited.door = door
    return Limited
