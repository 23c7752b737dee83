"""A real HTTP receiver on a free port, which answers as a test tells it to."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """What came, and what is answered."""

    url: str = ""
    status: int = 200
    answer_headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b"ok"
    before_answer: Callable[[], None] = lambda: None
    drip_seconds: float | None = None  # between the bytes of an answer without an end
    requests: list[Received] = field(default_factory=list)


@contextmanager
def receiving(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Run one until the end of the block."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.requests.append(Received(self.path, headers, self.rfile.read(length)))
            receiver.before_answer()
            if receiver.drip_seconds is not None:
                self._drip(receiver.drip_seconds)
                return
            self.send_response(receiver.status)
            for name, value in receiver.answer_headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(receiver.answer)))
            self.end_headers()
            self.wfile.write(receiver.answer)

        def _drip(self, seconds: float) -> None:
            try:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not stopped.wait(seconds):
                    self.wfile.write(b"x")
                    self.wfile.flush()
            except OSError:
                pass  # the sender has gone, as it should

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on the terminal."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that goes away is what the tests are about."""

    stopped = threading.Event()
    with Server(("127.0.0.1", 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "http" if context is None else "https"
        receiver.url = f"{scheme}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            stopped.set()
            server.shutdown()
            thread.join()


def eventually(holds: Callable[[], bool], what: str, patience_seconds: float = 20.0) -> None:
    """Wait for something that another thread or process is going to bring about."""
    give_up = time.monotonic() + patience_seconds
    while not holds():
        assert time.monotonic() < give_up, f"it never came: {what}"
        time.sleep(0.01)
