"""What the desk would answer if the FAQ were changed, without changing it: the same desk reads the changed pairs beside everything else.

Nothing is called and nothing is kept: live data is left out on both sides, so that only the change makes a difference. The router is
trained on the FAQ's questions when a change is published; here it is the present one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import numpy as np

from frontdesk.console.folder import Change, same
from frontdesk.console.office import Office
from frontdesk.desk.briefing import Briefing, Briefings
from frontdesk.desk.desk import Desk
from frontdesk.desk.dynamic import Dynamic
from frontdesk.desk.phrasing import Phrasing
from frontdesk.domain.conversation import Conversation, ConversationId
from frontdesk.domain.events import MessageReceived, ReplySent
from frontdesk.domain.knowledge import FAQ_SOURCE, DocumentId, Hit, Passage, PassageId, PassageKind
from frontdesk.domain.tenancy import Caller, KeyId, Role, Tenant, TenantId
from frontdesk.knowledge.library import Library
from frontdesk.models.protocols import Vectors
from frontdesk.tools.calling import http_client
from frontdesk.tools.catalog import Catalog

LOOKED_BACK = timedelta(days=30)
MOST = 40
"""Questions that are tried."""
NEAREST = 4
"""Changed pairs that are read beside what search finds."""
NEAR = 0.45
"""Likeness to a changed pair from which a customer's question is tried."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One question with the answer now and the answer then."""

    question: str
    before: str
    after: str
    origin: str
    """changed pair, or customer."""

    @property
    def differs(self) -> bool:
        """Whether the change makes a difference."""
        return self.before.strip() != self.after.strip()


class _Changed:
    """The library with changed pairs in place of the present ones. Only what the desk asks of a library."""

    def __init__(self, library: Library, tenant: TenantId, changes: Sequence[Change], rows: Vectors) -> None:
        self._library, self._tenant, self._rows = library, tenant, rows
        self._gone = [c.was for c in changes if c.was]
        self._pairs = [
            Passage(
                id=PassageId(f"draft-{n}"), document=DocumentId("draft"), source=FAQ_SOURCE, title=c.pair.question, kind=PassageKind.FAQ,
                text=c.pair.answer, ordinal=n,
            )
            for n, c in enumerate(changes)
            if c.pair
        ]  # fmt: skip

    async def search(self, tenant: TenantId, question: str, *, limit: int = 8, vector: Vectors | None = None) -> list[Hit]:
        hits = await self._library.search(tenant, question, limit=limit + len(self._gone), vector=vector)
        if tenant != self._tenant:
            return hits
        kept = [h for h in hits if h.passage.source != FAQ_SOURCE or not any(same(h.passage.title, q) for q in self._gone)][:limit]
        if not self._pairs or vector is None:
            return kept
        likeness = self._rows @ np.asarray(vector, dtype=np.float32)
        best = kept[0].score if kept else 1.0
        near = sorted(range(len(self._pairs)), key=lambda n: -float(likeness[n]))[:NEAREST]
        return [Hit(passage=self._pairs[n], score=best, cosine=float(likeness[n]), words=0.0) for n in near] + kept

    async def current(self, tenant: TenantId, passages: Sequence[PassageId]) -> frozenset[PassageId]:
        """Those that would still answer: what the change takes away would not."""
        kept = await self._library.current(tenant, passages)
        if tenant != self._tenant or not self._gone:
            return kept
        known = await self._library.passages(tenant, sorted(kept))
        return kept - {p.id for p in known if p.source == FAQ_SOURCE and any(same(p.title, q) for q in self._gone)}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)


class _Quiet:
    """Briefings without live data."""

    def __init__(self, briefings: Briefings) -> None:
        self._briefings = briefings

    async def of(self, tenant: Tenant) -> Briefing:
        return replace(await self._briefings.of(tenant), catalog=Catalog())


class Trial:
    """A tenant's desk with a changed FAQ, and the present one beside it. Make one with `trying`."""

    def __init__(self, office: Office, tenant: Tenant, now: Desk, then: Desk, changes: Sequence[Change], rows: Vectors) -> None:
        self._office, self._tenant, self._now, self._then = office, tenant, now, then
        self._changes, self._rows = changes, rows

    async def ask(self, question: str, *, origin: str = "") -> Answered:
        """Both answers. Raises StoreUnavailable and ModelUnavailable."""
        return Answered(
            question=question,
            before=await self._answer(self._now, question),
            after=await self._answer(self._then, question) if self._changes else "",
            origin=origin,
        )

    async def changed(self, progress: Callable[[int, int], None] = lambda _done, _all: None) -> list[Answered]:
        """The questions whose answer changes: those of the changed pairs, and customers' of the last weeks that are near to them."""
        own = [(c.pair.question if c.pair else c.was, "changed pair") for c in self._changes]
        own += [(c.was, "changed pair") for c in self._changes if c.was and c.pair and not same(c.was, c.pair.question)]
        asked = [*own, *((q, "customer") for q in await self._customers() if not any(same(q, known) for known, _ in own))]
        found = []
        for n, (question, origin) in enumerate(asked[:MOST]):
            progress(n, min(len(asked), MOST))
            found.append(await self.ask(question, origin=origin))
        return [f for f in found if f.differs]

    async def _customers(self) -> list[str]:
        ledger = self._office.store.for_tenant(self._tenant.id).ledger
        talk = await ledger.talk(["message_received"], since=datetime.now(UTC) - LOOKED_BACK, limit=3000)
        said = dict.fromkeys(" ".join(r.event.text.split())[:400] for r in talk if isinstance(r.event, MessageReceived))
        texts = [t for t in said if len(t.split()) >= 3][:600]
        # Pairs that go or change are near to what they answered before, so their former questions count too.
        about = [t for c in self._changes for t in (c.was, c.pair.question if c.pair else "") if t]
        if not texts or not about:
            return []
        rows = np.asarray(await self._office.embedder.embed([*texts, *about]))
        likeness = (rows[: len(texts)] @ rows[len(texts) :].T).max(axis=1)
        order = np.argsort(-likeness)
        return [texts[int(n)] for n in order if likeness[n] >= NEAR][:MOST]

    async def _answer(self, desk: Desk, question: str) -> str:
        caller = Caller(tenant=self._tenant.id, key=KeyId("console"), role=Role.SERVER)
        fresh = Conversation(id=ConversationId("preview"), tenant=self._tenant.id, customer=None, opened_at=datetime.now(UTC))
        async with aclosing(desk.turn(tenant=self._tenant, caller=caller, conversation=fresh, message=question)) as events:
            async for event in events:
                if isinstance(event, ReplySent):
                    return event.text
        return ""


@asynccontextmanager
async def trying(office: Office, tenant: Tenant, changes: Sequence[Change]) -> AsyncIterator[Trial]:
    """The desk as it is and as it would be."""
    pairs = [c.pair for c in changes if c.pair]
    rows = np.asarray(await office.embedder.embed([f"{p.question} {p.answer}" for p in pairs])) if pairs else np.zeros((0, 1), np.float32)
    changed = _Changed(office.library, tenant.id, changes, rows)
    async with http_client() as http:

        def desk(library: Any) -> Desk:
            return Desk(
                briefings=cast("Briefings", _Quiet(office.briefings)),
                reader=office.reader,
                library=cast("Library", library),
                dynamic=Dynamic(store=office.store, embedder=office.embedder, encoder=office.reader.encoder, http=http),
                phrasing=Phrasing(None),
                tenants=dict(office.tenants),
            )

        yield Trial(office, tenant, desk(office.library), desk(changed), changes, rows)
