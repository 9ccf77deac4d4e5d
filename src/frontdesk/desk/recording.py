"""The front office: opens or resumes a conversation, lets the desk answer, and writes every event down. Decides nothing about answers.

A message is durable before anything is done with it, and a reply is durable before its last piece is shown. One turn runs at a time
in a conversation, on whichever replica; a burst of messages gets one reply; a retry gets the reply it missed.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from frontdesk.desk.desk import Desk
from frontdesk.desk.guardrails import cleaned
from frontdesk.desk.handoff import Category, hand_off
from frontdesk.domain.conversation import Conversation, ConversationId, Owner, Speaker, TurnId, Utterance
from frontdesk.domain.events import (
    ConversationOpened,
    Event,
    HandedOff,
    MessageReceived,
    Recorded,
    ReplySent,
    SentenceReleased,
    SlotRequested,
    ToolCalled,
    TurnFailed,
    TurnMerged,
)
from frontdesk.domain.tenancy import Caller, Tenant, TenantId
from frontdesk.errors import Conflict, FrontdeskError, NotFound, TooBusy, Unavailable
from frontdesk.settings import Settings
from frontdesk.store.store import Store, TenantStore

_log = logging.getLogger(__name__)

LEASE_SECONDS = 15.0
WAIT_FOR_TURN_SECONDS = 25.0


class FrontOffice:
    """Where customers' messages come in and replies go out."""

    def __init__(self, *, store: Store, desk: Desk, tenants: Mapping[TenantId, Tenant], settings: Settings) -> None:
        self._store = store
        self._desk = desk
        self._settings = settings
        self.tenants = tenants

    async def talk(
        self,
        *,
        caller: Caller,
        message: str,
        history: Sequence[tuple[str, str]] = (),
        conversation: ConversationId | None = None,
        channel: str = "api",
        idempotency_key: str | None = None,
    ) -> AsyncGenerator[Recorded]:
        """One turn, as events. The first is MessageReceived, already durable; the last is ReplySent.

        Ends without ReplySent when a human owns the conversation, and with TurnMerged when a later message of a burst is answered instead.
        Raises BadInput, TooLarge, NotFound (unknown or foreign conversation), Conflict (closed), TooBusy and StoreUnavailable.
        """
        tenant = self._tenant(caller.tenant)
        store = self._store.for_tenant(tenant.id)
        text = cleaned(message, limit=self._settings.max_message_chars)
        if idempotency_key:
            async for event in self._replay(store, caller, conversation, idempotency_key):
                yield event
                if isinstance(event.event, ReplySent):
                    return
        known, opened = await self._conversation(store, caller, history, conversation, channel)
        if known.owner is Owner.CLOSED:
            raise Conflict("this conversation is closed: start a new one")
        turn = TurnId(uuid.uuid4().hex)
        first: list[Event] = [ConversationOpened(channel=channel, customer=caller.customer)] if opened else []
        first.append(MessageReceived(text=text, channel=channel, idempotency_key=idempotency_key))
        received = await store.conversations.append(known.id, turn, first)
        yield received[-1]
        async with aclosing(self._answer(store, tenant, caller, known.id, turn, received[-1], history, channel)) as events:
            async for event in events:
                yield event

    async def hand_over(self, *, caller: Caller, conversation: ConversationId, category: Category = Category.REQUESTED) -> HandedOff:
        """The customer pressed the human button: the conversation goes to the queue, whatever the desk is doing."""
        tenant = self._tenant(caller.tenant)
        store = self._store.for_tenant(tenant.id)
        known = await store.conversations.load(conversation, key=caller.key, customer=caller.customer)
        asked = [u.text for u in known.utterances if u.speaker is Speaker.CUSTOMER]
        event = hand_off(tenant, known, asked[-1] if asked else "", category)
        if known.owner is Owner.DESK:
            await store.conversations.append(conversation, TurnId(uuid.uuid4().hex), [event])
        return event

    async def finish_interrupted(self) -> int:
        """Answers turns that a crash cut off after their message was accepted; returns how many."""
        done = 0
        for tenant in self.tenants.values():
            store = self._store.for_tenant(tenant.id)
            for conversation, turn in await store.conversations.unfinished():
                with suppress(FrontdeskError):
                    done += await self._finish(store, tenant, conversation, turn)
        return done

    def _tenant(self, tenant: TenantId) -> Tenant:
        if tenant not in self.tenants:
            raise NotFound(f"tenant {tenant!r} is not served here: check the tenants folder")
        return self.tenants[tenant]

    async def _finish(self, store: TenantStore, tenant: Tenant, conversation: ConversationId, turn: TurnId) -> int:
        known = await store.conversations.load(conversation, any_caller=True)
        records = await store.conversations.events(conversation)
        message = next((r for r in records if r.turn == turn and isinstance(r.event, MessageReceived)), None)
        if message is None or known.owner is not Owner.DESK:
            return 0
        # A verified identity does not outlive its token, so an interrupted turn is finished as an anonymous one.
        caller = Caller(tenant=tenant.id, key=await store.conversations.key_of(conversation))
        async with aclosing(self._answer(store, tenant, caller, conversation, turn, message, (), "recovery")) as events:
            async for _ in events:
                pass
        return 1

    async def _replay(self, store: TenantStore, caller: Caller, conversation: ConversationId | None, key: str) -> AsyncGenerator[Recorded]:
        """The events of an earlier attempt with the same idempotency key, waiting for its reply while it is still being made."""
        waited = 0.0
        while found := await store.conversations.reply_for(conversation, key=caller.key, customer=caller.customer, idempotency_key=key):
            identity, turn, reply = found
            if reply is not None:
                for record in await store.conversations.events(identity):
                    if record.turn == turn and isinstance(record.event, (MessageReceived, ReplySent)):
                        yield record
                return
            if waited >= WAIT_FOR_TURN_SECONDS:
                raise TooBusy("the first attempt of this message is still being answered: retry with the same key", retry_after=5)
            await asyncio.sleep(0.2)
            waited += 0.2

    async def _conversation(
        self, store: TenantStore, caller: Caller, history: Sequence[tuple[str, str]], wanted: ConversationId | None, channel: str
    ) -> tuple[Conversation, bool]:
        if wanted is not None:
            return await store.conversations.load(wanted, key=caller.key, customer=caller.customer), False
        if history:
            mark = fingerprint(history)
            found = await store.conversations.resume(key=caller.key, customer=caller.customer, fingerprint=mark)
            if found is not None:
                return await store.conversations.load(found, key=caller.key, customer=caller.customer), False
        identity = await store.conversations.open(key=caller.key, customer=caller.customer, channel=channel)
        now = datetime.now(UTC)
        return Conversation(id=identity, tenant=caller.tenant, customer=caller.customer, opened_at=now), True

    async def _answer(
        self,
        store: TenantStore,
        tenant: Tenant,
        caller: Caller,
        conversation: ConversationId,
        turn: TurnId,
        message: Recorded,
        history: Sequence[tuple[str, str]],
        channel: str,
    ) -> AsyncGenerator[Recorded]:
        if channel == "chat":
            await asyncio.sleep(self._settings.burst_seconds)
        async with self._lease(store, conversation, turn):
            merged = await _merged(store, conversation, turn, message) if channel == "chat" else None
            if merged is not None:
                yield merged
                return
            known = await store.conversations.load(conversation, any_caller=True)
            if known.owner is not Owner.DESK:
                return
            text, known = _open_messages(known, turn)
            known = _with_history(known, history)
            recorder = _Recorder(store=store, conversation=conversation, turn=turn, history=history, message=text)
            stream = self._desk.turn(tenant=tenant, caller=caller, conversation=known, message=text)
            async with aclosing(recorder.record(stream)) as events:
                async for event in events:
                    yield event

    @asynccontextmanager
    async def _lease(self, store: TenantStore, conversation: ConversationId, turn: TurnId) -> AsyncIterator[None]:
        """Holds the conversation's turn, waiting while another one runs, here or on another replica."""
        waited, pause = 0.0, 0.02
        while not await store.conversations.claim(conversation, holder=turn, seconds=LEASE_SECONDS):
            if waited >= WAIT_FOR_TURN_SECONDS:
                raise TooBusy("an earlier message of this conversation is still being answered: try again", retry_after=5)
            await asyncio.sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, 0.5)
        renewal = asyncio.create_task(self._renew(store, conversation, turn))
        try:
            yield
        finally:
            renewal.cancel()
            with suppress(FrontdeskError):
                await asyncio.shield(store.conversations.release(conversation, holder=turn))

    async def _renew(self, store: TenantStore, conversation: ConversationId, turn: TurnId) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            with suppress(FrontdeskError):
                await store.conversations.claim(conversation, holder=turn, seconds=LEASE_SECONDS)


@dataclass(kw_only=True)
class _Recorder:
    """Writes one turn's events down as they come; what was acted or asked at once, the rest with the reply."""

    store: TenantStore
    conversation: ConversationId
    turn: TurnId
    history: Sequence[tuple[str, str]]
    message: str

    async def record(self, stream: AsyncGenerator[Event]) -> AsyncGenerator[Recorded]:
        waiting: list[Event] = []
        try:
            async with aclosing(stream) as events:
                async for event in events:
                    waiting.append(event)
                    if isinstance(event, SentenceReleased):
                        yield self._passing(event)
                    if isinstance(event, ReplySent):
                        break
                    if isinstance(event, ToolCalled) and event.writes:
                        waiting = await self._flush(waiting)
            for record in await self._keep(waiting):
                if isinstance(record.event, (HandedOff, SlotRequested, ReplySent)):
                    yield record
            waiting = []
        except (asyncio.CancelledError, GeneratorExit):
            await asyncio.shield(self._give_up(waiting, "the customer went away before the reply was complete"))
            raise
        except FrontdeskError as problem:
            await self._give_up(waiting, str(problem))
            raise
        except Exception as bug:
            # A fault in one turn must neither lose the message nor stop the others: it is kept as an event and told as "try again".
            _log.exception("turn failed")
            await self._give_up(waiting, f"a fault in the desk: {type(bug).__name__}")
            raise Unavailable("something went wrong while answering: send the message again") from bug

    async def _keep(self, events: Sequence[Event]) -> Sequence[Recorded]:
        reply = next((e for e in events if isinstance(e, ReplySent)), None)
        mark = fingerprint([*self.history, ("user", self.message), ("assistant", reply.text)]) if reply else None
        # A human may have taken over while the desk was thinking: then its words are dropped.
        return await self.store.conversations.append(self.conversation, self.turn, events, fingerprint=mark, if_owner=Owner.DESK)

    async def _flush(self, events: Sequence[Event]) -> list[Event]:
        await self.store.conversations.append(self.conversation, self.turn, events)
        return []

    async def _give_up(self, events: Sequence[Event], reason: str) -> None:
        with suppress(FrontdeskError):
            await self.store.conversations.append(self.conversation, self.turn, [*events, TurnFailed(reason=reason)])

    def _passing(self, event: SentenceReleased) -> Recorded:
        """A sentence on its way to the customer before it is in the log; it has no position yet."""
        return Recorded(
            position=0, tenant=self.store.tenant, conversation=self.conversation, turn=self.turn, seq=0, at=datetime.now(UTC), event=event
        )


async def _merged(store: TenantStore, conversation: ConversationId, turn: TurnId, message: Recorded) -> Recorded | None:
    """The TurnMerged event when a later message of the same burst will be answered together with this one."""
    later = await store.conversations.events(conversation, after=message.seq)
    newer = [r for r in later if isinstance(r.event, MessageReceived) and r.turn != turn]
    if not newer:
        return None
    return (await store.conversations.append(conversation, turn, [TurnMerged(into=newer[-1].turn)]))[-1]


def _open_messages(known: Conversation, turn: TurnId) -> tuple[str, Conversation]:
    """All of the customer's words since the last reply, as one message, and the conversation before them."""
    spoken = list(known.utterances)
    open_ones: list[Utterance] = []
    while spoken and spoken[-1].speaker is Speaker.CUSTOMER:
        open_ones.insert(0, spoken.pop())
    answered = [u for u in open_ones if u.turn == turn or u.turn in known.merged]
    text = "\n".join(u.text for u in answered) or open_ones[-1].text
    return text, replace(known, utterances=tuple(spoken))


def _with_history(known: Conversation, history: Sequence[tuple[str, str]]) -> Conversation:
    """The conversation with what the client says was said before, where our own log holds less."""
    if len(history) <= len(known.utterances):
        return known
    speakers = {"user": Speaker.CUSTOMER, "assistant": Speaker.DESK}
    spoken = tuple(
        Utterance(speaker=speakers[role], text=text, turn=TurnId(f"given-{i}"), at=known.opened_at)
        for i, (role, text) in enumerate(history)
        if role in speakers
    )
    return replace(known, utterances=spoken)


def fingerprint(history: Sequence[tuple[str, str]]) -> str:
    """What identifies a conversation that a client resends: a hash of who said what, white space aside."""
    said = [f"{role}\x1f{' '.join(text.split())}" for role, text in history if role in ("user", "assistant")]
    return hashlib.sha256("\x1e".join(said).encode()).hexdigest()
