"""A call over a websocket: what is heard starts turns, what the desk says comes as sound, and either side may break in."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from frontdesk.domain.tenancy import Role
from frontdesk.errors import ModelUnavailable
from frontdesk.models.speech import RATE, samples_of, wav_of
from frontdesk.server import calling

from .conftest import REPLY, Served

LOUD, HUSHED = 6000.0, 4.0


def noise(seconds: float, level: float) -> bytes:
    """Sound of that loudness."""
    made = np.random.default_rng(3).normal(0, level, int(seconds * RATE))
    return made.clip(-32768, 32767).astype("<i2").tobytes()


@dataclass
class Ears:
    """Hears what it is told to hear, one after another, and says everything as half a second of sound."""

    hears: list[str]
    asked: list[bytes] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    seconds: float = 0.5
    broken: bool = False

    async def hear(self, sound: bytes, form: str, *, expecting: Any = ()) -> str:
        if self.broken:
            raise ModelUnavailable("the ears are away")
        self.asked.append(sound)
        return self.hears.pop(0) if self.hears else ""

    async def say(self, text: str, language: str) -> bytes:
        self.said.append(text)
        return wav_of(b"\0\0" * int(self.seconds * RATE))


class Phone:
    """The customer's side."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.told: list[dict[str, Any]] = []
        self.sounds: list[bytes] = []

    async def speak(self, seconds: float = 0.6, *, after: float = 1.2) -> None:
        await self.send(noise(0.3, HUSHED) + noise(seconds, LOUD) + noise(after, HUSHED))

    async def send(self, pcm: bytes) -> None:
        for at in range(0, len(pcm), 3200):
            await self.socket.send(pcm[at : at + 3200])

    async def until(self, kind: str, *, seconds: float = 20.0, where: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """The next message of that kind."""
        async with asyncio.timeout(seconds):
            while True:
                got = await self.socket.recv()
                if isinstance(got, bytes):
                    self.sounds.append(got)
                    continue
                self.told.append(json.loads(got))
                if self.told[-1]["type"] == kind and where(self.told[-1]):
                    return self.told[-1]

    async def end(self) -> int:
        """The code with which the call was closed."""
        async with asyncio.timeout(20):
            try:
                while True:
                    got = await self.socket.recv()
                    self.told += [json.loads(got)] if isinstance(got, str) else []
            except websockets.ConnectionClosed:
                return self.socket.close_code or 0


@pytest.fixture
def ears(served: Served, monkeypatch: pytest.MonkeyPatch) -> Ears:
    made = Ears(hears=[])

    async def of(_settings: Any) -> Ears:
        return made

    monkeypatch.setattr(served.app.state.desk.voice, "of", of)
    monkeypatch.setattr(served.office, "settings", replace(served.office.settings, audio_url="offline:"))
    return made


@asynccontextmanager
async def ringing(served: Served, *, key: str | None = None, **start: Any) -> AsyncIterator[Phone]:
    """A call that has begun."""
    url = served.url.replace("http", "ws") + "/api/call"
    async with websockets.connect(url, proxy=None, **{k: start.pop(k) for k in ("origin",) if k in start}) as socket:
        await socket.send(json.dumps({"type": "start", "key": served.key(role=Role.WIDGET) if key is None else key, **start}))
        yield Phone(socket)


async def test_what_is_said_starts_a_turn_and_the_reply_is_spoken(served: Served, ears: Ears):
    ears.hears = ["Can I return it?"]
    async with ringing(served) as phone:
        await phone.until("ready")
        await phone.until("saying")
        await phone.speak()
        await phone.until("heard", where=lambda m: m["text"] == "Can I return it?")
        conversation = (await phone.until("conversation"))["conversation_id"]
        first, rest = await phone.until("saying"), await phone.until("saying")
        assert f"{first['text']}{rest['text']}" == REPLY.text, "sentence by sentence, as they are said"
        await phone.socket.send(json.dumps({"type": "hang_up"}))
        assert await phone.end() == 1000
    assert conversation
    assert served.office.front_office.calls[-1]["channel"] == "voice"
    heard = samples_of(ears.asked[0])
    assert 0.6 <= len(heard) / RATE <= 2.2


async def test_the_call_begins_with_a_greeting_as_sound(served: Served, ears: Ears):
    async with ringing(served) as phone:
        await phone.until("saying")
        await phone.socket.send(json.dumps({"type": "hang_up"}))
        await phone.end()
    assert "assistant" in ears.said[0]


async def test_the_next_thing_said_goes_on_in_the_same_conversation(served: Served, ears: Ears):
    ears.hears = ["One?", "Two?"]
    async with ringing(served) as phone:
        for _ in range(2):
            await phone.speak()
            await phone.until("saying", where=lambda m: m["text"].strip() in REPLY.text)
            await phone.until("saying")
    first, second = served.office.front_office.calls[-2:]
    assert second["conversation"] is not None
    assert second["conversation"] != first["conversation"]


async def test_speaking_over_the_desk_stops_it(served: Served, ears: Ears):
    ears.seconds = 30.0
    async with ringing(served) as phone:
        await phone.until("saying")
        await phone.send(noise(0.3, HUSHED) + noise(0.5, LOUD))
        await phone.until("stop")
        await phone.until("hearing")


async def test_a_click_over_the_desk_does_not(served: Served, ears: Ears):
    ears.seconds = 30.0
    async with ringing(served) as phone:
        await phone.until("saying")
        await phone.send(noise(0.3, HUSHED) + noise(0.08, LOUD) + noise(0.5, HUSHED))
        with pytest.raises(TimeoutError):
            await phone.until("stop", seconds=1.0)


async def test_what_nobody_can_make_out_starts_no_turn_and_other_ways_are_named_the_second_time(served: Served, ears: Ears):
    ears.hears = ["", "..."]
    before = len(served.office.front_office.calls)
    async with ringing(served) as phone:
        await phone.speak()
        await phone.until("saying", where=lambda m: "did not get that" in m["text"])
        await phone.speak()
        await phone.until("saying", where=lambda m: "ask for a person" in m["text"])
    assert len(served.office.front_office.calls) == before


async def test_silence_is_asked_about_and_then_ends_the_call(served: Served, ears: Ears, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calling, "QUIET_SECONDS", 0.6)
    ears.seconds = 0.1
    async with ringing(served) as phone:
        for _ in range(calling.ASKED):
            await phone.until("saying", where=lambda m: "still there" in m["text"])
        await phone.until("saying", where=lambda m: "end this call" in m["text"])
        assert (await phone.until("ended"))["reason"] == "silence"
        assert await phone.end() == 1000


async def test_ears_that_fail_are_told_and_the_call_goes_on(served: Served, ears: Ears):
    ears.broken = True
    async with ringing(served) as phone:
        await phone.speak()
        await phone.until("problem", where=lambda m: m["code"] == "model_unavailable")
        ears.broken, ears.hears = False, ["And now?"]
        await phone.speak()
        await phone.until("heard")


@pytest.mark.parametrize(
    "start", [{"key": "fd_no_key"}, {"token": "x.y.z"}, {"conversation": "cv_none"}, {"origin": "https://elsewhere.example"}]
)
async def test_who_may_not_call_is_refused(served: Served, ears: Ears, start: dict[str, Any]):
    async with ringing(served, **start) as phone:
        assert (await phone.until("problem"))["message"]
        assert await phone.end() == 4400


@pytest.mark.parametrize("first", ["{}", "no JSON", "[]", '{"type": "hang_up"}'])
async def test_what_is_no_beginning_of_a_call_closes_it(served: Served, ears: Ears, first: str):
    async with websockets.connect(served.url.replace("http", "ws") + "/api/call", proxy=None) as socket:
        await socket.send(first)
        assert await Phone(socket).end() == 4400


async def test_sound_that_comes_faster_than_anybody_speaks_ends_the_call(served: Served, ears: Ears):
    async with ringing(served) as phone:
        await phone.until("ready")
        for _ in range(60):
            await phone.socket.send(noise(1.0, HUSHED))
        assert await phone.end() == 4400
    assert any(m.get("code") == "too_large" for m in phone.told)


async def test_without_voice_the_call_says_what_to_set(served: Served):
    async with ringing(served) as phone:
        assert "FRONTDESK_AUDIO_URL" in (await phone.until("problem"))["message"]


async def test_a_call_that_is_cut_off_gives_its_place_back(served: Served, ears: Ears):
    streams = served.app.state.desk.streams
    before = streams.taken
    async with ringing(served) as phone:
        await phone.until("ready")
        assert streams.taken == before + 1
        phone.socket.transport.abort()
    deadline = time.monotonic() + 10
    while streams.taken > before and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    assert streams.taken == before
