"""The loop closed: what the desk could not do becomes proposals, an operator's yes makes them knowledge, a run learns them, gates decide.

    gaps, rejected drafts, agents' replies and edits, failed rehearsals -> proposals -> yes or no -> faq + training -> gates -> deployment

Nothing becomes an answer without a yes, and nothing is deployed that is worse than what serves. Personal data is masked before it is kept.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from frontdesk.domain.conversation import Route
from frontdesk.domain.events import AgentReplied, DraftRejected, Event, KnowledgeGapFound, MessageReceived, ReplySent, SuggestionJudged
from frontdesk.domain.knowledge import FaqPair
from frontdesk.domain.privacy import mask_personal_data
from frontdesk.domain.tenancy import Tenant
from frontdesk.errors import BadInput
from frontdesk.knowledge.tenants import load_faq
from frontdesk.store.store import TenantStore
from frontdesk.training.artefacts import Manifest

CONVERSATIONS = 2_000
"""The latest conversations that are looked through."""
REHEARSALS = 5
SHORTEST = 3
"""Words below which something said is no question of its own."""
_ANSWERED = (Route.FAQ, Route.KNOWLEDGE)


@dataclass(frozen=True, kw_only=True)
class Found:
    """Something that the desk could learn from, before anybody has looked at it."""

    kind: str
    """faq, or example: the answer was right already, its wording is worth learning."""
    source: str
    """gap, draft, agent or rehearsal."""
    question: str
    answer: str = ""
    conversation: str = ""
    count: int = 1


async def collect(store: TenantStore) -> dict[str, int]:
    """Look through gaps, the latest conversations and rehearsals; new proposals by source."""
    new: Counter[str] = Counter()
    async for found in _everything(store):
        question = mask_personal_data(" ".join(found.question.split()))[:500]
        if len(question.split()) < SHORTEST:
            continue
        fresh = await store.deployments.propose(
            kind=found.kind,
            source=found.source,
            question=question,
            answer=mask_personal_data(found.answer.strip())[:2000],
            conversation=found.conversation,
            count=found.count,
        )
        new[found.source] += fresh
    return dict(new)


def lessons(events: Sequence[Event], *, conversation: str = "") -> list[Found]:
    """What one conversation teaches, in its order."""
    found: list[Found] = []
    asked, open_question, rejected = "", "", False
    for event in events:
        match event:
            case MessageReceived(text=text):
                asked, rejected = text, False
            case KnowledgeGapFound(question=question):
                open_question = question
            case DraftRejected():
                rejected = True
            case ReplySent(text=text, route=route) if rejected and route in _ANSWERED:
                found.append(Found(kind="example", source="draft", question=asked, answer=text, conversation=conversation))
            case AgentReplied(text=text) if open_question or asked:
                found.append(Found(kind="faq", source="agent", question=open_question or asked, answer=text, conversation=conversation))
                asked = open_question = ""
            case SuggestionJudged(outcome="edited", question=question, sent=sent) if question and sent:
                found.append(Found(kind="faq", source="agent", question=question, answer=sent, conversation=conversation))
            case _:
                pass
    return found


async def approved(store: TenantStore) -> list[FaqPair]:
    """What operators said yes to and that has an answer."""
    rows = await store.deployments.proposals(("accepted",), limit=10_000)
    return [FaqPair(question=r.question, answer=r.answer) for r in rows if r.answer.strip()]


def with_approved(pairs: Iterable[FaqPair], more: Iterable[FaqPair]) -> list[FaqPair]:
    """The FAQ with the approved pairs; an approved answer replaces that of the same question."""
    merged = {_folded(p.question): p for p in pairs}
    merged.update({_folded(p.question): p for p in more})
    return list(merged.values())


async def training_folder(store: TenantStore, tenant: Tenant, out: Path) -> Path:
    """A folder that the `faq` recipe learns from: the tenant's FAQ with what was approved. Raises BadInput when nothing was approved."""
    if tenant.folder is None:
        raise BadInput(f"{tenant.id} has no folder to learn from: give --tenants")
    more = await approved(store)
    if not more:
        raise BadInput(f"no proposal of {tenant.id} was accepted yet: look at them with `frontdesk improve {tenant.id} --list`")
    pairs = with_approved(load_faq(tenant.folder), more)
    await asyncio.to_thread(_write_folder, tenant, pairs, out)
    return out


def _write_folder(tenant: Tenant, pairs: Sequence[FaqPair], out: Path) -> None:
    write_pairs(out / "faq.jsonl", pairs)
    plain = {"id": str(tenant.id), "name": tenant.name, "description": tenant.description}
    (out / "tenant.yaml").write_text(yaml.safe_dump(plain, allow_unicode=True, sort_keys=False), encoding="utf-8")


def write_pairs(path: Path, pairs: Iterable[FaqPair]) -> None:
    """FAQ pairs as a tenant folder takes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    lines = (json.dumps({"question": p.question, "answer": p.answer}, ensure_ascii=False) for p in pairs)
    part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    part.replace(path)


def worse(candidate: Manifest, serving: Mapping[str, Any] | None) -> str:
    """Why a new version must not replace the one that serves ("" when it may): a gate it failed, or a figure that fell."""
    gates = candidate.figures.get("gates", {})
    failed = [name for name, gate in gates.items() if not gate.get("passed")]
    if failed or not gates:
        return f"it failed {', '.join(failed)}" if failed else "it was not evaluated"
    if serving is None:
        return ""
    before, now = serving.get("figures", {}), candidate.figures
    for name, slack, better in (("recall", 0.02, 1), ("perplexity_ratio", 0.05, -1)):
        old, new = before.get(name), now.get(name)
        if isinstance(old, (int, float)) and isinstance(new, (int, float)) and better * (new - old) < -slack:
            return f"{name.replace('_', ' ')} is {new:.3f}, and {old:.3f} for the version in service"
    return ""


async def _everything(store: TenantStore) -> Any:
    for gap in await store.desk.gaps(limit=500):
        yield Found(kind="faq", source="gap", question=gap.question, conversation=str(gap.conversation), count=gap.count)
    seen = 0
    before = None
    while seen < CONVERSATIONS:
        rows = await store.conversations.list(limit=200, before=before)
        for row in rows:
            id = row.conversation_id
            for found in lessons([r.event for r in await store.conversations.events(id, limit=10_000)], conversation=str(id)):
                yield found
        seen += len(rows)
        if len(rows) < 200:
            break
        before = rows[-1].updated_at
    for run in await store.rehearsals.list(limit=REHEARSALS):
        async for talk in store.rehearsals.talks(run.id, open=False):
            if talk.passed is False and not talk.faults and (question := unanswered(talk.talk)):
                yield Found(kind="faq", source="rehearsal", question=question, conversation=talk.conversation or "")


def unanswered(talk: Mapping[str, Any]) -> str:
    """What the played customer asked before the desk first refused or handed over; "" when it did neither."""
    asked = ""
    for line in talk.get("lines", ()):
        if line.get("role") == "customer":
            asked = str(line.get("text", ""))
        elif line.get("route") == Route.REFUSE.value or line.get("handoff"):
            return asked
    return ""


def _folded(question: str) -> str:
    return " ".join(question.lower().split()).strip(" ?!.")
