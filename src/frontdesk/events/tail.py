"""Follow the event log: first what happened since a position, then what happens. Nothing is missed, nothing comes twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import Recorded
from frontdesk.domain.tenancy import TenantId


class Following(Protocol):
    """New events in memory, as the log hands them out."""

    def follow(self) -> AsyncIterator[Recorded]:
        """Events as they come; ends when some were dropped and the log has to be read again."""
        ...


class Log(Protocol):
    """A log that can be read from a position and followed. Raises StoreUnavailable."""

    async def read(
        self, *, after: int, tenant: TenantId | None = None, conversation: ConversationId | None = None, limit: int = 500
    ) -> tuple[list[Recorded], int]:
        """Events above `after` in order, and the position up to which this was all."""
        ...

    def subscribe(
        self, *, tenant: TenantId | None = None, conversation: ConversationId | None = None
    ) -> AbstractAsyncContextManager[Following]:
        """New events that match, from now on."""
        ...


class HasLog(Protocol):
    """What a store offers here."""

    @property
    def log(self) -> Log:
        """The events of all tenants."""
        ...


async def tail(
    store: HasLog, *, after: int = 0, tenant: TenantId | None = None, conversation: ConversationId | None = None
) -> AsyncIterator[Recorded]:
    """Events above position `after`, in order of position, for ever; of one tenant or one conversation when asked.

    Give the last `position` received as `after` to go on where another tail ended. Raises StoreUnavailable when the database is away
    at the start or while catching up; a later outage only delays.
    """
    log = store.log
    async with log.subscribe(tenant=tenant, conversation=conversation) as subscription:
        while True:
            settled = False
            while not settled:
                events, reached = await log.read(after=after, tenant=tenant, conversation=conversation)
                for event in events:
                    yield event
                settled = not events
                after = max(after, reached)
            async for event in subscription.follow():
                if event.position > after:
                    after = event.position
                    yield event
