"""What all strategies share: the task, a draft in the making, and the strongest constraint that a model server takes.

The customer's words, what was said before and what APIs answered go into a prompt with every tag made inert: only the model's own output
is ever read for calls.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from functools import cache
from importlib.resources import files
from typing import Any, cast

from frontdesk.domain.events import Stretch
from frontdesk.errors import ModelRefused
from frontdesk.models.protocols import ChatRequest, LanguageModel
from frontdesk.tools.grammar import call_schema
from frontdesk.tools.inline import Call, neutralise
from frontdesk.tools.operation import Argument, Operation

MOST_TOKENS = 200
"""Tokens of one stretch, between two calls."""
LONGEST_RESULT = 1_500
"""Characters of a result that a model is shown."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a model is asked. `operations`: all that it may propose; no other can be called."""

    message: str
    operations: Sequence[Operation]
    today: date
    company: str = "the company"
    history: Sequence[tuple[str, str]] = ()
    """What was said before, as (`user` or `assistant`, text), oldest first."""
    settled: Call | None = None
    """A call that is made already: the model only writes around its result."""
    frames: Sequence[str] = ()
    """With a settled call: the wordings that may lead up to its value, for a model too small to find its own."""


class Means(IntEnum):
    """What keeps a model to legal calls: its server's grammar or `tools`; a JSON schema; nothing but a strict reader."""

    OWN = 0
    SCHEMA = 1
    FREE = 2


class Writing(ABC):
    """One draft in the making: `go_on` until it gives a call, `splice` the result, go on. Leave it at any point."""

    def __init__(self, model: LanguageModel, task: Task, reach: Reach) -> None:
        self.model = model
        self.task = task
        self.sampled = 0
        """Pieces that the model wrote, about one token each."""
        self._reach = reach
        self._stretches: list[Stretch] = []
        self._shown: list[str] = []

    @property
    def text(self) -> str:
        """The draft as a customer would read it, values in place of calls."""
        return "".join(self._shown).strip()

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """Everything in order, calls and results included; what was sampled and what was forced apart."""
        return tuple(self._stretches)

    @property
    def transcript(self) -> str:
        """All stretches joined."""
        return "".join(s.text for s in self._stretches)

    @property
    def attempted(self) -> bool:
        """Whether the model tried to call what there is not, or in a form that cannot be read."""
        return re.search(r"\[[A-Za-z_][\w.-]*\(|Action:|<tool_call", self.transcript) is not None

    @abstractmethod
    def go_on(self) -> AsyncGenerator[str | Call]:
        """Text for the customer as it comes; ends behind a `Call`, or when the model has ended.

        Closing it cancels the work upstream. Raises ModelUnavailable and TooBusy.
        """

    @abstractmethod
    def splice(self, result: str) -> None:
        """The result of the call that was given, as the platform rendered it."""

    def _add(self, text: str, *, forced: bool = False, shown: bool = True) -> None:
        if not text:
            return
        if self._stretches and self._stretches[-1].forced == forced:
            text_before = self._stretches.pop().text
            self._stretches.append(Stretch(text=text_before + text, forced=forced))
        else:
            self._stretches.append(Stretch(text=text, forced=forced))
        if shown:
            self._shown.append(text)

    async def _pieces(self, build: Callable[[Means], ChatRequest | None]) -> AsyncGenerator[tuple[Means, str]]:
        """The model's output under the strongest means that its server takes; `build` gives None for a means that is of no use."""
        refused: ModelRefused | None = None
        for means in Means:
            request = build(means) if means >= self._reach.means else None
            if request is None:
                continue
            try:
                async with aclosing(cast("AsyncGenerator[str]", self.model.stream(request))) as pieces:
                    async for piece in pieces:
                        self._reach.means = means
                        self.sampled += 1
                        yield means, piece
            except ModelRefused as problem:
                refused = problem
            else:
                return
        if refused is not None:
            raise refused


@dataclass
class Reach:
    """What a model's server was found to take. Found out once, by its refusals."""

    means: Means = Means.OWN


class Strategy(ABC):
    """One way to let a model propose. Made once per tenant and model."""

    name: str

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self._reach = Reach()

    @abstractmethod
    def begin(self, task: Task) -> Writing:
        """A draft for this task. Nothing is asked of the model yet."""


def prompt(name: str, task: Task) -> str:
    """The instructions of a strategy, filled in."""
    calls = "\n".join(signature(o) for o in task.operations)
    return _text(name).format(company=neutralise(task.company), today=f"{task.today:%A %-d %B %Y}", calls=calls)


def messages(system: str, task: Task) -> list[dict[str, Any]]:
    """Instructions, what was said before, and the message, every foreign tag inert."""
    before = [{"role": role, "content": neutralise(text[:1_000])} for role, text in task.history[-6:]]
    return [{"role": "system", "content": system}, *before, {"role": "user", "content": neutralise(task.message)}]


def signature(operation: Operation) -> str:
    """`getBalance(account: "savings" or "current") - Get the balance of an account`."""
    said = f"{operation.name}({', '.join(map(_argument, operation.askable))}) - {operation.summary}"
    return neutralise(" ".join(said.split()))


def step_schema(operations: Sequence[Operation]) -> dict[str, Any]:
    """JSON schema of one step: text for the customer, then one call or none."""
    return {
        "type": "object",
        "properties": {"text": {"type": "string"}, "call": {"anyOf": [{"type": "null"}, call_schema(operations)]}},
        "required": ["text", "call"],
        "additionalProperties": False,
    }


def step_of(raw: str) -> tuple[str, Call | None] | None:
    """The step that such JSON says; None when it is not such JSON."""
    try:
        step = json.loads(raw)
        call = step.get("call")
        made = None if call is None else Call(name=str(call["name"]), arguments=dict(call.get("arguments") or {}))
        return str(step.get("text") or ""), made
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def inert(result: str) -> str:
    """A result as a model may see it."""
    return neutralise(result[:LONGEST_RESULT])


def named(task: Task) -> Mapping[str, Operation]:
    """The operations of a task by name."""
    return {o.name: o for o in task.operations}


def _argument(argument: Argument) -> str:
    kind = " or ".join(json.dumps(v, ensure_ascii=False) for v in argument.enum[:12]) or argument.format or argument.type
    return f"{argument.name}{'' if argument.required else '?'}: {kind}"


@cache
def _text(name: str) -> str:
    return (files("frontdesk.tools") / "prompts" / f"{name}.md").read_text(encoding="utf-8").strip()
