"""The stream's services as steps over their own state: the same outcomes as in one process, whatever comes twice, late, foreign or too large."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from frontdesk.cli import app
from frontdesk.errors import BadInput, TooLarge, Unavailable
from frontdesk.rehearsal import streaming
from frontdesk.rehearsal.scenarios import Script, draw
from frontdesk.rehearsal.starting import _refuse, openings
from frontdesk.rehearsal.streaming import AgentService, CustomerService, SentimentService, read
from frontdesk.rehearsal.talk import begin, from_plain

from .conftest import lender, rehearsal, row, script


class Kept(dict[str, Any]):
    """A state that keeps what a broker would: JSON, and nothing but JSON."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


class Stream:
    """Both sides on one topic, in order; `again` sends every message so many times."""

    def __init__(self, rule: Any = lender, *, again: int = 1) -> None:
        def make(of: Script) -> Any:
            return rehearsal(of, rule)

        self._sides = (CustomerService(make=make, run=_now), AgentService(make=make, run=_now))
        self._states: tuple[dict[str, Kept], dict[str, Kept]] = ({}, {})
        self._again = again
        self.topic: list[dict[str, Any]] = []

    def go(self, messages: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> Stream:
        waiting = [m for m in messages for _ in range(self._again)]  # each echo is echoed by every step after it
        while waiting:
            message = json.loads(json.dumps(waiting.pop(0)))
            self.topic.append(message)
            assert len(self.topic) < 50_000
            if message["role"] == "dead":
                continue
            for side, states in zip(self._sides, self._states, strict=True):
                waiting += side.step(message, states.setdefault(message["conversation"], Kept()))
        return self

    def ends(self) -> dict[str, Any]:
        return {m["conversation"]: from_plain(m["talk"]) for m in self.topic if m["role"] == "end"}


def _now(work: Any) -> Any:
    with asyncio.Runner() as runner:
        return runner.run(work)


@pytest.fixture
def streamed(loans: Script) -> Any:
    """Runs a stream beside the session's loop."""

    async def run(rule: Any = lender, *, count: int = 12, again: int = 1) -> Stream:
        return await asyncio.to_thread(lambda: Stream(rule, again=again).go(openings(loans, "acme.r1", range(count), 7)))

    return run


def told(talk: Any) -> Any:
    return talk.role, talk.outcome, [(line.role, line.text) for line in talk.lines]


async def test_a_stream_has_the_same_conversations_as_one_process(loans: Script, streamed: Any):
    ends = (await streamed()).ends()
    for number in range(12):
        part = draw(loans, number, 7)
        alone = await rehearsal(loans).whole(begin("acme.r1", part, loans.scenario(part.scenario)))
        assert told(ends[alone.id]) == told(alone)


async def test_messages_that_come_twice_change_no_conversation(streamed: Any):
    once, twice = await streamed(count=4), await streamed(count=4, again=2)
    assert {k: told(t) for k, t in once.ends().items()} == {k: told(t) for k, t in twice.ends().items()}
    assert {m["id"] for m in once.topic} == {m["id"] for m in twice.topic}


async def test_an_agent_that_breaks_ends_its_conversation_and_no_other_thing_is_lost(streamed: Any):
    def breaks(_scenario: Any, _talk: Any) -> Any:
        raise KeyError("no such thing")

    ends = (await streamed(breaks, count=3)).ends()
    assert [t.outcome.reason for t in ends.values()] == ["error"] * 3


async def test_an_answer_too_large_for_the_stream_is_a_failed_turn(streamed: Any, monkeypatch: pytest.MonkeyPatch):
    stream = await streamed(lambda *_: "x" * (streaming.LARGEST + 1), count=1)
    (talk,) = stream.ends().values()
    assert talk.outcome.reason == "error"
    assert "does not fit the stream" in " ".join(talk.failures)
    assert all(streaming.size(m) <= streaming.LARGEST for m in stream.topic)


def test_a_scenario_too_large_for_the_stream_is_told_before_the_start():
    with pytest.raises(TooLarge, match="make its texts shorter"):
        next(openings(script(row(asks=["y" * 1_000_000])), "acme.r1", range(1), 7))


def test_a_scenario_that_resets_the_api_is_refused_for_a_stream():
    of = script(row())
    with pytest.raises(BadInput, match="run it without --kafka"):
        _refuse(dataclasses.replace(of, scenarios=(dataclasses.replace(of.scenarios[0], reset="/reset"),)))


@pytest.mark.parametrize(
    ("raw", "key", "why"),
    [
        (b"hello", b"c", "is no JSON"),
        (b"\xff\x00", None, "is no JSON"),
        (None, None, "is no JSON"),
        (b"[1]", b"c", "is no JSON object"),
        (b'{"role":"agent","conversation":"c"}', b"c", "has no id and no run"),
        (b'{"id":"1","role":"none","conversation":"c","run":"r"}', b"c", "has role 'none'"),
        (b'{"id":"1","role":"agent","conversation":"c","run":"r"}', b"d", "is not keyed by its conversation"),
        (b'{"id":"1","role":"customer","conversation":"c","run":"r"}', b"c", "has no line"),
    ],
)
def test_a_foreign_message_is_a_dead_letter_with_its_reason(raw: bytes | None, key: bytes | None, why: str):
    found = read(raw, key)
    assert found["role"] == "dead"
    assert why in found["reason"]


def test_a_message_of_a_conversation_that_never_began_is_a_dead_letter(loans: Script):
    message = {"id": "x:agent:1", "role": "agent", "conversation": "x", "run": "r", "line": {}, "agent": {}, "failures": []}
    service = CustomerService(make=rehearsal, run=_now)
    (letter,) = service.step(message, Kept())
    assert "never opened" in letter["reason"]


def test_sentiment_counts_a_message_that_comes_twice_once():
    scores = {"good": 1.0, "bad": -1.0}

    class Tone:
        def __init__(self, text: str) -> None:
            self.label, self.score = text, scores[text]

    class Words:
        def of(self, texts: Any) -> Any:
            return [Tone(t) for t in texts]

    service, state = SentimentService(sentiment=Words()), Kept()
    messages = [{"id": f"c:customer:{n}", "role": "customer", "line": {"text": t}} for n, t in enumerate(["good", "bad", "bad"])]
    means = [service.step(m, state)["mean"] for m in [*messages, messages[1], messages[2]]]
    assert [round(m, 2) for m in means] == [1.0, 0.0, -0.33, -0.33, -0.33]


def test_no_service_starts_without_a_broker():
    services = pytest.importorskip("frontdesk.rehearsal.services")
    with pytest.raises(Unavailable, match="no Kafka broker answers at 127"):
        services.Broker(address="127.0.0.1:9", wait=0.5).prepare()
    with pytest.raises(BadInput, match="must be HOST:PORT"):
        services.Broker(address="somewhere").prepare()


def test_a_service_that_does_not_exist_and_an_agent_without_a_desk_are_refused():
    wrong = CliRunner().invoke(app, ["rehearse", "service", "barista"])
    assert isinstance(wrong.exception, BadInput)
    lonely = CliRunner().invoke(app, ["rehearse", "service", "agent"])
    assert "needs a running desk" in str(lonely.exception)


def test_the_compose_file_starts_every_service_with_options_that_exist():
    found = yaml.safe_load((Path(__file__).parents[2] / "deploy/compose.yaml").read_text(encoding="utf-8"))["services"]
    assert found["kafka"]["image"].startswith("apache/kafka:")
    for name in ("customer", "agent", "sentiment", "sink"):
        command = found[name]["command"]
        assert command[:4] == ["frontdesk", "rehearse", "service", name]
        told = CliRunner().invoke(app, [*command[1:4], "--help"], env={"COLUMNS": "300", "TERM": "dumb", "NO_COLOR": "1"}).output
        assert all(option in told for option in command if option.startswith("--"))
