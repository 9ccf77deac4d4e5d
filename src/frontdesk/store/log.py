"""The log of all tenants as its consumers read it: in order of position, nothing missed, nothing twice. Reads only.

One connection per process listens and hands each new event to whoever asked for it; a reader that falls behind reads from the table again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

import psycopg

from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import Recorded
from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import StoreUnavailable
from frontdesk.store.conversations import recorded
from frontdesk.store.database import Database, Step, enter, translated
from frontdesk.store.queries import load

CHANNEL = "frontdesk_events"
BATCH = 500
KEPT = 2000
"""Events that wait in memory for a slow reader; after that it reads from the table."""
IDLE_SECONDS = 2.0
"""A look at the log without any notification: the writer may have been killed before it sent one."""
BLOCKED_SECONDS = 0.01
"""Pause before another look when a writer with lower positions has not committed yet."""
START_SECONDS = 5.0

_SQL = load("events")
_EVERYONE = TenantId("")
_logger = logging.getLogger("frontdesk.store")


class Subscription:
    """New events that match a filter, in memory."""

    def __init__(self, tenant: TenantId | None, conversation: ConversationId | None) -> None:
        self._tenant = tenant
        self._conversation = conversation
        self._waiting: deque[Recorded] = deque()
        self._wake = asyncio.Event()
        self._overflowed = False

    def offer(self, event: Recorded) -> None:
        """Take an event when it matches."""
        if (self._tenant not in (None, event.tenant)) or (self._conversation not in (None, event.conversation)):
            return
        if len(self._waiting) >= KEPT:
            self._overflowed = True
            self._waiting.clear()
        if not self._overflowed:
            self._waiting.append(event)
        self._wake.set()

    async def follow(self) -> AsyncIterator[Recorded]:
        """Events as they come. Ends when too many had to wait: then read from the table before following again."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._overflowed:
                self._overflowed = False
                return
            self._wake.clear()
            if not self._waiting:
                await self._wake.wait()


class EventLog:
    """All events of all tenants. Methods raise StoreUnavailable."""

    def __init__(self, url: str, *, role: str | None) -> None:
        self._url = url
        self._role = role
        self._database = Database(url, role=role, size=4, idle=1)
        self._subscriptions: set[Subscription] = set()
        self._pump: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()
        self._reached = 0

    async def open(self) -> None:
        """Connect."""
        await self._database.open()

    async def renew(self) -> None:
        """Replace every connection, after the server was restarted."""
        await self._database.renew()

    async def close(self) -> None:
        """End every subscription's supply."""
        await self._stop()
        await self._database.close()

    async def read(
        self,
        *,
        after: int,
        tenant: TenantId | None = None,
        conversation: ConversationId | None = None,
        limit: int = BATCH,
        kinds: Sequence[str] | None = None,
    ) -> tuple[list[Recorded], int]:
        """Settled events above position `after` (of some kinds), in order, and the position up to which nothing more can appear."""
        rows, horizon, _ = await self._settled(after, tenant, conversation, limit, kinds)
        return rows, horizon if len(rows) < limit else rows[-1].position

    @contextlib.asynccontextmanager
    async def subscribe(self, *, tenant: TenantId | None = None, conversation: ConversationId | None = None) -> AsyncIterator[Subscription]:
        """Everything that is settled from now on and matches."""
        subscription = Subscription(tenant, conversation)
        self._subscriptions.add(subscription)
        try:
            await self._start()
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            if not self._subscriptions:
                await self._stop()

    async def _settled(
        self, after: int, tenant: TenantId | None, conversation: ConversationId | None, limit: int, kinds: Sequence[str] | None = None
    ) -> tuple[list[Recorded], int, bool]:
        ((state,),) = await self._database.read(_EVERYONE, (_SQL["horizon"], {}))
        wanted = {
            "after": after, "horizon": state.horizon, "tenant": tenant, "conversation": conversation, "limit": limit,
            "kinds": None if kinds is None else list(kinds),
        }  # fmt: skip
        step: Step = (_SQL["between"], wanted)
        (rows,) = await self._database.read(_EVERYONE, step) if state.horizon > after else ([],)
        return [recorded(row, TenantId(row.tenant)) for row in rows], state.horizon, state.reached > state.horizon

    async def _start(self) -> None:
        if self._pump is None or self._pump.done():
            self._listening.clear()
            self._pump = asyncio.create_task(self._listen(), name="frontdesk event log")
        try:
            await asyncio.wait_for(self._listening.wait(), START_SECONDS)
        except TimeoutError:
            raise StoreUnavailable("the event log cannot be followed: the database is away, try again") from None

    async def _stop(self) -> None:
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump

    async def _listen(self) -> None:
        pause = 0.2
        while True:
            try:
                with translated():
                    connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True, connect_timeout=5)
                    async with connection:
                        await enter(connection, self._role)
                        await connection.execute(f"listen {CHANNEL}".encode())
                        if not self._listening.is_set():
                            self._reached = await self._horizon()
                            self._listening.set()
                        pause = 0.2
                        await self._follow(connection)
            except StoreUnavailable as error:
                _logger.warning("event log: %s", error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def _horizon(self) -> int:
        ((state,),) = await self._database.read(_EVERYONE, (_SQL["horizon"], {}))
        return int(state.horizon)

    async def _follow(self, connection: psycopg.AsyncConnection[Any]) -> None:
        while True:
            more = True
            while more:
                rows, horizon, blocked = await self._settled(self._reached, None, None, BATCH)
                for event in rows:
                    for subscription in self._subscriptions:
                        subscription.offer(event)
                more = len(rows) == BATCH
                self._reached = rows[-1].position if more else max(self._reached, horizon)
            async for _ in connection.notifies(timeout=BLOCKED_SECONDS if blocked else IDLE_SECONDS, stop_after=1):
                pass
