"""A conversation as the fold of its events: utterances, owner, what is pending. Holds no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType

from frontdesk.domain.knowledge import Citation
from frontdesk.domain.tenancy import CustomerId, TenantId

ConversationId = NewType("ConversationId", str)
TurnId = NewType("TurnId", str)


class Speaker(StrEnum):
    """Who said something. An agent is always human; the desk is always the program."""

    CUSTOMER = "customer"
    DESK = "desk"
    AGENT = "agent"


class Route(StrEnum):
    """The way an answer took. Part of the public contract."""

    FAQ = "faq"
    KNOWLEDGE = "knowledge"
    DYNAMIC = "dynamic"
    ELICIT = "elicit"
    SMALLTALK = "smalltalk"
    HANDOFF = "handoff"
    REFUSE = "refuse"


class Owner(StrEnum):
    """Who speaks to the customer now: exactly one."""

    DESK = "desk"
    QUEUE = "queue"
    AGENT = "agent"
    CLOSED = "closed"


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One thing said. `turn` groups what belongs together."""

    speaker: Speaker
    text: str
    turn: TurnId
    at: datetime
    route: Route | None = None
    citations: tuple[Citation, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """One call that was really made. Exactly one of `result` and `error` is set."""

    name: str
    arguments: Mapping[str, Any]
    result: Any = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A question the desk asked and waits for: a missing slot or a confirmation. Survives restarts as part of its event."""

    kind: str
    """`slot`, `confirm`, or `choice`."""
    question: str
    operation: str = ""
    slot: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    """What the choices stand for, in the same order; empty when each stands for itself."""
    expires_at: datetime | None = None
    words: str = ""
    """What the customer said about the matter so far; the answer is worded for it."""
    request: str = ""
    """Which of the customer's messages began the matter; part of the idempotency key of what is done in the end."""
    tries: int = 0
    """How often the question was asked in vain."""
    proposed: bool = False
    """The matter was proposed by a model: it acts on nothing without a plain yes."""


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """One matter between one customer and one tenant, as its events tell it."""

    id: ConversationId
    tenant: TenantId
    customer: CustomerId | None
    opened_at: datetime
    owner: Owner = Owner.DESK
    utterances: tuple[Utterance, ...] = ()
    pending: Pending | None = None
    known: Mapping[str, Any] = field(default_factory=dict)
    """Slot values the customer gave in this conversation, by name."""
    calls: tuple[ToolCall, ...] = ()
    acted: Mapping[str, ToolCall] = field(default_factory=dict)
    """Calls that acted, by idempotency key: none of them is made a second time."""
    failures: int = 0
    """Turns in a row that the desk could not answer."""
    agent: str = ""
    """Name of the human who owns it, when one does."""
    merged: frozenset[TurnId] = frozenset()
    """Turns whose message is answered together with a later one."""
