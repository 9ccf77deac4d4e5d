"""What others program against, seen through a running server: OpenAI's clients, keys, customers, conversations, retries, handoff."""

from __future__ import annotations

import concurrent.futures
import json
import threading
import time
from typing import Any

import httpx
import openai
import pytest
from langchain_openai import ChatOpenAI

from .conftest import Talking
from .server import ACME, GREETING, HUMAN, QUESTION, SECOND, chat, command, sse

pytestmark = pytest.mark.timeout(400)


def client(desk: Talking, key: str | None = None) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{desk.server.url}/v1", api_key=key or desk.key, max_retries=0)


def ask(desk: Talking, body: dict[str, Any], head: dict[str, str] | None = None) -> httpx.Response:
    return desk.http.post("/v1/chat/completions", json=body, headers=head or desk.head())


def place(answer: httpx.Response) -> str:
    return str(answer.json()["frontdesk"]["conversation_id"])


def said(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def opened(desk: Talking, head: dict[str, str] | None = None) -> str:
    return str(desk.http.post("/api/conversations", headers=head or desk.head()).json()["conversation_id"])


def events(desk: Talking, conversation: str, until: str, *, count: int = 1, after: int = 0, seconds: float = 30) -> list[dict[str, Any]]:
    """Events of a conversation until `count` of one kind came."""
    found: list[dict[str, Any]] = []
    path = f"/api/conversations/{conversation}/events?after={after}"
    with desk.http.stream("GET", path, headers=desk.head(), timeout=seconds) as response:
        for event in sse(response):
            found.append(event)
            if sum(e["kind"] == until for e in found) >= count:
                return found
    return found


def understood(log: list[dict[str, Any]]) -> list[list[str]]:
    """What the desk took each answered message for."""
    return [e["parts"] for e in log if e["kind"] == "question_understood"]


def owner(desk: Talking, conversation: str, **body: Any) -> None:
    answer = desk.http.post(f"/api/conversations/{conversation}/owner", json=body, headers=desk.head(desk.operator))
    assert answer.status_code == 200, answer.text


def test_openais_client_gets_an_answer_with_the_extra_object(desk: Talking):
    answer = client(desk).chat.completions.create(model=ACME, messages=[{"role": "user", "content": QUESTION}])
    extra = answer.model_extra["frontdesk"]
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert set(extra) == {"route", "confidence", "citations", "tool_calls", "handoff", "conversation_id"}


def test_openais_client_streams_and_the_last_chunk_carries_the_extra_object(desk: Talking):
    stream = client(desk).chat.completions.create(model=ACME, messages=[{"role": "user", "content": QUESTION}], stream=True)
    chunks = list(stream)
    carrying = [c for c in chunks if "frontdesk" in (c.model_extra or {})]
    assert "".join(c.choices[0].delta.content or "" for c in chunks)
    assert carrying == [c for c in chunks if c.choices[0].finish_reason]
    assert carrying[0].model_extra["frontdesk"]["conversation_id"]


def test_langchain_asks_and_streams(desk: Talking):
    model = ChatOpenAI(base_url=f"{desk.server.url}/v1", api_key=desk.key, model=ACME, max_retries=0)
    assert model.invoke(GREETING).content == "".join(str(piece.content) for piece in model.stream(GREETING)) != ""


def test_the_models_are_the_keys_own_tenant(desk: Talking):
    assert [m.id for m in client(desk).models.list()] == [ACME]


def test_another_tenants_model_is_not_found(desk: Talking):
    with pytest.raises(openai.NotFoundError) as refused:
        client(desk).chat.completions.create(model="other-line", messages=[{"role": "user", "content": "Hi"}])
    assert refused.value.code == "model_not_found"


@pytest.mark.parametrize("key", ["nonsense", "fd_acme_" + "a" * 43, "fd_nobody_" + "b" * 43])
def test_a_key_that_is_none_is_refused(desk: Talking, key: str):
    with pytest.raises(openai.AuthenticationError):
        client(desk, key).models.list()


def test_a_customer_token_signs_in_and_a_bad_one_is_refused(desk: Talking):
    assert ask(desk, chat(QUESTION), desk.head(customer=desk.anna)).status_code == 200
    for bad in ("nonsense", desk.anna[:-4] + "AAAA", desk.foreign_anna):
        assert ask(desk, chat(QUESTION), desk.head(customer=bad)).status_code == 401


def test_a_customer_token_made_by_the_command_is_accepted_and_a_key_too(desk: Talking):
    data = str(desk.server.data)
    key = command("keys", "create", ACME, "--data", data)
    token = command("customer-token", ACME, "carla", "--data", data)
    assert (key.returncode, token.returncode) == (0, 0), key.stderr + token.stderr
    assert key.stdout.startswith("fd_acme_")
    assert key.stdout.count("\n") == 1
    head = desk.head(key.stdout.strip(), customer=token.stdout.strip())
    assert ask(desk, chat(QUESTION), head).status_code == 200


def test_a_resent_history_resumes_its_conversation(desk: Talking):
    first = ask(desk, chat(QUESTION))
    second = ask(desk, chat(SECOND, ("system", "Be nice."), ("user", QUESTION), ("assistant", said(first))))
    third_history = (("user", QUESTION), ("assistant", said(first)), ("user", SECOND), ("assistant", said(second)))
    third = ask(desk, chat("Thanks", *third_history))
    assert place(first) == place(second) == place(third)


def test_a_streamed_answer_resent_resumes_its_conversation(desk: Talking):
    chunks = list(client(desk).chat.completions.create(model=ACME, messages=[{"role": "user", "content": QUESTION}], stream=True))
    text = "".join(c.choices[0].delta.content or "" for c in chunks)
    again = ask(desk, chat(SECOND, ("user", QUESTION), ("assistant", text)))
    assert place(again) == chunks[-1].model_extra["frontdesk"]["conversation_id"]


def test_a_first_message_alone_opens_a_new_conversation(desk: Talking):
    assert place(ask(desk, chat(QUESTION))) != place(ask(desk, chat(QUESTION)))


def test_a_conversation_is_resumed_by_its_name(desk: Talking):
    first = place(ask(desk, chat(QUESTION)))
    assert place(ask(desk, chat(SECOND, metadata={"conversation_id": first}))) == first


def test_nobody_else_resumes_a_conversation_by_history_or_by_name(desk: Talking):
    first = ask(desk, chat(QUESTION), desk.head(customer=desk.anna))
    history = (("user", QUESTION), ("assistant", said(first)))
    others = (desk.head(), desk.head(customer=desk.ben), desk.head(desk.second_key, customer=desk.anna))
    for head in others:
        assert place(ask(desk, chat(SECOND, *history), head)) != place(first)
        assert ask(desk, chat(SECOND, metadata={"conversation_id": place(first)}), head).status_code == 404
    assert place(ask(desk, chat(SECOND, *history), desk.head(customer=desk.anna))) == place(first)


def test_another_tenants_key_finds_nothing(desk: Talking):
    first = place(ask(desk, chat(QUESTION)))
    body = chat(SECOND, tenant="other-line", metadata={"conversation_id": first})
    foreign, unknown = (
        ask(desk, {**body, "metadata": {"conversation_id": id}}, desk.head(desk.foreign)) for id in (first, "cv_" + "x" * 24)
    )
    assert foreign.status_code == 404
    assert foreign.json() == unknown.json()


def test_a_closed_conversation_is_not_resumed(desk: Talking):
    first = ask(desk, chat(QUESTION))
    owner(desk, place(first), owner="closed")
    assert place(ask(desk, chat(SECOND, ("user", QUESTION), ("assistant", said(first))))) != place(first)
    assert ask(desk, chat(SECOND, metadata={"conversation_id": place(first)})).status_code == 409


def test_a_retry_with_the_same_idempotency_key_gets_the_same_reply(desk: Talking):
    head = desk.head(**{"Idempotency-Key": "retry-1"})
    first, second = ask(desk, chat(QUESTION), head), ask(desk, chat(QUESTION), head)
    assert first.json()["id"] == second.json()["id"]
    assert said(first) == said(second)
    assert place(first) == place(second)


def test_two_identical_requests_at_once_are_one_turn(desk: Talking):
    head = desk.head(**{"Idempotency-Key": "at-once-1"})
    with concurrent.futures.ThreadPoolExecutor(6) as many:
        answers = list(many.map(lambda _: ask(desk, chat(QUESTION), head), range(6)))
    assert [a.status_code for a in answers] == [200] * 6, [a.text for a in answers if a.status_code != 200]
    assert len({(a.json()["id"], said(a), place(a)) for a in answers}) == 1
    log = events(desk, place(answers[0]), "reply_sent")
    assert [e["kind"] for e in log].count("message_received") == 1


def test_one_idempotency_key_of_two_customers_is_two_turns(desk: Talking):
    answers = [ask(desk, chat(QUESTION), desk.head(customer=c, **{"Idempotency-Key": "shared"})) for c in (desk.anna, desk.ben)]
    assert place(answers[0]) != place(answers[1])


def test_a_burst_gets_one_reply(desk: Talking):
    conversation = opened(desk)
    for text in ("Hello", "I have a question", QUESTION):
        path = f"/api/conversations/{conversation}/messages"
        assert desk.http.post(path, json={"text": text}, headers=desk.head()).status_code == 202
    log = events(desk, conversation, "reply_sent")
    time.sleep(1)
    log = events(desk, conversation, "reply_sent")
    kinds = [e["kind"] for e in log]
    assert (kinds.count("message_received"), kinds.count("turn_merged"), kinds.count("reply_sent")) == (3, 2, 1)
    assert any(QUESTION in part for part in understood(log)[-1])


def test_events_resume_after_the_last_one_seen(desk: Talking):
    conversation = opened(desk)
    path = f"/api/conversations/{conversation}/messages"
    desk.http.post(path, json={"text": QUESTION}, headers=desk.head())
    whole = events(desk, conversation, "reply_sent")
    head = desk.head(**{"Last-Event-ID": str(whole[-1]["seq"] - 1)})
    with desk.http.stream("GET", f"/api/conversations/{conversation}/events", headers=head) as response:
        assert next(sse(response)) == whole[-1]


def test_a_wish_for_a_human_hands_over_and_the_desk_falls_silent(desk: Talking):
    first = ask(desk, chat(HUMAN))
    assert first.json()["frontdesk"]["handoff"] is True
    assert first.json()["frontdesk"]["route"] == "handoff"
    history = [("user", HUMAN), ("assistant", said(first))]
    second = ask(desk, chat(QUESTION, *history))
    assert (said(second), place(second)) == ("", place(first))
    third = ask(desk, chat(SECOND, *history, ("user", QUESTION)))
    assert (said(third), place(third)) == ("", place(first))


def test_the_button_hands_over_an_agent_answers_and_gives_back(desk: Talking):
    conversation = opened(desk)
    path = f"/api/conversations/{conversation}"
    assert desk.http.post(f"{path}/handoff", headers=desk.head()).json()["owner"] == "queue"
    assert conversation in [h["conversation_id"] for h in desk.http.get("/api/handoffs", headers=desk.head(desk.operator)).json()]
    owner(desk, conversation, owner="agent", agent="Dana", expected="queue")
    heard: list[dict[str, Any]] = []
    listening = threading.Thread(target=lambda: heard.extend(events(desk, conversation, "agent_replied")))
    listening.start()
    desk.http.post(f"{path}/messages", json={"text": QUESTION}, headers=desk.head())
    time.sleep(1)
    words = {"agent": "Dana", "text": "Dana here."}
    assert desk.http.post(f"{path}/agent-messages", json=words, headers=desk.head(desk.operator)).status_code == 201
    listening.join(20)
    assert heard[-1]["text"] == "Dana here."
    assert "reply_sent" not in [e["kind"] for e in heard]
    owner(desk, conversation, owner="desk")
    desk.http.post(f"{path}/messages", json={"text": SECOND}, headers=desk.head())
    log = events(desk, conversation, "reply_sent")
    assert [len(parts) for parts in understood(log)] == [1]  # what Dana dealt with is not asked again


def test_of_two_agents_one_gets_the_conversation(desk: Talking):
    conversation = opened(desk)
    desk.http.post(f"/api/conversations/{conversation}/handoff", headers=desk.head())

    def take(agent: str) -> int:
        body = {"owner": "agent", "agent": agent, "expected": "queue"}
        return desk.http.post(f"/api/conversations/{conversation}/owner", json=body, headers=desk.head(desk.operator)).status_code

    with concurrent.futures.ThreadPoolExecutor(2) as both:
        assert sorted(both.map(take, ("Dana", "Eli"))) == [200, 409]


@pytest.mark.parametrize("text", ["", "   \n\t ", "\x00\x01\x02", "\u200b\u200e"])
def test_a_message_without_a_readable_character_is_refused_in_words(desk: Talking, text: str):
    answer = ask(desk, chat(text))
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "text",
    [
        "🙂🙂",
        "👩‍👩‍👧‍👦",
        "a\x00b\x1b[31mred",
        "كم يومًا لإرجاع المظلة؟",
        "כמה ימים להחזרה?",
        "雨傘は何日以内に返品できますか",
        "우산 반품",
        "पुराना छाता",
        "\u202eesrever",
        "z\u0351\u0352\u0353algo " * 20,
        "???",
        "-" * 3000,
    ],
)
def test_any_script_gets_an_answer(desk: Talking, text: str):
    assert said(ask(desk, chat(text)))


def test_a_lone_surrogate_is_no_fault_of_ours(desk: Talking):
    raw = '{"model": "acme", "messages": [{"role": "user", "content": "hello \\ud800 there"}]}'
    answer = desk.http.post("/v1/chat/completions", content=raw, headers=desk.head(**{"Content-Type": "application/json"}))
    assert answer.status_code in (200, 400)


def test_what_is_too_large_is_refused_in_words(desk: Talking):
    megabyte = ask(desk, chat("x" * 2**20))
    long = ask(desk, chat("x" * 5000))
    many = ask(desk, chat("Hi", *[("user", "Hi"), ("assistant", "Hello")] * 300))
    assert [a.status_code for a in (megabyte, long, many)] == [413, 413, 413]
    assert all(a.json()["error"]["message"] for a in (megabyte, long, many))


@pytest.mark.parametrize("raw", [b"{", b"", b"[]", b"null", b'{"model": "acme"}', b'{"model": "acme", "messages": "hi"}', b"\xff\xfe"])
def test_malformed_json_is_refused_in_words(desk: Talking, raw: bytes):
    answer = desk.http.post("/v1/chat/completions", content=raw, headers=desk.head(**{"Content-Type": "application/json"}))
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_a_widgets_key_may_not_do_what_staff_do(desk: Talking):
    assert desk.http.get("/api/handoffs", headers=desk.head(desk.widget)).status_code == 403


def test_an_unanswered_question_is_kept_as_a_gap(desk: Talking):
    question = "Which moon phase suits waxed zeppelins?"
    ask(desk, chat(question))
    gaps = desk.http.get("/api/gaps", headers=desk.head(desk.operator)).json()
    assert question in [g["question"] for g in gaps]


def test_a_client_that_reads_nothing_costs_nobody_else_an_answer(desk: Talking):
    with desk.http.stream("POST", "/v1/chat/completions", json=chat(QUESTION, stream=True), headers=desk.head()):
        assert said(ask(desk, chat(QUESTION)))


def test_the_first_event_of_a_stream_comes_before_the_answer(desk: Talking):
    with desk.http.stream("POST", "/v1/chat/completions", json=chat(QUESTION, stream=True), headers=desk.head()) as response:
        first = next(sse(response))
    assert first["choices"][0]["delta"]["role"] == "assistant"


def test_readiness_names_every_tenant(desk: Talking):
    state = desk.http.get("/readyz").json()
    assert state["ready"] is True
    assert json.dumps(sorted(state["tenants"])) == '["acme", "other-line"]'
