"""kill -9 between an API's effect and the reply: no second write after the restart, and the customer is told the truth."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.server import Server

from frontdesk.domain.tenancy import Role

TENANT = "tables"
OPENAPI = """
openapi: 3.1.0
info: {title: Tables, version: '1'}
paths:
  /bookings:
    post:
      operationId: bookTable
      summary: Book a table
      description: Books a table for a number of people this evening.
      x-frontdesk: {confirm: true}
      requestBody:
        required: true
        content: {application/json: {schema: {type: object, required: [people], properties: {people: {type: integer, minimum: 1, maximum: 12, description: Number of people.}}}}}
      responses: {'201': {description: ok}}
"""


class Bookings(ThreadingHTTPServer):
    """Books at once, and answers only when it is let; forgets idempotency keys, as the worst of APIs do."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.acts: list[dict[str, Any]] = []
        self.booked, self.may_answer = threading.Event(), threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: Bookings

    def do_POST(self) -> None:
        self.server.acts.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.server.booked.set()
        self.server.may_answer.wait(20)
        body = b'{"status": "booked"}'
        try:
            self.send_response(201)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def bookings() -> Iterator[Bookings]:
    server = Bookings()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.may_answer.set()
    server.shutdown()


@pytest.fixture
def desk(bookings: Bookings, open_folder: Path, tmp_path: Path) -> Iterator[Server]:
    home = tmp_path / "tenants" / TENANT
    (home / "tools").mkdir(parents=True)
    (home / "tools" / "openapi.yaml").write_text(OPENAPI)
    (home / "faq.yaml").write_text("- question: Do you have a garden?\n  answer: Yes, a small one.\n")
    address = f"http://127.0.0.1:{bookings.server_port}"
    (home / "tenant.yaml").write_text(f"id: {TENANT}\nname: Tables\ntools:\n  - openapi: tools/openapi.yaml\n    server: {address}\n")
    server = Server(open_folder / "acts", tmp_path / "tenants").start()
    yield server
    server.end()


def _post(desk: Server, head: dict[str, str], conversation: str, text: str) -> None:
    desk.http.post(f"/api/conversations/{conversation}/messages", json={"text": text}, headers=head).raise_for_status()


def _replies(desk: Server, head: dict[str, str], conversation: str, *, more_than: int) -> list[str]:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        answer = desk.http.get(f"/api/conversations/{conversation}", headers=head)
        said = [u["text"] for u in answer.raise_for_status().json()["utterances"] if u["speaker"] == "desk"]
        if len(said) > more_than:
            return said
        time.sleep(0.2)
    raise AssertionError(f"no reply came: {said}")


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_a_write_cut_off_by_a_kill_is_not_made_again_and_the_customer_hears_that_it_is_uncertain(desk: Server, bookings: Bookings):
    head = desk.headers(TENANT, Role.SERVER)
    conversation = desk.http.post("/api/conversations", headers=head).raise_for_status().json()["conversation_id"]
    _post(desk, head, conversation, "Please book a table for 4 people")
    asked = _replies(desk, head, conversation, more_than=0)
    assert "4" in asked[-1]
    assert bookings.acts == []
    _post(desk, head, conversation, "yes")
    assert bookings.booked.wait(60)
    desk.kill()
    bookings.may_answer.set()
    desk.start()
    said = _replies(desk, head, conversation, more_than=1)
    assert "can't say whether it went through" in said[-1]
    _post(desk, head, conversation, "yes")
    _replies(desk, head, conversation, more_than=2)
    assert bookings.acts == [{"people": 4}]


def test_the_bookings_api_forgets_keys(bookings: Bookings):
    bookings.may_answer.set()
    for _ in range(2):
        httpx.post(
            f"http://127.0.0.1:{bookings.server_port}/bookings", json={"people": 2}, headers={"Idempotency-Key": "k"}, trust_env=False
        )
    assert len(bookings.acts) == 2
