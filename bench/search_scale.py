"""How search scales with a tenant's passages: exact scan against the tenant's own indexes, latency and recall, in one table.

Run with `python -m bench.search_scale [SIZE ...]`. Vectors are synthetic: clusters on a sphere, as sentence embeddings are; texts are
drawn from a Zipf vocabulary with words typical of their cluster, so that rare and common words occur as in prose.
Recall compares the ten nearest passages with those of a brute-force scan in numpy. `cpu` is processor time of the database and of this
process for one search: what remains comparable when the machine is busy with something else.
"""

from __future__ import annotations

import asyncio
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
import psycopg
from numpy.typing import NDArray

from frontdesk.domain.knowledge import DocumentId, Passage, PassageId, PassageKind
from frontdesk.domain.tenancy import TenantId
from frontdesk.settings import Settings
from frontdesk.store import KnowledgeStore, NewDocument, Store

DIMENSIONS = 384
WORDS = 110
"""Words of a passage; about 160 tokens."""
QUESTIONS = 200
PER_DOCUMENT = 1000
SIZES = (1_000, 5_000, 10_000, 20_000, 50_000, 100_000)

Vectors = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Corpus:
    vectors: Vectors
    texts: list[str]
    questions: Vectors
    asked: list[str]


def unit(rows: Vectors) -> Vectors:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def corpus(size: int, rng: np.random.Generator) -> Corpus:
    clusters = max(20, size // 1000)
    centres = unit(rng.normal(size=(clusters, DIMENSIONS)).astype(np.float32))
    vocabulary = np.array(
        [f"{''.join(rng.choice(list('bdfgklmnprst')) + rng.choice(list('aeiou')) for _ in range(3))}" for _ in range(30_000)]
    )
    weights = 1 / np.arange(1, len(vocabulary) + 1)
    common = np.cumsum(weights / weights.sum())
    typical = rng.integers(200, len(vocabulary), size=(clusters, 12))
    of = rng.integers(0, clusters, size=size)

    def words(cluster: int, count: int, own: int) -> str:
        drawn = np.minimum(np.searchsorted(common, rng.random(count - own)), len(vocabulary) - 1)
        return " ".join(vocabulary[np.concatenate([drawn, rng.choice(typical[cluster], own)])])

    asked_of = rng.integers(0, clusters, size=QUESTIONS)
    spread = 0.9 / np.sqrt(DIMENSIONS)
    return Corpus(
        vectors=unit(centres[of] + rng.normal(scale=spread, size=(size, DIMENSIONS)).astype(np.float32)),
        texts=[words(cluster, WORDS, 10) for cluster in of],
        questions=unit(centres[asked_of] + rng.normal(scale=spread, size=(QUESTIONS, DIMENSIONS)).astype(np.float32)),
        asked=[words(cluster, 9, 2) for cluster in asked_of],
    )


async def fill(knowledge: KnowledgeStore, data: Corpus) -> float:
    """Index everything; passages a second."""
    started = time.perf_counter()
    for first in range(0, len(data.texts), PER_DOCUMENT):
        rows = [
            (
                Passage(id=PassageId(""), document=DocumentId(""), source="", title=f"{n}", kind=PassageKind.PROSE, text=text, ordinal=n),
                vector,
                text,
            )
            for n, (text, vector) in enumerate(
                zip(data.texts[first : first + PER_DOCUMENT], data.vectors[first : first + PER_DOCUMENT], strict=True), first
            )
        ]
        await knowledge.replace(NewDocument(source=f"{first}.md", title="t", sha256="1"), rows)
    return len(data.texts) / (time.perf_counter() - started)


async def measure(knowledge: KnowledgeStore, data: Corpus, ef: int) -> dict[str, float]:
    """Latencies of whole searches in ms, and recall@10 of the vector part (a search without words)."""
    nearest = np.argsort(-(data.questions @ data.vectors.T), axis=1)[:, :10]
    for vector, text in zip(data.questions[:20], data.asked, strict=False):
        await knowledge.search(text=text, vector=vector, limit=10, ef=ef)
    times, right, before = [], 0, processor_seconds()
    for vector, text in zip(data.questions, data.asked, strict=True):
        started = time.perf_counter()
        await knowledge.search(text=text, vector=vector, limit=10, ef=ef)
        times.append((time.perf_counter() - started) * 1000)
    cpu = (processor_seconds() - before) * 1000 / len(times)
    for vector, best in zip(data.questions, nearest, strict=True):
        hits = await knowledge.search(text="", vector=vector, limit=10, ef=ef)
        right += len({int(hit.passage.title) for hit in hits} & set(best.tolist()))
    p50, p95 = np.percentile(times, [50, 95])
    return {"p50": float(p50), "p95": float(p95), "cpu": cpu, "recall": right / (10 * len(nearest))}


def processor_seconds() -> float:
    """Processor time used so far by this process and the sessions of the database that it started."""
    me = psutil.Process()
    return sum(p.cpu_times().user + p.cpu_times().system for p in (me, *me.children(recursive=True)))


async def run(sizes: tuple[int, ...]) -> None:
    print(f"search, {DIMENSIONS} dimensions, {QUESTIONS} questions; {platform.machine()}, {datetime.now(UTC):%Y-%m-%d}")
    print(f"{'passages':>9} {'write/s':>8} {'way':>12} {'build s':>8} {'p50 ms':>7} {'p95 ms':>7} {'cpu ms':>7} {'recall@10':>9}")
    with tempfile.TemporaryDirectory(prefix="frontdesk-bench-", ignore_cleanup_errors=True) as folder:
        store = await Store.open(Settings(data=Path(folder)), large=sys.maxsize)
        indexing = await Store.open(Settings(data=Path(folder)), large=1)
        try:
            for size in sizes:
                await compare(size, store, indexing)
        finally:
            await indexing.close()
            await store.close()


async def compare(size: int, store: Store, indexing: Store) -> None:
    data = corpus(size, np.random.default_rng(size))
    tenant = TenantId(f"bench-{size}")
    knowledge = store.for_tenant(tenant).knowledge
    rate = await fill(knowledge, data)
    with psycopg.connect(store.url, autocommit=True) as connection:  # so that autovacuum's work is not taken for the search's
        connection.execute("vacuum analyze")
    show(size, rate, "exact", 0.0, await measure(knowledge, data, 200))
    started = time.perf_counter()
    await indexing.for_tenant(tenant).knowledge.replace(NewDocument(source="last.md", title="t", sha256="1"), [])
    await indexing.indexed()
    build = time.perf_counter() - started
    for ef in (100, 200, 400):
        show(size, rate, f"hnsw ef {ef}", build, await measure(knowledge, data, ef))


def show(size: int, rate: float, way: str, build: float, found: dict[str, float]) -> None:
    print(
        f"{size:>9,} {rate:>8.0f} {way:>12} {build:>8.1f} {found['p50']:>7.1f} {found['p95']:>7.1f} {found['cpu']:>7.1f} {found['recall']:>9.3f}",
        flush=True,
    )


if __name__ == "__main__":
    asyncio.run(run(tuple(int(size) for size in sys.argv[1:]) or SIZES))
