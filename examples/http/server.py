"""The server's half of an exported client over HTTP: numpy and ONNX Runtime, no torch and no narl.

python examples/http/server.py BUNDLE        # on this machine alone, until Ctrl-C; POST /probabilities

A request is what `examples/http/client.py` sends: float32 numbers, nothing that could run. Its size is known before it is
read. HTTP hides nothing on its way: for other machines than this one, put a web server with TLS and passwords before it.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import prod
from pathlib import Path

import numpy as np

MOST_IMAGES = 64  # in a request
SECONDS = 10  # that a client may be silent


class Refused(Exception):
    """A request that is not answered: the HTTP status, and why."""


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    timeout = SECONDS
    server: Probabilities

    def do_POST(self) -> None:
        try:
            told, status = self.server.told(self._sent()), 200
        except Refused as refusal:
            status, reason = refusal.args
            told = {"error": reason}
            self.close_connection = True  # the rest of the request is unread
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _sent(self) -> np.ndarray:
        """Read what a client sent, float32 [B, C, h, w]; everything that a request says is checked before."""
        shape = self.server.shape
        if self.path != "/probabilities":
            raise Refused(404, "there is /probabilities, and nothing else")
        if self.headers.get("X-Bundle") != self.server.identity:
            raise Refused(409, "that client is of another bundle: its answers mean something else here")
        if self.headers.get("X-Dtype") != "float32":
            raise Refused(415, "X-Dtype must be float32, little-endian")
        count = _whole(self.headers.get("X-Images"))
        if not 1 <= count <= MOST_IMAGES:
            raise Refused(413, f"X-Images must be 1 to {MOST_IMAGES}")
        if self.headers.get("X-Shape") != ",".join(map(str, shape)):
            raise Refused(400, f"X-Shape must be {','.join(map(str, shape))}")
        expected = 4 * count * prod(shape)
        if _whole(self.headers.get("Content-Length")) != expected:
            raise Refused(400, f"Content-Length must be {expected}, that of {count} images")
        content = self.rfile.read(expected)
        if len(content) != expected:
            raise Refused(400, "the request ended early")
        sent = np.frombuffer(content, "<f4").reshape(count, *shape).astype(np.float32)
        if not np.isfinite(sent).all():
            raise Refused(400, "every number must be finite")
        return sent


class Probabilities(ThreadingHTTPServer):
    """Knows the bundle, and what its answers look like."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], bundle: Path) -> None:
        sys.path.insert(0, str(bundle))
        from narl_client import Bundle
        from narl_server import Server

        known = Bundle(bundle)
        self.identity = known.sha256("server.onnx")
        self.shape = tuple(known.facts["feature_shape"])
        self._half = Server(bundle)
        super().__init__(address, Handler)

    def told(self, sent: np.ndarray) -> dict:
        return {"classes": self._half.classes, "probabilities": self._half.probabilities(sent).tolist()}


def _whole(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 12 else -1


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the useful label of an exported client's answers.")
    parser.add_argument("bundle", type=Path, help="a folder that narl export wrote")
    parser.add_argument("--host", default="127.0.0.1", help="default: this machine alone")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free (default: %(default)s)")
    args = parser.parse_args()
    try:
        server = Probabilities((args.host, args.port), args.bundle.resolve())
    except (ImportError, OSError, ValueError, OverflowError) as error:  # no bundle, a damaged one, a port that is taken
        parser.error(f"{args.bundle} cannot be served: {error}")
    with server, suppress(KeyboardInterrupt):
        print(f"http://{server.server_address[0]}:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
