"""Rehearsed conversations as messages on a stream: what the services say to one another, and each service's step over its own state.

Knows nothing of a broker. A step takes one message and the state of one conversation and gives what is to be sent. A message that comes
again gets what was sent before once more: its id follows from the conversation and the turn, so whoever reads it counts it once. What does
not belong on the stream becomes a dead letter that says why; nothing else is ever dropped but what was counted already.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from frontdesk.errors import FrontdeskError, TooLarge
from frontdesk.rehearsal.conversing import Rehearsal
from frontdesk.rehearsal.scenarios import Script, script_from_json, script_to_json
from frontdesk.rehearsal.talk import AGENT, CUSTOMER, FAILED, FAREWELLS, Line, Outcome, Reason, Talk, from_plain, to_plain

if TYPE_CHECKING:
    from frontdesk.rehearsal.scoring import Sentiment

MESSAGES, TONED, DEAD = "chat-messages", "chat-messages-with-sentiment", "chat-messages-dead"
OPENING, END, DEAD_LETTER = "opening", "end", "dead"
ROLES = (OPENING, CUSTOMER, AGENT, END)
LARGEST = 900_000
"""Bytes of one message. Brokers take a megabyte unless they are told otherwise."""
SHOWN = 2000
"""Characters of a foreign message that its dead letter repeats."""

Message = dict[str, Any]
Make = Callable[[Script], Rehearsal]
FAULTS = (FrontdeskError, ValueError, KeyError, TypeError, AssertionError)
_NAME = re.compile(r"[\w.:-]{1,200}")


class State(Protocol):
    """What of a keyed state the steps use; values are JSON."""

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or `default`."""
        ...

    def set(self, key: str, value: Any) -> None:
        """Keep the value."""
        ...

    def delete(self, key: str) -> None:
        """Forget it."""
        ...


def opening(run: str, talk: Talk, script: Script) -> Message:
    """The message that starts a conversation, with its own part of the script, so that no service needs the file. Raises TooLarge."""
    part = replace(script, scenarios=(script.scenario(talk.scenario),))
    made = _message(talk, OPENING, 0, run=run, script=script_to_json(part), talk=to_plain(talk))
    if size(made) > LARGEST:
        raise TooLarge(
            f"scenario {talk.scenario} makes a message of {size(made)} bytes, the stream takes {LARGEST}: make its texts shorter"
        )
    return made


def read(raw: bytes | None, key: bytes | None) -> Message:
    """A message of ours, or the dead letter that says why it is none."""
    text = (raw or b"").decode(errors="replace")
    try:
        found = json.loads(text)
    except ValueError:
        return dead(text, "is no JSON")
    if not isinstance(found, dict):
        return dead(text, "is no JSON object")
    wrong = [n for n in ("id", "role", "conversation", "run") if not isinstance(found.get(n), str)]
    if wrong:
        return dead(text, f"has no {' and no '.join(wrong)}")
    if found["role"] not in ROLES:
        return dead(text, f"has role {found['role']!r}, which is none of {', '.join(ROLES)}")
    if not _NAME.fullmatch(found["conversation"]) or key != found["conversation"].encode():
        return dead(text, "is not keyed by its conversation")
    needed = {OPENING: ("talk", "script"), END: ("talk", "script"), CUSTOMER: ("line",), AGENT: ("line", "agent", "failures")}[
        found["role"]
    ]
    missing = [n for n in needed if n not in found]
    return dead(text, f"has no {' and no '.join(missing)}") if missing else found


def dead(text: str, why: str) -> Message:
    """A dead letter: the reason, and the message as far as it is short enough."""
    return {"role": DEAD_LETTER, "reason": f"this message {why}", "message": text[:SHOWN]}


def size(message: Mapping[str, Any]) -> int:
    """Bytes on the wire."""
    return len(json.dumps(message).encode())


@dataclass(frozen=True, kw_only=True)
class CustomerService:
    """The customers' side, with the referee: hears the agent, ends the conversation or says the next line."""

    make: Make
    run: Callable[[Any], Talk]
    """Runs a coroutine to its end."""

    def step(self, message: Message, state: State) -> list[Message]:
        """What is to be sent after this message."""
        if message["role"] == END:
            return _close(state)
        if message["role"] == CUSTOMER or state.get("ended"):
            return []
        if message["id"] == state.get("last"):
            return list(state.get("sent"))
        if message["role"] == OPENING:
            return list(state.get("sent")) if state.get("talk") else self._said(message, state, message["script"], message["talk"])
        plain = state.get("talk")
        if plain is None:
            return [dead(json.dumps(message), f"belongs to conversation {message['conversation']}, which was never opened")]
        if message["id"] != _id(plain["id"], AGENT, _turns(plain)):
            return []  # answered before
        return self._said(message, state, state.get("script"), plain)

    def _said(self, message: Message, state: State, script: str, plain: Any) -> list[Message]:
        try:
            talk = self.run(self._on(message, script, from_plain(plain)))
        except FAULTS as why:
            talk = from_plain(plain)
            talk = replace(talk, outcome=Outcome(reason=Reason.ERROR, evidence=f"the rehearsal itself failed: {type(why).__name__}: {why}"))
        sent = self._told(message["run"], talk, script)
        state.set("script", script)
        state.set("talk", to_plain(talk))
        state.set("last", message["id"])
        state.set("sent", sent)
        return sent

    async def _on(self, message: Message, script: str, talk: Talk) -> Talk:
        play = self.make(_script(script))
        if message["role"] == AGENT:
            talk = talk.said(_line(message["line"]))
            failures = (*talk.failures, *message["failures"])
            talk = await play.heard(replace(talk, agent=message["agent"], failures=failures, retries=len(failures)))
        return talk if talk.outcome else await play.customer_speaks(talk)

    def _told(self, run: str, talk: Talk, script: str) -> list[Message]:
        said: list[Message] = []
        farewell = bool(talk.outcome) and bool(talk.lines) and talk.lines[-1].role == CUSTOMER and talk.lines[-1].acts[:1] in FAREWELLS
        if talk.outcome is None or farewell:
            said.append(_message(talk, CUSTOMER, talk.turns + bool(talk.outcome), run=run, line=vars(talk.lines[-1])))
        if talk.outcome:
            said.append(_message(talk, END, talk.turns, run=run, script=script, talk=to_plain(talk)))
        if all(size(m) <= LARGEST for m in said):
            return said
        outcome = Outcome(reason=Reason.ERROR, evidence=f"a message of more than {LARGEST} bytes does not fit the stream")
        return [_message(talk, END, talk.turns, run=run, script=script, talk=to_plain(replace(talk, lines=(), outcome=outcome)))]


@dataclass(frozen=True, kw_only=True)
class AgentService:
    """The agents' side: hears a customer, says the answer. Keeps of a conversation what its speaker needs to see again."""

    make: Make
    run: Callable[[Any], Talk]

    def step(self, message: Message, state: State) -> list[Message]:
        """What is to be sent after this message."""
        role = message["role"]
        if role == END:
            return _close(state)
        if role == AGENT or state.get("ended"):
            return []
        if role == OPENING:
            if state.get("talk") is None:
                state.set("script", message["script"])
                state.set("talk", message["talk"])
            return []
        if message["id"] == state.get("last"):
            return list(state.get("sent"))
        plain = state.get("talk")
        if plain is None:
            return [dead(json.dumps(message), f"belongs to conversation {message['conversation']}, which was never opened")]
        line = _line(message["line"])
        if message["id"] != _id(plain["id"], CUSTOMER, _turns(plain) + 1) or line.acts[:1] in FAREWELLS:
            return []  # answered before, or a last word, which nobody answers
        return self._answered(message, state, from_plain(plain).said(line))

    def _answered(self, message: Message, state: State, talk: Talk) -> list[Message]:
        before = len(talk.failures)
        try:
            talk = self.run(self.make(_script(state.get("script"))).answered(talk))
        except FAULTS as why:
            talk = _failed(talk, f"{type(why).__name__}: {why}")
        sent = self._told(message, talk, before)
        if size(sent) > LARGEST:
            talk = _failed(replace(talk, lines=talk.lines[:-1]), f"an answer of {size(sent)} bytes does not fit the stream")
            sent = self._told(message, talk, before)
        state.set("talk", to_plain(talk))
        state.set("last", message["id"])
        state.set("sent", [sent])
        return [sent]

    def _told(self, message: Message, talk: Talk, before: int) -> Message:
        failures = list(talk.failures[before:])
        return _message(talk, AGENT, talk.turns, run=message["run"], line=vars(talk.lines[-1]), agent=dict(talk.agent), failures=failures)


@dataclass(frozen=True, kw_only=True)
class SentimentService:
    """Says how each message sounds, and how its side of the conversation has sounded so far."""

    sentiment: Sentiment

    def step(self, message: Message, state: State) -> Message:
        """The message with `label`, `score` and `mean` of its role; messages without words pass unchanged."""
        role = message["role"]
        if role not in (CUSTOMER, AGENT) or not message["line"].get("text"):
            return message
        (tone,) = self.sentiment.of([message["line"]["text"]])
        score = float(tone.score)
        heard: dict[str, dict[str, float]] = state.get("heard") or {}
        side = heard.setdefault(role, {})
        side[message["id"]] = score
        state.set("heard", heard)
        return {**message, "label": str(getattr(tone, "label", "")), "score": score, "mean": sum(side.values()) / len(side)}


def _close(state: State) -> list[Message]:
    for key in ("talk", "script", "sent", "last"):
        state.delete(key)
    state.set("ended", True)
    return []


def _failed(talk: Talk, why: str) -> Talk:
    line = Line(role=AGENT, text="", by=FAILED)
    return replace(talk.said(line), failures=(*talk.failures, f"turn {talk.turns}: {why}"))


def _message(of: Talk, role: str, turn: int, *, run: str, **more: Any) -> Message:
    return {"id": _id(of.id, role, turn), "role": role, "conversation": of.id, "run": run, "number": of.number, **more}


def _id(talk: str, role: str, turn: int) -> str:
    return f"{talk}:{role}:{turn}"


def _turns(plain: Mapping[str, Any]) -> int:
    return from_plain(plain).turns


def _line(row: Mapping[str, Any]) -> Line:
    return Line(**{**row, **{k: tuple(row[k]) for k in ("calls", "cites", "acts", "slots", "planned")}})


@lru_cache(maxsize=64)
def _script(text: str) -> Script:
    return script_from_json(text)


def script_of(message: Mapping[str, Any]) -> Script:
    """The part of the script that came with an opening or an end."""
    return _script(message["script"])


def pairs(talk: Talk) -> Sequence[tuple[Talk, Line]]:
    """Each turn as the talk up to the customer's message, and the agent's answer to it."""
    return [(replace(talk, lines=talk.lines[:n]), line) for n, line in enumerate(talk.lines) if line.role == AGENT]
