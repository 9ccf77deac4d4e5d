"""What a language model may add to live data: a proposal, which goes through every gate, and a wording, in which no value may be its own.

With a settled call the model only phrases the sentence around the value, within a moment; late, down or wrong, the desk's own sentence
speaks. It is never believed: a number, price, date or name that no call returned is an objection.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from frontdesk.desk import guardrails
from frontdesk.desk.elicitation import ABOUT_IDS
from frontdesk.desk.matter import Matter
from frontdesk.desk.telling import Told
from frontdesk.domain.conversation import Speaker
from frontdesk.domain.events import DraftRejected, Event, ModelPhrased
from frontdesk.errors import ModelUnavailable, TooBusy
from frontdesk.tools.checking import check
from frontdesk.tools.inline import Call
from frontdesk.tools.operation import Operation, words_of
from frontdesk.tools.slots import kind_of
from frontdesk.tools.strategies import Strategy, Task, Writing

SECONDS = 0.25
"""Longest wait for the wording of a value that is at hand."""
LATE = 2
"""Wordings too late in a row after which the model is left alone for a while."""
REST_SECONDS = 60.0
MOST_CALLS = 4
"""Calls that a model may make for one message."""
LARGEST_CALL = 8_000
"""Characters of a proposed call's arguments; more is no proposal."""
_DIGITS = re.compile(r"[^\s\"'()\[\]]*\d[^\s\"'()\[\]]*")
_DATE_WORDS = re.compile(
    r"\b(?:january|february|march|april|may(?= \d)|june|july|august|september|october|november|december|monday|tuesday|wednesday|thursday|"
    r"friday|saturday|sunday|today|tomorrow|yesterday)\b"
)


@dataclass(kw_only=True)
class Writer:
    """One tenant's model at work: its strategy, and whether it proposes operations, phrases values, or both."""

    strategy: Strategy
    proposes: bool = False
    phrases: bool = True
    clock: Callable[[], float] = time.monotonic
    seconds: float = SECONDS
    _late: int = field(default=0, init=False)
    _rests_until: float = field(default=0.0, init=False)

    @property
    def ready(self) -> bool:
        """False while the model is left alone after being late."""
        return self.clock() >= self._rests_until

    def was(self, *, late: bool) -> None:
        """Counts one wording."""
        self._late = self._late + 1 if late else 0
        if self._late >= LATE:
            self._late, self._rests_until = 0, self.clock() + REST_SECONDS


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A model's call as far as it may be followed. `objection`: why not at all; `refused`: bound arguments that it named."""

    operation: Operation | None = None
    values: dict[str, Any] = field(default_factory=dict)
    objection: str = ""
    refused: tuple[str, ...] = ()


def judge(turn: Matter, call: Call, message: str) -> Judged:
    """Whether a proposed call names an operation that there is, with legal arguments that the customer or an earlier answer gave."""
    operation = next((o for o in turn.box.catalog.usable if o.name == call.name), None)
    if operation is None:
        return Judged(objection=f"there is no operation {call.name[:80]}")
    try:
        size = len(json.dumps(dict(call.arguments), default=str))
    except (ValueError, RecursionError):
        size = LARGEST_CALL + 1
    if size > LARGEST_CALL:
        return Judged(objection="its arguments are too large")
    checked = check(operation, call.arguments)
    illegal = [f"{name} {why}" for name, why in checked.reasons.items() if why != "is missing"]
    heard = _heard(turn, message)
    values = {n: v for n, v in checked.values.items() if _grounded(operation, n, v, heard)}
    invented = [f"{n} was given by nobody" for n in checked.values if n not in values]
    return Judged(operation=operation, values=values, objection="; ".join([*illegal, *invented])[:300], refused=checked.refused)


def task_of(turn: Matter, message: str, *, settled: Call | None = None, frames: Sequence[str] = ()) -> Task:
    """What the model is asked for this turn."""
    names = {Speaker.CUSTOMER: "user"}
    history = [(names.get(u.speaker, "assistant"), u.text) for u in turn.conversation.utterances[:-1]][-6:]
    operations = turn.box.catalog.usable
    if settled is not None:
        operations, history = tuple(o for o in operations if o.name == settled.name), []
    return Task(
        message=message,
        operations=operations,
        today=turn.today,
        company=turn.briefing.tenant.name,
        history=history,
        settled=settled,
        frames=frames,
    )


async def next_call(writing: Writing) -> Call | None:
    """The next call of a draft; None when the model has ended. Raises ModelUnavailable and TooBusy."""
    async with aclosing(writing.go_on()) as pieces:
        async for piece in pieces:
            if isinstance(piece, Call):
                return piece
    return None


async def phrased(turn: Matter, operation: Operation, told: Told, words: str, call: Call) -> tuple[str, list[Event]]:
    """The sentence around a value, in the model's wording where it is right and in time, else as the desk has it; and what happened."""
    writer = turn.box.writer
    if writer is None or not writer.phrases or not told.frames or operation.writes or not writer.ready:
        return told.text, []
    writing = writer.strategy.begin(task_of(turn, words, settled=call, frames=told.frames))
    begun = time.monotonic()
    try:
        async with asyncio.timeout(writer.seconds):
            if await next_call(writing) is None:
                return told.text, []
            writing.splice(told.value)
            if await next_call(writing) is not None:
                return told.text, []
    except TimeoutError:
        writer.was(late=True)
        return told.text, []
    except (ModelUnavailable, TooBusy):
        return told.text, []
    writer.was(late=False)
    events: list[Event] = [note(writing, begun)]
    reason = objection(writing.text, rendered=[told.text], words=told.text) or (
        "" if told.value in writing.text else "leaves out the value"
    )
    if reason:
        return told.text, [*events, DraftRejected(sentence=writing.text, objection=reason)]
    return writing.text, events


def note(writing: Writing, begun: float) -> ModelPhrased:
    """What a model wrote, as the event that keeps it."""
    return ModelPhrased(
        model=writing.model.name,
        draft=writing.text,
        sampled=writing.sampled,
        forced=sum(len(s.text.split()) for s in writing.stretches if s.forced),
        milliseconds=round((time.monotonic() - begun) * 1000, 1),
        stretches=writing.stretches,
    )


def objection(text: str, *, rendered: Sequence[str], words: str) -> str:
    """Why a model's text may not be said; empty when it may.

    Args:
        text: the text with values in place of calls.
        rendered: what calls returned, as the platform rendered it: the only source of values.
        words: what else the text may speak of, such as the question and the operation's own description; no source of values.
    """
    if not text.strip():
        return "is empty"
    if re.search(r"[\[\]]|->|<tool_call", text):
        return "holds what looks like a call"
    proof = " ".join(rendered)
    shown = {_bare(m[0]) for m in _DIGITS.finditer(proof)}
    for match in _DIGITS.finditer(text):
        if _bare(match[0]) not in shown:
            return f"{match[0]} was returned by no call"
    known = set(_DATE_WORDS.findall(proof.lower()))
    for day in _DATE_WORDS.findall(text.lower()):
        if day not in known:
            return f"{day} was returned by no call"
    for sentence in re.split(r"(?<=[.!?])\s+", text.strip()):
        if guardrails.content_words(sentence):
            negated = guardrails.denies(sentence) and not guardrails.denies(proof)
            reason = "negation differs from the source" if negated else guardrails.uncovered(sentence, f"{proof} {words}")
            if reason:
                return reason
    return ""


def _bare(token: str) -> str:
    return token.strip(".,;:!?…*_").casefold()


def _heard(turn: Matter, message: str) -> str:
    """Everything that the customer said and that calls answered, without spaces and case."""
    said = [message, *(u.text for u in turn.conversation.utterances if u.speaker is Speaker.CUSTOMER)]
    answers = [json.dumps(c.result, ensure_ascii=False, default=str) for c in (*turn.conversation.calls, *turn.calls) if c.error is None]
    return _packed(" ".join([*said, *answers]))


def _packed(text: str) -> str:
    return re.sub(r"[\s\-_./]", "", text).casefold()


def _grounded(operation: Operation, name: str, value: Any, heard: str) -> bool:
    """Whether a value was given by somebody: codes and contacts are never a model's to invent."""
    argument = operation.argument(name)
    if argument is None or operation.run is not None or argument.enum:
        return True
    if kind_of(argument) not in ("code", "email", "phone") and not set(words_of(name).split()) & ABOUT_IDS:
        return True
    members = value if isinstance(value, list) else [value]
    return all(_packed(str(m)) in heard for m in members)
