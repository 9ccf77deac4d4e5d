"""An InfluxDB as far as a writer sees it: `/ping`, and `/api/v2/write` that takes line protocol and refuses what is none.

Calls itself version 2, since version 3 is also asked over gRPC, which this does not speak. Keeps points as InfluxDB does: those of the same
measurement, tags and moment are one.
"""

from __future__ import annotations

import gzip
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_PART = re.compile(r"""(?:\\.|"(?:\\.|[^"\\])*"|[^\\" ])+""")
_KEY = re.compile(r"(?:\\.|[^\\,= ])+")
_VALUE = re.compile(r'"(?:\\.|[^"\\])*"|-?\d+i|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false')


@dataclass
class Influx:
    """What was written: database to points. `busy` answers 429 to so many writes first."""

    url: str = ""
    token: str = "t0k3n"
    busy: int = 0
    points: dict[str, dict[Any, dict[str, Any]]] = field(default_factory=dict)
    writes: int = 0

    def take(self, database: str, text: str) -> None:
        """Raises ValueError for what is no line protocol."""
        for line in _lines(text):
            name, tags, fields, at = parsed(line)
            self.points.setdefault(database, {}).setdefault((name, tuple(sorted(tags.items())), at), {}).update(fields)


def parsed(line: str) -> tuple[str, dict[str, str], dict[str, Any], int]:
    """Measurement, tags, fields and moment of a line. Raises ValueError."""
    parts = _PART.findall(line)
    if len(parts) != 3 or " ".join(parts) != line:
        raise ValueError(f"no line of three parts: {line!r}")
    series, fields, at = parts
    name, *tags = re.split(r"(?<!\\),", series)
    return name, {_plain(k): _plain(v) for k, v in (_pair(t) for t in tags)}, dict(_fields(fields)), int(at)


def _lines(text: str) -> Iterator[str]:
    """A line ends where a line break stands outside a quoted text."""
    yield from (m[0] for m in re.finditer(r'(?:\\.|"(?:\\.|[^"\\])*"|[^\\"\n])+', text, re.DOTALL))


def _pair(text: str) -> tuple[str, str]:
    key, value = re.split(r"(?<!\\)=", text, maxsplit=1)
    if not _KEY.fullmatch(key) or not _KEY.fullmatch(value):
        raise ValueError(f"no tag: {text!r}")
    return key, value


def _fields(text: str) -> Iterator[tuple[str, Any]]:
    place = 0
    while place < len(text):
        key = _KEY.match(text, place)
        value = _VALUE.match(text, key.end() + 1) if key and text[key.end() : key.end() + 1] == "=" else None
        if key is None or value is None:
            raise ValueError(f"no field at {text[place : place + 40]!r}")
        raw = value[0]
        yield _plain(key[0]), re.sub(r'\\(["\\])', r"\1", raw[1:-1]) if raw.startswith('"') else raw
        place = value.end() + 1


def _plain(text: str) -> str:
    return re.sub(r"\\([,= ])", r"\1", text)


@contextmanager
def influx() -> Iterator[Influx]:
    """One that listens on a free port."""
    kept = Influx()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, status: int, **head: str) -> None:
            self.send_response(status)
            for name, value in ({"X-Influxdb-Version": "2.7.0", "Content-Length": "0"} | head).items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()

        def do_GET(self) -> None:
            self._answer(204 if self.headers["Authorization"] == f"Token {kept.token}" else 401)

        def do_POST(self) -> None:
            body, at = self.rfile.read(int(self.headers["Content-Length"])), urlsplit(self.path)
            if self.headers["Authorization"] != f"Token {kept.token}" or at.path != "/api/v2/write":
                return self._answer(401)
            kept.writes += 1
            if kept.busy:
                kept.busy -= 1
                return self._answer(429, Retry_After="1")
            text = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            try:
                kept.take(parse_qs(at.query)["bucket"][0], text.decode())
            except (ValueError, KeyError):
                return self._answer(400)
            return self._answer(204)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
