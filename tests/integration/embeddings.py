"""An embedding server that can be slow: a text with "slowly" in it takes its time, and who hung up meanwhile is remembered."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from frontdesk.models.scripted import HashEmbedder

SLOW_SECONDS = 1.5


@dataclass
class Embeddings:
    """`/v1/embeddings` on loopback with the vectors of `scripted:`, so that an index made with those fits."""

    busy: list[tuple[str, float, float]] = field(default_factory=list)
    """Each slow request: its text, when it began and when it ended."""
    begun: list[str] = field(default_factory=list)
    """The text of each slow request that has arrived."""
    hung_up: list[tuple[str, float]] = field(default_factory=list)
    """Slow requests whose client left before the answer, and when."""

    def __post_init__(self) -> None:
        outer, embedder = self, HashEmbedder()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
                slow = next((t for t in texts if "slowly" in t and len(texts) < 8), None)
                if slow is not None and not outer.wait(slow, self.connection):
                    self.close_connection = True
                    return
                rows = asyncio.run(embedder.embed(texts))
                data = [{"index": i, "embedding": [round(float(x), 4) for x in row]} for i, row in enumerate(rows)]
                self.answer(json.dumps({"data": data}).encode())

            def do_GET(self) -> None:
                self.answer(b'{"data": []}')

            def answer(self, content: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def wait(self, text: str, connection: socket.socket) -> bool:
        """False when the client left meanwhile."""
        began = time.monotonic()
        self.begun.append(text)
        while time.monotonic() - began < SLOW_SECONDS:
            if select.select([connection], [], [], 0.02)[0] and not connection.recv(1, socket.MSG_PEEK):
                self.hung_up.append((text, time.monotonic()))
                return False
        self.busy.append((text, began, time.monotonic()))
        return True

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
