"""What many conversations and the knowledge behind them show: themes and what rises, drafts for gaps, recalls.

Nothing is decided here: each finding comes with what it rests on, for an operator to look at. What contradicts itself: see `contradictions`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from frontdesk.analytics.contradictions import sentences_of, words_of
from frontdesk.domain.conversation import ConversationId
from frontdesk.domain.events import AgentReplied, KnowledgeGapFound, MessageReceived, Recorded, ReplySent
from frontdesk.domain.folding import as_corrected
from frontdesk.domain.knowledge import FaqPair, Hit, Passage
from frontdesk.domain.tenancy import CustomerId
from frontdesk.models.protocols import Embedder, Vectors

APART = 0.52
"""Cosine distance up to which questions belong to one theme (average linkage)."""
SAMPLE = 2000
"""Questions that are clustered among each other; the rest join the nearest theme."""
RISES = 1.5
"""Times as many as before, from which a theme rises; and not by chance."""

_WORD = re.compile(r"[^\W\d_]{3,}")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request of a customer."""

    conversation: ConversationId
    at: datetime
    text: str
    tone: float = 0.0
    gap: bool = False


@dataclass(frozen=True, kw_only=True)
class Theme:
    """What many ask about. `before` and `lately` count the two halves of the period; a theme rises when that is not by chance."""

    words: tuple[str, ...]
    example: str
    """The request nearest to the middle."""
    examples: tuple[str, ...]
    count: int
    share: float
    before: int
    lately: int
    rising: bool
    tone: float
    gaps: int
    conversations: tuple[ConversationId, ...] = field(repr=False, default=())


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A drafted FAQ pair for a gap. `basis`: agent (what a human answered), passage (the nearest text, unsure), or empty (nothing found)."""

    question: str
    answer: str
    basis: str
    source: str = ""
    conversation: ConversationId | None = None
    likeness: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Told:
    """Somebody who was told what does not stand there any more."""

    conversation: ConversationId
    customer: CustomerId | None
    at: datetime
    source: str
    title: str
    quote: str
    now: str
    """What stands there now, as near as it can be found; empty when nothing does."""
    correction: str
    """A message to send, for a person to read first."""


def requests_in(events: Iterable[Recorded]) -> list[Asked]:
    """The requests among events of many conversations: messages that ask for something, and whether no source answered."""
    told = as_corrected(sorted(events, key=lambda r: r.position))
    gaps = {(r.conversation, r.turn) for r in told if isinstance(r.event, KnowledgeGapFound)}
    return [
        Asked(conversation=r.conversation, at=r.at, text=" ".join(r.event.text.split())[:400], gap=(r.conversation, r.turn) in gaps)
        for r in told
        if isinstance(r.event, MessageReceived) and len(_WORD.findall(r.event.text)) >= 3
    ]


def themes(asked: Sequence[Asked], vectors: Vectors, *, least: int = 3) -> list[Theme]:
    """Themes of at least `least` requests, the most frequent first. `vectors` (len(asked), dimensions), unit length. Repeatable."""
    if len(asked) < max(2, least):
        return []
    from sklearn.cluster import AgglomerativeClustering  # most of a start, and seldom needed

    rows = np.asarray(vectors, np.float32)
    step = max(1, math.ceil(len(asked) / SAMPLE))
    sample = np.arange(0, len(asked), step)
    groups = AgglomerativeClustering(n_clusters=None, distance_threshold=APART, metric="cosine", linkage="average").fit_predict(
        rows[sample]
    )
    labels = np.full(len(asked), -1)
    labels[sample] = groups
    centres = np.stack([_unit(rows[sample][groups == g].mean(axis=0)) for g in range(groups.max() + 1)])
    rest = np.flatnonzero(labels < 0)
    if len(rest):
        near = rows[rest] @ centres.T
        labels[rest] = np.where(near.max(axis=1) >= 1 - APART, near.argmax(axis=1), -1)
    middle = _middle([a.at for a in asked])
    everywhere = Counter(w for a in asked for w in set(words_of(a.text)))
    found = [
        _theme([asked[int(i)] for i in np.flatnonzero(labels == g)], rows[labels == g] @ centres[g], everywhere, len(asked), middle)
        for g in range(len(centres))
        if (labels == g).sum() >= least
    ]
    return sorted(found, key=lambda t: (-t.count, t.example))


async def draft_faq(question: str, events: Iterable[Recorded], hits: Sequence[Hit], embedder: Embedder, *, least: float = 0.5) -> Draft:
    """A pair for a gap: what an agent answered to a like question after the desk could not, else the nearest passage, for an operator.

    `events`: messages, gaps and agents' replies of many conversations. Raises ModelUnavailable.
    """
    answered = _agents_answers(events)
    if answered:
        vectors = await embedder.embed([question, *(a[0] for a in answered)])
        likeness = vectors[1:] @ vectors[0]
        best = int(likeness.argmax())
        if likeness[best] >= least:
            _, reply, conversation = answered[best]
            return Draft(
                question=_as_question(question),
                answer=reply,
                basis="agent",
                conversation=conversation,
                likeness=round(float(likeness[best]), 3),
            )
    if hits and hits[0].cosine >= least / 2:
        near = hits[0]
        return Draft(
            question=_as_question(question), answer=near.passage.text[:600], basis="passage", source=near.passage.source,
            likeness=round(near.cosine, 3),
        )  # fmt: skip
    return Draft(question=_as_question(question), answer="", basis="")


def recalls(told: Iterable[tuple[Recorded, CustomerId | None]], current: Sequence[Passage], *, company: str = "") -> list[Told]:
    """Who was told, with a citation of it, text that does not stand in `current` (all passages of now) any more; the newest first."""
    by_source: dict[str, list[Passage]] = {}
    for passage in current:
        by_source.setdefault(passage.source, []).append(passage)
    held = {source: _flat(" ".join(f"{p.title} {p.text}" for p in own)) for source, own in by_source.items()}
    found = []
    for recorded, customer in told:
        if not isinstance(recorded.event, ReplySent):
            continue
        for c in recorded.event.citations:
            own = by_source.get(c.source, [])
            here = [p for p in own if p.title == c.title] if c.source == "faq" else own
            if _flat(c.quote) in (held.get(c.source, "") if c.source != "faq" else _flat(" ".join(p.text for p in here))):
                continue
            now = _nearest(c.quote, here)
            found.append(
                Told(
                    conversation=recorded.conversation, customer=customer, at=recorded.at, source=c.source, title=c.title, quote=c.quote,
                    now=now, correction=_correction(recorded.at, c.quote, now, company),
                )
            )  # fmt: skip
    return found


def as_pair(draft: Draft) -> FaqPair:
    """The draft as it would be published."""
    return FaqPair(question=draft.question, answer=draft.answer)


# --- themes ---


def _theme(asked: Sequence[Asked], nearness: NDArray[np.float32], everywhere: Counter[str], total: int, middle: datetime) -> Theme:
    order = np.argsort(-nearness, kind="stable")
    counts = Counter(w for a in asked for w in set(words_of(a.text)))
    weight = {w: n / len(asked) * math.log(1 + total / everywhere[w]) for w, n in counts.items() if n > 1 or len(asked) < 4}
    lately = sum(a.at >= middle for a in asked)
    before = len(asked) - lately
    return Theme(
        words=tuple(sorted(weight, key=lambda w: (-weight[w], w))[:5]),
        example=asked[int(order[0])].text,
        examples=tuple(dict.fromkeys(asked[int(i)].text for i in order))[:5],
        count=len(asked),
        share=round(len(asked) / total, 4),
        before=before,
        lately=lately,
        rising=lately >= RISES * max(before, 1) and (lately - before) / math.sqrt(max(1, lately + before)) >= 1.96,
        tone=round(sum(a.tone for a in asked) / len(asked), 3),
        gaps=sum(a.gap for a in asked),
        conversations=tuple(dict.fromkeys(a.conversation for a in asked)),
    )


def _middle(times: Sequence[datetime]) -> datetime:
    first, last = min(times), max(times)
    return first + (last - first) / 2 if last > first else last


def _unit(row: NDArray[np.float32]) -> NDArray[np.float32]:
    return row / max(float(np.linalg.norm(row)), 1e-9)


# --- drafts and recalls ---


def _agents_answers(events: Iterable[Recorded]) -> list[tuple[str, str, ConversationId]]:
    """What a customer asked in vain, and the first thing of substance that an agent then said."""
    waiting: dict[ConversationId, str] = {}
    found = []
    for recorded in sorted(events, key=lambda r: r.position):
        if isinstance(recorded.event, KnowledgeGapFound):
            waiting[recorded.conversation] = recorded.event.question
        elif isinstance(recorded.event, AgentReplied) and recorded.conversation in waiting and len(_WORD.findall(recorded.event.text)) >= 5:
            found.append((waiting.pop(recorded.conversation), " ".join(recorded.event.text.split()), recorded.conversation))
    return found


def _as_question(text: str) -> str:
    flat = " ".join(text.split()).strip()
    return flat if flat.endswith("?") else f"{flat.rstrip('.!')}?"


def _flat(text: str) -> str:
    return " ".join(re.sub(r"[*_`|]", " ", text).casefold().split())


def _nearest(quote: str, passages: Sequence[Passage]) -> str:
    wanted = set(words_of(quote))
    best, most = "", 0.0
    for passage in passages:
        for sentence in sentences_of(passage):
            own = set(words_of(sentence))
            likeness = len(wanted & own) / max(1, len(wanted | own))
            if likeness > most:
                best, most = sentence, likeness
    return best if most >= 0.25 else ""


def _correction(at: datetime, quote: str, now: str, company: str) -> str:
    said = f"On {at.astimezone(UTC):%d %B %Y} we told you: “{' '.join(quote.split())}”."
    then = f"This has changed. It now reads: “{' '.join(now.split())}”." if now else "This does not apply any more."
    return f"{said} {then}{f' {company}' if company else ''}".strip()
