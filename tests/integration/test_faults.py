"""What happens when things break in the middle of a turn: clients that leave, processes that are killed, replicas beside each other."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from bench.crash import Verdict, crash, judge, victims

from frontdesk.domain.tenancy import Role
from frontdesk.models.scripted import HashEmbedder

from .embeddings import SLOW_SECONDS, Embeddings
from .server import ACME, QUESTION, Server, chat, copied, keys, left_behind, sse

pytestmark = pytest.mark.timeout(600)
ROUNDS = 6


@pytest.fixture(scope="module")
def embeddings() -> Iterator[Embeddings]:
    running = Embeddings()
    yield running
    running.close()


@pytest.fixture(scope="module")
def slow(folder: Path, tenants: Path, trained: Path, embeddings: Embeddings) -> Iterator[Server]:
    """A desk that takes its time over messages with the word "slowly"."""
    settings = {"embeddings_url": embeddings.url, "embeddings_model": HashEmbedder().name, "turn_slots": "4"}
    server = Server(copied(trained, folder / "slow"), tenants, settings).start()
    yield server
    server.end()


@pytest.fixture(scope="module")
def second(slow: Server, tenants: Path) -> Iterator[Server]:
    """Another replica on the same database."""
    server = Server(slow.data, tenants, slow.extra).start()
    yield server
    server.end()


@pytest.fixture(scope="module")
def head(slow: Server) -> dict[str, str]:
    return slow.headers()


def opened(server: Server, head: dict[str, str]) -> str:
    return str(server.http.post("/api/conversations", headers=head).json()["conversation_id"])


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Waits for a state of the other side; the assertion after it says what is missing when it never comes."""
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)


def log(server: Server, head: dict[str, str], conversation: str, until: str, seconds: float = 60) -> list[dict[str, Any]]:
    """Events of a conversation until one of this kind came."""
    found: list[dict[str, Any]] = []
    with server.http.stream("GET", f"/api/conversations/{conversation}/events", headers=head, timeout=seconds) as response:
        for event in sse(response):
            found.append(event)
            if event["kind"] == until:
                break
    return found


def test_a_client_that_leaves_ends_its_turn_and_the_models_work(slow: Server, head: dict[str, str], embeddings: Embeddings):
    slow.http.post("/v1/chat/completions", json=chat("Hello"), headers=head)  # the first turn of a process loads what all turns need
    text = f"answer slowly {random.random()}"
    with slow.http.stream("POST", "/v1/chat/completions", json=chat(text, stream=True), headers=head) as response:
        conversation = response.headers["x-conversation-id"]
        heard = sse(response)  # named: a generator that nobody holds is closed at once, and the connection with it
        next(heard)
        until(lambda: text in embeddings.begun)
    left = time.monotonic()
    events = log(slow, head, conversation, "turn_failed")
    assert events[-1]["kind"] == "turn_failed"
    until(lambda: text in dict(embeddings.hung_up))
    assert dict(embeddings.hung_up)[text] - left < SLOW_SECONDS


def test_clients_that_leave_free_their_places(slow: Server, head: dict[str, str]):
    for n in range(10):  # the desk has four places
        with slow.http.stream("POST", "/v1/chat/completions", json=chat(f"slowly {n}", stream=True), headers=head) as response:
            assert response.status_code == 200, response.read()
            next(sse(response))
    deadline = time.monotonic() + 20
    while (answer := slow.http.post("/v1/chat/completions", json=chat(QUESTION), headers=head)).status_code == 429:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert answer.status_code == 200


def test_a_retry_after_leaving_gets_an_answer(slow: Server, head: dict[str, str]):
    retry = {**head, "Idempotency-Key": f"left-{random.random()}"}
    body = chat(f"{QUESTION} slowly")
    with slow.http.stream("POST", "/v1/chat/completions", json={**body, "stream": True}, headers=retry) as response:
        conversation = response.headers["x-conversation-id"]
        next(sse(response))
    log(slow, head, conversation, "turn_failed")
    answer = slow.http.post("/v1/chat/completions", json=body, headers=retry).json()
    assert answer["frontdesk"]["conversation_id"] == conversation
    kinds = [e["kind"] for e in log(slow, head, conversation, "reply_sent")]
    assert (kinds.count("message_received"), kinds.count("reply_sent")) == (1, 1)


def test_turns_of_one_conversation_never_overlap_across_replicas(
    slow: Server, second: Server, head: dict[str, str], embeddings: Embeddings
):
    conversation = opened(slow, head)
    mark = f"slowly{random.randrange(10**9)}"

    def ask(n: int) -> httpx.Response:
        body = chat(f"{mark} slowly {n}", metadata={"conversation_id": conversation})
        return (slow, second)[n % 2].http.post("/v1/chat/completions", json=body, headers=head, timeout=60)

    with concurrent.futures.ThreadPoolExecutor(4) as many:
        assert [a.status_code for a in many.map(ask, range(4))] == [200] * 4
    spans: dict[str, tuple[float, float]] = {}
    for text, began, ended in embeddings.busy:
        if mark in text:
            spans[text] = (min(began, spans.get(text, (began, ended))[0]), max(ended, spans.get(text, (began, ended))[1]))
    ordered = sorted(spans.values())
    assert len(ordered) == 4
    assert all(before[1] <= after[0] + 0.01 for before, after in itertools.pairwise(ordered))


def test_events_arrive_from_the_other_replica(slow: Server, second: Server, head: dict[str, str]):
    conversation = opened(slow, head)
    heard: list[dict[str, Any]] = []
    listening = threading.Thread(target=lambda: heard.extend(log(second, head, conversation, "reply_sent")))
    listening.start()
    time.sleep(0.5)
    slow.http.post(f"/api/conversations/{conversation}/messages", json={"text": QUESTION}, headers=head)
    listening.join(60)
    assert heard[-1]["text"]


def test_a_burst_over_two_replicas_gets_one_reply(slow: Server, second: Server, head: dict[str, str]):
    conversation = opened(slow, head)
    for n, text in enumerate(("Hello", "One thing", QUESTION)):
        (slow, second)[n % 2].http.post(f"/api/conversations/{conversation}/messages", json={"text": text}, headers=head)
    log(slow, head, conversation, "reply_sent")
    time.sleep(1.5)
    kinds = [e["kind"] for e in log(second, head, conversation, "reply_sent")]
    assert (kinds.count("message_received"), kinds.count("turn_merged"), kinds.count("reply_sent")) == (3, 2, 1)


def test_identical_requests_to_two_replicas_are_one_turn(slow: Server, second: Server, head: dict[str, str]):
    retry = {**head, "Idempotency-Key": f"both-{random.random()}"}
    with concurrent.futures.ThreadPoolExecutor(2) as both:
        answers = list(both.map(lambda s: s.http.post("/v1/chat/completions", json=chat(QUESTION), headers=retry).json(), (slow, second)))
    assert answers[0]["id"] == answers[1]["id"]
    assert answers[0]["choices"] == answers[1]["choices"]


def test_a_key_revoked_on_one_replica_stops_on_the_other(slow: Server, second: Server):
    operator, doomed = keys(slow.data, (ACME, Role.OPERATOR), (ACME, Role.SERVER))
    staff, customer = ({"Authorization": f"Bearer {k}"} for k in (operator, doomed))
    assert second.http.get("/v1/models", headers=customer).status_code == 200
    newest = sorted(slow.http.get("/api/keys", headers=staff).json(), key=lambda k: k["created_at"])[-1]
    assert slow.http.delete(f"/api/keys/{newest['id']}", headers=staff).status_code == 204
    assert slow.http.get("/v1/models", headers=customer).status_code == 401
    deadline = time.monotonic() + 5
    while second.http.get("/v1/models", headers=customer).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_turn_cut_off_by_a_kill_is_finished_after_the_restart(slow: Server, head: dict[str, str]):
    conversation = opened(slow, head)
    slow.http.post(f"/api/conversations/{conversation}/messages", json={"text": f"{QUESTION} slowly"}, headers=head)
    time.sleep(0.6)  # the burst is over, the answer is being made
    slow.kill()
    slow.start()
    assert log(slow, head, conversation, "reply_sent")[-1]["text"]


def test_a_turn_cut_off_by_a_stop_is_finished_after_the_restart(slow: Server, head: dict[str, str]):
    conversation = opened(slow, head)
    slow.http.post(f"/api/conversations/{conversation}/messages", json={"text": f"{QUESTION} slowly"}, headers=head)
    slow.stop()
    slow.start()
    kinds = [e["kind"] for e in log(slow, head, conversation, "reply_sent")]
    assert kinds.count("reply_sent") == 1
    assert "turn_failed" not in kinds


@pytest.fixture(scope="module")
def crashed(folder: Path, tenants: Path, trained: Path) -> tuple[Verdict, list[str], set[str]]:
    """Some kills under load, and what became of the messages."""
    server = Server(copied(trained, folder / "crashed"), tenants).start()
    try:
        key, acknowledged = server.key(), list[tuple[str, str]]()
        for n in range(ROUNDS):
            acknowledged += crash(server, key, seed=100 + n)[2]
        verdict = asyncio.run(judge(server.data, acknowledged))
        parts = set(victims(server))
        server.stop()
        return verdict, left_behind(server.data), parts
    finally:
        server.end()


def test_no_acknowledged_message_is_lost_by_a_kill(crashed: tuple[Verdict, list[str], set[str]]):
    verdict = crashed[0]
    assert verdict.acknowledged > 0
    assert (verdict.lost, verdict.open, verdict.twice) == ([], [], [])


def test_nothing_is_left_running_after_kills_and_a_stop(crashed: tuple[Verdict, list[str], set[str]]):
    assert crashed[1] == []
