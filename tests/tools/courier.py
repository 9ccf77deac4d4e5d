"""A courier's API as an in-process transport with a log, and the tenant that brings its OpenAPI document."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from frontdesk.domain.tenancy import Tenant, TenantId, ToolSource

TOKEN = "sekret-token-4711"
BIND = {"account_no": "customer.id", "x-account-no": "customer.id"}
FOLDER = Path(__file__).parent


class Drip(httpx.AsyncByteStream):
    """A body that comes in pieces, each after `pause` seconds."""

    def __init__(self, pieces: list[bytes], pause: float = 0.0) -> None:
        self.pieces, self.pause, self.closed = pieces, pause, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            await asyncio.sleep(self.pause)
            yield piece

    async def aclose(self) -> None:
        self.closed = True


Answer = Callable[[httpx.Request], httpx.Response]


@dataclass
class StubApi(httpx.AsyncBaseTransport):
    """Answers every request with `answer` and keeps the requests: effects are judged here, at the API's own log."""

    answer: Answer = field(default=lambda request: httpx.Response(200, json={"ok": True}))
    log: list[httpx.Request] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.log.append(request)
        return self.answer(request)

    def says(self, *answers: httpx.Response | Exception) -> None:
        """These answers, one after the other; the last one for ever."""
        queue = list(answers)

        def answer(_: httpx.Request) -> httpx.Response:
            current = queue.pop(0) if len(queue) > 1 else queue[0]
            if isinstance(current, Exception):
                raise current
            return current

        self.answer = answer

    @property
    def last_body(self) -> Any:
        return json.loads(self.log[-1].content)

    @property
    def last_target(self) -> str:
        return self.log[-1].url.raw_path.decode()


def tenant(*, bind: Mapping[str, str] = BIND, server: str = "https://api.courier.invalid/v2", document: str = "courier.yaml") -> Tenant:
    source = ToolSource(openapi=document, server=server, headers={"Authorization": "Bearer ${COURIER_TOKEN}"}, bind=bind)
    return Tenant(id=TenantId("courier"), name="Courier", folder=FOLDER, tools=(source,))
