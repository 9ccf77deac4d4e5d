"""One tail of the event log per process, shared by all open streams. It only wakes readers: what they send always comes from the store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog

from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import Recorded
from frontdesk.errors import StoreUnavailable

POLL_SECONDS = 10.0
"""A reader looks by itself this often, so that a lost notification delays an event and never loses it."""
RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Live:
    """Readers by conversation, woken when the log grows."""

    def __init__(self, records: Callable[[], AsyncIterator[Recorded]]) -> None:
        self._records = records
        self._waiting: dict[ConversationId, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None

    async def follow(self, store: Any, conversation: ConversationId, *, after: int) -> AsyncIterator[Recorded]:
        """Everything after sequence number `after`, then what comes, for as long as the reader stays."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._tail())
        woken = asyncio.Event()
        self._waiting.setdefault(conversation, set()).add(woken)
        try:
            while True:
                woken.clear()
                for recorded in await store.conversations.events(conversation, after=after):
                    after = recorded.seq
                    yield recorded
                    woken.set()
                if not woken.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(woken.wait(), POLL_SECONDS)
        finally:
            readers = self._waiting[conversation]
            readers.discard(woken)
            if not readers:
                del self._waiting[conversation]

    async def close(self) -> None:
        """Stops tailing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _tail(self) -> None:
        while True:
            try:
                async for recorded in self._records():
                    for woken in self._waiting.get(recorded.conversation, ()):
                        woken.set()
            except StoreUnavailable as why:
                log.warning("event_tail_lost", reason=str(why))
            await asyncio.sleep(RETRY_SECONDS)
