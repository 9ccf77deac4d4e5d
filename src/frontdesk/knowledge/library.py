"""All a tenant knows, kept in step with its folder and searched. Parses and embeds only what changed.

Refuses a file it cannot read by name and reason, and keeps what it knew of it.

A document is indexed in one transaction: until then its former version answers, from then on only the new one does.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final, Literal

import numpy as np

from frontdesk.domain.knowledge import FAQ_SOURCE, Document, FaqPair, Hit, Passage, PassageId
from frontdesk.domain.tenancy import Tenant, TenantId
from frontdesk.errors import BadDocument
from frontdesk.knowledge import search as searching
from frontdesk.knowledge.blocks import one_line
from frontdesk.knowledge.parsing import SUFFIXES, Parser
from frontdesk.knowledge.splitting import Draft, draft_document, draft_faq, embedded_text, search_text
from frontdesk.knowledge.tenants import load_faq
from frontdesk.models.protocols import Embedder, Vectors
from frontdesk.store import KnowledgeStore, NewDocument, Store, passage_hash

Progress = Callable[[int, int], None]
"""Called with passages done and passages in all."""
Origin = Literal["folder", "upload"]
# `Library.list` is part of the contract and hides the built-in name inside the class.
Documents = list[Document]
Passages = list[Passage]
Hits = list[Hit]

MAX_BYTES: Final = 20 * 1024 * 1024
_RECIPE: Final = 1
"""Raise it when parsing or splitting changes, so that every document is indexed again."""
_BATCH: Final = 96
"""Passages that are embedded together; while they are, those before them are written."""
_ORDERS: Final = "it reads like orders to an assistant"
_IGNORED: Final = frozenset({"thumbs.db", "desktop.ini"})


@dataclass(frozen=True, kw_only=True)
class SyncReport:
    """What a sync did. Documents are named by their source; `failed` and `quarantined` are (source, reason or text)."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    embedded: int = 0
    """Passages whose vector was computed."""
    reused: int = 0
    """Passages of changed documents whose vector was known already."""
    failed: tuple[tuple[str, str], ...] = ()
    quarantined: tuple[tuple[str, str], ...] = ()


@dataclass
class _Tally:
    """A report in the making."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    embedded: int = 0
    reused: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    quarantined: list[tuple[str, str]] = field(default_factory=list)

    def report(self) -> SyncReport:
        lists = {name: tuple(value) for name, value in vars(self).items() if isinstance(value, list)}
        return SyncReport(embedded=self.embedded, reused=self.reused, **lists)


@dataclass(frozen=True, kw_only=True)
class _Pending:
    """A document that is read and waits for its vectors."""

    source: str
    title: str
    seal: str
    drafts: list[Draft]
    known: bool


@dataclass
class _Shown:
    """How far an index run is, for whoever watches."""

    progress: Progress | None
    total: int
    done: int = 0

    def add(self, passages: int) -> None:
        self.done += passages
        if self.progress is not None:
            self.progress(self.done, self.total)


class Library:
    """The knowledge of all tenants. One per process; safe to share between tasks."""

    def __init__(self, store: Store, embedder: Embedder, *, max_bytes: int = MAX_BYTES) -> None:
        self._store = store
        self._embedder = embedder
        self._max_bytes = max_bytes
        self._syncing: dict[TenantId, asyncio.Lock] = {}

    async def sync(self, tenant: Tenant, *, progress: Progress | None = None) -> SyncReport:
        """Bring the index in step with the tenant's folder: faq.* and everything below knowledge/.

        Files that cannot be read are in `failed`, and what was indexed of them before keeps answering. Uploaded documents stay.
        Raises BadTenant (a wrong FAQ file), StoreUnavailable and ModelUnavailable.
        """
        if tenant.folder is None:
            return SyncReport()
        pairs, files = await asyncio.to_thread(_read_folder, tenant.folder)
        async with self._lock(tenant.id), Parser() as parser:
            knowledge = self._knowledge(tenant.id)
            known = {document.source: document for document in await knowledge.documents()}
            tally = _Tally()
            await self._make_room(knowledge, known, tally)
            for source, document in known.items():
                gone = source not in files and not (source == FAQ_SOURCE and pairs)
                if gone and _origin(document) == "folder" and await knowledge.remove(source):
                    tally.removed.append(source)
            pending = await self._read_all(parser, pairs, files, known, tally)
            await self._index(knowledge, pending, tally, progress, reuse=self._same_embedder(known.values()))
        return tally.report()

    async def add(self, tenant: TenantId, source: str, content: bytes) -> SyncReport:
        """Index one uploaded document under `source` (a relative path with a known ending), in place of a former one.

        Raises BadDocument naming the reason; the former version then keeps answering.
        """
        source = _checked_source(source)
        if len(content) > self._max_bytes:
            raise BadDocument(f"{source}: it is larger than {self._max_bytes // 2**20} MB; split it")
        async with self._lock(tenant):
            knowledge = self._knowledge(tenant)
            known = {document.source: document for document in await knowledge.documents()}
            seal = self._seal(content, "upload")
            tally = _Tally()
            if source in known and known[source].sha256 == seal:
                tally.unchanged.append(source)
                return tally.report()
            async with Parser() as parser:
                pending = await self._parsed(parser, source, content, seal, known)
            await self._index(knowledge, [pending], tally, None, reuse=self._same_embedder(known.values()))
        return tally.report()

    async def remove(self, tenant: TenantId, source: str) -> bool:
        """Stop answering from a document. False when there is none. A file that stays in the folder comes back with the next sync."""
        return await self._knowledge(tenant).remove(source)

    async def list(self, tenant: TenantId) -> Documents:
        """Current documents, by source."""
        return await self._knowledge(tenant).documents()

    async def quarantined(self, tenant: TenantId) -> Passages:
        """Passages set apart because they read like orders to an assistant."""
        return await self._knowledge(tenant).quarantined()

    async def search(self, tenant: TenantId, question: str, *, limit: int = 8, vector: Vectors | None = None) -> Hits:
        """The best passages for a customer's message, best first. `vector`: the message's own vector, shape (dimensions,), when known.

        A long message is asked as a whole and sentence by sentence.
        """
        if not question.strip():
            return []
        knowledge = self._knowledge(tenant)
        asked = searching.parts(question)
        vectors = list(await self._embedder.embed(asked)) if vector is None or len(asked) > 1 else [vector]
        if vector is not None:
            vectors[0] = np.asarray(vector, dtype=np.float32)
        depth = limit if len(asked) == 1 else searching.DEPTH
        rankings = await asyncio.gather(
            *(knowledge.search(text=text, vector=v, limit=depth) for text, v in zip(asked, vectors, strict=True))
        )
        return searching.fused(rankings, limit)

    async def passages(self, tenant: TenantId, ids: Sequence[PassageId]) -> Passages:
        """Passages of any version by id, in the order asked; unknown ids are left out."""
        return await self._knowledge(tenant).passages(ids)

    async def current(self, tenant: TenantId, passages: Sequence[PassageId]) -> frozenset[PassageId]:
        """Those of the passages that still answer, at this moment."""
        return await self._knowledge(tenant).current(passages) if passages else frozenset()

    async def surroundings(self, tenant: TenantId, passage: Passage, *, around: int = 1) -> Passages:
        """The passage with its neighbours below the same heading and the rest of its table, in reading order."""
        return await searching.surroundings(self._knowledge(tenant), passage, around=around)

    # --- what is new ---

    async def _read_all(
        self, parser: Parser, pairs: Sequence[FaqPair], files: dict[str, Path], known: dict[str, Document], tally: _Tally
    ) -> Sequence[_Pending]:
        pending: list[_Pending] = []
        if pairs:
            seal = self._seal(json.dumps([[p.question, p.answer] for p in pairs]).encode(), "folder")
            if FAQ_SOURCE in known and known[FAQ_SOURCE].sha256 == seal:
                tally.unchanged.append(FAQ_SOURCE)
            else:
                drafts = draft_faq(pairs)
                pending.append(_Pending(source=FAQ_SOURCE, title="FAQ", seal=seal, drafts=drafts, known=FAQ_SOURCE in known))
        for source, path in files.items():
            try:
                content = await asyncio.to_thread(_read_file, source, path, self._max_bytes)
                seal = self._seal(content, "folder")
                if source in known and known[source].sha256 == seal:
                    tally.unchanged.append(source)
                else:
                    pending.append(await self._parsed(parser, source, content, seal, known))
            except BadDocument as error:
                tally.failed.append((source, str(error).removeprefix(f"{source}: ")))
        return pending

    async def _parsed(self, parser: Parser, source: str, content: bytes, seal: str, known: dict[str, Document]) -> _Pending:
        parsed = await parser.parse(source, content)
        drafts = await asyncio.to_thread(draft_document, parsed, source=source, title=_title_from(source))
        title = drafts[0].title if drafts else _title_from(source)
        return _Pending(source=source, title=title, seal=seal, drafts=drafts, known=source in known)

    async def _index(
        self, knowledge: KnowledgeStore, pending: Sequence[_Pending], tally: _Tally, progress: Progress | None, *, reuse: bool
    ) -> None:
        """Embed and write documents in batches, each written while the next one is embedded. `reuse`: known vectors are of this embedder."""
        shown = _Shown(progress, sum(len(document.drafts) for document in pending))
        writing: asyncio.Task[None] | None = None
        try:
            for batch in _batches(pending):
                vectors = await self._vectors(knowledge, [d for p in batch for d in p.drafts if not d.quarantined], tally, reuse=reuse)
                if writing is not None:
                    await writing
                writing = asyncio.create_task(self._write_all(knowledge, batch, vectors, tally, shown))
            if writing is not None:
                await writing
        finally:
            if writing is not None and not writing.done():  # the next batch could not be embedded: what is embedded is kept all the same
                await writing

    async def _write_all(
        self, knowledge: KnowledgeStore, batch: Sequence[_Pending], vectors: Mapping[str, Vectors], tally: _Tally, shown: _Shown
    ) -> None:
        for ready in batch:
            await self._write(knowledge, ready, vectors, tally)
            shown.add(len(ready.drafts))

    async def _vectors(self, knowledge: KnowledgeStore, drafts: Sequence[Draft], tally: _Tally, *, reuse: bool) -> dict[str, Vectors]:
        """A vector for each search text: the stored one where the text is known, else a new one."""
        hashes = {search_text(draft): passage_hash(search_text(draft)) for draft in drafts}
        found = await knowledge.find_by_hash(list(hashes.values())) if reuse else {}
        vectors = {text: found[digest] for text, digest in hashes.items() if digest in found}
        fresh = {text: embedded_text(draft) for draft in drafts if (text := search_text(draft)) not in vectors}
        tally.embedded += len(fresh)
        tally.reused += len(vectors)
        rows = await self._embedder.embed(list(fresh.values())) if fresh else ()
        return vectors | dict(zip(fresh, rows, strict=True))

    async def _write(self, knowledge: KnowledgeStore, document: _Pending, vectors: Mapping[str, Vectors], tally: _Tally) -> None:
        good = [draft for draft in document.drafts if not draft.quarantined]
        bad = [draft for draft in document.drafts if draft.quarantined]
        await knowledge.replace(
            NewDocument(source=document.source, title=document.title, sha256=document.seal),
            [(d.passage(ordinal=n), vectors[search_text(d)], search_text(d)) for n, d in enumerate(good)],
            quarantined=[(d.passage(ordinal=len(good) + n), _ORDERS) for n, d in enumerate(bad)],
        )
        tally.quarantined.extend((document.source, draft.text) for draft in bad)
        (tally.changed if document.known else tally.added).append(document.source)

    # --- seals: whatever must change for a document to be indexed again ---

    @property
    def _fingerprint(self) -> str:
        return f"{hashlib.sha256(self._embedder.name.encode()).hexdigest()[:8]}-{self._embedder.dimensions}"

    def _seal(self, content: bytes, origin: Origin) -> str:
        return f"{hashlib.sha256(content).hexdigest()}.{_RECIPE}.{self._fingerprint}.{origin}"

    def _same_embedder(self, known: Iterable[Document]) -> bool:
        return all(_embedder_of(document) == self._fingerprint for document in known)

    async def _make_room(self, knowledge: KnowledgeStore, known: Mapping[str, Document], tally: _Tally) -> None:
        """Vectors of another size cannot stand beside the new ones: all documents of the former embedder go first."""
        foreign = [d for d in known.values() if _embedder_of(d).rsplit("-", 1)[-1] != str(self._embedder.dimensions)]
        for document in foreign:
            await knowledge.remove(document.source)
        others = [d for d in known.values() if _origin(d) == "upload" and _embedder_of(d) != self._fingerprint]
        tally.failed.extend((d.source, "it was indexed with another embedding model; add it again") for d in others)

    def _knowledge(self, tenant: TenantId) -> KnowledgeStore:
        return self._store.for_tenant(tenant).knowledge

    def _lock(self, tenant: TenantId) -> asyncio.Lock:
        return self._syncing.setdefault(tenant, asyncio.Lock())


def _batches(pending: Sequence[_Pending]) -> Iterator[list[_Pending]]:
    """Whole documents, until there is enough to embed."""
    batch: list[_Pending] = []
    for document in pending:
        batch.append(document)
        if sum(len(p.drafts) for p in batch) >= _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _origin(document: Document) -> str:
    return document.sha256.rsplit(".", 1)[-1]


def _embedder_of(document: Document) -> str:
    return document.sha256.split(".")[2] if document.sha256.count(".") >= 3 else ""


def _title_from(source: str) -> str:
    words = one_line(PurePosixPath(source).stem.replace("-", " ").replace("_", " "))
    return words[:1].upper() + words[1:]


def _checked_source(source: str) -> str:
    path = PurePosixPath(source)
    if not source or len(source) > 200 or path.is_absolute() or ".." in path.parts or "\\" in source or one_line(source) != source:
        raise BadDocument(f"{source[:60]!r} cannot be a document's name; use a relative path such as guides/returns.md")
    if path.suffix.lower() not in SUFFIXES:
        raise BadDocument(
            f"{source}: {path.suffix or 'a file without an ending'} is not supported; convert it to .md, .html, .txt, .pdf or .docx"
        )
    return path.as_posix()


def _read_folder(folder: Path) -> tuple[list[FaqPair], dict[str, Path]]:
    """The FAQ pairs, and the files below knowledge/ by source. Hidden files are not knowledge."""
    root = folder / "knowledge"
    files: dict[str, Path] = {}
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        parts = path.relative_to(root).parts
        if not any(part.startswith((".", "~$")) for part in parts) and path.name.lower() not in _IGNORED and not path.is_dir():
            files["/".join(parts).encode("utf-8", "replace").decode()] = path
    return load_faq(folder), files


def _read_file(source: str, path: Path, max_bytes: int) -> bytes:
    root = next(parent for parent in path.parents if parent.name == "knowledge")
    try:
        if not path.resolve().is_relative_to(root.resolve()):
            raise BadDocument(f"{source}: it is a link that leaves the knowledge folder; copy the file into it")
        if not path.is_file():
            raise BadDocument(f"{source}: it is not a file; delete it")
        if path.stat().st_size > max_bytes:
            raise BadDocument(f"{source}: it is larger than {max_bytes // 2**20} MB; split it")
        return path.read_bytes()
    except OSError as error:
        raise BadDocument(f"{source}: it cannot be read ({error.strerror}); check that this program may read it") from None
