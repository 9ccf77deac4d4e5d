"""Events and figures in plain words. Says only what an event says; every figure comes with what it is taken among."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from frontdesk.analytics.metrics import Reading
from frontdesk.domain.conversation import Owner, Route, ToolCall
from frontdesk.domain.events import (
    AgentReplied,
    ConversationOpened,
    CustomerRated,
    DraftRejected,
    Event,
    HandedOff,
    IntentRecognized,
    KnowledgeGapFound,
    MessageCorrected,
    MessageReceived,
    ModelPhrased,
    OwnerChanged,
    PassagesRetrieved,
    QuestionUnderstood,
    Recorded,
    ReplySent,
    SentenceReleased,
    SlotFilled,
    SlotRequested,
    SuggestionJudged,
    ToolCalled,
    TurnFailed,
    TurnMerged,
)
from frontdesk.domain.knowledge import Passage

ROUTES: Mapping[Route, str] = {
    Route.FAQ: "the FAQ",
    Route.KNOWLEDGE: "a document",
    Route.DYNAMIC: "live data",
    Route.ELICIT: "a question back",
    Route.SMALLTALK: "small talk",
    Route.HANDOFF: "a handoff to people",
    Route.REFUSE: "no answer",
}
OWNERS: Mapping[Owner, str] = {Owner.DESK: "the desk", Owner.QUEUE: "waiting for an agent", Owner.AGENT: "an agent", Owner.CLOSED: "closed"}
CATEGORIES = {
    "requested": "asked for a person",
    "anger": "angry",
    "repeated_failure": "not helped twice in a row",
    "emergency": "an emergency",
    "not_answerable": "no source answers it",
    "policy": "a matter for people by policy",
    "complaint": "a complaint",
}
SHOWN_PASSAGES = 4
LONGEST = 600


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that happened in a turn, for reading. `kind`: said, understood, searched, called, rejected, answered, people, trouble."""

    kind: str
    icon: str
    title: str
    text: str = ""
    lines: tuple[str, ...] = ()
    at: datetime | None = None


def steps(events: Sequence[Recorded], passages: Mapping[str, Passage]) -> list[Step]:
    """The events of a turn in plain words, in order. `passages` are those that were found, by id."""
    told = [_step(r.event, r.at, passages) for r in events]
    return [s for s in told if s is not None]


def needed(events: Sequence[Recorded]) -> list[str]:
    """Ids of the passages that `steps` names."""
    found = [p for r in events if isinstance(r.event, PassagesRetrieved) for p in r.event.passages[:SHOWN_PASSAGES]]
    return list(dict.fromkeys(found))


def _step(event: Event, at: datetime, passages: Mapping[str, Passage]) -> Step | None:
    make = _STEPS.get(type(event))
    if make is None:
        return None
    kind, icon, title, text, lines = make(event, passages)
    return Step(kind=kind, icon=icon, title=title, text=short(text, LONGEST), lines=tuple(short(x, LONGEST) for x in lines), at=at)


Told = tuple[str, str, str, str, Sequence[str]]


def _opened(e: ConversationOpened, _: Any) -> Told:
    who = f"customer {e.customer}" if e.customer else "a customer who is not signed in"
    return "said", "forum", "Conversation opened", f"By {who}, through {e.channel}.", ()


def _received(e: MessageReceived, _: Any) -> Told:
    return "said", "chat_bubble_outline", "The customer wrote", e.text, ()


def _intent(e: IntentRecognized, _: Any) -> Told:
    others = [f"{name}: {share:.0%}" for name, share in e.scores.items() if share >= 0.01][:5]
    return "understood", "psychology", f"Understood as {e.name}", f"Leads to {ROUTES[e.route]}; {e.confidence:.0%} sure.", others


def _understood(e: QuestionUnderstood, _: Any) -> Told:
    title = "Understood as one question" if len(e.parts) == 1 else f"Understood as {len(e.parts)} questions"
    return "understood", "help_outline", title, "", e.parts


def _searched(e: PassagesRetrieved, passages: Mapping[str, Passage]) -> Told:
    if not e.passages:
        return "searched", "search_off", "Searched, found nothing", e.question, ()
    lines = []
    for id in e.passages[:SHOWN_PASSAGES]:
        p = passages.get(id)
        lines.append(f"{place(p.source, p.title)}: {short(p.text, 140)}" if p else "a passage that is gone")
    more = len(e.passages) - len(lines)
    if more > 0:
        lines.append(f"and {more} more")
    return "searched", "search", f"Searched for “{short(e.question, 120)}”", "", lines


def _called(e: ToolCalled, _: Any) -> Told:
    call = e.call
    title = ("Changed something: " if e.writes else "Looked up: ") + call.name
    if call.error:
        return "trouble", "cloud_off", f"{title} failed", call.error, _arguments(call)
    text = f"{e.text or result(call.result)} ({e.milliseconds / 1000:.2f} s)"
    return "called", "bolt" if e.writes else "cloud_sync", title, text, _arguments(call)


def _rejected(e: DraftRejected, _: Any) -> Told:
    return "rejected", "block", "Kept back a sentence", f"“{e.sentence}”", (f"Objection: {e.objection}",)


def _phrased(e: ModelPhrased, _: Any) -> Told:
    return "understood", "edit_note", f"Wording proposed by {e.model}", e.draft, (f"{e.sampled} tokens, {e.milliseconds / 1000:.2f} s",)


def _requested(e: SlotRequested, _: Any) -> Told:
    choices = [f"Choice: {c}" for c in e.pending.choices]
    title = "Asked for a yes" if e.pending.kind == "confirm" else "Asked for a detail"
    return "understood", "live_help", title, e.pending.question, choices


def _filled(e: SlotFilled, _: Any) -> Told:
    sources = {"said": "the customer said so", "profile": "from the customer's record", "earlier": "said earlier", "default": "by default"}
    return "understood", "check_circle_outline", f"{e.slot}: {e.value}", sources.get(e.source, e.source), ()


def _replied(e: ReplySent, _: Any) -> Told:
    lines = [f"Source: {place(c.source, c.title)}: “{short(c.quote, 200)}”" for c in e.citations]
    return "answered", "reply", f"Answered from {ROUTES[e.route]}, {e.confidence:.0%} sure", e.text, lines


def _gap(e: KnowledgeGapFound, _: Any) -> Told:
    near = f"Nearest source: {e.best_source} ({e.best_score:.0%} likely, too little)." if e.best_source else "No source came near."
    return "trouble", "lightbulb_outline", "No source answers this", e.question, (near,)


def _handed(e: HandedOff, _: Any) -> Told:
    facts = [f"{k}: {v}" for k, v in e.facts.items()]
    promised = [f"Promised to the customer: {e.promised}"] if e.promised else []
    return "people", "support_agent", f"Handed over: {CATEGORIES.get(e.category, e.category)}", e.summary, [*facts, *promised]


def _owner(e: OwnerChanged, _: Any) -> Told:
    words = {
        "desk": "Returned to the desk",
        "queue": "Put into the queue",
        "agent": f"Taken by {e.agent or 'an agent'}",
        "closed": "Closed",
    }
    return "people", "swap_horiz", words.get(e.owner, e.owner), e.note, ()


def _agent(e: AgentReplied, _: Any) -> Told:
    return "people", "support_agent", f"{e.agent or 'An agent'} answered", e.text, ()


def _judged(e: SuggestionJudged, _: Any) -> Told:
    words = {"accepted": "Suggestion sent as it was", "edited": "Suggestion sent with changes", "rejected": "Suggestion turned down"}
    return "people", "rate_review", words.get(e.outcome, e.outcome), e.suggestion, ()


def _rated(e: CustomerRated, _: Any) -> Told:
    said = [f"{e.score} of 5"] if e.score else []
    said += ["solved" if e.solved else "not solved"] if e.solved is not None else []
    return "said", "star_outline", "The customer says: " + (", ".join(said) or "a comment"), e.comment, ()


def _corrected(e: MessageCorrected, _: Any) -> Told:
    return "said", "edit", "The customer put right what is on record", e.text, ()


def _failed(e: TurnFailed, _: Any) -> Told:
    return "trouble", "error_outline", "The turn failed", e.reason, (f"The customer got: {e.apology}",) if e.apology else ()


def _merged(_e: TurnMerged, _: Any) -> Told:
    return "said", "merge", "Answered together with the next message", "", ()


_STEPS: Mapping[type[Event], Any] = {
    ConversationOpened: _opened,
    MessageReceived: _received,
    IntentRecognized: _intent,
    QuestionUnderstood: _understood,
    PassagesRetrieved: _searched,
    ToolCalled: _called,
    DraftRejected: _rejected,
    ModelPhrased: _phrased,
    SlotRequested: _requested,
    SlotFilled: _filled,
    ReplySent: _replied,
    KnowledgeGapFound: _gap,
    HandedOff: _handed,
    OwnerChanged: _owner,
    AgentReplied: _agent,
    SuggestionJudged: _judged,
    CustomerRated: _rated,
    TurnFailed: _failed,
    TurnMerged: _merged,
    MessageCorrected: _corrected,
}
SILENT: tuple[type[Event], ...] = (SentenceReleased,)
"""Events that tell nothing beside another: a reply says what its sentences said."""


def _arguments(call: ToolCall) -> list[str]:
    return [f"{name} = {result(value)}" for name, value in call.arguments.items()]


def result(value: Any) -> str:
    """A value of an API in plain words, short."""
    return short(_plain(value), 300)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):  # what is not known is left out
        return ", ".join(f"{spoken(str(name)).lower()} {_plain(v)}" for name, v in value.items() if v not in (None, "", [], {})) or "none"
    if isinstance(value, list | tuple):
        return ("; " if any(isinstance(v, Mapping) for v in value) else ", ").join(map(_plain, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def spoken(name: str) -> str:
    """The name of an operation or field as words: getProfile and get_profile are "Get profile"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_-]+", " ", name).strip().capitalize()


def place(source: str, title: str) -> str:
    """Where something stands."""
    return f"FAQ “{title}”" if source == "faq" else f"{title} ({source})" if title and title != source else source


def short(text: str, most: int) -> str:
    """At most so many characters."""
    flat = text.strip()
    return flat if len(flat) <= most else flat[: most - 1].rstrip() + "…"


def value_of(reading: Reading) -> str:
    """A figure's value with its unit; a dash when there is nothing to count among."""
    return amount(reading.value, reading.figure.unit)


def amount(value: float | None, unit: str) -> str:
    """A value with its unit; a dash for none."""
    if value is None:
        return "–"
    if unit == "share":
        return f"{value:.0%}"
    if unit == "seconds":
        return duration(value)
    return f"{value:.1f}" if unit in ("score", "count") else f"{value:,.0f}"


def basis_of(reading: Reading) -> str:
    """What a figure is taken among."""
    if not reading.among:
        return "nothing to count yet"
    if reading.figure.counts is None:
        return f"over {reading.among} conversation{'s' * (reading.among != 1)}"
    bounds = "" if reading.low is None or reading.high is None else f", {reading.low:.0%} to {reading.high:.0%}"
    return f"{reading.count} of {reading.among}{bounds}"


def duration(seconds: float) -> str:
    """Seconds for people: 0.42 s, 12 s, 4 min, 3 h, 2 d."""
    for most, size, unit in ((1, 1, "s"), (90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < most:
            return (
                f"{seconds / size:.2f} {unit}"
                if most == 1
                else f"{seconds / size:.0f} {unit}"
                if seconds >= 10 or size > 1
                else f"{seconds:.1f} s"
            )
    return f"{seconds / 86_400:.0f} d"


def ago(at: datetime, now: datetime | None = None) -> str:
    """How long ago, for people."""
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    return "just now" if seconds < 5 else f"{duration(round(max(seconds, 10), -1) if seconds < 90 else seconds)} ago"


def face(score: float | None) -> str:
    """A tone as a word."""
    if score is None:
        return "not heard yet"
    return "positive" if score > 0.25 else "negative" if score < -0.25 else "neutral"
