"""A server on the loopback for one test: what stands in for an API is a handler and its state."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Loopback(ThreadingHTTPServer):
    """A server on a free port, with the state that its handler reads and writes."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], state: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.__dict__.update(state)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], **state: Any) -> Iterator[Loopback]:
    """Serve until the block ends."""
    server = Loopback(handler, state)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Answering(BaseHTTPRequestHandler):
    """A handler that answers in JSON and writes no log."""

    protocol_version = "HTTP/1.1"
    server: Loopback

    def answer_json(self, status: int, content: Any) -> None:
        """Send a status and a content."""
        payload = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *words: object) -> None:
        """Nothing."""
