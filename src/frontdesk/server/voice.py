"""A spoken message in, a spoken reply out: speech to text, a turn, text to speech, at an OpenAI-compatible `/v1/audio` endpoint.

One request is one message. What nobody said or nobody could make out starts no turn: the desk asks to say it again.
Refuses to guess: without FRONTDESK_AUDIO_URL there is no voice.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from frontdesk.desk.phrases import Phrases
from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import HandedOff, ReplySent
from frontdesk.errors import BadInput, ModelUnavailable
from frontdesk.server.access import Chatting, Shared, TurnSlot
from frontdesk.server.turns import ClientGone, RunningTurn, unless_gone
from frontdesk.server.wording import customer_message, plain_id
from frontdesk.settings import Settings

SECONDS = 60.0
"""How long the audio endpoint may take for one step."""
CHANNEL = "voice"
_ENDINGS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/webm": "webm",
    "audio/ogg": "ogg",
    "audio/mp4": "m4a",
    "audio/flac": "flac",
}

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
    settings = desk.office.settings
    if not settings.audio_url:
        raise BadInput("There is no voice here: set FRONTDESK_AUDIO_URL to an OpenAI-compatible /v1 address that serves audio.")
    form = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if form not in _ENDINGS:
        raise BadInput(f"Send audio, with its Content-Type: {', '.join(sorted(_ENDINGS))}.")
    sound = await request.body()
    async with httpx.AsyncClient(timeout=SECONDS, headers=_key(settings)) as audio:
        heard = await _heard(audio, settings, sound, form) if sound else ""
        if not any(c.isalnum() for c in heard):
            said = Phrases(desk.office.tenants[caller.tenant]).say("not_understood")
            return SpokenReply(heard="", reply=said, audio=await _said(audio, settings, said), conversation_id=conversation, handoff=False)
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
        spoken = await _said(audio, settings, text) if text else ""
    return SpokenReply(heard=heard, reply=text, audio=spoken, conversation_id=identity, handoff=handed)


async def _answered(turn: RunningTurn) -> tuple[str, str, bool]:
    """The conversation, the reply ("" when a human owns it) and whether it was handed over."""
    first = await turn.first()
    text, handed = "", False
    async for recorded in turn:
        handed = handed or isinstance(recorded.event, HandedOff)
        if isinstance(recorded.event, ReplySent):
            text = recorded.event.text
    return first.conversation, text, handed


async def _heard(audio: httpx.AsyncClient, settings: Settings, sound: bytes, form: str) -> str:
    files = {"file": (f"message.{_ENDINGS[form]}", sound, form)}
    answer = await _post(audio, f"{settings.audio_url.rstrip('/')}/audio/transcriptions", files=files, data={"model": settings.audio_hears})
    try:
        return str(answer.json()["text"]).strip()
    except (ValueError, KeyError, TypeError) as why:
        raise ModelUnavailable("the audio endpoint answered without a text: check FRONTDESK_AUDIO_URL") from why


async def _said(audio: httpx.AsyncClient, settings: Settings, text: str) -> str:
    wanted = {"model": settings.audio_speaks, "input": text, "voice": settings.audio_voice, "response_format": "wav"}
    answer = await _post(audio, f"{settings.audio_url.rstrip('/')}/audio/speech", json=wanted)
    return base64.b64encode(answer.content).decode()


async def _post(audio: httpx.AsyncClient, url: str, **what: Any) -> httpx.Response:
    try:
        answer = await audio.post(url, **what)
        answer.raise_for_status()
    except httpx.HTTPError as why:
        raise ModelUnavailable("the audio endpoint did not answer: check that FRONTDESK_AUDIO_URL is up and knows the models") from why
    return answer


def _key(settings: Settings) -> dict[str, str]:
    return {"Authorization": f"Bearer {settings.audio_key}"} if settings.audio_key else {}
