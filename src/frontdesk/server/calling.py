"""A call: a browser's microphone comes in over a websocket, what the desk says goes out as sound, and either side may break in.

The first message is `{"type": "start", "key", "token", "conversation"}`, then come samples (16 bits, 16 kHz, one channel) in pieces of any
size, and `{"type": "hang_up"}`. Out come JSON messages, and after each `saying` one WAV. What the customer says over the desk stops it
(`stop`); what was not spoken yet stays unspoken, and is in the conversation to read. Refuses sound faster than it can be spoken.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from frontdesk.desk.phrases import Phrases
from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import AgentReplied, HandedOff, OwnerChanged
from frontdesk.domain.tenancy import Caller
from frontdesk.errors import BadInput, FrontdeskError, ModelUnavailable, NotAllowed, TooLarge
from frontdesk.events.tail import tail
from frontdesk.models.speech import RATE, Speech, seconds_of, wav_of, whole
from frontdesk.server.access import Desk, may_call
from frontdesk.server.listening import Listening, Onset
from frontdesk.server.turns import Spoken, until
from frontdesk.server.voice import CHANNEL, expected, speech_of, understood
from frontdesk.server.wording import customer_message, plain_id

START_SECONDS = 10.0
"""How long the first message may take."""
QUIET_SECONDS = 12.0
"""Silence after which the desk asks whether one is still there; after asking twice, it ends the call."""
ASKED = 2
LONGEST_SECONDS = 3600.0
PIECE_BYTES = 64 * 1024
AHEAD_SECONDS = 20.0
"""How much more sound than time has passed may come: a browser that slept sends what it kept."""
WAITING = 4
"""Utterances that may wait for their turn."""
MISHEARD = 2
"""Times in a row that nothing was made out before other ways are named."""

_MARKUP = re.compile(r"\*\*|^#{1,6}\s+|^\s*[-*•]\s+", re.MULTILINE)
_LINK = re.compile(r"\[([^\]\[\n]+)\]\([^()\s]+\)")

router = APIRouter()
log = structlog.get_logger(__name__)


class HungUp(Exception):
    """The call is over."""


@router.websocket("/api/call")
async def call(socket: WebSocket) -> None:
    """One call, from the first message to hanging up."""
    desk: Desk = socket.app.state.desk
    await socket.accept()
    try:
        caller, started = await _caller(socket, desk)
        speech = await speech_of(desk)
        named = started.get("conversation")
        conversation = ConversationId(plain_id(str(named))) if named else None
        if conversation is not None:
            await desk.office.store.for_tenant(caller.tenant).conversations.load(conversation, key=caller.key, customer=caller.customer)
        slot = desk.streams.take()
    except FrontdeskError as why:
        await _refuse(socket, why)
        return
    except (WebSocketDisconnect, TimeoutError, ValueError, KeyError, RuntimeError):
        with contextlib.suppress(RuntimeError):
            await socket.close(4400)
        return
    try:
        with desk.metrics.streams_open.track_inprogress():
            await Call(socket, desk, caller, speech, conversation).run()
    finally:
        slot.release()


async def _caller(socket: WebSocket, desk: Desk) -> tuple[Caller, Mapping[str, Any]]:
    """Who calls. Browsers cannot send headers with a websocket, so the key comes in the first message, never in the address."""
    started = json.loads(await asyncio.wait_for(socket.receive_text(), START_SECONDS))
    if not isinstance(started, dict) or started.get("type") != "start":
        raise BadInput('Begin with {"type": "start", "key": …}.')
    caller = await desk.authenticator.caller(f"Bearer {started.get('key', '')}", str(started.get("token") or "") or None)
    origin = socket.headers.get("origin")
    if origin and not may_call(desk.office.tenants[caller.tenant], origin, socket.headers.get("host", "")):
        raise NotAllowed("This web page's origin is not listed in the tenant's guardrails.origins.")
    return caller, started


async def _refuse(socket: WebSocket, why: FrontdeskError) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await socket.send_json({"type": "problem", "code": why.code, "message": str(why)})
        await socket.close(4400)


class Call:
    """One call in progress."""

    def __init__(self, socket: WebSocket, desk: Desk, caller: Caller, speech: Speech, conversation: ConversationId | None) -> None:
        self._socket, self._desk, self._caller, self._speech = socket, desk, caller, speech
        self._tenant = desk.office.tenants[caller.tenant]
        self._phrases = Phrases(self._tenant)
        self._conversation = conversation
        self._known = asyncio.Event()
        self._listening = Listening()
        self._utterances: asyncio.Queue[bytes] = asyncio.Queue(WAITING)
        self._sending = asyncio.Lock()
        self._interruptions = 0
        self._until = 0.0
        """When the browser will have played what was sent, on the clock of `_now`."""
        self._active = 0.0
        self._busy = False
        self._people = False
        """Whether a human has the conversation, or is waited for."""

    async def run(self) -> None:
        """Until one side hangs up or the server stops."""
        if self._conversation is not None:
            self._known.set()
        began = self._now()
        self._active = began
        steps = [self._receive(), self._answer(), self._mind_silence(), self._follow_people(), self._stop_with_server(began)]
        tasks = [asyncio.create_task(step) for step in steps]
        try:
            await self._send({"type": "ready", "rate": RATE})
            await self._say(self._phrases.say("greeting"))
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        except (HungUp, WebSocketDisconnect):
            pass
        except FrontdeskError as why:
            await _refuse(self._socket, why)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await self._socket.close(1000)

    # --- in ---

    async def _receive(self) -> None:
        began, samples = self._now(), 0
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise HungUp
            pcm = message.get("bytes")
            if pcm is None:
                if _type_of(message.get("text") or "") == "hang_up":
                    raise HungUp
                continue
            samples += len(pcm) // 2
            if len(pcm) > PIECE_BYTES or samples / RATE > self._now() - began + AHEAD_SECONDS:
                raise TooLarge("That is more sound than anybody speaks: send it as it is spoken, in small pieces.")
            for event in self._listening.take(pcm, over=self._playing):
                self._active = self._now()
                if isinstance(event, Onset):
                    await self._break_in()
                else:
                    await self._keep(event.pcm)

    async def _break_in(self) -> None:
        self._interruptions += 1
        if self._playing:
            self._until = self._now()
            await self._send({"type": "stop"})
        await self._send({"type": "hearing"})

    async def _keep(self, pcm: bytes) -> None:
        try:
            self._utterances.put_nowait(pcm)
        except asyncio.QueueFull:
            await self._send({"type": "problem", "code": "too_busy", "message": "One thing after another, please: that came too fast."})

    # --- out ---

    async def _answer(self) -> None:
        expecting, misheard = await expected(self._desk, self._caller.tenant), 0
        while True:
            pcm = await self._utterances.get()
            self._busy = True
            try:
                await self._send({"type": "thinking"})
                heard = await self._speech.hear(wav_of(pcm), "audio/wav", expecting=expecting)
                if understood(heard):
                    misheard = 0
                    await self._send({"type": "heard", "text": heard})
                    await self._turn(heard)
                else:
                    misheard += 1
                    await self._say(self._phrases.say("not_understood" if misheard < MISHEARD else "not_understood_again"))
            except FrontdeskError as why:
                # One message that fails must not end the call: it is said, and the customer may try again.
                await self._send({"type": "problem", "code": why.code, "message": str(why)})
                with contextlib.suppress(ModelUnavailable):
                    await self._say(self._phrases.say("trouble"))
            finally:
                self._busy = False
                self._active = self._now()

    async def _turn(self, heard: str) -> None:
        self._desk.rates.spend(self._caller.key)
        mine, said = self._interruptions, Spoken()
        slot = self._desk.turns.slot()
        try:
            turn = self._desk.turns.start(
                slot,
                caller=self._caller,
                message=customer_message(heard, self._desk.office.settings.max_message_chars, "what was said"),
                conversation=self._conversation,
                channel=CHANNEL,
                idempotency_key=None,
            )
        finally:
            if not slot.kept:
                slot.release()
        async for recorded in turn:
            if self._conversation is None:
                self._conversation = recorded.conversation
                self._known.set()
                await self._send({"type": "conversation", "conversation_id": recorded.conversation})
            piece = said.add(recorded)
            if piece.strip():
                await self._say(piece, unless_after=mine)

    async def _say(self, text: str, *, unless_after: int | None = None) -> None:
        """Speaks, unless somebody broke in since the given interruption."""
        mine = self._interruptions if unless_after is None else unless_after
        words = _LINK.sub(r"\1", _MARKUP.sub("", text)).strip()
        if not words or mine != self._interruptions:
            return
        sound = whole(await self._speech.say(words, self._tenant.languages[0]))
        if mine != self._interruptions:
            return
        self._until = max(self._now(), self._until) + seconds_of(sound)
        await self._send({"type": "saying", "text": text}, sound)

    async def _mind_silence(self) -> None:
        asked, since = 0, self._active
        while True:
            await asyncio.sleep(0.25)
            if self._active > since:
                asked, since = 0, self._active
            quiet = self._now() - max(self._active, self._until)
            if self._busy or self._people or self._listening.speaking or quiet < QUIET_SECONDS * (1 if asked == 0 else 0.7):
                continue
            try:
                await self._say(self._phrases.say("still_there" if asked < ASKED else "call_ends"))
            except ModelUnavailable:
                asked = ASKED  # nobody can be asked: the call ends without a word
            if asked >= ASKED:
                await self._send({"type": "ended", "reason": "silence"})
                await asyncio.sleep(max(0.0, self._until - self._now()))
                raise HungUp
            asked += 1
            self._until = max(self._until, self._now())

    async def _follow_people(self) -> None:
        """What humans write in this conversation is spoken too."""
        await self._known.wait()
        log_ = tail(self._desk.office.store, tenant=self._caller.tenant, conversation=self._conversation)
        first = True
        async for recorded in until(log_, self._desk.stopping):
            event = recorded.event
            if isinstance(event, HandedOff):
                self._people = True
            elif isinstance(event, OwnerChanged):
                self._people = event.owner in ("queue", "agent")
            elif isinstance(event, AgentReplied) and (time.time() - recorded.at.timestamp() < QUIET_SECONDS or not first):
                first = False
                with contextlib.suppress(ModelUnavailable):
                    await self._say(event.text)
                self._active = self._now()
        raise HungUp

    async def _stop_with_server(self, began: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._desk.stopping.wait(), LONGEST_SECONDS - (self._now() - began))
        await self._send({"type": "ended", "reason": "stopped"})
        raise HungUp

    async def _send(self, message: Mapping[str, Any], sound: bytes = b"") -> None:
        try:
            async with self._sending:
                await self._socket.send_json(message)
                if sound:
                    await self._socket.send_bytes(sound)
        except RuntimeError as gone:  # what Starlette raises once the other side has hung up
            raise HungUp from gone

    @property
    def _playing(self) -> bool:
        return self._until > self._now()

    @staticmethod
    def _now() -> float:
        return time.monotonic()


def _type_of(text: str) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        return ""
    return str(found.get("type", "")) if isinstance(found, dict) else ""
