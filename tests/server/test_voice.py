"""A spoken message in, a spoken reply out, at a stand-in for an OpenAI-compatible audio endpoint."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from frontdesk.domain.tenancy import Role

from .conftest import REPLY, Served
from .test_native import Caller


class Audio(BaseHTTPRequestHandler):
    """Hears what the sound spells out, says what it is given."""

    broken = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.broken or self.headers.get("Authorization") != "Bearer k":
            self.send_error(500)
        elif self.path == "/v1/audio/transcriptions":
            sound = body.split(b"audio/wav\r\n\r\n")[1].split(b"\r\n--")[0]
            self._answer(json.dumps({"text": sound.decode()}).encode())
        else:
            self._answer(b"RIFF" + json.loads(body)["input"].encode())

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def talking(served: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Audio) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        voiced = replace(served.office.settings, audio_url=f"http://127.0.0.1:{server.server_port}/v1", audio_key="k")
        monkeypatch.setattr(served.office, "settings", voiced)
        yield Caller(served, Role.WIDGET)
        server.shutdown()


def say(caller: Caller, sound: bytes, form: str = "audio/wav", **params: str) -> Any:
    return caller.http.post("/api/voice", content=sound, headers={"Content-Type": form}, params=params)


def test_a_spoken_message_gets_a_spoken_reply_in_the_same_conversation(talking: Caller):
    got = say(talking, b"Can I return it?").json()
    assert (got["heard"], got["reply"], got["handoff"]) == ("Can I return it?", REPLY.text, False)
    assert base64.b64decode(got["audio"]) == b"RIFF" + REPLY.text.encode()
    again = say(talking, b"And then?", conversation=got["conversation_id"]).json()
    assert again["conversation_id"] == got["conversation_id"]


@pytest.mark.parametrize("sound", [b"", b" ", b"...", b"--"])
def test_silence_and_what_nobody_can_make_out_start_no_turn(talking: Caller, served: Served, sound: bytes):
    before = len(served.office.front_office.calls)
    got = say(talking, sound).json()
    assert (got["heard"], got["conversation_id"]) == ("", None)
    assert "did not get that" in got["reply"]
    assert base64.b64decode(got["audio"]).startswith(b"RIFF")
    assert len(served.office.front_office.calls) == before


def test_what_is_no_audio_is_refused_with_a_remedy(talking: Caller):
    got = say(talking, b"Hi", "text/plain")
    assert got.status_code == 400
    assert "audio/wav" in got.json()["error"]["message"]


def test_an_audio_endpoint_that_is_down_is_said(talking: Caller, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Audio, "broken", True)
    got = say(talking, b"Hi")
    assert got.status_code == 503
    assert "FRONTDESK_AUDIO_URL" in got.json()["error"]["message"]
