"""The native API for staff: conversations and their owners, knowledge, gaps, keys, the audit trail. Operator keys only, their tenant only.

Every route that changes something writes to the audit trail first: a trail that names an attempt too many is worth more than one that
misses a change.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict

from frontdesk.domain.conversation import ConversationId, Owner, TurnId
from frontdesk.domain.events import AgentReplied
from frontdesk.domain.tenancy import Caller, KeyId, Role
from frontdesk.errors import BadDocument, Conflict, NotFound, TooLarge
from frontdesk.server.access import Desk, Operator, Shared
from frontdesk.server.problems import NOWHERE, BadField
from frontdesk.server.views import (
    AgentMessageIn,
    ConversationOut,
    DocumentOut,
    KeyIn,
    NewKey,
    OwnerIn,
    SyncOut,
)
from frontdesk.server.wording import customer_message, plain_id
from frontdesk.store.store import TenantStore

UPLOADS = frozenset({"/api/knowledge"})
"""Paths that read their own bodies, after the caller is known."""
_SOURCE = re.compile(
    r"(?!.*(?:^|/)\.)[^\x00-\x1f\x7f\\:*?\"<>|/][^\x00-\x1f\x7f\\:*?\"<>|]{0,200}\.(?:md|html|htm|txt|pdf|docx)", re.IGNORECASE
)
_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}

router = APIRouter(prefix="/api", tags=["staff"])
_FROM_OBJECTS = ConfigDict(from_attributes=True)
Limit = Annotated[int, Query(ge=1, le=200)]
After = Annotated[int, Query(ge=0, le=2**62)]


class ConversationRow(BaseModel):
    """One line of the list of conversations."""

    model_config = _FROM_OBJECTS
    conversation_id: str
    customer: str | None
    channel: str
    owner: Owner
    agent: str
    opened_at: datetime
    updated_at: datetime
    messages: int
    preview: str


class GapRow(BaseModel):
    """A fair question that no source answers, asked `count` times."""

    model_config = _FROM_OBJECTS
    id: str
    question: str
    count: int
    best_source: str
    best_score: float
    conversation: str
    first_at: datetime
    last_at: datetime


class HandoffRow(BaseModel):
    """A conversation that waits for, or is with, a human: why, what happened, what is known, what was promised."""

    model_config = _FROM_OBJECTS
    conversation_id: str
    customer: str | None
    channel: str
    owner: Owner
    agent: str
    at: datetime
    category: str
    summary: str
    facts: dict[str, Any]
    promised: str


class AuditRow(BaseModel):
    """Something that staff did. `hash` covers the row and the hash of the row before."""

    model_config = _FROM_OBJECTS
    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    hash: str


class KeyRow(BaseModel):
    """A key without its secret."""

    model_config = _FROM_OBJECTS
    id: str
    role: Role
    label: str
    created_at: datetime
    revoked_at: datetime | None


@router.get("/conversations")
async def list_conversations(
    caller: Operator, desk: Shared, owner: Owner | None = None, limit: Limit = 50, before: datetime | None = None
) -> list[ConversationRow]:
    """Conversations, newest first."""
    rows = await _store(desk, caller).conversations.list(owner=owner, limit=limit, before=before)
    return [ConversationRow.model_validate(r) for r in rows]


@router.get("/handoffs")
async def list_handoffs(caller: Operator, desk: Shared, limit: Limit = 50) -> list[HandoffRow]:
    """Conversations that wait for people or are with them, oldest first; AI customers behind all others."""
    return [HandoffRow.model_validate(r) for r in await _store(desk, caller).desk.handoffs(limit=limit)]


@router.post("/conversations/{conversation}/owner")
async def change_owner(caller: Operator, desk: Shared, conversation: str, body: OwnerIn) -> ConversationOut:
    """Claims (`agent`), returns (`desk`), queues or closes a conversation. 409 when it is not with `expected` any more."""
    if body.owner is Owner.AGENT and not body.agent.strip():
        raise BadField("agent: name the person who takes the conversation.", "agent")
    identity, store = ConversationId(plain_id(conversation)), _store(desk, caller)
    await store.conversations.load(identity, any_caller=True)
    await _audit(desk, caller, f"conversation.{body.owner.value}", conversation, agent=body.agent)
    await store.conversations.set_owner(identity, body.owner, expected=body.expected, agent=body.agent, note=body.note)
    return ConversationOut.of(await store.conversations.load(identity, any_caller=True))


@router.post("/conversations/{conversation}/agent-messages", status_code=201)
async def say_as_agent(caller: Operator, desk: Shared, conversation: str, body: AgentMessageIn) -> ConversationOut:
    """A human's words to the customer. 409 unless an agent owns the conversation."""
    identity, store = ConversationId(plain_id(conversation)), _store(desk, caller)
    text = customer_message(body.text, desk.office.settings.max_message_chars, "text")
    known = await store.conversations.load(identity, any_caller=True)
    if known.owner is not Owner.AGENT:
        raise Conflict(f"The conversation is with the {known.owner.value}: claim it first.")
    await _audit(desk, caller, "conversation.agent_message", conversation, agent=body.agent)
    reply = AgentReplied(agent=body.agent, text=text)
    await store.conversations.append(identity, TurnId(uuid.uuid4().hex), [reply], if_owner=Owner.AGENT)
    return ConversationOut.of(await store.conversations.load(identity, any_caller=True))


@router.get("/knowledge")
async def list_knowledge(caller: Operator, desk: Shared) -> list[DocumentOut]:
    """Every source that answers now."""
    return [DocumentOut.of(d) for d in await desk.office.library.list(caller.tenant)]


@router.post(
    "/knowledge",
    status_code=201,
    openapi_extra={"requestBody": {"required": True, "content": _BINARY}},
)
async def add_knowledge(request: Request, caller: Operator, desk: Shared, source: Annotated[str, Query(max_length=255)]) -> SyncOut:
    """Adds or replaces one document; the body is the file itself. What cannot be read changes nothing and is 400."""
    if not _SOURCE.fullmatch(source):
        raise BadField("source: a path like policies/returns.md, ending in .md, .html, .txt, .pdf or .docx.", "source")
    content = await _file(request, desk.office.settings.max_upload_bytes)
    await _audit(desk, caller, "knowledge.add", source, bytes=len(content))
    report = SyncOut.of(await desk.office.library.add(caller.tenant, source, content))
    if report.failed:
        raise BadDocument(f"{source}: {report.failed[0].reason}")
    return report


@router.delete("/knowledge", status_code=204)
async def remove_knowledge(caller: Operator, desk: Shared, source: Annotated[str, Query(max_length=255)]) -> None:
    """Makes a document stop answering at once; past citations still open."""
    if not source.isprintable():
        raise NotFound(NOWHERE)
    await _audit(desk, caller, "knowledge.remove", source)
    if not await desk.office.library.remove(caller.tenant, source):
        raise NotFound(NOWHERE)


@router.post("/knowledge/sync")
async def sync_knowledge(caller: Operator, desk: Shared) -> SyncOut:
    """Reads the tenant's folder again; only what changed is embedded. 409 while a sync runs."""
    lock = desk.syncs.setdefault(caller.tenant, asyncio.Lock())
    if lock.locked():
        raise Conflict("A sync of this tenant is running: wait for it.")
    async with lock:
        await _audit(desk, caller, "knowledge.sync", str(caller.tenant))
        return SyncOut.of(await desk.office.library.sync(desk.office.tenants[caller.tenant]))


@router.get("/gaps")
async def list_gaps(caller: Operator, desk: Shared, limit: Limit = 50) -> list[GapRow]:
    """Questions that no source answers, most asked first."""
    return [GapRow.model_validate(r) for r in await _store(desk, caller).desk.gaps(limit=limit)]


@router.delete("/gaps/{gap}", status_code=204)
async def close_gap(caller: Operator, desk: Shared, gap: str) -> None:
    """The gap is dealt with."""
    await _audit(desk, caller, "gap.close", plain_id(gap))
    if not await _store(desk, caller).desk.close_gap(gap):
        raise NotFound(NOWHERE)


@router.get("/audit")
async def read_audit(caller: Operator, desk: Shared, after: After = 0, limit: Limit = 100) -> list[AuditRow]:
    """What staff did, in order, after the row with this `seq`."""
    return [AuditRow.model_validate(r) for r in await _store(desk, caller).desk.audit_trail(after=after, limit=limit)]


@router.get("/keys")
async def list_keys(caller: Operator, desk: Shared) -> list[KeyRow]:
    """This tenant's keys, without their secrets."""
    return [KeyRow.model_validate(r) for r in await _store(desk, caller).keys.list()]


@router.post("/keys", status_code=201)
async def create_key(caller: Operator, desk: Shared, body: KeyIn) -> NewKey:
    """A new key, shown this once."""
    if not body.label.isprintable():
        raise BadField("label: use printable characters.", "label")
    await _audit(desk, caller, "key.create", body.role.value, label=body.label)
    return NewKey(key=await _store(desk, caller).keys.create(body.role, body.label), role=body.role, label=body.label)


@router.delete("/keys/{key}", status_code=204)
async def revoke_key(caller: Operator, desk: Shared, key: str) -> None:
    """The key stops working here at once and in other processes within seconds."""
    await _audit(desk, caller, "key.revoke", plain_id(key))
    await _store(desk, caller).keys.revoke(KeyId(key))


def _store(desk: Desk, caller: Caller) -> TenantStore:
    return desk.office.store.for_tenant(caller.tenant)


async def _audit(desk: Desk, caller: Caller, action: str, subject: str, **detail: Any) -> None:
    await _store(desk, caller).desk.audit(actor=caller.key, action=action, subject=subject, detail=detail)


async def _file(request: Request, limit: int) -> bytes:
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > limit:
            raise TooLarge(f"The file is larger than the {limit} bytes that are accepted.")
    return bytes(content)
