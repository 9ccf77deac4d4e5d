"""What the desk knows about one tenant before a message comes: its words, its router, its tools. Rebuilt when its knowledge changes.

A trained router is kept in the database and used again while what it was trained on is the same. When knowledge changes under a desk
that answers already, the former briefing serves until the new one is ready: search itself is always of the moment.
Holds nothing of any customer.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

import numpy as np

import frontdesk
from frontdesk.desk import languages
from frontdesk.desk.intent import IntentRecognizer, Material, support_set
from frontdesk.desk.lexicon import Lexicon
from frontdesk.desk.phrases import Phrases
from frontdesk.desk.reading import Reader
from frontdesk.desk.shelf import Shelf
from frontdesk.desk.spelling import Spelling
from frontdesk.domain.knowledge import Passage, PassageKind
from frontdesk.domain.tenancy import Tenant, TenantId
from frontdesk.errors import BadInput, FrontdeskError, StoreUnavailable
from frontdesk.models.protocols import Embedder
from frontdesk.store.store import Store
from frontdesk.tools.catalog import Catalog
from frontdesk.tools.rendering import currency_of

LEXICON_PASSAGES = 20_000
"""Passages that word statistics are taken from; a larger tenant is sampled from its start."""
ROUTER_PASSAGES = 400
READ_PASSAGES = 2_000
"""Passages whose language is looked at, to know what there is to read."""
ROUTER = "intent-router"
"""Name under which a tenant's trained router is kept: 64 hex digits that say what it was trained on, then the router."""
SHELF = "reading-shelf"
"""Name under which the reader's vectors of a tenant's units are kept."""
CHECK_SECONDS = 1.0
"""How long a knowledge version is trusted before the database is asked again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Briefing:
    """One tenant, ready to answer."""

    tenant: Tenant
    version: int
    lexicon: Lexicon
    shelf: Shelf
    spelling: Spelling
    recognizer: IntentRecognizer
    phrases: Phrases
    catalog: Catalog
    language: str = languages.ENGLISH
    """In which the customer is spoken to."""
    currency: str = ""
    """ISO code of the one currency that the sources speak of: what an API's amounts are in where it names none."""
    readable: frozenset[str] = frozenset()
    """In which there is something to read; empty for a tenant with one language."""

    @property
    def foreign(self) -> bool:
        """Whether the customer's words are not the English that router, spelling and phrasing know."""
        return languages.primary(self.language) != languages.ENGLISH

    def speaking(self, language: str) -> Briefing:
        """The same in a customer's language."""
        return self if language == self.language else replace(self, language=language, phrases=Phrases(self.tenant, language))

    def written(self, passage: Passage) -> str:
        """A passage's language; that of the customer where the tenant has only one."""
        return languages.written(passage, self.tenant.languages) if len(self.tenant.languages) > 1 else self.language

    def elsewhere(self) -> str:
        """A sentence that names the other languages in which there is something to read, with a leading space; empty without one."""
        others = sorted(self.readable - {self.language})
        return " " + self.phrases.say("exists_in", languages=languages.named(others, self.language)) if others else ""


class Briefings:
    """The briefings of all tenants, each made once per knowledge version."""

    def __init__(self, *, store: Store, embedder: Embedder, reader: Reader, catalogs: Mapping[TenantId, Catalog]) -> None:
        self._store = store
        self._embedder = embedder
        self._reader = reader
        self._catalogs = catalogs
        self._made: dict[TenantId, Briefing] = {}
        self._checked: dict[TenantId, float] = {}
        self._making: dict[TenantId, asyncio.Task[Briefing]] = {}
        self._completing: set[asyncio.Task[None]] = set()

    async def of(self, tenant: Tenant) -> Briefing:
        """The tenant's briefing; the first time it is waited for. Raises StoreUnavailable and ModelUnavailable."""
        now = asyncio.get_running_loop().time()
        made = self._made.get(tenant.id)
        if made is not None and now - self._checked[tenant.id] < CHECK_SECONDS:
            return made
        self._checked[tenant.id] = now
        version = await self._store.for_tenant(tenant.id).knowledge.version()
        if made is not None and made.version == version and made.tenant == tenant:
            return made
        making = self._making.get(tenant.id)
        if making is None:
            making = self._making[tenant.id] = asyncio.create_task(self._make(tenant, version), name=f"briefing {tenant.id}")
            making.add_done_callback(lambda task: self._done(tenant.id, task))
        return await asyncio.shield(making) if made is None else made

    def _done(self, tenant: TenantId, task: asyncio.Task[Briefing]) -> None:
        self._making.pop(tenant, None)
        if task.cancelled():
            return
        if (problem := task.exception()) is None:
            self._made[tenant] = task.result()
        elif tenant in self._made:
            _log.warning("%s goes on with its former briefing: %s", tenant, problem)

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
        shelving = asyncio.create_task(self._shelf(tenant.id, passages), name=f"shelf of {tenant.id}")  # takes longest, at a first start
        try:
            return await self._put_together(tenant, version, catalog, passages, material, shelving)
        finally:
            shelving.cancel()  # nothing is left of it, unless what stands beside it failed

    async def _put_together(
        self,
        tenant: Tenant,
        version: int,
        catalog: Catalog,
        passages: list[Passage],
        material: Material,
        shelving: asyncio.Task[Shelf],
    ) -> Briefing:
        lexicon = await asyncio.to_thread(Lexicon, passages)
        texts = [f"{p.title} {' '.join(p.headings)} {p.text}" for p in passages]
        spelling = await asyncio.to_thread(Spelling, texts, self._reader.knows)
        recognizer = await self._router(tenant.id, material)
        return Briefing(
            tenant=tenant,
            version=version,
            lexicon=lexicon,
            shelf=await shelving,
            spelling=spelling,
            recognizer=recognizer,
            phrases=Phrases(tenant),
            catalog=catalog,
            language=tenant.languages[0],
            currency=await asyncio.to_thread(currency_of, texts),
            readable=await asyncio.to_thread(_readable, tenant, passages),
        )

    async def close(self) -> None:
        """Stop what goes on behind the briefings."""
        for task in (some := tuple(self._completing)):
            task.cancel()
        await asyncio.gather(*some, return_exceptions=True)

    async def _shelf(self, tenant: TenantId, passages: list[Passage]) -> Shelf:
        """The tenant's units by the reader's vectors; those of texts that were there before are taken from what is kept.

        It is ready when units can be found on it; what they are judged by besides is read while the first questions are answered.
        """
        desk = self._store.for_tenant(tenant).desk
        kept = None
        try:
            kept = await desk.get_blob(SHELF)
            shelf = await Shelf.of(passages, self._reader, kept)
        except (BadInput, StoreUnavailable) as problem:
            _log.warning("the kept vectors of %s cannot be used and are made again: %s", tenant, problem)
            shelf = await Shelf.of(passages, self._reader)
        completing = asyncio.create_task(self._complete(tenant, shelf, kept), name=f"shelf {tenant}")
        self._completing.add(completing)
        completing.add_done_callback(self._completing.discard)
        return shelf

    async def _complete(self, tenant: TenantId, shelf: Shelf, kept: bytes | None) -> None:
        try:
            await shelf.complete(self._reader)
            written = await asyncio.to_thread(shelf.to_bytes, self._reader)
            if written != kept:
                await self._store.for_tenant(tenant).desk.put_blob(SHELF, written)
        except FrontdeskError as problem:
            _log.warning("the reader's vectors of %s are not kept and will be made again at the next start: %s", tenant, problem)

    async def _router(self, tenant: TenantId, material: Material) -> IntentRecognizer:
        """The kept router when it was trained on the same, else a new one, which is kept then."""
        desk = self._store.for_tenant(tenant).desk
        seal = await asyncio.to_thread(_seal, material, self._embedder.name)
        try:
            kept = await desk.get_blob(ROUTER)
            if kept is not None and kept[: len(seal)] == seal:
                return await asyncio.to_thread(IntentRecognizer.from_bytes, kept[len(seal) :])
        except (BadInput, StoreUnavailable) as problem:
            _log.warning("the kept router of %s cannot be used and is trained again: %s", tenant, problem)
        recognizer = await IntentRecognizer.train(material, self._embedder)
        try:
            await desk.put_blob(ROUTER, seal + await asyncio.to_thread(recognizer.to_bytes))
        except FrontdeskError as problem:
            _log.warning("the router of %s is not kept and will be trained again at the next start: %s", tenant, problem)
        return recognizer


def _readable(tenant: Tenant, passages: list[Passage]) -> frozenset[str]:
    """The languages in which a tenant with several has something to read."""
    if len(tenant.languages) == 1:
        return frozenset()
    return frozenset(languages.written(p, tenant.languages) for p in passages[:READ_PASSAGES])


def _seal(material: Material, embedder: str) -> bytes:
    """What a router depends on, as 64 hex digits: the tenant's material, the support set, the encoder and the code that trains."""
    digest = hashlib.sha256(_recipe())
    for texts in ((embedder,), material.questions, material.passages, material.operations):
        digest.update(b"\x1d")
        for text in texts:
            digest.update(text.encode("utf-8", "surrogatepass") + b"\x1e")
    return digest.hexdigest().encode()


@cache
def _recipe() -> bytes:
    folder = resources.files("frontdesk.desk")
    code = b"".join(folder.joinpath(name).read_bytes() for name in ("intent.py", "intent_head.py"))
    lines = "\x1e".join(f"{u.label}\x1f{u.text}" for u in support_set())
    return hashlib.sha256(frontdesk.__version__.encode() + code + lines.encode()).digest()
