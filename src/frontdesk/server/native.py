"""The native API for customers: conversations, messages, live events, the human button, one's own data. Nobody sees what is not theirs."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from sse_starlette import EventSourceResponse

from frontdesk.domain.conversation import Conversation, ConversationId, TurnId
from frontdesk.domain.events import MessageCorrected, MessageReceived, Recorded
from frontdesk.domain.tenancy import Caller, Role
from frontdesk.errors import BadInput, NotFound
from frontdesk.events.tail import tail
from frontdesk.server.access import AnyCaller, Chatting, Desk, RetryKey, Shared, SignedIn, TurnSlot
from frontdesk.server.problems import NOWHERE
from frontdesk.server.turns import ClientGone, unless_gone, until, with_spoken
from frontdesk.server.views import (
    Accepted,
    ConversationOut,
    CorrectionIn,
    Erased,
    ExportedConversation,
    ExportOut,
    MessageIn,
    Opened,
    event_body,
)
from frontdesk.server.wording import customer_message, plain_id, retry_key
from frontdesk.store.conversations import NO_TURN, Conversations

HEARTBEAT_SECONDS = 15
CHANNEL = "chat"
"""The channel in which messages are loose: several in a row get one reply."""

router = APIRouter(prefix="/api", tags=["conversations"])


@router.post("/conversations", status_code=201)
async def open_conversation(caller: Chatting, desk: Shared) -> Opened:
    """Opens a conversation for this key and customer."""
    store = desk.office.store.for_tenant(caller.tenant)
    return Opened(conversation_id=await store.conversations.open(key=caller.key, customer=caller.customer, channel=CHANNEL))


@router.post("/conversations/{conversation}/messages", status_code=202, response_model=Accepted)
async def send_message(
    request: Request,
    slot: TurnSlot,
    desk: Shared,
    caller: Chatting,
    conversation: str,
    body: MessageIn,
    idempotency_key: RetryKey = None,
) -> Any:
    """Keeps the message; the reply comes as events. Messages in quick succession get one reply."""
    turn = desk.turns.start(
        slot,
        caller=caller,
        message=customer_message(body.text, desk.office.settings.max_message_chars, "text"),
        conversation=ConversationId(plain_id(conversation)),
        channel=CHANNEL,
        idempotency_key=retry_key(idempotency_key),
    )
    try:
        first = await unless_gone(request, turn, turn.first())
    except ClientGone:
        return Response(status_code=499)
    return Accepted(conversation_id=first.conversation, turn_id=first.turn, seq=first.seq)


@router.get("/conversations/{conversation}")
async def read_conversation(caller: AnyCaller, desk: Shared, conversation: str) -> ConversationOut:
    """The conversation as far as it went."""
    return ConversationOut.of(await _load(desk, caller, conversation))


@router.get(
    "/conversations/{conversation}/events",
    response_class=EventSourceResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Events as they happen; `id` is the sequence number."}},
)
async def follow(
    caller: AnyCaller,
    desk: Shared,
    conversation: str,
    after: Annotated[int, Query(ge=0, le=2**62, description="Sequence number after which to begin.")] = 0,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", description="What a reconnecting reader saw last.")] = None,
) -> EventSourceResponse:
    """What happened after a point, then what happens, with a heartbeat; resumes from Last-Event-ID.

    Sentences come as they are said, without an id, before the reply is in the log.
    """
    identity = ConversationId(plain_id(conversation))
    await _load(desk, caller, conversation)
    start = _resume_point(last_event_id, after)
    slot = desk.streams.take()

    async def stream() -> AsyncIterator[dict[str, str]]:
        try:
            with desk.metrics.streams_open.track_inprogress(), desk.turns.hearing(caller.tenant, identity) as heard:
                yield {"comment": "open"}
                log = tail(desk.office.store, tenant=caller.tenant, conversation=identity)
                async for recorded in until(with_spoken(log, heard), desk.stopping):
                    spoken = not recorded.seq
                    if (spoken or recorded.seq > start) and (body := event_body(recorded, caller.role)) is not None:
                        place = {} if spoken else {"id": str(recorded.seq)}
                        yield {**place, "event": body["kind"], "data": json.dumps(body, ensure_ascii=False)}
        finally:
            slot.release()

    async def gone(_message: Any) -> None:
        slot.release()

    return EventSourceResponse(stream(), ping=HEARTBEAT_SECONDS, sep="\n", client_close_handler_callable=gone)


@router.post("/conversations/{conversation}/handoff", status_code=202)
async def ask_for_human(caller: Chatting, desk: Shared, conversation: str) -> ConversationOut:
    """The human button: puts the conversation into the queue for people, whatever the desk is doing."""
    await desk.office.front_office.hand_over(caller=caller, conversation=ConversationId(plain_id(conversation)))
    return ConversationOut.of(await _load(desk, caller, conversation))


@router.get("/me/export", tags=["own data"])
async def export_me(caller: SignedIn, desk: Shared) -> ExportOut:
    """Everything that is kept about the signed-in customer: all conversations, all their events, and what was worked out from them."""
    store = desk.office.store.for_tenant(caller.tenant)
    found: list[ExportedConversation] = []
    before: datetime | None = None
    while rows := await store.conversations.list(customer=caller.customer, limit=100, before=before):
        for row in rows:
            events = [event_body(r, Role.SERVER) async for r in _all_events(store.conversations, row.conversation_id)]
            derived: dict[str, list[Any]] = {}
            for kind, body in await store.rights.derived([row.conversation_id]):
                derived.setdefault(kind, []).append(body)
            found.append(
                ExportedConversation(
                    conversation_id=row.conversation_id, opened_at=row.opened_at, events=[e for e in events if e], derived=derived
                )
            )
        before = rows[-1].updated_at
    return ExportOut(customer=str(caller.customer), conversations=found)


@router.delete("/me", tags=["own data"])
async def erase_me(caller: SignedIn, desk: Shared) -> Erased:
    """Forgets the signed-in customer, wherever their words went. The audit trail keeps the receipt, which names nobody."""
    assert caller.customer is not None  # noqa: S101 - SignedIn
    store = desk.office.store.for_tenant(caller.tenant)
    return Erased.of(await desk.eraser.customer(store, caller.customer, actor=caller.key))


@router.delete("/me/conversations/{conversation}", tags=["own data"])
async def erase_my_conversation(caller: SignedIn, desk: Shared, conversation: str) -> Erased:
    """Forgets one conversation of the signed-in customer, with whatever key it was held."""
    owned = await _own(desk, caller, conversation)
    return Erased.of(await desk.eraser.conversation(desk.office.store.for_tenant(caller.tenant), owned.id, actor=caller.key))


@router.post("/me/conversations/{conversation}/corrections", status_code=201, tags=["own data"])
async def correct_me(caller: SignedIn, desk: Shared, conversation: str, body: CorrectionIn) -> ConversationOut:
    """Puts one of the customer's own messages right. From here on it reads as corrected; the log keeps both until it is erased."""
    owned = await _own(desk, caller, conversation)
    text = customer_message(body.text, desk.office.settings.max_message_chars, "text")
    conversations = desk.office.store.for_tenant(caller.tenant).conversations
    said = await conversations.turn(owned.id, TurnId(plain_id(body.turn_id)))
    if not any(isinstance(r.event, MessageReceived) for r in said):
        raise NotFound(NOWHERE)
    await conversations.append(owned.id, NO_TURN, [MessageCorrected(turn=body.turn_id, text=text)])
    return ConversationOut.of(await conversations.load(owned.id, any_caller=True))


async def _all_events(conversations: Conversations, identity: ConversationId) -> AsyncIterator[Recorded]:
    after = 0
    while page := await conversations.events(identity, after=after):
        for recorded in page:
            yield recorded
        after = page[-1].seq


async def _own(desk: Desk, caller: Caller, conversation: str) -> Conversation:
    """A conversation of the signed-in customer. Raises NotFound for anybody else's."""
    conversations = desk.office.store.for_tenant(caller.tenant).conversations
    found = await conversations.load(ConversationId(plain_id(conversation)), any_caller=True)
    if found.customer is None or found.customer != caller.customer:
        raise NotFound("no such conversation")
    return found


async def _load(desk: Desk, caller: Caller, conversation: str) -> Conversation:
    conversations = desk.office.store.for_tenant(caller.tenant).conversations
    identity = ConversationId(plain_id(conversation))
    if caller.role is Role.OPERATOR:
        return await conversations.load(identity, any_caller=True)
    return await conversations.load(identity, key=caller.key, customer=caller.customer)


def _resume_point(last_event_id: str | None, after: int) -> int:
    if last_event_id is None:
        return after
    if not re.fullmatch(r"[0-9]{1,18}", last_event_id):
        raise BadInput("Last-Event-ID must be the id of an event of this stream.")
    return int(last_event_id)
