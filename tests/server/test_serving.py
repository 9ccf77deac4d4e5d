"""Starting and stopping: an address that is taken, streams that are open when the server stops."""

from __future__ import annotations

import threading
import time

import httpx
import pytest

from frontdesk.errors import PortInUse
from frontdesk.server.serving import bind
from frontdesk.settings import Settings

from .conftest import ACME, REPLY, Served, eventually


def test_an_address_that_is_taken_is_said_in_one_sentence():
    with bind("127.0.0.1", 0) as taken, pytest.raises(PortInUse, match="--port"):
        bind("127.0.0.1", taken.getsockname()[1])


def test_a_host_that_is_not_ours_is_said_in_one_sentence():
    with pytest.raises(PortInUse, match=r"203\.0\.113\.9"):
        bind("203.0.113.9", 8000)


def test_a_stop_ends_event_streams_and_lets_a_turn_finish(settings: Settings):
    said: list[str] = []
    with Served(settings) as served:
        served.office.front_office.script = lambda _m: [0.5, REPLY]
        head = {"Authorization": f"Bearer {served.key()}"}
        conversation = served.http.post("/api/conversations", headers=head).json()["conversation_id"]
        listening = threading.Thread(target=lambda: served.http.get(f"/api/conversations/{conversation}/events", headers=head))
        body = {"model": ACME, "messages": [{"role": "user", "content": "Hi"}]}
        asking = threading.Thread(
            target=lambda: said.append(
                httpx.post(f"{served.url}/v1/chat/completions", json=body, headers=head).json()["choices"][0]["message"]["content"]
            )
        )
        listening.start()
        asking.start()
        assert eventually(lambda: served.office.front_office.calls and served.app.state.desk.streams.taken)
        stopped = time.monotonic()
    listening.join(30)
    asking.join(30)
    assert not listening.is_alive()
    assert said == [REPLY.text]
    assert time.monotonic() - stopped < 5
