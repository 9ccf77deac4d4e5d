"""What the desk knows about one tenant before a message comes: its words, its router, its tools. Rebuilt when its knowledge changes.

Holds nothing of any customer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from frontdesk.desk.intent import IntentRecognizer, Material
from frontdesk.desk.phrases import Phrases
from frontdesk.desk.reading import Lexicon, Reader
from frontdesk.domain.knowledge import PassageKind
from frontdesk.domain.tenancy import Tenant, TenantId
from frontdesk.models.protocols import Embedder
from frontdesk.store.store import Store
from frontdesk.tools.catalog import Catalog

LEXICON_PASSAGES = 20_000
"""Passages that word statistics are taken from; a larger tenant is sampled from its start."""
ROUTER_PASSAGES = 400
CHECK_SECONDS = 1.0
"""How long a knowledge version is trusted before the database is asked again."""


@dataclass(frozen=True, kw_only=True)
class Briefing:
    """One tenant, ready to answer."""

    tenant: Tenant
    version: int
    lexicon: Lexicon
    recognizer: IntentRecognizer
    phrases: Phrases
    catalog: Catalog


class Briefings:
    """The briefings of all tenants, each made once per knowledge version."""

    def __init__(self, *, store: Store, embedder: Embedder, reader: Reader, catalogs: Mapping[TenantId, Catalog]) -> None:
        self._store = store
        self._embedder = embedder
        self._reader = reader
        self._catalogs = catalogs
        self._made: dict[TenantId, Briefing] = {}
        self._checked: dict[TenantId, float] = {}
        self._locks: dict[TenantId, asyncio.Lock] = {}

    async def of(self, tenant: Tenant) -> Briefing:
        """The tenant's briefing for its present knowledge. Raises StoreUnavailable."""
        now = asyncio.get_running_loop().time()
        made = self._made.get(tenant.id)
        if made is not None and now - self._checked[tenant.id] < CHECK_SECONDS:
            return made
        version = await self._store.for_tenant(tenant.id).knowledge.version()
        self._checked[tenant.id] = now
        if made is not None and made.version == version:
            return made
        async with self._locks.setdefault(tenant.id, asyncio.Lock()):
            made = self._made.get(tenant.id)
            if made is None or made.version != version:
                made = await self._make(tenant, version)
                self._made[tenant.id] = made
        return made

    async def _make(self, tenant: Tenant, version: int) -> Briefing:
        stored = await self._store.for_tenant(tenant.id).knowledge.all_passages(limit=LEXICON_PASSAGES)
        passages = [p for p, _ in stored]
        catalog = self._catalogs.get(tenant.id) or Catalog()
        of_documents = [(p, v) for p, v in stored if p.kind is not PassageKind.FAQ][:ROUTER_PASSAGES]
        material = Material(
            questions=[p.title for p in passages if p.kind is PassageKind.FAQ],
            passages=[p.text for p, _ in of_documents],
            operations=[f"{o.summary}. {o.description}" for o in catalog.operations],
            passage_vectors=np.stack([v for _, v in of_documents]).astype(np.float32) if of_documents else None,
        )
        recognizer = await IntentRecognizer.train(material, self._embedder)
        return Briefing(
            tenant=tenant,
            version=version,
            lexicon=Lexicon(passages),
            recognizer=recognizer,
            phrases=Phrases(tenant),
            catalog=catalog,
        )
