"""What the desk keeps beside conversations: knowledge gaps, the queue for humans, the audit trail, trained heads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from frontdesk.domain.conversation import ConversationId, Owner
from frontdesk.domain.events import HandedOff, from_json
from frontdesk.domain.tenancy import CustomerId, TenantId
from frontdesk.errors import StoreUnavailable
from frontdesk.store.database import Database, Step, json_text
from frontdesk.store.queries import load

_SQL = load("desk")


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A fair question that no source answers, asked `count` times."""

    id: str
    question: str
    count: int
    best_source: str
    best_score: float
    conversation: ConversationId
    first_at: datetime
    last_at: datetime
    closed_at: datetime | None
    note: str


@dataclass(frozen=True, kw_only=True)
class Handoff:
    """A conversation that waits for a human or is with one, and what the desk handed over last (see HandedOff); nothing where an agent
    took it from the desk."""

    conversation_id: ConversationId
    customer: CustomerId | None
    channel: str
    owner: Owner
    agent: str
    at: datetime
    category: str
    summary: str
    facts: Mapping[str, Any]
    promised: str


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One administrative act. `hash` covers the entry and the hash before it."""

    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]
    hash: str


@dataclass(frozen=True, kw_only=True)
class AuditCheck:
    """What a check of the chain found. `broken` is the place (from 1) of the first entry that does not fit; None: all fit."""

    entries: int
    head: str
    broken: int | None
    truncated: bool

    @property
    def intact(self) -> bool:
        """Nothing was changed, taken out, put in or cut off."""
        return self.broken is None and not self.truncated


class DeskState:
    """All methods raise StoreUnavailable."""

    def __init__(self, database: Database, tenant: TenantId) -> None:
        self._database = database
        self._tenant = tenant

    async def gaps(self, *, closed: bool = False, limit: int = 200) -> list[Gap]:
        """Knowledge gaps, the most asked first; with the closed ones on request. An asked-again gap opens by itself."""
        (rows,) = await self._database.read(self._tenant, self._step("gaps", closed=closed, limit=limit))
        return [Gap(**row._asdict()) for row in rows]

    async def close_gap(self, gap: str, *, note: str = "") -> bool:
        """Mark a gap as dealt with; False when there is no such open gap."""
        (rows,) = await self._database.run(self._tenant, self._step("close_gap", id=gap, note=note))
        return bool(rows)

    async def handoffs(self, *, owners: tuple[Owner, ...] = (Owner.QUEUE, Owner.AGENT), limit: int = 200) -> list[Handoff]:
        """Conversations with humans or waiting for one, the longest wait first; those of AI customers behind all others."""
        step = self._step("handoffs", owners=[owner.value for owner in owners], limit=limit)
        (rows,) = await self._database.read(self._tenant, step)
        return [_handoff(row) for row in rows]

    async def audit(self, *, actor: str, action: str, subject: str, detail: Mapping[str, Any] | None = None) -> str:
        """Record an administrative act; the chain's new head, in hex. Kept elsewhere, it also proves that nothing was cut off."""
        text = json_text(dict(detail or {}))
        entry = self._step("audit_append", actor=actor, action=action, subject=subject, detail=text)
        results = await self._database.run(self._tenant, self._step("audit_lock"), entry)
        return str(results[1][0].hash)

    async def audit_trail(self, *, after: int = 0, limit: int = 200) -> list[AuditEntry]:
        """Entries above `seq`, oldest first."""
        (rows,) = await self._database.read(self._tenant, self._step("audit_trail", after=after, limit=limit))
        return [AuditEntry(**row._asdict()) for row in rows]

    async def act_outcomes(self, key: str) -> list[str]:
        """What is on record of an act by its idempotency key, oldest first: "" when it was begun, then how it ended."""
        (rows,) = await self._database.read(self._tenant, self._step("act_outcomes", key=key))
        return [str(row.outcome) for row in rows]

    async def audit_verify(self, *, head: str = "") -> AuditCheck:
        """Recompute the whole chain. `head`: a hash kept elsewhere, which must still stand in the chain."""
        (rows,) = await self._database.read(self._tenant, self._step("audit_verify", head=head))
        row = rows[0]
        return AuditCheck(entries=row.entries, head=row.head, broken=row.broken, truncated=bool(head) and not row.has_head)

    async def put_blob(self, name: str, data: bytes) -> str:
        """Keep some bytes under a name, replacing what was there; their SHA-256 in hex."""
        sha256 = hashlib.sha256(data).hexdigest()
        await self._database.run(self._tenant, self._step("put_blob", name=name, sha256=sha256, data=data))
        return sha256

    async def get_blob(self, name: str) -> bytes | None:
        """The bytes of that name, or None. Raises StoreUnavailable when they do not match their checksum."""
        (rows,) = await self._database.read(self._tenant, self._step("get_blob", name=name))
        if not rows:
            return None
        data = bytes(rows[0].data)
        if hashlib.sha256(data).hexdigest() != rows[0].sha256:
            raise StoreUnavailable(f"what is stored as {name!r} is damaged: run `frontdesk knowledge sync {self._tenant}` to make it again")
        return data

    def _step(self, name: str, /, **parameters: Any) -> Step:
        return _SQL[name], {"tenant": self._tenant, **parameters}


def _handoff(row: Any) -> Handoff:
    event = from_json(row.body) if row.body is not None else HandedOff(category="", summary="")
    assert isinstance(event, HandedOff)  # noqa: S101 - the query asks for this kind
    return Handoff(
        conversation_id=ConversationId(row.id),
        customer=row.customer,
        channel=row.channel,
        owner=Owner(row.owner),
        agent=row.agent,
        at=row.at,
        category=event.category,
        summary=event.summary,
        facts=event.facts,
        promised=event.promised,
    )
