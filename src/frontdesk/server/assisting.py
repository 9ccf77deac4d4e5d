"""The native API beside an agent's conversation and behind the knowledge: help, wording, suggestions; themes, contradictions, drafts, recalls.

Operator keys only. Nothing here changes knowledge but the acceptance of a draft, which an operator sends with the words to publish.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from frontdesk.analytics.assist import Help
from frontdesk.domain.conversation import ConversationId, TurnId
from frontdesk.domain.events import SuggestionJudged
from frontdesk.domain.tenancy import Caller
from frontdesk.errors import BadInput, Conflict, NotFound
from frontdesk.knowledge.tenants import load_faq
from frontdesk.server.access import Desk, Operator, Shared
from frontdesk.server.insight import Chosen, vars_of
from frontdesk.server.problems import NOWHERE, BadField
from frontdesk.server.views import Given, SyncOut
from frontdesk.server.wording import customer_message, plain_id
from frontdesk.store.store import TenantStore

router = APIRouter(prefix="/api", tags=["assist"])
LONGEST = 10_000
"""Characters of a reply or an answer."""


class HelpOut(BaseModel):
    """Everything beside a conversation."""

    question: str
    suggestions: list[dict[str, Any]]
    passages: list[dict[str, Any]]
    record: dict[str, Any]
    next_question: str
    customer_questions: list[str]
    objections: list[dict[str, Any]]
    alerts: list[dict[str, Any]]

    @classmethod
    def of(cls, found: Help) -> HelpOut:
        """The help, for reading."""
        passages = [
            {"source": h.passage.source, "title": h.passage.title, "text": h.passage.text, "likeness": round(h.cosine, 3)}
            for h in found.passages
        ]
        return cls(
            question=found.question,
            suggestions=[vars_of(s) for s in found.suggestions],
            passages=passages,
            record=dict(found.record),
            next_question=found.next_question,
            customer_questions=list(found.customer_questions),
            objections=[vars_of(o) for o in found.objections],
            alerts=[vars_of(a) for a in found.alerts],
        )


class JudgedIn(Given):
    """What an agent made of a suggestion. Nothing is sent to the customer by this."""

    agent: Annotated[str, Field(min_length=1, max_length=100)]
    suggestion: Annotated[str, Field(min_length=1, max_length=LONGEST)]
    outcome: Literal["accepted", "edited", "rejected"]
    sent: Annotated[str, Field(max_length=LONGEST)] = ""
    question: Annotated[str, Field(max_length=LONGEST)] = ""
    sources: Annotated[tuple[str, ...], Field(max_length=20)] = ()


class WordingIn(Given):
    """A reply before it is sent, and the conversation it is for."""

    text: Annotated[str, Field(max_length=LONGEST)]
    conversation_id: Annotated[str, Field(max_length=100)] = ""


class PairIn(Given):
    """An FAQ pair to publish in place of a gap."""

    question: str
    answer: str


class NoteOut(BaseModel):
    """A note for the record."""

    text: str


@router.get("/conversations/{conversation}/assist")
async def read_help(caller: Operator, desk: Shared, conversation: str) -> HelpOut:
    """Suggested replies with sources, passages, what is known, what to ask next, doubts to answer, alerts."""
    return HelpOut.of(await desk.analytics.help(caller.tenant, ConversationId(plain_id(conversation))))


@router.get("/conversations/{conversation}/note")
async def read_note(caller: Operator, desk: Shared, conversation: str, agent: Annotated[str, Query(max_length=100)] = "") -> NoteOut:
    """A closing note for the record: what it was about, what was done, how it stands, what is promised, with turns."""
    return NoteOut(text=await desk.analytics.closing_note(caller.tenant, ConversationId(plain_id(conversation)), agent))


@router.post("/conversations/{conversation}/suggestions", status_code=204)
async def judge_suggestion(caller: Operator, desk: Shared, conversation: str, body: JudgedIn) -> None:
    """Records that a suggestion was accepted, edited or rejected; the next suggestions learn from it."""
    if body.outcome == "edited" and not body.sent.strip():
        raise BadField("sent: give the words that were sent instead.", "sent")
    identity, store = ConversationId(plain_id(conversation)), _store(desk, caller)
    await store.conversations.key_of(identity)
    await store.desk.audit(actor=caller.key, action=f"suggestion.{body.outcome}", subject=conversation, detail={"agent": body.agent})
    judged = SuggestionJudged(
        agent=body.agent,
        suggestion=body.suggestion,
        outcome=body.outcome,
        sent=body.sent,
        question=body.question,
        sources=body.sources,
    )
    await store.conversations.append(identity, TurnId(""), [judged])


@router.post("/wording")
async def check_wording(caller: Operator, desk: Shared, body: WordingIn) -> list[dict[str, Any]]:
    """What is better said otherwise in a reply before it is sent."""
    identity = ConversationId(plain_id(body.conversation_id)) if body.conversation_id else None
    return [vars_of(r) for r in await desk.analytics.wording(caller.tenant, body.text, identity)]


@router.get("/themes")
async def read_themes(
    caller: Operator, desk: Shared, period: Chosen, least: Annotated[int, Query(ge=2, le=1000)] = 3
) -> list[dict[str, Any]]:
    """What customers ask about, the most frequent first; what rises is marked."""
    return [vars_of(t) for t in await desk.analytics.themes(caller.tenant, period, least=least)]


@router.get("/contradictions")
async def read_contradictions(caller: Operator, desk: Shared) -> list[dict[str, Any]]:
    """Entries of the knowledge that seem to disagree, side by side."""
    found = await desk.analytics.contradictions(caller.tenant)
    return [{"one": vars_of(c.one), "other": vars_of(c.other), "likeness": c.likeness} for c in found]


@router.get("/stale")
async def read_stale(caller: Operator, desk: Shared, period: Chosen) -> list[dict[str, Any]]:
    """Entries that may be out of date; with `since` also FAQ pairs that no answer used."""
    return [vars_of(s) for s in await desk.analytics.stale(caller.tenant, period)]


@router.get("/recalls")
async def read_recalls(
    caller: Operator,
    desk: Shared,
    source: Annotated[str, Query(min_length=1, max_length=255)],
    title: Annotated[str, Query(max_length=500)] = "",
    since: datetime | None = None,
) -> list[dict[str, Any]]:
    """Customers who were told text of a source that does not stand there any more, each with a drafted correction."""
    return [vars_of(t) for t in await desk.analytics.recalls(caller.tenant, source, title=title, since=since)]


@router.get("/gaps/{gap}/draft")
async def draft_pair(caller: Operator, desk: Shared, gap: str) -> dict[str, Any]:
    """A drafted FAQ pair for a gap: what an agent answered, else the nearest passage. Nothing is published."""
    return vars_of(await desk.analytics.draft(caller.tenant, plain_id(gap)))


@router.post("/gaps/{gap}/accept", status_code=201)
async def accept_pair(caller: Operator, desk: Shared, gap: str, body: PairIn) -> SyncOut:
    """Publishes a pair in the tenant's FAQ (faq.jsonl in its folder) and closes the gap. 409 when the question is in the FAQ already."""
    question, answer = (customer_message(text, LONGEST, name) for text, name in ((body.question, "question"), (body.answer, "answer")))
    store, served = _store(desk, caller), desk.office.tenants[caller.tenant]
    if not any(g.id == plain_id(gap) for g in await store.desk.gaps(limit=1000)):
        raise NotFound(NOWHERE)
    if served.folder is None:
        raise BadInput("this tenant has no folder to publish in: add the pair where its FAQ is kept")
    await store.desk.audit(actor=caller.key, action="faq.add", subject=question[:200], detail={"gap": gap})
    lock = desk.syncs.setdefault(caller.tenant, asyncio.Lock())
    async with lock:
        await asyncio.to_thread(publish, served.folder, question, answer)
        report = SyncOut.of(await desk.office.library.sync(served))
    await store.desk.close_gap(gap, note="answered in the FAQ")
    return report


def publish(folder: Path, question: str, answer: str) -> None:
    """One more line in faq.jsonl, whole or not at all. Raises Conflict when the question has an answer."""
    folded = " ".join(question.casefold().split())
    if any(" ".join(pair.question.casefold().split()) == folded for pair in load_faq(folder)):
        raise Conflict("the FAQ answers this question already: change that answer instead")
    file, fresh = folder / "faq.jsonl", folder / ".faq.jsonl.new"
    before = file.read_text("utf-8").rstrip("\n") if file.is_file() else ""
    entry = json.dumps({"question": " ".join(question.split()), "answer": answer.strip()}, ensure_ascii=False)
    fresh.write_text("\n".join([*([before] if before else []), entry]) + "\n", "utf-8")
    fresh.replace(file)


def _store(desk: Desk, caller: Caller) -> TenantStore:
    return desk.office.store.for_tenant(caller.tenant)
