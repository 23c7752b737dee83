"""The HTTP listener: /metrics, /healthz, /readyz, /api/v1/status, /api/v1/explain, a landing page.

Everything is a rendering of the latest snapshot; no request starts a probe.
"""

import asyncio
import gzip
import math
import resource
import socket
import threading
from dataclasses import replace
from typing import Any

import msgspec
import uvicorn
from prometheus_client.exposition import choose_encoder, gzip_accepted
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from agent.api import status_document
from agent.delivery.scrapers import SCRAPE_HEADER
from agent.explain.explain import explain_document
from agent.explain.explanation import UnknownDatabase
from agent.explain.explanation import encode as encode_explanation
from agent.http_protocol import BoundedProtocol, HttpLimits, protocol_with
from agent.loop import Logger, Published
from agent.metrics import is_stalled, registry_for
from agent.web_file import WebFile
from agent.web_guard import WebGuard
from probes.clock import Clock

LISTEN_BACKLOG = 128
"""Connections that the kernel keeps until they are accepted: a burst loses none."""

ACCEPT_SHARE = 4
"""At most one in so many connections is accepted at a time. A request that came with its connection
is read before so many others came that they take its place."""

DESCRIPTOR_SHARE = 4
"""At most one in so many file descriptors goes to clients: the probes need theirs."""

SEND_BUFFER_BYTES = 131072
"""The kernel's memory for a connection's answer; by default it would grow to megabytes."""

GZIP_FROM_BYTES = 1024
"""A smaller answer fits into a packet or so as it is."""

GZIP_LEVEL = 1
"""A page shrinks to a tenth; higher levels take several times the CPU for little more."""

TICK_SECONDS = 1.0
"""The Date header's resolution, and how exactly clients' times are kept; each tick is a wake-up."""

TELL_SECONDS = 60.0
"""How often the log tells that connections cannot be accepted, or fail in asyncio's own hands."""

STOP_SECONDS = 0.5
"""The daemon ends within 2 s; a slow client does not get more of it than this."""

LANDING_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>smaxd</title></head>
<body><h1>smaxd</h1>
<p>How many puts per second this host's RocksDB can sustain, and what limits it.</p>
<ul>
<li><a href="/metrics">Metrics</a> for Prometheus</li>
<li><a href="/api/v1/status">Status</a> as JSON, as <code>smaxd status --json</code> shows it</li>
<li><a href="/api/v1/explain">Explanation</a> of every number as JSON, as
<code>smaxd explain --json</code> shows it</li>
<li><a href="/healthz">Health</a> and <a href="/readyz">readiness</a></li>
</ul></body></html>
"""


def application(published: Published, clock: Clock) -> Starlette:
    """The ASGI application."""
    registry = registry_for(published, clock)

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        if SCRAPE_HEADER in request.headers and request.client is not None:
            published.scraped(request.client.host, clock.monotonic())
        return _answer(request, encode(registry), content_type)

    async def healthz(_: Request) -> Response:
        snapshot = published.get()
        if snapshot is not None and is_stalled(snapshot, clock.monotonic()):
            return PlainTextResponse("no tick for too long\n", status_code=503)
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        snapshot = published.get()
        if snapshot is None:
            return PlainTextResponse("no tick yet\n", status_code=503)
        if not snapshot.ready:
            waiting = [f"{s.probe} {s.target}" for s in snapshot.probes if s.success is None]
            return PlainTextResponse("waiting for: " + ", ".join(waiting) + "\n", status_code=503)
        return PlainTextResponse("ready\n")

    async def status(request: Request) -> Response:
        snapshot = published.get()
        if snapshot is None:
            return PlainTextResponse("no tick yet\n", status_code=503)
        body = msgspec.json.encode(status_document(snapshot, clock.monotonic()))
        return _answer(request, body, "application/json")

    async def explain(request: Request) -> Response:
        snapshot = published.get()
        if snapshot is None:
            return PlainTextResponse("no tick yet\n", status_code=503)
        now = clock.monotonic()
        document = explain_document(
            snapshot, now, request.query_params.get("db"), stalled=is_stalled(snapshot, now)
        )
        if isinstance(document, UnknownDatabase):
            body = msgspec.json.encode(document)
            return Response(body, status_code=404, media_type="application/json")
        return _answer(request, encode_explanation(document), "application/json")

    async def landing(_: Request) -> Response:
        return HTMLResponse(LANDING_PAGE)

    return Starlette(
        routes=[
            Route("/", landing),
            Route("/metrics", metrics),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/api/v1/status", status),
            Route("/api/v1/explain", explain),
        ]
    )


def _answer(request: Request, body: bytes, content_type: str) -> Response:
    headers = {"content-type": content_type, "vary": "Accept-Encoding"}
    accepted = gzip_accepted(request.headers.get("accept-encoding", ""))
    if accepted and len(body) >= GZIP_FROM_BYTES:
        body = gzip.compress(body, GZIP_LEVEL)
        headers["content-encoding"] = "gzip"
    return Response(body, headers=headers)


class ListenError(Exception):
    """The address cannot be listened on; the message says which and why."""


class _Server(uvicorn.Server):
    """uvicorn looks ten times a second whether it is to end: most of an idle agent's CPU."""

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        web: WebFile | None,
        log: Logger | None,
    ) -> None:
        super().__init__(config)
        self._sockets = sockets
        self._web = web
        self._log = log
        self._told_at = -math.inf
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()

    async def main_loop(self) -> None:
        """Renew what uvicorn's tick renews (the Date header), and look after the connections and
        the web configuration, until ``end``."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._tell)
        for listener in self._sockets:
            listener.listen(LISTEN_BACKLOG)  # uvicorn has set it to what it accepts at a time
        while not await self.on_tick(0):
            if self._web is not None:
                self._web.look()
            for connection in tuple(self.server_state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.sweep()
            try:
                await asyncio.wait_for(self._ending.wait(), TICK_SECONDS)
            except TimeoutError:
                pass  # as nearly always: it is time for the next look

    def _tell(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Where descriptors are used up, asyncio would print a traceback for each connection that
        waits, every second: clients would fill the log."""
        if self._log is not None and loop.time() - self._told_at >= TELL_SECONDS:
            self._told_at = loop.time()
            why = f"{context.get('message')}: {context.get('exception')}"
            self._log.warning("listener_failing", detail=why)

    def end(self) -> None:
        """Ask from another thread to end now."""
        self.should_exit = self.force_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ending.set)


class HttpServer:
    """uvicorn in a thread of its own, so that a busy scrape never delays a tick."""

    def __init__(
        self,
        app: Starlette,
        host: str,
        port: int,
        limits: HttpLimits | None = None,
        web: WebFile | None = None,
        log: Logger | None = None,
    ) -> None:
        """``web`` says who may connect and ask; None: everyone, without encryption."""
        limits = limits or _limits()
        self._socket = _listen(host, port)
        self._server = _Server(
            uvicorn.Config(
                app if web is None else WebGuard(app, web),
                http=protocol_with(limits, web),
                ws="none",
                log_config=None,
                log_level="error",  # a line for each odd request would let clients fill the log
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_keep_alive=int(limits.keep_alive_seconds),
                h11_max_incomplete_event_size=limits.header_bytes,
                backlog=max(1, limits.connections // ACCEPT_SHARE),
            ),
            [self._socket],
            web,
            log,
        )
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)
        name = self._socket.getsockname()
        shown = f"[{name[0]}]" if ":" in name[0] else name[0]
        self.address = f"{shown}:{name[1]}"

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    @property
    def serving(self) -> bool:
        """Whether requests are answered now."""
        return self._thread.is_alive() and self._server.started

    def stop(self) -> None:
        """End serving; waits a moment for answers under way."""
        if self._thread.is_alive():
            self._server.end()
            self._thread.join(STOP_SECONDS)
        self._socket.close()

    def _serve(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))


def _limits() -> HttpLimits:
    """The usual limits, or fewer connections where file descriptors are scarce."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    usual = HttpLimits()
    if descriptors == resource.RLIM_INFINITY:
        return usual
    return replace(
        usual,
        connections=max(ACCEPT_SHARE, min(usual.connections, descriptors // DESCRIPTOR_SHARE)),
    )


def _listen(host: str, port: int) -> socket.socket:
    listener = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listener.bind(address)
        # At once: until then another one may bind the same port, and a first scrape is refused.
        listener.listen(LISTEN_BACKLOG)
    except (OSError, UnicodeError) as error:  # a name too long for IDNA is a UnicodeError
        if listener is not None:
            listener.close()
        raise ListenError(
            f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}; "
            "choose another address with --web.listen-address"
        ) from error
    return listener
