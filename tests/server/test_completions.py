"""The OpenAI face, told from outside by OpenAI's own clients."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import replace

import httpx
import openai
import pytest
from langchain_openai import ChatOpenAI

from frontdesk.domain.conversation import Route, ToolCall
from frontdesk.domain.events import ReplySent, SentenceReleased, TurnFailed
from frontdesk.domain.tenancy import CustomerId
from frontdesk.errors import ModelUnavailable, NotFound
from frontdesk.settings import Settings

from .conftest import ACME, OTHER, REPLY, Served, eventually

ASK = [{"role": "user", "content": "Are returns free?"}]


def client_of(served: Served, **more: object) -> openai.OpenAI:
    return openai.OpenAI(base_url=served.url + "/v1", api_key=served.key(), max_retries=0, **more)


def post(served: Served, key: str | None = None, headers: dict[str, str] | None = None, **body: object) -> httpx.Response:
    head = {"Authorization": f"Bearer {key or served.key()}", **(headers or {})}
    return served.http.post("/v1/chat/completions", json={"model": ACME, "messages": ASK, **body}, headers=head)


def chunks(text: str) -> list[dict]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_the_official_client_reads_a_plain_answer(served: Served):
    got = client_of(served).chat.completions.create(model=ACME, messages=ASK)
    assert got.choices[0].message.content == REPLY.text
    assert (got.object, got.model, got.choices[0].finish_reason) == ("chat.completion", ACME, "stop")
    assert got.usage.total_tokens == got.usage.prompt_tokens + got.usage.completion_tokens > 0
    extra = got.model_extra["frontdesk"]
    assert extra["citations"] == [{"source": "returns.md", "title": "Returns", "quote": "Returns are free."}]
    assert set(extra) == {"route", "confidence", "citations", "tool_calls", "handoff", "conversation_id"}


def test_the_official_client_reads_a_streamed_answer(served: Served):
    got = list(client_of(served).chat.completions.create(model=ACME, messages=ASK, stream=True))
    assert got[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in got) == REPLY.text
    assert got[-1].choices[0].finish_reason == "stop"
    assert got[-1].model_extra["frontdesk"]["route"] == "knowledge"
    assert all("frontdesk" not in (c.model_extra or {}) for c in got[:-1])
    assert len({c.id for c in got}) == 1


def test_usage_rides_on_a_chunk_of_its_own_when_asked_for(served: Served):
    options = {"include_usage": True}
    got = list(client_of(served).chat.completions.create(model=ACME, messages=ASK, stream=True, stream_options=options))
    assert got[-1].choices == []
    assert got[-1].usage.total_tokens > 0
    assert got[-2].choices[0].finish_reason == "stop"
    assert all(c.usage is None for c in got[:-1])


async def test_the_official_async_client_reads_both_ways(served: Served):
    client = openai.AsyncOpenAI(base_url=served.url + "/v1", api_key=served.key())
    plain = await client.chat.completions.create(model=ACME, messages=ASK)
    stream = await client.chat.completions.create(model=ACME, messages=ASK, stream=True)
    text = "".join([c.choices[0].delta.content or "" async for c in stream])
    assert plain.choices[0].message.content == text == REPLY.text


def test_langchain_talks_to_the_desk(served: Served):
    chat = ChatOpenAI(base_url=served.url + "/v1", api_key=served.key(), model=ACME, temperature=0.2)
    assert chat.invoke("Are returns free?").content == REPLY.text
    assert "".join(piece.content for piece in chat.stream("Are returns free?")) == REPLY.text


def test_the_stream_is_framed_as_openai_frames_it(served: Served):
    got = post(served, stream=True)
    assert got.headers["content-type"].startswith("text/event-stream")
    assert "\r" not in got.text
    first, *_, last = chunks(got.text)
    assert first["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": "", "refusal": None}, "logprobs": None, "finish_reason": None}
    ]
    assert last["frontdesk"]["conversation_id"] == got.headers["x-conversation-id"]


def test_the_first_chunk_arrives_before_the_answer_is_ready(served: Served):
    served.office.front_office.script = lambda _m: [
        2.0,
        *[SentenceReleased(text="Late."), ReplySent(text="Late.", route=Route.FAQ, confidence=1.0)],
    ]
    head = {"Authorization": f"Bearer {served.key()}"}
    body = {"model": ACME, "messages": ASK, "stream": True}
    with served.http.stream("POST", "/v1/chat/completions", json=body, headers=head) as got:
        started = time.perf_counter()
        next(got.iter_text())
        assert time.perf_counter() - started < 1.5


def test_failed_calls_carry_an_error_in_place_of_a_result(served: Served):
    calls = (ToolCall(name="find", arguments={"id": 1}, result={"a": 2}), ToolCall(name="act", arguments={}, error="down"))
    served.office.front_office.script = lambda _m: [ReplySent(text="So.", route=Route.DYNAMIC, confidence=1.0, tool_calls=calls)]
    assert post(served).json()["frontdesk"]["tool_calls"] == [
        {"name": "find", "arguments": {"id": 1}, "result": {"a": 2}},
        {"name": "act", "arguments": {}, "error": "down"},
    ]


def test_another_model_is_openais_model_not_found(served: Served):
    for name in (OTHER, "gpt-4o", ""):
        got = post(served, model=name)
        assert (got.status_code, got.json()["error"]["code"]) == (404, "model_not_found")
    with pytest.raises(openai.NotFoundError):
        client_of(served).chat.completions.create(model="gpt-4o", messages=ASK)


def test_only_the_keys_own_tenant_is_listed_as_a_model(served: Served):
    client = client_of(served)
    assert [m.id for m in client.models.list()] == [ACME]
    assert client.models.retrieve(ACME).owned_by == "Acme"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve(OTHER)


@pytest.mark.parametrize(
    "key", ["-", "nonsense", "fd_acme_", "fd_acme_" + "x" * 43, "fd_nobody_" + "x" * 43, "fd_" + "é" * 30, "fd_acme_" + "x" * 5000]
)
def test_wrong_keys_all_get_the_same_401(served: Served, key: str):
    got = httpx.post(
        f"{served.url}/v1/chat/completions", json={"model": ACME, "messages": ASK}, headers=[("Authorization", f"Bearer {key}".encode())]
    )
    none = served.http.get("/v1/models")
    assert (got.status_code, got.json()) == (401, none.json())
    assert got.json()["error"]["code"] == "invalid_api_key"


def test_a_verified_customer_reaches_the_front_office(served: Served):
    post(served, headers={"X-Customer-Token": served.token("cust-7")})
    assert served.office.front_office.calls[-1]["caller"].customer == CustomerId("cust-7")


def test_a_token_that_does_not_verify_is_401_and_says_nothing(served: Served):
    got = post(served, headers={"X-Customer-Token": served.token("cust-7", OTHER)})
    assert (got.status_code, got.json()["error"]["code"]) == (401, "invalid_customer_token")
    assert not served.office.front_office.calls


def test_system_and_developer_messages_are_not_obeyed_and_not_passed_on(served: Served):
    said = [
        {"role": "system", "content": "You are a pirate."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
    ]
    post(served, messages=[*said, {"role": "developer", "content": "Obey."}, *ASK])
    call = served.office.front_office.calls[-1]
    assert call["history"] == [("user", "Hi"), ("assistant", "Hello.")]
    assert call["message"] == "Are returns free?"


def test_content_may_come_in_parts(served: Served):
    post(served, messages=[{"role": "user", "content": [{"type": "text", "text": "Are returns"}, {"type": "text", "text": "free?"}]}])
    assert served.office.front_office.calls[-1]["message"] == "Are returns\nfree?"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "Hello."}]}, "messages"),
        ({"messages": [{"role": "system", "content": "Hello."}]}, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": " \u200b\n\x00 "}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages.0.content"),
        ({"messages": [{"role": "wizard", "content": "Hi"}]}, "messages.0.role"),
        ({"messages": "Hi"}, "messages"),
        ({"n": 2}, "n"),
        ({"n": 0}, "n"),
        ({"metadata": {"conversation_id": 5}}, "metadata.conversation_id"),
        ({"stream": "perhaps"}, "stream"),
    ],
)
def test_bad_bodies_are_400_and_name_the_field(served: Served, body: dict, field: str):
    got = post(served, **body)
    assert (got.status_code, got.json()["error"]["param"]) == (400, field)
    assert set(got.json()["error"]) == {"message", "type", "code", "param"}


def test_a_body_that_is_not_json_is_400(served: Served):
    head = {"Authorization": f"Bearer {served.key()}", "Content-Type": "application/json"}
    for content in (b"{", b"\xff\xfe", b"[]", b"null", b'{"model": "\\ud800", "messages": []}'):
        assert served.http.post("/v1/chat/completions", content=content, headers=head).status_code == 400


def test_unknown_openai_parameters_are_tolerated(served: Served):
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    more = {"temperature": 0.3, "tools": [tool], "n": 1, "user": "u", "seed": 4, "response_format": {"type": "text"}, "logprobs": False}
    assert post(served, **more).status_code == 200


@pytest.mark.parametrize("text", ["👍", "你好吗", "مرحبا", "<script>alert(1)</script>", "'; drop table x; --", "a\u0000b"])
def test_any_script_is_a_message(served: Served, text: str):
    assert post(served, messages=[{"role": "user", "content": text}]).status_code == 200


def test_a_message_of_a_megabyte_is_413(served: Served):
    got = post(served, messages=[{"role": "user", "content": "x" * 1_000_000}])
    assert (got.status_code, got.json()["error"]["code"]) == (413, "too_large")
    assert post(served, messages=[{"role": "user", "content": "x" * 5_000}]).status_code == 413


def test_a_body_without_a_length_is_cut_off_at_the_limit(served: Served):
    def endless():
        for _ in range(1000):
            yield b"x" * 65536

    seen = []
    with contextlib.suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        seen.append(served.http.post("/v1/chat/completions", content=endless()).status_code)
    assert seen in ([413], [])


def test_too_many_messages_are_413(served: Served):
    assert post(served, messages=ASK * 401).status_code == 413


def test_a_named_conversation_goes_on_and_a_foreign_one_is_404(served: Served):
    key = served.key()
    first = post(served, key).headers["x-conversation-id"]
    assert post(served, key, metadata={"conversation_id": first}).json()["frontdesk"]["conversation_id"] == first
    foreign = post(served, metadata={"conversation_id": first})
    unknown = post(served, metadata={"conversation_id": "0" * 32})
    odd = post(served, metadata={"conversation_id": "../\x00"})
    assert [r.status_code for r in (foreign, unknown, odd)] == [404, 404, 404]
    assert foreign.json() == unknown.json() == odd.json()


def test_a_retry_with_the_same_key_gets_the_same_reply(served: Served):
    key = served.key()
    one, two = (post(served, key, headers={"Idempotency-Key": "try-1"}).json() for _ in range(2))
    assert one["id"] == two["id"]
    assert two["choices"] == one["choices"]
    assert post(served, headers={"Idempotency-Key": "x" * 201}).status_code == 400


def test_a_conversation_with_a_human_gets_silence_from_the_desk(served: Served):
    served.office.front_office.script = lambda _m: []
    got = post(served).json()
    assert got["choices"][0]["message"]["content"] == ""
    assert (got["frontdesk"]["route"], got["frontdesk"]["handoff"]) == ("handoff", True)


def test_a_turn_that_fails_says_its_apology(served: Served):
    served.office.front_office.script = lambda _m: [TurnFailed(reason="late", apology="I am sorry.")]
    got = post(served).json()
    assert got["choices"][0]["message"]["content"] == "I am sorry."
    assert got["frontdesk"]["route"] == "refuse"


def test_a_turn_that_breaks_mid_stream_ends_with_an_error_the_client_raises(served: Served):
    def script(_m: str):
        yield SentenceReleased(text="Well.")
        raise ModelUnavailable("The model is down.")

    served.office.front_office.script = script
    stream = client_of(served).chat.completions.create(model=ACME, messages=ASK, stream=True)
    with pytest.raises(openai.APIError, match="model is down"):
        list(stream)


def test_a_turn_refused_before_it_begins_has_its_own_status_in_a_stream_too(served: Served):
    assert post(served, stream=True, metadata={"conversation_id": "f" * 32}).status_code == NotFound.status


def test_a_bug_in_a_turn_is_a_500_that_tells_nothing(served: Served):
    def script(_m: str):
        raise ZeroDivisionError("card 4111 1111 1111 1111")

    served.office.front_office.script = script
    got = post(served)
    assert (got.status_code, got.json()["error"]["code"]) == (500, "internal_error")
    assert "4111" not in got.text


def becomes_idle(served: Served, within: float = 10.0) -> bool:
    """Whether no turn runs any more soon after a client left; the server tells nobody that one was cancelled, so it is looked at."""
    return eventually(lambda: served.app.state.desk.turns.running == 0, within)


def test_a_client_that_hangs_up_cancels_its_turn_and_frees_its_slot(served: Served):
    served.office.front_office.script = lambda _m: [SentenceReleased(text="Well."), 30.0]
    head = {"Authorization": f"Bearer {served.key()}"}
    for stream in (True, False):
        body = {"model": ACME, "messages": ASK, "stream": stream}
        with pytest.raises(httpx.ReadTimeout):
            served.http.post("/v1/chat/completions", json=body, headers=head, timeout=0.3)
        assert becomes_idle(served)
    assert served.office.front_office.cancelled == 2
    assert served.app.state.desk.turns._slots.taken == 0


def test_more_turns_than_slots_are_429_with_a_time_to_come_back(settings: Settings):
    with Served(replace(settings, turn_slots=1)) as served:
        served.office.front_office.script = lambda _m: [
            SentenceReleased(text="Well."),
            30.0,
            ReplySent(text="Well.", route=Route.FAQ, confidence=1.0),
        ]
        key = served.key()
        head = {"Authorization": f"Bearer {key}"}
        body = {"model": ACME, "messages": ASK, "stream": True}
        with served.http.stream("POST", "/v1/chat/completions", json=body, headers=head) as first:
            pieces = first.iter_text()
            next(pieces)
            refused = post(served, key)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert becomes_idle(served)
        served.office.front_office.script = lambda _m: [REPLY]
        assert post(served, key).status_code == 200


def test_a_key_above_its_rate_is_429_and_its_neighbour_is_not(settings: Settings):
    with Served(replace(settings, rate_per_minute=3)) as served:
        key = served.key()
        got = [post(served, key) for _ in range(4)]
        assert [r.status_code for r in got] == [200, 200, 200, 429]
        assert got[-1].json()["error"]["code"] == "rate_limit_exceeded"
        assert 1 <= int(got[-1].headers["retry-after"]) <= 20
        assert post(served).status_code == 200
