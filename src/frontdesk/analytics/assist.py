"""Help for an agent who owns a conversation: replies to send, what they rest on, the customer's record, what to ask, what to watch.

Suggestions are quotations of approved answers and passages, and what agents sent before in answer to the same; nothing is made up, and
nothing is sent by itself. What an agent makes of a suggestion (sent, edited, rejected) is an event and changes the next ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any, Protocol

import yaml

from frontdesk.analytics.contradictions import sentences_of
from frontdesk.analytics.sentiment import Sentiment, trend
from frontdesk.analytics.summary import Summary, claims, evidence, line
from frontdesk.analytics.words import says
from frontdesk.domain.events import (
    AgentReplied,
    HandedOff,
    KnowledgeGapFound,
    MessageReceived,
    Recorded,
    ReplySent,
    SlotFilled,
    SlotRequested,
    SuggestionJudged,
    ToolCalled,
    TurnFailed,
)
from frontdesk.domain.knowledge import Hit, PassageKind
from frontdesk.domain.privacy import mask_personal_data
from frontdesk.domain.tenancy import TenantId
from frontdesk.models.protocols import Embedder

OBJECTIONS = ("price", "time", "trust", "rival", "fit")
LIKE = 0.72
"""Likeness of two questions from which what was sent to one is suggested for the other."""
NEAR = 0.35
"""Likeness from which a passage is worth showing."""
UPSET = -0.5
WAIT = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A reply to send as it is or to edit. `basis`: faq, passage or agent (sent before in answer to the like)."""

    text: str
    basis: str
    source: str = ""
    title: str = ""
    likeness: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Objection:
    """A doubt in the customer's words, and ways to answer it."""

    kind: str
    said: str
    ways: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Something to act on now. `turn` is the event's sequence number."""

    kind: str
    """upset, falling, waiting, repeated, human, promise."""
    text: str
    seq: int = 0


@dataclass(frozen=True, kw_only=True)
class Remark:
    """Something about a reply's wording, before it is sent."""

    kind: str
    quote: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class Help:
    """Everything beside one conversation."""

    question: str
    """What the customer waits for an answer to; empty when nothing."""
    suggestions: tuple[Suggestion, ...]
    passages: tuple[Hit, ...]
    record: Mapping[str, Any]
    """What is known of the customer and the matter: details given, results of calls."""
    next_question: str
    customer_questions: tuple[str, ...]
    """What customers with this matter also ask, as the FAQ has it."""
    objections: tuple[Objection, ...]
    alerts: tuple[Alert, ...]


class Finder(Protocol):
    """What finds passages, as `knowledge.library.Library` does."""

    async def search(self, tenant: TenantId, question: str, *, limit: int = 8) -> list[Hit]:
        """The best passages, best first."""
        ...


async def help_with(
    tenant: TenantId,
    events: Sequence[Recorded],
    *,
    library: Finder | None,
    embedder: Embedder | None,
    sentiment: Sentiment,
    taught: Sequence[SuggestionJudged] = (),
    now: datetime,
) -> Help:
    """The help for one conversation's events (in order). `taught`: what agents made of earlier suggestions of this tenant.

    Raises ModelUnavailable and StoreUnavailable.
    """
    question = open_question(events)
    hits = await library.search(tenant, question, limit=6) if library is not None and question else []
    good = tuple(h for h in hits if h.cosine >= NEAR or h.words >= 0.5)
    tones = sentiment.of([r.event.text for r in events if isinstance(r.event, MessageReceived)])
    return Help(
        question=question,
        suggestions=await _suggestions(question, good, taught, embedder),
        passages=good,
        record=record_of(events),
        next_question=next_question(events, upset=bool(tones) and tones[-1].score <= UPSET),
        customer_questions=tuple(h.passage.title for h in good[1:] if h.passage.kind is PassageKind.FAQ)[:3],
        objections=objections_in(events),
        alerts=alerts_in(events, [t.score for t in tones], now=now),
    )


def open_question(events: Sequence[Recorded]) -> str:
    """The customer's words since the last answer of a human (or, before any, the last that asked something)."""
    waiting: list[str] = []
    last = ""
    for recorded in events:
        if isinstance(recorded.event, MessageReceived):
            waiting.append(recorded.event.text)
            last = recorded.event.text if len(re.findall(r"\w{3,}", recorded.event.text)) > 2 else last
        elif isinstance(recorded.event, AgentReplied):
            waiting, last = [], ""
        elif isinstance(recorded.event, ReplySent) and not recorded.event.handoff:
            waiting = []
    return " ".join(" ".join(waiting[-3:]).split())[-1000:] or " ".join(last.split())[-1000:]


def record_of(events: Sequence[Recorded]) -> dict[str, Any]:
    """Details that the customer gave and results of calls that succeeded, the newest of each name."""
    known: dict[str, Any] = {}
    for recorded in events:
        match recorded.event:
            case SlotFilled(slot=slot, value=value):
                known[slot] = value
            case HandedOff(facts=facts):
                known.update(facts)
            case ToolCalled(call=call) if call.error is None:
                known[call.name] = call.result
    return known


def next_question(events: Sequence[Recorded], *, upset: bool = False) -> str:
    """What to ask next: the detail that is still missing, else what the state of things calls for."""
    told = [r.event for r in events]
    questions = texts()["questions"]
    missing = ""
    state = "start"
    for event in told:
        match event:
            case SlotRequested(pending=pending):
                missing = pending.question
            case SlotFilled():
                missing = ""
            case KnowledgeGapFound():
                state = "gap"
            case TurnFailed():
                state = "failed"
            case ToolCalled(call=call) if call.error is not None:
                state = "failed"
            case AgentReplied(text=text):
                state, missing = ("promised" if says("promise", text) and not says("deadline", text) else "answered"), ""
            case ReplySent(citations=citations, tool_calls=calls) if citations or calls:
                state = "answered"
            case MessageReceived(text=text) if says("unsolved", text):
                state = "unsolved"
    if missing:
        return missing
    return str(questions["upset" if upset and state != "start" else state])


def objections_in(events: Sequence[Recorded], *, last: int = 3) -> tuple[Objection, ...]:
    """Doubts in the customer's last messages."""
    messages = [r.event.text for r in events if isinstance(r.event, MessageReceived)][-last:]
    found = {kind: said for text in messages for kind in OBJECTIONS if (said := says(kind, text))}
    return tuple(Objection(kind=kind, said=said, ways=tuple(texts()["objections"][kind])) for kind, said in found.items())


def alerts_in(events: Sequence[Recorded], tones: Sequence[float], *, now: datetime) -> tuple[Alert, ...]:
    """What to act on now. `tones`: of the customer's messages, in order."""
    asked = [r for r in events if isinstance(r.event, MessageReceived)]
    answers = [r for r in events if isinstance(r.event, AgentReplied | ReplySent)]
    found: list[Alert] = []
    if asked and tones and tones[-1] <= UPSET:
        found.append(Alert(kind="upset", text="The last message sounds upset.", seq=asked[-1].seq))
    moved = trend(tones)
    if moved.direction == "worse":
        at = asked[moved.turning_point].seq if moved.turning_point is not None and moved.turning_point < len(asked) else 0
        found.append(Alert(kind="falling", text="The customer's tone has become worse in the course of the conversation.", seq=at))
    if asked and not any(a.seq > asked[-1].seq for a in answers) and now - asked[-1].at > WAIT:
        minutes = int((now - asked[-1].at).total_seconds() // 60)
        found.append(Alert(kind="waiting", text=f"The customer has been waiting for {minutes} minutes.", seq=asked[-1].seq))
    again = [r for r in asked if isinstance(r.event, MessageReceived) and says("unsolved", r.event.text)]
    if again:
        found.append(Alert(kind="repeated", text="The customer says that it is not solved.", seq=again[-1].seq))
    last = events[-1] if events else None
    if (
        last is not None
        and isinstance(last.event, AgentReplied)
        and says("promise", last.event.text)
        and not says("deadline", last.event.text)
    ):
        found.append(Alert(kind="promise", text="You promised something without saying by when.", seq=last.seq))
    return tuple(found)


def check_wording(text: str, events: Sequence[Recorded] = (), *, upset: bool = False, sources: Sequence[str] = ()) -> list[Remark]:
    """What is better said otherwise in a reply before it is sent. Checks wording and figures, never taste. Empty text has no remark.

    `sources`: texts, beside the conversation, in which figures may stand.
    """
    advice = texts()["advice"]
    found = [
        Remark(kind=kind, quote=said, advice=advice[kind])
        for kind in ("insult", "blame", "absolute", "unsure")
        if (said := says(kind, text))
    ]
    held = " ".join([*(evidence(r.event) for r in events), *sources]).replace(",", "").casefold()
    if held:
        numbers = dict.fromkeys(c for c in claims(text) if c[0].isdigit() and len(c) > 1)
        found += [
            Remark(kind="figure", quote=n, advice=advice["figure"]) for n in numbers if not _stands(n.replace(",", "").casefold(), held)
        ]
    if mask_personal_data(text) != text:
        found.append(Remark(kind="personal", quote="", advice=advice["personal"]))
    found += [
        Remark(kind="shouting", quote=m[0], advice=advice["shouting"])
        for m in re.finditer(r"\b(?:[A-ZÄÖÜ]{4,}\s+){2,}[A-ZÄÖÜ]{4,}\b", text)
    ]
    found += [Remark(kind="long", quote=s[:80], advice=advice["long"]) for s in re.split(r"[.!?\n]", text) if len(s.split()) > 40]
    found += [
        Remark(kind="placeholder", quote=m[0], advice=advice["placeholder"])
        for m in re.finditer(r"\[[^\]\d]{2,30}\]|\{\w+\}|\bXXX+\b|<\w+>", text)
    ]
    if upset and text.strip() and not says("empathy", text):
        found.append(Remark(kind="empathy", quote="", advice=advice["empathy"]))
    if (said := says("promise", text)) and not says("deadline", text):
        found.append(Remark(kind="promise", quote=said, advice=advice["promise"]))
    return found


def _stands(figure: str, text: str) -> bool:
    """Whether the figure is in the text as itself: 50 is not in A-501."""
    return re.search(rf"(?<![\d.]){re.escape(figure)}(?:\.0+)?(?!\.?\d)", text) is not None


def closing_note(summary: Summary, agent: str = "") -> str:
    """A note for the record: what it was about, what was done, how it stands, what is promised. Every line with its turns."""
    done = [s for s in summary.done if s.kind in ("done", "answered", "said", "handed_over", "gap", "failed")][-6:]
    lines = [f"About: {line(summary.reason)}", *(f"- {line(s)}" for s in done), f"Stands: {line(summary.ending)}"]
    lines += [f"Promised: {line(p)}" for p in summary.promises]
    return "\n".join([*lines, *([f"Noted by {agent}."] if agent else [])])


@cache
def texts() -> dict[str, Any]:
    """`assist.yaml`."""
    return dict(yaml.safe_load((resources.files(__package__) / "assist.yaml").read_text("utf-8")))


async def _suggestions(
    question: str, hits: Sequence[Hit], taught: Sequence[SuggestionJudged], embedder: Embedder | None
) -> tuple[Suggestion, ...]:
    found = [_quoted(hit) for hit in hits]
    learned: list[Suggestion] = []
    rejected: dict[str, float] = {}
    lessons = [t for t in taught if t.question][:400]
    if question and lessons and embedder is not None:
        vectors = await embedder.embed([question, *(t.question for t in lessons)])
        for lesson, likeness in zip(lessons, (vectors[1:] @ vectors[0]).tolist(), strict=True):
            if likeness < LIKE:
                continue
            if lesson.outcome == "rejected":
                rejected[lesson.suggestion] = max(likeness, rejected.get(lesson.suggestion, 0.0))
            else:
                learned.append(
                    Suggestion(
                        text=lesson.sent or lesson.suggestion, basis="agent", likeness=round(likeness, 3), source=", ".join(lesson.sources)
                    )
                )
    learned.sort(key=lambda s: -s.likeness)
    kept = {s.text: s for s in reversed([*learned[:2], *found]) if s.text not in rejected}
    ordered = sorted(kept.values(), key=lambda s: (-(s.likeness + 0.1 * (s.basis == "agent") + 0.05 * (s.basis == "faq")), s.text))
    return tuple(ordered[:3])


def _quoted(hit: Hit) -> Suggestion:
    passage = hit.passage
    text = passage.text
    if passage.kind is not PassageKind.FAQ:
        text = " ".join(sentences_of(passage)[:3])
    shown = Suggestion(
        text=text[:700], basis="faq" if passage.kind is PassageKind.FAQ else "passage", source=passage.source, title=passage.title
    )
    return replace(shown, likeness=round(hit.cosine, 3))
