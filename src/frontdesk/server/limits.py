"""How much one caller, one body and all turns together may take. Refuses with 429 or 413 and a time to come back; never queues."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontdesk.domain.tenancy import KeyId
from frontdesk.errors import RateLimited, TooBusy, TooLarge
from frontdesk.server.problems import problem_body

BODY_SECONDS = 30.0
"""A body that takes longer to arrive is given up, so that slow senders hold no connection."""
LINGER_BYTES, LINGER_SECONDS = 16 * 2**20, 5.0
"""How much of a refused body, and for how long, is still taken in before the refusal goes out."""


class RateLimits:
    """A token bucket per key: `per_minute` at once, then as many again each minute. 0 means no limit."""

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: dict[KeyId, tuple[float, float]] = {}

    def spend(self, key: KeyId) -> None:
        """Takes one message off this key's bucket. Raises RateLimited."""
        if self._per_minute <= 0:
            return
        now = self._clock()
        tokens, since = self._buckets.get(key, (float(self._per_minute), now))
        tokens = min(float(self._per_minute), tokens + (now - since) * self._per_minute / 60)
        if tokens < 1:
            wait = (1 - tokens) * 60 / self._per_minute
            raise RateLimited(f"This key may send {self._per_minute} messages a minute; try again in {wait:.1f} s.", retry_after=wait)
        self._buckets[key] = (tokens - 1, now)


class Slots:
    """So many things at once. Taking a slot never waits, so a burst cannot slip past the count."""

    def __init__(self, size: int, what: str) -> None:
        self.size = size
        self.taken = 0
        self._what = what

    def take(self) -> Slot:
        """A slot. Raises TooBusy when none is free."""
        if self.taken >= self.size:
            raise TooBusy(f"All {self.size} {self._what} are in use; try again in a second.", retry_after=1.0)
        self.taken += 1
        return Slot(self)


class Slot:
    """One taken place. Released once, by whoever holds it last."""

    def __init__(self, slots: Slots) -> None:
        self._slots: Slots | None = slots
        self.kept = False

    def keep(self) -> None:
        """Says that a turn now holds this slot and outlives the request."""
        self.kept = True

    def release(self) -> None:
        """Gives the place back; doing so twice changes nothing."""
        if self._slots is not None:
            self._slots.taken -= 1
            self._slots = None


class BodyLimit:
    """ASGI middleware: reads a body up to the limit and refuses the rest with 413, whatever Content-Length claims.

    Paths in `streaming`, and those below one in `below`, read (and limit) their own bodies after they know the caller.
    """

    def __init__(self, app: ASGIApp, *, limit: int, streaming: frozenset[str] = frozenset(), below: tuple[str, ...] = ()) -> None:
        self._app = app
        self._limit = limit
        self._streaming = streaming
        self._below = below

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._streaming or scope["path"].startswith(self._below):
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _read(scope, receive, self._limit)
        except TooLarge as why:
            await _refuse(scope, send, 413, why)
            return
        except TimeoutError:
            return
        if body is not None:
            await self._app(scope, _replay(body, receive), send)


async def _read(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > limit:
        await _let_finish(receive)
        raise TooLarge(f"The body has {int(declared)} bytes; at most {limit} are accepted.")
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            if more:
                await _let_finish(receive)
            raise TooLarge(f"The body is larger than the {limit} bytes that are accepted.")
    return body


async def _let_finish(receive: Receive) -> None:
    """Throws the rest of a body away: a client that is cut off while it still sends sees a reset connection, not the refusal."""
    thrown, more = 0, True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while more and thrown < LINGER_BYTES:
                message = await receive()
                thrown += len(message.get("body", b""))
                more = message.get("more_body", False)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _refuse(scope: Scope, send: Send, status: int, why: TooLarge) -> None:
    content = json.dumps(problem_body(scope["path"], scope.get("state", {}).get("request_id", ""), why)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
