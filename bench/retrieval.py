"""Recall@10 of search over a public bank's knowledge base: fused search against BM25 alone and vectors alone, in one run.

    python -m bench.retrieval --data DIR        # DIR holds tau2_bench/banking_knowledge/{documents,retrieval_qrels}.jsonl

The queries are long descriptions of a customer's situation with about ten relevant articles each; an article counts as found when one of its
passages is among those of the ten best articles. BM25 and vectors search the same passages (and BM25 whole articles too); for vectors three
ways of asking are shown: the whole message, its sentences fused, and both fused. The bar is against the best of each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import snowballstemmer

from frontdesk import settings
from frontdesk.domain.tenancy import Tenant, TenantId
from frontdesk.knowledge import search as searching
from frontdesk.knowledge.library import Library
from frontdesk.knowledge.splitting import search_text
from frontdesk.models import registry
from frontdesk.models.embedder import SentenceEncoder
from frontdesk.store import Store

TOP = 10
_STEMMER = snowballstemmer.stemmer("english")
_TENANT = TenantId("bench")


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _recall(found: Iterable[str], wanted: Sequence[str]) -> float:
    return len(set(list(dict.fromkeys(found))[:TOP]) & set(wanted)) / len(wanted)


def _tokens(texts: list[str]) -> Any:
    return bm25s.tokenize(texts, stopwords="en", stemmer=lambda words: _STEMMER.stemWords(words), show_progress=False)


def _bm25(texts: list[str], names: list[str]) -> Callable[[str], list[str]]:
    index = bm25s.BM25()
    index.index(_tokens(texts), show_progress=False)

    def ranked(query: str) -> list[str]:
        places, _ = index.retrieve(_tokens([query]), k=min(400, len(texts)), show_progress=False)
        return [names[place] for place in places[0]]

    return ranked


def _fused_vectors(similarities: Any, names: list[str]) -> list[str]:
    scores: Counter[int] = Counter()
    for column in similarities.T:
        for place, row in enumerate(np.argsort(-column)[: searching.DEPTH]):
            scores[int(row)] += 1 / (60 + place + 1)  # type: ignore[assignment]
    return [names[row] for row, _ in scores.most_common()]


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data / "tau2_bench" / "banking_knowledge"
    articles = _rows(folder / "documents.jsonl")
    queries = [q for q in _rows(folder / "retrieval_qrels.jsonl") if q["relevant_doc_ids"]]
    embedder = SentenceEncoder(registry.pull("all-minilm-l6-v2", settings.load().cache), threads=1)
    results: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        ids = _write(Path(place) / "bench" / "knowledge", articles)
        store = await Store.open(settings.load({"data": Path(place) / "data"}))
        try:
            library = Library(store, embedder)
            report = await library.sync(Tenant(id=_TENANT, name="Bench", folder=Path(place) / "bench"), progress=_show)
            stored = await store.for_tenant(_TENANT).knowledge.all_passages()
            names = [ids[passage.source] for passage, _ in stored]
            vectors = np.stack([vector for _, vector in stored])
            by_word = {
                "BM25, passages": _bm25([search_text(passage) for passage, _ in stored], names),
                "BM25, articles": _bm25([f"{a['title']}\n{a['content']}" for a in articles], [a["id"] for a in articles]),
            }
            for query in queries:
                text, wanted = query["scenario"], query["relevant_doc_ids"]
                found = {name: ranked(text) for name, ranked in by_word.items()}
                similarities = vectors @ (await embedder.embed(searching.parts(text))).T
                found["vectors, whole message"] = [names[row] for row in np.argsort(-similarities[:, 0])]
                found["vectors, message and sentences"] = _fused_vectors(similarities, names)
                found["vectors, sentences alone"] = _fused_vectors(
                    similarities[:, 1:] if similarities.shape[1] > 1 else similarities, names
                )
                hits = await library.search(_TENANT, text, limit=200)
                found["fused (Library.search)"] = [ids[hit.passage.source] for hit in hits]
                for name, ranking in found.items():
                    results.setdefault(name, []).append(_recall(ranking, wanted))
        finally:
            await store.close()
            embedder.close()
    means = {name: float(np.mean(values)) for name, values in results.items()}
    print(f"{len(articles)} articles, {len(stored)} passages, {len(report.quarantined)} set apart, {len(queries)} queries\n")
    print(f"| search | recall@{TOP} |\n|---|---|")
    for name, mean in means.items():
        print(f"| {name} | {mean:.3f} |")
    fused = means.pop("fused (Library.search)")
    return 0 if fused > max(means.values()) else 1


def _write(folder: Path, articles: Sequence[dict[str, Any]]) -> dict[str, str]:
    """One Markdown file per article; returns article ids by source."""
    folder.mkdir(parents=True)
    ids = {f"{number:04}.md": article["id"] for number, article in enumerate(articles)}
    for (name, _), article in zip(ids.items(), articles, strict=True):
        (folder / name).write_text(f"# {article['title']}\n\n{article['content']}\n", encoding="utf-8")
    return ids


def _show(done: int, total: int) -> None:
    print(f"\r{done}/{total} passages", end="" if done < total else "\n", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
