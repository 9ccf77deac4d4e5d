"""The front office: opens or resumes a conversation, lets the desk answer, and writes every event down. Decides nothing about answers.

A message is durable before anything is done with it, and a reply is durable before its last piece is shown. One turn runs at a time
in a conversation, on whichever replica; a burst of messages gets one reply; a retry gets the reply it missed; a turn that was cut off
is finished by whoever finds it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property

from frontdesk import __version__
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
from frontdesk.errors import FrontdeskError, NotFound, StoreUnavailable, TooBusy, Unavailable
from frontdesk.settings import Settings
from frontdesk.store.conversations import Standing
from frontdesk.store.store import Store, TenantStore

_log = logging.getLogger(__name__)

LEASE_SECONDS = 8.0
"""How long a conversation stays taken after the process that answers in it was killed."""
WAIT_FOR_TURN_SECONDS = 25.0
FINISHING_AT_ONCE = 4
STOPPING = "stopping"
"""Message of a cancellation that stops the program: the turn is left open, and the next start finishes it."""
CHAT = "chat"
"""The channel in which messages are loose: several in a row get one reply."""

_GONE = "the customer went away before the reply was complete"


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
        wanted = conversation
        if wanted is None and history:
            mark = fingerprint(history)
            wanted = await store.conversations.resume(key=caller.key, customer=caller.customer, fingerprint=mark)
        first: list[Event] = [] if wanted else [ConversationOpened(channel=channel, customer=caller.customer, desk=__version__)]
        first.append(MessageReceived(text=text, channel=channel, idempotency_key=idempotency_key))
        begun = await store.conversations.begin(
            wanted,
            TurnId(uuid.uuid4().hex),
            first,
            key=caller.key,
            customer=caller.customer,
            channel=channel,
            seconds=0.0 if channel == CHAT else LEASE_SECONDS,
        )
        if begun is None:
            received, standing = await self._earlier(store, caller, str(idempotency_key)), None
        else:
            received, standing = begun[0][-1], begun[1]
        turn = _Turn(store=store, desk=self._desk, tenant=tenant, caller=caller, message=received, history=history, again=begun is None)
        async with turn.kept():
            yield received
            if channel == CHAT and begun is not None:
                await asyncio.sleep(self._settings.burst_seconds)
            async with aclosing(turn.answer(standing, retried=begun is None)) as events:
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
            await store.conversations.append(conversation, TurnId(uuid.uuid4().hex), [event], if_owner=Owner.DESK)
        return event

    async def finish_interrupted(self, *, older_seconds: float | None = None) -> int:
        """Answers turns that a crash cut off, here or on another replica, after their message was accepted; returns how many.

        Only those whose message is older than `older_seconds` (by default somewhat more than a burst lasts), that nobody is at, and whose
        sender is not still waiting behind another message.
        """
        older = self._settings.burst_seconds + 2.0 if older_seconds is None else older_seconds
        room = asyncio.Semaphore(FINISHING_AT_ONCE)

        async def finish(tenant: Tenant, store: TenantStore, conversation: ConversationId, turn: TurnId) -> int:
            async with room:
                try:
                    return await self._finish(store, tenant, conversation, turn)
                except FrontdeskError as problem:
                    _log.warning("a cut-off turn could not be finished yet: %s", problem)
                    return 0

        stores = [(t, self._store.for_tenant(t.id)) for t in self.tenants.values()]
        left = [(t, s, *found) for t, s in stores for found in await self._cut_off(s, older)]
        return sum(await asyncio.gather(*(finish(*one) for one in left)))

    async def _cut_off(self, store: TenantStore, older: float) -> list[tuple[ConversationId, TurnId]]:
        waiting = older + self._settings.burst_seconds + WAIT_FOR_TURN_SECONDS
        return await store.conversations.unfinished(older_seconds=older, patience_seconds=waiting)

    def _tenant(self, tenant: TenantId) -> Tenant:
        if tenant not in self.tenants:
            raise NotFound(f"tenant {tenant!r} is not served here: check the tenants folder")
        return self.tenants[tenant]

    async def _finish(self, store: TenantStore, tenant: Tenant, conversation: ConversationId, turn: TurnId) -> int:
        message = await _message_of(store, conversation, turn)
        if message is None:
            return 0
        # A verified identity does not outlive its token, so an interrupted turn is finished as an anonymous one.
        caller = Caller(tenant=tenant.id, key=await store.conversations.key_of(conversation))
        answering = _Turn(store=store, desk=self._desk, tenant=tenant, caller=caller, message=message, history=(), again=True)
        async with answering.kept(), aclosing(answering.answer(None, retried=False)) as events:
            return int(any([True async for _ in events]))

    async def _earlier(self, store: TenantStore, caller: Caller, idempotency_key: str) -> Recorded:
        """The message that came with this idempotency key before. Raises TooBusy in the instant before it can be read."""
        found = await store.conversations.reply_for(None, key=caller.key, customer=caller.customer, idempotency_key=idempotency_key)
        message = await _message_of(store, found[0], found[1]) if found else None
        if message is None:
            raise TooBusy("the first attempt of this message is still being accepted: retry with the same key", retry_after=1)
        return message


@dataclass(kw_only=True)
class _Turn:
    """Answers one recorded message: waits for its place, lets the desk speak, writes down what happened."""

    store: TenantStore
    desk: Desk
    tenant: Tenant
    caller: Caller
    message: Recorded
    history: Sequence[tuple[str, str]]
    again: bool = False
    """Whether another attempt at this turn may be under way: a client's retry, or a turn that somebody else left."""
    _said: list[Event] = field(default_factory=list)
    _ended: bool = False
    _holding: bool = False

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Whatever breaks inside, the message gets an end in the log. A program that stops leaves it open for the next start."""
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit) as why:
            if not self._ended and STOPPING not in why.args:
                await asyncio.shield(self._give_up(_GONE))
            raise
        except StoreUnavailable as problem:
            # Nobody waits for the answer of a chat: it is made when the database is back.
            if not self._ended and not _loose(self.message):
                await self._give_up(str(problem))
            raise
        except FrontdeskError as problem:
            if not self._ended:
                await self._give_up(str(problem))
            raise
        except Exception as bug:
            # A fault in one turn must neither lose the message nor stop the others: it is kept as an event and told as "try again".
            _log.exception("turn failed")
            await self._give_up(f"a fault in the desk: {type(bug).__name__}")
            raise Unavailable("something went wrong while answering: send the message again") from bug
        finally:
            if self._holding:
                with suppress(FrontdeskError):
                    await asyncio.shield(self.store.conversations.release(self._place, holder=self._holder))

    async def answer(self, standing: Standing | None, *, retried: bool) -> AsyncGenerator[Recorded]:
        """The events after MessageReceived. `standing` with a claimed lease saves asking for it; `retried` tries a failed turn again."""
        async with self._lease(standing) as held:
            if not held.awaits(self._id):
                async for event in self._as_ended():
                    yield event
                if self._ended or not retried:
                    self._ended = True
                    return
            if held.conversation.owner is not Owner.DESK:
                await self._silent()
                return
            if (merged := await self._merge(held)) is not None:
                yield merged
                return
            async with aclosing(self._speak(held.conversation, _together(held, self.message) or [self._utterance])) as events:
                async for event in events:
                    yield event

    @property
    def _id(self) -> TurnId:
        return self.message.turn

    @cached_property
    def _holder(self) -> str:
        """Who holds the lease: a name of its own for a second attempt, or both would think that they have it."""
        return f"{self._id} {uuid.uuid4().hex}" if self.again else self._id

    @property
    def _utterance(self) -> Utterance:
        return Utterance(speaker=Speaker.CUSTOMER, text=_text(self.message), turn=self._id, at=self.message.at)

    @property
    def _place(self) -> ConversationId:
        return self.message.conversation

    async def _speak(self, known: Conversation, together: Sequence[Utterance]) -> AsyncGenerator[Recorded]:
        """The desk's events: sentences as they pass, what was acted or asked at once, the rest with the reply."""
        text = "\n".join(u.text for u in together)
        known = _with_history(_before(known, together), self.history)
        stream = self.desk.turn(tenant=self.tenant, caller=self.caller, conversation=known, message=text)
        async with aclosing(stream) as events:
            async for event in events:
                self._said.append(event)
                if isinstance(event, SentenceReleased):
                    yield self._passing(event)
                if isinstance(event, ReplySent):
                    break
                if isinstance(event, ToolCalled) and event.writes:
                    await self._flush()
        reply = next((e for e in self._said if isinstance(e, ReplySent)), None)
        mark = fingerprint([*self.history, ("user", text), ("assistant", reply.text)]) if reply else None
        # A human may have taken over while the desk was thinking, or another replica the turn: then its words are dropped.
        kept = await self.store.conversations.append(
            self._place, self._id, self._said, fingerprint=mark, if_owner=Owner.DESK, holder=self._holder, release=True
        )
        self._ended = True
        self._holding = not kept
        for record in kept:
            if isinstance(record.event, (HandedOff, SlotRequested, ReplySent)):
                yield record
        if not kept:
            async for record in self._as_ended():
                yield record

    async def _as_ended(self) -> AsyncGenerator[Recorded]:
        """How this turn ended already: its reply, or that of the turn it was merged into. Nothing when it failed or a human has it."""
        identity, seen = self._id, set[TurnId]()
        while identity not in seen:
            seen.add(identity)
            records = await self.store.conversations.turn(self._place, identity)
            ends = [r for r in records if isinstance(r.event, (HandedOff, SlotRequested, ReplySent))]
            if ends:
                self._ended = True
                for record in ends:
                    yield record
                return
            merged = next((r.event for r in records if isinstance(r.event, TurnMerged)), None)
            if merged is None:
                return
            identity = merged.into

    async def _merge(self, held: Standing) -> Recorded | None:
        """In a chat, all messages without an answer get one reply: the newest takes the others along."""
        if not _loose(self.message):
            return None
        others = [m for m in held.waiting if m.turn != self._id and _loose(m)]
        newer = [m for m in others if m.seq > self.message.seq]
        if newer:
            self._ended = True
            return (await self.store.conversations.append(self._place, self._id, [TurnMerged(into=newer[-1].turn)]))[-1]
        for older in others:
            await self.store.conversations.append(self._place, older.turn, [TurnMerged(into=self._id)])
        return None

    async def _silent(self) -> None:
        """A human has the conversation. A client that resends its history must find it again all the same."""
        mark = fingerprint([*self.history, ("user", _text(self.message))])
        await self.store.conversations.remember(self._place, fingerprint=mark)
        self._ended = True

    @asynccontextmanager
    async def _lease(self, standing: Standing | None) -> AsyncIterator[Standing]:
        """Takes the conversation's turn, waiting while another one runs, here or on another replica; `kept` gives it back."""
        waited, pause = 0.0, 0.02
        while standing is None or not standing.claimed:
            standing = await self.store.conversations.take(self._place, turn=self._id, holder=self._holder, seconds=LEASE_SECONDS)
            if standing.claimed:
                break
            if waited >= WAIT_FOR_TURN_SECONDS:
                raise TooBusy("an earlier message of this conversation is still being answered: try again", retry_after=5)
            await asyncio.sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, 0.3)
        self._holding = True
        renewal = asyncio.create_task(self._renew())
        try:
            yield standing
        finally:
            renewal.cancel()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 4)
            with suppress(FrontdeskError):
                await self.store.conversations.renew(self._place, holder=self._holder, seconds=LEASE_SECONDS)

    async def _flush(self) -> None:
        said, self._said = self._said, []
        await self.store.conversations.append(self._place, self._id, said)

    async def _give_up(self, reason: str) -> None:
        self._ended = True
        holder = self._holder if self._holding else None  # nothing is added when the reply was written although its commit seemed to fail
        with suppress(FrontdeskError):
            events = [*self._said, TurnFailed(reason=reason)]
            await self.store.conversations.append(self._place, self._id, events, holder=holder, release=self._holding)
            self._holding = False

    def _passing(self, event: SentenceReleased) -> Recorded:
        """A sentence on its way to the customer before it is in the log; it has no position yet."""
        return Recorded(
            position=0, tenant=self.store.tenant, conversation=self._place, turn=self._id, seq=0, at=datetime.now(UTC), event=event
        )


async def _message_of(store: TenantStore, conversation: ConversationId, turn: TurnId) -> Recorded | None:
    return next((r for r in await store.conversations.turn(conversation, turn) if isinstance(r.event, MessageReceived)), None)


def _loose(message: Recorded) -> bool:
    return isinstance(message.event, MessageReceived) and message.event.channel == CHAT


def _text(message: Recorded) -> str:
    return message.event.text if isinstance(message.event, MessageReceived) else ""


def _together(held: Standing, message: Recorded) -> list[Utterance]:
    """What this turn answers: its own message, after those that were merged into it since somebody last answered."""
    merged = held.conversation.merged | {m.turn for m in held.waiting if _loose(m)} if _loose(message) else held.conversation.merged
    found: list[Utterance] = []
    for said in reversed(held.conversation.utterances):
        if not found:
            found += [said] if said.turn == message.turn and said.speaker is Speaker.CUSTOMER else []
        elif said.speaker is not Speaker.CUSTOMER:
            break
        elif said.turn in merged:
            found.insert(0, said)
    return found


def _before(known: Conversation, together: Sequence[Utterance]) -> Conversation:
    """The conversation as it stood before these messages."""
    mine = {u.turn for u in together}
    places = [i for i, u in enumerate(known.utterances) if u.turn in mine]
    return replace(known, utterances=known.utterances[: min(places)] if places else known.utterances)


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
