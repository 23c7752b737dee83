"""Stands before the application: rate limit, headers, passwords, for every path alike.

The order is exporter-toolkit's. The configuration is looked up at each request, so a change holds
for connections that are open already.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from agent.token_bucket import TokenBucket
from agent.web_auth import BasicAuth, Verdict, credentials_of
from agent.web_config import RateLimit
from agent.web_file import WebFile

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

ANSWERS = {
    Verdict.REFUSED: b"Unauthorized\n",
    Verdict.TOO_MANY: b"Too many passwords are being checked\n",
}


class WebGuard:
    """An ASGI application around another one."""

    def __init__(self, app: Application, web: WebFile) -> None:
        self._app = app
        self._web = web
        self._auth = BasicAuth()
        self._limit: RateLimit | None = None
        self._bucket: TokenBucket | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or have it answered."""
        if not self._has_token():
            self._web.refused["rate"] += 1
            await _answer(send, 429, b"Too Many Requests\n")
            return
        send = self._with_headers(send)
        users = self._web.config.users
        if users:
            client = (scope.get("client") or ("",))[0]
            credentials = credentials_of(dict(scope["headers"]).get(b"authorization"))
            verdict = await self._auth.verdict(credentials, users, client)
            if verdict is not Verdict.ADMITTED:
                wrong = verdict is Verdict.REFUSED
                self._web.refused["password" if wrong else "too_many_checks"] += 1
                extra = (b"www-authenticate", b"Basic") if wrong else (b"retry-after", b"5")
                await _answer(send, verdict.value, ANSWERS[verdict], extra)
                return
        await self._app(scope, receive, send)

    def _has_token(self) -> bool:
        limit = self._web.config.rate_limit
        if limit != self._limit:
            self._limit = limit
            self._bucket = (
                None if limit is None else TokenBucket(limit.interval_seconds, limit.burst)
            )
        return self._bucket is None or self._bucket.take(self._web.clock.monotonic())

    def _with_headers(self, send: Send) -> Send:
        headers = [
            (name.lower().encode(), value.encode()) for name, value in self._web.config.headers
        ]
        if not headers:
            return send

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        return send_with_headers


async def _answer(send: Send, status: int, body: bytes, *extra: tuple[bytes, bytes]) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *extra,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
