"""One turn's dealings with one operation: for whom it is, what was called so far, what will be said. Decides nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import httpx

from frontdesk.desk.briefing import Briefing
from frontdesk.desk.draft import Draft, Sentence
from frontdesk.domain.conversation import Conversation, Pending, Route, ToolCall
from frontdesk.domain.events import Event, SlotRequested
from frontdesk.domain.tenancy import Caller
from frontdesk.models.protocols import Embedder
from frontdesk.store.store import Store
from frontdesk.tools.calling import ToolCaller, ToolOutcome, verified
from frontdesk.tools.catalog import Catalog
from frontdesk.tools.operation import Operation
from frontdesk.tools.rendering import Rendering, facts
from frontdesk.tools.selection import Selector
from frontdesk.tools.strategies import Writing

if TYPE_CHECKING:
    from frontdesk.desk.drafting import Writer

IDENTIFY = "identify"
"""Kind of a pending request for details by which the customer is found."""
SIGN_IN = "sign_in"
"""Kind of a pending request to sign in; no words can answer it."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """An operation that one part of a message is about. Nothing was called yet."""

    operation: Operation
    score: float
    text: str
    """The customer's words that it is for."""
    asked: str = ""
    """The question among them, where they tell other things too; empty when all of them ask."""
    known: Mapping[str, Any] = field(default_factory=dict)
    implied: bool = False
    """An act that nobody ordered in so many words."""
    rivals: tuple[Operation, ...] = ()
    """Other looks into the customer's own records that are about as likely."""
    unready: bool = False
    """Nothing can be called yet: somebody has to sign in first, or to say more."""
    last: bool = False
    """Too unsure to stand beside other answers, and better than none."""
    rest: str = ""
    """What else the same words ask, for other sources."""
    focus: str = ""
    """The one sentence among them that is about the operation; empty when all are."""
    repeats: bool = False
    """The operation of an earlier turn, with changed arguments."""
    pointing: str = ""
    """The words that say which record is meant, when the question itself is an earlier one."""
    writing: Writing | None = None
    """The draft in which a model proposed it; it goes on behind the result."""
    events: tuple[Event, ...] = ()
    """What there is to tell of how it was proposed."""

    @property
    def for_members(self) -> bool:
        """Whether a guest would have to sign in to be told anything: their own records, and no act."""
        return self.unready and self.operation.needs_customer and not self.operation.writes


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What came of it: events in their order, and what to say."""

    draft: Draft
    events: tuple[Event, ...] = ()
    value: str = ""
    """What the call returned, as the platform rendered it; empty when nothing was called, or in vain."""
    lost: bool = False
    """The message gave nothing of what was asked for: it may be about something else."""
    missed: bool = False
    """A look-up knew nothing of what the customer named: it may not have been meant."""

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
    """The tenant's operations, with the built-in ones beside them."""
    briefed: Catalog
    """The tenant's own, as its briefing holds them."""
    selector: Selector
    caller: ToolCaller
    rendering: Rendering
    writer: Writer | None = None
    """The language model, where there is one."""


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
    fetched: dict[tuple[str, str], ToolOutcome] = field(default_factory=dict)
    """Reads of this turn: what was just read is not read again."""
    pointing: str = ""
    asked: str = ""
    """The question that is answered, where the words for a look-up also tell other things."""
    modelled: bool = False
    """A model proposed it: nothing is done without a yes, whatever the document says."""
    implied: bool = False
    """It is an act that nobody ordered in so many words: what is not asked for in this turn waits for a yes, whatever the document says."""
    answering: bool = False
    """The message answers something that the desk asked."""

    @property
    def claims(self) -> Mapping[str, Any]:
        """Those of the verified token; without one, whom a marked operation of the tenant's own API found in this conversation."""
        return verified(self.caller) or found_by(self.box.catalog, (*self.conversation.calls, *self.calls))

    @property
    def customer(self) -> str | None:
        """Who is asking, as far as that is proved."""
        known = self.claims.get("sub")
        return str(known) if known else None

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


def found_by(catalog: Catalog, calls: Sequence[ToolCall]) -> Mapping[str, Any]:
    """The customer whom the first look-up that succeeded found, as a claim; empty before."""
    for call in calls:
        operation = catalog.get(call.name)
        if operation is None or not operation.identifies or call.error is not None:
            continue
        found = call.result.get(operation.identifies) if isinstance(call.result, Mapping) else call.result
        if isinstance(found, (str, int)) and not isinstance(found, bool) and str(found).strip():
            return {"sub": str(found)}
    return {}


def action_of(operation: Operation) -> str:
    """The operation as something to do: `cancel a booking`."""
    return plainly(operation.summary[:1].lower() + operation.summary[1:])


def plainly(text: str) -> str:
    said = re.sub(r"\b(?:of|for) the (?:signed-in )?(?:customer|member|person|patient|user|client)\b", "", text)
    said = re.sub(r"\bthe (?:signed-in )?(?:customer|member|person|patient|user|client)(?:'s|’s)", "your", said)
    return " ".join(said.split()).rstrip(".")


def details_of(operation: Operation, values: Mapping[str, Any], rendering: Rendering, known: Mapping[str, str] | None = None) -> str:
    """The exact values, as they will be sent: `seat 9A, day 3 March 2027`. `known`: how a value is said, by argument; empty: not at all."""
    schema = {"properties": {a.name: {**a.schema, "description": a.description} for a in operation.askable}}
    named = known or {}
    plain = {n: v for n, v in values.items() if n not in named}
    said = [f"{f.label[:1].lower()}{f.label[1:]} {f.text}" for f in facts(plain, schema, rendering.for_operation(operation))]
    said += [f"{a.label} {named[a.name]}" for a in operation.askable if named.get(a.name)]
    return ", ".join(said)


def plain_draft(text: str, route: Route, *, confidence: float, calls: Sequence[ToolCall] = ()) -> Draft:
    return Draft(route=route, sentences=(Sentence(text=text, factual=False),), confidence=confidence, calls=tuple(calls))
