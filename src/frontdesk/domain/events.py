"""The one vocabulary: what can happen in a turn, as frozen events with a versioned JSON codec. Refuses unknown kinds and newer versions.

An event says what happened, never what to do. The store appends events, channels stream them, analytics folds them, training exports
them, rehearsal scores them. Adding a field with a default keeps the version; any other change raises it and adds an upgrade step.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar

from frontdesk.domain.conversation import ConversationId, Pending, Route, ToolCall, TurnId
from frontdesk.domain.knowledge import Citation
from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events."""

    version: ClassVar[int] = 1


@dataclass(frozen=True, kw_only=True)
class ConversationOpened(Event):
    """A first message opened a conversation."""

    channel: str
    customer: str | None = None
    desk: str = ""
    """Version of the desk that opened it."""


@dataclass(frozen=True, kw_only=True)
class MessageReceived(Event):
    """The customer said something. From here on it is never lost."""

    text: str
    channel: str = "api"
    idempotency_key: str | None = None


@dataclass(frozen=True, kw_only=True)
class MessageCorrected(Event):
    """The customer put right what is on record as said in one of their messages. The earlier wording stays until it is erased."""

    turn: str
    """Turn of the message."""
    text: str


@dataclass(frozen=True, kw_only=True)
class IntentRecognized(Event):
    """What the message is about. `confidence` is calibrated, in [0, 1]."""

    route: Route
    name: str
    confidence: float
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class QuestionUnderstood(Event):
    """A message rewritten to stand alone, from what was said before; one part for each thing asked."""

    parts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PassagesRetrieved(Event):
    """What search found for one question."""

    question: str
    passages: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SlotRequested(Event):
    """The desk asked for a detail or a confirmation and waits for it."""

    pending: Pending


@dataclass(frozen=True, kw_only=True)
class SlotFilled(Event):
    """The customer gave a detail, or it was known already (`source`: said, profile, earlier, default)."""

    slot: str
    value: Any
    source: str = "said"


@dataclass(frozen=True, kw_only=True)
class ToolCalled(Event):
    """A call was made to the tenant's API or a built-in tool."""

    call: ToolCall
    milliseconds: float = 0.0
    writes: bool = False
    text: str = ""
    """The result as the platform rendered it; the only form in which a value may appear in a reply."""
    key: str = ""
    """Idempotency key of a call that acts."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Text of a draft in one piece. `forced`: put there by the platform, such as the result of a call; else the model's own."""

    text: str
    forced: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelPhrased(Event):
    """The language model wrote a draft. `sampled` counts its own tokens, `forced` those that were spliced in."""

    model: str
    draft: str
    sampled: int = 0
    forced: int = 0
    milliseconds: float = 0.0
    stretches: tuple[Stretch, ...] = ()
    """The whole text as the model was led through it, calls and results included; what was sampled and what was forced apart."""


@dataclass(frozen=True, kw_only=True)
class DraftRejected(Event):
    """A guardrail objected to a sentence; it was not sent."""

    sentence: str
    objection: str


@dataclass(frozen=True, kw_only=True)
class SentenceReleased(Event):
    """A sentence passed the guardrails and may be shown at once."""

    text: str


@dataclass(frozen=True, kw_only=True)
class ReplySent(Event):
    """The whole reply of a turn. Joining the released sentences gives the same text."""

    text: str
    route: Route
    confidence: float
    citations: tuple[Citation, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    handoff: bool = False
    language: str = "en"


@dataclass(frozen=True, kw_only=True)
class KnowledgeGapFound(Event):
    """A fair question that no source answers."""

    question: str
    best_source: str = ""
    best_score: float = 0.0


@dataclass(frozen=True, kw_only=True)
class HandedOff(Event):
    """The desk gave the conversation to the human queue."""

    category: str
    """requested, anger, repeated_failure, emergency, not_answerable, policy."""
    summary: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    promised: str = ""


@dataclass(frozen=True, kw_only=True)
class OwnerChanged(Event):
    """Who speaks to the customer changed: `desk`, `queue`, `agent` or `closed`."""

    owner: str
    agent: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class AgentReplied(Event):
    """A human agent answered the customer."""

    agent: str
    text: str


@dataclass(frozen=True, kw_only=True)
class SuggestionJudged(Event):
    """A human agent dealt with a suggested reply; what was made of it teaches."""

    agent: str
    suggestion: str
    outcome: str
    """accepted (sent as it was), edited (`sent` differs) or rejected."""
    sent: str = ""
    question: str = ""
    """What the customer had asked."""
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CustomerRated(Event):
    """The customer said how it went. Silence is no rating."""

    score: int | None = None
    """1 (bad) to 5 (good)."""
    solved: bool | None = None
    comment: str = ""


@dataclass(frozen=True, kw_only=True)
class TurnFailed(Event):
    """A turn ended without its own answer; the customer got `apology`."""

    reason: str
    apology: str = ""


@dataclass(frozen=True, kw_only=True)
class TurnMerged(Event):
    """A message of a burst was answered together with a later one."""

    into: TurnId


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """An event as the log holds it. `seq` grows by one within a conversation; `position` grows within the whole log."""

    position: int
    tenant: TenantId
    conversation: ConversationId
    turn: TurnId
    seq: int
    at: datetime
    event: Event

    @property
    def id(self) -> str:
        """Stable identity for deduplication: conversation and sequence number."""
        return f"{self.conversation}:{self.seq}"


def kind_of(event: Event | type[Event]) -> str:
    """The event's name in JSON: `MessageReceived` -> `message_received`."""
    name = event.__name__ if isinstance(event, type) else type(event).__name__
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@cache
def kinds() -> Mapping[str, type[Event]]:
    """All event classes by their JSON name."""
    return {kind_of(cls): cls for cls in Event.__subclasses__()}


def to_json(event: Event) -> dict[str, Any]:
    """The event as plain JSON values, with `kind` and `v`."""
    return {"kind": kind_of(event), "v": event.version, **_plain(event)}


def from_json(data: Mapping[str, Any]) -> Event:
    """The event that `to_json` wrote, in this or an older version.

    Raises BadInput for an unknown kind or a version from the future.
    """
    cls = kinds().get(str(data.get("kind")))
    if cls is None:
        raise BadInput(f"unknown event kind {data.get('kind')!r}: this log was written by another program or a newer version")
    if int(data.get("v", 0)) > cls.version:
        raise BadInput(f"event {data['kind']} has version {data['v']}, this program knows {cls.version}: upgrade frontdesk")
    built = _build(cls, data)
    assert isinstance(built, Event)  # noqa: S101 - cls is an Event subclass
    return built


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


Read = Callable[[Any], Any]


def _build(cls: type, data: Mapping[str, Any]) -> Any:
    known = {}
    for name, read in _readers(cls):
        if name in data:
            raw = data[name]
            known[name] = raw if read is None or raw is None else read(raw)
    return cls(**known)


@cache
def _readers(cls: type) -> tuple[tuple[str, Read | None], ...]:
    """For each field what its value in JSON has to go through, worked out once: logs are long."""
    hints = typing.get_type_hints(cls)
    return tuple((f.name, _reader(hints[f.name])) for f in dataclasses.fields(cls))


def _reader(hint: Any) -> Read | None:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _reader(next(a for a in args if a is not type(None)))
    if origin is tuple:
        return _tuple_of(_reader(args[0]))
    if origin is not None or not isinstance(hint, type):
        return None
    if dataclasses.is_dataclass(hint):
        return functools.partial(_build, hint)
    if issubclass(hint, datetime):
        return datetime.fromisoformat
    return hint if issubclass(hint, StrEnum | float) else None


def _tuple_of(read: Read | None) -> Read:
    if read is None:
        return tuple
    return lambda raw: tuple(None if r is None else read(r) for r in raw)
