"""A spoken message in, a spoken reply out: speech to text, a turn, text to speech.

One request is one message; `calling` is a whole call. What nobody said or nobody could make out starts no turn: the desk asks to say it
again. Refuses to guess: without FRONTDESK_AUDIO_URL there is no voice.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from frontdesk.desk.phrases import Phrases
from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import HandedOff, ReplySent
from frontdesk.domain.knowledge import PassageKind
from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import BadInput
from frontdesk.models.speech import ENDINGS, Speech, whole
from frontdesk.server.access import Chatting, Desk, Shared, TurnSlot
from frontdesk.server.turns import ClientGone, RunningTurn, unless_gone
from frontdesk.server.wording import customer_message, plain_id

CHANNEL = "voice"
USUAL = ("Yes.", "Yes, please.", "No.", "No, thank you.", "Hello.", "Thank you, that is all.", "I want to talk to a person.", "Goodbye.")
"""What is said in any call; beside a tenant's own questions, the hint for a recogniser."""

router = APIRouter(prefix="/api", tags=["conversations"])


class SpokenReply(BaseModel):
    """What was heard, what is answered, and the answer as sound (base64, WAV). `heard` is empty when nothing could be made out."""

    heard: str
    reply: str
    audio: str
    conversation_id: str | None
    handoff: bool


@router.post("/voice", response_model=SpokenReply)
async def speak(
    request: Request,
    slot: TurnSlot,
    desk: Shared,
    caller: Chatting,
    conversation: Annotated[str | None, Query(description="The conversation to go on with; without it one is opened.")] = None,
) -> Any:
    """One spoken message, as the body, in the form that `Content-Type` names."""
    settings, speech = desk.office.settings, await speech_of(desk)
    form = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if form not in ENDINGS:
        raise BadInput(f"Send audio, with its Content-Type: {', '.join(sorted(ENDINGS))}.")
    sound = await request.body()
    tenant = desk.office.tenants[caller.tenant]
    language = tenant.languages[0]
    heard = await speech.hear(sound, form, expecting=await expected(desk, caller.tenant)) if sound else ""
    if not understood(heard):
        said = Phrases(tenant).say("not_understood")
        return SpokenReply(heard="", reply=said, audio=await _said(speech, said, language), conversation_id=conversation, handoff=False)
    turn = desk.turns.start(
        slot,
        caller=caller,
        message=customer_message(heard, settings.max_message_chars, "what was said"),
        conversation=ConversationId(plain_id(conversation)) if conversation else None,
        channel=CHANNEL,
        idempotency_key=None,
    )
    try:
        identity, text, handed = await unless_gone(request, turn, _answered(turn))
    except ClientGone:
        return Response(status_code=499)
    spoken = await _said(speech, text, language) if text else ""
    return SpokenReply(heard=heard, reply=text, audio=spoken, conversation_id=identity, handoff=handed)


async def speech_of(desk: Desk) -> Speech:
    """What hears and speaks here. Raises BadInput where nothing does, ModelMissing where a part of it is missing."""
    speech = await desk.voice.of(desk.office.settings)
    if speech is None:
        raise BadInput(
            "There is no voice here: set FRONTDESK_AUDIO_URL to an OpenAI-compatible /v1 address that serves audio, or to offline:"
        )
    return speech


async def expected(desk: Desk, tenant: TenantId) -> tuple[str, ...]:
    """Sentences that customers of this tenant are likely to say: its own questions, and what is said in any call."""
    found = list(USUAL)
    for line in (tenant, *desk.office.tenants[tenant].lines):
        pairs = await desk.office.store.for_tenant(line).knowledge.all_passages(kinds=[PassageKind.FAQ])
        found += [pair.title for pair, _ in pairs]
    return tuple(dict.fromkeys(found))


def understood(heard: str) -> bool:
    """Whether there is a word in what was heard."""
    return any(c.isalnum() for c in heard)


async def _answered(turn: RunningTurn) -> tuple[str, str, bool]:
    """The conversation, the reply ("" when a human owns it) and whether it was handed over."""
    first = await turn.first()
    text, handed = "", False
    async for recorded in turn:
        handed = handed or isinstance(recorded.event, HandedOff)
        if isinstance(recorded.event, ReplySent):
            text = recorded.event.text
    return first.conversation, text, handed


async def _said(speech: Speech, text: str, language: str) -> str:
    return base64.b64encode(whole(await speech.say(text, language))).decode()
