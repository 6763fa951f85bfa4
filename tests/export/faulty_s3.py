"""A way to an S3 server on loopback on which requests can go wrong."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class _Way(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_any(self) -> None:
        self.connection.settimeout(20)
        if "100-continue" in self.headers.get("Expect", ""):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append(f"{self.command} {self.path}")
        fault = self.server.fault(self.command, self.path)
        if fault == "reset":
            # So that closing sends RST rather than FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        if fault in ("503", "expired"):
            self._answer(503 if fault == "503" else 400, {}, BUSY if fault == "503" else EXPIRED)
            return
        there = http.client.HTTPConnection(self.server.there, timeout=20)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("expect", "connection")}
        there.request(self.command, self.path, body, headers)
        answer = there.getresponse()
        content = answer.read()
        length = answer.headers.get("Content-Length", str(len(content))) if self.command == "HEAD" else len(content)
        self._answer(answer.status, dict(answer.headers), content, length, cut=fault == "truncated")
        there.close()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = do_any

    def _answer(self, status, headers, content, length=None, cut=False) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = self.close_connection or cut


class Way(ThreadingHTTPServer):
    """What leads to the server `there`.

    Attributes:
        fault: from a request's method and path: 503, expired, reset, truncated (its answer), or None.
        seen: every request.
    """

    daemon_threads = True

    def __init__(self, there: str) -> None:
        super().__init__(("127.0.0.1", 0), _Way)
        self.there = urlsplit(there).netloc
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.fault: Callable[[str, str], str | None] = lambda method, path: None
        self.seen: list[str] = []

    def handle_error(self, request, client_address) -> None:
        pass  # who was cut off


@contextmanager
def way_to(server: str) -> Iterator[Way]:
    with Way(server) as way:
        threading.Thread(target=way.serve_forever, daemon=True).start()
        yield way
        way.shutdown()
