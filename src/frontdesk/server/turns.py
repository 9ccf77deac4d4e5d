"""Turns that run beside the request that started them: a client that hangs up cancels its turn, a slot is never lost, a shutdown waits.

A turn runs in a task of its own, so that cancelling reaches `FrontOffice.talk` as one plain cancellation that it can record, instead of
the repeated cancellation of a dying response.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, TypeVar, cast

import structlog
from fastapi import Request

from frontdesk.desk.recording import STOPPING
from frontdesk.domain.conversation import ConversationId, TurnId
from frontdesk.domain.events import MessageReceived, Recorded, ReplySent, SentenceReleased, TurnFailed, TurnMerged
from frontdesk.domain.tenancy import Caller, TenantId
from frontdesk.errors import FrontdeskError, Unavailable
from frontdesk.server.limits import Slot, Slots
from frontdesk.server.metrics import Metrics
from frontdesk.server.office import FrontOfficePort

T = TypeVar("T")
log = structlog.get_logger(__name__)


class ClientGone(Exception):
    """The client hung up before its answer was ready."""


class RunningTurn:
    """One turn in progress. Iterating gives its records as they come, and raises what the turn raised."""

    def __init__(self, task: asyncio.Task[None], records: asyncio.Queue[Recorded | BaseException | None]) -> None:
        self._task = task
        self._records = records
        self._ahead: list[Recorded] = []

    async def first(self) -> Recorded:
        """The first record: from here on the message is kept. Raises what `talk` raised instead."""
        async for recorded in self:
            self._ahead.append(recorded)
            return recorded
        raise Unavailable("The message could not be recorded; send it again with the same Idempotency-Key.")

    async def __aiter__(self) -> AsyncIterator[Recorded]:
        while self._ahead:
            yield self._ahead.pop(0)
        while (item := await self._records.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def cancel(self) -> None:
        """Stops the turn; what was said so far stays recorded."""
        self._task.cancel()


class Turns:
    """All turns in progress in this process."""

    def __init__(self, front_office: FrontOfficePort, slots: Slots, metrics: Metrics) -> None:
        self._front_office = front_office
        self._slots = slots
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: dict[tuple[TenantId, ConversationId], set[asyncio.Queue[Recorded]]] = {}

    @contextmanager
    def hearing(self, tenant: TenantId, conversation: ConversationId) -> Iterator[asyncio.Queue[Recorded]]:
        """Sentences of this conversation as they are said here, before they are in the log; they have no position yet."""
        heard: asyncio.Queue[Recorded] = asyncio.Queue()
        listening = self._listening.setdefault((tenant, conversation), set())
        listening.add(heard)
        try:
            yield heard
        finally:
            listening.discard(heard)
            if not listening and self._listening.get((tenant, conversation)) is listening:
                del self._listening[tenant, conversation]

    def slot(self) -> Slot:
        """A place for one turn. Raises TooBusy at once when there is none."""
        return self._slots.take()

    def start(
        self,
        slot: Slot,
        *,
        caller: Caller,
        message: str,
        history: Sequence[tuple[str, str]] = (),
        conversation: ConversationId | None = None,
        channel: str,
        idempotency_key: str | None = None,
    ) -> RunningTurn:
        """Starts a turn that holds `slot` until it ends, and goes on even if nobody reads it."""
        records: asyncio.Queue[Recorded | BaseException | None] = asyncio.Queue()
        talk = self._front_office.talk(
            caller=caller,
            message=message,
            history=history,
            conversation=conversation,
            channel=channel,
            idempotency_key=idempotency_key,
        )
        task = asyncio.create_task(self._pump(talk, records, caller))
        slot.keep()
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, slot, records))
        return RunningTurn(task, records)

    async def close(self, *, seconds: float = 5.0) -> None:
        """Lets running turns end for a while, then cancels the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel(STOPPING)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def running(self) -> int:
        """Turns in progress."""
        return len(self._tasks)

    async def _pump(self, talk: AsyncIterator[Recorded], records: asyncio.Queue[Recorded | BaseException | None], caller: Caller) -> None:
        started, spoke = time.perf_counter(), False
        with self._metrics.turns_running.track_inprogress():
            async with aclosing(cast("Any", talk)) as events:
                async for recorded in events:
                    if isinstance(recorded.event, SentenceReleased | ReplySent) and not spoke:
                        spoke = True
                        self._metrics.first_sentence.labels(caller.tenant).observe(time.perf_counter() - started)
                    self._metrics.count(caller.tenant, recorded.event, time.perf_counter() - started)
                    records.put_nowait(recorded)
                    if isinstance(recorded.event, SentenceReleased) and not recorded.seq:
                        for heard in self._listening.get((recorded.tenant, recorded.conversation), ()):
                            heard.put_nowait(recorded)

    def _ended(self, task: asyncio.Task[None], slot: Slot, records: asyncio.Queue[Recorded | BaseException | None]) -> None:
        slot.release()
        self._tasks.discard(task)
        why: BaseException | None = Unavailable("The turn was stopped before it ended.") if task.cancelled() else task.exception()
        if why is not None and not isinstance(why, FrontdeskError):
            log.error("turn_broke", exc_info=why)
        elif why is not None and not task.cancelled():
            log.info("turn_refused", code=why.code)
        records.put_nowait(why)
        records.put_nowait(None)


class Spoken:
    """What a turn has said so far, and how it ended."""

    def __init__(self) -> None:
        self.text = ""
        self.reply: ReplySent | None = None
        self.failed: TurnFailed | None = None
        self.merged = False

    def add(self, recorded: Recorded) -> str:
        """The text that this record adds to what the customer sees.

        A sentence brings its own white space or gets one space; the reply brings whatever the sentences have not said.
        """
        match recorded.event:
            case TurnMerged():
                self.merged = True
            case SentenceReleased(text=text):
                glue = " " if self.text and text and not (self.text[-1].isspace() or text[0].isspace()) else ""
                return self._say(glue + text)
            case ReplySent() as reply:
                self.reply = reply
                return self._say(reply.text[len(self.text) :]) if reply.text.startswith(self.text) else ""
            case TurnFailed() as failed:
                self.failed = failed
                return self._say(failed.apology if not self.text else "")
            case _:
                pass
        return ""

    def _say(self, text: str) -> str:
        self.text += text
        return text


async def unless_gone(request: Request, turn: RunningTurn, work: Awaitable[T]) -> T:
    """The result of `work`; when the client hangs up first, cancels the turn and raises ClientGone."""
    doing = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({doing, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            turn.cancel()
            raise ClientGone
        return doing.result()
    finally:
        watching.cancel()
        doing.cancel()


async def until(events: AsyncIterator[T], stop: asyncio.Event) -> AsyncIterator[T]:
    """The events, ending when `stop` is set even if none comes any more."""
    stopping = asyncio.ensure_future(stop.wait())
    step: asyncio.Future[T] | None = None
    try:
        while True:
            step = asyncio.ensure_future(anext(events))
            await asyncio.wait({step, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                return
            try:
                event = step.result()
            except StopAsyncIteration:
                return
            yield event
    finally:
        stopping.cancel()
        if step is not None:
            step.cancel()


async def with_spoken(log: AsyncIterator[Recorded], heard: asyncio.Queue[Recorded]) -> AsyncIterator[Recorded]:
    """The log's events, and between them the sentences that are being said: each once, and after the message that they answer."""
    begun: set[TurnId] = set()
    early: list[Recorded] = []
    said: Counter[TurnId] = Counter()
    step, hearing = asyncio.ensure_future(anext(log)), asyncio.ensure_future(heard.get())
    try:
        while True:
            await asyncio.wait({step, hearing}, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():  # first: what is said is said before it is written down
                early.append(hearing.result())
                hearing = asyncio.ensure_future(heard.get())
            elif step.done():
                try:
                    recorded = step.result()
                except StopAsyncIteration:
                    return
                step = asyncio.ensure_future(anext(log))
                if isinstance(recorded.event, MessageReceived):
                    begun.add(recorded.turn)
                if isinstance(recorded.event, SentenceReleased) and said[recorded.turn]:
                    said[recorded.turn] -= 1
                else:
                    yield recorded
            for sentence in [s for s in early if s.turn in begun]:
                early.remove(sentence)
                said[sentence.turn] += 1
                yield sentence
    finally:
        step.cancel()
        hearing.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
