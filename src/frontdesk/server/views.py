"""The native API's bodies, as pydantic models and as views of the domain. What a widget may not see is left out here, once."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from frontdesk.domain.conversation import Conversation, Owner, Route, Speaker
from frontdesk.domain.events import (
    AgentReplied,
    ConversationOpened,
    HandedOff,
    MessageReceived,
    OwnerChanged,
    Recorded,
    ReplySent,
    SentenceReleased,
    SlotRequested,
    TurnFailed,
    TurnMerged,
    kind_of,
    to_json,
)
from frontdesk.domain.knowledge import Citation, Document
from frontdesk.domain.tenancy import Role
from frontdesk.knowledge.library import SyncReport
from frontdesk.rights.erasing import Receipt

_FOR_CUSTOMERS = (
    ConversationOpened,
    MessageReceived,
    SentenceReleased,
    SlotRequested,
    ReplySent,
    HandedOff,
    OwnerChanged,
    AgentReplied,
    TurnFailed,
    TurnMerged,
)
_STAFF_ONLY = {"summary", "facts", "note", "reason", "arguments", "operation", "customer", "tool_calls", "idempotency_key"}


class Problem(BaseModel):
    """What went wrong; `code` is stable."""

    code: str
    message: str
    request_id: str = ""


class ProblemBody(BaseModel):
    """Every error of the native API."""

    error: Problem


class OpenAIProblem(BaseModel):
    """What went wrong, as OpenAI's clients read it."""

    message: str
    type: str
    code: str | None
    param: str | None


class OpenAIProblemBody(BaseModel):
    """Every error below /v1."""

    error: OpenAIProblem


class Given(BaseModel):
    """A body that refuses fields it does not know."""

    model_config = ConfigDict(extra="forbid")


class MessageIn(Given):
    """Something the customer says."""

    text: str


class AgentMessageIn(Given):
    """Something a human agent says."""

    agent: Annotated[str, Field(min_length=1, max_length=100)]
    text: str


class OwnerIn(Given):
    """Who shall speak to the customer: `agent` claims, `desk` returns, `queue` asks for another human, `closed` ends."""

    owner: Owner
    agent: Annotated[str, Field(max_length=100)] = ""
    note: Annotated[str, Field(max_length=2000)] = ""
    expected: Owner | None = None


class KeyIn(Given):
    """A key to make."""

    role: Role = Role.SERVER
    label: Annotated[str, Field(max_length=100)] = ""


class Opened(BaseModel):
    """A new conversation."""

    conversation_id: str


class Accepted(BaseModel):
    """A message that is kept; its answer comes as events."""

    conversation_id: str
    turn_id: str
    seq: int


class CitationOut(BaseModel):
    """Where a statement stands, word for word."""

    source: str
    title: str
    quote: str

    @classmethod
    def of(cls, citation: Citation) -> Self:
        """The citation without its index keys."""
        return cls(source=citation.source, title=citation.title, quote=citation.quote)


class UtteranceOut(BaseModel):
    """One thing said."""

    speaker: Speaker
    text: str
    turn_id: str
    at: datetime
    route: Route | None
    citations: list[CitationOut]


class ConversationOut(BaseModel):
    """One conversation as far as it went."""

    conversation_id: str
    owner: Owner
    agent: str
    customer: str | None
    opened_at: datetime
    utterances: list[UtteranceOut]
    waiting_for: str | None

    @classmethod
    def of(cls, conversation: Conversation) -> Self:
        """The fold of the conversation's events, for reading."""
        said = [
            UtteranceOut(
                speaker=u.speaker, text=u.text, turn_id=u.turn, at=u.at, route=u.route, citations=[CitationOut.of(c) for c in u.citations]
            )
            for u in conversation.utterances
        ]
        return cls(
            conversation_id=conversation.id,
            owner=conversation.owner,
            agent=conversation.agent,
            customer=conversation.customer,
            opened_at=conversation.opened_at,
            utterances=said,
            waiting_for=conversation.pending.question if conversation.pending else None,
        )


class DocumentOut(BaseModel):
    """One source of knowledge in its current version."""

    source: str
    title: str
    version: int
    passages: int
    quarantined: int
    updated_at: datetime

    @classmethod
    def of(cls, document: Document) -> Self:
        """The document without its index keys."""
        return cls(
            source=document.source,
            title=document.title,
            version=document.version,
            passages=document.passages,
            quarantined=document.quarantined,
            updated_at=document.updated_at,
        )


class Failure(BaseModel):
    """A file that could not be used."""

    source: str
    reason: str


class Quarantined(BaseModel):
    """A passage that reads like an instruction to the model and therefore answers nothing."""

    source: str
    text: str


class SyncOut(BaseModel):
    """What a sync changed, as sources; `embedded` counts passages whose vector was computed, `reused` those whose was known."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    unchanged: list[str]
    quarantined: list[Quarantined]
    failed: list[Failure]
    embedded: int
    reused: int

    @classmethod
    def of(cls, report: SyncReport) -> Self:
        """The report of `knowledge.library`, for reading."""
        return cls(
            added=list(report.added),
            changed=list(report.changed),
            removed=list(report.removed),
            unchanged=list(report.unchanged),
            quarantined=[Quarantined(source=source, text=text) for source, text in report.quarantined],
            failed=[Failure(source=source, reason=reason) for source, reason in report.failed],
            embedded=report.embedded,
            reused=report.reused,
        )


class NewKey(BaseModel):
    """A key, shown this once."""

    key: str
    role: Role
    label: str


class ExportedConversation(BaseModel):
    """One conversation, whole."""

    conversation_id: str
    opened_at: datetime
    events: list[dict[str, Any]]
    derived: dict[str, list[dict[str, Any]]] = {}
    """What was worked out from it: `tone`, `score`, `label`, `ledger`, `gap`."""


class ExportOut(BaseModel):
    """Everything kept about one customer."""

    customer: str
    conversations: list[ExportedConversation]


class ReceiptOut(BaseModel):
    """What was erased where. `sha256` is over the other fields but `audit`, which is the head of the audit chain that holds it."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    at: str
    reason: str
    conversations: int
    places: dict[str, int]
    retrain: list[str]
    sha256: str
    audit: str


class Erased(BaseModel):
    """What was forgotten."""

    conversations: int
    receipt: ReceiptOut

    @classmethod
    def of(cls, receipt: Receipt) -> Erased:
        """As a customer gets it."""
        return cls(conversations=receipt.conversations, receipt=ReceiptOut.model_validate(receipt))


class CorrectionIn(Given):
    """What a customer's message should have said."""

    turn_id: str
    text: str


def event_body(recorded: Recorded, role: Role) -> dict[str, Any] | None:
    """An event for a stream, or None when this role has no business with it.

    Widgets run on customers' machines: they get what the customer may see, never drafts, scores, summaries or the reasons of failures.
    """
    place = {"seq": recorded.seq, "turn_id": str(recorded.turn), "at": recorded.at.isoformat()}
    if role is not Role.WIDGET:
        return {**to_json(recorded.event), **place}
    if not isinstance(recorded.event, _FOR_CUSTOMERS):
        return None
    body = _without(to_json(recorded.event))
    if isinstance(recorded.event, ReplySent):
        # The calls themselves are not for browsers; that the answer holds data read just now is.
        body["live"] = any(call.error is None for call in recorded.event.tool_calls)
    return {**body, "kind": kind_of(recorded.event), **place}


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without(v) for k, v in value.items() if k not in _STAFF_ONLY}
    return [_without(v) for v in value] if isinstance(value, list) else value
