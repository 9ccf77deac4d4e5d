"""A tenant's documents and passages: replaced whole, searched by meaning and by word, never forgotten. Embeds and parses nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from frontdesk.domain.knowledge import Document, DocumentId, Hit, Passage, PassageId, PassageKind, Table
from frontdesk.domain.tenancy import TenantId
from frontdesk.errors import BadInput
from frontdesk.store.database import Connection, Database, HalfVector, Step, Vector, clean, vector_from
from frontdesk.store.queries import load

EF_SEARCH = 200
"""Width of the HNSW search of a large tenant. See bench/RESULTS.md for the recall it buys."""
DEPTH = 50
"""Passages that each of the two searches hands to the fusion."""
REACH = 400
"""Passages that the full-text search ranks at most; ranking one costs about a hundredth of a millisecond."""

_SQL = load("knowledge")


@dataclass(frozen=True, kw_only=True)
class NewDocument:
    """A document about to be indexed. `sha256` is whatever must change for it to be indexed again (content, splitter, embedder)."""

    source: str
    title: str
    sha256: str


def passage_hash(search_text: str) -> str:
    """What `find_by_hash` looks for: SHA-256 of the text that was embedded, in hex."""
    return hashlib.sha256(clean(search_text).encode()).hexdigest()


class KnowledgeStore:
    """The knowledge of one tenant. Methods raise StoreUnavailable."""

    def __init__(self, database: Database, tenant: TenantId, *, grown: Callable[[TenantId, int, int], None]) -> None:
        """`grown(tenant, passages, dimensions)` is told after each replacement, so that a large tenant can get its indexes."""
        self._database = database
        self._tenant = tenant
        self._grown = grown

    async def documents(self) -> list[Document]:
        """Current documents, by source."""
        (rows,) = await self._database.read(self._tenant, self._step("documents"))
        return [Document(**row._asdict()) for row in rows]

    async def version(self) -> int:
        """Grows with every change of this tenant's knowledge; 0 before the first."""
        (rows,) = await self._database.read(self._tenant, self._step("version"))
        return int(rows[0].version) if rows else 0

    async def replace(
        self,
        document: NewDocument,
        passages: Sequence[tuple[Passage, Vector, str]],
        *,
        quarantined: Sequence[tuple[Passage, str]] = (),
    ) -> Document:
        """Index a document in place of its former version, which stops answering in the same transaction and stays resolvable.

        `passages` are (passage, unit vector, text to be found by words); `quarantined` are (passage, reason): kept, listed, never found.
        `id`, `document`, `source` and `version` of the passages are assigned here: ids are never used twice. Raises BadInput when the
        vectors are of another size than those the tenant has.
        """
        sizes = {int(np.asarray(vector).size) for _, vector, _ in passages}
        if len(sizes) > 1:
            raise BadInput(
                f"the embedder gave vectors of different sizes ({sorted(sizes)}) for {document.source}: check the embedding model"
            )
        dimensions = sizes.pop() if sizes else None
        async with self._database.transaction(self._tenant) as connection:
            known = await self._one(connection, "touch", dimensions=dimensions)
            if dimensions is not None and known.dimensions != dimensions:
                raise BadInput(
                    f"the passages of {self._tenant} have vectors of {known.dimensions} numbers and the embedder now gives {dimensions}: "
                    "set the former embedding model again, or remove the tenant's documents and sync"
                )
            latest = await self._one(connection, "latest", source=document.source)
            id = DocumentId(latest.id) if latest else _document_id(document.source)
            version = latest.version + 1 if latest else 1
            await connection.execute(*self._step("retire", source=document.source))
            place = {"document": id, "version": version, "source": document.source}
            counts = {"passages": len(passages), "quarantined": len(quarantined)}
            added = await self._one(connection, "add_document", **place, title=document.title, sha256=document.sha256, **counts)
            rows, vectors = _rows(place, passages, quarantined)
            await connection.execute(*self._step("add_passages", **place, rows=json.dumps(rows)))
            async with connection.cursor() as cursor:
                await cursor.executemany(_SQL["add_vector"], [{"tenant": self._tenant, "document": id, **vector} for vector in vectors])
            total = await self._one(connection, "add_words", **place)
        self._grown(self._tenant, total.passages if total else 0, known.dimensions or 0)
        return Document(
            id=id,
            source=document.source,
            title=document.title,
            sha256=document.sha256,
            version=version,
            updated_at=added.updated_at,
            **counts,
        )

    async def remove(self, source: str) -> bool:
        """Stop answering from a document; its passages stay resolvable. False when there was none."""
        async with self._database.transaction(self._tenant) as connection:
            await self._one(connection, "touch", dimensions=None)
            return await self._one(connection, "retire", source=source) is not None

    async def search(self, *, text: str, vector: Vector, limit: int, ef: int = EF_SEARCH) -> list[Hit]:
        """The best passages for a question, by meaning and by word, best first.

        `vector` is the question's unit vector. `Hit.words` is the share of the question's weight, by inverse document frequency, whose
        words stand in the passage. Raises BadInput when the vector is of another size than the tenant's.
        """
        asked = {"text": text, "vector": HalfVector(vector), "limit": limit, "ef": ef, "depth": max(DEPTH, limit), "reach": REACH}
        (rows,) = await self._database.read(self._tenant, self._step("search", **asked))
        return [Hit(passage=_passage(row), score=row.score, cosine=row.cosine, words=row.coverage) for row in rows]

    async def passages(self, ids: Sequence[PassageId]) -> list[Passage]:
        """Passages of any version by id, in the order asked; unknown ids are left out."""
        (rows,) = await self._database.read(self._tenant, self._step("passages", ids=list(ids)))
        found = {row.id: _passage(row) for row in rows}
        return [found[id] for id in ids if id in found]

    async def current(self, ids: Sequence[PassageId]) -> frozenset[PassageId]:
        """Those of the passages that a document of today holds."""
        (rows,) = await self._database.read(self._tenant, self._step("current", ids=list(ids)))
        return frozenset(PassageId(row.id) for row in rows)

    async def neighbours(self, passage: Passage, *, around: int = 1) -> list[Passage]:
        """The passages of the same document and version within `around` places, itself included, in order."""
        span = {"first": passage.ordinal - around, "last": passage.ordinal + around}
        step = self._step("neighbours", document=passage.document, version=passage.version, **span)
        (rows,) = await self._database.read(self._tenant, step)
        return [_passage(row) for row in rows]

    async def all_passages(self, *, kinds: Sequence[PassageKind] | None = None, limit: int = 20000) -> list[tuple[Passage, Vector]]:
        """Current passages with their vectors, by source and place."""
        step = self._step("all", kinds=None if kinds is None else [kind.value for kind in kinds], limit=limit)
        (rows,) = await self._database.read(self._tenant, step)
        return [(_passage(row), vector_from(row.embedding)) for row in rows]

    async def quarantined(self) -> list[Passage]:
        """Current passages that were set aside and answer nothing."""
        (rows,) = await self._database.read(self._tenant, self._step("quarantined"))
        return [_passage(row) for row in rows]

    async def find_by_hash(self, hashes: Sequence[str]) -> dict[str, Vector]:
        """Vectors of current passages by `passage_hash` of their text, so that what did not change is not embedded again."""
        (rows,) = await self._database.read(self._tenant, self._step("by_hash", hashes=list(hashes)))
        return {row.hash: vector_from(row.embedding) for row in rows}

    def _step(self, name: str, /, **parameters: Any) -> Step:
        return _SQL[name], {"tenant": self._tenant, **parameters}

    async def _one(self, connection: Connection, name: str, /, **parameters: Any) -> Any:
        return await (await connection.execute(*self._step(name, **parameters))).fetchone()


def _document_id(source: str) -> DocumentId:
    return DocumentId(f"doc_{hashlib.sha256(source.encode('utf-8', 'replace')).hexdigest()[:16]}")


def _rows(
    place: dict[str, Any], passages: Sequence[tuple[Passage, Vector, str]], quarantined: Sequence[tuple[Passage, str]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows for the archive and for the vectors. A place in the document that is taken twice goes to the next free one."""
    rows: list[dict[str, Any]] = []
    vectors: list[dict[str, Any]] = []
    entries = [(p, v, text, None) for p, v, text in passages] + [(p, None, "", reason) for p, reason in quarantined]
    entries.sort(key=lambda entry: entry[0].ordinal)
    for ordinal, (passage, vector, text, reason) in enumerate(entries):
        id = f"{place['document']}.{place['version']}.{ordinal}"
        rows.append(
            {
                "id": id,
                "ordinal": ordinal,
                "title": clean(passage.title),
                "kind": passage.kind.value,
                "text": clean(passage.text),
                "headings": [clean(heading) for heading in passage.headings],
                "grid": None if passage.table is None else asdict(passage.table),
                "search_text": clean(text),
                "quarantine": reason,
            }
        )
        if vector is not None:
            vectors.append({"id": id, "hash": passage_hash(text), "embedding": HalfVector(vector)})
    return rows, vectors


def _passage(row: Any) -> Passage:
    return Passage(
        id=PassageId(row.id),
        document=DocumentId(row.document),
        source=row.source,
        title=row.title,
        kind=PassageKind(row.kind),
        text=row.text,
        headings=tuple(row.headings),
        table=None if row.grid is None else _table(row.grid),
        ordinal=row.ordinal,
        version=row.version,
    )


def _table(grid: Any) -> Table:
    return Table(
        header=tuple(grid["header"]), rows=tuple(tuple(row) for row in grid["rows"]), caption=grid["caption"], notes=grid.get("notes", "")
    )
