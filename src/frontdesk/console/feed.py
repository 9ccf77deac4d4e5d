"""What happens right now in one tenant, followed once however many look. Pages take a picture a few times a second; nothing waits for a page.

A feed follows the log while somebody looks and ends a while after the last one left. It keeps the last events of the newest
conversations, never whole ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from frontdesk.domain.conversation import ConversationId, Owner, Speaker
from frontdesk.domain.events import (
    AgentReplied,
    ConversationOpened,
    DraftRejected,
    Event,
    HandedOff,
    IntentRecognized,
    KnowledgeGapFound,
    MessageReceived,
    OwnerChanged,
    PassagesRetrieved,
    Recorded,
    ReplySent,
    SlotRequested,
    ToolCalled,
    TurnFailed,
)
from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import FrontdeskError
from frontdesk.events.tail import tail
from frontdesk.store.store import Store

log = logging.getLogger(__name__)

SHOWN = 60
"""Conversations that a feed keeps."""
LINES = 6
"""Things said that are kept of each."""
LOOK_BACK = 400
"""Events of the past that a new feed begins with."""
LINGER_SECONDS = 30.0
RATE_SECONDS = 10.0

NOW = {
    MessageReceived: "is reading the message",
    IntentRecognized: "has understood what it is about",
    PassagesRetrieved: "is reading the sources",
    ToolCalled: "looked something up",
    SlotRequested: "asks for a detail",
    DraftRejected: "kept a sentence back",
    KnowledgeGapFound: "found no source",
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing said."""

    seq: int
    speaker: Speaker
    text: str
    route: str = ""


@dataclass(kw_only=True)
class Going:
    """One conversation as it goes on."""

    id: ConversationId
    channel: str = ""
    customer: str = ""
    owner: Owner = Owner.DESK
    doing: str = ""
    at: datetime
    lines: deque[Line] = field(default_factory=lambda: deque(maxlen=LINES))
    said: int = 0


class Feed:
    """One tenant's. `version` grows with every event."""

    def __init__(self, store: Store, tenant: TenantId, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._tenant = tenant
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._times: deque[float] = deque(maxlen=20_000)
        self.going: OrderedDict[ConversationId, Going] = OrderedDict()
        """The newest activity last."""
        self.version = 0
        self.changes = 0
        """Grows with every change of an owner: what the inbox looks at."""
        self.viewers = 0
        self.left_at = clock()
        self.trouble = ""

    def rate(self) -> float:
        """Events a second, over the last seconds."""
        now = self._clock()
        while self._times and self._times[0] < now - RATE_SECONDS:
            self._times.popleft()
        return len(self._times) / RATE_SECONDS

    def newest(self, limit: int) -> list[Going]:
        """Conversations, the newest activity first."""
        return list(reversed(self.going.values()))[:limit]

    def start(self) -> None:
        """Follow the log, if nobody does yet."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow(), name=f"feed of {self._tenant}")

    async def stop(self) -> None:
        """End."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _follow(self) -> None:
        pause = 0.5
        while True:
            try:
                _, reached = await self._store.log.read(after=2**62, tenant=self._tenant)
                async for recorded in tail(self._store, after=max(0, reached - LOOK_BACK), tenant=self._tenant):
                    self.trouble, pause = "", 0.5
                    self.take(recorded)
            except FrontdeskError as problem:
                self.trouble = str(problem)
                log.warning("what happens now cannot be followed: %s", problem)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)

    def take(self, recorded: Recorded) -> None:
        """Count one event in."""
        self.version += 1
        self._times.append(self._clock())
        going = self.going.get(recorded.conversation)
        if going is None:
            while len(self.going) >= SHOWN:
                self.going.popitem(last=False)
            going = self.going[recorded.conversation] = Going(id=recorded.conversation, at=recorded.at)
        self.going.move_to_end(recorded.conversation)
        going.at = recorded.at
        self._tell(going, recorded.seq, recorded.event)

    def _tell(self, going: Going, seq: int, event: Event) -> None:
        going.doing = NOW.get(type(event), "")
        if isinstance(event, ConversationOpened):
            going.channel, going.customer = event.channel, event.customer or ""
        elif isinstance(event, MessageReceived):
            going.channel = going.channel or event.channel
            self._say(going, Line(seq=seq, speaker=Speaker.CUSTOMER, text=event.text))
        elif isinstance(event, ReplySent):
            self._say(going, Line(seq=seq, speaker=Speaker.DESK, text=event.text, route=event.route.value))
        elif isinstance(event, AgentReplied):
            self._say(going, Line(seq=seq, speaker=Speaker.AGENT, text=event.text))
        elif isinstance(event, TurnFailed) and event.apology:
            self._say(going, Line(seq=seq, speaker=Speaker.DESK, text=event.apology, route="failed"))
        elif isinstance(event, HandedOff):
            going.owner = Owner.QUEUE
            self.changes += 1
        elif isinstance(event, OwnerChanged):
            going.owner = Owner(event.owner)
            self.changes += 1

    @staticmethod
    def _say(going: Going, line: Line) -> None:
        going.lines.append(line)
        going.said += 1


class Feeds:
    """The feeds of all tenants that somebody looks at."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._feeds: dict[TenantId, Feed] = {}

    def watch(self, tenant: TenantId) -> Feed:
        """The tenant's feed, with one more who looks. Call `leave` when they are gone."""
        feed = self._feeds.get(tenant)
        if feed is None:
            feed = self._feeds[tenant] = Feed(self._store, tenant, clock=self._clock)
        feed.viewers += 1
        feed.start()
        return feed

    def leave(self, feed: Feed) -> None:
        """One less looks."""
        feed.viewers = max(0, feed.viewers - 1)
        feed.left_at = self._clock()

    async def tidy(self) -> None:
        """Ends feeds at which nobody has looked for a while."""
        for tenant, feed in list(self._feeds.items()):
            if not feed.viewers and self._clock() - feed.left_at > LINGER_SECONDS:
                del self._feeds[tenant]
                await feed.stop()

    async def close(self) -> None:
        """Ends all."""
        feeds, self._feeds = list(self._feeds.values()), {}
        for feed in feeds:
            await feed.stop()
