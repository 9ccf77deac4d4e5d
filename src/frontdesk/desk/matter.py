"""One turn's dealings with one operation: for whom it is, what was called so far, what will be said. Decides nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import httpx

from frontdesk.desk.briefing import Briefing
from frontdesk.desk.draft import Draft, Sentence
from frontdesk.domain.conversation import Conversation, Pending, Route, ToolCall
from frontdesk.domain.events import Event, SlotRequested
from frontdesk.domain.tenancy import Caller
from frontdesk.models.protocols import Embedder
from frontdesk.store.store import Store
from frontdesk.tools.calling import ToolCaller, verified
from frontdesk.tools.catalog import Catalog
from frontdesk.tools.operation import Operation
from frontdesk.tools.rendering import Rendering, facts
from frontdesk.tools.selection import Selector

SIGN_IN = "sign_in"
"""Kind of a pending request to sign in; no words can answer it."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """An operation that one part of a message is about. Nothing was called yet."""

    operation: Operation
    score: float
    text: str
    """The customer's words that it is for."""
    known: Mapping[str, Any] = field(default_factory=dict)
    unready: bool = False
    """Nothing can be called yet: somebody has to sign in first, or to say more."""
    rest: str = ""
    """What else the same words ask, for other sources."""
    focus: str = ""
    """The one sentence among them that is about the operation; empty when all are."""
    repeats: bool = False
    """The operation of an earlier turn, with changed arguments."""
    pointing: str = ""
    """The words that say which record is meant, when the question itself is an earlier one."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What came of it: events in their order, and what to say."""

    draft: Draft
    events: tuple[Event, ...] = ()

    @property
    def asks(self) -> bool:
        """True when the customer was asked for something and the desk waits for it."""
        return any(isinstance(e, SlotRequested) for e in self.events)


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What live data works with, the same for all tenants."""

    store: Store
    embedder: Embedder
    http: httpx.AsyncClient
    clock: Callable[[], datetime]


@dataclass(kw_only=True)
class Box:
    """One tenant's tools."""

    catalog: Catalog
    selector: Selector
    caller: ToolCaller
    rendering: Rendering


@dataclass(kw_only=True)
class Matter:
    """One turn's dealings with one operation."""

    tools: Tools
    box: Box
    briefing: Briefing
    caller: Caller
    conversation: Conversation
    today: date
    request: str
    events: list[Event] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    pointing: str = ""
    answering: bool = False
    """The message answers something that the desk asked."""

    @property
    def claims(self) -> Mapping[str, Any]:
        return verified(self.caller)

    def say(self, key: str, **values: str) -> str:
        return self.briefing.phrases.say(key, **values)

    def end(self, text: str, route: Route, *, confidence: float) -> Attempt:
        """That is all for this turn: `text` is said."""
        return Attempt(draft=plain_draft(text, route, confidence=confidence, calls=tuple(self.calls)), events=tuple(self.events))

    def sign_in(self, operation: Operation, words: str) -> Attempt:
        """The customer has to say who they are first."""
        link = self.briefing.tenant.identity.sign_in_url
        said = self.say("sign_in", link=f" {self.say('sign_in_link', url=link)}" if link else "")
        self.events.append(SlotRequested(pending=Pending(kind=SIGN_IN, question=said, operation=operation.name, words=words[-600:])))
        return self.end(said, Route.ELICIT, confidence=0.9)


def action_of(operation: Operation) -> str:
    """The operation as something to do: `cancel a booking`."""
    return plainly(operation.summary[:1].lower() + operation.summary[1:])


def plainly(text: str) -> str:
    said = re.sub(r"\b(?:of|for) the (?:signed-in )?(?:customer|member|person|patient|user|client)\b", "", text)
    said = re.sub(r"\bthe (?:signed-in )?(?:customer|member|person|patient|user|client)(?:'s|’s)", "your", said)
    return " ".join(said.split()).rstrip(".")


def details_of(operation: Operation, values: Mapping[str, Any], rendering: Rendering) -> str:
    """The exact values, as they will be sent: ` (seat 9A, day 3 March 2027)`."""
    schema = {"properties": {a.name: {**a.schema, "description": a.description} for a in operation.askable}}
    said = [f"{f.label[:1].lower()}{f.label[1:]} {f.text}" for f in facts(dict(values), schema, rendering.for_operation(operation))]
    return ", ".join(said)


def plain_draft(text: str, route: Route, *, confidence: float, calls: Sequence[ToolCall] = ()) -> Draft:
    return Draft(route=route, sentences=(Sentence(text=text, factual=False),), confidence=confidence, calls=tuple(calls))
