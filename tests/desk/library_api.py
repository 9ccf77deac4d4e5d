"""A town library's API for tests of live data: it keeps a log of calls and can be told to fail. One server for each test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

OPENAPI = """
openapi: 3.1.0
info: {title: Library, version: '1'}
components:
  parameters:
    Member: {name: member_id, in: path, required: true, schema: {type: string, pattern: '^L-\\d{3}$'}}
    Loan: {name: loan_no, in: path, required: true, description: Number of the loan. listLoans gives it., schema: {type: string, pattern: '^LN\\d{4}$', example: LN1001}}
paths:
  /members/{member_id}/loans:
    get:
      operationId: listLoans
      summary: List the books on loan
      description: Books that the signed-in member has at home, with the day on which each is due and what is owed for it.
      parameters: [{$ref: '#/components/parameters/Member'}]
      responses: {'200': {description: ok}}
  /members/{member_id}/loans/{loan_no}/renewal:
    post:
      operationId: renewLoan
      summary: Renew a loan
      description: Extends a loan of the signed-in member. Costs a fee, so the member has to agree first.
      x-frontdesk: {confirm: true}
      parameters: [{$ref: '#/components/parameters/Member'}, {$ref: '#/components/parameters/Loan'}]
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [weeks]
              properties: {weeks: {type: integer, minimum: 1, maximum: 6, description: Number of weeks., example: 2}}
      responses: {'200': {description: ok}}
  /rooms:
    get:
      operationId: findRooms
      summary: Find free study rooms
      description: Study rooms that are free on a day in a branch, with today's price. Always call this for rooms and their prices.
      parameters:
        - {name: branch, in: query, required: true, description: The branch., schema: {type: string, enum: [Harbour, Hillside, Old Town]}}
        - {name: day, in: query, required: true, description: The day., schema: {type: string, format: date}}
      responses: {'200': {description: ok}}
  /branches/{branch}/crowd:
    get:
      operationId: getCrowd
      summary: Get how full a branch is
      description: How many people are in a branch right now and how many seats are free.
      parameters: [{name: branch, in: path, required: true, description: The branch., schema: {type: string, enum: [Harbour, Hillside, Old Town]}}]
      responses: {'200': {description: ok}}
  /newsletter:
    post:
      operationId: subscribeNewsletter
      summary: Subscribe to the newsletter
      description: Sends the monthly newsletter to an e-mail address.
      requestBody:
        required: true
        content: {application/json: {schema: {type: object, required: [email], properties: {email: {type: string, format: email, description: The e-mail address.}}}}}
      responses: {'201': {description: ok}}
"""


def _members() -> dict[str, list[dict[str, Any]]]:
    return {
        "L-101": [
            {"loan_no": "LN1001", "title": "The Sea Road", "due_on": "2026-12-03", "owed": 0},
            {"loan_no": "LN1002", "title": "Gardens of Clay", "due_on": "2026-12-17", "owed": 1.2},
        ],
        "L-202": [{"loan_no": "LN2001", "title": "Night Trains", "due_on": "2026-12-09", "owed": 0}],
    }


@dataclass(kw_only=True)
class Library:
    """State and log. `fail`: the status that every call gets instead of an answer."""

    url: str = ""
    members: dict[str, list[dict[str, Any]]] = field(default_factory=_members)
    people: dict[str, int] = field(default_factory=lambda: {"Harbour": 41, "Hillside": 7, "Old Town": 19})
    log: list[tuple[str, str, dict[str, Any], str]] = field(default_factory=list)
    """Method, path, arguments, idempotency key."""
    fail: int = 0
    raw: tuple[str, bytes] | None = None
    """Content type and body of every answer, whatever was asked."""
    delay: float = 0.0

    def reset(self) -> None:
        """Everything as it was at the start, and an empty log."""
        fresh = Library()
        self.members, self.people, self.log, self.fail = fresh.members, fresh.people, fresh.log, fresh.fail
        self.raw, self.delay = fresh.raw, fresh.delay

    def acts(self) -> list[tuple[str, str, dict[str, Any], str]]:
        """The calls that changed something or tried to."""
        return [row for row in self.log if row[0] == "POST"]

    def answer(self, method: str, path: str, arguments: dict[str, Any], key: str) -> tuple[int, Any]:
        self.log.append((method, path, arguments, key))
        if self.fail:
            return self.fail, {"detail": "out of order"}
        parts = path.strip("/").split("/")
        if parts[0] == "members":
            return self._of_member(parts, arguments)
        if parts[0] == "rooms":
            return 200, {"rooms": [{"room": "R1", "seats": 4, "price": 6.5}, {"room": "R7", "seats": 10, "price": 12}], "currency": "EUR"}
        if parts[0] == "branches":
            return 200, {"branch": parts[1].replace("%20", " "), "people": self.people[parts[1].replace("%20", " ")], "free_seats": 12}
        if parts[0] == "newsletter":
            return 201, {"status": "subscribed", "email": arguments["email"]}
        return 404, {"detail": "not found"}

    def _of_member(self, parts: list[str], arguments: dict[str, Any]) -> tuple[int, Any]:
        loans = self.members.get(parts[1])
        if loans is None:
            return 404, {"detail": "unknown member"}
        if len(parts) == 3:
            return 200, {"loans": loans, "currency": "EUR"}
        loan = next((row for row in loans if row["loan_no"] == parts[3]), None)
        if loan is None:
            return 404, {"detail": "no such loan"}
        return 200, {"loan_no": loan["loan_no"], "due_on": "2027-01-07", "fee": 0.5 * arguments["weeks"], "currency": "EUR"}


class Business(Protocol):
    """What is served: an answer to each call. Headers that begin with `x-` come among the arguments."""

    def answer(self, method: str, path: str, arguments: dict[str, Any], key: str) -> tuple[int, Any]: ...


@asynccontextmanager
async def library(state: Library | None = None) -> AsyncIterator[Library]:
    """A running library on a free port of this machine; `state`: another one to serve."""
    state = state or Library()
    async with served(state) as url:
        state.url = url
        yield state


@asynccontextmanager
async def served(state: Business) -> AsyncIterator[str]:
    """The address at which `state` answers over HTTP."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                method, target, _ = lines[0].split(" ")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                address = urlsplit(target)
                arguments = dict(parse_qsl(address.query)) | (json.loads(body) if body else {})
                arguments |= {k: v for k, v in headers.items() if k.startswith("x-")}
                status, answer = state.answer(method, address.path, arguments, headers.get("idempotency-key", ""))
                kind, data = getattr(state, "raw", None) or ("application/json", json.dumps(answer).encode())
                await asyncio.sleep(getattr(state, "delay", 0.0))
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
