"""Basic authentication: bcrypt without its cost for those who are known, and bounded for the rest.

One check runs at a time, in a thread of its own, and all that fail together take at most
``CHECK_CPU_SHARE`` of one core; who comes while too many wait is sent away. What a check found is
remembered by a keyed digest, never by the password.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import queue
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from agent.web_config import dearest_cost

CHECK_CPU_SHARE: Final = 0.1
"""Of one core, at most, goes to checks that fail: guessing must not disturb the databases."""

WAITING: Final = 8
"""Checks that may wait or run. With the usual cost and the share above the last of them is
answered within a scrape's 10 s."""

WAITING_OF_ONE_CLIENT: Final = 2
"""Of them from one address: who guesses does not take the places of others."""

REMEMBERED: Final = 100
"""Right answers that are remembered, and as many wrong ones, as in exporter-toolkit; guessing
cannot drive out a right one."""

BCRYPT_BYTES: Final = 72
"""Further bytes of a password do not count; the library wants them cut off by the caller."""

UNKNOWN_USER_HASH: Final = "$2b${cost:02d}$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"


class Verdict(Enum):
    """What becomes of a request; the value is the HTTP status."""

    ADMITTED = 200
    REFUSED = 401
    TOO_MANY = 429


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client says it is."""

    user: bytes
    password: bytes

    def __repr__(self) -> str:
        return "Credentials(...)"


def credentials_of(authorization: bytes | None) -> Credentials | None:
    """Out of the header's value, None where it is not of the Basic scheme (RFC 7617)."""
    scheme, _, encoded = (authorization or b"").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    user, colon, password = decoded.partition(b":")
    return Credentials(user, password) if colon else None


class Remembered:
    """Results of checks by keyed digest, the least recently used forgotten first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._results: dict[bool, OrderedDict[bytes, None]] = {
            True: OrderedDict(),
            False: OrderedDict(),
        }

    def get(self, key: bytes) -> bool | None:
        """What the check found; None when it is not remembered."""
        for result, keys in self._results.items():
            if key in keys:
                keys.move_to_end(key)
                return result
        return None

    def put(self, key: bytes, result: bool) -> None:
        """Remember it; right and wrong ones have room of their own."""
        keys = self._results[result]
        keys[key] = None
        if len(keys) > self._size:
            keys.popitem(last=False)


class BasicAuth:
    """Used by one event loop; the checks run in a thread that ends with the process."""

    def __init__(self, share: float = CHECK_CPU_SHARE) -> None:
        self._secret = os.urandom(32)
        self._remembered = Remembered(REMEMBERED)
        self._running: dict[bytes, asyncio.Future[bool]] = {}
        self._waiting: Counter[str] = Counter()
        self._checks = _CheckThread(share)

    async def verdict(
        self, credentials: Credentials | None, users: Mapping[str, str], client: str
    ) -> Verdict:
        """Whether to admit; ``users`` has the bcrypt hashes, ``client`` is an address."""
        if credentials is None:
            return Verdict.REFUSED
        known = _hash_of(credentials.user, users)
        # A made-up hash of the dearest kind: how long it takes does not tell who is known.
        hashed = known or UNKNOWN_USER_HASH.format(cost=dearest_cost(users))
        key = self._key(credentials, hashed)
        right = self._remembered.get(key)
        if right is None:
            under_way = self._running.get(key)
            if under_way is None:
                of_client = self._waiting[client]
                if of_client >= WAITING_OF_ONE_CLIENT or len(self._running) >= WAITING:
                    return Verdict.TOO_MANY
                under_way = self._begin(key, client, credentials.password, hashed)
            # Shielded: who goes away must not take the answer from others that wait for it.
            right = await asyncio.shield(under_way)
        return Verdict.ADMITTED if right and known is not None else Verdict.REFUSED

    def _begin(
        self, key: bytes, client: str, password: bytes, hashed: str
    ) -> "asyncio.Future[bool]":
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bool] = loop.create_future()
        self._running[key] = answer
        self._waiting[client] += 1

        def finish(right: bool) -> None:
            self._remembered.put(key, right)
            del self._running[key]
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]
            if not answer.done():
                answer.set_result(right)

        def tell(right: bool) -> None:
            try:
                loop.call_soon_threadsafe(finish, right)
            except RuntimeError:
                pass  # the listener has ended meanwhile

        self._checks.ask(password, hashed, tell)
        return answer

    def _key(self, credentials: Credentials, hashed: str) -> bytes:
        digest = hmac.new(self._secret, digestmod=hashlib.sha256)
        for part in (credentials.user, hashed.encode(), credentials.password):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()


class _CheckThread:
    """bcrypt, one at a time. It releases the interpreter while it computes."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._asked: queue.SimpleQueue[tuple[bytes, str, Callable[[bool], None]]] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None

    def ask(self, password: bytes, hashed: str, tell: Callable[[bool], None]) -> None:
        """Check when it is its turn; ``tell`` is called in the thread."""
        if self._thread is None:
            # A daemon thread: a check that takes minutes must not delay the end.
            self._thread = threading.Thread(target=self._run, name="bcrypt", daemon=True)
            self._thread.start()
        self._asked.put((password, hashed, tell))

    def _run(self) -> None:
        import bcrypt  # noqa: PLC0415 - only where there are users

        while True:
            password, hashed, tell = self._asked.get()
            began = time.thread_time()
            try:
                right = bcrypt.checkpw(password[:BCRYPT_BYTES], hashed.encode())
            except ValueError:
                right = False  # a hash that this library cannot check
            tell(right)
            if not right:
                used = time.thread_time() - began
                time.sleep(used * (1.0 / self._share - 1.0))


def _hash_of(user: bytes, users: Mapping[str, str]) -> str | None:
    try:
        return users.get(user.decode("utf-8"))
    except UnicodeDecodeError:
        return None
